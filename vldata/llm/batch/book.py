"""The book of batches: what was sent in which file, and how far it got, so that nothing is lost or sent twice.

    <answers>/batches/book.jsonl          one JSON line an event, on the disk before what it announces is done
    <answers>/batches/<part>.requests     the requests of a part, a line each, key and JSON: collecting needs no recipe
    <answers>/batches/<part>.jsonl        the same as they are uploaded, images inside; gone when the batch is created
    <answers>/batches/<part>.output …     what came back, while it is read

A part is one file of one batch. It is recorded in steps, each before the next is done: planned, charged to the
budget, uploaded, about to be created, created, ended. Only the holder of the answer store's lock writes here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson

from vldata.errors import StoreError
from vldata.llm.budget import Spending, append_line
from vldata.llm.request import Request
from vldata.store.trouble import as_store_errors


@dataclass(frozen=True, slots=True)
class Intent:
    """A change of the budget that is about to be written.

    Args:
        before: All that was spent at the time.
    """

    before: Spending
    change: Spending


@dataclass(frozen=True, slots=True)
class BatchPart:
    """One file of requests, and the batch created from it.

    Args:
        id: Its own; the batch carries it as metadata.
        endpoint: Where it went, by name.
        place: A hash of the URL that it went to: at another one nobody knows it.
        label: Names who sent it, such as ``recipe.source``.
        model: Of all its requests: a batch has one.
        planned_at: Seconds since 1970, as all times here.
        budget: The budget's ledger, by its path from the answer store's folder; None: it has none.
        charged: What the budget was charged with, the most that the part can cost; None: nothing yet.
        intent: A change of the budget that may have been written, or not.
        file_id: The endpoint's name for the uploaded file.
        making_since: When the batch was requested last.
        batch_id: The endpoint's name for the batch.
        ended: What became of it; None while it is open.
    """

    id: str
    endpoint: str
    place: str
    label: str
    model: str
    num_requests: int
    planned_at: float
    budget: str | None = None
    charged: Spending | None = None
    intent: Intent | None = None
    file_id: str | None = None
    making_since: float | None = None
    batch_id: str | None = None
    ended: str | None = None
    counts: Mapping[str, int] | None = None


class Book:
    """The book of an answer store; made by `open_book`.

    Args:
        folder: ``<answers>/batches``.
        handle: The open file; None: for reading only.
    """

    def __init__(self, folder: Path, parts: Mapping[str, BatchPart], handle: int | None) -> None:
        self.folder = folder
        self._parts = dict(parts)
        self._handle = handle

    @property
    def parts(self) -> tuple[BatchPart, ...]:
        """All parts, in the order in which they were planned."""
        return tuple(self._parts.values())

    @property
    def open_parts(self) -> tuple[BatchPart, ...]:
        """Those that have not ended."""
        return tuple(part for part in self._parts.values() if part.ended is None)

    def keys_under_way(self) -> set[str]:
        """Requests of open parts, by key: they may be on the bill already, so they are not to be sent again.

        Raises:
            StoreError: The requests of a part cannot be read.
        """
        return self._keys(self.open_parts)

    def keys_sent(self) -> set[str]:
        """The same of open parts whose batch exists for certain; one in doubt may never have been created.

        Raises:
            StoreError: The requests of a part cannot be read.
        """
        return self._keys(part for part in self.open_parts if part.batch_id is not None)

    def _keys(self, parts: Iterable[BatchPart]) -> set[str]:
        return {key for part in parts for key in read_keys(self.path(part.id, "requests"))}

    def requests(self, part: BatchPart) -> dict[str, Request]:
        """The requests of a part by key.

        Raises:
            StoreError: They cannot be read.
        """
        return read_requests(self.path(part.id, "requests"))

    def path(self, part: str, suffix: str) -> Path:
        """The path of one of a part's files."""
        return self.folder / f"{part}.{suffix}"

    def plan(self, part: BatchPart) -> BatchPart:
        """Record a new part."""
        return self._note(part, {name: value for name, value in asdict(part).items() if value is not None})

    def note(self, part: BatchPart, **changed: Any) -> BatchPart:
        """Record what changed about a part; it is on the disk when this returns."""
        new = replace(part, **changed)
        written = asdict(new)
        return self._note(new, {"id": part.id, **{name: written[name] for name in changed}})

    def end(self, part: BatchPart, ended: str, counts: Mapping[str, int] | None = None) -> BatchPart:
        """Record that a part has ended, and remove its files."""
        part = self.note(part, ended=ended, counts=dict(counts or {}))
        for suffix in _SUFFIXES:
            self.path(part.id, suffix).unlink(missing_ok=True)
        return part

    def tidy(self) -> None:
        """Remove the files of parts that have ended or were never planned."""
        is_open = {part.id for part in self.open_parts}
        for path in self.folder.glob("*.*"):
            part, _, suffix = path.name.partition(".")
            if suffix in _SUFFIXES and part not in is_open and path.name != _NAME:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, part: BatchPart, line: Mapping[str, Any]) -> BatchPart:
        if self._handle is None:
            raise ValueError(f"{self.folder} is open for reading only")
        with as_store_errors(self.folder / _NAME):
            append_line(self._handle, line)
            os.fsync(self._handle)
        self._parts[part.id] = part
        return part


_NAME = "book.jsonl"
_KEY_CHARS = 32
_SUFFIXES = ("requests", "requests.new", "jsonl", "output", "errors")
_FIELDS = {each.name for each in fields(BatchPart)}


def open_book(answers: Path, *, read_only: bool = False) -> Book:
    """Open the book of batches.

    Args:
        answers: The answer store's folder; to write, the caller has the store open for writing.
        read_only: Where there is none, it is empty.

    Raises:
        StoreError: It is damaged, or cannot be read or written.
    """
    folder = answers / "batches"
    path = folder / _NAME
    with as_store_errors(path):
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]  # a line cut off by a kill announces what was not done
        parts = _read(path, whole)
        if read_only:
            return Book(folder, parts, None)
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        os.ftruncate(handle, len(whole))
    book = Book(folder, parts, handle)
    book.tidy()
    return book


def keep_requests(path: Path, requests: Iterable[Request]) -> None:
    """Write requests where `read_requests` finds them, all of them or none."""
    with as_store_errors(path):
        fresh = path.with_name(f"{path.name}.new")
        with fresh.open("wb") as lines:
            for request in requests:
                lines.write(b"%b %b\n" % (request.key.encode(), orjson.dumps(request.to_json())))
            lines.flush()
            os.fsync(lines.fileno())
        fresh.replace(path)


def read_requests(path: Path) -> dict[str, Request]:
    """What `keep_requests` wrote, by key.

    Raises:
        StoreError: It cannot be read.
    """
    requests: dict[str, Request] = {}
    with as_store_errors(path), path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                key, _, written = line.partition(b" ")
                requests[key.decode()] = Request.from_json(orjson.loads(written))
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise StoreError(f"{path}:{number}", "is damaged", "restore the file from a backup") from error
    return requests


def read_keys(path: Path) -> set[str]:
    """The keys of what `keep_requests` wrote, in a tenth of the time.

    Raises:
        StoreError: It cannot be read.
    """
    with as_store_errors(path), path.open("rb") as lines:
        return {line[:_KEY_CHARS].decode() for line in lines}


def _read(path: Path, data: bytes) -> dict[str, BatchPart]:
    written: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            event = orjson.loads(line)
            written.setdefault(event["id"], {}).update(event)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, number) from error
    try:
        return {name: _as_part(values) for name, values in written.items()}
    except (KeyError, TypeError) as error:
        raise _damaged(path, None) from error


def _damaged(path: Path, number: int | None) -> StoreError:
    return StoreError(
        f"{path}:{number}" if number else str(path),
        "is damaged, so which batches are under way is not known",
        "import the files of your open batches with `vldata synth import-batch`, then remove it",
    )


def _as_part(values: Mapping[str, Any]) -> BatchPart:
    saved = {name: value for name, value in values.items() if name in _FIELDS}
    if (charged := saved.get("charged")) is not None:
        saved["charged"] = Spending(**charged)
    if (intent := saved.get("intent")) is not None:
        saved["intent"] = Intent(Spending(**intent["before"]), Spending(**intent["change"]))
    return BatchPart(**saved)


def under_way(answers: Path) -> Iterator[str]:
    """Iterate over the keys of requests in batches that have not ended, without opening the answer store.

    Raises:
        StoreError: The book cannot be read.
    """
    yield from open_book(answers, read_only=True).keys_under_way()
