"""What stands beside boxes and says in which frame they are: the sides of the image, and which image.

A table may say in two columns how large its image was when the boxes were drawn. They are taken for that where they
can be nothing else; where they look as if and are not, that is said, as nobody compares the frames then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from vldata.schema.turns import SIZE
from vldata.sources.reading.casts import Origin
from vldata.sources.reading.rows import with_remarks

_PAIRS = (("width", "height"), ("image_width", "image_height"), ("img_width", "img_height"), ("img_w", "img_h"))
_OF_A_BOX = ("x", "y", "left", "top", "cx", "cy", "xmin", "ymin", "x_min", "y_min")
"""Columns beside which a plain width and height are perhaps a box's."""
_MOST = 0.9

NO_SIDES = "{} and {} beside its boxes are {}, no sides of an image, so the frame of its boxes was not checked"
IN_FIRST_IMAGE = "its boxes do not say which of its images they are in, and were taken to be in the first"


def sides_beside(found: Mapping[str, Origin], columns: Collection[str]) -> Sequence[str]:
    """The columns of a width and a height beside boxes, unless these may be the boxes' own or others are the sizes."""
    if "boxes" not in found or "image_sizes" in found:
        return ()
    named = {name.lower(): name for name in columns}
    used = {name for origin in found.values() for name in origin.needs}
    for pair in _PAIRS:
        own = [named[side] for side in pair if side in named]
        if len(own) == 2 and not used.intersection(own) and not (pair == _PAIRS[0] and {*_OF_A_BOX} & named.keys()):
            return own
    return ()


def with_sizes_beside(turns: pl.DataFrame, width: pl.Series, height: pl.Series) -> pl.DataFrame:
    """The turns about one image with ``image_sizes`` from columns beside their boxes, where these are plausible sides.

    They are not where many are no whole numbers, and where most are the sides of the row's only box. 0 and -1 stand for
    unknown ones, as null does.
    """
    given = [side.cast(pl.String, strict=False).str.strip_chars().replace("", None) for side in (width, height)]
    sides = [side.cast(pl.Float64, strict=False) for side in given]
    are_sides = [((side == side.floor()) & side.is_between(1, 2**31 - 1)).fill_null(False) for side in sides]
    unknown = [
        text.is_null() | side.is_in([0.0, -1.0]).fill_null(False) for side, text in zip(sides, given, strict=True)
    ]
    is_odd = ~(are_sides[0] | unknown[0]) | ~(are_sides[1] | unknown[1])
    is_size = are_sides[0] & are_sides[1]
    if is_odd.any():
        first = {name: text.filter(is_odd)[0] for name, text in zip((width.name, height.name), given, strict=True)}
        said = NO_SIDES.format(*first, " x ".join(f"{text!s:.20}" for text in first.values()))
        has_boxes = (pl.col("boxes").list.len() > 0).fill_null(False)
        turns = with_remarks(turns, [pl.when(pl.lit(is_odd) & has_boxes).then(pl.lit(said))])
    num = is_size.arg_true().len()
    if not num or num < _MOST * (is_size | is_odd).arg_true().len() or _are_the_boxes_own(turns, *sides):
        return turns
    size = pl.concat_list(pl.struct(width="w", height="h").cast(SIZE))
    is_one = pl.col("is_size") & (pl.col("images").list.len() == 1)
    both = turns.select("images" if "images" in turns.columns else pl.lit(None).alias("images"))
    whole = [pl.when(is_size).then(side).cast(pl.Int32).alias(name) for name, side in zip("wh", sides, strict=True)]
    both = both.with_columns(*whole, is_size=is_size)
    return turns.with_columns(both.select(image_sizes=pl.when(is_one).then(size))["image_sizes"])


def _are_the_boxes_own(turns: pl.DataFrame, width: pl.Series, height: pl.Series) -> bool:
    """Whether most sides are those of the row's only box, which is not all of the image."""
    first = pl.col("boxes").list.first().struct
    spans = [first.field(end) - first.field(start) for start, end in (("x0", "x1"), ("y0", "y1"))]
    alone = turns.select("boxes").with_columns(w=width, h=height).filter(pl.col("boxes").list.len() == 1)
    own = alone.filter(((spans[0] - pl.col("w")).abs() < 1) & ((spans[1] - pl.col("h")).abs() < 1))
    whole = alone.filter((first.field("x0").abs() < 1) & (first.field("y0").abs() < 1)).height
    return 2 * (own.height - whole) > alone.height


def with_remark_of_first_image(turns: pl.DataFrame, boxes: pl.Series) -> pl.DataFrame:
    """The turns with a remark on those about several images whose boxes do not say which of them they are in.

    Args:
        boxes: As the file has them.
    """
    leaf = boxes.dtype
    while isinstance(leaf, pl.List | pl.Array):
        leaf = pl.Series(dtype=leaf.inner).dtype
    if turns.schema.get("images") != pl.List(pl.String) or (
        isinstance(leaf, pl.Struct) and "image" in leaf.to_schema()
    ):
        return turns
    are_several = ((pl.col("images").list.len() > 1) & (pl.col("boxes").list.len() > 0)).fill_null(False)
    if not turns.select(are_several.any()).item():
        return turns
    return with_remarks(turns, [pl.when(are_several & pl.col("problem").is_null()).then(pl.lit(IN_FIRST_IMAGE))])
