"""Columns of any table -> canonical columns: which ones a task has, how a recipe names them, and the casts in between.

A recipe names a canonical column's origin as a column or as one Polars SQL expression (``answers[1]``, ``id ||
'.png'``). An expression is parsed by itself, never in a SQL context: it sees the columns of its row, and neither
tables nor files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

import polars as pl

from vldata.errors import SourceError, nearest
from vldata.schema.expressions import is_row_by_row, only_builds_text, quoted_paths, trouble
from vldata.schema.turns import BOX
from vldata.sources.reading.casts import NATIVE, PHRASES, Origin, as_text, blaming, lists_of_texts, whole_if_all_are
from vldata.sources.reading.native_types import PolarsType

_TEXTS, _BOXES = pl.List(pl.String), pl.List(BOX)
_EXCHANGE: dict[str, PolarsType] = {"instruction": pl.String, "response": pl.String, "system": pl.String}
_PHRASE: dict[str, PolarsType] = {"phrase": pl.String, "boxes": _BOXES}
TASKS: dict[str, dict[str, PolarsType]] = {
    "vqa_open": {"question": pl.String, "answer": pl.String, "answers": _TEXTS},
    "vqa_mc": {"question": pl.String, "choices": _TEXTS, "answer": pl.Int64, "context": pl.String},
    "true_false": {"statement": pl.String, "answer": pl.Boolean},
    "caption": {"caption": pl.String},
    "grounded_caption": {"caption": pl.String, "boxes": _BOXES},
    "rec": _PHRASE,
    "reg": _PHRASE,
    "ocr": {"boxes": _BOXES},
    "instruction": _EXCHANGE,
    "text_instruction": _EXCHANGE,
}
"""Task -> its columns; a test holds them against the tasks' own declarations, which a source must not import."""

OPTIONAL = frozenset({"answers", "context", "system"})
"""Columns of a task that a table may lack."""


_ALSO = {"images": ("image",), "row": ("id",)}

_RESULT = "\0result"

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def field_names() -> list[str]:
    """Every name that ``fields`` may map."""
    return sorted({*NATIVE, *(name for columns in TASKS.values() for name in columns), PHRASES})


def fields_of(task: str) -> dict[str, PolarsType]:
    """The names that ``fields`` may map for a task, with the canonical type of each."""
    phrases: dict[str, PolarsType] = {PHRASES: _TEXTS} if "boxes" in TASKS[task] else {}
    return {**NATIVE, **TASKS[task], **phrases}


def origins(
    fields: Mapping[str, str | list[str]], columns: Sequence[str], task: str, *, whole: bool = True
) -> dict[str, Origin]:
    """Where each canonical column comes from; one that nobody names is taken by its own name where the table has it.

    Args:
        whole: False where what is missing is read in another way.

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
            given = fields[name]
            found[name] = origin(name, given, columns) if isinstance(given, str) else _listed(name, given, columns)
        elif own is not None:
            found[name] = Origin(name, own, (own,))
        elif name == "answer" and task == "vqa_open" and {"answers"} & {*fields, *columns}:
            continue  # the most frequent one
        elif whole and name in TASKS[task] and name not in OPTIONAL:
            problem = f"the task {task!r} needs it, and the table has no column {name!r}"
            one = "" if name == "caption" else "[1]"  # of a list of captions, each becomes a turn
            such = f", such as `{name}: {name}s{one}`" if f"{name}s" in columns else ""
            raise SourceError(f"fields.{name}", problem, f"name its origin{such}; {_holding(columns)}")
    return found


def origin(name: str, text: str, columns: Sequence[str]) -> Origin:
    """A column, or a SQL expression over columns.

    Raises:
        SourceError: Neither, or an expression that makes several rows of one or looks at others.
    """
    if text in columns:
        return Origin(name, text, (text,))
    there_are = _holding(columns)
    if _PATH.fullmatch(text) and any(column.startswith(f"{text.partition('.')[0]}.") for column in columns):
        raise _no_column(name, text, text, columns)
    try:
        expression = pl.sql_expr(quoted_paths(text, columns))
        needs = tuple(dict.fromkeys(expression.meta.root_names()))
    except pl.exceptions.PolarsError as error:
        problem, fix = trouble(text, error)
        raise SourceError(f"fields.{name}", f"{text!r}: {problem}", f"{fix}; {there_are}") from None
    for column in needs:
        if column not in columns:
            raise _no_column(name, text, column, columns)
    if ".explode(" in str(expression):
        raise SourceError(
            f"fields.{name}", f"{text!r} makes several rows of one", "take one value of the list: answers[1]"
        )
    if not is_row_by_row(expression):
        problem = f"{text!r} looks at other rows: aggregates and windows give no row a value of its own"
        raise SourceError(f"fields.{name}", problem, "use the columns of the row only")
    return Origin(name, text, needs, expression)


def _listed(name: str, texts: Sequence[str], columns: Sequence[str]) -> Origin:
    """A list of columns or expressions."""
    parts = tuple(origin(name, text, columns) for text in texts)
    needs = tuple(dict.fromkeys(column for part in parts for column in part.needs))
    return Origin(name, f"[{', '.join(texts)}]", needs, parts=parts)


def _no_column(name: str, text: str, column: str, columns: Sequence[str]) -> SourceError:
    close = difflib.get_close_matches(column, columns, n=1)
    fix = f"did you mean {close[0]!r}? {_holding(columns)}" if close else _holding(columns)
    return SourceError(f"fields.{name}", f"{text!r} names {column!r}, which is no column", fix)


def _holding(columns: Sequence[str]) -> str:
    return f"the table has {', '.join(columns)}" if columns else "the table is empty: it has no columns"


def texts_of(found: Mapping[str, Origin], task: str) -> set[str]:
    """Columns of the table that become text, or part of one: their numbers are to be read as the file writes them.

    A column with which an expression may count stays what it is.
    """
    types = fields_of(task)
    as_text: set[str] = set()
    as_is: set[str] = set()
    for name, whole in found.items():
        for part in whole.parts or (whole,):
            is_text = part.expression is None or only_builds_text(part.text, part.needs)
            (as_text if is_text and types[name] in (pl.String, _TEXTS) else as_is).update(part.needs)
    return as_text - as_is


def evaluated(origin: Origin, table: pl.DataFrame) -> pl.Series:
    """As many values as the table has rows.

    Raises:
        SourceError: The expression fails on these values.
    """
    if origin.parts:
        return _side_by_side(origin, [evaluated(part, table) for part in origin.parts])
    if origin.expression is None:
        return table[origin.text]
    table = table.with_columns(whole_if_all_are(table[name]) for name in origin.needs if table[name].dtype.is_float())
    try:
        return table.with_columns(origin.expression.alias(_RESULT))[_RESULT]
    except pl.exceptions.PolarsError as error:
        fix = "fix the expression; TRY_CAST gives NULL where CAST fails"
        raise SourceError(f"fields.{origin.name}", f"{origin.text!r}: {_first_line(error)}", fix) from None


def _side_by_side(origin: Origin, values: Sequence[pl.Series]) -> pl.Series:
    """The lists that columns make, without what is empty; of boxes, the four numbers as they are."""
    if origin.name == "boxes":
        numbers = [one.cast(pl.Float64, strict=False).alias(str(k)) for k, one in enumerate(values)]
        return pl.DataFrame(numbers).select(pl.concat_list(pl.all())).to_series()
    if origin.name == "choices" and not any(one.dtype.is_nested() for one in values):
        given = [as_text(one).alias(str(k)) for k, one in enumerate(values)]
        said = [pl.when(pl.col(one.name).str.strip_chars() != "").then(one.name) for one in given]
        return pl.DataFrame(given).select(pl.concat_list(said)).to_series()  # a letter counts the columns, gaps too
    texts = [
        blaming(part, one, "texts", lambda one=one: lists_of_texts(one, "images")).values.alias(str(k))  # type: ignore[misc]
        for k, (part, one) in enumerate(zip(origin.parts, values, strict=True))
    ]
    none = pl.lit([], dtype=_TEXTS)
    return pl.DataFrame(texts).select(pl.concat_list(pl.all().fill_null(none))).to_series()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
