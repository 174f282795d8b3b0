"""Columns out of texts: the named groups of a regular expression that a text fits as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import polars as pl

from vldata.errors import SourceError, nearest
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.table_file import TableFile


def groups_of(pattern: str) -> list[str]:
    """The named groups of a regular expression.

    Raises:
        ValueError: It is none, or has no named group.
    """
    try:
        dtype = pl.Series([""]).str.extract_groups(_whole(pattern)).dtype
    except pl.exceptions.PolarsError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"{pattern!r} is no regular expression ({lines[-1] if lines else error})") from None
    assert isinstance(dtype, pl.Struct)
    names = [name for name in dtype.to_schema() if not name.isdigit()]
    if not names:
        raise ValueError(f"{pattern!r} has no named group; write (?<name>...) around what becomes a column")
    return names


def with_extracted(frame: TableFile, patterns: Mapping[str, str]) -> TableFile:
    """A file that also has a column for each named group; a row whose text does not fit its expression is none.

    Args:
        patterns: Column of texts -> regular expression (Rust's, whose dot is any character here).

    Raises:
        SourceError: The file has no such column, or has one of a group's name.
    """
    of_group: dict[str, str] = {}
    for column, pattern in patterns.items():
        if column not in frame.columns:
            raise SourceError(f"{frame.path}, extract", f"no column {column!r}", nearest(column, frame.columns))
        for name in groups_of(pattern):
            if name in frame.columns or name in of_group:
                problem = f"(?<{name}>...) names a column that is there already"
                raise SourceError(f"{frame.path}, extract.{column}", problem, "give the group another name")
            of_group[name] = column

    def read(names: Sequence[str], texts: Collection[str] = ()) -> tuple[pl.DataFrame, dict[int, str]]:
        wanted = [name for name in names if name in of_group]
        if not wanted:
            return frame.read(names, texts)
        asked = dict.fromkeys(of_group[name] for name in wanted)
        ours = tuple(dict.fromkeys((*(name for name in names if name not in of_group), *asked)))
        table, notes = frame.read(ours, {*texts, *asked} & {*ours})
        for column in asked:
            dtype = table.schema[column]
            if dtype.is_nested() or dtype == pl.Binary:
                problem = f"{column!r} is {dtype}, not text"
                raise SourceError(f"{frame.path}, extract.{column}", problem, "name a column of texts")
            values = table[column].cast(pl.String)
            parts = values.str.extract_groups(_whole(patterns[column])).struct.unnest()
            table = table.with_columns(parts[name] for name in wanted if of_group[name] == column)
            misfits = table.filter(~values.str.contains(_whole(patterns[column])))
            said = (f"{column!r} is {shown(value)}, which does not fit its `extract`" for value in misfits[column])
            notes = {**dict(zip(misfits[PLACE].to_list(), said, strict=True)), **notes}
        return table, notes

    return replace(frame, columns=(*frame.columns, *of_group), read=read)


def _whole(pattern: str) -> str:
    return f"(?s)^(?:{pattern})$"
