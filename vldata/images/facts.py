"""What every image of a source is: size, hash of its bytes, pixels, and whether it can be used.

Each file is read once, and hashed and judged from the same bytes; remembered rows whose file has not changed cost one
`stat`. From the page cache 20,000 JPEGs of 65 KB take 1.0 s of processor time, half of it hashing, and a second look
0.17 s. Threads hide the waiting of slow disks and networks; beyond that the interpreter's lock is the limit, so the
caller may have plain files looked at by processes (``share``).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import polars as pl
from blake3 import blake3

from vldata.images.files import check_regular, problem_of, read_sized
from vldata.images.look import MAX_PIXELS, look
from vldata.images.missing import Nearby, not_a_path
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageLocation, ImageReader

FACTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "ref": pl.String,  # as in the source's `images` column
    "size_bytes": pl.Int64,  # encoded size of the image itself
    "container_bytes": pl.Int64,  # size of the archive or table that holds it, null for a plain file
    "mtime_ns": pl.Int64,  # of the file or its container; null when it was too fresh to be relied on
    "inode": pl.UInt64,
    "hash": pl.String,  # BLAKE3 of the encoded bytes, 128 bits as 32 hex characters
    "width": pl.Int32,  # pixels, upright
    "height": pl.Int32,
    "format": pl.String,  # Pillow's name: JPEG, PNG, WEBP …
    "deep": pl.Boolean,  # its pixels are scaled to 8 bits when they are stored
    "problem": pl.String,  # a name of `schema.reasons`; null for a usable image
    "detail": pl.String,
}
"""Columns of a table of facts; what is unknown because of a problem is null."""

RACY_NS = 50_000_000
"""A file changed less than this before it was looked at is read again next time, as a second change within one step of
the kernel's clock (10 ms at most) would leave no trace. The idea is that of git's index."""

_CHUNK = 64
_SHARED = 512
"""Plain files that are shared out at a time."""

_SLOW_STAT_S = 100e-6  # a local `stat` takes 3 us, and threads make it slower; a network's takes 200 us and more


class _Stat(NamedTuple):
    size_bytes: int
    mtime_ns: int
    inode: int
    mode: int


class _InspectTask(NamedTuple):
    ref: str
    place: ImageLocation
    stat: _Stat


class FactsPool(Protocol):
    """Calls `facts` elsewhere, with no more than these arguments, and gives what it returns in any order."""

    def __call__(self, chunks: list[list[str]], root: str, max_pixels: int) -> Iterator[pl.DataFrame]:
        """Look at every chunk of references."""
        ...


_Row = tuple[object, ...]
_T = TypeVar("_T")
_R = TypeVar("_R")


def facts(
    refs: Sequence[str],
    root: str | os.PathLike[str] | None,
    *,
    remembered: pl.DataFrame | None = None,
    max_pixels: int = MAX_PIXELS,
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
    spool: Path | None = None,
    share: FactsPool | None = None,
) -> pl.DataFrame:
    """Look at every image of ``refs`` that is not remembered.

    Args:
        refs: Image references, see `vldata.images.references`; repeats are looked at once.
        root: The source's ``image_root``; None is the working directory.
        remembered: An earlier result for the same root. A row is used again when size, modification time and inode of
            its file are unchanged; a table with other columns than `FACTS` is one of another version and is not used.
        max_pixels: Images of more pixels are ``image_bomb``.
        workers: Threads; more than cores help on network file systems.
        progress: Called from this thread with the number of images done since the last call.
        spool: See `ImageReader`.
        share: Takes over plain files that are not remembered.

    Returns:
        One row per distinct reference, in order of first appearance; columns as `FACTS`. ``problem`` is one of
        image_missing, image_outside_root, image_unreadable, image_truncated, image_bomb.

    Raises:
        SourceError: The disk or the system fails, which is no image's fault.
    """
    reader = ImageReader(root, spool)
    distinct = list(dict.fromkeys(refs))
    nearby = Nearby(reader.root)
    absent, there = _without_folder(reader, distinct, nearby)
    shared: list[pl.DataFrame] = []
    if share is not None and remembered is None:
        there, shared = _share_out(there, reader, share, max_pixels, progress)
    places, rows = _located(reader, there, nearby)
    looked_at_ns = time.time_ns()
    stats = _stats(dict.fromkeys(place.file for place in places.values()), workers)
    tasks = []
    for ref, place in places.items():
        stat = stats[place.file]
        if isinstance(stat, ImageProblem):
            rows.append(_failed_row(ref, stat, nearby))
        else:
            tasks.append(_InspectTask(ref, place, stat))
    if remembered is not None and dict(remembered.schema) == FACTS:
        unchanged = _unchanged(remembered, tasks, max_pixels)
        still = set(unchanged["ref"])
        tasks = [task for task in tasks if task.ref not in still]
    else:
        unchanged = pl.DataFrame(schema=FACTS)
    already = absent.height + len(there) - len(tasks)
    if progress is not None and already:
        progress(already)
    in_containers = [task for task in tasks if task.place.member is not None]
    order = reader.reading_order([task.ref for task in in_containers])
    plain_files = [task for task in tasks if task.place.member is None]
    if share is not None and remembered is not None:
        left, shared = _share_out([task.ref for task in plain_files], reader, share, max_pixels, progress)
        here = set(left)
        plain_files = [task for task in plain_files if task.ref in here]
    tasks = plain_files + [in_containers[k] for k in order]
    fresh_ns = looked_at_ns - RACY_NS
    for done in _in_threads(lambda chunk: [_row(reader, t, max_pixels, fresh_ns) for t in chunk], tasks, workers):
        rows.extend(done)
        if progress is not None:
            progress(len(done))
    columns = zip(*rows, strict=True) if rows else [()] * len(FACTS)
    looked = pl.DataFrame(dict(zip(FACTS, columns, strict=True)), schema=FACTS)
    ordered = pl.DataFrame({"ref": distinct}, schema={"ref": pl.String})
    every = pl.concat([absent, unchanged, looked, *shared])
    return (
        every
        if every["ref"].equals(ordered["ref"])
        else ordered.join(every, on="ref", how="left", maintain_order="left")
    )


def _share_out(
    refs: list[str], reader: ImageReader, share: FactsPool, max_pixels: int, progress: Callable[[int], None] | None
) -> tuple[list[str], list[pl.DataFrame]]:
    """What stays to be done here, and the facts of what was done elsewhere: plain files, when they are many."""
    is_plain = pl.DataFrame({"ref": refs}, schema={"ref": pl.String}).select(reader.plain(pl.col("ref"))).to_series()
    given = [ref for ref, plain in zip(refs, is_plain, strict=True) if plain]
    if len(given) <= _SHARED:
        return refs, []
    done = []
    for part in share([given[at : at + _SHARED] for at in range(0, len(given), _SHARED)], reader.root, max_pixels):
        done.append(part)
        if progress is not None:
            progress(part.height)
    return [ref for ref, plain in zip(refs, is_plain, strict=True) if not plain], done


def _without_folder(reader: ImageReader, refs: list[str], nearby: Nearby) -> tuple[pl.DataFrame, list[str]]:
    """The references whose whole folder is missing, known by one look at it, and the others."""
    table = pl.DataFrame({"ref": refs}, schema={"ref": pl.String}).with_columns(
        folder=pl.when(reader.plain(pl.col("ref"))).then(pl.col("ref").str.replace(r"/?[^/]*$", ""))
    )
    missing = [f for f in table["folder"].unique().drop_nulls().to_list() if not _exists(f"{reader.root}/{f}")]
    is_absent = pl.col("folder").is_in(missing).fill_null(False)
    absent = table.filter(is_absent).select(
        "ref",
        *(pl.lit(None, dtype).alias(name) for name, dtype in FACTS.items() if name not in ("ref", "problem", "detail")),
        problem=pl.lit("image_missing"),
    )
    said = os.strerror(errno.ENOENT)
    absent = absent.with_columns(pl.Series("detail", [nearby.detail(ref, said) for ref in absent["ref"]], pl.String))
    return absent, table.filter(~is_absent)["ref"].to_list() if missing else refs


def _exists(folder: str) -> bool:
    """Whether there is anything by this name; what cannot be known counts as there, and is reported for each file."""
    try:
        os.stat(folder)  # noqa: PTH116 - as below
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return True


def _located(reader: ImageReader, refs: list[str], nearby: Nearby) -> tuple[dict[str, ImageLocation], list[_Row]]:
    places: dict[str, ImageLocation] = {}
    refused: list[_Row] = []
    for ref in refs:
        try:
            places[ref] = reader.locate(ref)
        except ImageProblem as problem:
            refused.append(_failed_row(ref, problem, nearby))
    return places, refused


def _stats(files: Iterable[str], workers: int) -> dict[str, _Stat | ImageProblem]:
    waiting = iter(files)
    start = time.perf_counter()
    first = [(file, _stat(file)) for file in islice(waiting, _CHUNK)]
    slow = time.perf_counter() - start > _SLOW_STAT_S * _CHUNK
    stats = dict(first)
    if slow:
        for chunk in _in_threads(lambda chunk: [(file, _stat(file)) for file in chunk], list(waiting), workers):
            stats.update(chunk)
    else:
        stats.update((file, _stat(file)) for file in waiting)
    return stats


def _stat(file: str) -> _Stat | ImageProblem:
    try:
        status = os.stat(file)  # noqa: PTH116 - a Path each would double the cost of a second look
    except (OSError, ValueError) as error:
        problem = problem_of(error, file)
        if isinstance(problem, ImageProblem):
            return problem
        raise problem from None
    return _Stat(status.st_size, status.st_mtime_ns, status.st_ino, status.st_mode)


def _unchanged(remembered: pl.DataFrame, tasks: list[_InspectTask], max_pixels: int) -> pl.DataFrame:
    now = pl.DataFrame(
        {
            "ref": [task.ref for task in tasks],
            "file_bytes_now": [task.stat.size_bytes for task in tasks],
            "mtime_ns_now": [task.stat.mtime_ns for task in tasks],
            "inode_now": [task.stat.inode for task in tasks],
        },
        schema={"ref": pl.String, "file_bytes_now": pl.Int64, "mtime_ns_now": pl.Int64, "inode_now": pl.UInt64},
    )
    pixels = pl.col("width").cast(pl.Int64) * pl.col("height").cast(pl.Int64)
    return (
        remembered.unique("ref", keep="last", maintain_order=True)
        .join(now, on="ref", how="inner")
        .filter(
            pl.coalesce("container_bytes", "size_bytes") == pl.col("file_bytes_now"),
            pl.col("mtime_ns") == pl.col("mtime_ns_now"),
            pl.col("inode") == pl.col("inode_now"),
            (pixels <= max_pixels).fill_null(True),
            pl.col("problem").ne_missing("image_bomb"),  # the limit may be another one now
        )
        .select(FACTS.keys())
    )


def _row(reader: ImageReader, task: _InspectTask, max_pixels: int, fresh_ns: int) -> _Row:
    ref, place, stat = task
    is_member = place.member is not None
    mtime_ns = stat.mtime_ns if stat.mtime_ns < fresh_ns else None
    container_bytes = stat.size_bytes if is_member else None
    size_bytes: int | None = None if is_member else stat.size_bytes
    digest: str | None = None
    try:
        if is_member:
            data = reader.read_at(place)
            size_bytes = len(data)
        else:
            check_regular(stat.mode, stat.size_bytes)
            data = read_sized(place.file, stat.size_bytes)
        digest = blake3(data).hexdigest(length=16)
        seen = look(data, max_pixels)
    except ImageProblem as problem:
        blank = (None,) * 4
        where = (ref, size_bytes, container_bytes, mtime_ns, stat.inode, digest)
        return (*where, *blank, problem.reason, problem.detail)
    where = (ref, size_bytes, container_bytes, mtime_ns, stat.inode, digest)
    return (*where, seen.width, seen.height, seen.format, seen.is_deep, None, None)


def _failed_row(ref: str, problem: ImageProblem, nearby: Nearby) -> _Row:
    reason, detail = problem.reason, problem.detail
    if not_a_path(ref):
        reason = "image_missing"
    if reason == "image_missing":
        detail = nearby.detail(ref, detail)
    elif reason == "image_outside_root" and (found := nearby.fitting(ref)):
        detail = f"{detail}; {found}"
    return (ref, *(None,) * 9, reason, detail)


def _in_threads(work: Callable[[list[_T]], _R], tasks: list[_T], workers: int) -> Iterator[_R]:
    chunks = (tasks[at : at + _CHUNK] for at in range(0, len(tasks), _CHUNK))
    if workers <= 1 or len(tasks) <= _CHUNK:
        yield from map(work, chunks)
        return
    executor = ThreadPoolExecutor(workers)
    try:
        yield from executor.map(work, chunks)
    finally:
        executor.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for a hundred thousand files
