"""A look at the first rows of a source, for `vldata check`: what a build would find out only later, found out now."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from vldata.curate.where import where as cut_by
from vldata.errors import BuildError, SourceError, VldataError
from vldata.images.problem import ImageProblem
from vldata.images.references import SEPARATOR, ImageReader
from vldata.paths import home
from vldata.pipeline.image_facts import place_of
from vldata.pipeline.index import keyed_turns
from vldata.recipe.models import Entry
from vldata.schema.reasons import REJECTED
from vldata.sources.base import Source
from vldata.sources.reading.boxes import wrong_unit

WHOLE_BYTES = 32 * 1024 * 1024
"""Sources with no more are read whole."""

ROWS, IMAGES = 200, 20
_HEAD_BYTES = 4 * 1024 * 1024
_LINES = (".jsonl", ".ndjson", ".csv", ".tsv", ".txt")


@dataclass
class FirstRows:
    """What was seen.

    Args:
        rows: Turns read; None of a source whose files are too large to be read and have no head to cut off.
        is_all: Whether these are all of them.
        problems: What a build would stop at.
        notes: What may be as it should be.
    """

    rows: int | None = None
    is_all: bool = False
    problems: list[VldataError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look(entry: Entry, files: list[Path]) -> FirstRows:
    """Read the first rows of a source, and look for their images.

    Args:
        files: Of the source; none of one that draws its own.
    """
    seen = FirstRows()
    if not files:
        return seen
    seen.notes += [
        f"{entry.name}: {path} is one JSON list, not JSON lines; it is read as a list" for path in _lists(files)
    ]
    with tempfile.TemporaryDirectory() as folder:
        try:
            seen.is_all = sum(path.stat().st_size for path in files) <= WHOLE_BYTES
            source = entry.source if seen.is_all else _cut(entry.source, files, Path(folder))
            if source is None:
                seen.notes.append(f"{entry.name}: its files are large and were not opened; `vldata plan` reads them")
                return seen
            native = source.read(entry.task.name)
            seen.notes += [f"{entry.name}: {note}" for note in source.notes()] if seen.is_all else []
            given = native.drop("remark", strict=False)
            turns = keyed_turns(given, entry.task, where=entry.where)
            if entry.source.keep and entry.settings.where:  # it is compiled against the types of the files
                cut_by(turns, entry.settings.where, f"{entry.where}.where")
            if (in_wrong_unit := wrong_unit(turns, entry.source)) is not None:
                seen.problems.append(in_wrong_unit.error(entry.source, entry.where))
        except VldataError as error:
            where = error.where if error.where.startswith(entry.where) else f"{entry.where}: {error.where}"
            seen.problems.append(type(error)(where.replace(folder, entry.source.path), error.problem, error.fix))
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
    _judge_rows(entry, turns, seen)
    _judge_images(entry, turns, seen)
    return seen


def columns_of(entry: Entry) -> dict[str, list[str]] | None:
    """Native columns by the canonical ones that they feed; None where the format decides, or it takes long to say."""
    try:
        large = any(f.stat().st_size > WHOLE_BYTES and f.suffix != ".parquet" for f in entry.source.files()[:1])
        return None if large else entry.source.columns_read(entry.task.name)
    except (VldataError, OSError):
        return None  # told by whoever reads the rows


def _judge_rows(entry: Entry, turns: pl.DataFrame, seen: FirstRows) -> None:
    broken = turns.filter(pl.col("problem").is_in(list(REJECTED)))
    if not broken.height:
        return
    row = broken.row(0, named=True)
    example = f"{row['row']}: {row['problem']}" + (f" ({row['detail'][:160]})" if row["detail"] else "")
    of = "" if seen.is_all else "the first "
    said = f"{broken.height:,} of {of}{turns.height:,} turns are broken, such as {example}"
    limit = entry.settings.max_reject_rate if seen.is_all else 0.5
    if broken.height > limit * turns.height:
        rate = f"or set {entry.where}.max_reject_rate"
        seen.problems.append(BuildError(entry.where, said, f"fix the source or the options that read it, {rate}"))
    else:
        seen.notes.append(f"{entry.name}: {said}")


def _judge_images(entry: Entry, turns: pl.DataFrame, seen: FirstRows) -> None:
    """Whether the first images are where they should be: by their paths alone, as a listing of an archive is long."""
    if entry.settings.images.missing == "keep" or entry.source.images_key() is not None:
        return
    root = entry.source.image_root
    if root is not None and not home(root).exists():
        return  # told by whoever asks for the root itself
    refs = turns.filter(pl.col("problem").is_null())["images"].explode().drop_nulls().unique(maintain_order=True)
    if not seen.is_all:
        refs = refs.filter(~refs.str.contains(SEPARATOR, literal=True))  # inside a table of which this was the head
    first = refs.head(IMAGES).to_list()
    reader = ImageReader(place_of(entry).root)
    missing = {ref: why for ref in first if (why := _missing(reader, ref)) is not None}
    if not missing:
        return
    ref, why = next(iter(missing.items()))
    if len(missing) < len(first):
        seen.notes.append(f"{entry.name}: {len(missing)} of the first {len(first)} images are not there, such as {ref}")
        return
    below = "image_root is not set" if root is None else f"image_root is {root}"
    problem = f"not one of the first {len(first)} images is there, such as {ref[:200]} ({why[:200]}; {below})"
    fix = "name the folder or archive below which they lie, or try --standin 200"
    seen.problems.append(SourceError(f"{entry.where}.image_root", problem, fix))


def _missing(reader: ImageReader, ref: str) -> str | None:
    try:
        file = reader.locate(ref).file
    except ImageProblem as problem:
        return problem.detail
    return None if Path(file).exists() else f"no {file}"


def _lists(files: list[Path]) -> Iterator[Path]:
    """Files named for JSON lines that hold one JSON list."""
    for path in files:
        if Path(path.name.removesuffix(".gz")).suffix in (".jsonl", ".ndjson"):
            first = next(iter(_start(path).lstrip().splitlines()), b"")
            if first.startswith(b"[{") or (first.startswith(b"[") and not _is_json(first)):
                yield path


def _cut(source: Source, files: list[Path], folder: Path) -> Source | None:
    """The source over the first rows of its first file; None where that cannot be cut off, or needs another file."""
    if "fields" not in type(source).model_fields and len(files) != 1:
        return None
    whole = files[0]
    suffix = Path(whole.name.removesuffix(".gz")).suffix
    path = folder / whole.name.removesuffix(".gz")
    if suffix == ".parquet":
        pl.scan_parquet(whole).head(ROWS).collect().write_parquet(path)
        return source.model_copy(update={"path": str(path), "image_root": source.image_root and str(folder)})
    start = _start(whole)
    if suffix in _LINES and not start.lstrip().startswith(b"["):
        path.write_bytes(b"".join(start.splitlines(keepends=True)[: ROWS + 1][:-1]))
    elif start.lstrip().startswith(b"["):
        path.write_text(json.dumps(list(_first_items(start.decode(errors="ignore")))))
    else:
        return None
    return source.model_copy(update={"path": str(path), "image_root": str(folder)})  # from which cells name images


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
