"""Pieces -> blocks: the pictures' bytes go in. The only step that moves pixels, and safe to run twice.

A piece whose build stores paths is a block already. Each block is an Arrow stream of one record batch, read-only, with
a note beside it (rows, bytes, digest) whose presence says that the block is whole.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from blake3 import blake3

from vldata.build.arena import Arena
from vldata.images.pixels import decoded, resized
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageReader
from vldata.schema.rows import IMAGE, arrow_schema
from vldata.store.store import Store

BLOCK, NOTE, PIECE = ".arrow", ".json", ".piece.arrow"
SPOOL = "spool"
"""Folder of the store for random-access forms of archives and tables that have none."""


@dataclass(frozen=True)
class Note:
    """What is known of a block without opening it."""

    digest: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Pictures:
    """Where the images of a source lie and what is done to them."""

    root: str | None
    max_side_px: int | None
    decode: bool = False


@dataclass(frozen=True)
class Job:
    """One block to make from a piece; travels to any worker.

    Args:
        key: The block's name, and its piece's.
        pictures: Source name to its images; None stores paths, for which the piece says all.
    """

    key: str
    pictures: dict[str, Pictures] | None


@dataclass(frozen=True)
class Bad:
    """An image that failed only now."""

    source: str
    ref: str
    reason: str
    detail: str


def durable() -> bool:
    """Whether blocks are flushed to the disk before they get their names; not so with ``VLDATA_NO_SYNC=1``."""
    return os.environ.get("VLDATA_NO_SYNC") != "1"


def note_of(store: Store, key: str) -> Note | None:
    """The block's note, or None when there is no such block."""
    try:
        return Note(**json.loads(store.path("blocks", key, NOTE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # not there, or a power cut left it empty
        return None


def is_whole(key: str, store: Store) -> bool:
    """Whether the store has the block, with as many bytes as its note says."""
    note = note_of(store, key)
    block = store.path("blocks", key, BLOCK)
    return note is not None and block.is_file() and block.stat().st_size == note.size_bytes


def make(job: Job, store: Store) -> list[Bad]:
    """Make the block of a piece; the images that could not be used, in which case no block is made."""
    note = json.loads(store.path("pieces", job.key, NOTE).read_text())
    with pa.memory_map(str(store.path("pieces", job.key, PIECE))) as source:
        table = pa.ipc.open_stream(source).read_all()
        if job.pictures is None:
            write_block(table, job.key, store)
            return []
        sources = table.column("source").to_pylist()
        images = table.column("images").to_pylist()
        data = _arena()
        data.clear()
        paths: list[str] = []
        bad: list[Bad] = []
        for name, of_sample in zip(sources, images, strict=True):
            pictures = job.pictures[name]
            reader = _reader(pictures.root, store.root / SPOOL)
            for image in of_sample:
                try:
                    _take(data, reader, image["path"], note["hashes"][len(paths)], pictures)
                except ImageProblem as problem:
                    bad.append(Bad(name, image["path"], problem.reason, problem.detail))
                paths.append(Path(image["path"].rpartition("::")[2]).name)
        if bad:
            return bad
        column = table.column("images").combine_chunks()
        values = pa.StructArray.from_arrays([data.column(), pa.array(paths, pa.string())], fields=list(IMAGE))
        embedded = pa.ListArray.from_arrays(column.offsets, values)
        table = table.set_column(table.schema.get_field_index("images"), arrow_schema().field("images"), embedded)
        write_block(table, job.key, store)
    return []


def forget_readers() -> None:
    """Open archives anew: one may have changed since the last build of this process."""
    _reader.cache_clear()


def write_block(table: pa.Table, key: str, store: Store) -> Note:
    """Write a table as a block: stream format, one record batch."""
    with store.write("blocks", key, BLOCK, durable=durable(), replace=True) as path:
        with path.open("wb") as file:
            sink = _Hashed(file)
            write_stream(table, sink)
        note = Note(sink.digest(), table.num_rows, sink.size)
    with store.write("blocks", key, NOTE, durable=durable(), replace=True) as path:
        path.write_text(json.dumps(asdict(note)))
    return note


def write_stream(table: pa.Table, sink: Any) -> None:
    """The table as an Arrow stream of one record batch, with the literal schema's metadata."""
    table = table.replace_schema_metadata(arrow_schema().metadata).combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches():
            writer.write_batch(batch)


def file_digest(path: Path) -> str:
    """The digest of a block file, as notes and manifests have it."""
    hasher = blake3(max_threads=blake3.AUTO)
    hasher.update_mmap(path)
    return hasher.hexdigest(length=16)


class _Hashed:
    """A file that hashes what passes through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hasher, self.size, self.closed = file, blake3(), 0, False

    def write(self, data: Any) -> int:
        self.hasher.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        """The file is closed by who opened it."""

    def digest(self) -> str:
        return self.hasher.hexdigest(length=16)


def _take(arena: Arena, reader: ImageReader, ref: str, expected: str | None, pictures: Pictures) -> None:
    data = reader.read_into(ref, arena.room)
    if expected is not None and blake3(data).hexdigest(length=16) != expected:
        raise ImageProblem("image_unreadable", "its bytes changed while the dataset was being built")
    if pictures.decode:
        decoded(bytes(data))
    if pictures.max_side_px:
        smaller = resized(bytes(data), pictures.max_side_px)[0]
        data = arena.room(len(smaller))
        data[:] = smaller
    arena.keep(len(data))


@lru_cache(maxsize=1)
def _arena() -> Arena:
    return Arena()


@lru_cache(maxsize=64)
def _reader(root: str | None, spool: Path) -> ImageReader:
    return ImageReader(root, spool)
