"""Files -> turns: read once, checked against the task's columns, keyed by row, and kept in the store as Parquet."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from vldata.base import no_collector
from vldata.errors import SourceError, VldataError, nearest
from vldata.recipe.models import Entry
from vldata.schema.keyed import canonical_text, string_keys
from vldata.schema.reasons import OUTCOMES
from vldata.schema.turns import COMMON, KEY, META
from vldata.sources.base import Source
from vldata.sources.reading.box_units import wrong_unit
from vldata.sources.reading.columns import listening
from vldata.sources.reading.keep import KEPT
from vldata.store.keys import key_of
from vldata.store.names import Folder, KeySubject
from vldata.store.remember import file_digest
from vldata.store.store import Store
from vldata.tasks.base import PolarsType, Task

TURNS_VERSION = 3

_NOT_CONTENT = frozenset({"row", "weight", "generator", "problem", "detail"})

_REMARKS, _COLUMNS = "vldata.remarks", "vldata.columns"
"""Under which the file of turns keeps what the source says of them, and which native columns they are made of."""

_NOTES = "vldata.notes"
"""Under which it keeps what the source says of its files."""


@dataclass(frozen=True)
class IndexedTurns:
    """The turns of one source, in the store.

    Args:
        key: Hash of what decides the turns: annotation files' contents, options, task.
        path: Parquet: `COMMON`, the task's columns and `KEY`, one row a turn.
        digests: Annotation file, as the recipe names it, to the hash of its contents.
        remarks: What the source says of turns that are used all the same, to how many.
        columns: As `vldata.sources.reading.columns.ColumnsSeen.summary` has them.
        notes: What it says of its files.
    """

    key: str
    path: Path
    digests: dict[str, str]
    rows: int
    remarks: dict[str, int] = field(default_factory=dict)
    columns: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


def already_indexed(entry: Entry, store: Store) -> IndexedTurns | VldataError | None:
    """The turns of a source when it was read before, or what the user must fix before it can be read."""
    try:
        digests = {str(file): file_digest(store, file) for file in entry.source.files()}
    except (VldataError, OSError, ValueError) as error:
        return _in_recipe(error, entry)
    return _in_store(entry, store, digests)


def index(entry: Entry, store: Store) -> IndexedTurns | VldataError:
    """Read a source, unless it was read before; what the user must fix is returned, so that all is reported at once."""
    try:
        digests = {str(file): file_digest(store, file) for file in entry.source.files()}
        indexed = _in_store(entry, store, digests)
        if indexed is None:
            with no_collector():
                native, columns = read_with_columns(entry.source, entry.task.name)
                said = {
                    _REMARKS: json.dumps(remarks_of(native)),
                    _COLUMNS: json.dumps(columns),
                    _NOTES: json.dumps(entry.source.notes()),
                }
                turns = native.drop("remark", strict=False)
                turns = keyed_turns(turns, entry.task, where=entry.where)
            in_wrong_unit = wrong_unit(turns, entry.source)
            if in_wrong_unit is not None:
                raise in_wrong_unit.error(entry.source, entry.where)
            with store.write(Folder.TURNS, _key(entry, digests), ".parquet") as path:
                turns.write_parquet(path, compression="lz4", row_group_size=131_072, metadata=said)
            del native, turns
            indexed = _in_store(entry, store, digests)
            assert indexed is not None, "it was written just now"
        return indexed
    except (VldataError, OSError) as error:
        return _in_recipe(error, entry)


def _in_store(entry: Entry, store: Store, digests: dict[str, str]) -> IndexedTurns | None:
    key = _key(entry, digests)
    if not store.has(Folder.TURNS, key, ".parquet"):
        return None
    path = store.path(Folder.TURNS, key, ".parquet")
    rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    said = pl.read_parquet_metadata(path)
    remarks, columns, notes = (json.loads(said[name]) for name in (_REMARKS, _COLUMNS, _NOTES))
    return IndexedTurns(key, path, digests, rows, remarks, columns, notes)


def read_with_columns(source: Source, task: str) -> tuple[pl.DataFrame, dict[str, Any] | None]:
    """The turns of a source, and which native columns they are made of; None where it has none.

    Raises:
        SourceError: As `vldata.sources.base.Source.read`.
    """
    with listening() as seen:
        turns = source.read(task)
    return turns, seen.summary(turns, ignore=source.ignore, kept=source.keep)


def remarks_of(turns: pl.DataFrame) -> dict[str, int]:
    """What a source says of turns that are used all the same, to how many, the most frequent first."""
    if "remark" not in turns.columns:
        return {}
    said = turns.filter(pl.col("problem").is_null()).select(pl.col("remark").drop_nulls().str.split("\n").explode())
    counted = said["remark"].value_counts(sort=True)
    return dict(counted.sort("count", "remark", descending=[True, False]).iter_rows())


def _key(entry: Entry, digests: dict[str, str]) -> str:
    options = {k: v for k, v in entry.source.model_dump(mode="json").items() if k not in entry.source.paths}
    for name in () if options.get("keep") else ("keep", "meta"):
        options.pop(name, None)  # what nobody asks for leaves the turns what they were
    if options.get("join"):
        options["join"] = [{k: v for k, v in join.items() if k != "path"} for join in options["join"]]
    return key_of(
        {
            "what": KeySubject.TURNS,
            "version": [TURNS_VERSION, entry.source.version],
            "format": entry.source.format,
            "options": options,
            "names": [_name_below(Path(file), entry) for file in digests],
            "digests": list(digests.values()),
            "task": entry.task.name,
        }
    )


def _in_recipe(error: VldataError | OSError | ValueError, entry: Entry) -> VldataError:
    """The error with the source's place in the recipe in front; a path that the system refuses is the user's."""
    if isinstance(error, OSError):
        what = (error.strerror or str(error)).lower()
        return SourceError(f"{entry.where}: {error.filename or 'path'}", what, "check the path and its permissions")
    if not isinstance(error, VldataError):
        return SourceError(f"{entry.where}.path", str(error), "fix the path")
    if error.where.startswith(entry.where):
        return error
    return type(error)(f"{entry.where}: {error.where}", error.problem, error.fix)


def keyed_turns(turns: pl.DataFrame, task: Task, *, where: str) -> pl.DataFrame:
    """Canonical columns in canonical types, native ones that are kept, a row id for every turn, and its key.

    A row id is the native one, or the hash of the row's canonical columns where it is blank or the format has none.
    Equal ids are set apart by ``~2``, ``~3`` … in the order of their contents, never of their place in the file.

    Raises:
        SourceError: A column the task needs is missing, of another type, or unknown.
    """
    native = turns.select(KEPT, cs.by_name(META, require_all=False)).schema
    extras = {name: dtype for name, dtype in task.extras.items() if name in turns.columns}
    columns: dict[str, PolarsType] = {**COMMON, **task.columns, **extras, **native}
    _refuse_strangers(turns, columns, task, where)
    filled = turns.select(
        (pl.col(name) if name in turns.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in columns.items()
    ).with_columns(pl.col("images").fill_null([]), row=pl.when(pl.col("row").str.strip_chars() != "").then("row"))
    content = {name: dtype for name, dtype in filled.schema.items() if name not in {*_NOT_CONTENT, *native}}
    if filled["row"].null_count():
        hashed = filled.select(canonical_text(content))
        ids = pl.Series(
            "hashed", [f"{k:016x}" for k in string_keys(hashed.to_series().fill_null("").to_list()).tolist()]
        )
        filled = filled.with_columns(row=pl.coalesce("row", ids))
    while filled["row"].n_unique() < filled.height:  # again where a native id is another one's number: a, a, a~2
        filled = _numbered(filled, content)
    return filled.with_columns(pl.Series(KEY, string_keys(filled["row"].to_list()), dtype=pl.UInt64))


def _numbered(turns: pl.DataFrame, content: dict[str, Any]) -> pl.DataFrame:
    order = pl.struct(pl.col("row"), canonical_text(content).alias("content"))
    occurrence = pl.int_range(pl.len()).over("row", order_by=order.struct.field("content")) + 1
    return (
        turns.with_columns(occurrence=occurrence)
        .with_columns(
            row=pl.when(pl.col("occurrence") > 1)
            .then(pl.concat_str("row", pl.lit("~"), pl.col("occurrence").cast(pl.String)))
            .otherwise("row")
        )
        .drop("occurrence")
    )


def _refuse_strangers(turns: pl.DataFrame, columns: dict[str, PolarsType], task: Task, where: str) -> None:
    for name in turns.columns:
        if name not in columns:
            raise SourceError(
                where, f"the source gives a column {name!r} that {task.name!r} does not know", nearest(name, columns)
            )
    missing = [name for name in task.columns if name not in turns.columns and name not in task.optional]
    if missing:
        has = ", ".join(turns.columns) or "none"
        raise SourceError(where, f"no column {missing[0]!r}, which {task.name!r} needs", f"the source gives: {has}")
    if "problem" in turns.columns:
        unknown = set(turns["problem"].drop_nulls().unique()) - OUTCOMES.keys()
        if unknown:
            raise SourceError(where, f"unknown reason {min(unknown)!r}", nearest(min(unknown), OUTCOMES))


def _name_below(file: Path, entry: Entry) -> str:
    """The file's name without the machine's folders: moving a corpus changes nothing."""
    base = Path(entry.source.path)
    try:
        return str(file.relative_to(base)) if file != base else file.name
    except ValueError:
        return file.name
