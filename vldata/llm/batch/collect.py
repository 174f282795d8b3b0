"""Collects the answers of batches that have ended, in whichever state; polls and cancels those that have not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vldata.llm.answers import Answers
from vldata.llm.batch.api import RemoteBatch
from vldata.llm.batch.book import BatchPart, open_book
from vldata.llm.batch.budget import settle
from vldata.llm.batch.files import ImportResult, import_, most_of
from vldata.llm.batch.lines import UnreadableLine
from vldata.llm.batch.results import results_of
from vldata.llm.batch.route import Route, State, state_of
from vldata.llm.budget import Spending
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import Event, Stop
from vldata.llm.faults import Fault

DOWNLOADS = 3
"""How often a file of results is read again when a line of it is cut off or damaged."""

_NOT_LOOKED_AT = RemoteBatch("", "not_looked_at")


@dataclass(frozen=True, slots=True)
class BatchResults:
    """What batches brought.

    Args:
        ended: Batches by the state in which they ended.
        answered: Requests that have an answer now and had none.
        already: Lines that repeat what is kept.
        failed: Class of fault to number of requests.
        pending: Requests of ended batches without an answer or a failure: the server never came to them.
        unknown: Lines about requests that were not in their batch.
        duplicates: Lines about a request that an earlier line was about.
        unreadable: Lines that cannot be read, ``part:number: problem``.
        problems: What the endpoint says about batches that it refused as a whole.
        spent: What ended batches cost.
        open: Batches that have not ended.
    """

    ended: Mapping[str, int]
    answered: int
    already: int
    failed: Mapping[str, int]
    pending: int
    unknown: int
    duplicates: int
    unreadable: tuple[str, ...]
    problems: tuple[str, ...]
    spent: Spending
    open: tuple[State, ...]
    stopped: Stop | None = None


def poll(*, endpoint: Endpoint, answers: Path) -> tuple[State, ...]:
    """Find how far the open batches of an endpoint are; reads only, beside whoever writes.

    Args:
        answers: The answer store's folder.

    Raises:
        EndpointError: It has no key, or does not answer.
        StoreError: The book cannot be read.
    """
    with ExitStack() as stack:
        book = stack.enter_context(open_book(answers, read_only=True))
        route = Route(endpoint, None, book, time.time, stack)
        states = []
        for part in route.parts():
            batch = route.batch(part)
            if isinstance(batch, Fault):
                raise route.error_of(batch)
            states.append(state_of(part, batch))
        return tuple(states)


def cancel(
    *,
    endpoint: Endpoint,
    answers: Answers,
    labels: Collection[str],
    now: Callable[[], float] = time.time,
) -> tuple[State, ...]:
    """Ask the endpoint to end batches early; what is done by then is billed, and `collect` takes and settles it.

    A batch that was only planned is given up at once, and its charge given back.

    Args:
        answers: Open for writing.
        labels: Of the batches to cancel; see `vldata.llm.batch.submit.submit`.

    Returns:
        Those that the endpoint was requested to end, as it reports them.

    Raises:
        StoreError: The book or a ledger cannot be used.
        EndpointError: It has no key, or does not answer.
    """
    with ExitStack() as stack:
        book = stack.enter_context(open_book(answers.folder))
        route = Route(endpoint, answers, book, now, stack)
        if (stopped := route.recover()) is not None:
            raise stopped.error
        states = []
        for part in route.parts():
            if part.label not in labels or part.batch_id is None or part.place != route.place:
                continue
            batch = route.client.cancel(part.batch_id)
            if not isinstance(batch, Fault):
                states.append(state_of(part, batch))
            elif batch.status not in _ENDED_BEFORE:
                raise route.error_of(batch)
        return tuple(states)


_ENDED_BEFORE = (400, 404, 409)
"""What an endpoint says about a batch that has ended, or that it does not know: `collect` reports both."""


def collect(
    *,
    endpoint: Endpoint,
    answers: Answers,
    forget: bool = False,
    watch: Callable[[Event], None] = lambda event: None,
    now: Callable[[], float] = time.time,
) -> BatchResults:
    """Take the answers of every batch of an endpoint that has ended; needs no recipe.

    Args:
        answers: Open for writing.
        forget: Give batches up that the endpoint does not know any more; else they stay open, as the reason may be
            another key. They stay on the bill at their most.

    Raises:
        StoreError: The book, a ledger or the answer store cannot be used.
        EndpointError: It has no key.
    """
    with ExitStack() as stack:
        book = stack.enter_context(open_book(answers.folder))
        route = Route(endpoint, answers, book, now, stack)
        collection = _Collection(route, watch, forget)
        collection.stopped = route.recover()
        for part in route.parts():
            collection.look(part)
        return collection.done()


class _Collection:
    """Collects parts and counts what they bring."""

    def __init__(self, route: Route, watch: Callable[[Event], None], forget: bool) -> None:
        self._route = route
        self._watch = watch
        self._forget = forget
        self._ended: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._answered = self._already = self._pending = self._unknown = self._duplicates = 0
        self._unreadable: list[str] = []
        self._problems: list[str] = []
        self._spent = Spending()
        self._open: list[State] = []
        self.stopped: Stop | None = None

    def look(self, part: BatchPart) -> None:
        """Collect a part if its batch has ended."""
        if self.stopped is not None:
            self._open.append(state_of(part, _NOT_LOOKED_AT))
            return
        batch = self._route.batch(part)
        if isinstance(batch, Fault):
            self._stop(part, batch, _NOT_LOOKED_AT)
        elif batch.status == "not_found" and self._forget:
            self._end(part, "not_found", part.charged or Spending(), part.num_requests)
        elif state_of(part, batch).is_ready:
            self._take(part, batch)
        else:
            self._open.append(state_of(part, batch))

    def done(self) -> BatchResults:
        """What was collected."""
        return BatchResults(
            ended=dict(self._ended),
            answered=self._answered,
            already=self._already,
            failed=dict(sorted(self._failed.items())),
            pending=self._pending,
            unknown=self._unknown,
            duplicates=self._duplicates,
            unreadable=tuple(self._unreadable),
            problems=tuple(self._problems),
            spent=self._spent,
            open=tuple(self._open),
            stopped=self.stopped,
        )

    def _take(self, part: BatchPart, batch: RemoteBatch) -> None:
        """Read all files, whatever the state in which the batch ended, keep what they hold, then settle."""
        files, is_whole = [], True
        for suffix, file_id in batch.files.items():
            path = self._route.book.path(part.id, suffix)
            fault = self._download(file_id, path)
            if fault is None:
                files.append(path)
            elif fault.status == 404:  # providers keep them for some weeks
                is_whole = False
                self._problems.append(f"{part.id}: its {suffix} file is gone")
            else:
                self._stop(part, fault, batch)
                return
        requests = self._route.book.requests(part)
        endpoint = self._route.endpoint
        imported = import_(files, self._route.answers, requests, prices=endpoint.prices, watch=self._watch)
        self._answered += imported.answered
        self._already += imported.already
        self._failed += imported.failed
        self._unknown += len(imported.unknown)
        self._duplicates += imported.duplicates
        self._unreadable += [f"{path.name}:{line.number}: {line.problem}" for path, line in imported.unreadable]
        self._problems += [f"{part.id}: {error}" for error in batch.errors]
        missing = [request for key, request in requests.items() if key not in imported.seen]
        cost = imported.billed
        # a batch that says that it completed has billed what it lost; one that was ended early never came to it
        if not is_whole or imported.unreadable or batch.status == "completed":
            cost = sum((most_of(request, endpoint.prices.get(request.model)) for request in missing), cost)
        self._end(part, batch.status, cost, len(missing) + imported.unfinished, imported)

    def _end(
        self, part: BatchPart, ended: str, cost: Spending, pending: int, imported: ImportResult | None = None
    ) -> None:
        answered = 0 if imported is None else imported.answered + imported.already
        failed = 0 if imported is None else imported.failed.total()
        counts = {"answered": answered, "failed": failed, "wanting": pending}
        self._route.book.end(settle(self._route.book, part, cost), ended, counts)
        self._ended[ended] += 1
        self._pending += pending
        self._spent += cost

    def _download(self, file_id: str, path: Path) -> Fault | None:
        fault: Fault | None = None
        for _ in range(DOWNLOADS):
            fault = self._route.client.download(file_id, path)
            if fault is not None or not any(isinstance(line, UnreadableLine) for line in results_of(path)):
                break
        return fault

    def _stop(self, part: BatchPart, fault: Fault, batch: RemoteBatch) -> None:
        self.stopped = Stop(fault.name, self._route.error_of(fault))
        self._open.append(state_of(part, batch))
