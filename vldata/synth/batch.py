"""The Batch API: requests go in files, answers come within a day, at about half the price.

    plan ─▶ charge ─▶ upload ─▶ make the batch ─▶ … ─▶ ended ─▶ download ─▶ keep ─▶ settle
    each step is in `vldata.synth.batch_book` before the next, so a kill anywhere costs no answer and no second bill

Two steps are done by others and told to us: a batch that was made just before a kill is found again by the part that it
carries as metadata; and answers of a batch, once it has ended, are joined to their requests by key, whatever the state
in which it ended. What has no answer then is simply still wanting: the next batch may take it, or an online run.

Answers of both ways lie in one store. A request that is in an open batch is under way, and is not put into another.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vldata.errors import VldataError
from vldata.store.keys import key_of
from vldata.synth.answers import Answers
from vldata.synth.batch_book import Book, Part, keep_requests, open_book
from vldata.synth.batch_budget import Account, charge, open_account, settle, settle_in
from vldata.synth.batch_files import Exported as Exported
from vldata.synth.batch_files import Imported as Imported
from vldata.synth.batch_files import Sheet, import_, most_of, rendered
from vldata.synth.batch_files import export as export
from vldata.synth.batch_lines import MAX_BYTES, MAX_LINES
from vldata.synth.budget import Limits, Spent
from vldata.synth.endpoint import Endpoint, EndpointError
from vldata.synth.faults import FAULTS, Billed, Fault
from vldata.synth.prices import Price, size_of
from vldata.synth.request import Request
from vldata.synth.send import Event, Stop

if TYPE_CHECKING:
    from vldata.synth.batch_client import BatchClient
    from vldata.synth.client import Pictures

ORPHAN_S = 60.0
"""A batch that was asked for and is not listed after so long was never made. A guess, and a generous one: a listing
that lags behind by more would let its requests be sent, and billed, twice."""

CLOCKS_S = 24 * 3600.0
"""By how much the server's clock may differ from ours when batches are looked for."""

DOWNLOADS = 3
"""How often a file of results is read again when a line of it is cut off or damaged."""

LIMITS = ("max_usd", "max_tokens", "max_requests", "no_price", "no_maximum")
"""Reasons to stop that lie in a limit of the user's, and not with the endpoint."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What went into batches.

    Args:
        batches: Made now.
        requests: In them.
        hits: Answered before.
        under_way: In a batch that has not ended, or equal to one that went now.
        left_out: Key to reason, of those that cannot go: ``image_unreadable`` or ``larger_than_file``.
        unsent: Those that were left when something stopped it.
        charged: For batches of this call.
        total: Spent and charged by all runs of this ledger.
        stopped: None when nothing stopped it.
    """

    batches: int
    requests: int
    hits: int
    under_way: int
    left_out: Mapping[str, str]
    unsent: int
    charged: Spent
    total: Spent
    stopped: Stop | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A batch that has not ended here.

    Args:
        part: What it is made of.
        label: Whose it is.
        num_requests: In it.
        status: As the endpoint calls it; ``unmade`` when it is not sure that there is one, ``not_found`` when the
            endpoint does not know it, ``elsewhere`` when it was sent to another URL.
        counts: As the endpoint counts: total, completed, failed.
    """

    part: str
    label: str
    num_requests: int
    status: str
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether it can be collected."""
        from vldata.synth.batch_client import ENDED

        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Collected:
    """What came back.

    Args:
        ended: Batches by the state in which they ended.
        answered: Requests that have an answer now and had none.
        already: Lines that say what was known.
        failed: Class of fault to number of requests.
        wanting: Requests of ended batches without an answer or a failure: the server never came to them.
        unknown: Lines about requests that were not in their batch.
        duplicates: Lines about a request that an earlier line was about.
        bad_lines: Lines that cannot be read, ``part:number: problem``.
        problems: What the endpoint says about batches that it refused as a whole.
        spent: What ended batches cost.
        open: Batches that have not ended.
        stopped: None when nothing stopped it.
    """

    ended: Mapping[str, int]
    answered: int
    already: int
    failed: Mapping[str, int]
    wanting: int
    unknown: int
    duplicates: int
    bad_lines: tuple[str, ...]
    problems: tuple[str, ...]
    spent: Spent
    open: tuple[State, ...]
    stopped: Stop | None = None


def submit(
    requests: Iterable[Request],
    *,
    endpoint: Endpoint,
    answers: Answers,
    pictures: Pictures,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    ledger: Path | None = None,
    label: str = "",
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
    max_open: int | None = None,
    now: Callable[[], float] = time.time,
) -> Submitted:
    """Send every request that has no answer and is not under way, in as few batches as can be.

    Args:
        requests: All are sent to ``endpoint``, whatever they name.
        endpoint: Where they go.
        answers: Open for writing.
        pictures: See `vldata.synth.client.Pictures`.
        limits: What may be spent, over all runs that share ``ledger``.
        ledger: The budget's, within the answer store's folder; None: only this call counts.
        label: Whose the requests are.
        max_lines: Most requests in a batch.
        max_bytes: Most bytes in its file.
        max_open: Most batches that are open at once, for an account that may have only so many tokens waiting.
        now: The clock.

    Raises:
        StoreError: The book, the ledger or the answer store cannot be used.
        EndpointError: It has no key.
    """
    with ExitStack() as stack:
        book = stack.enter_context(open_book(answers.folder))
        line = _Line(endpoint, answers, book, now, stack)
        stopped = line.recover()
        account = stack.enter_context(open_account(limits, ledger))
        submission = _Submission(line, account, ledger, label, pictures, max_lines, max_bytes, max_open)
        if stopped is not None:
            submission.stopped = stopped
        submission.take(requests)
        return submission.done()


def poll(*, endpoint: Endpoint, answers: Path) -> tuple[State, ...]:
    """How far the open batches of an endpoint are; reads only, beside whoever writes.

    Args:
        endpoint: Where they went.
        answers: The answer store's folder.

    Raises:
        EndpointError: It has no key, or does not answer.
        StoreError: The book cannot be read.
    """
    with ExitStack() as stack:
        book = stack.enter_context(open_book(answers, read_only=True))
        line = _Line(endpoint, None, book, time.time, stack)
        states = []
        for part in line.parts():
            batch = line.batch(part)
            if isinstance(batch, Fault):
                raise line.told(batch)
            states.append(_state(part, batch))
        return tuple(states)


def collect(
    *,
    endpoint: Endpoint,
    answers: Answers,
    forget: bool = False,
    watch: Callable[[Event], None] = lambda event: None,
    now: Callable[[], float] = time.time,
) -> Collected:
    """Take the answers of every batch of an endpoint that has ended; needs no recipe.

    Args:
        endpoint: Where they went.
        answers: Open for writing.
        forget: Give batches up that the endpoint does not know any more; else they stay open, as the reason may be
            another key. They stay on the bill at their most.
        watch: Is told what is answered and what failed.
        now: The clock.

    Raises:
        StoreError: The book, a ledger or the answer store cannot be used.
        EndpointError: It has no key.
    """
    with ExitStack() as stack:
        book = stack.enter_context(open_book(answers.folder))
        line = _Line(endpoint, answers, book, now, stack)
        collection = _Collection(line, watch, forget)
        collection.stopped = line.recover()
        for part in line.parts():
            collection.look(part)
        return collection.done()


class _Line:
    """The endpoint, the book and what goes between them."""

    def __init__(
        self, endpoint: Endpoint, answers: Answers | None, book: Book, now: Callable[[], float], stack: ExitStack
    ) -> None:
        self.endpoint = endpoint
        self._answers = answers
        self.book = book
        self.now = now
        self._stack = stack
        self._client: BatchClient | None = None
        self.place = key_of("url", endpoint.url)[:16]

    @property
    def answers(self) -> Answers:
        """Open for writing."""
        assert self._answers is not None, "who only looks keeps no answers"
        return self._answers

    @property
    def client(self) -> BatchClient:
        """Made when it is first needed: with nothing to send or to ask, no key is needed either."""
        if self._client is None:
            from vldata.synth.batch_client import BatchClient

            self._client = self._stack.enter_context(BatchClient(self.endpoint))
            if self._answers is not None:
                self._answers.guard(self.endpoint.reveal_key())
        return self._client

    def parts(self) -> Iterator[Part]:
        """The open parts of this endpoint, as they were when asked for."""
        yield from [part for part in self.book.open_parts if part.endpoint == self.endpoint.name]

    def batch(self, part: Part) -> Mapping[str, Any] | Fault:
        """The batch of a part; a status of ours where there is none to ask for."""
        if part.place != self.place:
            return {"status": "elsewhere"}
        if part.batch_id is None:
            return {"status": "unmade"}
        batch = self.client.retrieve(part.batch_id)
        if isinstance(batch, Fault) and batch.status == 404:
            return {"status": "not_found"}
        return batch

    def recover(self) -> Stop | None:
        """Bring what a kill interrupted to an end: adopt batches that were made, give up what was not sent.

        Returns:
            Why the endpoint cannot be asked; its parts stay as they are then.
        """
        unmade = [part for part in self.parts() if part.batch_id is None and part.place == self.place]
        doubtful = [part for part in unmade if part.making_since is not None]
        for part in unmade:
            if part.making_since is None:
                self.abandon(part)
        if not doubtful:
            return None
        since = min(part.planned_at for part in doubtful) - CLOCKS_S
        found = self.client.find({part.id for part in doubtful}, since)
        if isinstance(found, Fault):
            return Stop(found.name, self.told(found))
        for part in doubtful:
            assert part.making_since is not None
            if part.id in found:
                self.book.note(part, batch_id=str(found[part.id]["id"]))
            elif self.now() - part.making_since >= ORPHAN_S:
                self.abandon(part)
        return None

    def abandon(self, part: Part) -> None:
        """End a part that no batch was made of; its charge is given back."""
        self.book.end(settle(self.book, part, Spent()), "abandoned")

    def told(self, fault: Fault) -> EndpointError:
        """A fault for people."""
        known = FAULTS[fault.name]
        status = f" (HTTP {fault.status})" if fault.status else ""
        said = f": {fault.detail}" if fault.detail else ""
        fix = known.fix or "correct what the server complains about, then run again"
        if fault.status in (404, 405, 501):
            fix = "if it has no Batch API, use `vldata synth run`, or `vldata synth export-batch` for another way"
        return EndpointError(
            f"endpoint {self.endpoint.name} at {self.endpoint.url}", f"{known.says}{status}{said}", fix
        )


class _StoppedError(Exception):
    """Nothing more is to be sent."""


class _Submission:
    """Requests going into batches."""

    def __init__(
        self,
        line: _Line,
        account: Account,
        ledger: Path | None,
        label: str,
        pictures: Pictures,
        max_lines: int,
        max_bytes: int,
        max_open: int | None,
    ) -> None:
        self._line = line
        self._account = account
        self._budget = None if ledger is None else ledger.relative_to(line.answers.folder).as_posix()
        self._label = label
        self._pictures = pictures
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._max_open = max_open
        self._sheets: dict[str, tuple[str, Sheet, Spent]] = {}
        self._known = line.book.keys_under_way()
        self._left_out: dict[str, str] = {}
        self._batches = self._requests = self._hits = self._under_way = self._unsent = 0
        self._charged = Spent()
        self.stopped: Stop | None = None

    def take(self, requests: Iterable[Request]) -> None:
        """Put them into batches, and send these."""
        try:
            for request in requests:
                if request.key in self._line.answers:
                    self._hits += 1
                elif request.key in self._known:
                    self._under_way += 1
                elif self.stopped is not None or not self._has_place(request.model):
                    self._unsent += 1
                else:
                    self._put(request)
            for model in list(self._sheets):
                self._send(model)
        finally:
            for _, sheet, _ in self._sheets.values():
                sheet.discard()

    def done(self) -> Submitted:
        """What went."""
        return Submitted(
            batches=self._batches,
            requests=self._requests,
            hits=self._hits,
            under_way=self._under_way,
            left_out=self._left_out,
            unsent=self._unsent,
            charged=self._charged,
            total=self._account.spent,
            stopped=self.stopped,
        )

    def _has_place(self, model: str) -> bool:
        """Whether one more batch may be open, or one for this model is being filled."""
        if self._max_open is None or model in self._sheets:
            return True
        return len(list(self._line.parts())) + len(self._sheets) < self._max_open

    def _put(self, request: Request) -> None:
        price = self._line.endpoint.prices.get(request.model)
        most = most_of(request, price)
        self.stopped = self._unbounded(request, price) or self._lacking(most)
        if self.stopped is not None:
            self._unsent += 1
            return
        row = rendered(request, self._pictures, self._max_bytes)
        if isinstance(row, str):
            self._left_out[request.key] = row
            return
        if request.model in self._sheets and not self._sheets[request.model][1].has_room(row):
            self._send(request.model)
            if self.stopped is not None or not self._has_place(request.model):
                self._unsent += 1
                return
        if request.model not in self._sheets:
            part = uuid.uuid4().hex
            sheet = Sheet(self._line.book.path(part, "jsonl"), self._max_lines, self._max_bytes)
            self._sheets[request.model] = (part, sheet, Spent())
        part, sheet, charged = self._sheets[request.model]
        sheet.add(request, row)
        self._known.add(request.key)
        self._sheets[request.model] = (part, sheet, charged + most)

    def _unbounded(self, request: Request, price: Price | None) -> Stop | None:
        limits, name = self._account.limits, self._line.endpoint.name
        if limits.max_usd is not None and (price is None or price.batch_factor is None):
            missing = "price" if price is None else "batch_factor of the price"
            return Stop(
                "no_price",
                EndpointError(
                    f"endpoint {name}",
                    f"the {missing} of {request.model!r} is not known, so max_usd cannot be kept",
                    f"add it under endpoints.{name}.prices in your configuration, or limit max_tokens",
                ),
            )
        is_limited = limits.max_usd is not None or limits.max_tokens is not None
        if is_limited and size_of(request, price).output_ceiling is None:
            limit = "max_usd" if limits.max_usd is not None else "max_tokens"
            return Stop(
                "no_maximum",
                EndpointError(
                    f"model {request.model!r}",
                    f"its answers have no largest length, so {limit} cannot be kept",
                    "set max_completion_tokens (or max_tokens) under `parameters`",
                ),
            )
        return None

    def _lacking(self, most: Spent) -> Stop | None:
        waiting = sum((charged for _, _, charged in self._sheets.values()), Spent())
        limit = self._account.lacking(waiting + most)
        if limit is None:
            return None
        spent = self._account.spent + waiting
        amount = {
            "max_usd": f"${spent.usd:.4f} of ${self._account.limits.max_usd}",
            "max_tokens": f"{spent.tokens} of {self._account.limits.max_tokens} tokens",
            "max_requests": f"{spent.requests} of {self._account.limits.max_requests} requests",
        }[limit]
        return Stop(
            limit,
            VldataError(
                limit,
                f"{amount} are spent, or charged for batches until they are collected",
                f"collect what is under way, or raise {limit}, and run again to go on",
            ),
        )

    def _send(self, model: str) -> None:
        """Make a batch of a sheet: each step is written down before it is done."""
        line, book = self._line, self._line.book
        part_id, sheet, most = self._sheets[model]
        if self.stopped is not None and self.stopped.reason not in LIMITS:
            self._unsent += len(sheet.requests)
            sheet.discard()
            del self._sheets[model]
            return
        sheet.finish()
        keep_requests(book.path(part_id, "requests"), sheet.requests)
        part = book.plan(
            Part(
                id=part_id,
                endpoint=line.endpoint.name,
                place=line.place,
                label=self._label,
                model=model,
                num_requests=len(sheet.requests),
                planned_at=line.now(),
                budget=self._budget,
            )
        )
        del self._sheets[model]
        part = charge(book, part, self._account, most)
        self._charged += most
        file_id = line.client.upload(sheet.path)
        if isinstance(file_id, Fault):
            self._give_up(part, file_id, len(sheet.requests))
            return
        part = book.note(part, file_id=file_id, making_since=line.now())
        batch = line.client.create(file_id, part.id)
        if isinstance(batch, Fault):
            if batch.billed is Billed.NO and batch.status is not None:
                self._give_up(part, batch, len(sheet.requests))
                return
            self.stopped = Stop(batch.name, line.told(batch))  # it may be there: the next call finds out
            self._unsent += len(sheet.requests)
            return
        book.note(part, batch_id=str(batch["id"]))
        sheet.path.unlink(missing_ok=True)
        self._batches += 1
        self._requests += len(sheet.requests)

    def _give_up(self, part: Part, fault: Fault, num_requests: int) -> None:
        """The endpoint refused: nothing was sent."""
        book = self._line.book
        self._charged -= part.charged or Spent()
        book.end(settle_in(self._account, book, part, Spent()), "refused")
        self.stopped = Stop(fault.name, self._line.told(fault))
        self._unsent += num_requests


class _Collection:
    """Answers coming out of batches."""

    def __init__(self, line: _Line, watch: Callable[[Event], None], forget: bool) -> None:
        self._line = line
        self._watch = watch
        self._forget = forget
        self._ended: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._answered = self._already = self._wanting = self._unknown = self._duplicates = 0
        self._bad: list[str] = []
        self._problems: list[str] = []
        self._spent = Spent()
        self._open: list[State] = []
        self.stopped: Stop | None = None

    def look(self, part: Part) -> None:
        """Collect a part if its batch has ended."""
        if self.stopped is not None:
            self._open.append(_state(part, {"status": "not_looked_at"}))
            return
        batch = self._line.batch(part)
        if isinstance(batch, Fault):
            self._stop(part, batch, {"status": "not_looked_at"})
        elif batch["status"] == "not_found" and self._forget:
            self._end(part, "not_found", part.charged or Spent(), part.num_requests)
        elif _state(part, batch).is_ready:
            self._take(part, batch)
        else:
            self._open.append(_state(part, batch))

    def done(self) -> Collected:
        """What came."""
        return Collected(
            ended=dict(self._ended),
            answered=self._answered,
            already=self._already,
            failed=dict(sorted(self._failed.items())),
            wanting=self._wanting,
            unknown=self._unknown,
            duplicates=self._duplicates,
            bad_lines=tuple(self._bad),
            problems=tuple(self._problems),
            spent=self._spent,
            open=tuple(self._open),
            stopped=self.stopped,
        )

    def _take(self, part: Part, batch: Mapping[str, Any]) -> None:
        """Read both files, whatever the state in which the batch ended, keep what they hold, then settle."""
        files, is_whole = [], True
        for name, suffix in (("output_file_id", "output"), ("error_file_id", "errors")):
            file_id = batch.get(name)
            if not isinstance(file_id, str) or not file_id:
                continue
            path = self._line.book.path(part.id, suffix)
            fault = self._download(file_id, path)
            if fault is None:
                files.append(path)
            elif fault.status == 404:  # providers keep them for some weeks
                is_whole = False
                self._problems.append(f"{part.id}: its {suffix} file is gone")
            else:
                self._stop(part, fault, batch)
                return
        requests = self._line.book.requests(part)
        endpoint = self._line.endpoint
        came = import_(files, self._line.answers, requests, prices=endpoint.prices, watch=self._watch)
        self._answered += came.answered
        self._already += came.already
        self._failed += came.failed
        self._unknown += len(came.unknown)
        self._duplicates += came.duplicates
        self._bad += [f"{path.name}:{line.number}: {line.problem}" for path, line in came.bad]
        self._problems += [f"{part.id}: {told}" for told in _errors(batch)]
        missing = [request for key, request in requests.items() if key not in came.seen]
        cost = came.billed
        # a batch that says that it completed has billed what it lost; one that was ended early never came to it
        if not is_whole or came.bad or batch["status"] == "completed":
            cost = sum((most_of(request, endpoint.prices.get(request.model)) for request in missing), cost)
        self._end(part, str(batch["status"]), cost, len(missing) + came.unfinished, came)

    def _end(self, part: Part, ended: str, cost: Spent, wanting: int, came: Imported | None = None) -> None:
        answered = 0 if came is None else came.answered + came.already
        failed = 0 if came is None else came.failed.total()
        counts = {"answered": answered, "failed": failed, "wanting": wanting}
        self._line.book.end(settle(self._line.book, part, cost), ended, counts)
        self._ended[ended] += 1
        self._wanting += wanting
        self._spent += cost

    def _download(self, file_id: str, path: Path) -> Fault | None:
        from vldata.synth.batch_lines import BadLine, results_of

        fault: Fault | None = None
        for _ in range(DOWNLOADS):
            fault = self._line.client.download(file_id, path)
            if fault is not None or not any(isinstance(line, BadLine) for line in results_of(path)):
                break
        return fault

    def _stop(self, part: Part, fault: Fault, batch: Mapping[str, Any]) -> None:
        self.stopped = Stop(fault.name, self._line.told(fault))
        self._open.append(_state(part, batch))


def _state(part: Part, batch: Mapping[str, Any]) -> State:
    counts = batch.get("request_counts")
    return State(
        part.id, part.label, part.num_requests, str(batch["status"]), counts if isinstance(counts, dict) else {}
    )


def _errors(batch: Mapping[str, Any]) -> Iterator[str]:
    """What an endpoint says about a batch that it refused."""
    errors = batch.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else None
    for error in data[:3] if isinstance(data, list) else ():
        if isinstance(error, dict):
            text = f"{error.get('code') or 'error'}: {str(error.get('message') or '')[:200]}"
            yield "".join(char if char.isprintable() else " " for char in text)
