"""Candidates, in rank order, looked at closely: their images, the sizes of these, the boxes on them, their split.

Images are only opened as far down the ranks as the mixture needs. Everything here is a function of a sample alone, so
how far the walk goes changes nothing about what it finds on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from vldata.curate.filters import image_filters
from vldata.images.missing import MAX_REF
from vldata.recipe.models import Entry
from vldata.schema.keyed import fractions, keyed, string_keys
from vldata.schema.turns import BOX, SIZE

Look = Callable[[list[str]], pl.DataFrame]
"""References -> `vldata.images.facts` of them."""

REFUSED = {"row": pl.String, "at": pl.Int64, "reason": pl.String, "detail": pl.String}

OUTSIDE_PX = 1.0
"""How far a box may stick out and is clamped, as by half a pixel in COCO, whose boxes are rounded."""

LEAST_PX = 1.0 - 1e-6
"""A box whose sides are both shorter holds nothing; one pixel of an image may come out of its fractions a hair less."""

_SEEN_ALL = ~pl.col("sizes").list.eval(pl.element().is_null()).list.any()
BEST_SIZES = pl.when(_SEEN_ALL | pl.col("image_sizes").is_null()).then("sizes").otherwise("image_sizes").alias("sizes")
"""Sizes of a sample's images as they were seen; where one was not, as they were annotated."""

_SHORT_REF = (
    pl.when(pl.col("ref").str.len_chars() > MAX_REF).then(pl.col("ref").str.head(MAX_REF) + "…").otherwise("ref")
)


@dataclass(frozen=True)
class InspectedSamples:
    """Good samples among some candidates, and what is wrong with the others.

    Args:
        samples: Columns as in `vldata.schema.turns.COLUMNS_AFTER`.
        turns: The turns of the good samples, likewise; ``boxes`` is null where the image's size is unknown.
        refused: ``row, at, reason, detail`` of every other turn.
    """

    samples: pl.DataFrame
    turns: pl.DataFrame
    refused: pl.DataFrame


def inspect(
    turns: pl.DataFrame,
    entry: Entry,
    look: Look,
    *,
    seed: int,
    splits: dict[str, float],
    excluded_hashes: frozenset[str],
) -> InspectedSamples:
    """Look at whole samples.

    Args:
        turns: Turns of some samples, sorted, with ``at``: the position of their sample among all candidates.
        splits: Every split with its share; they add up to 1.
        excluded_hashes: Content hashes of images that must not be used.
    """
    samples = turns.filter(pl.col("place") == 0).select("at", "sample", "sample_row", "images", "image_sizes", "thread")
    samples, problems = _with_images(samples, entry, look, excluded_hashes)
    samples = _with_split(samples, entry.name, seed=seed, splits=splits)
    problems = problems.with_columns(
        reason=pl.coalesce("reason", pl.when(samples["split"].is_null()).then(pl.lit("image_in_two_splits")))
    )
    problems = problems.filter(pl.col("reason").is_not_null())
    if problems.height:
        turns = turns.join(problems, on="at", how="left", maintain_order="left")
    else:
        turns = turns.with_columns(pl.lit(None, pl.String).alias(name) for name in ("reason", "detail"))
    if "boxes" in turns.columns:
        turns = fit_boxes(turns, samples, entry)
    refused = turns.filter(pl.col("reason").is_not_null()).select(pl.col(c).cast(t) for c, t in REFUSED.items())
    good = turns
    if refused.height:
        good, refused = _whole_threads(turns.filter(pl.col("reason").is_null()), refused, turns)
    counted = good.group_by("at", maintain_order=True).agg(num_turns=pl.len(), sample_row=pl.col("row").first())
    samples = samples.drop("sample_row").join(counted, on="at", how="inner", maintain_order="right")
    return InspectedSamples(
        samples.drop("image_sizes", "thread"), good.drop("reason", "detail", "images", "image_sizes"), refused
    )


def _with_images(
    samples: pl.DataFrame, entry: Entry, look: Look, excluded_hashes: frozenset[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sizes, hashes and bytes of each sample's images, and the first thing wrong with them."""
    references = samples.select("at", ref="images").explode("ref").drop_nulls("ref")
    facts = look(references["ref"].unique(maintain_order=True).to_list())
    if entry.settings.images.missing == "keep":
        facts = facts.with_columns(
            problem=pl.when(pl.col("problem") == "image_missing").then(None).otherwise(pl.col("problem"))
        )
    if excluded_hashes:
        excluded = pl.col("problem").is_null() & pl.col("hash").is_in(list(excluded_hashes))
        facts = facts.with_columns(
            problem=pl.when(excluded).then(pl.lit("excluded")).otherwise("problem"),
            detail=pl.when(excluded).then(pl.col("hash")).otherwise("detail"),
        )
    seen = references.join(facts, on="ref", how="left", maintain_order="left").with_columns(
        size=pl.when(pl.col("width").is_not_null()).then(pl.struct(pl.col("width", "height").cast(pl.Int32)))
    )
    by_sample = seen.group_by("at", maintain_order=True).agg(
        sizes=pl.col("size"),
        hashes=pl.col("hash"),
        image_bytes=pl.col("size_bytes").fill_null(0).sum().cast(pl.Int64),
        num_deep=pl.col("deep").fill_null(False).sum(),
        reason=pl.col("problem").drop_nulls().first(),
        detail=pl.concat_str(_SHORT_REF, pl.lit(": "), pl.col("detail").fill_null(""))
        .filter(pl.col("problem").is_not_null())
        .first(),
    )
    joined = samples.join(by_sample, on="at", how="left", maintain_order="left").with_columns(
        pl.col("sizes").fill_null(pl.lit([], dtype=pl.List(SIZE))),
        pl.col("hashes").fill_null(pl.lit([], dtype=pl.List(pl.String))),
        pl.col("image_bytes", "num_deep").fill_null(0),
    )
    joined = joined.with_columns(BEST_SIZES)
    filtered = image_filters(joined, entry.settings.filters)
    joined = joined.with_columns(reason=pl.coalesce("reason", filtered))
    return joined.drop("reason", "detail"), joined.select("at", "reason", "detail")


def _with_split(samples: pl.DataFrame, source: str, *, seed: int, splits: dict[str, float]) -> pl.DataFrame:
    """The split of each sample's ids; null when they fall into different ones.

    A photograph is known by its bytes; one that is not there, by its file name; a text, by its row or thread.
    """
    if len(splits) == 1:
        return samples.with_columns(split=pl.lit(next(iter(splits))))
    name = pl.element().str.split("/").list.last()
    ids = samples.with_columns(
        who=pl.when(pl.col("images").list.len() > 0)
        .then(pl.col("hashes"))
        .otherwise(pl.concat_list(pl.concat_str(pl.lit(source + "/"), pl.coalesce("thread", "sample_row")))),
        names=pl.col("images").list.eval(pl.concat_str(pl.lit("name:"), name)),
    ).select("at", "who", "names")
    each = ids.with_columns(names=pl.when(pl.col("names").list.len() > 0).then("names").otherwise("who")).explode(
        "who", "names"
    )
    who = each.select(pl.coalesce("who", "names")).to_series()
    others = [split for split in splits if split != "train"]
    edges = np.cumsum([splits[split] for split in others])
    chosen = np.searchsorted(edges, fractions(keyed(string_keys(who.to_list()), seed, "split")), side="right")
    names = pl.Series("split", [*others, "train"])
    each = each.with_columns(split=names.gather(pl.Series(chosen, dtype=pl.UInt32)))
    split = each.group_by("at", maintain_order=True).agg(
        split=pl.when(pl.col("split").n_unique() == 1).then(pl.col("split").first())
    )
    return samples.join(split, on="at", how="left", maintain_order="left")


def fit_boxes(turns: pl.DataFrame, samples: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    """Boxes clamped into their images, in pixels and in fractions, and what is wrong with them.

    Args:
        turns: With ``at``, ``boxes``, ``reason`` and ``detail``; a reason that is there stays.
        samples: ``at``, ``images``, ``sizes`` (null where unknown) and ``image_sizes``, as annotated, of every ``at``.
        entry: Their source.

    Returns:
        The turns with ``boxes`` in pixels (null when a size is unknown), ``fractions``, and the first thing wrong.
    """
    numbered = turns.with_row_index("turn")
    each = (
        numbered.select("turn", "at", "boxes", in_fractions=_in_fractions(turns, entry))
        .explode("boxes")
        .drop_nulls("boxes")
        .unnest("boxes")
        .with_columns(pl.col("image").fill_null(0))
        .join(
            samples.select("at", "sizes", "image_sizes", count=pl.col("images").list.len()),
            on="at",
            how="left",
            maintain_order="left",
        )
        .with_columns(
            size=pl.col("sizes").list.get(pl.col("image"), null_on_oob=True),
            annotated=pl.col("image_sizes").list.get(pl.col("image"), null_on_oob=True),
        )
        .with_columns(
            w=pl.col("size").struct.field("width").cast(pl.Float64),
            h=pl.col("size").struct.field("height").cast(pl.Float64),
        )
    )
    in_fractions = pl.when("in_fractions")
    unit_w, unit_h = (in_fractions.then(1.0).otherwise(pl.col(side)) for side in ("w", "h"))
    slack_w, slack_h = (
        in_fractions.then(OUTSIDE_PX / pl.col(side).fill_null(1000.0)).otherwise(OUTSIDE_PX) for side in ("w", "h")
    )
    coordinates = (
        pl.concat_list("x0", "y0", "x1", "y1").list.eval(pl.element().round(1).cast(pl.String)).list.join(", ")
    )
    frame = pl.concat_str(
        pl.lit(" on "), pl.col("w").cast(pl.Int64), pl.lit("x"), pl.col("h").cast(pl.Int64)
    ).fill_null("")
    outside = (
        ~pl.all_horizontal(pl.col("x0", "y0", "x1", "y1").is_finite())
        | (pl.min_horizontal("x0", "x1") < -slack_w)
        | (pl.min_horizontal("y0", "y1") < -slack_h)
        | (pl.max_horizontal("x0", "x1") > unit_w + slack_w)
        | (pl.max_horizontal("y0", "y1") > unit_h + slack_h)
    )
    wide = pl.min_horizontal("x1", unit_w) - pl.max_horizontal("x0", 0.0)
    high = pl.min_horizontal("y1", unit_h) - pl.max_horizontal("y0", 0.0)
    px_wide, px_high = (
        in_fractions.then(edge * pl.col(side)).otherwise(edge) for edge, side in ((wide, "w"), (high, "h"))
    )
    is_speck = ((px_wide < LEAST_PX) & (px_high < LEAST_PX)).fill_null(False)
    differs = in_fractions.then(_of_another_shape()).otherwise(pl.col("annotated") != pl.col("size"))
    each = each.with_columns(
        reason=pl.when((pl.col("image") < 0) | (pl.col("image") >= pl.col("count")))
        .then(pl.lit("box_wrong_image"))
        .when(pl.col("x0").is_null() | pl.col("y0").is_null() | pl.col("x1").is_null() | pl.col("y1").is_null())
        .then(pl.lit("no_box"))
        .when(differs.fill_null(False))
        .then(pl.lit("image_size_mismatch"))
        .when((pl.col("w").is_null() | pl.col("h").is_null()) & ~pl.col("in_fractions"))
        .then(pl.lit("image_size_unknown"))
        .when(outside)
        .then(pl.lit("box_outside_image"))
        .when((pl.col("x1") < pl.col("x0")) | (pl.col("y1") < pl.col("y0")))
        .then(pl.lit("box_corners_swapped"))
        .when((wide <= 0) | (high <= 0) | is_speck)
        .then(pl.lit("box_empty")),
        detail=pl.concat_str(pl.lit("["), coordinates, pl.lit("]"), frame),
    )
    to_px = [("x0", "w"), ("y0", "h"), ("x1", "w"), ("y1", "h")]
    fraction = {c: (pl.col(c) / in_fractions.then(1.0).otherwise(pl.col(s))).clip(0.0, 1.0) for c, s in to_px}
    pixels = {c: (pl.col(c) * in_fractions.then(pl.col(s)).otherwise(1.0)).clip(0.0, pl.col(s)) for c, s in to_px}
    by_turn = each.group_by("turn").agg(
        fractions=_boxes(fraction),
        px=_boxes(pixels),
        box_reason=pl.col("reason").drop_nulls().first(),
        box_detail=pl.col("detail").filter(pl.col("reason").is_not_null()).first(),
        sized=pl.col("w").is_not_null().all(),
    )
    joined = numbered.drop("boxes").join(by_turn, on="turn", how="left", maintain_order="left")
    none = pl.lit([], dtype=pl.List(BOX))
    return joined.with_columns(
        detail=pl.when(pl.col("reason").is_null()).then("box_detail").otherwise("detail"),
        reason=pl.coalesce("reason", "box_reason"),
        boxes=pl.when(pl.col("sized").fill_null(True)).then(pl.col("px").fill_null(none)).cast(pl.List(BOX)),
        fractions=pl.col("fractions").fill_null(none).cast(pl.List(BOX)),
    ).drop("turn", "px", "box_reason", "box_detail", "sized", *{"box_unit"} & {*joined.columns})


def _in_fractions(turns: pl.DataFrame, entry: Entry) -> pl.Expr:
    """Whether a turn's boxes are fractions: as it says itself, else as its source."""
    of_source = pl.lit(entry.source.box_unit == "fraction")
    return (pl.col("box_unit") == "fraction").fill_null(of_source) if "box_unit" in turns.columns else of_source


def _of_another_shape() -> pl.Expr:
    """Sizes as annotated and as seen differ by more than a scale: a turn or a cut, which fractions do not survive."""
    annotated = [pl.col("annotated").struct.field(side).cast(pl.Float64) for side in ("width", "height")]
    rounding = pl.max_horizontal(annotated[0] + annotated[1], pl.col("w") + pl.col("h"))
    return (annotated[0] * pl.col("h") - annotated[1] * pl.col("w")).abs() > rounding


def _boxes(corners: dict[str, pl.Expr]) -> pl.Expr:
    named = [corner.alias(name) for name, corner in corners.items()]
    return pl.struct([*named, pl.col("image").cast(pl.Int32), pl.col("phrase")])


def _whole_threads(good: pl.DataFrame, refused: pl.DataFrame, turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A thread with a broken exchange is broken as a whole."""
    broken = turns.filter(pl.col("reason").is_not_null() & pl.col("thread").is_not_null()).select("at").unique()
    lost = good.join(broken, on="at", how="semi", maintain_order="left")
    if not lost.height:
        return good, refused
    why = lost.select("row", "at", reason=pl.lit("broken_conversation"), detail=pl.col("thread"))
    return good.join(broken, on="at", how="anti", maintain_order="left"), pl.concat([refused, why.cast(refused.schema)])
