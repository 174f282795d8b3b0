"""Image bytes in a column of a Parquet or Arrow file, addressed as ``<column>/<row>/<k>``.

An Arrow file is memory-mapped, so any cell costs microseconds. Parquet can only be decoded forwards, a stretch of a row
group at a time: reading in row order costs one pass, and reading at random costs a pass per image. A spool folder
turns a Parquet column into an Arrow file once (at the cost of its size on disk), after which order does not matter.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vldata.errors import SourceError
from vldata.images.archives import spooled
from vldata.images.inline import PATTERN, image_bytes
from vldata.images.look import MAX_BYTES
from vldata.images.missing import short
from vldata.images.problem import ImageProblem

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, ARROW = (".parquet",), (".arrow",)

STRETCH_BYTES = 32 << 20
"""Decoded at once from Parquet."""

CACHE_BYTES = 256 << 20
"""Decoded stretches kept by one `Stretches`; the oldest used go first."""


class ArrowTable:
    """An Arrow IPC file or stream, memory-mapped.

    Buffers compressed inside the file are unpacked into memory as a whole; Hugging Face's files are not compressed.

    Args:
        path: The file.
        follow: Reads a relative path, for cells that hold one in place of bytes.
        shown_as: Its name in messages, when it is not ``path``.

    Raises:
        ImageProblem: Not an Arrow file.
    """

    def __init__(self, path: str, follow: Callable[[str], bytes], shown_as: str | None = None) -> None:
        import pyarrow as pa

        self._name = Path(shown_as or path).name
        self._follow = follow
        self._checked: set[str] = set()
        try:
            source = pa.memory_map(path)
            try:
                self._table = pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                self._table = pa.ipc.open_stream(source).read_all()
        except FileNotFoundError:
            raise ImageProblem("image_missing", f"the table {self._name} does not exist") from None
        except (pa.ArrowException, OSError) as error:
            raise ImageProblem("image_unreadable", f"{self._name} is not a usable Arrow file: {error}") from None

    def read(self, member: str) -> bytes:
        """Read the bytes of one cell."""
        import pyarrow as pa

        column, row, k = address(member)
        if column not in self._table.column_names:
            raise _no_column(column, self._name, self._table.column_names)
        if row >= self._table.num_rows:
            raise ImageProblem("image_missing", f"no row {row} in {self._name}, which has {self._table.num_rows}")
        if column not in self._checked:
            try:
                self._table.column(column).validate(full=True)  # a stranger's offsets must not point outside the file
            except pa.ArrowInvalid as error:
                raise ImageProblem(
                    "image_unreadable", f"column {column!r} of {self._name} is damaged: {error}"
                ) from None
            self._checked.add(column)
        return cell_bytes(self._table.column(column)[row], k, self._follow)


class ParquetTable:
    """A Parquet file, decoded a stretch at a time.

    Args:
        path: The file.
        follow: Reads a relative path, for cells that hold one in place of bytes.
        stretches: Where decoded stretches are kept; shared by the tables of one reader.

    Raises:
        ImageProblem: Not a Parquet file.
    """

    def __init__(self, path: str, follow: Callable[[str], bytes], stretches: Stretches) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self._name = Path(path).name
        self._follow = follow
        self._stretches = stretches
        self._lock = threading.Lock()
        self._cursors: dict[str, tuple[int, int, Iterator[Any]]] = {}  # column -> row group, next stretch, batches
        try:
            # mapped, as a row group may hold all of a 10 GB file and would otherwise be read whole
            self._file = pq.ParquetFile(path, memory_map=True)
        except FileNotFoundError:
            raise ImageProblem("image_missing", f"the table {self._name} does not exist") from None
        except (pa.ArrowException, OSError) as error:
            raise ImageProblem("image_unreadable", f"{self._name} is not a usable Parquet file: {error}") from None
        groups = [self._file.metadata.row_group(g) for g in range(self._file.metadata.num_row_groups)]
        self._starts = [0, *accumulate(group.num_rows for group in groups)]

    def read(self, member: str) -> bytes:
        """Read the bytes of one cell."""
        import pyarrow as pa

        column, row, k = address(member)
        names = self._file.schema_arrow.names
        if column not in names:
            raise _no_column(column, self._name, names)
        if row >= self._starts[-1]:
            raise ImageProblem("image_missing", f"no row {row} in {self._name}, which has {self._starts[-1]}")
        group = bisect_right(self._starts, row) - 1
        rows = self._rows_per_stretch(column, group)
        stretch, within = divmod(row - self._starts[group], rows)
        try:
            cells = self._stretch(column, group, stretch, rows)
        except (pa.ArrowException, OSError) as error:
            raise ImageProblem("image_unreadable", f"row group {group} of {self._name} is damaged: {error}") from None
        return cell_bytes(cells[within], k, self._follow)

    def unpack(self, column: str, target: Path) -> None:
        """Write one column as an Arrow file.

        Raises:
            SourceError: It cannot be written.
        """
        import pyarrow as pa

        if column not in self._file.schema_arrow.names:
            raise _no_column(column, self._name, self._file.schema_arrow.names)
        schema = pa.schema([self._file.schema_arrow.field(column)])
        try:
            with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for group in range(len(self._starts) - 1):
                    size = self._rows_per_stretch(column, group)
                    for batch in self._file.iter_batches(size, row_groups=[group], columns=[column]):
                        writer.write_batch(batch)
        except pa.ArrowInvalid as error:
            raise ImageProblem("image_unreadable", f"column {column!r} of {self._name} is damaged: {error}") from None
        except OSError as error:
            raise SourceError(self.path, f"cannot be unpacked to {target}: {error}", "free some space") from None

    def _rows_per_stretch(self, column: str, group: int) -> int:
        """A function of the file alone, so that stretches are the same whatever is read first."""
        meta = self._file.metadata.row_group(group)
        chunks = (meta.column(c) for c in range(meta.num_columns))
        size: int = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == column)
        rows: int = meta.num_rows
        return max(1, min(rows, STRETCH_BYTES * rows // max(size, 1)))

    def _stretch(self, column: str, group: int, stretch: int, rows: int) -> pa.Array:
        kept = self._stretches.get((self.path, column, group, stretch))
        if kept is not None:
            return kept
        with self._lock:
            kept = self._stretches.get((self.path, column, group, stretch))
            if kept is not None:
                return kept
            at_group, at, batches = self._cursors.get(column, (-1, 0, iter(())))
            if at_group != group or at > stretch:
                batches = self._file.iter_batches(rows, row_groups=[group], columns=[column], use_threads=False)
                at = 0
            while True:
                cells = next(batches).column(0)
                left = self._starts[group + 1] - self._starts[group] - at * rows
                if len(cells) != min(rows, left):
                    raise RuntimeError(f"{self.path}: {len(cells)} rows decoded where {min(rows, left)} were expected")
                self._stretches.keep((self.path, column, group, at), cells)
                at += 1
                if at > stretch:
                    self._cursors[column] = group, at, batches
                    return cells


class Stretches:
    """Decoded pieces of Parquet columns, least recently used first out; any thread may ask."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[str, str, int, int], pa.Array] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str, int, int]) -> pa.Array | None:
        """A kept piece."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: tuple[str, str, int, int], cells: pa.Array) -> None:
        """Add a piece and drop the oldest until the limit holds; the newest always stays."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = cells
                self._size_bytes += cells.nbytes
            while self._size_bytes > self._limit_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._size_bytes -= dropped.nbytes


def spooled_parquet(path: str, column: str, spool: Path, follow: Callable[[str], bytes]) -> ArrowTable:
    """A Parquet column in its random-access form, written into ``spool`` when it is not there yet.

    Raises:
        ImageProblem: Not a Parquet file, or no such column.
        SourceError: It cannot be written.
    """

    def write(target: Path) -> None:
        ParquetTable(path, follow, Stretches()).unpack(column, target)

    return ArrowTable(str(spooled(path, spool, ".arrow", write, part=column)), follow, shown_as=path)


def address(member: str) -> tuple[str, int, int]:
    """Split ``<column>/<row>/<k>``; a column's name may hold slashes.

    Raises:
        ImageProblem: Not of this form.
    """
    parts = member.rsplit("/", 2)
    if len(parts) == 3 and parts[0] and parts[1].isdecimal() and parts[2].isdecimal():
        return parts[0], int(parts[1]), int(parts[2])
    raise ImageProblem("image_missing", f"{short(member)!r} is not <column>/<row>/<position>")


def cell_bytes(cell: pa.Scalar, k: int, follow: Callable[[str], bytes]) -> bytes:
    """The bytes in a cell that is binary, a struct of bytes and path, or a list of either.

    Raises:
        ImageProblem: Empty, out of range, or of another type.
    """
    import pyarrow as pa

    if isinstance(cell, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
        length = len(cell.values) if cell.is_valid else 0
        if k >= length:
            raise ImageProblem("image_missing", f"no image {k}: the cell holds {length}")
        cell = cell.values[k]
    elif k:
        raise ImageProblem("image_missing", f"no image {k}: the cell holds one image, not a list")
    if not cell.is_valid:
        raise ImageProblem("image_missing", "the cell is null")
    path = None
    if isinstance(cell, pa.StructScalar):
        fields = cell.type.names
        path = cell["path"].as_py() if "path" in fields else None
        if "bytes" not in fields:
            raise ImageProblem("image_unreadable", f"the column is {cell.type}, which has no 'bytes'")
        cell = cell["bytes"]
    if _is_text(cell.type):
        text = cell.as_py() or ""
        if text.strip() and not re.match(PATTERN, text):
            raise ImageProblem("image_unreadable", f"the cell is the text {text[:40]!r}, no base64 of an image")
        if text.strip():
            return image_bytes(text)
    elif not pa.types.is_binary(cell.type) and not pa.types.is_large_binary(cell.type):
        raise ImageProblem("image_unreadable", f"the column is {cell.type}, not binary or struct<bytes, path>")
    elif cell.is_valid:
        size_bytes = len(cell.as_buffer())
        if size_bytes > MAX_BYTES:
            raise ImageProblem("image_bomb", f"the cell has {size_bytes} bytes, over the limit of {MAX_BYTES}")
        data: bytes = cell.as_py()
        return data
    if path:
        return follow(path)
    raise ImageProblem("image_missing", "the cell has neither bytes nor a path")


def _is_text(dtype: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def _no_column(column: str, table: str, names: list[str]) -> ImageProblem:
    return ImageProblem("image_missing", f"no column {column!r} in {table}, which has {', '.join(names)}")
