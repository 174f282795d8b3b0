"""Boxes in another unit than the recipe says, recognized by where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.boxes import EDGES, WHOLE_SIDE, BoxesAre

if TYPE_CHECKING:
    from vldata.sources.base import Source

_FAR = 2.0
"""Corners this many pixels, or whole sides, away from the upper left one belong to no box that is read right."""

_LARGE_THOUSANDTHS = 500
_MOST = 0.99


class WrongUnit(NamedTuple):
    """Boxes that say of themselves that they are in another unit than they were read in."""

    problem: str
    likely: tuple[BoxesAre, ...]

    def error(self, source: Source, where: str) -> SourceError:
        """The error of a source read in this unit.

        Args:
            source: Who read them.
            where: Its place in the recipe.
        """
        said = " or ".join(f"`boxes_are: {unit}`" for unit in self.likely)
        if "boxes_are" in type(source).model_fields:
            return SourceError(f"{where}.boxes_are", self.problem, f"set {said}, and check `box_order`")
        fix = f"read the file as `format: table` with {said}, or fix the file"
        return SourceError(where, f"{self.problem}; {source.format!r} knows no boxes_are", fix)


def unit_of(source: Source) -> BoxesAre:
    """In which unit the boxes of a source's files are, going by its recipe or its format."""
    return cast(BoxesAre, getattr(source, "boxes_are", source.box_unit))


def wrong_unit(turns: pl.DataFrame, source: Source) -> WrongUnit | None:
    """What boxes say of their unit by themselves: all lie in one corner of every image, or most far outside any.

    Args:
        turns: As the source read them.
    """
    unit = unit_of(source)
    is_fixed = "boxes_are" not in type(source).model_fields and source.box_unit == "fraction"
    if "boxes" not in turns.columns or is_fixed:
        return None
    turns = _in_unit_of(source, turns)
    reach = _reach(turns) * WHOLE_SIDE.get(unit, 1)
    if not reach.len():
        return None
    largest = float(cast(float, reach.max()))
    if unit != "fraction" and (reach <= _FAR).sum() >= _MOST * reach.len():
        found = f"boxes are read as {unit}, but the corners of (nearly) all {reach.len():,} lie within 0 to {_FAR:g}"
        return WrongUnit(f"{found} (the largest is {largest:g}): they look like fractions", ("fraction",))
    if unit != "px" and 2 * (reach > _FAR * WHOLE_SIDE[unit]).sum() > reach.len():
        found = f"boxes are read as {unit}, but most of the {reach.len():,} end far outside their images"
        return WrongUnit(f"{found}: corners reach to {largest:g}", _units_up_to(largest))
    return None


def outside_unit(turns: pl.DataFrame, looked_at: int, source: Source) -> WrongUnit | None:
    """What boxes in pixels say of their unit when most end outside their images, but none beyond 1000 or 0.

    Args:
        turns: Those with a box outside its image.
        looked_at: Turns whose images were seen, all in all.
    """
    if unit_of(source) != "px" or 2 * turns.height <= looked_at:
        return None
    turns = _in_unit_of(source, turns)
    corners = _corners_of(turns).select(pl.concat_list(EDGES).explode()).to_series()
    least, largest = (float(cast(float, edge or 0)) for edge in (corners.min(), corners.max()))
    if least < 0 or not _LARGE_THOUSANDTHS <= largest <= 1000:
        return None
    problem = (
        f"{turns.height:,} of {looked_at:,} turns have a box outside its image, and their corners lie within 0 to 1000 "
        f"(the largest is {largest:g}): they look like thousandths that were read as px"
    )
    return WrongUnit(problem, ("thousandths",))


def _in_unit_of(source: Source, turns: pl.DataFrame) -> pl.DataFrame:
    """Turns that do not say themselves that their boxes are in another unit than those of their source."""
    if "box_unit" not in turns.columns:
        return turns
    return turns.filter(pl.col("box_unit").fill_null(source.box_unit) == source.box_unit)


def _units_up_to(largest: float) -> tuple[BoxesAre, ...]:
    if largest <= 102:
        return ("percent", "px")
    return ("thousandths", "px") if largest <= 1020 else ("px",)


def _reach(turns: pl.DataFrame) -> pl.Series:
    """How far each box reaches from the upper left corner of its image; without boxes that are all zeros."""
    reach = _corners_of(turns).select(pl.max_horizontal(pl.all().abs())).to_series()
    return reach.filter(reach > 0)


def _corners_of(turns: pl.DataFrame) -> pl.DataFrame:
    return turns.select(pl.col("boxes").explode()).drop_nulls().unnest("boxes").select(EDGES)
