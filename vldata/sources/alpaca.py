"""Alpaca: instructions with their answers, without images.

https://github.com/tatsu-lab/stanford_alpaca (CC BY-NC 4.0; made with GPT-3.5, so OpenAI's terms apply too)
Layout: ``path`` is a JSON list or JSON lines, Parquet, Arrow, CSV or TSV, a folder of them, or what ``datasets``'
``save_to_disk`` wrote. A row: {"instruction": "Classify the animals into
mammals and reptiles.", "input": "dog, turtle, whale", "output": "Mammals: dog, whale. Reptiles: turtle."}
Quirks: ``input`` is "" for six rows in ten; some rows have an empty ``output``; there is no id. Self-Instruct's seed
tasks put ``input`` and ``output`` into a list ``instances``, and LLaMA-Factory adds ``system`` and a ``history`` of
earlier exchanges; all are read. Its rows with ``images`` are for `llava`, which reads this form too, and one with a key
that may change what is learnt is refused (`vldata.sources.reading.talk_keys`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.shapes.language import arithmetic
from vldata.sources.base import Keys, Source
from vldata.sources.reading.conversations import Talk, exchanges, talk
from vldata.sources.reading.keep import KEPT, heads
from vldata.sources.reading.keys import is_blank
from vldata.sources.reading.marks import with_image_places
from vldata.sources.reading.native_types import ID, TEXT
from vldata.sources.reading.rows import note, typed
from vldata.sources.reading.talk_files import talk_files, talk_rows
from vldata.sources.reading.talk_keys import READ, form_of, is_silent
from vldata.sources.standins import written

_FIELDS = {
    "id": ID.to("row"),
    "instruction": TEXT,
    "input": TEXT.to("instruction"),
    "output": TEXT.to("response"),
    "system": TEXT,
}
_WHOLE_PROMPT = "text"
"""The first release on the Hub repeats the whole prompt under this key."""


class Alpaca(Source):
    """One turn a row, its ``input`` below the ``instruction``; ``row`` is ``id`` where there is one.

    A row with a history is a conversation, with a turn for each exchange; ``row`` is ``<thread>/<position>``.
    """

    format: ClassVar[str] = "alpaca"
    about: ClassVar[str] = "Alpaca: instruction, input, output, without images"
    licence: ClassVar[str] = (
        "CC BY-NC 4.0, generated with GPT-3.5 (OpenAI's terms); other files in this form have their own"
    )
    tasks: ClassVar[tuple[str, ...]] = ("text_instruction",)
    version: ClassVar[int] = 5

    def files(self) -> list[Path]:
        """``path``, or the tables below it."""
        return talk_files(self.path)

    def turns(self, task: str) -> pl.DataFrame:
        """Every row; one without an answer is an ``empty_text``."""
        ignore, keep = frozenset({*self.ignore, _WHOLE_PROMPT}), tuple(self.keep)
        known = ignore | (heads(keep) - READ)
        plain: list[Any] = []
        talks: list[Talk] = []
        for path in self.files():
            for row in _instances(talk_rows(path, image_root=str(path.parent))):
                if isinstance(row, dict) and not _FIELDS.keys() >= row.keys() and _is_more(row, known):
                    talks.append(talk(row, pictured=False, ignore=ignore, keep=keep))
                else:
                    plain.append(row)
        tables = [_turns(plain, keep)] if plain or not talks else []
        return pl.concat([*tables, exchanges(talks, keep)] if talks else tables, how="diagonal")

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Word problems as ``alpaca_data.json``; every other one has its numbers in ``input``."""
        data = []
        for number in range(rows):
            problem, answer = arithmetic(number, seed=seed)
            if number % 2:
                data.append({"instruction": "Solve the problem step by step.", "input": problem, "output": answer})
            else:
                data.append({"instruction": problem, "input": "", "output": answer})
        return written(folder / "alpaca_data.json", data)


def _turns(rows: list[Any], keep: Sequence[str]) -> pl.DataFrame:
    table = typed(rows, _FIELDS, optional={"id", "input", "system"}, keep=keep)
    has_input = pl.col("input").str.strip_chars() != ""
    turns = table.select(
        KEPT,
        row="id",
        images=pl.lit([], pl.List(pl.String)),
        thread=pl.lit(None, pl.String),
        position=pl.lit(None, pl.Int32),
        instruction=pl.when(has_input)
        .then(pl.concat_str("instruction", "input", separator="\n"))
        .otherwise("instruction"),
        response="output",
        system=pl.when(pl.col("system").str.strip_chars() != "").then("system"),
        problem="problem",
        detail="detail",
    )
    turns = note(turns, pl.col("response").str.strip_chars() == "", "empty_text", pl.lit("'output' is empty"))
    return with_image_places(turns)


def _is_more(row: Mapping[str, Any], ignore: frozenset[str]) -> bool:
    """Whether a row with other keys than Alpaca's has something in them that changes what is learnt."""
    form = form_of(tuple(row), ignore)
    return any(
        not is_blank(row.get(key)) and not is_silent(key, row.get(key))
        for key in ("history", *form.images, *form.media, *form.systems, *form.others)
    )


def _instances(rows: list[Any]) -> Iterator[Any]:
    """The rows, those of Self-Instruct's seed tasks once for each of their instances."""
    for row in rows:
        if not isinstance(row, dict):
            yield row
        elif isinstance(row.get("instances"), list) and row["instances"]:
            rest = {key: value for key, value in row.items() if key != "instances"}
            for k, instance in enumerate(row["instances"]):
                name = {"id": f"{row['id']}/{k}"} if isinstance(row.get("id"), str) else {}
                yield {**rest, **instance, **name} if isinstance(instance, dict) else instance
        else:
            yield row
