r"""LLaVA-Instruct and all that is written like it: conversations about an image.

https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K (CC BY 4.0; made with GPT-4, so OpenAI's terms apply too)
Layout: ``path`` is a JSON list or JSON lines, or a folder of them; ``image_root`` is the folder below which the
images lie. A row: {"id": "000000033471", "image": "000000033471.jpg", "conversations": [{"from": "human", "value":
"<image>\nWhat are the colors of the bus in the image?"}, {"from": "gpt", "value": "The bus in the image is white and
red."}, ...]}
Quirks: the mark ``<image>`` stands before or after the first question at random; rows without ``image`` are text only
(a quarter of the 665k mix has come from ShareGPT); ``id`` is that of the image and repeats between the parts of a
mix; some originals spell the key ``conversatons``. The multi-image form (``image`` is a list) and the OpenAI form
(``messages`` of ``role`` and ``content``, ``images``), as LLaMA-Factory writes it, are read too. Rows with sound or
video are refused.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.shapes.language import arithmetic, conversation
from vldata.shapes.scene import scene
from vldata.sources.base import Source
from vldata.sources.reading.conversations import IMAGE_MARK, exchanges, talks_in
from vldata.sources.reading.files import expand
from vldata.sources.standins import draw, write_json


class Llava(Source):
    """One turn an exchange; ``thread`` is the conversation's id and ``row`` is ``<thread>/<position>``.

    Conversations about images are for the task ``instruction``, those without for ``text_instruction``; the others
    are filtered as ``not_for_task``.
    """

    format: ClassVar[str] = "llava"
    about: ClassVar[str] = "LLaVA: conversations about images, or without (id, image, conversations)"
    licence: ClassVar[str] = "CC BY 4.0, generated with GPT-4 (OpenAI's terms)"
    tasks: ClassVar[tuple[str, ...]] = ("instruction", "text_instruction")

    def files(self) -> list[Path]:
        """``path``, or the ``.json`` and ``.jsonl`` below it."""
        return expand(self.path, suffixes=(".json", ".jsonl"))

    def turns(self, task: str) -> pl.DataFrame:
        """Every exchange; a conversation in disorder is an ``unparsable_row`` for each of its questions."""
        return exchanges([talk for path in self.files() for talk in talks_in(path, pictured=task == "instruction")])

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """Conversations about scenes as ``llava_mix.json`` and ``images/``, and word problems without image."""
        talks: list[dict[str, Any]] = []
        exchanged = 0
        for number in count():
            if exchanged >= rows:
                break
            about = scene(number, seed=seed)
            (question, answer), *rest = conversation(about)
            opening = f"{question}\n{IMAGE_MARK}" if number % 2 else f"{IMAGE_MARK}\n{question}"
            said = [(opening, answer), *rest]
            exchanged += len(said)
            name = f"{number + 1:012d}"
            talks.append({"id": name, "image": f"{name}.jpg", "conversations": _messages(said)})
            talks.append({"id": f"text_{number}", "conversations": _messages([arithmetic(number, seed=seed)])})
            if images:
                draw(folder / "images", f"{name}.jpg", about)
        path = folder / "llava_mix.json"
        write_json(path, talks)
        return {"path": str(path.resolve()), "image_root": str((folder / "images").resolve())}


def _messages(said: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"from": who, "value": text} for pair in said for who, text in zip(("human", "gpt"), pair, strict=True)]
