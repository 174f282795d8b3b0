"""How fast to ask, without waiting for real."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.llm.pace import (
    MAX_BACKOFF_S,
    START_CONCURRENCY,
    Breaker,
    ClosedError,
    Concurrency,
    Pace,
    Window,
    backoff_s,
)


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20), st.none() | st.integers(0, 20)), max_size=60),
)
def test_no_minute_ever_holds_more_than_the_limit(limit: int, attempts: list[tuple[float, int, int | None]]) -> None:
    window, now = Window(limit), 0.0
    taken: list[tuple[float, float]] = []
    for gap, amount, used in attempts:
        now += gap
        wait = window.wait_s(amount, now)
        assert (wait == math.inf) == (amount > limit)
        if wait == math.inf:
            continue
        now += wait
        assert window.wait_s(amount, now) < 1e-6
        now += window.wait_s(amount, now)
        entry = window.take(amount, now)
        if used is not None:
            window.correct(entry, used)
        taken.append((now, min(amount, used if used is not None else amount)))
        assert sum(count for at, count in taken if at > now - 60 + 1e-6) <= limit


def test_a_window_waits_exactly_until_there_is_room() -> None:
    window = Window(10)
    window.take(6, 0.0)
    window.take(4, 20.0)
    assert window.wait_s(1, 30.0) == 30.0
    assert window.wait_s(7, 30.0) == 50.0
    assert window.wait_s(6, 60.0) == 0.0


def test_what_was_taken_too_much_is_given_back_at_once() -> None:
    window = Window(10)
    entry = window.take(10, 0.0)
    assert window.wait_s(5, 1.0) == 59.0
    window.correct(entry, 5)
    assert window.wait_s(5, 1.0) == 0.0
    window.correct(entry, 9)  # more than was said before: the server had counted it then
    assert window.wait_s(5, 1.0) == 0.0


def test_giving_back_what_a_minute_has_forgotten_changes_nothing() -> None:
    window = Window(10)
    old = window.take(10, 0.0)
    window.take(10, 60.0)
    assert window.wait_s(1, 61.0) == 59.0
    window.correct(old, 0)
    assert window.wait_s(1, 61.0) == 59.0


def test_concurrency_doubles_with_every_round_of_answers_up_to_the_most() -> None:
    concurrency = Concurrency(64)
    sizes = [int(concurrency.limit)]
    for _ in range(4):
        for _ in range(int(concurrency.limit)):
            concurrency.answered()
        sizes.append(int(concurrency.limit))
    assert sizes == [START_CONCURRENCY, 16, 32, 64, 64]


def test_congestion_halves_once_for_all_that_were_under_way() -> None:
    concurrency = Concurrency(64)
    concurrency.limit = 64.0
    for sent_at in range(10):
        concurrency.congested(float(sent_at), now=10.0 + sent_at)
    assert concurrency.limit == 32.0
    concurrency.congested(30.0, now=31.0)
    assert concurrency.limit == 16.0


def test_after_congestion_a_round_of_answers_adds_one() -> None:
    concurrency = Concurrency(64)
    concurrency.limit = 20.0
    concurrency.congested(1.0, now=2.0)
    for _ in range(10):
        concurrency.answered()
    assert 10.9 < concurrency.limit < 11.0


def test_there_is_always_room_for_one() -> None:
    concurrency = Concurrency(4)
    for now in range(1, 20):
        concurrency.congested(float(now), now=now + 0.5)
    assert concurrency.limit == 1.0


def fail(breaker: Breaker, now: float, number: int = 1, sent_at: float | None = None) -> list[float | None]:
    return [breaker.count(failed=True, sent_at=now if sent_at is None else sent_at, now=now) for _ in range(number)]


def test_a_breaker_opens_when_more_than_half_of_its_window_failed() -> None:
    breaker = Breaker(20)
    assert fail(breaker, 1.0, 11) == [None] * 10 + [1.0]


def test_a_breaker_bears_a_rate_below_half() -> None:
    breaker = Breaker(20)
    for number in range(400):
        assert breaker.count(failed=number % 2 == 0, sent_at=1.0, now=1.0) is None


def test_failures_that_were_under_way_when_it_opened_count_no_more() -> None:
    breaker = Breaker(20)
    fail(breaker, 1.0, 11)
    assert fail(breaker, 1.5, 50, sent_at=0.9) == [None] * 50
    assert not breaker.has_given_up


def test_a_breaker_waits_longer_with_every_probe_that_fails_and_then_gives_up() -> None:
    breaker = Breaker(20, trips=4)
    waits = [fail(breaker, 1.0, 11)[-1], *(fail(breaker, now)[0] for now in (3.0, 6.0, 11.0))]
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert breaker.has_given_up


def test_a_probe_that_succeeds_closes_the_breaker_but_only_a_good_window_forgives() -> None:
    breaker = Breaker(20, trips=3)
    fail(breaker, 1.0, 11)
    breaker.count(failed=False, sent_at=3.0, now=3.0)
    assert fail(breaker, 4.0, 11)[-1] == 2.0
    for _ in range(20):
        breaker.count(failed=False, sent_at=8.0, now=8.0)
    assert fail(breaker, 9.0, 11)[-1] == 1.0


@given(st.integers(1, 1000), st.integers(0, 2**32))
def test_backoff_is_spread_evenly_below_a_bound_that_doubles(failures: int, seed: int) -> None:
    bound = min(MAX_BACKOFF_S, 0.5 * 2.0 ** min(failures - 1, 100))
    waits = [backoff_s(failures, random.Random(seed + n)) for n in range(20)]
    assert all(0 <= wait <= bound for wait in waits)
    assert max(waits) > bound / 3  # the chance that 20 even draws all lie below is 3e-10


class Clock:
    """Time that passes only on command, for a pace whose waits are then cut short by `Pace.leave` or nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_pace_lets_through_as_many_at_once_as_it_may_in_the_order_in_which_they_came() -> None:
    async def main() -> list[int]:
        pace, entered = Pace(2), list[int]()

        async def one(number: int) -> None:
            ticket = await pace.enter(1)
            entered.append(number)
            await asyncio.sleep(0.001)
            assert pace.num_under_way <= 2
            pace.leave(ticket)

        await asyncio.gather(*(one(number) for number in range(20)))
        return entered

    assert asyncio.run(main()) == list(range(20))


def test_a_pause_holds_everything_back() -> None:
    async def main() -> None:
        clock = Clock()
        pace = Pace(4, clock=clock)
        pace.pause(50.0)
        pace.pause(10.0)  # the longer one counts
        waiting = asyncio.create_task(pace.enter(1))
        await settle()
        clock.now = 49.0
        pace._changed.set()
        await settle()
        assert not waiting.done()
        clock.now = 50.0
        pace._changed.set()
        await settle()
        assert waiting.done()

    asyncio.run(main())


def test_requests_and_tokens_of_a_minute_are_both_kept_to() -> None:
    async def main() -> None:
        clock = Clock()
        pace = Pace(10, rpm=3, tpm=100, clock=clock)
        first = await pace.enter(60)
        waiting = asyncio.create_task(pace.enter(60))
        await settle()
        assert not waiting.done()
        pace.leave(first, used_tokens=40)  # which makes room
        await settle()
        assert waiting.done()
        third = asyncio.create_task(pace.enter(0))
        await settle()
        fourth = asyncio.create_task(pace.enter(0))
        await settle()
        assert third.done() and not fourth.done()
        fourth.cancel()

    asyncio.run(main())


def test_a_request_larger_than_a_minute_is_an_error_and_not_a_wait_for_ever() -> None:
    async def main() -> None:
        pace = Pace(10, tpm=100)
        with pytest.raises(OverflowError, match="101 tokens"):
            await pace.enter(101)
        assert (await pace.enter(100)).tokens is not None

    asyncio.run(main())


def test_closing_a_pace_sends_everyone_home() -> None:
    async def main() -> None:
        pace = Pace(1)
        await pace.enter(1)
        waiting = [asyncio.create_task(pace.enter(1)) for _ in range(5)]
        await settle()
        pace.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, ClosedError) for error in ended)
        with pytest.raises(ClosedError):
            await pace.enter(1)

    asyncio.run(main())
