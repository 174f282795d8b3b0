"""Rows of a table that are one exchange of a dialogue each, or The Cauldron's lists of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.keys import unknown_key
from vldata.sources.reading.marks import with_image_places
from vldata.sources.reading.native_types import PolarsType
from vldata.sources.reading.rows import note
from vldata.sources.reading.table_file import TableFile
from vldata.sources.reading.talk_keys import MASKED, WEIGHTS, is_harmless_in_message, the_fix

OTHER_ANSWERS = ("chosen", "rejected", "rejected_response")
CHANGING = (*sorted(WEIGHTS), MASKED, *OTHER_ANSWERS)
"""Columns of exchanges that say whether, or how much, these are learnt."""
_SAYS_NOTHING = ("", "1", "1.0", "true")

_SAYS = "\0says"


def one_exchange_a_row(table: pl.DataFrame, path: Path, ignore: Collection[str]) -> pl.DataFrame:
    """The Cauldron's ``texts`` as ``instruction``, ``response`` and ``position``; a row without any stays, as nulls.

    Raises:
        SourceError: ``texts`` is something else, or holds more that may change what is learnt.
    """
    dtype = table.schema["texts"]
    fields = dtype.inner.to_schema() if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct) else {}
    if not {"user", "assistant"} <= set(fields):
        problem = f"the column 'texts' is {dtype}, not a list of {{user, assistant}}"
        raise SourceError(str(path), problem, "name the columns with `fields`")
    each = table["texts"].explode()
    for name in fields.keys() - {"user", "assistant", *ignore}:
        if not is_harmless_in_message(name) and each.struct.field(name).null_count() < each.len():
            fix = f"read it as `llava`, which looks at each row; {the_fix(name)}"
            raise SourceError(str(path), f"its 'texts' have {name!r}, which may change what is learnt", fix)
    has_any = pl.col("texts").list.len() > 0
    rows = table.with_columns(
        texts=pl.when(has_any).then("texts"),
        position=pl.when(has_any).then(pl.int_ranges(pl.col("texts").list.len().cast(pl.Int64), dtype=pl.Int32)),
    ).explode("texts", "position")
    user, assistant = (pl.col("texts").struct.field(name) for name in ("user", "assistant"))
    return rows.with_columns(instruction=user, response=assistant)


def as_dialogue(turns: pl.DataFrame, task: str) -> pl.DataFrame:
    """Exchanges about images are for ``instruction``, others for ``text_instruction``; mind the marks of images."""
    columns: dict[str, PolarsType] = {
        "images": pl.List(pl.String),
        "thread": pl.String,
        "position": pl.Int32,
        "system": pl.String,
    }
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in columns.items() if name not in turns.columns]
    turns = turns.with_columns(missing).with_columns(pl.col("images").fill_null(pl.lit([], dtype=pl.List(pl.String))))
    pictured = pl.col("images").list.len() > 0
    if task == "instruction":
        turns = note(turns, ~pictured, "not_for_task", pl.lit("it has no image"))
    else:
        turns = note(turns, pictured, "not_for_task", pl.lit("it has an image"))
    return with_image_places(turns)


def without_unread(turns: pl.DataFrame, frame: TableFile, names: Sequence[str]) -> pl.DataFrame:
    """The turns, refused where a column that nobody reads says how much of them is learnt."""
    if not names:
        return turns
    table, _ = frame.read(tuple(names))
    for name in names:
        values = table[name]
        says = values.is_not_null()
        if not values.dtype.is_nested():
            says &= ~values.cast(pl.String).str.strip_chars().str.to_lowercase().is_in(_SAYS_NOTHING)
        problem, detail = unknown_key(name)
        turns = note(turns.with_columns(says.alias(_SAYS)), pl.col(_SAYS), problem, pl.lit(detail)).drop(_SAYS)
    return turns
