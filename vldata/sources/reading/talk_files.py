"""Files of conversations, and their rows as objects."""

from __future__ import annotations

import io
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from vldata.errors import SourceError
from vldata.paths import home
from vldata.sources.reading.columns import is_heard, note_columns
from vldata.sources.reading.embedded import embedded_images, name_below
from vldata.sources.reading.files import expand, is_about, is_braced, read_json, visible
from vldata.sources.reading.inline_images import named_in_cells
from vldata.sources.reading.json import LINES, json_rows
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.table_file import TableFile, suffix_of
from vldata.sources.reading.tables import SUFFIXES, json_objects, open_frame
from vldata.sources.reading.talk_keys import (
    IMAGES,
    feeds_of,
    form_of,
)
from vldata.sources.reading.tars import is_tar, open_tar, tars_below

_JSON = (*LINES, ".json")

_EMBEDDING = (".parquet", ".arrow")

_STRETCH = 20_000
"""Rows of a table that are written as JSON at a time."""


def talk_files(path: str) -> list[Path]:
    """The tables that a path names, of a folder all below it; of one that ``save_to_disk`` wrote those of its state.

    Raises:
        SourceError: There is none, or the folder holds several splits.
    """
    folder = home(path)
    shards = tars_below(folder) if folder.is_dir() else []
    if shards and not any(suffix_of(file) in SUFFIXES for file in visible(folder) if not is_about(file.name)):
        return shards
    saved = saved_files(path)
    if saved is not None or not folder.is_dir():
        return saved or expand(path)
    found = expand(path, suffixes=SUFFIXES)
    best = [file for file in found if suffix_of(file) in (*_JSON, *_EMBEDDING)]
    return best or found  # tables of text often lie beside conversations, and hold something else


def folder_of_images(path: str) -> str | None:
    """Where images lie that are bytes in the tables that a path names; None where these hold text alone.

    Of a folder only what lies right in it or in its ``data``, as on the Hub, is looked at: there may be many images.
    """
    whole = home(path)
    if has_magic(path) or is_braced(path):
        plain = next(k for k, part in enumerate(whole.parts) if has_magic(part) or is_braced(part))
        return str(Path(*whole.parts[:plain])) if _may_embed(whole) else None
    if not whole.is_dir():
        return str(whole.parent) if _may_embed(whole) else None
    here = (file for folder in (whole, whole / "data") if folder.is_dir() for file in folder.iterdir())
    return str(whole) if any(map(_may_embed, here)) else None


def _may_embed(path: Path) -> bool:
    return suffix_of(path) in _EMBEDDING or is_tar(path)


def saved_files(path: str) -> list[Path] | None:
    """The tables of a folder that ``datasets``' ``save_to_disk`` wrote; None where it did not.

    Raises:
        SourceError: The folder holds several splits.
    """
    folder = home(path)
    if (folder / "dataset_dict.json").is_file():
        splits = read_json(folder / "dataset_dict.json").get("splits", [])
        fix = f"point `path` at one of them: {', '.join(f'{path}/{split}' for split in splits)}"
        raise SourceError(path, "a folder of several splits", fix)
    if not (folder / "state.json").is_file():
        return None
    named = [str(file.get("filename")) for file in read_json(folder / "state.json").get("_data_files", [])]
    return [file for name in named for file in expand(str(folder / Path(name).name))]


def talk_rows(
    path: Path, *, image_root: str | None, frame: TableFile | None = None, at: str | None = None
) -> list[Any]:
    """The rows of a table as objects, with references where images lie in its cells; an exception is no row.

    Args:
        image_root: Folder from which the images inside the table are named.
        frame: The table, where it has been looked at already.
        at: Dotted path to the rows inside a JSON document; None: the document itself.

    Raises:
        SourceError: The file is no table.
    """
    if frame is None and is_tar(path):
        frame = open_tar(path, image_root=image_root, stem=path.name.partition(".")[0])
    if frame is not None and frame.talks is not None:
        return note_rows(frame.talks())
    if suffix_of(path) in _JSON:
        return note_rows(json_rows(path) if frame is None else json_objects(frame))
    frame = frame or open_frame(path)
    inside = {}
    for column in frame.columns:
        images = embedded_images(frame, column, image_root)
        if images is not None:
            inside[column] = [_whole(references) for references in images.to_list()]
    table, notes = frame.read([column for column in frame.columns if column not in inside], {"id"})
    for column in {*IMAGES} & {*table.columns}:
        cells = named_in_cells(
            table[column], frame.path, name_below(frame.path, image_root), places=table[PLACE], column=column
        )
        table = table.with_columns(cells.alias(column))
    rows: list[Any] = list(_objects(table.drop(PLACE), path)) if table.width > 1 else [{} for _ in range(table.height)]
    for column, images_of_rows in inside.items():
        for row, references in zip(rows, images_of_rows, strict=True):
            row[column] = references
    for place, detail in notes.items():
        rows[place] = ValueError(detail)
    return note_rows(rows)


def note_rows(rows: list[Any]) -> list[Any]:
    """The rows, after it is said what their keys feed."""
    if is_heard():
        for keys in {tuple(row): None for row in rows if isinstance(row, dict)}:
            feeds = {key: names for key, names in feeds_of(form_of(keys)).items() if key in keys}
            note_columns(feeds, (key for key in keys if key not in feeds))
    return rows


def _objects(table: pl.DataFrame, path: Path) -> Iterator[Any]:
    """The rows of a table as JSON has them."""
    whole = [name for name, dtype in table.schema.items() if name == "id" and dtype.is_float()]
    table = table.with_columns(pl.col(name).cast(pl.Int64, strict=False) for name in whole if _is_whole(table[name]))
    for start in range(0, table.height, _STRETCH):
        lines = io.BytesIO()
        try:
            table.slice(start, _STRETCH).write_ndjson(lines)
        except pl.exceptions.PolarsError as error:
            problem = f"its rows cannot be read as conversations: {str(error).partition(chr(10))[0]}"
            raise SourceError(str(path), problem, "fix `path` or `format`") from None
        yield from msgspec.json.Decoder().decode_lines(lines.getvalue())


def _is_whole(values: pl.Series) -> bool:
    return bool((values.drop_nulls() == values.drop_nulls().floor()).all())


def _whole(references: list[str]) -> list[str | None]:
    """References to the images of a cell; with a null where one among others is missing, which would move the rest."""
    has_gap = bool(references) and int(references[-1].rpartition("/")[2]) >= len(references)
    return [*references, None] if has_gap else [*references]
