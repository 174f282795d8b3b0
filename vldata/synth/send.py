"""Sending: every request that has no answer yet, once, within a budget, at the pace that the endpoint bears.

    requests ── in the store? ──▶ hit                       never goes near the client, which is not even loaded
             ── under way? ─────▶ duplicate                 one request, one bill
             ── room? ──────────▶ reserve, wait for the pace, send
    reply ──▶ keep ──▶ settle                  in this order: a kill between the two loses nothing that was paid for
    fault ──▶ settle ──▶ wait and retry | give the row up | stop the run

A run ends in one of three ways. All requests are dealt with; or something stops it, a limit or a fault that every
request would meet: then what is under way is waited for and kept, and nothing more is sent; or it is cancelled: then
what is under way is given up, and counted as spent, since it may be billed.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from vldata.errors import VldataError
from vldata.synth.answers import Answer, Answers, Attempt
from vldata.synth.budget import Budget, Limits, Reservation, Spent, open_budget
from vldata.synth.endpoint import Endpoint, EndpointError
from vldata.synth.faults import FAULTS, Billed, Fault, Scope, ignores_format
from vldata.synth.pace import MAX_WAIT_S, Breaker, ClosedError, Pace, Ticket, backoff_s
from vldata.synth.prices import Price, Size, Usage, size_of, to_pico, usage_of
from vldata.synth.request import Request

if TYPE_CHECKING:
    from vldata.synth.client import Client, Pictures

MAX_ATTEMPTS = 6
"""Failed attempts after which a row is given up; with waits that double from half a second, some 15 s of bad luck."""

MAX_RATE_LIMITED = 30
"""The same for refusals by a rate limit, which cost nothing and say that the server works."""

UNHEEDED = 8
"""So many first answers in a row that ignore ``response_format`` are no accident: the server does not know it."""

_BREATH = 64  # requests looked up between two looks at the network, a few milliseconds

EventKind = Literal["hit", "duplicate", "sent", "answered", "retry", "failed", "unsent", "paused", "stopping"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for a progress display.

    Args:
        kind: ``sent`` and ``retry`` are about attempts; ``paused`` about the whole endpoint; ``stopping`` about the
            run; the others end a request.
        key: The request's; None for ``paused`` and ``stopping``.
        fault: The class, for ``retry``, ``failed`` and ``paused``; the reason, for ``stopping``.
        wait_s: For ``retry`` and ``paused``.
        usage: For ``answered``; None when the server did not say.
        cost_usd: For ``answered``, of the last attempt; None when it is not known.
    """

    kind: EventKind
    key: str | None = None
    fault: str | None = None
    wait_s: float = 0.0
    usage: Usage | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ended before all requests were dealt with.

    Args:
        reason: ``interrupted``; ``max_usd``, ``max_requests`` or ``max_tokens``; ``no_price`` or ``no_maximum`` under
            such a limit; ``no_key``; ``long_wait``; ``failing`` (the circuit breaker); ``format_ignored``; ``error`` of
            the store or of what writes the requests; or a class of `vldata.synth.faults.FAULTS` that stops a run.
        error: The same for people, with what to do.
    """

    reason: str
    error: VldataError


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of all requests; hits, duplicates, answered, failed and unsent are all there were.

    Args:
        hits: Answered before this run.
        duplicates: Equal to one that this run sent.
        answered: By this run.
        failed: Key to class of fault, of those given up.
        unsent: Not sent, or not answered, when the run stopped; None after an interruption, as the rest is not looked
            at then.
        spent: By this run.
        total: By all runs of this ledger, this one included.
        ignored_format: Answers that ignore ``response_format``, among ``answered``.
        stopped: None when nothing stopped the run.
    """

    hits: int
    duplicates: int
    answered: int
    failed: Mapping[str, str]
    unsent: int | None
    spent: Spent
    total: Spent
    ignored_format: int = 0
    stopped: Stop | None = None

    @property
    def failed_by_class(self) -> dict[str, int]:
        """Class of fault to number of requests."""
        return dict(sorted(Counter(self.failed.values()).items()))


def send(requests: Iterable[Request], **options: Any) -> Sent:
    """`send_all` for a program without an event loop: the first Ctrl-C drains, the second cancels.

    Raises:
        KeyboardInterrupt: After the second Ctrl-C.
    """

    async def main() -> Sent:
        stop = asyncio.Event()
        task = asyncio.current_task()

        def interrupt() -> None:
            if stop.is_set() and task is not None:
                task.cancel()
            stop.set()

        with suppress(ValueError, RuntimeError):  # not the main thread: its signals are somebody else's
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        return await send_all(requests, stop=stop, **options)

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def send_all(
    requests: Iterable[Request],
    *,
    endpoint: Endpoint,
    answers: Answers,
    pictures: Pictures,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    watch: Callable[[Event], None] = lambda event: None,
    stop: asyncio.Event | None = None,
    ledger: Path | None = None,
    rng: random.Random | None = None,
) -> Sent:
    """Ask for every answer that is not in the store yet.

    Args:
        requests: Pulled one by one as they are needed, so there may be any number of them. All are sent to
            ``endpoint``, whatever they name.
        endpoint: Where they go.
        answers: Open for writing. Answers and failed attempts are put here as they come.
        pictures: See `vldata.synth.client.Pictures`.
        limits: What may be spent, over all runs that share ``ledger``.
        watch: Is told everything, in the event loop: it should be quick.
        stop: When set, nothing more is sent and what is under way is waited for.
        ledger: A file that carries what was spent from run to run; None: only this run counts.
        rng: For the jitter of waits, which decides nothing else.

    Raises:
        StoreError: The ledger cannot be used.
        asyncio.CancelledError: The task was cancelled; what was under way is given up.
    """
    with open_budget(limits, ledger) as budget:
        run = _Run(endpoint, answers, pictures, budget, watch, stop or asyncio.Event(), rng or random.Random())
        return await run.whole(iter(requests))


class _StoppedError(Exception):
    """The run is stopping: this request is left as it is."""


@dataclass(slots=True)
class _Job:
    """A request on its way."""

    request: Request
    price: Price | None
    size: Size
    pico: int | None
    attempts: list[Attempt] = field(default_factory=list)
    num_failed: int = 0
    num_rate_limited: int = 0


class _Run:
    def __init__(
        self,
        endpoint: Endpoint,
        answers: Answers,
        pictures: Pictures,
        budget: Budget,
        watch: Callable[[Event], None],
        stop: asyncio.Event,
        rng: random.Random,
    ) -> None:
        self._endpoint = endpoint
        self._answers = answers
        self._pictures = pictures
        self._budget = budget
        self._watch = watch
        self._stop = stop
        self._rng = rng
        self._concurrency = max(
            1, min(budget.limits.concurrency, endpoint.max_concurrency or budget.limits.concurrency)
        )
        self._pace = Pace(self._concurrency, rpm=endpoint.rpm, tpm=endpoint.tpm)
        self._breaker = Breaker(max(20, 2 * self._concurrency))
        self._client: Client | None = None
        self._source: Iterator[Request] = iter(())
        self._under_way: set[str] = set()
        self._failed: dict[str, str] = {}
        self._hits = self._duplicates = self._answered = self._unsent = 0
        self._formatted = self._ignored_format = 0
        self._stopped: Stop | None = None
        self._bug: BaseException | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()

    async def whole(self, source: Iterator[Request]) -> Sent:
        self._source = source
        before = self._budget.spent
        try:
            first = await self._pull()
            if first is not None:
                await self._send_from(first)
        finally:
            if self._client is not None:
                await self._client.close()
            self._answers.flush()
        if self._bug is not None:
            raise self._bug
        is_interrupted = self._stopped is not None and self._stopped.reason == "interrupted"
        return Sent(
            hits=self._hits,
            duplicates=self._duplicates,
            answered=self._answered,
            failed=self._failed,
            unsent=None if is_interrupted else self._unsent,
            spent=self._budget.spent - before,
            total=self._budget.spent,
            ignored_format=self._ignored_format,
            stopped=self._stopped,
        )

    async def _send_from(self, first: Request) -> None:
        try:
            from vldata.synth.client import Client  # loads the whole client library, which hits do without

            self._client = Client(self._endpoint, self._concurrency)
            self._answers.guard(self._endpoint.reveal_key())
        except EndpointError as error:
            self._halt("no_key", error)
        listener = asyncio.create_task(self._listen())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._work(first))
                for _ in range(self._concurrency - 1):
                    group.create_task(self._work(None))
        finally:
            listener.cancel()

    async def _listen(self) -> None:
        await self._stop.wait()
        self._interrupt()

    async def _work(self, request: Request | None) -> None:
        """One of as many workers as may be under way; each takes what comes next and stays with it to its end."""
        try:
            request = request or await self._pull()
            while request is not None:
                self._under_way.add(request.key)
                try:
                    await self._deal_with(request)
                finally:
                    self._under_way.discard(request.key)
                request = await self._pull()
        except VldataError as error:  # of the store, or of whatever writes the requests
            self._halt("error", error)
        except Exception as error:  # a bug, but what the others have under way is paid for: let them end
            self._bug = self._bug or error
            self._halt("bug", VldataError("sending", f"failed: {type(error).__name__}", "report it"))

    async def _pull(self) -> Request | None:
        """The next request to send; hits and duplicates are counted on the way, and after a stop everything is."""
        for number, request in enumerate(self._source, start=1):
            if self._stop.is_set():
                self._interrupt()
            key = request.key
            if key in self._answers:
                self._hits += 1
                self._watch(Event("hit", key))
            elif key in self._under_way or key in self._failed:
                self._duplicates += 1
                self._watch(Event("duplicate", key))
            elif self._stopped is None:
                return request
            elif self._stopped.reason == "interrupted":
                return None
            else:
                self._leave(key)
            if not number % _BREATH:
                await asyncio.sleep(0)
        return None

    async def _deal_with(self, request: Request) -> None:
        if self._stopped is not None:  # since it was pulled
            self._leave(request.key)
            return
        price = self._endpoint.prices.get(request.model)
        size = size_of(request, price)
        ceiling = None if price is None else price.ceiling_usd(size)
        if not self._is_bounded(request, price, size):
            self._leave(request.key)
            return
        job = _Job(request, price, size, None if ceiling is None else to_pico(ceiling))
        try:
            body = await self._body(request)
            fault = body if isinstance(body, Fault) else await self._attempts(job, body)
        except _StoppedError:
            self._answers.fail(request.key, request, job.attempts)
            self._leave(request.key)
            return
        except asyncio.CancelledError:
            self._answers.fail(request.key, request, job.attempts)
            raise
        if fault is not None:
            self._failed[request.key] = fault.name
            self._answers.fail(request.key, request, job.attempts)
            self._watch(Event("failed", request.key, fault.name))

    def _is_bounded(self, request: Request, price: Price | None, size: Size) -> bool:
        """Whether the request can be held to the limits; if not, the run stops, as it would do for all others."""
        limits = self._budget.limits
        if limits.max_usd is not None and price is None:
            self._halt(
                "no_price",
                EndpointError(
                    f"endpoint {self._endpoint.name}",
                    f"the price of {request.model!r} is not known, so max_usd cannot be kept",
                    f"add it under endpoints.{self._endpoint.name}.prices in your configuration, or limit max_tokens",
                ),
            )
            return False
        if size.output_ceiling is None and (limits.max_usd is not None or limits.max_tokens is not None):
            limit = "max_usd" if limits.max_usd is not None else "max_tokens"
            self._halt(
                "no_maximum",
                EndpointError(
                    f"model {request.model!r}",
                    f"its answers have no largest length, so {limit} cannot be kept",
                    "set max_completion_tokens (or max_tokens) under `parameters`",
                ),
            )
            return False
        return True

    async def _body(self, request: Request) -> bytes | Fault:
        from vldata.synth.client import chat_body

        try:
            if any(True for _ in request.image_parts):
                return await asyncio.to_thread(lambda: orjson.dumps(chat_body(request, self._pictures)))
            return orjson.dumps(chat_body(request, self._pictures))
        except (VldataError, OSError) as error:
            return Fault("image_unreadable", detail=str(error))

    async def _attempts(self, job: _Job, body: bytes) -> Fault | None:
        """Try until there is an answer, or a fault to give up on."""
        while True:
            kept = await self._room(job)
            try:
                ticket = await self._pace.enter(job.size.expected)
            except OverflowError:
                self._release(kept)
                return Fault("larger_than_tpm")
            except BaseException as error:
                self._release(kept)
                if isinstance(error, ClosedError):
                    raise _StoppedError from None
                raise
            fault = await self._attempt(job, body, kept, ticket)
            if fault is None:
                return None
            if fault.scope is Scope.ROW:
                return fault
            if fault.scope is Scope.RUN:
                self._halt(fault.name, self._told(fault))
            wait = self._wait_after(job, fault)
            if self._stopped is not None:
                raise _StoppedError
            if wait is None:
                return fault
            job.attempts[-1] = replace(job.attempts[-1], wait_s=wait)
            self._watch(Event("retry", job.request.key, fault.name, wait))
            if not fault.retry_after_s:  # else the whole endpoint waits
                await self._sleep(wait)

    async def _room(self, job: _Job) -> Reservation:
        """Reserve what the attempt can cost; when others under way keep the room, wait for them to settle for less."""
        while self._stopped is None:
            kept = self._budget.reserve(job.pico, job.size.ceiling)
            if kept is not None:
                return kept
            if not self._budget.num_reserved:
                self._halt_at(self._budget.lacking(job.pico, job.size.ceiling) or "max_requests", job)
                break
            self._settled.clear()
            await self._settled.wait()
        raise _StoppedError

    async def _attempt(self, job: _Job, body: bytes, kept: Reservation, ticket: Ticket) -> Fault | None:
        """Send once, and keep or account for what comes back."""
        client, key = self._client, job.request.key
        assert client is not None
        self._watch(Event("sent", key))
        at = time.time()
        used: int | None = None
        try:
            reply = await client.complete(body)
        except asyncio.CancelledError:
            job.attempts.append(Attempt(at, error="interrupted"))
            self._settle(kept, None, None)
            self._pace.leave(ticket)
            raise
        try:
            if isinstance(reply, Fault):
                self._account(job, kept, at, reply)
                self._feel(reply, ticket)
                return reply
            raw = reply.raw
            usage = usage_of(raw)
            cost = None if usage is None or job.price is None else job.price.cost_usd(usage)
            used = None if usage is None else usage.tokens
            reported = raw.get("usage") if usage is not None else None
            job.attempts.append(Attempt(at, 200, usage=reported, cost_usd=cost, request_id=reply.request_id))
            self._put(job, raw)
            self._settle(kept, None if cost is None else to_pico(cost), used)
        finally:
            self._pace.leave(ticket, used)
        self._pace.concurrency.answered()
        self._breaker.count(failed=False, sent_at=ticket.sent_at, now=self._pace.now())
        self._answered += 1
        self._watch(Event("answered", key, usage=usage, cost_usd=cost))
        self._check_format(job.request, raw)
        return None

    def _account(self, job: _Job, kept: Reservation, at: float, fault: Fault) -> None:
        is_free = fault.billed is Billed.NO
        cost = 0.0 if is_free else None
        job.attempts.append(Attempt(at, fault.status, fault.name, cost_usd=cost, request_id=fault.request_id))
        self._settle(kept, 0 if is_free else None, 0 if is_free else None)

    def _put(self, job: _Job, raw: Mapping[str, Any]) -> None:
        costs = [attempt.cost_usd for attempt in job.attempts]
        known = [cost for cost in costs if cost is not None]
        answer = Answer(
            key=job.request.key,
            request=job.request,
            reply=raw,
            attempts=tuple(job.attempts),
            cost_usd=sum(known) if len(known) == len(costs) else None,
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
                self._halt("long_wait", self._told(fault))
            else:
                self._pause(fault.retry_after_s, fault.name)
        counts = fault.name == "bad_request" or (fault.scope is Scope.RETRY and fault.name != "rate_limited")
        wait = self._breaker.count(failed=True, sent_at=ticket.sent_at, now=now) if counts else None
        if self._breaker.has_given_up:
            self._halt("failing", self._told(fault))
        elif wait is not None:
            self._pace.concurrency.alone(now)
            self._pause(wait, fault.name)

    def _wait_after(self, job: _Job, fault: Fault) -> float | None:
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
        self._ignored_format += ignores_format(request, raw)
        if self._formatted == self._ignored_format == UNHEEDED:
            self._halt(
                "format_ignored",
                EndpointError(
                    f"endpoint {self._endpoint.name}",
                    f"the first {UNHEEDED} answers are not the JSON that was asked for: it ignores response_format",
                    "use a model or server that knows it, or a kind whose answers are plain text",
                ),
            )

    def _settle(self, kept: Reservation, pico: int | None, tokens: int | None) -> None:
        self._budget.settle(kept, pico, tokens)
        self._settled.set()

    def _release(self, kept: Reservation) -> None:
        self._budget.release(kept)
        self._settled.set()

    def _pause(self, seconds: float, fault: str) -> None:
        self._pace.pause(seconds)
        self._watch(Event("paused", fault=fault, wait_s=seconds))

    def _leave(self, key: str) -> None:
        self._unsent += 1
        self._watch(Event("unsent", key))

    def _interrupt(self) -> None:
        error = VldataError("sending", "was interrupted", "run again to go on: answers that came are kept")
        self._halt("interrupted", error)

    def _halt_at(self, limit: str, job: _Job) -> None:
        spent, limits = self._budget.spent, self._budget.limits
        problem = {
            "max_usd": f"${spent.usd:.4f} of ${limits.max_usd} are spent, and the next request can cost up to "
            f"${(job.pico or 0) / 1e12:.4f}",
            "max_tokens": f"{spent.tokens} of {limits.max_tokens} tokens are spent, and the next request can take "
            f"up to {job.size.ceiling}",
            "max_requests": f"{spent.requests} of {limits.max_requests} requests are sent",
        }[limit]
        self._halt(
            limit, VldataError(limit, problem, f"raise {limit} and run again to go on: answers that came are kept")
        )

    def _halt(self, reason: str, error: VldataError) -> None:
        """Send nothing more. The first reason stays."""
        if self._stopped is None:
            self._stopped = Stop(reason, error)
            self._watch(Event("stopping", fault=reason))
        self._pace.close()
        self._stopping.set()
        self._settled.set()

    def _told(self, fault: Fault) -> EndpointError:
        known = FAULTS[fault.name]
        status = f" (HTTP {fault.status})" if fault.status else ""
        said = f": {fault.detail}" if fault.detail else ""
        wait = f"; it asks to wait {fault.retry_after_s:.0f} s" if fault.retry_after_s else ""
        return EndpointError(
            f"endpoint {self._endpoint.name} at {self._endpoint.url}",
            f"{known.says}{status}{wait}{said}",
            known.fix or "correct what the server complains about, then run again: answers that came are kept",
        )

    async def _sleep(self, seconds: float) -> None:
        """Wait so long, or until the run stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise _StoppedError
