"""Reading the blocks of a build folder: whole ones mapped into memory, or their rows a record batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vldata.dataset.manifest import manifest_of, read_manifest
from vldata.errors import BuildError
from vldata.schema.rows import META, arrow_schema

_FIX = "run `vldata verify`, then build again"
_SLICE_ROWS = 32
"""Rows that are Python objects at the same time: with 20 MB images still under 1 GB."""


def block_table(build: Path, block: dict[str, Any], columns: tuple[str, ...] | None = None) -> pa.Table:
    """The rows of one block, mapped into memory.

    Raises:
        BuildError: The file is missing, damaged, or of another version of vldata.
    """
    path = build / block["file"]
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_stream(source)
            _check_columns(path, reader.schema)
            table = reader.read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise BuildError(str(path), f"cannot be read ({error})", _FIX) from None
    _check_rows(path, table.num_rows, block["rows"])
    return table.select(list(columns)) if columns else table


def list_values(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """What stands in the lists, one after another; `pyarrow`'s own ``flatten`` copies it, image bytes included."""
    chunks = []
    for chunk in lists.chunks:
        ends = chunk.offsets
        low, high = ends[0].as_py(), ends[len(chunk)].as_py()
        chunks.append(chunk.values.slice(low, high - low))
    return pa.chunked_array(chunks, lists.type.value_type)


@dataclass(frozen=True)
class BuildFolder:
    """A build folder that was found to be one."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def splits(self) -> list[str]:
        """Names of the splits, in the order of their first blocks."""
        return list(dict.fromkeys(block["split"] for block in self.manifest["blocks"]))

    @property
    def num_rows(self) -> int:
        """Samples, repeats included."""
        return sum(block["rows"] for block in self.manifest["blocks"])

    def batches(self, split: str) -> Iterator[pa.RecordBatch]:
        """Every record batch of a split, mapped into memory.

        Raises:
            BuildError: A block is missing, damaged, or of another version of vldata.
        """
        for block in self.manifest["blocks"]:
            if block["split"] == split:
                yield from _batches(self.folder / block["file"], block["rows"])

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """Every row of a split as plain Python.

        Raises:
            BuildError: As `batches`.
        """
        for batch in self.batches(split):
            for start in range(0, batch.num_rows, _SLICE_ROWS):
                yield from batch.slice(start, _SLICE_ROWS).to_pylist()


def open_build(folder: Path) -> BuildFolder:
    """Open a build folder.

    Raises:
        BuildError: It is not one, or its manifest is damaged.
    """
    return BuildFolder(folder, manifest_of(folder))


def build_around(path: Path) -> Path | None:
    """The build folder that the path lies in, however deep."""
    return next((folder for folder in path.resolve().parents if read_manifest(folder) is not None), None)


def _batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    rows_read = 0
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_stream(source)
            _check_columns(path, reader.schema)
            while (batch := _next(reader)) is not None:
                rows_read += batch.num_rows
                yield batch
    except (OSError, pa.ArrowInvalid) as error:
        raise BuildError(str(path), f"cannot be read ({error})", _FIX) from None
    _check_rows(path, rows_read, rows)


def _check_columns(path: Path, schema: pa.Schema) -> None:
    if not schema.equals(arrow_schema(meta=META in schema.names)):
        raise BuildError(str(path), "its columns are those of another version of vldata", "build it again")


def _check_rows(path: Path, rows_read: int, rows: int) -> None:
    if rows_read != rows:
        raise BuildError(str(path), f"{rows_read:,} rows where the manifest says {rows:,}", _FIX)


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
