"""Requests -> files for the Batch API, and the files that come back -> answers. Nothing is sent here.

So a batch can also go by hand, through a provider's web page or another tool. What comes back is joined to requests by
key alone; a line that failed is kept as a failure, never as an answer, and a file that is read again changes nothing.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vldata.errors import StoreError, VldataError
from vldata.llm.answers import Answer, Answers, Attempt
from vldata.llm.batch.lines import LARGER_THAN_FILE, MAX_BYTES, MAX_LINES, BadLine, Result, line_of, results_of
from vldata.llm.budget import Spent
from vldata.llm.events import Event
from vldata.llm.faults import Billed
from vldata.llm.prices import Price, size_of, to_pico, usage_of
from vldata.llm.request import Request
from vldata.store.trouble import as_store_errors

if TYPE_CHECKING:
    from vldata.llm.client import Pictures

ANSWERED_BEFORE = "answered_before"
"""The class of an attempt that brought a second answer: it is kept as a spare, and its cost with that."""

IMAGE_UNREADABLE = "image_unreadable"


@dataclass(frozen=True, slots=True)
class Exported:
    """Files of requests.

    Args:
        files: Each of one model, in the order in which they were begun.
        requests: The requests in each file.
        duplicates: Requests equal to one before.
        left_out: Key to reason, of those that are in no file.
    """

    files: tuple[Path, ...]
    requests: tuple[tuple[Request, ...], ...]
    duplicates: int
    left_out: Mapping[str, str]

    @property
    def num_requests(self) -> int:
        """In all files."""
        return sum(map(len, self.requests))


@dataclass(slots=True)
class Imported:
    """What came back in files.

    Args:
        answered: Requests that have an answer now and had none.
        already: Lines that say what was known: they were imported before, or the request was answered otherwise.
        failed: Class of fault to number of requests, of those kept as failures now.
        unfinished: Requests that the server never came to.
        unknown: Lines about requests that are not known here, by what they are called.
        duplicates: Lines about a request that an earlier line was about.
        bad: File and place of every line that cannot be read.
        spent: On what is kept now.
        billed: On all lines, whether they were known or not; each request counts once.
        seen: Keys of known requests that a line was about.
    """

    answered: int = 0
    already: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unfinished: int = 0
    unknown: list[str] = field(default_factory=list)
    duplicates: int = 0
    bad: list[tuple[Path, BadLine]] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    billed: Spent = field(default_factory=Spent)
    seen: set[str] = field(default_factory=set)


class Sheet:
    """A file of requests for one model, being written.

    Args:
        path: It must not be there.
        max_lines: Most requests in it.
        max_bytes: Most bytes in it.
    """

    def __init__(self, path: Path, max_lines: int, max_bytes: int) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._size_bytes = 0
        with as_store_errors(path):
            self._file: BinaryIO = path.open("xb")

    def has_room(self, line: bytes) -> bool:
        """Whether one more line fits."""
        return len(self.requests) < self._max_lines and self._size_bytes + len(line) <= self._max_bytes

    def add(self, request: Request, line: bytes) -> None:
        """Write one more line."""
        with as_store_errors(self.path):
            self._file.write(line)
        self.requests.append(request)
        self._size_bytes += len(line)

    def finish(self) -> None:
        """Make the disk have it."""
        with as_store_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Remove it."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def export(
    requests: Iterable[Request],
    folder: Path,
    pictures: Pictures,
    *,
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
) -> Exported:
    """Write requests as files for the Batch API: ``0001.jsonl`` …, each of one model, as an API asks for.

    Args:
        requests: Each is written once, whatever is answered already.
        folder: Made if it is not there; it must be empty.
        pictures: See `vldata.llm.client.Pictures`.
        max_lines: Most requests in a file.
        max_bytes: Most bytes in a file.

    Raises:
        StoreError: The folder is not empty, or cannot be written.
    """
    with as_store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(str(folder), "is not empty", "choose a new folder: files of two exports would mix")
    seen: set[str] = set()
    left_out: dict[str, str] = {}
    open_sheets: dict[str, Sheet] = {}
    sheets: list[Sheet] = []
    duplicates = 0
    for request in requests:
        if request.key in seen:
            duplicates += 1
            continue
        seen.add(request.key)
        line = rendered(request, pictures, max_bytes)
        if isinstance(line, str):
            left_out[request.key] = line
            continue
        sheet = open_sheets.get(request.model)
        if sheet is None or not sheet.has_room(line):
            if sheet is not None:
                sheet.finish()
            sheet = open_sheets[request.model] = Sheet(folder / f"{len(sheets) + 1:04}.jsonl", max_lines, max_bytes)
            sheets.append(sheet)
        sheet.add(request, line)
    for sheet in open_sheets.values():
        sheet.finish()
    written = tuple(tuple(sheet.requests) for sheet in sheets)
    return Exported(tuple(sheet.path for sheet in sheets), written, duplicates, left_out)


def rendered(request: Request, pictures: Pictures, max_bytes: int) -> bytes | str:
    """The line of a request, or why it can have none: ``image_unreadable`` or ``larger_than_file``."""
    from vldata.llm.client import chat_body  # loads the whole client library

    try:
        line = line_of(request, chat_body(request, pictures))
    except (VldataError, OSError):
        return IMAGE_UNREADABLE
    return line if len(line) <= max_bytes else LARGER_THAN_FILE


def import_(
    files: Iterable[Path],
    answers: Answers,
    requests: Mapping[str, Request],
    *,
    prices: Mapping[str, Price] | None = None,
    scrub: Callable[[bytes], bytes] = lambda line: line,
    watch: Callable[[Event], None] = lambda event: None,
) -> Imported:
    """Take what came back, output files and error files, in any order and as often as one likes.

    Args:
        files: As the provider gave them.
        answers: Open for writing.
        requests: By key, all that the files may be about.
        prices: By model; a batch costs ``batch_factor`` of them.
        scrub: Takes a key out of a line, should a server have quoted it.
        watch: Is told what is answered and what failed.

    Raises:
        StoreError: A file cannot be read, or an answer cannot be kept.
    """
    came = Imported()
    for result in _first_of_each(files, requests, came, scrub):
        request = requests[result.key]
        price = (prices or {}).get(request.model)
        spent, attempt = _spent(result, request, price)
        came.billed += spent
        if result.is_unfinished:
            came.unfinished += 1
        elif result.reply is not None:
            _answer(result, request, attempt, spent, answers, came, watch)
        else:
            _fail(request, attempt, spent, answers, came, watch)
    answers.flush()
    return came


def most_of(request: Request, price: Price | None) -> Spent:
    """The most that a request in a batch can cost."""
    size = size_of(request, price)
    usd = None if price is None else price.ceiling_usd(size, is_batch=True)
    pico = 0 if usd is None else to_pico(usd)
    return Spent(pico=pico, in_doubt_pico=pico, tokens=size.ceiling or 0, requests=1, unpriced=int(usd is None))


def _first_of_each(
    files: Iterable[Path], requests: Mapping[str, Request], came: Imported, scrub: Callable[[bytes], bytes]
) -> Iterator[Result]:
    """The first line about each known request that says more than that it is unfinished, else that one."""
    unfinished: dict[str, Result] = {}
    for path in files:
        for result in results_of(path, scrub):
            if isinstance(result, BadLine):
                came.bad.append((path, result))
            elif result.key not in requests:
                came.unknown.append(result.key)
            elif result.is_unfinished and result.key not in came.seen:
                unfinished[result.key] = result
            elif result.key in came.seen:
                came.duplicates += 1
            else:
                came.seen.add(result.key)
                yield result
    left = [result for key, result in unfinished.items() if key not in came.seen]
    came.seen |= {result.key for result in left}
    yield from left


def _spent(result: Result, request: Request, price: Price | None) -> tuple[Spent, Attempt]:
    """What a line says that the request cost, and the attempt that it was."""
    at = time.time()
    if result.reply is None:
        fault = result.fault
        is_free = fault is None or fault.billed is Billed.NO
        spent = Spent(requests=int(fault is not None)) if is_free else most_of(request, price)
        return spent, Attempt(
            at,
            None if fault is None else fault.status,
            None if fault is None else fault.name,
            cost_usd=0.0 if is_free else None,
            request_id=result.request_id,
        )
    made = result.reply.get("created")
    if isinstance(made, int | float) and 0 < made <= at:
        at = float(made)
    usage = usage_of(result.reply)
    if usage is None:
        return most_of(request, price), Attempt(at, 200, request_id=result.request_id)
    cost = None if price is None else price.cost_usd(usage, is_batch=True)
    spent = Spent(
        pico=0 if cost is None else to_pico(cost), tokens=usage.tokens, requests=1, unpriced=int(cost is None)
    )
    return spent, Attempt(at, 200, usage=result.reply["usage"], cost_usd=cost, request_id=result.request_id)


def _answer(
    result: Result,
    request: Request,
    attempt: Attempt,
    spent: Spent,
    answers: Answers,
    came: Imported,
    watch: Callable[[Event], None],
) -> None:
    assert result.reply is not None
    known = answers.get(request)
    is_second = known is not None
    if known is not None and (_has(known.attempts, attempt) or _is_kept_as_failure(answers, request.key, attempt)):
        came.already += 1
        return
    answers.put(
        Answer(
            key=request.key,
            request=request,
            reply=result.reply,
            attempts=(attempt,),
            cost_usd=attempt.cost_usd,
            usage=attempt.usage,
            received_at=time.time(),
            channel="batch",
        )
    )
    came.spent += spent
    if is_second:  # answered online meanwhile; the mark tells this line when it comes again
        mark = Attempt(attempt.at, 200, ANSWERED_BEFORE, cost_usd=0.0, request_id=attempt.request_id)
        answers.fail(request.key, request, [mark])
        came.already += 1
        return
    came.answered += 1
    usage = usage_of(result.reply)
    watch(Event("answered", request.key, usage=usage, cost_usd=attempt.cost_usd))


def _fail(
    request: Request,
    attempt: Attempt,
    spent: Spent,
    answers: Answers,
    came: Imported,
    watch: Callable[[Event], None],
) -> None:
    assert attempt.error is not None
    if _is_kept_as_failure(answers, request.key, attempt):
        came.already += 1
        return
    answers.fail(request.key, request, [attempt])
    came.spent += spent
    came.failed[attempt.error] += 1
    watch(Event("failed", request.key, attempt.error))


def _is_kept_as_failure(answers: Answers, key: str, attempt: Attempt) -> bool:
    failure = answers.failure(key)
    return failure is not None and _has(failure.attempts, attempt)


def _has(attempts: Iterable[Attempt], one: Attempt) -> bool:
    return any(attempt.request_id == one.request_id for attempt in attempts)
