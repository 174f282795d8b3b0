"""Writes requests as files for the Batch API, and reads answers from the files that come back. Nothing is sent here.

So a batch can also be sent by hand, through a provider's web page or another tool. Results are joined to requests by
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
from vldata.llm.batch.api import BatchApi, UntranslatableError
from vldata.llm.batch.lines import LARGER_THAN_FILE, BatchLimits, ResultLine, UnreadableLine
from vldata.llm.batch.results import APIS, results_of
from vldata.llm.budget import Spending
from vldata.llm.events import Event
from vldata.llm.faults import Billed
from vldata.llm.prices import Price, size_of, to_pico, usage_of
from vldata.llm.request import Request
from vldata.store.trouble import as_store_errors

if TYPE_CHECKING:
    from vldata.llm.client import ReadImage

ANSWERED_BEFORE = "answered_before"
"""The class of an attempt that brought a second answer: it is kept as a spare, and its cost with that."""

IMAGE_UNREADABLE = "image_unreadable"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Files of requests.

    Args:
        files: Each of one model, in the order in which they were begun.
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
class ImportResult:
    """What files of results brought.

    Args:
        answered: Requests that have an answer now and had none.
        already: Lines that repeat what is kept: they were imported before, or the request was answered otherwise.
        failed: Class of fault to number of requests, of those kept as failures now.
        unfinished: Requests that the server never came to.
        unknown: The keys of lines about requests that were not given.
        duplicates: Lines about a request that an earlier line was about.
        unreadable: File and place of every line that cannot be read.
        spent: On what is kept now.
        billed: On all lines, whether they were kept before or not; each request counts once.
        seen: Keys of given requests that a line was about.
    """

    answered: int = 0
    already: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unfinished: int = 0
    unknown: list[str] = field(default_factory=list)
    duplicates: int = 0
    unreadable: list[tuple[Path, UnreadableLine]] = field(default_factory=list)
    spent: Spending = field(default_factory=Spending)
    billed: Spending = field(default_factory=Spending)
    seen: set[str] = field(default_factory=set)


class Sheet:
    """A file of requests for one model, being written.

    Args:
        path: It must not be there.
    """

    def __init__(self, path: Path, limits: BatchLimits) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._limits = limits
        self._size_bytes = 0
        with as_store_errors(path):
            self._file: BinaryIO = path.open("xb")

    def has_room(self, line: bytes) -> bool:
        """Whether one more line fits."""
        return len(self.requests) < self._limits.max_lines and self._size_bytes + len(line) <= self._limits.max_bytes

    def add(self, request: Request, line: bytes) -> None:
        """Write one more line."""
        with as_store_errors(self.path):
            self._file.write(line)
        self.requests.append(request)
        self._size_bytes += len(line)

    def finish(self) -> None:
        """Flush the file to the disk and close it."""
        with as_store_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def export(
    requests: Iterable[Request],
    folder: Path,
    read_image: ReadImage,
    limits: BatchLimits = BatchLimits(),  # noqa: B008 - frozen
    batch_api: str = "openai",
) -> ExportResult:
    """Write requests as files for the Batch API: ``0001.jsonl`` …, each of one model, as an API asks for.

    Args:
        requests: Each is written once, whatever is answered already.
        folder: Made if it is not there; it must be empty.
        batch_api: One of `vldata.llm.batch.results.APIS`, whose lines are written.

    Raises:
        UntranslatableError: A request says what the API has no place for.
        StoreError: The folder is not empty, or cannot be written.
    """
    with as_store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(str(folder), "is not empty", "choose a new folder: files of two exports would mix")
    api = APIS[batch_api]
    limits = api.within(limits)
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
        line = rendered(request, read_image, limits.max_bytes, api)
        if isinstance(line, str):
            left_out[request.key] = line
            continue
        sheet = open_sheets.get(request.model)
        if sheet is None or not sheet.has_room(line):
            if sheet is not None:
                sheet.finish()
            sheet = open_sheets[request.model] = Sheet(folder / f"{len(sheets) + 1:04}.jsonl", limits)
            sheets.append(sheet)
        sheet.add(request, line)
    for sheet in open_sheets.values():
        sheet.finish()
    written = tuple(tuple(sheet.requests) for sheet in sheets)
    return ExportResult(tuple(sheet.path for sheet in sheets), written, duplicates, left_out)


def rendered(request: Request, read_image: ReadImage, max_bytes: int, api: type[BatchApi]) -> bytes | str:
    """The line of a request, or why it can have none: ``image_unreadable`` or ``larger_than_file``.

    Raises:
        UntranslatableError: The request says what the API has no place for.
    """
    try:
        line = api.line(request, read_image)
    except UntranslatableError:
        raise
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
) -> ImportResult:
    """Read files of results, output files and error files, in any order and as often as one likes.

    Args:
        answers: Open for writing.
        requests: By key, all that the files may be about.
        prices: By model; a batch costs ``batch_factor`` of them.
        scrub: Takes a key out of a line, should a server have quoted it.

    Raises:
        StoreError: A file cannot be read, or an answer cannot be kept.
    """
    result = ImportResult()
    for line in _first_of_each(files, requests, result, scrub):
        request = requests[line.key]
        price = (prices or {}).get(request.model)
        spent, attempt = _spent(line, request, price)
        result.billed += spent
        if line.is_unfinished:
            result.unfinished += 1
            continue
        is_new, event = _keep(line, request, attempt, answers)
        if is_new:
            result.spent += spent
        if event is None:
            result.already += 1
            continue
        if event.fault is None:
            result.answered += 1
        else:
            result.failed[event.fault] += 1
        watch(event)
    answers.flush()
    return result


def most_of(request: Request, price: Price | None) -> Spending:
    """The most that a request in a batch can cost."""
    size = size_of(request, price)
    usd = None if price is None else price.ceiling_usd(size, is_batch=True)
    pico = 0 if usd is None else to_pico(usd)
    return Spending(pico=pico, in_doubt_pico=pico, tokens=size.ceiling or 0, requests=1, unpriced=int(usd is None))


def _first_of_each(
    files: Iterable[Path], requests: Mapping[str, Request], result: ImportResult, scrub: Callable[[bytes], bytes]
) -> Iterator[ResultLine]:
    """The first line about each given request that says more than that it is unfinished, else that one."""
    unfinished: dict[str, ResultLine] = {}
    for path in files:
        for line in results_of(path, scrub):
            if isinstance(line, UnreadableLine):
                result.unreadable.append((path, line))
            elif line.key not in requests:
                result.unknown.append(line.key)
            elif line.is_unfinished and line.key not in result.seen:
                unfinished[line.key] = line
            elif line.key in result.seen:
                result.duplicates += 1
            else:
                result.seen.add(line.key)
                yield line
    left = [line for key, line in unfinished.items() if key not in result.seen]
    result.seen |= {line.key for line in left}
    yield from left


def _spent(line: ResultLine, request: Request, price: Price | None) -> tuple[Spending, Attempt]:
    """What a line says that the request cost, and the attempt that it was."""
    at = time.time()
    if line.reply is None:
        fault = line.fault
        is_free = line.is_free or fault is None or fault.billed is Billed.NO
        spent = Spending(requests=int(fault is not None)) if is_free else most_of(request, price)
        return spent, Attempt(
            at,
            None if fault is None else fault.status,
            None if fault is None else fault.name,
            cost_usd=0.0 if is_free else None,
            request_id=line.request_id,
        )
    created_at = line.reply.get("created")
    if isinstance(created_at, int | float) and 0 < created_at <= at:
        at = float(created_at)
    usage = usage_of(line.reply)
    if usage is None:
        return most_of(request, price), Attempt(at, 200, request_id=line.request_id)
    cost = None if price is None else price.cost_usd(usage, is_batch=True)
    spent = Spending(
        pico=0 if cost is None else to_pico(cost), tokens=usage.tokens, requests=1, unpriced=int(cost is None)
    )
    return spent, Attempt(at, 200, usage=line.reply["usage"], cost_usd=cost, request_id=line.request_id)


def _keep(line: ResultLine, request: Request, attempt: Attempt, answers: Answers) -> tuple[bool, Event | None]:
    """Keep what a line says.

    Returns:
        Whether it was not kept before, and the event of a request that had not ended.
    """
    key = request.key
    if line.reply is None:
        if _is_kept_as_failure(answers, key, attempt):
            return False, None
        answers.fail(key, request, [attempt])
        return True, Event("failed", key, attempt.error)
    first = answers.get(request.key)
    if first is not None and (_has(first.attempts, attempt) or _is_kept_as_failure(answers, key, attempt)):
        return False, None
    answers.put(
        Answer(
            key=key,
            request=request,
            reply=line.reply,
            attempts=(attempt,),
            cost_usd=attempt.cost_usd,
            usage=attempt.usage,
            received_at=time.time(),
            channel="batch",
        )
    )
    if first is not None:  # answered online meanwhile; the mark identifies this line when it is read again
        mark = Attempt(attempt.at, 200, ANSWERED_BEFORE, cost_usd=0.0, request_id=attempt.request_id)
        answers.fail(key, request, [mark])
        return True, None
    return True, Event("answered", key, usage=usage_of(line.reply), cost_usd=attempt.cost_usd)


def _is_kept_as_failure(answers: Answers, key: str, attempt: Attempt) -> bool:
    failure = answers.failure(key)
    return failure is not None and _has(failure.attempts, attempt)


def _has(attempts: Iterable[Attempt], one: Attempt) -> bool:
    return any(attempt.request_id == one.request_id for attempt in attempts)
