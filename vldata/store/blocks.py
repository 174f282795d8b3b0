"""Block files: an Arrow stream of one record batch, and a note beside it whose presence says that it is whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from blake3 import blake3

from vldata.schema.rows import META, arrow_schema
from vldata.store.names import Folder
from vldata.store.store import Store

BLOCK, NOTE, PIECE = ".arrow", ".json", ".piece.arrow"


@dataclass(frozen=True)
class Note:
    """What is known of a block without opening it."""

    digest: str
    rows: int
    size_bytes: int


def durable() -> bool:
    """Whether blocks are flushed to the disk before they get their names; not so with ``VLDATA_NO_SYNC=1``."""
    return os.environ.get("VLDATA_NO_SYNC") != "1"


def note_of(store: Store, key: str) -> Note | None:
    """The block's note, or None when there is no such block."""
    try:
        return Note(**json.loads(store.path(Folder.BLOCKS, key, NOTE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # not there, or a power cut left it empty
        return None


def is_whole(key: str, store: Store) -> bool:
    """Whether the store has the block, with as many bytes as its note says."""
    note = note_of(store, key)
    block = store.path(Folder.BLOCKS, key, BLOCK)
    return note is not None and block.is_file() and block.stat().st_size == note.size_bytes


def write_block(table: pa.Table, key: str, store: Store) -> Note:
    """Write a table as a block: stream format, one record batch."""
    with store.write(Folder.BLOCKS, key, BLOCK, durable=durable(), replace=True) as path:
        with path.open("wb") as file:
            sink = _Hashed(file)
            write_stream(table, sink)
        note = Note(sink.digest(), table.num_rows, sink.size)
    with store.write(Folder.BLOCKS, key, NOTE, durable=durable(), replace=True) as path:
        path.write_text(json.dumps(asdict(note)))
    return note


def write_stream(table: pa.Table, sink: Any) -> None:
    """The table as an Arrow stream of one record batch, with the literal schema's metadata."""
    schema = arrow_schema(meta=META in table.column_names)
    table = table.replace_schema_metadata(schema.metadata).combine_chunks()
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
