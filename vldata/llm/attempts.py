"""One request on its way: reserve, send, keep, settle; and after a fault wait and try again, give it up, or stop all.

reply ──▶ keep ──▶ settle                  in this order: a kill between the two loses nothing that was paid for
fault ──▶ settle ──▶ wait and retry | give the row up | stop the run
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vldata.errors import VldataError
from vldata.llm.answers import Answer, Answers, Attempt
from vldata.llm.budget import Budget, Reservation
from vldata.llm.endpoint import Endpoint, EndpointError, endpoint_error
from vldata.llm.events import Event, Stop
from vldata.llm.faults import Billed, Fault, Scope, ignores_format
from vldata.llm.pace import MAX_WAIT_S, Breaker, ClosedError, Pace, Ticket, backoff_s
from vldata.llm.prices import Price, Size, to_pico, usage_of
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.client import Client

MAX_ATTEMPTS = 6
"""Failed attempts after which a row is given up; with waits that double from half a second, some 15 s of bad luck."""

MAX_RATE_LIMITED = 30
"""The same for refusals by a rate limit, which cost nothing and say that the server works."""

UNHEEDED = 8
"""First answers in a row that ignore ``response_format`` and are no accident: the server does not know it."""


class StoppedError(Exception):
    """The run is stopping: this request is left as it is."""


@dataclass(slots=True)
class RequestJob:
    """A request on its way."""

    request: Request
    price: Price | None
    size: Size
    pico: int | None
    attempts: list[Attempt] = field(default_factory=list)
    num_failed: int = 0
    num_rate_limited: int = 0


class Attempts:
    """Everything that requests on their way share: the endpoint, its pace, the budget, and whether the run stops."""

    def __init__(
        self,
        endpoint: Endpoint,
        answers: Answers,
        budget: Budget,
        watch: Callable[[Event], None],
        rng: random.Random,
    ) -> None:
        self._endpoint = endpoint
        self._answers = answers
        self._budget = budget
        self._watch = watch
        self._rng = rng
        most = budget.limits.concurrency
        self.concurrency = max(1, min(most, endpoint.max_concurrency or most))
        self._pace = Pace(self.concurrency, rpm=endpoint.rpm, tpm=endpoint.tpm)
        self._breaker = Breaker(max(20, 2 * self.concurrency))
        self.client: Client | None = None
        self.answered = self.ignored_format = 0
        self._formatted = 0
        self.stopped: Stop | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()

    async def make(self, job: RequestJob, body: bytes) -> Fault | None:
        """Try until there is an answer, or a fault to give up on."""
        while True:
            reservation = await self._room(job)
            try:
                ticket = await self._pace.enter(job.size.expected)
            except OverflowError:
                self._release(reservation)
                return Fault("larger_than_tpm")
            except BaseException as error:
                self._release(reservation)
                if isinstance(error, ClosedError):
                    raise StoppedError from None
                raise
            fault = await self._attempt(job, body, reservation, ticket)
            if fault is None:
                return None
            if fault.scope is Scope.ROW:
                return fault
            if fault.scope is Scope.RUN:
                self.halt(fault.name, endpoint_error(self._endpoint, fault))
            wait = self._wait_after(job, fault)
            if self.stopped is not None:
                raise StoppedError
            if wait is None:
                return fault
            job.attempts[-1] = replace(job.attempts[-1], wait_s=wait)
            self._watch(Event("retry", job.request.key, fault.name, wait))
            if not fault.retry_after_s:  # else the whole endpoint waits
                await self._sleep(wait)

    async def _room(self, job: RequestJob) -> Reservation:
        """Reserve what the attempt can cost; when others under way keep the room, wait for them to settle for less."""
        while self.stopped is None:
            reservation = self._budget.reserve(job.pico, job.size.ceiling)
            if reservation is not None:
                return reservation
            if not self._budget.num_reserved:
                self._halt_at(self._budget.lacking(job.pico, job.size.ceiling) or "max_requests", job)
                break
            self._settled.clear()
            await self._settled.wait()
        raise StoppedError

    async def _attempt(self, job: RequestJob, body: bytes, reservation: Reservation, ticket: Ticket) -> Fault | None:
        """Send once, and keep or account for what comes back."""
        client, key = self.client, job.request.key
        assert client is not None
        self._watch(Event("sent", key))
        at = time.time()
        used: int | None = None
        try:
            reply = await client.complete(body)
        except asyncio.CancelledError:
            job.attempts.append(Attempt(at, error="interrupted"))
            self._settle(reservation, None, None)
            self._pace.leave(ticket)
            raise
        try:
            if isinstance(reply, Fault):
                self._account(job, reservation, at, reply)
                self._feel(reply, ticket)
                return reply
            raw = reply.raw
            usage = usage_of(raw)
            cost = None if usage is None or job.price is None else job.price.cost_usd(usage)
            used = None if usage is None else usage.tokens
            reported = raw.get("usage") if usage is not None else None
            job.attempts.append(Attempt(at, 200, usage=reported, cost_usd=cost, request_id=reply.request_id))
            self._put(job, raw)
            self._settle(reservation, None if cost is None else to_pico(cost), used)
        finally:
            self._pace.leave(ticket, used)
        self._pace.concurrency.answered()
        self._breaker.count(failed=False, sent_at=ticket.sent_at, now=self._pace.now())
        self.answered += 1
        self._watch(Event("answered", key, usage=usage, cost_usd=cost))
        self._check_format(job.request, raw)
        return None

    def _account(self, job: RequestJob, reservation: Reservation, at: float, fault: Fault) -> None:
        is_free = fault.billed is Billed.NO
        cost = 0.0 if is_free else None
        job.attempts.append(Attempt(at, fault.status, fault.name, cost_usd=cost, request_id=fault.request_id))
        self._settle(reservation, 0 if is_free else None, 0 if is_free else None)

    def _put(self, job: RequestJob, raw: Mapping[str, Any]) -> None:
        costs = [attempt.cost_usd for attempt in job.attempts]
        priced = [cost for cost in costs if cost is not None]
        answer = Answer(
            key=job.request.key,
            request=job.request,
            reply=raw,
            attempts=tuple(job.attempts),
            cost_usd=sum(priced) if len(priced) == len(costs) else None,
            usage=job.attempts[-1].usage,
            received_at=time.time(),
        )
        self._answers.put(answer)
        job.attempts.clear()  # they are kept with the answer

    def _feel(self, fault: Fault, ticket: Ticket) -> None:
        """Let a fault slow down or stop what comes after it."""
        now = self._pace.now()
        if fault.is_congestion:
            self._pace.concurrency.congested(ticket.sent_at, now)
        if fault.retry_after_s and fault.scope is Scope.RETRY:
            if fault.retry_after_s > MAX_WAIT_S:
                self.halt("long_wait", endpoint_error(self._endpoint, fault))
            else:
                self._pause(fault.retry_after_s, fault.name)
        counts = fault.name == "bad_request" or (fault.scope is Scope.RETRY and fault.name != "rate_limited")
        wait = self._breaker.count(failed=True, sent_at=ticket.sent_at, now=now) if counts else None
        if self._breaker.has_given_up:
            self.halt("failing", endpoint_error(self._endpoint, fault))
        elif wait is not None:
            self._pace.concurrency.alone(now)
            self._pause(wait, fault.name)

    def _wait_after(self, job: RequestJob, fault: Fault) -> float | None:
        """How long to wait before the next attempt; None when there have been enough."""
        if fault.name == "rate_limited":
            job.num_rate_limited += 1
            if job.num_rate_limited >= MAX_RATE_LIMITED:
                return None
        else:
            job.num_failed += 1
            if job.num_failed >= MAX_ATTEMPTS:
                return None
        return fault.retry_after_s or backoff_s(job.num_failed + job.num_rate_limited, self._rng)

    def _check_format(self, request: Request, raw: Mapping[str, Any]) -> None:
        if request.response_format is None:
            return
        self._formatted += 1
        self.ignored_format += ignores_format(request, raw)
        if self._formatted == self.ignored_format == UNHEEDED:
            self.halt(
                "format_ignored",
                EndpointError(
                    f"endpoint {self._endpoint.name}",
                    f"the first {UNHEEDED} answers are not the JSON that was requested: it ignores response_format",
                    "use a model or server that knows it, or a kind whose answers are plain text",
                ),
            )

    def _settle(self, reservation: Reservation, pico: int | None, tokens: int | None) -> None:
        self._budget.settle(reservation, pico, tokens)
        self._settled.set()

    def _release(self, reservation: Reservation) -> None:
        self._budget.release(reservation)
        self._settled.set()

    def _pause(self, seconds: float, fault: str) -> None:
        self._pace.pause(seconds)
        self._watch(Event("paused", fault=fault, wait_s=seconds))

    def interrupt(self) -> None:
        """Send nothing more, as the user interrupted the run."""
        error = VldataError("sending", "was interrupted", "run again to resume: answers that came are kept")
        self.halt("interrupted", error)

    def _halt_at(self, limit: str, job: RequestJob) -> None:
        spent, limits = self._budget.spent, self._budget.limits
        problem = {
            "max_usd": f"${spent.usd:.4f} of ${limits.max_usd} are spent, and the next request can cost up to "
            f"${(job.pico or 0) / 1e12:.4f}",
            "max_tokens": f"{spent.tokens} of {limits.max_tokens} tokens are spent, and the next request can take "
            f"up to {job.size.ceiling}",
            "max_requests": f"{spent.requests} of {limits.max_requests} requests are sent",
        }[limit]
        self.halt(
            limit, VldataError(limit, problem, f"raise {limit} and run again to resume: answers that came are kept")
        )

    def halt(self, reason: str, error: VldataError) -> None:
        """Send nothing more. The first reason stays."""
        if self.stopped is None:
            self.stopped = Stop(reason, error)
            self._watch(Event("stopping", fault=reason))
        self._pace.close()
        self._stopping.set()
        self._settled.set()

    async def _sleep(self, seconds: float) -> None:
        """Wait for the time, or until the run stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise StoppedError
