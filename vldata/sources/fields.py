"""Columns of any table -> canonical columns: which ones a task has, how a recipe names them, and the casts in between.

A recipe names a canonical column's origin as a column or as one Polars SQL expression (``answers[1]``, ``CONCAT(id, '.png')``). An
expression is parsed by itself, never with a SQL context: it sees the columns of its row and no tables or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from vldata.errors import SourceError, nearest
from vldata.schema.turns import BOX, COMMON, SIZE

PolarsType = pl.DataType | type[pl.DataType]
Texts = pl.List(pl.String)

_EXCHANGE: dict[str, PolarsType] = {"instruction": pl.String, "response": pl.String, "system": pl.String}
_PHRASE: dict[str, PolarsType] = {"phrase": pl.String, "boxes": pl.List(BOX)}
TASKS: dict[str, dict[str, PolarsType]] = {
    "vqa_open": {"question": pl.String, "answer": pl.String, "answers": Texts},
    "vqa_mc": {"question": pl.String, "choices": Texts, "answer": pl.Int64, "context": pl.String},
    "true_false": {"statement": pl.String, "answer": pl.Boolean},
    "caption": {"caption": pl.String},
    "grounded_caption": {"caption": pl.String, "boxes": pl.List(BOX)},
    "rec": _PHRASE,
    "reg": _PHRASE,
    "ocr": {"boxes": pl.List(BOX)},
    "instruction": _EXCHANGE,
    "text_instruction": _EXCHANGE,
}
"""Task -> its columns; a test holds them against the tasks' own declarations, which a source must not import."""

OPTIONAL = frozenset({"answers", "context", "system"})
"""Columns of a task that a table may lack."""

PHRASES = "phrases"
"""Not a column of turns: the phrases of ``boxes``, one each, for tables that hold them side by side."""

NATIVE: dict[str, PolarsType] = {name: dtype for name, dtype in COMMON.items() if name not in ("problem", "detail")}
"""Columns that a table may give whatever its task."""

class Origin(NamedTuple):
    """Where a canonical column comes from.

    Args:
        name: Of the canonical column.
        text: A column of the table, or the expression as the recipe has it.
        columns: Of the table, as many of them as are needed.
        expression: None of a plain column.
    """

    name: str
    text: str
    columns: tuple[str, ...]
    expression: pl.Expr | None


class Cast(NamedTuple):
    """Values in their canonical type; null where ``problems`` says what is wrong."""

    values: pl.Series
    problems: pl.Series


_ALSO = {"images": ("image",), "row": ("id",)}
_SINGLE = ("images", "urls", "answers")


def known_fields() -> list[str]:
    """Every name that ``fields`` may map."""
    return sorted({*NATIVE, *(name for columns in TASKS.values() for name in columns), PHRASES})


def fields_of(task: str) -> dict[str, PolarsType]:
    """The names that ``fields`` may map for a task, with the canonical type of each."""
    phrases: dict[str, PolarsType] = {PHRASES: Texts} if "boxes" in TASKS[task] else {}
    return {**NATIVE, **TASKS[task], **phrases}


def origins(fields: Mapping[str, str], columns: Sequence[str], task: str) -> dict[str, Origin]:
    """Where each canonical column comes from; one that nobody names is taken by its own name where the table has it.

    Args:
        fields: As in the recipe.
        columns: Of the table.
        task: Which columns are wanted.

    Raises:
        SourceError: A field that the task does not have, an expression that cannot be parsed or names an unknown
            column, or a column that the task needs and nothing gives.
    """
    wanted = fields_of(task)
    for name in fields:
        if name not in wanted:
            raise SourceError(f"fields.{name}", f"the task {task!r} has no such column", nearest(name, wanted))
    found: dict[str, Origin] = {}
    for name in wanted:
        own = next((column for column in (name, *_ALSO.get(name, ())) if column in columns), None)
        if name in fields:
            found[name] = _origin(name, fields[name], columns)
        elif own is not None:
            found[name] = Origin(name, own, own, None)
        elif name in TASKS[task] and name not in OPTIONAL:
            problem = f"the task {task!r} needs it, and the table has no column {name!r}"
            raise SourceError(f"fields.{name}", problem, f"name its origin; {_there_are(columns)}")
    return found


def evaluated(origin: Origin, table: pl.DataFrame) -> pl.Series:
    """The column or expression, as many values as the table has rows.

    Raises:
        SourceError: The expression fails on these values.
    """
    if origin.expression is None:
        return table[origin.text]
    try:
        return table.with_columns(origin.expression.alias(_RESULT))[_RESULT]
    except pl.exceptions.PolarsError as error:
        problem = f"{origin.text!r}: {str(error).partition(chr(10))[0]}"
        raise SourceError(f"fields.{origin.name}", problem, f"mend the expression; {_there_are(origin.columns)}") from None
