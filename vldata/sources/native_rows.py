"""Formats whose files are rows of JSON, which is most of them: a declaration, and how rows become turns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.sources.base import Source
from vldata.sources.reading.files import Written, open_json, read_json_lines
from vldata.sources.reading.native_types import NativeType
from vldata.sources.reading.rows import files_named, list_of_rows, rows_by_id, rows_under, typed

LIST, LINES, BY_KEY = "a list", "lines", "an object by key"
"""Where a file's rows lie: the document is the list; one a line; the document is an object of rows."""


class NativeRows(Source):
    """A format that declares what its files are called and what their rows hold, and implements `of_rows`."""

    names: ClassVar[tuple[str, ...]]
    """Patterns of its files' names, for a ``path`` that is a folder; with ``.gz`` behind them, too."""
    rows_at: ClassVar[str] = LIST
    """`LIST`, `LINES`, `BY_KEY` (the keys become the column ``row``), or the key under which the list lies."""
    native: ClassVar[Mapping[str, NativeType]]
    """Fields of a row: what each must be, and which canonical columns it feeds where these have other names."""
    optional: ClassVar[Collection[str]] = ()
    """Fields that a sound row may lack."""
    unread: ClassVar[Collection[str]] = ()
    """Further keys that change nothing of what is learnt; a row with one that is not known is an ``unknown_key``."""
    key_feeds: ClassVar[tuple[str, ...]] = ("row",)
    """Canonical columns that the keys of `BY_KEY` go into."""

    def files(self) -> list[Path]:
        """`row_files`, unless the format has others besides."""
        return self.row_files()

    def row_files(self) -> list[Path]:
        """``path``, or the files below it that `names` fits."""
        return files_named(self.path, *self.names)

    def turns(self, task: str) -> pl.DataFrame:
        """Every row of every file; one whose values do not fit says what is wrong with it."""
        return pl.concat([self.of_rows(self.rows_in(path, task), path, task) for path in self.row_files()])

    def fields_for(self, task: str) -> Mapping[str, NativeType]:
        """`native`, unless options or the task decide which fields are read."""
        return self.native

    def rows_in(self, path: Path, task: str) -> pl.DataFrame:
        """The rows of one file: a column a field, and ``problem`` and ``detail``."""
        if self.rows_at == LINES:
            return self.typed_rows([line for _, line in read_json_lines(path, floats=Written)], task)
        return self.rows_of(open_json(path), path, task)

    def rows_of(self, document: Any, path: Path, task: str) -> pl.DataFrame:
        """The same of an opened file."""
        if self.rows_at == BY_KEY:
            keys, rows = rows_by_id(document, path, feeds=self.key_feeds)
            return self.typed_rows(rows, task).with_columns(keys)
        is_list = self.rows_at == LIST
        return self.typed_rows(
            list_of_rows(document, path) if is_list else rows_under(document, self.rows_at, path), task
        )

    def typed_rows(self, rows: Sequence[Any], task: str) -> pl.DataFrame:
        """The same of rows as `vldata.sources.reading.rows.typed` takes them."""
        ignored = {*self.unread, *self.ignore}
        return typed(rows, self.fields_for(task), optional=self.optional, ignored=ignored, keep=self.keep)

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """The turns of one file's rows, in canonical columns; `vldata.sources.reading.rows.turns_of` selects them."""
        raise NotImplementedError
