"""Tables of turns written out row by row."""

from __future__ import annotations

from typing import Any

import polars as pl

from vldata.schema.turns import COMMON, KEY


def turns(rows: list[dict[str, Any]], **columns: Any) -> pl.DataFrame:
    """Turns with every common column; where not given, ``row`` counts from a, ``rank`` from 0, ``images`` is ["1.jpg"].

    Args:
        rows: Values that differ from these; ``image`` is short for one image, None for none.
        columns: Types of the task's columns.
    """
    filled = []
    for place, row in enumerate(rows):
        given = dict(row)
        if "image" in given:
            image = given.pop("image")
            given["images"] = [] if image is None else [image]
        common = dict.fromkeys(COMMON) | {"row": chr(ord("a") + place), "images": ["1.jpg"], "rank": place, KEY: place}
        filled.append(common | given)
    schema = {**COMMON, **columns, "rank": pl.UInt64, KEY: pl.UInt64}
    return pl.DataFrame(filled, schema=schema)


def rows_of(table: pl.DataFrame) -> str:
    """The rows of a table as one word, in order."""
    return "".join(table["row"])


def ledger(dropped: pl.DataFrame) -> dict[str, tuple[str, str | None]]:
    """Row -> reason and detail."""
    assert dropped.columns == ["row", "reason", "detail"]
    assert list(dropped.dtypes) == [pl.String] * 3
    return {row: (reason, detail) for row, reason, detail in dropped.iter_rows()}
