"""A look at the first rows of a source, for `vldata check`: what a build would find out only later, found out now."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from vldata.curate.where import where
from vldata.errors import BuildError, SourceError, VldataError
from vldata.paths import home
from vldata.pipeline.first_images import boxes_of, images_of, wrong_unit_by_sizes
from vldata.pipeline.index import keyed_turns, read_with_columns, remarks_of
from vldata.pipeline.render import refuse_containers
from vldata.pipeline.screen import complete
from vldata.recipe.models import Entry
from vldata.schema.reasons import REJECTED
from vldata.sources.base import Source
from vldata.sources.reading import tars, tfrecords
from vldata.sources.reading.box_units import wrong_unit
from vldata.sources.reading.json_head import write_head

WHOLE_BYTES = 32 * 1024 * 1024
"""Sources with no more are read whole."""

ROWS = 200
SCAN_BYTES = 4 * 1024 * 1024 * 1024
"""Of larger JSON files only the start is looked at."""
_HEAD_BYTES = 4 * 1024 * 1024
_CUT_BYTES = 4 * WHOLE_BYTES
"""Most bytes of a head that are read: a document's other lists are in it."""
_LINES = (".jsonl", ".ndjson", ".csv", ".tsv", ".txt")


@dataclass
class FirstRows:
    """What was seen.

    Args:
        left: Turns of a source read whole that nothing is wrong with and no ``where`` leaves out.
        rows: Turns read; None of a source whose files are too large to be read and have no head to cut off.
        is_all: Whether these are all of them.
        problems: What a build would stop at.
        notes: What may be as it should be.
        columns: Which native columns the rows are made of, as `vldata.pipeline.plan_record.SourceReport` has them.
    """

    rows: int | None = None
    left: int | None = None
    is_all: bool = False
    problems: list[VldataError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, Any] | None = None


def look(entry: Entry, files: list[Path], *, stores_paths: bool = False) -> FirstRows:
    """Read the first rows of a source, and look for their images.

    Args:
        files: Of the source; none of one that draws its own.
        stores_paths: Whether the recipe asks for images as paths.
    """
    seen = FirstRows()
    if not files:
        return seen
    seen.notes += [
        f"{entry.name}: {path} is one JSON list, not JSON lines; it is read as a list" for path in _lists(files)
    ]
    heads: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            seen.is_all = sum(path.stat().st_size for path in files) <= WHOLE_BYTES
            cut = (entry.source, heads) if seen.is_all else _cut(entry.source, files, Path(folder))
            if cut is None:
                seen.notes.append(f"{entry.name}: its files are large and were not opened; `vldata plan` reads them")
                return seen
            source, heads = cut
            native, seen.columns = read_with_columns(source, entry.task.name)
            seen.notes += [f"{entry.name}: {note}" for note in source.notes()] if seen.is_all else []
            _say(seen, entry, remarks_of(native), native.height)
            given = native.drop("remark", strict=False)
            turns = keyed_turns(given, entry.task, where=entry.where)
            turns = _judged(turns, entry)
            if stores_paths:
                refuse_containers(entry, turns.filter(pl.col("problem").is_null())["images"].explode().drop_nulls())
            in_wrong_unit = wrong_unit(turns, entry.source) or wrong_unit_by_sizes(turns, entry)
            if in_wrong_unit is not None:
                seen.problems.append(in_wrong_unit.error(entry.source, entry.where))
        except VldataError as error:
            at = error.where if error.where.startswith(entry.where) else f"{entry.where}: {error.where}"
            for head, whole in heads.items():
                at = at.replace(head, whole)
            seen.problems.append(type(error)(at.replace(folder, entry.source.path), error.problem, error.fix))
            return seen
        except OSError as error:
            seen.problems.append(SourceError(f"{entry.where}.path", str(error), "check the path and its permissions"))
            return seen
    seen.rows = turns.height
    if "row" in native.columns:
        ids = native["row"].drop_nulls()
        repeated = ids.filter(ids.is_duplicated())
        if repeated.len():
            said = f"{repeated.len():,} rows share an id with others, such as {repeated[0]!r}"
            seen.notes.append(f"{entry.name}: {said}; ~2, ~3 … tell them apart")
    _say(seen, entry, entry.task.remarks(turns.filter(pl.col("problem").is_null())), turns.height)
    _judge_rows(entry, turns, seen, len(heads))
    usable = turns.filter(pl.col("problem").is_null())
    seen.left = usable.height if seen.is_all else None
    if turns.height and turns["problem"].eq_missing("where").all():
        seen.notes.append(f"{entry.name}: not one of {turns.height:,} turns passes its `where`")
    of_boxes = [] if in_wrong_unit is not None else [boxes_of(entry, usable)]
    for found in (images_of(entry, usable, is_all=seen.is_all), *of_boxes):
        seen.notes += found.notes
        seen.problems += found.problems
    return seen


def _say(seen: FirstRows, entry: Entry, remarks: Mapping[str, int], rows: int) -> None:
    of = "" if seen.is_all else "the first "
    seen.notes += [f"{entry.name}: {remark}: {count:,} of {of}{rows:,} turns" for remark, count in remarks.items()]


def _judged(turns: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    """The turns, in which those that ``where`` leaves out, or that lack what their task needs, have that as a problem.

    Raises:
        RecipeError: ``where`` does not fit the columns.
    """
    usable = turns.filter(pl.col("problem").is_null())
    if entry.settings.where:  # kept columns have types only now
        usable = where(usable, entry.settings.where, f"{entry.where}.where").kept
    out = (
        turns.filter(pl.col("problem").is_null())
        .join(usable, on="row", how="anti")
        .select("row", reason=pl.lit("where"))
    )
    lacking = complete(usable, entry).dropped.select("row", "reason", lacks="detail")
    lacking = pl.concat([lacking, out], how="diagonal")
    told = turns.join(lacking, on="row", how="left", maintain_order="left")
    is_sound = pl.col("problem").is_null()
    detail = pl.when(is_sound).then("lacks").otherwise("detail")
    return told.with_columns(problem=pl.coalesce("problem", "reason"), detail=detail).drop("reason", "lacks")


def _judge_rows(entry: Entry, turns: pl.DataFrame, seen: FirstRows, num_files: int) -> None:
    broken = turns.filter(pl.col("problem").is_in(list(REJECTED)))
    if not broken.height:
        return
    row = broken.row(0, named=True)
    example = f"{row['row']}: {row['problem']}" + (f" ({row['detail'][:160]})" if row["detail"] else "")
    of = "" if seen.is_all else "the first "
    said = f"{broken.height:,} of {of}{turns.height:,} turns are broken, such as {example}"
    if not seen.is_all and num_files > 1 and broken.height < turns.height:
        seen.notes.append(f"{entry.name}: {said}; perhaps as the first rows of its files do not belong together")
        return
    limit = entry.settings.max_reject_rate if seen.is_all else 0.5
    if broken.height > limit * turns.height:
        rate = f"or set {entry.where}.max_reject_rate"
        seen.problems.append(BuildError(entry.where, said, f"fix the source or the options that read it, {rate}"))
    else:
        seen.notes.append(f"{entry.name}: {said}")


def _lists(files: list[Path]) -> Iterator[Path]:
    """Files named for JSON lines that hold one JSON list."""
    for path in files:
        if Path(path.name.removesuffix(".gz")).suffix in (".jsonl", ".ndjson"):
            first = next(iter(_start(path).lstrip().splitlines()), b"")
            if first.startswith(b"[{") or (first.startswith(b"[") and not _is_json(first)):
                yield path


def _cut(source: Source, files: list[Path], folder: Path) -> tuple[Source, dict[str, str]] | None:
    """The source over the first rows of its files, of a table its first file; None where these cannot be cut off.

    Returns:
        The source, and the files that it reads to those that they are the heads of.
    """
    if (own := source.head(folder, ROWS, partial(_write_head, alone=True))) is not None:
        return own, {own.path: source.path}
    is_table = "fields" in type(source).model_fields
    if is_table:
        files = files[:1]
    base = home(source.path) if home(source.path).is_dir() else files[0].parent
    heads = {}
    for whole in files:
        plain = whole.name.removesuffix(".gz")
        below = whole.parent.relative_to(base) if whole.is_relative_to(base) else Path()
        if not (head := folder / below / plain).exists():
            head.parent.mkdir(parents=True, exist_ok=True)
            if not _write_head(whole, head, alone=len(files) == 1):
                return None
        heads[head] = whole
    if len(heads) < len(files):
        return None  # two of one name in different folders
    of_file = {whole: str(head) for head, whole in heads.items()}
    given = {name: getattr(source, name) for name in type(source).paths if name not in ("path", "image_root")}
    roots = {"image_root": str(folder)} if source.image_root and is_table else {}
    moved = {name: of_file[home(path)] for name, path in given.items() if path is not None and home(path) in of_file}
    if any(path is not None and name not in moved for name, path in given.items()) and len(files) > 1:
        return None
    path = of_file[files[0]] if len(files) == 1 or home(source.path) in of_file else str(folder)
    cut = source.model_copy(update={**moved, "path": of_file.get(home(source.path), path), **roots})
    return cut, {str(head): str(whole) for head, whole in heads.items()}


def _write_head(whole: Path, head: Path, *, alone: bool) -> bool:
    """Write the first rows of a file; False where these cannot be cut off, or would not go with other files' first."""
    suffix = head.suffix
    if tars.is_tar(whole) or tfrecords.is_records(whole):
        if tars.is_tar(whole):
            tars.write_head(whole, head, samples=ROWS)
        else:
            tfrecords.write_head(whole, head, num=ROWS)
        return alone
    if suffix == ".parquet" and alone:
        pl.scan_parquet(whole).head(ROWS).collect().write_parquet(head)
        return True
    start = _start(whole)
    first = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if suffix in _LINES and first != b"[" and alone:
        head.write_bytes(b"".join(start.splitlines(keepends=True)[: ROWS + 1][:-1]))
        return True
    if first not in (b"[", b"{"):
        return False
    if whole.stat().st_size <= SCAN_BYTES:
        return write_head(whole, head, values=ROWS, max_bytes=_CUT_BYTES)
    if first == b"[":
        head.write_text(json.dumps(list(_first_items(start.decode(errors="ignore")))))
    return first == b"["


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_packed else path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except (OSError, EOFError):
        return b""  # whoever reads the rows says what is wrong with the file


def _first_items(text: str) -> Iterator[Any]:
    """The first items of a JSON list of which perhaps only the start is there."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    for _ in range(ROWS):
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            item, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield item


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
