"""Submits requests in batches: planned, charged, uploaded, created, each step recorded before it is done."""

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
from vldata.llm.batch.api import UntranslatableError
from vldata.llm.batch.book import BatchPart, keep_requests, open_book
from vldata.llm.batch.budget import charge, settle_in
from vldata.llm.batch.files import Sheet, most_of, rendered
from vldata.llm.batch.lines import BatchLimits
from vldata.llm.batch.route import Route
from vldata.llm.budget import Budget, BudgetLimits, Spending, open_budget
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import Stop, unbounded
from vldata.llm.faults import Billed, Fault
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.client import ReadImage

LIMITS = ("max_usd", "max_tokens", "max_requests", "no_price", "no_maximum")
"""Reasons to stop that lie in a limit of the user's, and not with the endpoint."""


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """What went into batches.

    Args:
        batches: Created by this call.
        hits: Requests that were answered before.
        under_way: Requests in a batch that has not ended, or equal to one that was submitted now.
        left_out: Key to reason, of those that cannot be sent: ``image_unreadable`` or ``larger_than_file``.
        unsent: Requests left over when something stopped the call.
        charged: For batches of this call.
        total: Spent and charged by all runs of this ledger.
    """

    batches: int
    requests: int
    hits: int
    under_way: int
    left_out: Mapping[str, str]
    unsent: int
    charged: Spending
    total: Spending
    stopped: Stop | None = None


def submit(
    requests: Iterable[Request],
    *,
    endpoint: Endpoint,
    answers: Answers,
    read_image: ReadImage,
    limits: BudgetLimits = BudgetLimits(),  # noqa: B008 - frozen
    ledger: Path | None = None,
    label: str = "",
    batch_limits: BatchLimits = BatchLimits(),  # noqa: B008 - frozen
    now: Callable[[], float] = time.time,
) -> SubmitResult:
    """Send every request that has no answer and is not under way, in as few batches as can be.

    Args:
        requests: All are sent to ``endpoint``, whatever they name.
        answers: Open for writing.
        limits: What may be spent, over all runs that share ``ledger``.
        ledger: The budget's, within the answer store's folder; None: only this call counts.
        label: Names who sends, such as ``recipe.source``.
        batch_limits: Of each batch, and how many may be open.

    Raises:
        StoreError: The book, the ledger or the answer store cannot be used.
        EndpointError: It has no key.
    """
    with ExitStack() as stack:
        book = stack.enter_context(open_book(answers.folder))
        route = Route(endpoint, answers, book, now, stack)
        stopped = route.recover()
        budget = stack.enter_context(open_budget(limits, ledger))
        submission = _Submission(route, budget, ledger, label, read_image, batch_limits)
        if stopped is not None:
            submission.stopped = stopped
        submission.take(requests)
        return submission.done()


class _Submission:
    """Fills sheets with requests, one for each model, and sends those that are full."""

    def __init__(
        self,
        route: Route,
        budget: Budget,
        ledger: Path | None,
        label: str,
        read_image: ReadImage,
        limits: BatchLimits,
    ) -> None:
        self._route = route
        self._budget = budget
        self._ledger = None if ledger is None else ledger.relative_to(route.answers.folder).as_posix()
        self._label = label
        self._read_image = read_image
        self._limits = route.api.within(limits)
        self._sheets: dict[str, tuple[str, Sheet, Spending]] = {}
        self._keys_under_way = route.book.keys_under_way()
        self._left_out: dict[str, str] = {}
        self._batches = self._requests = self._hits = self._under_way = self._unsent = 0
        self._charged = Spending()
        self.stopped: Stop | None = None

    def take(self, requests: Iterable[Request]) -> None:
        """Put requests into batches, and send these."""
        try:
            for request in requests:
                if request.key in self._route.answers:
                    self._hits += 1
                elif request.key in self._keys_under_way:
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

    def done(self) -> SubmitResult:
        """What was submitted."""
        return SubmitResult(
            batches=self._batches,
            requests=self._requests,
            hits=self._hits,
            under_way=self._under_way,
            left_out=self._left_out,
            unsent=self._unsent,
            charged=self._charged,
            total=self._budget.spent,
            stopped=self.stopped,
        )

    def _has_place(self, model: str) -> bool:
        """Whether one more batch may be open, or one for this model is being filled."""
        if self._limits.max_open is None or model in self._sheets:
            return True
        return len(list(self._route.parts())) + len(self._sheets) < self._limits.max_open

    def _put(self, request: Request) -> None:
        price = self._route.endpoint.prices.get(request.model)
        most = most_of(request, price)
        limits = self._budget.limits
        self.stopped = unbounded(request, self._route.endpoint, limits, in_batch=True) or self._lacking(most)
        if self.stopped is not None:
            self._unsent += 1
            return
        try:
            row = rendered(request, self._read_image, self._limits.max_bytes, self._route.api)
        except UntranslatableError as error:
            self.stopped = Stop("unsupported_parameter", error)
            self._unsent += 1
            return
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
            sheet = Sheet(self._route.book.path(part, "jsonl"), self._limits)
            self._sheets[request.model] = (part, sheet, Spending())
        part, sheet, charged = self._sheets[request.model]
        sheet.add(request, row)
        self._keys_under_way.add(request.key)
        self._sheets[request.model] = (part, sheet, charged + most)

    def _lacking(self, most: Spending) -> Stop | None:
        waiting = sum((charged for _, _, charged in self._sheets.values()), Spending())
        needed = waiting + most
        limit = self._budget.lacking(needed.pico, needed.tokens, needed.requests)
        if limit is None:
            return None
        spent = self._budget.spent + waiting
        amount = {
            "max_usd": f"${spent.usd:.4f} of ${self._budget.limits.max_usd}",
            "max_tokens": f"{spent.tokens} of {self._budget.limits.max_tokens} tokens",
            "max_requests": f"{spent.requests} of {self._budget.limits.max_requests} requests",
        }[limit]
        return Stop(
            limit,
            VldataError(
                limit,
                f"{amount} are spent, or charged for batches until they are collected",
                f"collect what is under way, or raise {limit}, and run again to resume",
            ),
        )

    def _send(self, model: str) -> None:
        """Create a batch of a sheet, recording each step before it is done."""
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
                budget=self._ledger,
            )
        )
        del self._sheets[model]
        part = charge(book, part, self._budget, most)
        self._charged += most
        file_id = route.client.upload(sheet.path)
        if isinstance(file_id, Fault):
            self._give_up(part, file_id, len(sheet.requests))
            return
        part = book.note(part, file_id=file_id, making_since=route.now())
        batch = route.client.create(sheet.path, file_id, part.id, model)
        if isinstance(batch, Fault):
            if batch.billed is Billed.NO and batch.status is not None:
                self._give_up(part, batch, len(sheet.requests))
                return
            self.stopped = Stop(batch.name, route.error_of(batch))  # it may be there: the next call finds out
            self._unsent += len(sheet.requests)
            return
        book.note(part, batch_id=batch.id)
        sheet.path.unlink(missing_ok=True)
        self._batches += 1
        self._requests += len(sheet.requests)

    def _give_up(self, part: BatchPart, fault: Fault, num_requests: int) -> None:
        """The endpoint refused: nothing was sent."""
        book = self._route.book
        self._charged -= part.charged or Spending()
        book.end(settle_in(self._budget, book, part, Spending()), "refused")
        self.stopped = Stop(fault.name, self._route.error_of(fault))
        self._unsent += num_requests
