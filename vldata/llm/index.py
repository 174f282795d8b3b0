"""The index: where the frame of a key is, for a million keys in 70 MB and without reading their answers.

A table of one row a frame, in order of writing, and the order of its keys, by which one is found in a binary search;
new rows wait in a dict until there are enough to sort again. Beside each segment lies the part of the table that is
about it (``<number>.index``), so that opening reads no segment but the end of the last. An index that is missing,
damaged or of another segment is rebuilt from the segment.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from vldata.llm.segments import ANSWER, DAMAGE, StoredFrame

Table = npt.NDArray[np.void]

ROW = np.dtype(
    [
        ("kind", "u1"),
        ("segment", "<u4"),
        ("offset", "<u8"),
        ("length", "<u4"),
        ("key_a", "<u8"),
        ("key_b", "<u8"),
        ("subject", "<u8"),
        ("pico_usd", "<i8"),
        ("num_unknown", "<u4"),
    ]
)
"""A frame: its kind, place, key in two halves, and what its header says of subject and cost."""

_FOLD_ROWS = 1 << 16  # sorting a million rows takes 0.1 s, so this costs 2 us a row; and 65,536 in a dict take 20 MB
_KEY = struct.Struct("<QQ")
_SIDECAR = struct.Struct("<8s16sQQI")
_MAGIC = b"VLINDEX1"


class Row(NamedTuple):
    """A row of the table; see `ROW`."""

    kind: int
    segment: int
    offset: int
    length: int
    key_a: int
    key_b: int
    subject: int
    pico_usd: int
    num_unknown: int

    @property
    def key(self) -> str:
        """32 hex characters."""
        return self.key_bytes.hex()

    @property
    def key_bytes(self) -> bytes:
        """The key as it stands in a frame."""
        return _KEY.pack(self.key_a, self.key_b)


class Index:
    """All frames of an answer store."""

    def __init__(self) -> None:
        self.pico_usd = 0
        self.num_unknown = 0
        self.num_answers = 0
        self._table: Table = np.empty(0, ROW)
        # as memoryviews, which give one number in a tenth of the time that an array takes
        self._order: memoryview[int] = np.empty(0, np.int64).data
        self._keys: memoryview[int] = np.empty(0, np.uint64).data
        self._by_subject: npt.NDArray[np.int64] | None = None
        self._recent: list[Row] = []
        self._recent_by_key: dict[tuple[int, int], list[int]] = {}
        self._recent_by_subject: dict[int, list[int]] = {}

    def add(self, row: Row) -> None:
        """Append one row."""
        self._recent_by_key.setdefault((row.key_a, row.key_b), []).append(len(self._recent))
        self._recent_by_subject.setdefault(row.subject, []).append(len(self._recent))
        self._recent.append(row)
        self.pico_usd += row.pico_usd
        self.num_unknown += row.num_unknown
        self.num_answers += row.kind == ANSWER
        if len(self._recent) >= _FOLD_ROWS:
            self._fold([])

    def extend(self, tables: Sequence[Table]) -> None:
        """Append rows of many segments at once."""
        if not any(len(table) for table in tables):
            return
        for table in tables:
            self.pico_usd += int(table["pico_usd"].sum())
            self.num_unknown += int(table["num_unknown"].sum())
            self.num_answers += int((table["kind"] == ANSWER).sum())
        self._fold(tables)

    def find(self, key: str) -> list[Row]:
        """The rows of a key, in order of writing."""
        pair = _KEY.unpack(bytes.fromhex(key))
        rows = []
        at = bisect_left(self._keys, pair[0])
        while at < len(self._keys) and self._keys[at] == pair[0]:
            row = self._row(self._order[at])
            if row.key_b == pair[1] and row.kind != DAMAGE:
                rows.append(row)
            at += 1
        if pair in self._recent_by_key:
            rows += [row for at in self._recent_by_key[pair] if (row := self._recent[at]).kind != DAMAGE]
        return rows

    def answer(self, key: str) -> Row | None:
        """The row of a key's answer, the first if there should be several."""
        for row in self.find(key):
            if row.kind == ANSWER:
                return row
        return None

    def about(self, subject: int) -> Iterator[Row]:
        """The rows of a subject, the newest first."""
        recent = self._recent
        for at in reversed(self._recent_by_subject.get(subject, [])):
            if recent[at].kind != DAMAGE:
                yield recent[at]
        if self._by_subject is None:
            self._by_subject = np.argsort(self._table["subject"], kind="stable")
        order, subjects = self._by_subject, self._table["subject"]
        low, high = 0, len(subjects)
        while low < high:  # the first row behind those of this subject; sorting a copy would take 8 MB a million more
            middle = (low + high) // 2
            low, high = (middle + 1, high) if subjects[order[middle]] <= subject else (low, middle)
        while low > 0 and (row := self._row(int(order[low - 1]))).subject == subject:
            if row.kind != DAMAGE:
                yield row
            low -= 1

    def rows(self, *kinds: int) -> Iterator[Row]:
        """All rows of some kinds, in order of writing, as they are now."""
        table, recent = self._table, list(self._recent)
        for at in np.flatnonzero(np.isin(table["kind"], kinds)):
            yield Row._make(table[at].item())
        yield from (row for row in recent if row.kind in kinds)

    def of_segment(self, segment: int) -> Table:
        """The rows of one segment, in order of writing."""
        recent = [row for row in self._recent if row.segment == segment]
        return np.concatenate([self._table[self._table["segment"] == segment], np.array(recent, ROW)])

    def strike(self, lost: Row) -> None:
        """Turn a row into damage; what it cost stays counted."""
        self.num_answers -= lost.kind == ANSWER
        hit = (self._table["segment"] == lost.segment) & (self._table["offset"] == lost.offset)
        self._table["kind"][hit] = DAMAGE
        self._recent = [row._replace(kind=DAMAGE) if _same(row, lost) else row for row in self._recent]

    def _row(self, at: int) -> Row:
        return Row._make(self._table[at].item())

    def _fold(self, tables: Sequence[Table]) -> None:
        self._table = np.concatenate([self._table, np.array(self._recent, ROW), *tables])
        order = np.argsort(self._table["key_a"], kind="stable")
        self._order, self._keys = order.data, self._table["key_a"][order].data
        self._by_subject = None
        self._recent, self._recent_by_key, self._recent_by_subject = [], {}, {}


def row_of(frame: StoredFrame, segment: int) -> Row:
    """The row of a frame."""
    key_a, key_b = _KEY.unpack(frame.key)
    return Row(
        frame.kind,
        segment,
        frame.offset,
        frame.length,
        key_a,
        key_b,
        frame.subject,
        frame.pico_usd,
        frame.num_unknown,
    )


def table_of(frames: Sequence[StoredFrame], segment: int) -> Table:
    """The rows of frames."""
    return np.array([row_of(frame, segment) for frame in frames], ROW)


def write_sidecar(path: Path, identity: bytes, covered: int, tables: Sequence[Table]) -> None:
    """Save what is known of a segment's first ``covered`` bytes.

    It is not flushed: after a power cut it may be empty, and is then rebuilt.

    Raises:
        OSError: It cannot be written.
    """
    rows = b"".join(table.tobytes() for table in tables)
    temporary = path.with_name(".index")
    temporary.write_bytes(_SIDECAR.pack(_MAGIC, identity, covered, len(rows) // ROW.itemsize, crc32(rows)) + rows)
    temporary.replace(path)


def read_sidecar(path: Path, identity: bytes | None, segment: int, size_bytes: int) -> tuple[Table, int] | None:
    """The rows of a segment's first bytes and how many bytes these are.

    Args:
        identity: Of the segment that lies there; None when its head is damaged.

    Returns:
        None when there is no sidecar, or it is damaged, or about another segment or a longer one.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < _SIDECAR.size:
        return None
    magic, of, covered, num_rows, checksum = _SIDECAR.unpack_from(data)
    rows = memoryview(data)[_SIDECAR.size :]
    if magic != _MAGIC or of != identity or covered > size_bytes:
        return None
    if len(rows) != num_rows * ROW.itemsize or crc32(rows) != checksum:
        return None
    table: Table = np.frombuffer(rows, ROW).copy()
    table["segment"] = segment
    return table, covered


def _same(one: Row, other: Row) -> bool:
    return (one.segment, one.offset) == (other.segment, other.offset)
