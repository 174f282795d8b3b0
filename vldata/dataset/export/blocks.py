"""Reading a build folder: its blocks in order, split by split, never more than one record batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vldata.errors import BuildError
from vldata.schema.rows import arrow_schema

_SLICE_ROWS = 32
"""Rows that are Python objects at the same time: with 20 MB images still under 1 GB."""


@dataclass(frozen=True)
class Build:
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


def open_build(folder: Path) -> Build:
    """Open a build folder.

    Raises:
        BuildError: It has no manifest of a build.
    """
    manifest = _manifest(folder)
    if manifest is None:
        problem = "this is not a build folder (it has no manifest.json of one)"
        raise BuildError(str(folder), problem, "name the --out of a `vldata build`")
    return Build(folder, manifest)


def build_around(path: Path) -> Path | None:
    """The build folder that the path lies in, however deep."""
    return next((folder for folder in path.resolve().parents if _manifest(folder) is not None), None)


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("blocks"), list) else None


def _batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    found = 0
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_stream(source)
            if not reader.schema.equals(arrow_schema()):
                raise BuildError(str(path), "its columns are those of another version of vldata", "build it again")
            while (batch := _next(reader)) is not None:
                found += batch.num_rows
                yield batch
    except (OSError, pa.ArrowInvalid) as error:
        raise BuildError(str(path), f"cannot be read ({error})", "run `vldata verify`, then build again") from None
    if found != rows:
        raise BuildError(
            str(path), f"{found:,} rows where the manifest says {rows:,}", "run `vldata verify`, then build again"
        )


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
