"""Alpaca: instructions with their answers, without images.

https://github.com/tatsu-lab/stanford_alpaca (CC BY-NC 4.0; made with GPT-3.5, so OpenAI's terms apply too)
Layout: ``path`` is a JSON list or JSON lines, or a folder of them. A row: {"instruction": "Classify the animals into
mammals and reptiles.", "input": "dog, turtle, whale", "output": "Mammals: dog, whale. Reptiles: turtle."}
Quirks: ``input`` is "" for six rows in ten; some rows have an empty ``output``; there is no id. Self-Instruct's seed
tasks put ``input`` and ``output`` into a list ``instances``, and LLaMA-Factory adds ``system``; both are read. Its
``history`` of earlier exchanges is not: such rows are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.shapes.language import arithmetic
from vldata.sources.base import Source
from vldata.sources.reading.files import expand
from vldata.sources.reading.json import json_rows
from vldata.sources.reading.marks import with_image_places
from vldata.sources.reading.rows import ID, TEXT, note, typed
from vldata.sources.standins import write_json


class Alpaca(Source):
    """One turn a row, its ``input`` below the ``instruction``; ``row`` is ``id`` where there is one."""

    format: ClassVar[str] = "alpaca"
    about: ClassVar[str] = "Alpaca: instruction, input, output, without images"
    licence: ClassVar[str] = (
        "CC BY-NC 4.0, generated with GPT-3.5 (OpenAI's terms); other files in this form have their own"
    )
    tasks: ClassVar[tuple[str, ...]] = ("text_instruction",)

    def files(self) -> list[Path]:
        """``path``, or the ``.json`` and ``.jsonl`` below it."""
        return expand(self.path, suffixes=(".json", ".jsonl"))

    def turns(self, task: str) -> pl.DataFrame:
        """Every row; one without an answer is an ``empty_text``."""
        return pl.concat([_turns(json_rows(path)) for path in self.files()])

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """Word problems as ``alpaca_data.json``; every other one has its numbers in ``input``."""
        data = []
        for number in range(rows):
            problem, answer = arithmetic(number, seed=seed)
            if number % 2:
                data.append({"instruction": "Solve the problem step by step.", "input": problem, "output": answer})
            else:
                data.append({"instruction": problem, "input": "", "output": answer})
        path = folder / "alpaca_data.json"
        write_json(path, data)
        return {"path": str(path.resolve())}


def _turns(rows: list[Any]) -> pl.DataFrame:
    fields = {"id": ID, "instruction": TEXT, "input": TEXT, "output": TEXT, "system": TEXT}
    table = typed(list(_instances(rows)), fields, optional={"id", "input", "system"})
    has_input = pl.col("input").str.strip_chars() != ""
    turns = table.select(
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


def _instances(rows: list[Any]) -> Iterator[Any]:
    """The rows, those of Self-Instruct's seed tasks once for each of their instances."""
    for row in rows:
        if not isinstance(row, dict):
            yield row
        elif row.get("history"):
            yield ValueError("'history' has earlier exchanges: write them as `sharegpt`")
        elif isinstance(row.get("instances"), list) and row["instances"]:
            for k, instance in enumerate(row["instances"]):
                name = {"id": f"{row['id']}/{k}"} if isinstance(row.get("id"), str) else {}
                yield {**row, **instance, **name} if isinstance(instance, dict) else instance
        else:
            yield row
