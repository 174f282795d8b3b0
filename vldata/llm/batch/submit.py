"""Requests going into batches: planned, charged, uploaded and made, each step written down before it is done."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vldata.errors import VldataError
from vldata.llm.answers import Answers
from vldata.llm.batch.book import BatchPart, keep_requests, open_book
from vldata.llm.batch.budget import Account, charge, open_account, settle_in
from vldata.llm.batch.files import Sheet, most_of, rendered
from vldata.llm.batch.lines import MAX_BYTES, MAX_LINES
from vldata.llm.batch.route import Route
from vldata.llm.budget import BudgetLimits, Spent
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import Stop, unbounded
from vldata.llm.faults import Billed, Fault
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.client import Pictures

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


def submit(
    requests: Iterable[Request],
    *,
    endpoint: Endpoint,
    answers: Answers,
    pictures: Pictures,
    limits: BudgetLimits = BudgetLimits(),  # noqa: B008 - frozen
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
        pictures: See `vldata.llm.client.Pictures`.
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
        route = Route(endpoint, answers, book, now, stack)
        stopped = route.recover()
        account = stack.enter_context(open_account(limits, ledger))
        submission = _Submission(route, account, ledger, label, pictures, max_lines, max_bytes, max_open)
        if stopped is not None:
            submission.stopped = stopped
        submission.take(requests)
        return submission.done()


class _Submission:
    """Requests going into batches."""

    def __init__(
        self,
        route: Route,
        account: Account,
        ledger: Path | None,
        label: str,
        pictures: Pictures,
        max_lines: int,
        max_bytes: int,
        max_open: int | None,
    ) -> None:
        self._route = route
        self._account = account
        self._budget = None if ledger is None else ledger.relative_to(route.answers.folder).as_posix()
        self._label = label
        self._pictures = pictures
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._max_open = max_open
        self._sheets: dict[str, tuple[str, Sheet, Spent]] = {}
        self._known = route.book.keys_under_way()
        self._left_out: dict[str, str] = {}
        self._batches = self._requests = self._hits = self._under_way = self._unsent = 0
        self._charged = Spent()
        self.stopped: Stop | None = None

    def take(self, requests: Iterable[Request]) -> None:
        """Put them into batches, and send these."""
        try:
            for request in requests:
                if request.key in self._route.answers:
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
        return len(list(self._route.parts())) + len(self._sheets) < self._max_open

    def _put(self, request: Request) -> None:
        price = self._route.endpoint.prices.get(request.model)
        most = most_of(request, price)
        limits = self._account.limits
        self.stopped = unbounded(request, self._route.endpoint, limits, in_batch=True) or self._lacking(most)
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
            sheet = Sheet(self._route.book.path(part, "jsonl"), self._max_lines, self._max_bytes)
            self._sheets[request.model] = (part, sheet, Spent())
        part, sheet, charged = self._sheets[request.model]
        sheet.add(request, row)
        self._known.add(request.key)
        self._sheets[request.model] = (part, sheet, charged + most)

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
        route, book = self._route, self._route.book
        part_id, sheet, most = self._sheets[model]
        if self.stopped is not None and self.stopped.reason not in LIMITS:
            self._unsent += len(sheet.requests)
            sheet.discard()
            del self._sheets[model]
            return
        sheet.finish()
        keep_requests(book.path(part_id, "requests"), sheet.requests)
        part = book.plan(
            BatchPart(
                id=part_id,
                endpoint=route.endpoint.name,
                place=route.place,
                label=self._label,
                model=model,
                num_requests=len(sheet.requests),
                planned_at=route.now(),
                budget=self._budget,
            )
        )
        del self._sheets[model]
        part = charge(book, part, self._account, most)
        self._charged += most
        file_id = route.client.upload(sheet.path)
        if isinstance(file_id, Fault):
            self._give_up(part, file_id, len(sheet.requests))
            return
        part = book.note(part, file_id=file_id, making_since=route.now())
        batch = route.client.create(file_id, part.id)
        if isinstance(batch, Fault):
            if batch.billed is Billed.NO and batch.status is not None:
                self._give_up(part, batch, len(sheet.requests))
                return
            self.stopped = Stop(batch.name, route.told(batch))  # it may be there: the next call finds out
            self._unsent += len(sheet.requests)
            return
        book.note(part, batch_id=str(batch["id"]))
        sheet.path.unlink(missing_ok=True)
        self._batches += 1
        self._requests += len(sheet.requests)

    def _give_up(self, part: BatchPart, fault: Fault, num_requests: int) -> None:
        """The endpoint refused: nothing was sent."""
        book = self._route.book
        self._charged -= part.charged or Spent()
        book.end(settle_in(self._account, book, part, Spent()), "refused")
        self.stopped = Stop(fault.name, self._route.told(fault))
        self._unsent += num_requests
