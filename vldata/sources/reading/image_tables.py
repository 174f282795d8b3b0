"""A table that names images, with what lies beside these in a folder of them."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.nested import ITEM, PLACE, ROW
from vldata.sources.reading.table_file import FILE_NAME, FILE_STEM, TableFile
from vldata.sources.reading.tables import open_frame
from vldata.sources.reading.talk_files import talk_rows

_FILES = "file_names"
_PATH, _OTHER = "\0path", "\0other"
_TEXTS = pl.List(pl.String)


def open_metadata(path: Path, rest: TableFile, *, folder: str, before: str, explode: Sequence[str]) -> TableFile:
    """A table that names images (``file_name``, ``file_names`` or ``…_file_name``), with what lies beside these.

    Args:
        rest: The images of its folder; those that it does not name are rows, too.
        folder: Its folder, seen from the source's.
        before: The source's folder, seen from ``image_root``, with the slash behind it.

    Raises:
        SourceError: It names no images.
    """
    table = open_frame(path, explode=explode)
    files = _columns_of_files(table)
    if not files:
        fix = "name the images' files, seen from its folder, in a column 'file_name'"
        raise SourceError(str(path), f"it has no column {FILE_NAME!r}, but {', '.join(table.columns)}", fix)
    caption = [name for name in ("caption", "text") if name in table.columns][:1]
    both = _Metadata(path, table, rest, files, caption, folder, before)
    more = ["images", FILE_NAME, FILE_STEM, *rest.columns, *(["caption"] if caption else [])]
    columns = tuple(dict.fromkeys([*table.columns, *more]))
    return replace(table, columns=columns, read=both.read, row=FILE_NAME, talks=both.talks, images=lambda column: None)


class _Metadata(NamedTuple):
    """A table and the images of its folder.

    Args:
        files: Columns that name images.
        caption: The column with their captions; none, or one.
    """

    path: Path
    table: TableFile
    rest: TableFile
    files: list[str]
    caption: Sequence[str]
    folder: str
    before: str

    def read(self, names: Sequence[str], texts: Collection[str] = ()) -> tuple[pl.DataFrame, dict[int, str]]:
        """As `TableFile.read`: the table's rows with what lies beside their images, then the images that it omits."""
        theirs = {*self.rest.columns} - {*self.table.columns, FILE_NAME, FILE_STEM, "images"}
        beside = [name for name in names if name.partition(".")[0] in theirs or (name == "caption" and "txt" in theirs)]
        others, wrong = self.rest.read([*beside, FILE_NAME, "images"], texts)
        others = others.rename({FILE_NAME: _PATH, PLACE: _OTHER}).with_columns(pl.col(_PATH).cast(pl.String))
        own, notes = self._own([name for name in names if name not in beside], texts)
        both = own.join(others.drop("images"), on=_PATH, how="left", maintain_order="left", suffix="\0")
        if "caption\0" in both.columns:
            differ = both.filter(pl.col("caption").cast(pl.String) != pl.col("caption\0").cast(pl.String))
            for place, one, other in differ.select(PLACE, "caption", "caption\0").iter_rows():
                notes.setdefault(place, f"its caption is {shown(one)} in the table, and {shown(other)} beside it")
            both = both.with_columns(caption=pl.coalesce("caption", "caption\0")).drop("caption\0")
        left = _behind(own, others.join(own, on=_PATH, how="anti", maintain_order="left"))
        notes = {**_notes_of(both, wrong), **notes, **_notes_of(left, wrong)}
        stem = pl.col(_PATH).str.replace(r"\.[^./]*$", "").alias(FILE_STEM)
        whole = pl.concat([both, left], how="diagonal_relaxed").with_columns(pl.col(_PATH).alias(FILE_NAME), stem)
        kept = [name for name in (PLACE, ROW, ITEM) if name in whole.columns]
        return whole.select(*kept, *dict.fromkeys(names)), notes

    def talks(self) -> list[Any]:
        """As `TableFile.talks`: those of the table, then those of images that it omits."""
        rows = talk_rows(self.path, image_root=self.before, frame=self.table)
        own = self._named(self.table.read(self.files, {*self.files})[0])
        for row, first, images in zip(rows, own[_PATH].to_list(), own["images"].to_list(), strict=True):
            if isinstance(row, dict):
                for name in (*self.files, "image"):
                    row.pop(name, None)
                row.setdefault("id", first)
                row["images"] = images
        assert self.rest.talks is not None
        mentioned = {*own[_PATH].drop_nulls()}
        unnamed = zip(self.rest.read([FILE_NAME])[0][FILE_NAME].to_list(), self.rest.talks(), strict=True)
        return [*rows, *(talk for name, talk in unnamed if name not in mentioned)]

    def _own(self, names: Sequence[str], texts: Collection[str]) -> tuple[pl.DataFrame, dict[int, str]]:
        """The table's own columns among these, with its images and captions."""
        ours = [name for name in names if name not in (FILE_NAME, FILE_STEM, "images", "caption")]
        always = [*self.files, *self.caption]
        own, notes = self.table.read(list(dict.fromkeys([*ours, *always])), {*texts, *always})
        return self._named(own).with_columns(pl.col(name).alias("caption") for name in self.caption), notes

    def _named(self, read: pl.DataFrame) -> pl.DataFrame:
        """With the images' paths, and the first of these seen from the source's folder."""
        lists = [
            pl.col(name) if isinstance(read.schema[name], pl.List) else pl.concat_list(name) for name in self.files
        ]
        own = [names.cast(_TEXTS).fill_null(pl.lit([], dtype=_TEXTS)) for names in lists]
        paths = read.select(images=pl.concat_list(own).list.drop_nulls())["images"].to_list()
        paths = [[posixpath.normpath(posixpath.join(self.folder, name)) for name in row] for row in paths]
        first = pl.Series(_PATH, [next(iter(row), None) for row in paths], dtype=pl.String)
        seen = [[name if name.startswith("/") else self.before + name for name in row] for row in paths]
        return read.drop("images", strict=False).with_columns(first, pl.Series("images", seen, dtype=_TEXTS))


def named_images(path: Path, folder: str) -> list[str]:
    """The images that a table names, seen from the source's folder; the table's own is ``folder``, seen from there."""
    table = open_frame(path)
    named, _ = table.read(_columns_of_files(table))
    flat = (values.explode() if isinstance(values.dtype, pl.List) else values for values in named.drop(PLACE))
    names = (name for values in flat for name in values.cast(pl.String).drop_nulls())
    return list(dict.fromkeys(posixpath.normpath(posixpath.join(folder, name)) for name in names))


def _columns_of_files(table: TableFile) -> list[str]:
    return [name for name in table.columns if name in (FILE_NAME, _FILES) or name.endswith(f"_{FILE_NAME}")]


def _behind(own: pl.DataFrame, left: pl.DataFrame) -> pl.DataFrame:
    """Rows with places, and numbers where the table's have any, behind those of the table."""
    fresh = pl.int_range(own.height, own.height + pl.len(), dtype=pl.UInt32)
    left = left.with_columns(fresh.alias(PLACE))
    if ROW not in own.columns:
        return left
    last = own[ROW].max()
    start = 0 if last is None else int(last) + 1  # type: ignore[arg-type]
    rows = pl.int_range(start, start + pl.len(), dtype=pl.UInt32)
    return left.with_columns(rows.alias(ROW), pl.lit(None, pl.Int32).alias(ITEM))


def _notes_of(rows: pl.DataFrame, wrong: Mapping[int, str]) -> dict[int, str]:
    """What is wrong with what lies beside the images of these rows, by the rows' places."""
    places = zip(rows[PLACE].to_list(), rows[_OTHER].to_list(), strict=True)
    return {place: wrong[other] for place, other in places if other in wrong}
