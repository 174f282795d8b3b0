"""Rows that name a row of another list by its id, as annotations name their photograph: what both say, in one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from vldata.sources.reading.keep import KEPT, merged, set_beside
from vldata.sources.reading.native_types import ID, SIDE, TEXT
from vldata.sources.reading.rows import note, one_of_each, rows_under, typed, with_both_sides

_LISTED, _PROBLEM, _DETAIL = "\0listed", "\0problem", "\0detail"


def looked_up(
    rows: pl.DataFrame, others: pl.DataFrame, on: str, *, unlisted: str, twice: str, unfit: str | None = None
) -> pl.DataFrame:
    """Rows, each with the other columns of the one among ``others`` that has its id.

    Args:
        rows: With ``problem`` and ``detail``.
        others: With these, too; what is wrong with one is wrong with all rows that name it.
        on: The column with the ids, in both.
        unlisted: The detail where none has a row's id, which is ``{}``: a ``missing_value``.
        twice: The detail where several have it, which say different things: an ``unparsable_row``.
        unfit: The detail where the other row has a problem, of the id and its own detail: an ``unparsable_row``. None:
            its problem and its detail are those of the row.
    """
    first = one_of_each(set_beside(others).rename({"problem": _PROBLEM, "detail": _DETAIL}), on)
    first = first.with_columns(pl.lit(value=True).alias(_LISTED))
    found = merged(rows.join(first, on=on, how="left", maintain_order="left"))
    found = note(found, pl.col(_LISTED).is_null(), "missing_value", pl.format(unlisted, on))
    found = note(found, pl.col("is_contradicted").fill_null(False), "unparsable_row", pl.format(twice, on))
    if unfit is not None:
        found = note(found, pl.col(_PROBLEM).is_not_null(), "unparsable_row", pl.format(unfit, on, _DETAIL))
    else:
        own = pl.col("problem").is_null()
        detail = pl.when(own).then(_DETAIL).otherwise("detail")
        found = found.with_columns(problem=pl.coalesce("problem", _PROBLEM), detail=detail)
    return found.drop(_LISTED, _PROBLEM, _DETAIL, "is_contradicted")


def with_coco_images(annotations: pl.DataFrame, document: Any, path: Path, *, keep: Sequence[str]) -> pl.DataFrame:
    """Annotations, each with its photograph of a COCO file: ``file_name``, ``width``, ``height``, ``urls``.

    LVIS has no ``file_name``: its file is the last two parts of ``coco_url``.

    Raises:
        SourceError: The document is not a COCO file.
    """
    fields = {
        "id": ID.to("images"),
        "file_name": TEXT.to("images"),
        "width": SIDE.to("image_sizes"),
        "height": SIDE.to("image_sizes"),
        "coco_url": TEXT.to("images", "urls"),
        "flickr_url": TEXT.to("urls"),
    }
    images = typed(rows_under(document, "images", path), fields, optional={*fields} - {"id"}, of="images", keep=keep)
    images = with_both_sides(images).select(
        KEPT,
        "problem",
        "detail",
        "width",
        "height",
        image_id="id",
        file_name=pl.coalesce("file_name", pl.col("coco_url").str.extract(r"([^/]+/[^/]+)$")),
        urls=pl.concat_list("flickr_url", "coco_url").list.drop_nulls(),
    )
    listed = looked_up(
        annotations,
        images,
        "image_id",
        unlisted="image {} is not among the file's `images`",
        twice="the file's `images` lists {} twice, with different values",
        unfit="image {}: {}",
    )
    return note(
        listed, pl.col("file_name").is_null(), "missing_value", pl.format("image {} has no file_name", "image_id")
    )
