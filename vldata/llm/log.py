"""The log beneath the answer store: one folder of segments, one writer, an index over all of them.

What it keeps has a kind, the key and subject of a request, a cost and a payload; what these mean is
`vldata.llm.answers`' matter.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from vldata.errors import StoreError
from vldata.llm import index as indexes
from vldata.llm import segments
from vldata.llm.durable import Flusher
from vldata.llm.index import Index, Row, Table, row_of, table_of
from vldata.llm.segments import DAMAGE, StoredFrame
from vldata.store.disk import require
from vldata.store.lock import exclusive
from vldata.store.trouble import as_store_errors, store_error

ANSWERS_VERSION = 1
"""Raised when a folder of an older version can no longer be read."""

_HEAD = "vldata answers "
_NEWEST = "newest"
_OPEN_SEGMENTS = 64  # of 64 MiB each; a process may have 1,024 files open by default


@dataclass(frozen=True)
class Damage:
    """A place in a segment that cannot be read.

    Args:
        offset: Of the first byte.
        key: Of the request whose answer or failure stood there; None when that is not known either.
        is_missing: The whole segment is not there.
    """

    path: Path
    offset: int
    key: str | None
    is_missing: bool = False

    def __str__(self) -> str:
        if self.is_missing:
            return f"{self.path}: is missing, with all that was kept in it"
        what = f"what was kept for request {self.key}" if self.key else "a stretch of unknown content"
        return f"{self.path}: byte {self.offset}: {what} is damaged and skipped"


class Log:
    """An open folder. It may be used from several threads.

    Args:
        folder: Absolute.
        read_only: Make nothing, take no lock, and see only what was there.

    Raises:
        StoreError: See `vldata.llm.answers.open_answers`.
    """

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self.folder = folder
        self.read_only = read_only
        self.index = Index()
        self.mutex = threading.RLock()
        self._ends: dict[int, int] = {}
        self._handles: OrderedDict[int, int] = OrderedDict()
        self._handle = -1
        self._segment = 0
        self._missing: list[int] = []
        self._is_unclean = False
        self._flusher = Flusher(folder)
        self._exit = ExitStack()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def append(self, kind: int, key: str, subject: int, cost: tuple[int, int], payload: bytes) -> None:
        """Add a frame, or leave everything as it was.

        Args:
            kind: One of `vldata.llm.segments`'.
            key: 32 hex characters.
            subject: 64 bits.
            cost: As `vldata.llm.records.Cost`.

        Raises:
            StoreError: The disk is full or failing.
            ValueError: The log is not open for writing, or the payload is too long.
        """
        if self._handle < 0:
            problem = "is open for reading only" if self.read_only else "is closed"
            raise ValueError(f"the answer store {self.folder} {problem}")
        if len(payload) > segments.MAX_PAYLOAD_BYTES:
            raise ValueError(f"an answer of {len(payload)} bytes is longer than {segments.MAX_PAYLOAD_BYTES}")
        frame = segments.frame_bytes(kind, bytes.fromhex(key), subject, *cost, payload)
        with self.mutex, as_store_errors(self.folder):
            self._flusher.check()
            end = self._ends[self._segment]
            if end > segments.HEAD_BYTES and end + len(frame) > segments.SEGMENT_BYTES:
                self._new_segment()
                end = self._ends[self._segment]
            self._write(frame, end)
            self._ends[self._segment] = end + len(frame)
            row = row_of(StoredFrame(kind, bytes.fromhex(key), subject, *cost, end, len(payload)), self._segment)
            self.index.add(row)
            self._flusher.wrote()

    def payload(self, row: Row) -> bytes | None:
        """Read what stands at a row; None when that is damaged, and then the index knows it too.

        Raises:
            StoreError: The segment cannot be read.
        """
        with self.mutex:
            try:
                payload = segments.payload_of(self._open_segment(row.segment), row.key_bytes, row.offset, row.length)
            except OSError as error:
                raise store_error(error, self._path(row.segment)) from error
            if payload is None:
                self.index.strike(row)
                with suppress(OSError):  # the sidecar says that it is whole; a reader may not be able to remove it
                    self._sidecar(row.segment).unlink(missing_ok=True)
        return payload

    def damaged(self) -> tuple[Damage, ...]:
        """Every place found damaged so far, and every segment that is missing."""
        return (
            *(Damage(self._path(number), 0, None, is_missing=True) for number in self._missing),
            *(
                Damage(self._path(row.segment), row.offset, row.key if row.key.strip("0") else None)
                for row in self.index.rows(DAMAGE)
            ),
        )

    def flush(self) -> None:
        """Wait until the disk has everything.

        Raises:
            StoreError: It cannot be flushed.
        """
        self._flusher.flush()

    def refresh(self) -> None:
        """As a reader: see what was written since this was opened.

        Raises:
            StoreError: The folder cannot be read.
        """
        if self.read_only:
            with self.mutex:
                self._load()

    def close(self) -> None:
        """Flush, save the index and let the next writer in. Closing twice is harmless.

        Raises:
            StoreError: The last answers cannot be flushed.
        """
        with self.mutex, self._exit:
            try:
                self._flusher.close()
                if self._handle >= 0:  # an index is about what the disk has
                    self._save_index(self._segment, self._handle)
            finally:
                self._handle = -1
                for handle in self._handles.values():
                    os.close(handle)
                self._handles.clear()

    def _open(self) -> None:
        if self.read_only:
            if self.folder.exists() and _names(self.folder):
                _check_version(self.folder)
                self._load()
            return
        with as_store_errors(self.folder):
            _make_folder(self.folder)
            self._exit.enter_context(exclusive(self.folder / "lock", wait=False))
            require(self.folder, segments.SEGMENT_BYTES)  # before money is spent, and not after
            self._load()
            self._begin()

    def _load(self) -> None:
        """Read the indexes, and the segments where these do not reach."""
        with as_store_errors(self.folder):
            numbers = sorted(int(path.stem) for path in self.folder.glob("[0-9]*.answers"))
            tables: list[Table] = []
            for number in numbers:
                if number >= max(self._ends, default=0):
                    tables += self._load_segment(number, is_last=number == numbers[-1])
            self.index.extend(tables)
            self._missing = sorted(set(range(1, self._newest() + 1)) - self._ends.keys())

    def _newest(self) -> int:
        """The number of the newest segment that ever was: what lost its segment may still have its index."""
        sidecars = [int(path.stem) for path in self.folder.glob("[0-9]*.index")]
        try:
            noted = int((self.folder / _NEWEST).read_bytes())
        except (FileNotFoundError, ValueError):
            noted = 0
        return max(noted, *sidecars, *self._ends, 0)

    def _note_newest(self) -> None:
        fresh = self.folder / f".{_NEWEST}"
        fresh.write_text(f"{self._segment}\n")
        fresh.replace(self.folder / _NEWEST)

    def _load_segment(self, number: int, *, is_last: bool) -> list[Table]:
        handle = self._open_segment(number)
        size_bytes = os.fstat(handle).st_size
        tables, start = [], self._ends.get(number, 0)
        if not start:
            identity = segments.identity_of(handle)
            saved = indexes.read_sidecar(self._sidecar(number), identity, number, size_bytes)
            start = saved[1] if saved else segments.HEAD_BYTES
            tables = [saved[0]] if saved else []
        end = start
        if start < size_bytes:
            frames, end = segments.scan(segments.read_all(handle, start, size_bytes), start)
            if end < size_bytes and not is_last:
                frames.append(segments.damage(end, size_bytes - end))
                end = size_bytes
            elif is_last and self.read_only and frames and frames[-1].kind == DAMAGE:
                end = frames.pop().offset  # perhaps only half written yet
            tables.append(table_of(frames, number))
            if not is_last and not self.read_only:
                self._write_sidecar(number, handle, end, tables)
        self._ends[number] = end
        return tables

    def _begin(self) -> None:
        """Open the last segment for appending, or a new one."""
        self._segment = max(self._ends, default=0)
        if not self._segment or (self._missing and self._missing[-1] > self._segment):
            self._segment = max(self._missing, default=0)  # its place stays free, should it come back
            self._new_segment()
            return
        handle = self._writable(self._segment)
        size_bytes, end = os.fstat(handle).st_size, self._ends[self._segment]
        if end < size_bytes:
            if segments.is_torn(segments.read_all(handle, end, size_bytes)):
                os.ftruncate(handle, end)
                os.fsync(handle)
            else:  # not what an append leaves: keep the bytes, and go on elsewhere
                self.index.add(row_of(segments.damage(end, size_bytes - end), self._segment))
                self._ends[self._segment] = size_bytes
                self._new_segment()

    def _writable(self, number: int) -> int:
        self._forget(number)
        self._handle = self._handles[number] = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
        self._flusher.turn_to(self._handle)
        return self._handle

    def _new_segment(self) -> None:
        if self._handle >= 0:
            self._flusher.flush()
            self._save_index(self._segment, self._handle)
        number = self._segment + 1
        segments.create_segment(self._path(number))
        self._ends[number], self._segment = segments.HEAD_BYTES, number
        self._writable(self._segment)
        self._note_newest()

    def _write(self, frame: bytes, end: int) -> None:
        if self._is_unclean:
            os.ftruncate(self._handle, end)
        self._is_unclean = True
        try:
            segments.write_all(self._handle, frame, end)
        except OSError:
            with suppress(OSError):  # else before the next append, or by the next writer
                os.ftruncate(self._handle, end)
                self._is_unclean = False
            raise
        self._is_unclean = False

    def _save_index(self, number: int, handle: int) -> None:
        self._write_sidecar(number, handle, self._ends[number], [self.index.of_segment(number)])

    def _write_sidecar(self, number: int, handle: int, end: int, tables: Sequence[Table]) -> None:
        with suppress(OSError):  # on a full disk: it only saves time, and is rebuilt when it is missing
            identity = segments.identity_of(handle)
            if identity is not None:
                indexes.write_sidecar(self._sidecar(number), identity, end, tables)

    def _open_segment(self, number: int) -> int:
        if number not in self._handles:
            self._handles[number] = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
        self._handles.move_to_end(number)
        if len(self._handles) > _OPEN_SEGMENTS:
            self._forget(next(other for other in self._handles if other not in (number, self._segment)))
        return self._handles[number]

    def _forget(self, number: int) -> None:
        if number in self._handles:
            os.close(self._handles.pop(number))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.answers"

    def _sidecar(self, number: int) -> Path:
        return self.folder / f"{number:06d}.index"


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / "VERSION"
    if not version.exists():
        strangers = _names(folder)
        if strangers and not version.exists():  # another process may just have made it
            raise StoreError(
                str(folder),
                f"is not an answer store: it has no VERSION file and holds {strangers[0]!r}",
                "choose an empty or a new folder for the answers",
            )
        temporary = version.with_name(f".version-{os.getpid()}")
        temporary.write_text(f"{_HEAD}{ANSWERS_VERSION}\n")
        temporary.replace(version)
    _check_version(folder)


def _names(folder: Path) -> list[str]:
    """What a folder holds, besides what a writer that was killed while it created the store may have left."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(("lock", ".version")))


def _check_version(folder: Path) -> None:
    version = folder / "VERSION"
    try:
        text = version.read_text(errors="replace").strip()
    except OSError as error:
        raise store_error(error, version) from error
    if text == f"{_HEAD}{ANSWERS_VERSION}":
        return
    if not text.startswith(_HEAD):
        problem, fix = f"is not an answer store's: it says {text[:40]!r}", "choose another folder for the answers"
    else:
        problem = f"is of version {text.removeprefix(_HEAD)[:20]}, and this vldata reads version {ANSWERS_VERSION}"
        fix = "use the vldata that made it, or choose another folder; do not remove it: answers were paid for"
    raise StoreError(str(version), problem, fix)
