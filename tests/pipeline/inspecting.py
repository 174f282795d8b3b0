"""One turn a row under inspection, over images of 200 x 100 px."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tests.pipeline.tables import box, columns_of, entry, facts_of
from vldata.pipeline.candidates import InspectedSamples, inspect
from vldata.pipeline.screen import grouped
from vldata.schema.turns import COMMON, KEY

Box = tuple[float, float, float, float]
IMAGE = "a.jpg"  # 200 x 100 px, as all images here


def look_at(
    boxes: Mapping[str, Any],
    facts: Sequence[str | Mapping[str, Any]] = (IMAGE,),
    *,
    images: Mapping[str, list[str]] | None = None,
    splits: dict[str, float] | None = None,
    excluded: frozenset[str] = frozenset(),
    sizes: list[dict[str, int]] | None = None,
    thread: str | None = None,
    **settings: Any,
) -> InspectedSamples:
    """Inspect one turn for each row of ``boxes``, over one image unless ``images`` says which."""
    source = entry("rec", name="refs", **settings)
    columns = {**COMMON, **columns_of("rec"), KEY: pl.UInt64, "rank": pl.UInt64}
    rows = [
        {
            "row": row,
            "images": images[row] if images else [IMAGE],
            "image_sizes": sizes,
            "phrase": "it",
            "boxes": [b if isinstance(b, dict) else box(*b) for b in of_row],
            "thread": thread,
            KEY: number,
            "rank": number,
        }
        for number, (row, of_row) in enumerate(boxes.items())
    ]
    table = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)
    turns = grouped(table.drop("problem", "detail", "urls", strict=False), source)
    at = (turns["place"] == 0).cum_sum().cast(pl.Int64) - 1
    table_of_facts = facts_of(facts)

    def look(refs: list[str]) -> pl.DataFrame:
        return pl.DataFrame({"ref": refs}, schema={"ref": pl.String}).join(table_of_facts, on="ref", how="left")

    return inspect(
        turns.with_columns(at=at),
        source,
        look,
        seed=7,
        splits=splits or {"train": 1.0},
        excluded_hashes=excluded,
    )


def reason(*boxes: Box | dict[str, Any], **options: Any) -> str | None:
    """Why a turn with these boxes is rejected; None when it is not."""
    found = look_at({"r": boxes}, **options).refused
    return str(found["reason"][0]) if found.height else None
