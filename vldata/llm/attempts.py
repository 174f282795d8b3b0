"""One request on its way: reserve, send, keep, settle; and after a fault wait and try again, give it up, or stop all.

reply ──▶ keep ──▶ settle                  in this order: a kill between the two loses nothing that was paid for
fault ──▶ settle ──▶ wait and retry | give the row up | stop the run
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from vldata.errors import VldataError
from vldata.llm.answers import Answer, Answers, Attempt
from vldata.llm.budget import Budget, Reservation
from vldata.llm.endpoint import Endpoint, EndpointError, endpoint_error
from vldata.llm.events import Event, Stop
from vldata.llm.examples import Examples
from vldata.llm.faults import Fault, Scope, ignores_format
from vldata.llm.job import RequestJob
from vldata.llm.pace import ClosedError, Ticket, backoff_s
from vldata.llm.prices import to_pico, usage_of
from vldata.llm.refusals import Refusals
from vldata.llm.request import Request
from vldata.llm.servers import Server, Servers
from vldata.llm.spelling import Body, renames_after

if TYPE_CHECKING:
    from vldata.llm.client import Reply

MAX_ATTEMPTS = 6
"""Failed attempts after which a row is given up; with waits that double from half a second, some 15 s of bad luck."""

MAX_RATE_LIMITED = 30
"""The same for refusals by a rate limit, which cost nothing and say that the server works."""

UNHEEDED = 8
"""First answers in a row that ignore ``response_format`` and are no accident: the server does not know it."""


class StoppedError(Exception):
    """The run is stopping: this request is left as it is."""


class HeldError(Exception):
    """The request is refused, and `vldata.llm.refusals.Refusals` has it until it is known whose fault that is."""


class TooLargeError(Exception):
    """The request alone takes more than a minute's tokens."""


class Attempts:
    """Everything that requests on their way share: the endpoint, its pace, the budget, and whether the run stops.

    Args:
        give_up: Called for a row that is refused, when it is known that the fault is its own.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        answers: Answers,
        budget: Budget,
        watch: Callable[[Event], None],
        give_up: Callable[[RequestJob, Fault], None],
        rng: random.Random,
    ) -> None:
        self._endpoint = endpoint
        self._answers = answers
        self._budget = budget
        self._watch = watch
        self._rng = rng
        self.servers = Servers(endpoint, budget.limits.concurrency, self._paused, self.halt)
        self.refusals = Refusals(self.servers, give_up)
        self.examples = Examples()
        self.answered = self.ignored_format = 0
        self._formatted = 0
        self._refused_since: float | None = None
        self.stopped: Stop | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()

    async def make(self, job: RequestJob, body: Body) -> Fault | None:
        """Try until there is an answer, or a fault to give up on.

        Raises:
            StoppedError: The run stops, and the request is left as it is.
            HeldError: It is refused; whose fault that is will be seen.
        """
        job.answered_before = self.answered
        while True:
            server, ticket, reservation = await self._turn(job)
            fault = await self._attempt(job, body, server, reservation, ticket)
            if fault is None:
                return None
            if self._is_renamed(job, server, fault):
                continue
            if self.refusals.is_suspect(fault, job.request.model):
                await self._hold(job, fault)
            if fault.scope is Scope.ROW:
                return fault
            wait = self._wait_after(job, fault)
            if self.stopped is not None:
                raise StoppedError
            if wait is None:
                return fault
            job.attempts[-1] = replace(job.attempts[-1], wait_s=wait)
            self._watch(Event("retry", job.request.key, fault.name, wait))
            if wait and not fault.retry_after_s:  # else the whole server waits
                await self._sleep(wait)

    async def _turn(self, job: RequestJob) -> tuple[Server, Ticket, Reservation]:
        """Wait until it may be sent; what it can cost is reserved then."""
        reservation = await self._room(job)
        try:
            server, ticket = await self.servers.enter(job.size.expected, job.tried)
        except BaseException as error:
            self._release(reservation)
            if isinstance(error, ClosedError):
                raise StoppedError from None
            if isinstance(error, OverflowError):
                raise TooLargeError from None
            raise
        job.tried = server
        return server, ticket, reservation

    def _is_renamed(self, job: RequestJob, server: Server, fault: Fault) -> bool:
        """Whether the server takes the same under another name, under which it is sent from now on."""
        model, sent = job.request.model, job.renames
        renames = renames_after(fault, job.request.parameters, sent)
        if renames is None:
            return False
        server.renames[model] = renames
        self._watch(Event("retry", job.request.key, fault.name))
        return True

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

    async def _attempt(
        self, job: RequestJob, body: Body, server: Server, reservation: Reservation, ticket: Ticket
    ) -> Fault | None:
        """Send once, and keep or account for what comes back."""
        client, key = server.client, job.request.key
        assert client is not None
        job.renames = server.renames.get(job.request.model, {})
        self._watch(Event("sent", key))
        at = time.time()
        used: int | None = None
        try:
            reply = await client.complete(body.bytes(job.renames))
        except asyncio.CancelledError:
            job.attempts.append(Attempt(at, error="interrupted"))
            self._settle(reservation, None, None, "interrupted")
            server.pace.leave(ticket)
            raise
        try:
            if isinstance(reply, Fault):
                self._account(job, reservation, at, reply)
            else:
                used = self._keep(job, reservation, at, reply)
        finally:
            server.pace.leave(ticket, used)
        if isinstance(reply, Fault):
            self._feel(job, server, ticket, reply)
            return reply
        self.servers.answered(server, ticket)
        self.refusals.answered(job.request.model)
        self.answered += 1
        self._refused_since = None
        self._settled.set()
        self._check_format(job.request, reply.raw)
        return None

    def _keep(self, job: RequestJob, reservation: Reservation, at: float, reply: Reply) -> int | None:
        """Keep an answer, then settle for it; the tokens that it took."""
        raw = reply.raw
        usage = usage_of(raw)
        cost = None if usage is None or job.price is None else job.price.cost_usd(usage)
        used = None if usage is None else usage.tokens
        reported = raw.get("usage") if usage is not None else None
        job.attempts.append(Attempt(at, 200, usage=reported, cost_usd=cost, request_id=reply.request_id))
        self._put(job, raw)
        self._settle(reservation, None if cost is None else to_pico(cost), used, "no_usage")
        self._watch(Event("answered", job.request.key, usage=usage, cost_usd=cost))
        return used

    def _account(self, job: RequestJob, reservation: Reservation, at: float, fault: Fault) -> None:
        usage = fault.usage
        is_free = fault.is_on_no_bill and not (self._endpoint.bills_failures and (fault.status or 0) >= 500)
        cost = 0.0 if is_free else None if usage is None or job.price is None else job.price.cost_usd(usage)
        used = 0 if is_free else None if usage is None else usage.tokens
        job.attempts.append(Attempt(at, fault.status, fault.name, cost_usd=cost, request_id=fault.request_id))
        self._settle(reservation, None if cost is None else to_pico(cost), used, fault.name)

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

    def _feel(self, job: RequestJob, server: Server, ticket: Ticket, fault: Fault) -> None:
        """Let a fault slow down or stop what comes after it."""
        self.examples.add(fault)
        if renames_after(fault, job.request.parameters, job.renames) is None:
            is_suspect = self.refusals.is_suspect(fault, job.request.model)
            self.servers.failed(server, ticket, fault, is_suspect=is_suspect)
        if fault.name != "rate_limited":
            return
        now = server.pace.now()
        self._refused_since = self._refused_since or now
        if now - self._refused_since >= self._endpoint.max_refused_s:
            minutes = (now - self._refused_since) / 60
            problem = f"it answered nothing for {minutes:.1f} minutes and refused everything for its rate"
            fix = (
                "look at your account's limits, or wait, then run again; `max_refused_s` of the endpoint sets how long"
            )
            detail = f"; {fault.detail}" if fault.detail else ""
            self.halt(fault.name, EndpointError(f"endpoint {self._endpoint.name}", problem + detail, fix))

    async def _hold(self, job: RequestJob, fault: Fault) -> NoReturn:
        """Leave a refused row until it is known whose fault it is."""
        verdict = self.refusals.add(job, fault)
        while verdict == "wait" and self.stopped is None:  # those under way will tell
            self._settled.clear()
            await self._settled.wait()
            verdict = self.refusals.verdict(job.request.model)
        if verdict == "stop":
            self.halt(fault.name, endpoint_error(self._endpoint, fault))
        raise HeldError

    def _wait_after(self, job: RequestJob, fault: Fault) -> float | None:
        """How long to wait before the next attempt; None when there have been enough."""
        if fault.name == "rate_limited":
            job.num_rate_limited += 1
            if job.num_rate_limited >= MAX_RATE_LIMITED and self.answered > job.answered_before:
                return None
        else:
            job.num_failed += 1
            if job.num_failed >= MAX_ATTEMPTS:
                return None
        if len(self.servers.all) > 1 and (fault.scope is Scope.RUN or fault.name == "unreachable"):
            return 0.0  # another one takes it
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

    def _settle(self, reservation: Reservation, pico: int | None, tokens: int | None, why: str) -> None:
        self._budget.settle(reservation, pico, tokens, why)
        self._settled.set()

    def _release(self, reservation: Reservation) -> None:
        self._budget.release(reservation)
        self._settled.set()

    def _paused(self, fault: str, seconds: float) -> None:
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
        self.servers.gate.close()
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
