"""Native values in the canonical type of their column, and what is wrong with those that do not fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

from vldata.errors import SourceError
from vldata.schema.turns import BOX, COMMON, SIZE
from vldata.sources.reading.native_types import PolarsType, shown
from vldata.sources.reading.text_lists import lists_from_texts

_OURS = ("weight", "problem", "detail")

NATIVE: dict[str, PolarsType] = {name: dtype for name, dtype in COMMON.items() if name not in _OURS}
"""Columns that a table may have whatever its task."""

PHRASES = "phrases"
"""Not a column of turns: the phrases of ``boxes``, for tables that have them side by side."""

_LISTS_OF_ONE = ("images", "urls", "answers")

LISTS = frozenset({"images", "urls", "answers", "choices", PHRASES, "boxes"})
"""Names that ``fields`` may map to a list of columns: the items of the list; of ``boxes`` the four numbers of one."""

_WRITTEN_LIST = r"""^\s*\[\s*(?:'(?s:.*)'|"(?s:.*)")\s*,?\s*\]\s*$"""
"""Of a text among others: a list of texts, which nobody says and which is one text only where all are such lists."""

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")

_TEXTS, _SIZES, _BOXES = pl.List(pl.String), pl.List(SIZE), pl.List(BOX)


class Origin(NamedTuple):
    """Where a canonical column comes from.

    Args:
        name: Of the canonical column.
        text: A column of the table, or an expression, as the recipe has it.
        needs: The columns of the table that it is made of.
        expression: None of a plain column.
        parts: Of a list of columns, the origin of each of its items; empty otherwise.
    """

    name: str
    text: str
    needs: tuple[str, ...]
    expression: pl.Expr | None = None
    parts: tuple[Origin, ...] = ()


class Cast(NamedTuple):
    """Values in a canonical type, and true for each row whose value does not fit; that one is to be ignored."""

    values: pl.Series
    misfits: pl.Series


class Unfit(ValueError):
    """A column of this type can never become what is wanted; perhaps what of it, and a fix."""


def cast(origin: Origin, values: pl.Series, dtype: PolarsType) -> Cast:
    """Values in the canonical type of their column; boxes have a function of their own.

    Lists written as text are lists where each value of a column is one. Numbers and flags become text; text that holds
    a number becomes one; yes, no, true, false, 1 and 0 become flags; a lone text becomes a list where the column often
    has one entry (images, urls, answers).

    Raises:
        SourceError: Values of their type never fit.
    """
    kind, caster = _CASTS[dtype]
    return blaming(origin, values, kind, lambda: caster(values, origin.name))


def complaint(origin: Origin, value: Any, dtype: PolarsType) -> str:
    """What is wrong with a value that does not fit."""
    kind = "4 numbers a box, with a phrase for each" if dtype == _BOXES else _CASTS[dtype][0]
    return f"{origin.name!r} ({origin.text}) is {shown(value)}, not {kind}"


def blaming(origin: Origin, values: pl.Series, kind: str, call: Callable[[], Cast]) -> Cast:
    """What ``call`` makes of values; that it cannot make ``kind`` of them is said with the column's name.

    Raises:
        SourceError: It raises `Unfit`.
    """
    try:
        return call()
    except Unfit as error:
        what, fix = (*error.args, "", "")[:2]
        problem = f"{origin.text!r} is {values.dtype}, not {kind}" + (f"; {what}" if what else "")
        if not fix and isinstance(values.dtype, pl.Struct) and origin.expression is None and values.dtype.fields:
            parts = [f"{origin.text}.{part.name}" for part in values.dtype.fields]
            given = f"[{', '.join(parts)}]" if origin.name in LISTS - {"boxes"} else parts[0]
            fix = f"name its parts, such as `{origin.name}: {given}`"
        if not fix and origin.name in LISTS and origin.name != "boxes" and values.dtype == pl.String:
            fix = f"if each row has one, say `{origin.name}: [{origin.text}]`"
        fix = fix or "write an expression that makes it so, such as answers[1] for a list or box.x0 for a struct"
        raise SourceError(f"fields.{origin.name}", problem, fix) from None


def _text(values: pl.Series, name: str) -> Cast:
    texts = as_text(values)
    # Polars' JSON reader writes a NUL where a text has half a surrogate pair
    pattern = rf"\x00|{_WRITTEN_LIST}" if name == "caption" else r"\x00"
    return Cast(texts, texts.str.contains(pattern).fill_null(False))


def as_text(values: pl.Series) -> pl.Series:
    """Values as text; whole numbers of a float column, which pandas makes of them beside a gap, as whole numbers."""
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
        raise Unfit
    if not values.dtype.is_float():
        try:
            return values.cast(pl.String)
        except pl.exceptions.PolarsError:
            raise Unfit from None  # a span of time, for one
    values = values.fill_nan(None)  # pandas' gap
    texts = values.cast(pl.String)
    whole = _without_fractions(values)
    return whole.cast(pl.String).zip_with(whole.is_not_null(), texts)


def _whole(values: pl.Series, name: str) -> Cast:
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    elif not (values.dtype.is_numeric() or values.dtype == pl.Null):
        raise Unfit
    given, values = values, _without_fractions(values)
    whole = values.cast(NATIVE.get(name, pl.Int64), strict=False)
    return Cast(whole, given.is_not_null() & whole.is_null())


def _flag(values: pl.Series, name: str) -> Cast:
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
        raise Unfit
    text = _without_fractions(values).cast(pl.String).str.strip_chars().str.to_lowercase()
    is_true, is_false = text.is_in(_TRUE), text.is_in(_FALSE)
    flags = is_true.zip_with(is_true | is_false, pl.Series([None], dtype=pl.Boolean))
    return Cast(flags, values.is_not_null() & flags.is_null())


def _without_fractions(values: pl.Series) -> pl.Series:
    """Floats as whole numbers, null where they are none: tables with gaps often hold whole numbers so."""
    if not values.dtype.is_float():
        return values
    is_whole = (values == values.floor()).fill_null(False)
    return values.zip_with(is_whole, pl.Series([None], dtype=values.dtype)).cast(pl.Int64, strict=False)


def whole_if_all_are(values: pl.Series) -> pl.Series:
    """Floats as whole numbers, where all of a column are."""
    whole = _without_fractions(values)
    return whole if whole.null_count() == values.null_count() else values


def lists_of_texts(values: pl.Series, name: str) -> Cast:
    """Values as lists of texts; a text alone is a list where the column named often has one entry."""
    if isinstance(values.dtype, pl.Array):
        values = values.arr.to_list()
    values = lists_from_texts(_given_answers(values) if name == "answers" else values)
    if isinstance(values.dtype, pl.List):
        inner = values.dtype.inner
        if inner.is_nested() or inner in (pl.Binary, pl.Object):
            raise Unfit
        texts = values.cast(_TEXTS)
        if inner.is_float():
            flat = as_text(values.explode(empty_as_null=False))
            texts = values.list.eval(pl.element().cast(pl.String)) if flat.len() == 0 else _relisted(flat, values)
    elif name in _LISTS_OF_ONE:
        given = as_text(values)
        texts = given.to_frame("v").select(pl.concat_list("v")).to_series()
        texts = texts.list.drop_nulls() if given.null_count() else texts
    elif values.dtype == pl.Null:
        texts = values.cast(_TEXTS)
    else:
        raise Unfit
    if name == "answers" and values.dtype == pl.String:
        return Cast(texts, values.str.contains(_WRITTEN_LIST).fill_null(False))
    if name not in ("images", "urls"):
        return Cast(texts, _never(texts))
    flat = texts.explode(empty_as_null=False, keep_nulls=False)
    if (flat.str.strip_chars() != "").sum() == flat.len():
        return Cast(texts, _never(texts))
    is_named = (pl.element().str.strip_chars() != "").fill_null(False)
    named = texts.list.eval(pl.element().filter(is_named))
    first_gap = texts.list.eval((~is_named).arg_true()).list.first()  # what stands behind it would move into it
    return Cast(named, (first_gap < named.list.len()).fill_null(False) if name == "images" else _never(texts))


def _given_answers(values: pl.Series) -> pl.Series:
    """The texts of several people's answers, which VQA's kin have in objects: {"answer": …, "answer_confidence": …}."""
    dtype = values.dtype
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct) and "answer" in dtype.inner.to_schema():
        return values.list.eval(pl.element().struct.field("answer"))
    if isinstance(dtype, pl.Struct) and "answer" in dtype.to_schema():  # as `datasets` has lists of objects
        return values.struct.field("answer")
    return values


def _relisted(flat: pl.Series, like: pl.Series) -> pl.Series:
    """Values that lie in a row, as lists of the same lengths; null where the list is."""
    rows = like.to_frame("v").with_row_index("place").filter(pl.col("v").list.len() > 0)
    places = rows.select(pl.col("place").repeat_by(pl.col("v").list.len()).explode()).to_series()
    lists = pl.DataFrame({"place": places, "flat": flat}).group_by("place", maintain_order=True).agg("flat")
    joined = like.to_frame("v").with_row_index("place").join(lists, on="place", how="left", maintain_order="left")
    none = pl.when(pl.col("v").is_not_null()).then(pl.lit([], dtype=_TEXTS))
    return joined.select(pl.coalesce("flat", none)).to_series()


def _sizes(values: pl.Series, name: str) -> Cast:
    if isinstance(values.dtype, pl.Struct):
        values = values.to_frame("v").select(pl.concat_list("v")).to_series()
    inner = values.dtype.inner if isinstance(values.dtype, pl.List) else None
    if values.dtype != pl.Null and not (isinstance(inner, pl.Struct) and {"width", "height"} <= set(inner.to_schema())):
        raise Unfit
    if inner is None:
        return Cast(values.cast(_SIZES), _never(values))
    given = [_side_as_given(inner, side) for side in ("width", "height")]
    sides = [
        pl.when((side == side.floor()) & side.is_between(1, 2**31 - 1)).then(side).cast(pl.Int32) for side in given
    ]
    is_given = given[0].is_not_null() | given[1].is_not_null()
    is_size = sides[0].is_not_null() & sides[1].is_not_null()
    size = pl.when(is_size).then(pl.struct(width=sides[0], height=sides[1]))
    both = values.to_frame("v").select(
        sizes=pl.col("v").list.eval(size).cast(_SIZES), misfit=pl.col("v").list.eval(is_given & ~is_size).list.any()
    )
    return Cast(both["sizes"], both["misfit"].fill_null(False))


def _side_as_given(sizes: Any, name: str) -> pl.Expr:
    """A side of each size in a list, as a number; NaN where it is something else."""
    side, dtype = pl.element().struct.field(name), sizes.to_schema()[name]
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Boolean):
        raise Unfit
    if dtype == pl.String:
        return pl.when(side.is_not_null()).then(
            side.str.strip_chars().cast(pl.Float64, strict=False).fill_null(math.nan)
        )
    return side.cast(pl.Float64).fill_nan(None)


def _never(values: pl.Series) -> pl.Series:
    return pl.Series([False], dtype=pl.Boolean).new_from_index(0, values.len())


_CASTS: dict[PolarsType, tuple[str, Callable[[pl.Series, str], Cast]]] = {
    pl.String: ("text", _text),
    pl.Int32: ("a whole number", _whole),
    pl.Int64: ("a whole number", _whole),
    pl.Boolean: ("true or false", _flag),
    _TEXTS: ("a list of texts", lists_of_texts),
    _SIZES: ("sizes of width and height in whole pixels", _sizes),
}
