"""Tables side by side: the rows of a file with the columns that other files have for them, found by equal values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from vldata.errors import SourceError, nearest
from vldata.schema.spec import Spec
from vldata.schema.turns import KEPT_PREFIX
from vldata.sources.reading import nested
from vldata.sources.reading.delimited import BLANK_LINE
from vldata.sources.reading.files import UTF8
from vldata.sources.reading.open import Encoding, OpenOptions, Pattern, TextRows, opened, paths_of, refuse_beside_text
from vldata.sources.reading.table_file import TableFile
from vldata.sources.reading.tables import kept_in

_KEY = "\0key"
_FLOATS_ARE_EXACT = 2**53


class Join(Spec):
    """Columns of other files for each row; null where they have no row for it.

    Args:
        path: File, folder or glob; ``${ENV}`` is replaced.
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
    """The rows of the other files: their columns, and one with their key as text.

    Args:
        num_without_key: How many more there are, which are nobody's.
        texts: The same columns as JSON texts, as the files write them.
    """

    join: Join
    rows: pl.DataFrame
    num_without_key: int = 0
    texts: Callable[[], pl.DataFrame] = pl.DataFrame


def join_files(join: Join) -> list[Path]:
    """The other files.

    Raises:
        SourceError: There is none.
    """
    try:
        return paths_of(join.path, join.text)
    except SourceError as error:
        raise SourceError(f"join: {error.where}", error.problem, error.fix.replace("`path`", "`join.path`")) from None


def read_join(join: Join) -> Joined:
    """Read the other files.

    Raises:
        SourceError: A column is missing, a row cannot be read, a key is a number with a fraction, or two rows have the
            same one.
    """
    tables, frames, without = [], [], 0
    options = OpenOptions(join.at, join.columns, (), join.text, join.extract, join.encoding)
    for path in join_files(join):
        frame = opened(path, options, join.path)
        frames.append(frame)
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
        without += keyed[_KEY].null_count()
        tables.append(keyed.filter(pl.col(_KEY).is_not_null()).select(_KEY, **join.keep))
    rows = pl.concat(tables, how="diagonal_relaxed")
    double = rows.filter(~pl.col(_KEY).is_first_distinct())
    if double.height:
        said = double[_KEY][0].replace("\0", ", ")
        keys = ", ".join(join.on.values())
        raise SourceError(join.path, f"several rows have the {keys} {said!r}", "keep one of them")

    def texts() -> pl.DataFrame:
        keyed = (_with_key(frame.read(list(join.on.values()))[0], list(join.on.values()), "join") for frame in frames)
        natives = list(join.keep.values())
        names = {KEPT_PREFIX + name: KEPT_PREFIX + native for name, native in join.keep.items()}
        kept = (pl.DataFrame(kept_in(frame, list(dict.fromkeys(natives)))).select(**names) for frame in frames)
        return pl.concat([one.select(_KEY).hstack(columns) for one, columns in zip(keyed, kept, strict=True)])

    return Joined(join, rows, without, texts)


def unmatched(frames: Sequence[TableFile], others: Sequence[Joined]) -> list[str]:
    """What a reader should know of each join: rows without a partner, on either side; nothing where all have one."""
    notes = []
    for place, other in enumerate(others):
        keys = list(other.join.on)
        tables = [with_columns_of(frame, others[:place]).read(keys)[0] for frame in frames]
        ours = pl.concat([_records(_with_key(table, keys, "join")) for table in tables])
        alone = ours.filter(~ours[_KEY].is_in(other.rows[_KEY].implode()).fill_null(False)).height
        num_theirs = other.rows.height + other.num_without_key
        unused = num_theirs - other.rows[_KEY].is_in(ours[_KEY].implode()).sum()
        if alone or unused:
            said = f"{alone:,} of {ours.height:,} rows have no partner in {other.join.path}"
            notes.append(f"{said}, and {unused:,} of its {num_theirs:,} rows are no row's")
    return notes


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

    def beside(names: Sequence[str]) -> list[pl.Series]:
        first = frame.beside(names) if frame.beside is not None else []
        theirs = [KEPT_PREFIX + name for name in names if name in other.join.keep]
        if not theirs:
            return first
        keyed = _with_key(frame.read(keys)[0], keys, here).select(_KEY)
        texts = other.texts().filter(pl.col(_KEY).is_not_null())
        return [*first, *keyed.join(texts, on=_KEY, how="left", maintain_order="left").select(theirs)]

    inside = frame.inside
    paths = tuple(nested.paths(schema))
    return replace(
        frame, columns=(*frame.columns, *schema), read=read, inside=lambda: (*inside(), *paths), beside=beside
    )


def _with_key(table: pl.DataFrame, names: Sequence[str], where: str) -> pl.DataFrame:
    """The table with the values of some columns as one text, null where one is.

    Raises:
        SourceError: One holds numbers with fractions, or no single values.
    """
    texts = []
    for name in names:
        values = table[name]
        if values.dtype.is_nested() or values.dtype == pl.Binary:
            raise SourceError(
                where, f"{name!r} is {values.dtype}, which names no row", "join on texts or whole numbers"
            )
        if values.dtype.is_float():
            values = values.fill_nan(None)  # pandas writes whole numbers so where a column has a gap
            is_id = (values == values.floor()) & (values.abs() < _FLOATS_ARE_EXACT)
            if not (values.is_null() | is_id).all():
                problem = f"{name!r} holds numbers with fractions, which are never surely equal"
                raise SourceError(where, problem, "join on texts or whole numbers")
            values = values.cast(pl.Int64)
        texts.append(values.cast(pl.String))
    return table.with_columns(pl.select(pl.concat_str(texts, separator="\0")).to_series().alias(_KEY))


def _records(keyed: pl.DataFrame) -> pl.DataFrame:
    """The keys of a table's rows, each row once where its lists are exploded."""
    if nested.ROW not in keyed.columns:
        return keyed.select(_KEY)
    return keyed.select(nested.ROW, _KEY).unique(maintain_order=True).select(_KEY)
