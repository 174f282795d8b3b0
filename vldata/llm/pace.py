"""How fast to ask: what an endpoint allows a minute, how much it can take at once, and when it asks to be left alone.

Everything here is about one server as a whole. One that answers 429 to one request means all of them, so a wait that it
asks for stops every request that has not been sent to it.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Clock = Callable[[], float]
"""Seconds that only grow."""

MINUTE_S = 60.0

START_CONCURRENCY = 8
"""Requests at once before the first answers; each round of answers doubles the number, so three reach 64."""

BACKOFF_S = 0.5
"""Mean of the first wait is half of this; that of the client which is otherwise in charge begins at 0.5 s too."""

MAX_BACKOFF_S = 60.0
"""A rate limit is counted by the minute: to wait longer gains nothing."""

MAX_WAIT_S = 900.0
"""A server that asks for a longer pause than this has used up a day's quota: the run ends and says so."""


class ClosedError(Exception):
    """No more is to be sent."""


class Window:
    """At most ``limit`` of something within any ``span_s``, exactly; what was taken too much can be given back.

    A bucket that fills up evenly would let twice its limit through in the first minute, as it starts full.

    Args:
        limit: Requests or tokens.
        span_s: Seconds.
    """

    def __init__(self, limit: int, span_s: float = MINUTE_S) -> None:
        self.limit = limit
        self._span_s = span_s
        self._taken: deque[list[float]] = deque()  # (when, how much), oldest first
        self._sum = 0.0

    def wait_s(self, amount: int, now: float) -> float:
        """How long until ``amount`` fits; 0 if it does now, infinite if it never will."""
        self._forget(now)
        if amount > self.limit:
            return math.inf
        over = self._sum + amount - self.limit
        if over <= 0:
            return 0.0
        for at, taken in self._taken:
            over -= taken
            if over <= 0:
                return max(0.0, at + self._span_s - now)
        return 0.0

    def take(self, amount: int, now: float) -> list[float]:
        """Take ``amount``; what comes back is for `correct`."""
        entry = [now, float(amount)]
        self._taken.append(entry)
        self._sum += amount
        return entry

    def correct(self, entry: list[float], amount: int) -> None:
        """Put what was really used in the place of what was taken; never more, as the server counted that already."""
        if amount < entry[1]:
            if self._taken and entry[0] >= self._taken[0][0]:
                self._sum -= entry[1] - amount
            entry[1] = amount

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0][0] + self._span_s <= now:
            self._sum -= self._taken.popleft()[1]


class Concurrency:
    """How many requests may be under way: one more with each answer until the server chokes, then more slowly.

    Additive increase, multiplicative decrease (AIMD), with the slow start of TCP (RFC 5681): until the first congestion
    each answer adds one, after it each round of answers does. Congestion halves the number, once for all requests that
    were under way when it struck.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(most, START_CONCURRENCY))
        self._is_starting = True
        self._cut_at = -math.inf

    def answered(self) -> None:
        """An answer came."""
        self.limit = min(self.most, self.limit + (1.0 if self._is_starting else 1.0 / self.limit))

    def congested(self, sent_at: float, now: float) -> None:
        """A request that was sent at ``sent_at`` was refused or got no answer in time."""
        if sent_at > self._cut_at:
            self.limit = max(1.0, self.limit / 2)
            self._is_starting = False
            self._cut_at = now

    def alone(self, now: float) -> None:
        """Let one request through at a time, to find out how things stand."""
        self.limit, self._is_starting, self._cut_at = 1.0, False, now


class Breaker:
    """Stops asking a server that fails, waits, tries with one request, and gives up when that fails too often.

    It opens when more than ``rate`` of the last ``window`` attempts failed. Attempts that were sent before it opened
    count no more: a server that fails for a second fails all that are under way, and that is one event, not many.

    Args:
        window: Attempts.
        rate: 0 to 1.
        first_wait_s: The first pause; each following one is twice as long, at most `MAX_BACKOFF_S`.
        trips: It gives up after this number of pauses without ``window`` good attempts between them.
    """

    def __init__(self, window: int, *, rate: float = 0.5, first_wait_s: float = 1.0, trips: int = 6) -> None:
        self._recent: deque[bool] = deque(maxlen=window)
        self._threshold = rate * window
        self._first_wait_s = first_wait_s
        self._most_trips = trips
        self._num_trips = 0
        self._since_trip = 0
        self._is_probing = False
        self._opened_at = -math.inf

    @property
    def has_given_up(self) -> bool:
        """Whether the run should end."""
        return self._is_probing and self._num_trips >= self._most_trips

    def count(self, *, failed: bool, sent_at: float, now: float, at_once: bool = False) -> float | None:
        """Count an attempt. Seconds to pause for when that opens the breaker, else None.

        Args:
            failed: Rate limits are no failures: they say that the server works.
            sent_at: By the clock of ``now``.
            at_once: A failure opens it, whatever came before.
        """
        if sent_at <= self._opened_at:
            return None
        self._recent.append(failed)
        self._since_trip += 1
        if not failed:
            self._is_probing = False
            if self._since_trip >= (self._recent.maxlen or 0):
                self._num_trips = 0
        is_open = self._is_probing or at_once or sum(self._recent) > self._threshold
        if not failed or not is_open:
            return None
        wait = min(MAX_BACKOFF_S, self._first_wait_s * 2.0**self._num_trips)
        self._num_trips += 1
        self._since_trip = 0
        self._is_probing = True
        self._opened_at = now
        self._recent.clear()
        return wait


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one request.

    Args:
        sent_at: By the pace's clock.
        tokens: Its entry in the window of tokens.
    """

    sent_at: float
    tokens: list[float] | None


class Gate:
    """Where requests wait until one of several servers may take them: first come first served, none is overtaken."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._turn = asyncio.Lock()  # fair: asyncio wakes waiters in the order in which they came
        self._is_closed = False
        self._is_held = False

    def close(self) -> None:
        """Let nothing through any more; who waits gets `ClosedError`."""
        self._is_closed = True
        self.changed.set()

    def hold(self, *, is_held: bool) -> None:
        """Let nothing through for now, or go on."""
        self._is_held = is_held
        self.changed.set()

    async def enter(self, paces: Callable[[], Sequence[Pace]], tokens: int) -> tuple[Pace, Ticket]:
        """Wait until a request of ``tokens`` expected tokens may be sent to one of them, the first that may take it.

        Args:
            paces: Those that count now, the best first.

        Raises:
            ClosedError: The gate is closed, or none is left.
            OverflowError: It takes more than a minute's tokens of each, so it can never be sent.
        """
        async with self._turn:
            while True:
                left = paces()
                if self._is_closed or not left:
                    raise ClosedError
                waits = [] if self._is_held else [(pace.wait_s(tokens), pace) for pace in left]
                free = next((pace for wait, pace in waits if wait == 0.0), None)
                if free is not None:
                    return free, free.take(tokens)
                if waits and all(wait == math.inf for wait, _ in waits):
                    raise OverflowError(f"{tokens} tokens")
                self.changed.clear()
                finite = [wait for wait, _ in waits if wait is not None and wait != math.inf]
                await _either(self.changed, min(finite) if finite else None)


class Pace:
    """How fast requests go to one server.

    Args:
        concurrency: Requests under way at once.
        rpm: Requests within any minute; None: without limit.
        tpm: Tokens within any minute; None: without limit.
        clock: For tests.
        gate: Shared with other servers; None: its own.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        rpm: int | None = None,
        tpm: int | None = None,
        clock: Clock = time.monotonic,
        gate: Gate | None = None,
    ) -> None:
        self.concurrency = Concurrency(concurrency)
        self.num_under_way = 0
        self._requests = None if rpm is None else Window(rpm)
        self._tokens = None if tpm is None else Window(tpm)
        self._clock = clock
        self._paused_until = -math.inf
        self._gate = gate or Gate()
        self._changed = self._gate.changed

    def now(self) -> float:
        """By this pace's clock."""
        return self._clock()

    @property
    def load(self) -> float:
        """The share of what it may take at once that is under way."""
        return self.num_under_way / self.concurrency.limit

    @property
    def paused_s(self) -> float:
        """For how long it is still to be left alone."""
        return max(0.0, self._paused_until - self._clock())

    def pause(self, seconds: float) -> None:
        """Send nothing for ``seconds``, or longer where an earlier pause ends later."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        self._changed.set()

    def close(self) -> None:
        """Let nothing through any more; who waits gets `ClosedError`."""
        self._gate.close()

    async def enter(self, tokens: int) -> Ticket:
        """Wait until a request of ``tokens`` expected tokens may be sent; raises as `Gate.enter`."""
        return (await self._gate.enter(lambda: (self,), tokens))[1]

    def wait_s(self, tokens: int) -> float | None:
        """How long until such a request may be sent: 0 now, infinite never, None when another has left."""
        now = self._clock()
        wait = self.paused_s
        if self._requests is not None:
            wait = max(wait, self._requests.wait_s(1, now))
        if self._tokens is not None:
            wait = max(wait, self._tokens.wait_s(tokens, now))
        return None if wait == 0.0 and self.num_under_way >= int(self.concurrency.limit) else wait

    def take(self, tokens: int) -> Ticket:
        """Leave to send it now."""
        now = self._clock()
        self.num_under_way += 1
        if self._requests is not None:
            self._requests.take(1, now)
        return Ticket(now, None if self._tokens is None else self._tokens.take(tokens, now))

    def leave(self, ticket: Ticket, used_tokens: int | None = None) -> None:
        """The request is no longer under way.

        Args:
            used_tokens: What it took; None when that is not known.
        """
        self.num_under_way -= 1
        if self._tokens is not None and ticket.tokens is not None and used_tokens is not None:
            self._tokens.correct(ticket.tokens, used_tokens)
        self._changed.set()


def backoff_s(failures: int, rng: random.Random) -> float:
    """How long to wait after N failures of one request: evenly between nothing and a bound that doubles.

    Requests that failed together so spread out ("full jitter" in Amazon's account of exponential backoff).
    """
    return rng.uniform(0.0, min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(failures - 1, 16)))


async def _either(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for the event, at most ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
