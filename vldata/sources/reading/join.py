"""Tables side by side: the rows of a file with the columns that other files have for them, found by equal values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from vldata.errors import SourceError, nearest
from vldata.schema.spec import Spec
from vldata.sources.reading import nested
from vldata.sources.reading.delimited import BLANK_LINE
from vldata.sources.reading.files import UTF8
from vldata.sources.reading.open import Encoding, OpenOptions, Pattern, TextRows, opened, paths_of, refuse_beside_text
from vldata.sources.reading.tables import TableFile

_KEY = "\0key"


class Join(Spec):
    """Columns of other files for each row; null where they have no row for it.

    Args:
        path: File, folder or glob.
        at: As `Table.at`, of these files.
        columns: As `Table.columns`, of these files.
        on: Column of the table -> column of these files with the same values; a name alone is both. No two rows of
            these files may agree in all of them.
        text: As `Table.text`, of these files.
        extract: As `Table.extract`, of these files.
        encoding: As `Table.encoding`, of these files.
        keep: The columns to take over; ``{answer: text}`` takes over ``text`` and calls it ``answer``.
    """

    path: str
    at: str | None = None
    columns: list[str] | None = None
    on: Annotated[dict[str, str], Field(min_length=1)]
    keep: Annotated[dict[str, str], Field(min_length=1)]
    text: TextRows | None = None
    extract: dict[str, Pattern] = {}
    encoding: Encoding = UTF8

    @model_validator(mode="after")
    def _is_table_or_text(self) -> Self:
        refuse_beside_text(self.text, at=self.at, columns=self.columns)
        return self

    @field_validator("on", "keep", mode="before")
    @classmethod
    def _by_name(cls, said: Any) -> Any:
        names = [said] if isinstance(said, str) else said
        return {name: name for name in names} if isinstance(names, list) else said


class Joined(NamedTuple):
    """The rows of the other files: their columns, and one with their key as text."""

    join: Join
    rows: pl.DataFrame


def read_join(join: Join) -> Joined:
    """Read the other files.

    Raises:
        SourceError: A column is missing, a row cannot be read, a key is a number with a fraction, or two rows have the
            same one.
    """
    tables = []
    options = OpenOptions(join.at, join.columns, (), join.text, join.extract, join.encoding)
    for path in paths_of(join.path, join.text):
        frame = opened(path, options, join.path)
        names = tuple(dict.fromkeys((*join.on.values(), *join.keep.values())))
        known = (*frame.columns, *frame.inside()) if any("." in name for name in names) else frame.columns
        for name in names:
            if name not in known:
                raise SourceError(f"{path}, join", f"no column {name!r}", nearest(name, known))
        table, broken = frame.read(names)
        broken = {place: detail for place, detail in broken.items() if detail != BLANK_LINE}
        if broken:
            place = min(broken)
            raise SourceError(f"{path}, join", f"row {place + 1} cannot be read: {broken[place]}", "fix the file")
        keyed = _with_key(table, list(join.on.values()), str(path))
        tables.append(keyed.filter(pl.col(_KEY).is_not_null()).select(_KEY, **join.keep))
    rows = pl.concat(tables, how="diagonal_relaxed")
    double = rows.filter(~pl.col(_KEY).is_first_distinct())
    if double.height:
        said = double[_KEY][0].replace("\0", ", ")
        keys = ", ".join(join.on.values())
        raise SourceError(join.path, f"several rows have the {keys} {said!r}", "keep one of them")
    return Joined(join, rows)


def with_columns_of(frame: TableFile, others: Sequence[Joined]) -> TableFile:
    """A file whose columns are also those of other files.

    Raises:
        SourceError: It has no such key, or a column of the same name.
    """
    for other in others:
        frame = _beside(frame, other)
    return frame


def _beside(frame: TableFile, other: Joined) -> TableFile:
    here, keys = f"{frame.path}, join", list(other.join.on)
    known = (*frame.columns, *frame.inside()) if any("." in key for key in keys) else frame.columns
    for key in keys:
        if key not in known:
            raise SourceError(here, f"no column {key!r}", nearest(key, known))
    for name in other.join.keep:
        if name in frame.columns:
            raise SourceError(here, f"{other.join.path} and the table both have a column {name!r}", "keep another one")
    schema = other.rows.drop(_KEY).schema

    def read(names: Sequence[str], texts: Collection[str] = ()) -> tuple[pl.DataFrame, dict[int, str]]:
        theirs = {name: found for name in names if (found := nested.column(name, schema)) is not None}
        ours = tuple(dict.fromkeys((*(name for name in names if name not in theirs), *keys)))
        table, notes = frame.read(ours, [name for name in texts if name not in theirs])
        if not theirs:
            return table, notes
        joined = _with_key(table, keys, here).join(other.rows, on=_KEY, how="left", maintain_order="left")
        return joined.with_columns(expression for expression, _ in theirs.values()).drop(_KEY), notes

    inside = frame.inside
    paths = tuple(nested.paths(schema))
    return replace(frame, columns=(*frame.columns, *schema), read=read, inside=lambda: (*inside(), *paths))


def _with_key(table: pl.DataFrame, names: Sequence[str], where: str) -> pl.DataFrame:
    """The table with the values of some columns as one text, null where one is.

    Raises:
        SourceError: One holds numbers with fractions, or no single values.
    """
    for name in names:
        dtype = table.schema[name]
        if dtype.is_nested() or dtype == pl.Binary:
            raise SourceError(where, f"{name!r} is {dtype}, which names no row", "join on texts or whole numbers")
        if dtype.is_float() and not (table[name].is_null() | (table[name] == table[name].floor())).all():
            problem = f"{name!r} holds numbers with fractions, which are never surely equal"
            raise SourceError(where, problem, "join on texts or whole numbers")
    whole = [pl.col(name).cast(pl.Int64) if table.schema[name].is_float() else pl.col(name) for name in names]
    return table.with_columns(pl.concat_str([one.cast(pl.String) for one in whole], separator="\0").alias(_KEY))
