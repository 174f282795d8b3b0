"""Pieces -> blocks: the images' bytes go in. The only step that moves pixels, and safe to run twice.

A piece whose build stores paths is a block already. Each block is an Arrow stream of one record batch, read-only, with
a note beside it (rows, bytes, digest) whose presence says that the block is whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from blake3 import blake3

from vldata.images.depth import may_be_deep
from vldata.images.pixels import decoded, resized
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageReader
from vldata.schema.arrow import strings
from vldata.schema.rows import IMAGE, arrow_schema
from vldata.store.blocks import NOTE, PIECE, write_block
from vldata.store.names import Folder
from vldata.store.store import Store


@dataclass(frozen=True)
class SourceImages:
    """Where the images of a source lie and what is done to them."""

    root: str | None
    max_side_px: int | None
    decode: bool = False


@dataclass(frozen=True)
class BlockJob:
    """One block to make from a piece; travels to any worker.

    Args:
        key: The block's name, and its piece's.
        images: Source name to its images; None stores paths, for which the piece says all.
    """

    key: str
    images: dict[str, SourceImages] | None


@dataclass(frozen=True)
class FailedImage:
    """An image that failed only now."""

    source: str
    ref: str
    reason: str
    detail: str


def make(job: BlockJob, store: Store) -> list[FailedImage]:
    """Make the block of a piece; the images that could not be used, in which case no block is made."""
    note = json.loads(store.path(Folder.PIECES, job.key, NOTE).read_text())
    with pa.memory_map(str(store.path(Folder.PIECES, job.key, PIECE))) as source:
        table = pa.ipc.open_stream(source).read_all()
        if job.images is None:
            write_block(table, job.key, store)
            return []
        sources = table.column("source").to_pylist()
        images = table.column("images").to_pylist()
        data = _arena()
        data.clear()
        paths: list[str] = []
        failed: list[FailedImage] = []
        for name, of_sample in zip(sources, images, strict=True):
            settings = job.images[name]
            reader = _reader(settings.root, store.root / Folder.SPOOL)
            for image in of_sample:
                try:
                    _take(data, reader, image["path"], note["hashes"][len(paths)], settings)
                except ImageProblem as problem:
                    failed.append(FailedImage(name, image["path"], problem.reason, problem.detail))
                paths.append(Path(image["path"].rpartition("::")[2]).name)
        if failed:
            return failed
        column = table.column("images").combine_chunks()
        values = pa.StructArray.from_arrays([data.column(), strings(paths)], fields=list(IMAGE))
        embedded = pa.ListArray.from_arrays(column.offsets, values)
        table = table.set_column(table.schema.get_field_index("images"), arrow_schema().field("images"), embedded)
        write_block(table, job.key, store)
    return []


def forget_readers() -> None:
    """Open archives again: one may have changed since the last build of this process."""
    _reader.cache_clear()


def _take(arena: Arena, reader: ImageReader, ref: str, expected: str | None, settings: SourceImages) -> None:
    data = reader.read_into(ref, arena.room)
    if expected is not None and blake3(data).hexdigest(length=16) != expected:
        raise ImageProblem("image_unreadable", "its bytes changed while the dataset was being built")
    if settings.decode:
        decoded(bytes(data))
    if settings.max_side_px or may_be_deep(data):
        stored = resized(bytes(data), settings.max_side_px)[0]
        data = arena.room(len(stored))
        data[:] = stored
    arena.keep(len(data))


@lru_cache(maxsize=1)
def _arena() -> Arena:
    return Arena()


@lru_cache(maxsize=64)
def _reader(root: str | None, spool: Path) -> ImageReader:
    return ImageReader(root, spool)


class Arena:
    """The images of a block, one behind the other: a column of bytes that grows at its end.

    Its memory serves the next block too: pages that a process has never touched cost as much as the copying itself.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, dtype=np.uint8)
        self._ends = [0]

    def clear(self) -> None:
        """Begin again; what `column` gave before must not be used any more."""
        self._ends = [0]

    def room(self, num_bytes: int) -> memoryview:
        """A place behind all that was kept; it is lost unless it is kept, and asking again gives it again."""
        used = self._ends[-1]
        if used + num_bytes > len(self._memory):
            larger = np.empty(max(2 * len(self._memory), used + num_bytes), dtype=np.uint8)
            larger[:used] = self._memory[:used]
            self._memory = larger
        return self._memory.data[used : used + num_bytes]

    def keep(self, num_bytes: int) -> None:
        """Make the first bytes of the last room the next value."""
        self._ends.append(self._ends[-1] + num_bytes)

    def column(self) -> pa.BinaryArray:
        """The values, without a copy: at most 2 GiB, which a block never has."""
        offsets = np.array(self._ends, dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._memory[: self._ends[-1]])]
        return pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, buffers)
