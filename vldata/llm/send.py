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
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vldata.errors import VldataError
from vldata.llm.answers import Answers
from vldata.llm.attempts import Attempts, HeldError, StoppedError, TooLargeError
from vldata.llm.budget import Budget, BudgetLimits, open_budget
from vldata.llm.cache_hints import with_hint
from vldata.llm.endpoint import Endpoint, EndpointError, endpoint_error
from vldata.llm.events import Event, SendResult, unbounded
from vldata.llm.examples import keep_examples
from vldata.llm.faults import Fault
from vldata.llm.job import RequestJob
from vldata.llm.prices import size_of, to_pico
from vldata.llm.request import Request
from vldata.llm.spelling import Body

if TYPE_CHECKING:
    from vldata.llm.client import ReadImage

_BREATH = 64  # requests looked up between two looks at the network, a few milliseconds


def send(requests: Iterable[Request], **options: Any) -> SendResult:
    """`send_all` for a program without an event loop: the first Ctrl-C or SIGTERM drains, the second cancels.

    Raises:
        KeyboardInterrupt: After the second Ctrl-C.
    """

    async def main() -> SendResult:
        stop = asyncio.Event()
        task = asyncio.current_task()

        def interrupt() -> None:
            if stop.is_set() and task is not None:
                task.cancel()
            stop.set()

        with suppress(ValueError, RuntimeError):  # not the main thread: its signals are somebody else's
            for number in (signal.SIGINT, signal.SIGTERM):  # schedulers send the second a while before they kill
                asyncio.get_running_loop().add_signal_handler(number, interrupt)
        return await send_all(requests, stop=stop, **options)

    before = signal.getsignal(signal.SIGTERM)
    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        with suppress(ValueError):  # the loop has put the default in its place
            signal.signal(signal.SIGTERM, before)


async def send_all(
    requests: Iterable[Request],
    *,
    endpoint: Endpoint,
    answers: Answers,
    read_image: ReadImage,
    limits: BudgetLimits = BudgetLimits(),  # noqa: B008 - frozen
    watch: Callable[[Event], None] = lambda event: None,
    stop: asyncio.Event | None = None,
    ledger: Path | None = None,
    rng: random.Random | None = None,
) -> SendResult:
    """Ask for every answer that is not in the store yet.

    Args:
        requests: Pulled one by one as they are needed, so there may be any number of them. All are sent to
            ``endpoint``, whatever they name.
        answers: Open for writing. Answers and failed attempts are put here as they come.
        limits: What may be spent, over all runs that share ``ledger``.
        watch: Called with every event, in the event loop: it should be quick.
        stop: When set, nothing more is sent and what is under way is waited for.
        ledger: A file that carries what was spent from run to run; None: only this run counts.
        rng: For the jitter of waits, which decides nothing else.

    Raises:
        StoreError: The ledger cannot be used.
        asyncio.CancelledError: The task was cancelled; what was under way is given up.
    """
    with open_budget(limits, ledger) as budget:
        run = _Sending(endpoint, answers, read_image, budget, watch, stop or asyncio.Event(), rng or random.Random())
        return await run.whole(iter(requests))


class _Sending:
    def __init__(
        self,
        endpoint: Endpoint,
        answers: Answers,
        read_image: ReadImage,
        budget: Budget,
        watch: Callable[[Event], None],
        stop: asyncio.Event,
        rng: random.Random,
    ) -> None:
        self._endpoint = endpoint
        self._answers = answers
        self._read_image = read_image
        self._budget = budget
        self._watch = watch
        self._stop = stop
        self._attempts = Attempts(endpoint, answers, budget, watch, self._give_up, rng)
        self._source: Iterator[Request] = iter(())
        self._under_way: set[str] = set()
        self._failed: dict[str, str] = {}
        self._hits = self._duplicates = self._unsent = 0
        self._bug: BaseException | None = None

    async def whole(self, source: Iterator[Request]) -> SendResult:
        self._source = source
        before = self._budget.spent
        try:
            first = await self._pull()
            if first is not None:
                await self._send_from(first)
                self._end_refusals(has_answered_before=before.tokens > 0)
        finally:
            await self._attempts.servers.close()
            self._answers.flush()
            keep_examples(self._answers.folder, self._endpoint.name, self._attempts.examples.said)
        if self._bug is not None:
            raise self._bug
        is_interrupted = self._attempts.stopped is not None and self._attempts.stopped.reason == "interrupted"
        return SendResult(
            hits=self._hits,
            duplicates=self._duplicates,
            answered=self._attempts.answered,
            failed=self._failed,
            unsent=None if is_interrupted else self._unsent,
            spent=self._budget.spent - before,
            total=self._budget.spent,
            ignored_format=self._attempts.ignored_format,
            stopped=self._attempts.stopped,
            examples=self._attempts.examples.said,
            servers=self._attempts.servers.counts(),
        )

    def _end_refusals(self, *, has_answered_before: bool) -> None:
        """Deal with the rows that were refused after the last answer."""
        is_stopped = self._attempts.stopped is not None
        left = self._attempts.refusals.end(has_answered_before=has_answered_before, is_stopped=is_stopped)
        for job, fault in left:
            self._attempts.halt(fault.name, endpoint_error(self._endpoint, fault))
            self._answers.fail(job.request.key, job.request, job.attempts)
            self._leave(job.request.key)

    async def _send_from(self, first: Request) -> None:
        try:
            self._attempts.servers.connect()
            self._answers.guard(self._endpoint.reveal_key())
        except EndpointError as error:
            self._attempts.halt("no_key", error)
        listener = asyncio.create_task(self._listen())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._work(first))
                for _ in range(self._attempts.servers.concurrency - 1):
                    group.create_task(self._work(None))
        finally:
            listener.cancel()

    async def _listen(self) -> None:
        await self._stop.wait()
        self._attempts.interrupt()

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
            self._attempts.halt("error", error)
        except Exception as error:  # a bug, but what the others have under way is paid for: let them end
            self._bug = self._bug or error
            self._attempts.halt("bug", VldataError("sending", f"failed: {type(error).__name__}", "report it"))

    async def _pull(self) -> Request | None:
        """The next request to send; hits and duplicates are counted on the way, and after a stop everything is."""
        for number, request in enumerate(self._source, start=1):
            if self._stop.is_set():
                self._attempts.interrupt()
            key = request.key
            if key in self._answers:
                self._hits += 1
                self._watch(Event("hit", key))
            elif key in self._under_way or key in self._failed or key in self._attempts.refusals:
                self._duplicates += 1
                self._watch(Event("duplicate", key))
            elif self._attempts.stopped is None:
                return request
            elif self._attempts.stopped.reason == "interrupted":
                return None
            else:
                self._leave(key)
            if not number % _BREATH:
                await asyncio.sleep(0)
        return None

    async def _deal_with(self, request: Request) -> None:
        if self._attempts.stopped is not None:  # since it was pulled
            self._leave(request.key)
            return
        price = self._endpoint.prices.get(request.model)
        size = size_of(request, price)
        ceiling = None if price is None else price.ceiling_usd(size)
        if (stop := unbounded(request, self._endpoint, self._budget.limits)) is not None:
            self._attempts.halt(stop.reason, stop.error)
            self._leave(request.key)
            return
        job = RequestJob(request, price, size, None if ceiling is None else to_pico(ceiling))
        try:
            body = await self._body(request)
            fault = body if isinstance(body, Fault) else await self._attempts.make(job, body)
        except HeldError:
            return
        except TooLargeError:
            fault = Fault("larger_than_tpm")
        except StoppedError:
            self._answers.fail(request.key, request, job.attempts)
            self._leave(request.key)
            return
        except asyncio.CancelledError:
            self._answers.fail(request.key, request, job.attempts)
            raise
        if fault is not None:
            self._give_up(job, fault)

    def _give_up(self, job: RequestJob, fault: Fault) -> None:
        """Count a row as failed, and keep why."""
        key = job.request.key
        if job.attempts and fault.name == "refused":  # which it was not known to be when it came
            job.attempts[-1] = replace(job.attempts[-1], error=fault.name)
        self._failed[key] = fault.name
        self._attempts.examples.add(fault)
        self._answers.fail(key, job.request, job.attempts)
        self._watch(Event("failed", key, fault.name))

    async def _body(self, request: Request) -> Body | Fault:
        from vldata.llm.client import chat_body

        try:
            hint = self._endpoint.cache_hint
            if any(True for _ in request.image_parts):
                return await asyncio.to_thread(lambda: Body(with_hint(chat_body(request, self._read_image), hint)))
            return Body(with_hint(chat_body(request, self._read_image), hint))
        except (VldataError, OSError) as error:
            return Fault("image_unreadable", detail=str(error))

    def _leave(self, key: str) -> None:
        self._unsent += 1
        self._watch(Event("unsent", key))
