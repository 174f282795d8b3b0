"""Filters by text and by image size. A filter is one field of `Filters`: its type, its limits and its rule.

The text of a turn is the task's text columns joined by a space (a question and its answer, say), so ``min_words: 3``
asks for three words in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import polars as pl
from pydantic import Field, StrictBool, StrictInt, model_validator

from vldata.curate.cut import Cut, Drop, cut
from vldata.schema.spec import Spec


class Rule(NamedTuple):
    """What a filter does.

    Args:
        on: Whether it looks at a turn's text, or at its images' sizes (a list of width and height).
        reason: A name of `vldata.schema.reasons`.
        measure: Text or sizes -> what is compared, and shown in the ledger.
        drops: The measure and the option -> whether the turn leaves.
    """

    on: Literal["text", "sizes"]
    reason: str
    measure: Callable[[pl.Expr], pl.Expr]
    drops: Callable[[pl.Expr, float], pl.Expr]


def _below(measured: pl.Expr, limit: float) -> pl.Expr:
    return measured < limit


def _above(measured: pl.Expr, limit: float) -> pl.Expr:
    return measured > limit


def _is_true(measured: pl.Expr, _: float) -> pl.Expr:
    return measured


def num_chars(text: pl.Expr) -> pl.Expr:
    """Characters."""
    return text.str.len_chars()


def num_words(text: pl.Expr) -> pl.Expr:
    """Words between spaces."""
    return text.str.count_matches(r"\S+")


def word_repetition(text: pl.Expr) -> pl.Expr:
    """Share of the word triples that repeat an earlier one, 0 to 1; letter case does not count.

    Natural English stays below 0.1; a looping generator comes near 1. Triples, not words: a long text repeats words.
    """
    return text.map_batches(_triple_repetition, return_dtype=pl.Float64)


def _triple_repetition(text: pl.Series) -> pl.Series:
    words = text.str.to_lowercase().str.extract_all(r"\S+")
    table = pl.DataFrame({"place": pl.int_range(len(text), eager=True), "word": words})
    # a triple that repeats has three words that repeat: most texts are done here, without taking them apart
    suspects = table.filter(pl.col("word").list.len() - pl.col("word").list.n_unique() >= 3)
    each = suspects.explode("word")
    same, following = pl.col("place") == pl.col("place").shift(-2), [pl.col("word").shift(-1), pl.col("word").shift(-2)]
    triples = each.select("place", pl.concat_str("word", following[0], following[1], separator=" "), same=same)
    shares = triples.filter("same").group_by("place").agg(share=1 - pl.col("word").n_unique() / pl.len())
    return table.join(shares, on="place", how="left", maintain_order="left")["share"].fill_null(0.0)


def beyond_ascii(text: pl.Expr) -> pl.Expr:
    """Whether there is a character outside ASCII."""
    return text.str.contains(r"[^\x00-\x7F]")


def file_name(text: pl.Expr) -> pl.Expr:
    """Whether the whole text is what a camera or a phone calls a file."""
    suffix = r"\.(jpe?g|png|gif|webp|bmp|tiff?|heic|cr2|nef)"
    numbered = rf"[a-z]*[ _-]?\d[\d _.:-]*{suffix}"
    camera = r"(img|dsc[nf]?|dscn|pict|pxl|mvi)[ _-]?\d{3,}([ _-]\d+)*"
    return text.str.contains(rf"(?i)^\s*([\w.()-]+{suffix}|{numbered}|{camera})\s*$")


def shorter_side(sizes: pl.Expr) -> pl.Expr:
    """Pixels of the shortest side of any image."""
    return sizes.list.eval(pl.min_horizontal(*_sides())).list.min()


def longer_side(sizes: pl.Expr) -> pl.Expr:
    """Pixels of the longest side of any image."""
    return sizes.list.eval(pl.max_horizontal(*_sides())).list.max()


def aspect(sizes: pl.Expr) -> pl.Expr:
    """Longer side / shorter side of the most elongated image."""
    return sizes.list.eval(pl.max_horizontal(*_sides()) / pl.min_horizontal(*_sides())).list.max()


def _sides() -> tuple[pl.Expr, pl.Expr]:
    return pl.element().struct.field("width"), pl.element().struct.field("height")


Count = Annotated[StrictInt | None, Field(ge=1)]
Share = Annotated[float | None, Field(ge=0, lt=1)]
Ratio = Annotated[float | None, Field(ge=1, allow_inf_nan=False)]


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

    min_chars: Annotated[Count, Rule("text", "text_too_short", num_chars, _below)] = None
    max_chars: Annotated[Count, Rule("text", "text_too_long", num_chars, _above)] = None
    min_words: Annotated[Count, Rule("text", "text_too_short", num_words, _below)] = None
    max_words: Annotated[Count, Rule("text", "text_too_long", num_words, _above)] = None
    max_word_repetition: Annotated[Share, Rule("text", "text_repetitive", word_repetition, _above)] = None
    ascii_only: Annotated[StrictBool, Rule("text", "text_not_ascii", beyond_ascii, _is_true)] = False
    no_file_names: Annotated[StrictBool, Rule("text", "text_is_file_name", file_name, _is_true)] = False
    min_side_px: Annotated[Count, Rule("sizes", "image_too_small", shorter_side, _below)] = None
    max_side_px: Annotated[Count, Rule("sizes", "image_too_large", longer_side, _above)] = None
    max_aspect: Annotated[Ratio, Rule("sizes", "image_too_long", aspect, _above)] = None

    @model_validator(mode="after")
    def _something_passes(self) -> Filters:
        for low, high in (("min_chars", "max_chars"), ("min_words", "max_words"), ("min_side_px", "max_side_px")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low} {least} is above {high} {most}: nothing could pass")
        return self


FILTERS: dict[str, Rule] = {
    name: next(rule for rule in field.metadata if isinstance(rule, Rule))
    for name, field in Filters.model_fields.items()
}
"""Every filter with its rule, in the order in which they are tried: the first that drops a turn is its reason."""


def text_filters(turns: pl.DataFrame, filters: Filters, texts: Sequence[str]) -> Cut:
    """Drop turns by their text.

    Args:
        turns: Any turns.
        filters: The limits of the recipe.
        texts: The task's text columns; a null text counts as empty.
    """
    columns = [pl.col(name) for name in texts if name in turns.columns]
    text = pl.concat_str(columns, separator=" ", ignore_nulls=True).str.strip_chars() if columns else pl.lit("")
    return cut(turns, [_drop(name, rule, text, option) for name, rule, option in _limits(filters, "text")])


def image_filters(samples: pl.DataFrame, filters: Filters) -> pl.Series:
    """Why each sample is dropped by the sizes of its images: a name of `vldata.schema.reasons`, or null.

    Args:
        samples: With a column ``sizes``, a list of `vldata.schema.turns.SIZE`. Sizes that are null pass.
        filters: The limits of the recipe.
    """
    limits = _limits(filters, "sizes")
    if not limits:
        return pl.repeat(None, samples.height, dtype=pl.String, eager=True)
    drops = [_drop(name, rule, pl.col("sizes"), option) for name, rule, option in limits]
    reasons = [pl.when(drop.when.fill_null(False)).then(pl.lit(drop.reason)) for drop in drops]
    return samples.select(reason=pl.coalesce(reasons))["reason"]


def _limits(filters: Filters, on: str) -> list[tuple[str, Rule, float]]:
    options = {name: getattr(filters, name) for name in FILTERS}
    # a limit of 0 is a limit: only None and False are off
    return [
        (name, rule, options[name])
        for name, rule in FILTERS.items()
        if rule.on == on and options[name] is not None and options[name] is not False
    ]


def _drop(name: str, rule: Rule, value: pl.Expr, option: float) -> Drop:
    measured = rule.measure(value)
    shown = pl.lit(name) if option is True else pl.format(f"{{}} ({name} {option:g})", measured)
    return Drop(rule.reason, rule.drops(measured, option), shown)
