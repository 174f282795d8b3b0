"""Filters by text and by image size. A filter is one field of `Filters`: its type, its limits and its rule.

The text of a turn is the task's text columns joined by a space (a question and its answer, say), so ``min_words: 3`` asks for
three words in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import polars as pl
from pydantic import Field, StrictBool, StrictInt, model_validator

from vldata.curate.cut import Cut, Drop, cut
from vldata.spec import Spec


class TextRule(NamedTuple):
    """A filter on a turn's text.

    Args:
        reason: A name of `vldata.schema.reasons`.
        measure: The text -> what is compared and shown in the ledger.
        drops: The measure and the option -> whether the turn leaves.
    """

    reason: str
    measure: Callable[[pl.Expr], pl.Expr]
    drops: Callable[[pl.Expr, Any], pl.Expr]


class ImageRule(NamedTuple):
    """A filter on the sizes of a turn's images: as `TextRule`, but the measure sees a list of width and height."""

    reason: str
    measure: Callable[[pl.Expr], pl.Expr]
    drops: Callable[[pl.Expr, Any], pl.Expr]


def _below(measured: pl.Expr, limit: Any) -> pl.Expr:
    return measured < limit


def _above(measured: pl.Expr, limit: Any) -> pl.Expr:
    return measured > limit


def _is_true(measured: pl.Expr, _: Any) -> pl.Expr:
    return measured


def num_words(text: pl.Expr) -> pl.Expr:
    """Words between spaces."""
    return text.str.count_matches(r"\S+")


def word_repetition(text: pl.Expr) -> pl.Expr:
    """Share of the word triples that repeat an earlier one, 0 to 1; letter case does not count.

    Natural English stays below 0.1; a looping generator comes near 1. Triples, not words: a long text repeats words.
    """
    word = pl.element()
    triples = (
        text.str.to_lowercase()
        .str.extract_all(r"\S+")
        .list.eval(pl.concat_str(word, word.shift(-1), word.shift(-2), separator=" ").drop_nulls())
    )
    return (1 - triples.list.n_unique() / triples.list.len()).fill_nan(0.0)


def beyond_ascii(text: pl.Expr) -> pl.Expr:
    """Whether there is a character outside ASCII."""
    return text.str.contains(r"[^\x00-\x7F]")


def file_name(text: pl.Expr) -> pl.Expr:
    """Whether the whole text is what a camera or a phone calls a file."""
    suffixed = r"[\w.() -]+\.(jpe?g|png|gif|webp|bmp|tiff?|heic|cr2|nef)"
    numbered = r"(img|image|dsc[nf]?|dscn|pict|pxl|mvi|screenshot|photo)?[ _-]?\d[\d _.-]{3,}"
    return text.str.contains(rf"(?i)^\s*({suffixed}|{numbered})\s*$")


def _shorter_side(sizes: pl.Expr) -> pl.Expr:
    return sizes.list.eval(pl.min_horizontal(*_sides())).list.min()


def _longer_side(sizes: pl.Expr) -> pl.Expr:
    return sizes.list.eval(pl.max_horizontal(*_sides())).list.max()


def _aspect(sizes: pl.Expr) -> pl.Expr:
    return sizes.list.eval(pl.max_horizontal(*_sides()) / pl.min_horizontal(*_sides())).list.max()


def _sides() -> tuple[pl.Expr, pl.Expr]:
    return pl.element().struct.field("width"), pl.element().struct.field("height")


class Filters(Spec):
    """What to leave out; a filter that is not named lets everything through.

    Args:
        min_chars: Fewest characters.
        max_chars: Most characters.
        min_words: Fewest words; FLAVA asks for 2 in YFCC's captions.
        max_words: Most words.
        max_word_repetition: Largest share of word triples that repeat an earlier one, 0 to 1.
        ascii_only: Only texts in ASCII, as SeeClick asks of instructions.
        no_file_names: No text that is nothing but a camera's file name, as CLIP drops them from alt texts.
        min_side_px: Smallest shorter side of any image.
        max_side_px: Largest longer side of any image (`images.max_side_px` scales instead).
        max_aspect: Largest longer side / shorter side of any image.
    """

    min_chars: Annotated[
        StrictInt | None, Field(ge=1), TextRule("text_too_short", lambda t: t.str.len_chars(), _below)
    ] = None
    max_chars: Annotated[
        StrictInt | None, Field(ge=1), TextRule("text_too_long", lambda t: t.str.len_chars(), _above)
    ] = None
    min_words: Annotated[StrictInt | None, Field(ge=1), TextRule("text_too_short", num_words, _below)] = None
    max_words: Annotated[StrictInt | None, Field(ge=1), TextRule("text_too_long", num_words, _above)] = None
    max_word_repetition: Annotated[
        float | None, Field(ge=0, lt=1), TextRule("text_repetitive", word_repetition, _above)
    ] = None
    ascii_only: Annotated[StrictBool, TextRule("text_not_ascii", beyond_ascii, _is_true)] = False
    no_file_names: Annotated[StrictBool, TextRule("text_is_file_name", file_name, _is_true)] = False
    min_side_px: Annotated[StrictInt | None, Field(ge=1), ImageRule("image_too_small", _shorter_side, _below)] = None
    max_side_px: Annotated[StrictInt | None, Field(ge=1), ImageRule("image_too_large", _longer_side, _above)] = None
    max_aspect: Annotated[float | None, Field(ge=1), ImageRule("image_too_long", _aspect, _above)] = None

    @model_validator(mode="after")
    def _something_passes(self) -> Filters:
        for low, high in (("min_chars", "max_chars"), ("min_words", "max_words"), ("min_side_px", "max_side_px")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low} {least} is above {high} {most}: nothing could pass")
        return self


FILTERS: dict[str, TextRule | ImageRule] = {
    name: next(rule for rule in field.metadata if isinstance(rule, TextRule | ImageRule))
    for name, field in Filters.model_fields.items()
}
"""Every filter with its rule, in the order in which they are asked: the first that drops a turn is its reason."""


def text_filters(turns: pl.DataFrame, filters: Filters, texts: Sequence[str]) -> Cut:
    """Drop turns by their text.

    Args:
        turns: Any turns.
        filters: What is asked.
        texts: The task's text columns; a null text counts as empty.
    """
    columns = [pl.col(name) for name in texts if name in turns.columns]
    text = pl.concat_str(columns, separator=" ", ignore_nulls=True).str.strip_chars() if columns else pl.lit("")
    return cut(turns, [_drop(name, rule, text, option) for name, rule, option in _asked(filters, TextRule)])


def image_filters(samples: pl.DataFrame, filters: Filters) -> pl.Series:
    """Why each sample is dropped by the sizes of its images: a name of `vldata.schema.reasons`, or null.

    Args:
        samples: With a column ``sizes``, a list of `vldata.schema.turns.SIZE`. Sizes that are null pass.
        filters: What is asked.
    """
    drops = [_drop(name, rule, pl.col("sizes"), option) for name, rule, option in _asked(filters, ImageRule)]
    none = pl.lit(None, pl.String)
    reasons = [pl.when(drop.when.fill_null(False)).then(pl.lit(drop.reason)) for drop in drops]
    return samples.select(reason=pl.coalesce(*reasons, pl.when(pl.col("sizes").is_null()).then(none)))["reason"]


def _asked(filters: Filters, kind: type) -> list[tuple[str, TextRule | ImageRule, Any]]:
    options = {name: getattr(filters, name) for name in FILTERS}
    return [
        (n, rule, options[n])
        for n, rule in FILTERS.items()
        if isinstance(rule, kind) and options[n] not in (None, False)
    ]


def _drop(name: str, rule: TextRule | ImageRule, value: pl.Expr, option: Any) -> Drop:
    measured = rule.measure(value)
    shown = pl.lit(name) if option is True else pl.format(f"{{}} ({name} {option:g})", measured)
    return Drop(rule.reason, rule.drops(measured, option), shown)
