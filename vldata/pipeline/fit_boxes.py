"""Boxes laid on their images: clamped into these, in pixels and in fractions, and what is wrong with them."""

from __future__ import annotations

import polars as pl

from vldata.recipe.models import Entry
from vldata.schema.turns import BOX

OUTSIDE_PX = 1.0
"""How far a box may stick out and is clamped, as by half a pixel in COCO, whose boxes are rounded."""

LEAST_PX = 1.0 - 1e-6
"""A box whose sides are both shorter holds nothing; one pixel of an image may come out of its fractions a hair less."""

_IN_FRACTIONS = pl.when("in_fractions")
_CORNERS = {"x0": "w", "y0": "h", "x1": "w", "y1": "h"}
"""Numbers of a box, and the side of the image that each lies on."""


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
    boxes = numbered.select("turn", "at", "boxes", in_fractions=_in_fractions(turns, entry))
    each = _with_frames(boxes, samples).with_columns(reason=_problem(), detail=_as_text())
    by_turn = each.group_by("turn").agg(
        fractions=_boxes(_fractions()),
        px=_boxes(_pixels()),
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


def _with_frames(boxes: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    """A row a box: its numbers, ``count`` of its turn's images, the size of its own as seen (``w``, ``h``) and said."""
    each = boxes.explode("boxes").drop_nulls("boxes").unnest("boxes").with_columns(pl.col("image").fill_null(0))
    frames = samples.select("at", "sizes", "image_sizes", count=pl.col("images").list.len())
    each = each.join(frames, on="at", how="left", maintain_order="left").with_columns(
        size=pl.col("sizes").list.get(pl.col("image"), null_on_oob=True),
        annotated=pl.col("image_sizes").list.get(pl.col("image"), null_on_oob=True),
    )
    side = pl.col("size").struct
    return each.with_columns(w=side.field("width").cast(pl.Float64), h=side.field("height").cast(pl.Float64))


def _problem() -> pl.Expr:
    """The first thing that is wrong with a box; null where nothing is."""
    differs = _IN_FRACTIONS.then(_of_another_shape()).otherwise(pl.col("annotated") != pl.col("size"))
    return (
        pl.when((pl.col("image") < 0) | (pl.col("image") >= pl.col("count")))
        .then(pl.lit("box_wrong_image"))
        .when(pl.any_horizontal(pl.col(*_CORNERS).is_null()))
        .then(pl.lit("no_box"))
        .when(differs.fill_null(False))
        .then(pl.lit("image_size_mismatch"))
        .when((pl.col("w").is_null() | pl.col("h").is_null()) & ~pl.col("in_fractions"))
        .then(pl.lit("image_size_unknown"))
        .when(_is_outside())
        .then(pl.lit("box_outside_image"))
        .when((pl.col("x1") < pl.col("x0")) | (pl.col("y1") < pl.col("y0")))
        .then(pl.lit("box_corners_swapped"))
        .when(_is_empty())
        .then(pl.lit("box_empty"))
    )


def _whole(side: str) -> pl.Expr:
    """A whole side of the image, in the unit of the box."""
    return _IN_FRACTIONS.then(1.0).otherwise(pl.col(side))


def _is_outside() -> pl.Expr:
    slack_w, slack_h = (
        _IN_FRACTIONS.then(OUTSIDE_PX / pl.col(side).fill_null(1000.0)).otherwise(OUTSIDE_PX) for side in ("w", "h")
    )
    return (
        ~pl.all_horizontal(pl.col(*_CORNERS).is_finite())
        | (pl.min_horizontal("x0", "x1") < -slack_w)
        | (pl.min_horizontal("y0", "y1") < -slack_h)
        | (pl.max_horizontal("x0", "x1") > _whole("w") + slack_w)
        | (pl.max_horizontal("y0", "y1") > _whole("h") + slack_h)
    )


def _is_empty() -> pl.Expr:
    """Whether nothing of a box lies on the image, or it is a speck."""
    wide = pl.min_horizontal("x1", _whole("w")) - pl.max_horizontal("x0", 0.0)
    high = pl.min_horizontal("y1", _whole("h")) - pl.max_horizontal("y0", 0.0)
    px_wide, px_high = (
        _IN_FRACTIONS.then(edge * pl.col(side)).otherwise(edge) for edge, side in ((wide, "w"), (high, "h"))
    )
    is_speck = ((px_wide < LEAST_PX) & (px_high < LEAST_PX)).fill_null(False)
    return (wide <= 0) | (high <= 0) | is_speck


def _as_text() -> pl.Expr:
    """A box as its detail shows it: "[1.0, 2.0, 3.0, 4.0] on 640x480"."""
    numbers = pl.concat_list(*_CORNERS).list.eval(pl.element().round(1).cast(pl.String)).list.join(", ")
    size = [pl.lit(" on "), pl.col("w").cast(pl.Int64), pl.lit("x"), pl.col("h").cast(pl.Int64)]
    return pl.concat_str(pl.lit("["), numbers, pl.lit("]"), pl.concat_str(*size).fill_null(""))


def _fractions() -> dict[str, pl.Expr]:
    return {name: (pl.col(name) / _whole(side)).clip(0.0, 1.0) for name, side in _CORNERS.items()}


def _pixels() -> dict[str, pl.Expr]:
    scales = {side: _IN_FRACTIONS.then(pl.col(side)).otherwise(1.0) for side in ("w", "h")}
    return {name: (pl.col(name) * scales[side]).clip(0.0, pl.col(side)) for name, side in _CORNERS.items()}


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
