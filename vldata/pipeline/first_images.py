"""A look at the first images of a source, and at the boxes on them, for `vldata check`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from vldata.errors import SourceError, VldataError
from vldata.images.inline import TEXT_TABLES
from vldata.images.look import look as look_at
from vldata.images.problem import ImageProblem
from vldata.images.references import SEPARATOR, TABLES, ImageReader
from vldata.paths import home
from vldata.pipeline.candidates import BEST_SIZES
from vldata.pipeline.fit_boxes import OUTSIDE_PX, fit_boxes
from vldata.pipeline.image_facts import place_of
from vldata.recipe.models import Entry
from vldata.schema.turns import SIZE
from vldata.sources.reading.box_units import WrongUnit, outside_unit

IMAGES = 20
"""Images, or turns with boxes, that are looked at."""


class Found(NamedTuple):
    """What may be as it should be, and what a build would stop at."""

    notes: list[str]
    problems: list[VldataError]


def images_of(entry: Entry, turns: pl.DataFrame, *, is_all: bool) -> Found:
    """Whether the first images can be used; of those in archives only whether these are there, as a listing is long.

    Args:
        turns: Sound ones.
        is_all: Whether the tables were read whole, so that images inside them can be found.
    """
    found = Found([], [])
    if entry.settings.images.missing == "keep" or entry.source.images_key() is not None:
        return found
    root = entry.source.image_root
    if root is not None and not home(root).exists():
        return found  # told by whoever asks for the root itself
    refs = turns["images"].explode().drop_nulls().unique(maintain_order=True)
    if not is_all:
        refs = refs.filter(~refs.str.contains(SEPARATOR, literal=True))  # inside a table of which this was the head
    first = refs.head(IMAGES).to_list()
    reader = ImageReader(place_of(entry).root)
    missing = {ref: why for ref in first if (why := _missing(reader, ref)) is not None}
    broken = {ref: why for ref in first if ref not in missing and (why := _broken(reader, ref, entry)) is not None}
    if broken:
        ref, why = next(iter(broken.items()))
        said = f"{len(broken)} of the first {len(first)} images cannot be used, such as {ref[:200]} ({why[:200]})"
        if len(broken) < len(first):
            found.notes.append(f"{entry.name}: {said}")
        else:
            found.problems.append(SourceError(f"{entry.where}.image_root", said, "fetch the images again"))
    if not missing:
        return found
    ref, why = next(iter(missing.items()))
    if len(missing) < len(first):
        said = f"{len(missing)} of the first {len(first)} images are not there, such as {ref[:200]}"
        found.notes.append(f"{entry.name}: {said}")
        return found
    below = "image_root is not set" if root is None else f"image_root is {root}"
    problem = f"not one of the first {len(first)} images is there, such as {ref[:200]} ({why[:200]}; {below})"
    fix = "name the folder or archive below which they lie, or try --standin 200"
    found.problems.append(SourceError(f"{entry.where}.image_root", problem, fix))
    return found


def _missing(reader: ImageReader, ref: str) -> str | None:
    try:
        file = reader.locate(ref).file
    except ImageProblem as problem:
        return problem.detail
    try:
        return None if Path(file).exists() else f"no {file}"
    except OSError as error:  # a name that no file system takes, such as one of 5,000 characters
        return str(error.strerror)


def _broken(reader: ImageReader, ref: str, entry: Entry) -> str | None:
    """What is wrong with the bytes of a plain file, or of an image inside a table."""
    try:
        place = reader.locate(ref)
        if place.member is None or place.file.endswith(TABLES + TEXT_TABLES):
            look_at(reader.read_at(place), place_of(entry).max_pixels)
    except ImageProblem as problem:
        return f"{problem.reason}: {problem.detail}"
    except (VldataError, OSError, ValueError):
        return None  # of the machine: a build says it
    return None


def boxes_of(entry: Entry, turns: pl.DataFrame) -> Found:
    """Whether the boxes of the first turns that have any lie in their images.

    Args:
        turns: Sound ones.
    """
    found = Found([], [])
    if "boxes" not in turns.columns or entry.source.images_key() is not None:
        return found
    first = turns.filter(pl.col("boxes").list.len() > 0).head(IMAGES).with_row_index("at")
    first = first.with_columns(pl.col("at").cast(pl.Int64), _sizes(first, entry))
    is_known = ~pl.col("sizes").list.eval(pl.element().is_null()).list.any()
    if entry.settings.images.missing == "keep" and home(entry.source.image_root or ".").is_dir():
        inside = pl.col("images").list.eval(pl.element().str.contains(SEPARATOR, literal=True)).list.any()
        is_known |= ~inside  # a build does not know them either, but by what is annotated
    first = first.filter(is_known).with_columns(BEST_SIZES)
    none = [pl.lit(None, pl.String).alias(name) for name in ("reason", "detail")]
    fitted = fit_boxes(first.drop("sizes", "detail").with_columns(none), first, entry)
    broken = fitted.filter(pl.col("reason").is_not_null())
    if not broken.height:
        return found
    row, reason, detail = broken.select("row", "reason", "detail").row(0)
    said = f"the boxes of {broken.height} of the first {first.height} turns that have any do not fit their images"
    said = f"{said}, such as {row}: {reason} ({detail})"
    if broken.height < first.height:
        found.notes.append(f"{entry.name}: {said}")
    else:
        names = [name for name in ("boxes_are", "box_order") if name in type(entry.source).model_fields]
        fix = f"check {' and '.join(f'`{name}`' for name in names)}, or" if names else "fix the boxes, or"
        fix = f"{fix} whether these are the images that were annotated"
        found.problems.append(SourceError(entry.where, said, fix))
    return found


def _sizes(turns: pl.DataFrame, entry: Entry) -> pl.Series:
    """Of the images of some turns, as far as these are plain files that can be read."""
    reader, known = ImageReader(place_of(entry).root), dict[str, dict[str, int] | None]()
    for ref in dict.fromkeys(ref for refs in turns["images"].to_list() for ref in refs):
        try:
            place = reader.locate(ref)
            seen = look_at(reader.read_at(place)) if place.member is None else None  # the listing of an archive is long
            known[ref] = {"width": seen.width, "height": seen.height} if seen else None
        except (ImageProblem, VldataError, OSError, ValueError):
            known[ref] = None  # told by whoever judges the images
    return pl.Series("sizes", [[known[ref] for ref in refs] for refs in turns["images"].to_list()], pl.List(SIZE))


def wrong_unit_by_sizes(turns: pl.DataFrame, entry: Entry) -> WrongUnit | None:
    """What boxes say of their unit where the sizes of their images are known: those annotated, else of the first."""
    if "boxes" not in turns.columns or entry.source.images_key() is not None:
        return None
    usable = turns.filter(pl.col("problem").is_null() & (pl.col("boxes").list.len() > 0))
    if usable["image_sizes"].null_count():
        usable = _with_sizes_of_first(usable, entry)
    size = pl.col("image_sizes").list.first().struct
    sized = usable.filter(pl.col("image_sizes").list.first().is_not_null())
    ends = [pl.col("boxes").list.eval(pl.element().struct.field(edge)).list.max() for edge in ("x1", "y1")]
    sides = [size.field(side) + OUTSIDE_PX for side in ("width", "height")]
    outside = sized.filter((ends[0] > sides[0]) | (ends[1] > sides[1]))
    return outside_unit(outside, sized.height, entry.source) if outside.height else None


def _with_sizes_of_first(turns: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    """The first turns with the sizes of their images, as far as these can be read."""
    turns = turns.head(IMAGES)
    return turns.with_columns(_sizes(turns, entry).alias("image_sizes"))
