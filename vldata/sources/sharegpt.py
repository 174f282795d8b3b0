"""ShareGPT and Vicuna: conversations without images.

https://github.com/lm-sys/FastChat (its sample: Apache-2.0; the 90,000 shared conversations themselves carry no licence)
Layout: ``path`` is a JSON list or JSON lines, Parquet, Arrow, CSV or TSV, a folder of them, or what ``datasets``'
``save_to_disk`` wrote. A row: {"id": "identity_0", "conversations":
[{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": "I am Vicuna, a language model trained by ..."},
...]}
Quirks: scraped conversations often begin with an answer or end with a question; FastChat drops the odd message, here
the conversation is refused, so that the ledger tells how many there are (raise ``max_reject_rate`` for raw dumps).
Tool use (speakers ``function_call`` and ``observation``, ``tools``) is refused too. The other forms that `llava` reads
are read here as well, such as ``messages`` of ``role`` and ``content``, and so is a ``system`` text beside them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import polars as pl

from vldata.shapes.language import arithmetic
from vldata.sources.base import Keys, Source
from vldata.sources.reading.conversations import exchanges, talks_in
from vldata.sources.reading.talk_files import talk_files
from vldata.sources.standins import messages, written

_PER_TALK = 2


class ShareGpt(Source):
    """One turn an exchange; ``thread`` is the conversation's id and ``row`` is ``<thread>/<position>``."""

    format: ClassVar[str] = "sharegpt"
    about: ClassVar[str] = "ShareGPT, Vicuna: conversations without images (id, conversations)"
    licence: ClassVar[str] = "none stated for the shared conversations; FastChat's sample Apache-2.0"
    tasks: ClassVar[tuple[str, ...]] = ("text_instruction",)
    version: ClassVar[int] = 5

    def files(self) -> list[Path]:
        """``path``, or the tables below it."""
        return talk_files(self.path)

    def turns(self, task: str) -> pl.DataFrame:
        """Every exchange; a conversation in disorder is an ``unparsable_row`` for each of its questions."""
        read = partial(talks_in, pictured=False, ignore=self.ignore, keep=self.keep)
        return exchanges([talk for path in self.files() for talk in read(path)], self.keep)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Conversations of two word problems each, as ``conversations.json``; there are no images to leave out."""
        talks = []
        for number in range(-(-rows // _PER_TALK)):
            pairs = [arithmetic(number * _PER_TALK + k, seed=seed) for k in range(_PER_TALK)]
            talks.append({"id": f"arithmetic_{number}", "conversations": messages(pairs)})
        return written(folder / "conversations.json", talks)
