"""Sending, against a server that misbehaves on command, and bills."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from tests.llm.server import (
    Act,
    BillingServer,
    ReceivedRequest,
    answer,
    failure,
    faulty,
    hang,
    ignoring_format,
    rate_limited,
    refusal,
    reset,
    truncated,
    web_page,
    without_usage,
)
from vldata.errors import RecipeError, VldataError
from vldata.llm import attempts as sending
from vldata.llm.answers import Answers, open_answers
from vldata.llm.budget import BudgetLimits, read_ledger
from vldata.llm.endpoint import Endpoint, EndpointError, find_endpoint
from vldata.llm.events import Event, SendResult
from vldata.llm.prices import Price, size_of
from vldata.llm.request import Request, image_part
from vldata.llm.send import send, send_all

SENTINEL = "sk-sentinel/0123456789abcdef"
PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
TEXT_FORMAT = {"type": "json_object"}


@pytest.fixture
def server() -> Iterator[BillingServer]:
    with BillingServer() as running:
        yield running


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "answers") as opened:
        yield opened


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that are ours, not the server's, take a hundredth of their time."""
    monkeypatch.setattr("vldata.llm.pace.BACKOFF_S", 0.005)


def endpoint(server: BillingServer, **more: Any) -> Endpoint:
    return Endpoint("test", server.url, SecretStr(SENTINEL), "TEST_KEY", **{"prices": {"m": PRICE}, **more})


def ask(number: int, **more: Any) -> Request:
    parameters = more.pop("parameters", {"max_tokens": 50})
    return Request("test", "m", ({"role": "user", "content": f"Describe image {number}."},), parameters, **more)


def asks(number: int) -> list[Request]:
    return [ask(n) for n in range(number)]


def no_images(part: Mapping[str, Any]) -> bytes:
    raise AssertionError("there are no images in this test")


def run(requests: Any, endpoint: Endpoint, answers: Answers, **more: Any) -> SendResult:
    options = {"read_image": no_images, "rng": random.Random(0), **more}
    return asyncio.run(send_all(requests, endpoint=endpoint, answers=answers, **options))


def faults_of(answers: Answers, key: str) -> list[str | None]:
    answer, failure = answers.get(key), answers.failure(key)
    return [attempt.error for part in (failure, answer) if part for attempt in part.attempts]


def test_every_request_is_answered_once_and_found_the_next_time(server: BillingServer, answers: Answers) -> None:
    first = run(asks(40), endpoint(server), answers)
    assert (first.hits, first.answered, first.failed, first.unsent, first.stopped) == (0, 40, {}, 0, None)
    again = run(asks(40), endpoint(server), answers)
    assert (again.hits, again.answered) == (40, 0)
    assert server.bill.requests == 40
    kept = answers.get(ask(7).key)
    assert kept is not None
    assert kept.reply["system_fingerprint"] == "fp_test"  # raw, whatever we know of it
    assert kept.usage == kept.reply["usage"]
    assert kept.attempts[0].request_id is not None and kept.attempts[0].request_id.startswith("req-")
    assert kept.cost_usd == PRICE.cost_usd(sending.usage_of(kept.reply))  # type: ignore[arg-type]


def test_what_is_sent_is_the_request_and_nothing_else(
    server: BillingServer, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, f"sk-other-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    parameters = {"max_tokens": 50, "temperature": 0.5, "stop": ["\n"]}
    run([ask(0, parameters=parameters, response_format=TEXT_FORMAT)], endpoint(server), answers)
    (received,) = server.received
    assert received.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Describe image 0."}],
        "max_tokens": 50,
        "temperature": 0.5,
        "stop": ["\n"],
        "response_format": TEXT_FORMAT,
    }
    assert received.headers["Authorization"] == f"Bearer {SENTINEL}"
    assert "sk-other" not in str(received.headers)


def image(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, kind)
    return data.getvalue()


def test_images_are_sent_as_data_urls_of_the_bytes_that_the_caller_gives(
    server: BillingServer, answers: Answers
) -> None:
    part = image_part("a" * 32, detail="low", max_side_px=64)
    request = Request("test", "m", ({"role": "user", "content": [{"type": "text", "text": "?"}, part]},))
    seen: list[Mapping[str, Any]] = []
    threads: list[threading.Thread] = []

    def read_image(part: Mapping[str, Any]) -> bytes:
        seen.append(part)
        threads.append(threading.current_thread())
        return image("PNG")

    run([request], endpoint(server), answers, read_image=read_image)
    assert seen == [part]
    assert threads[0] is not threading.main_thread()  # reading and shrinking an image must not hold up the others
    sent = server.received[0].body["messages"][0]["content"]
    url = f"data:image/png;base64,{base64.b64encode(image('PNG')).decode()}"
    assert sent == [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]


@pytest.mark.parametrize("fails", [FileNotFoundError("gone"), VldataError("image", "is broken", "repair it"), None])
def test_an_image_that_cannot_be_read_fails_its_row_alone(
    server: BillingServer, answers: Answers, fails: Exception | None
) -> None:
    unreadable = Request("test", "m", ({"role": "user", "content": [image_part("a" * 32)]},))

    def read_image(part: Mapping[str, Any]) -> bytes:
        if fails:
            raise fails
        return b"<html>not an image</html>"

    sent = run([unreadable, ask(1)], endpoint(server), answers, read_image=read_image)
    assert sent.failed == {unreadable.key: "image_unreadable"}
    assert sent.answered == 1 and server.bill.requests == 1


def test_equal_requests_are_sent_once_even_while_under_way(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: Act(delay_s=0.02)
    events: list[Event] = []
    sent = run([ask(n % 5) for n in range(50)], endpoint(server), answers, watch=events.append)
    assert server.bill.requests == 5
    assert sent.answered == 5 and sent.hits + sent.duplicates == 45
    assert sum(event.kind == "duplicate" for event in events) == sent.duplicates > 0


@pytest.mark.parametrize(
    "act", [failure(500), failure(503), reset(), truncated(), web_page(), Act(body={"choices": []})]
)
def test_what_may_pass_is_tried_again(server: BillingServer, answers: Answers, act: Act) -> None:
    server.queue(act, act, answer())
    sent = run([ask(0)], endpoint(server), answers)
    assert sent.answered == 1 and server.bill.requests == 3
    errors = faults_of(answers, ask(0).key)
    assert len(errors) == 3 and errors[0] == errors[1] is not None and errors[2] is None


def test_a_hang_ends_at_the_timeout_and_is_tried_again(server: BillingServer, answers: Answers) -> None:
    server.queue(hang(), answer())
    sent = run([ask(0)], endpoint(server, timeout_s=0.3), answers)
    assert sent.answered == 1
    assert faults_of(answers, ask(0).key) == ["timed_out", None]


def test_a_server_that_is_not_there_is_reported_and_costs_nothing(answers: Answers) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        sent = run([ask(0)], Endpoint("test", url, SecretStr(SENTINEL), prices={"m": PRICE}), answers)
    assert Counter(sent.failed.values()) == {"unreachable": 1}
    assert sent.spent.pico == 0 and sent.spent.requests == sending.MAX_ATTEMPTS


def test_a_row_is_given_up_after_enough_attempts_and_all_are_kept(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: failure(500)
    sent = run([ask(0)], endpoint(server), answers)
    assert sent.failed == {ask(0).key: "server_error"} and sent.answered == 0
    assert server.bill.requests == sending.MAX_ATTEMPTS
    (failed,) = answers.failures()
    assert [attempt.error for attempt in failed.attempts] == ["server_error"] * sending.MAX_ATTEMPTS
    assert [attempt.status for attempt in failed.attempts] == [500] * sending.MAX_ATTEMPTS
    assert all(attempt.wait_s > 0 for attempt in failed.attempts[:-1]) and failed.attempts[-1].wait_s == 0
    assert ask(0).key not in answers


@pytest.mark.parametrize(
    ("retry_after", "least_s"),
    [({"seconds": "1"}, 1.0), ({"ms": "300"}, 0.3), ({"date_in_s": 2.0}, 0.9)],
)
def test_retry_after_pauses_the_whole_endpoint_for_as_long_as_it_says(
    server: BillingServer, answers: Answers, retry_after: dict[str, Any], least_s: float
) -> None:
    times: list[float] = []

    def script(received: ReceivedRequest) -> Act:
        times.append(time.monotonic())
        return rate_limited(**retry_after) if len(times) == 1 else answer(delay_s=0.01)

    server.script = script
    events: list[Event] = []
    sent = run(asks(30), endpoint(server), answers, watch=events.append)
    assert sent.answered == 30
    under_way = [at for at in times if at < times[0] + 0.05]
    assert len(under_way) < 20
    assert times[len(under_way)] - times[0] >= least_s
    (paused,) = [event for event in events if event.kind == "paused"]
    assert paused.fault == "rate_limited" and least_s <= paused.wait_s <= 2.0
    (retry,) = [event for event in events if event.kind == "retry"]
    assert retry.wait_s == paused.wait_s


def test_a_pause_that_is_too_long_to_wait_ends_the_run(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: answer() if received.number <= 3 else rate_limited(seconds="7200")
    started = time.monotonic()
    sent = run(asks(20), endpoint(server), answers, limits=BudgetLimits(concurrency=1))
    assert time.monotonic() - started < 5
    assert sent.stopped is not None and sent.stopped.reason == "long_wait"
    assert "asks to wait 7200 s" in str(sent.stopped.error)
    assert (sent.answered, sent.unsent) == (3, 17)


def test_rate_limits_that_never_end_stop_the_run_and_give_no_row_up(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: rate_limited()
    sent = run(asks(10), endpoint(server, max_refused_s=1.0), answers)
    assert sent.stopped is not None and sent.stopped.reason == "rate_limited"
    assert "answered nothing for" in str(sent.stopped.error) and "Rate limit reached" in str(sent.stopped.error)
    assert (sent.failed, sent.unsent, sent.answered, sent.spent.pico) == ({}, 10, 0, 0)
    server.script = lambda received: answer()
    assert run(asks(10), endpoint(server, max_refused_s=1.0), answers).answered == 10


def test_a_row_that_is_refused_for_its_rate_while_others_are_answered_is_given_up(
    server: BillingServer, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MAX_RATE_LIMITED", 5)
    server.script = lambda received: rate_limited() if "image 0." in str(received.body) else answer(delay_s=0.01)
    sent = run(asks(100), endpoint(server), answers, limits=BudgetLimits(concurrency=4))
    assert sent.failed == {ask(0).key: "rate_limited"} and sent.answered == 99 and sent.stopped is None


def test_congestion_lowers_how_many_are_under_way(server: BillingServer, answers: Answers) -> None:
    most = [0, 0]

    def script(received: ReceivedRequest) -> Act:
        late = received.number > 150
        most[late] = max(most[late], server.bill.under_way + 1)
        return rate_limited() if 100 < received.number <= 110 else answer(delay_s=0.5)

    server.script = script
    assert run(asks(200), endpoint(server), answers, limits=BudgetLimits(concurrency=32)).answered == 200
    assert most[0] > 20 and most[1] < most[0]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (failure(401, "invalid_api_key"), "unauthorized"),
        (failure(403), "forbidden"),
        (failure(429, "insufficient_quota"), "out_of_credit"),
        (failure(404, "model_not_found"), "unknown_model"),
        (
            failure(400, "unsupported_value", "'temperature' does not support 0 with this model"),
            "unsupported_parameter",
        ),
    ],
)
def test_a_fault_that_every_request_would_meet_stops_the_run_at_once(
    server: BillingServer, answers: Answers, act: Act, reason: str
) -> None:
    server.script = lambda received: act
    sent = run(asks(100), endpoint(server), answers, limits=BudgetLimits(concurrency=4))
    assert sent.stopped is not None and sent.stopped.reason == reason
    assert isinstance(sent.stopped.error, EndpointError) and sent.stopped.error.fix
    assert server.bill.requests <= 4
    assert (sent.answered, sent.unsent, sent.failed) == (0, 100, {})


def test_a_redirect_is_not_followed(server: BillingServer, answers: Answers) -> None:
    with BillingServer() as elsewhere:
        server.script = lambda received: Act(307, b"", headers={"Location": f"{elsewhere.url}/chat/completions"})
        sent = run(asks(3), endpoint(server), answers)
        assert elsewhere.bill.requests == 0
    assert sent.stopped is not None and sent.stopped.reason == "redirected"


@pytest.mark.parametrize(
    ("code", "name"),
    [("content_policy_violation", "policy"), ("context_length_exceeded", "too_long"), (None, "bad_request")],
)
def test_a_fault_of_one_row_leaves_the_others_alone(
    server: BillingServer, answers: Answers, code: str | None, name: str
) -> None:
    server.script = lambda received: failure(400, code) if "image 3." in str(received.body) else answer()
    sent = run(asks(10), endpoint(server), answers)
    assert sent.failed == {ask(3).key: name} and sent.answered == 9 and sent.stopped is None
    assert server.bill.requests == 10


def test_a_refusal_by_the_model_is_an_answer(server: BillingServer, answers: Answers) -> None:
    server.queue(refusal())
    assert run([ask(0)], endpoint(server), answers).answered == 1
    kept = answers.get(ask(0).key)
    assert kept is not None and kept.reply["choices"][0]["message"]["refusal"]


def test_a_server_that_always_fails_stops_the_run_before_it_costs_much(
    server: BillingServer, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.llm.pace.MAX_BACKOFF_S", 0.01)
    server.script = lambda received: failure(500, is_billed=True, delay_s=0.002)
    sent = run(asks(1000), endpoint(server), answers, limits=BudgetLimits(concurrency=8))
    assert sent.stopped is not None and sent.stopped.reason == "failing"
    assert server.bill.requests < 60


def test_a_server_that_fails_for_a_moment_does_not_stop_the_run(
    server: BillingServer, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.llm.pace.MAX_BACKOFF_S", 0.2)
    began: list[float] = []

    def script(received: ReceivedRequest) -> Act:
        if received.number > 50 and not began:
            began.append(time.monotonic())
        is_down = bool(began) and time.monotonic() < began[0] + 0.3
        return failure(503) if is_down else answer(delay_s=0.002)

    server.script = script
    sent = run(asks(200), endpoint(server), answers, limits=BudgetLimits(concurrency=16))
    assert sent.stopped is None and sent.answered + len(sent.failed) == 200
    assert sent.answered > 190


def test_with_a_fifth_of_all_requests_failing_every_row_ends_answered_or_with_a_reason(
    server: BillingServer, answers: Answers, tmp_path: Path
) -> None:
    server.script = faulty(0.2, seed=3)
    sent = run(asks(300), endpoint(server), answers, limits=BudgetLimits(max_usd=10.0), ledger=tmp_path / "ledger")
    assert sent.stopped is None
    assert sent.answered + len(sent.failed) == 300 and sent.unsent == 0
    assert {*answers.keys()} | sent.failed.keys() == {request.key for request in asks(300)}
    assert {failed.key for failed in answers.failures()} == sent.failed.keys()
    assert server.bill.requests == sent.spent.requests
    assert sent.answered <= server.bill.billed
    bill_usd = (server.bill.input_tokens * 1.0 + server.bill.output_tokens * 2.0) / 1e6
    assert bill_usd <= sent.spent.usd  # what is in doubt is counted at its ceiling
    known_usd, unknown = answers.spent()
    assert known_usd <= bill_usd and unknown > 0
    assert read_ledger(tmp_path / "ledger") == sent.total


def ceiling_usd(request: Request) -> float:
    ceiling = PRICE.ceiling_usd(size_of(request, PRICE))
    assert ceiling is not None
    return ceiling


def test_spending_never_passes_the_cap_over_all_runs_and_resumes_when_it_is_raised(
    server: BillingServer, answers: Answers, tmp_path: Path
) -> None:
    server.script = faulty(0.3, seed=5, faults=(failure(500, is_billed=True), without_usage(), reset()))
    cap, ledger, answered = 20 * ceiling_usd(ask(0)), tmp_path / "ledger", 0
    for _ in range(3):
        sent = run(asks(100), endpoint(server), answers, limits=BudgetLimits(max_usd=cap), ledger=ledger)
        assert sent.stopped is not None and sent.stopped.reason == "max_usd"
        assert "raise max_usd" in str(sent.stopped.error)
        assert sent.total.usd <= cap
        answered += sent.answered
        assert sent.hits + sent.answered == answered
        assert sent.unsent == 100 - answered
    assert (server.bill.input_tokens * 1.0 + server.bill.output_tokens * 2.0) / 1e6 <= cap
    raised = run(asks(100), endpoint(server), answers, limits=BudgetLimits(max_usd=1.0), ledger=ledger)
    assert raised.stopped is None and raised.hits + raised.answered == 100


def test_a_cap_is_used_up_though_reservations_are_larger_than_what_is_spent(
    server: BillingServer, answers: Answers
) -> None:
    sent = run(asks(100), endpoint(server), answers, limits=BudgetLimits(max_usd=3 * ceiling_usd(ask(0))))
    one = sent.spent.usd / sent.answered
    assert sent.answered > 3  # all three are reserved at first; each that settles for less makes room for others
    assert 3 * ceiling_usd(ask(0)) - sent.spent.usd < ceiling_usd(ask(0)) + one


@pytest.mark.parametrize("limits", [BudgetLimits(max_requests=7), BudgetLimits(max_tokens=7 * 140)])
def test_other_limits_stop_cleanly_too(server: BillingServer, answers: Answers, limits: BudgetLimits) -> None:
    sent = run(asks(50), endpoint(server, prices={}), answers, limits=limits)
    assert sent.stopped is not None and sent.stopped.reason in ("max_requests", "max_tokens")
    assert sent.answered + (sent.unsent or 0) == 50 and sent.answered >= 7
    assert limits.max_requests is None or server.bill.requests == 7
    assert limits.max_tokens is None or sent.spent.tokens <= limits.max_tokens


def test_after_the_cap_hits_are_still_found(server: BillingServer, answers: Answers) -> None:
    run(asks(50)[25:], endpoint(server), answers)
    sent = run(asks(50), endpoint(server), answers, limits=BudgetLimits(max_requests=5))
    assert (sent.answered, sent.hits, sent.unsent) == (5, 25, 20)


def test_a_model_without_a_price_refuses_max_usd_before_anything_is_sent(
    server: BillingServer, answers: Answers
) -> None:
    sent = run(asks(3), endpoint(server, prices={}), answers, limits=BudgetLimits(max_usd=1.0))
    assert sent.stopped is not None and sent.stopped.reason == "no_price"
    assert "price of 'm' is not known" in str(sent.stopped.error)
    assert server.bill.requests == 0 and sent.unsent == 3


@pytest.mark.parametrize("limits", [BudgetLimits(max_usd=1.0), BudgetLimits(max_tokens=10**6)])
def test_an_answer_without_a_largest_length_refuses_a_cap(
    server: BillingServer, answers: Answers, limits: BudgetLimits
) -> None:
    sent = run([ask(0, parameters={})], endpoint(server), answers, limits=limits)
    assert sent.stopped is not None and sent.stopped.reason == "no_maximum"
    assert server.bill.requests == 0


def test_an_unknown_price_is_unknown_and_not_nothing(server: BillingServer, answers: Answers) -> None:
    sent = run(asks(2), endpoint(server, prices={}), answers)
    assert sent.spent.pico == 0 and sent.spent.unpriced == 2
    assert answers.spent() == (0.0, 2)


def test_a_missing_usage_costs_the_reservation(server: BillingServer, answers: Answers) -> None:
    server.queue(without_usage())
    sent = run([ask(0)], endpoint(server), answers)
    assert sent.answered == 1
    assert sent.spent.usd == pytest.approx(ceiling_usd(ask(0)), rel=1e-6)
    assert sent.spent.in_doubt_pico == sent.spent.pico
    kept = answers.get(ask(0).key)
    assert kept is not None and kept.cost_usd is None and kept.usage is None


def test_a_request_larger_than_a_minutes_tokens_is_given_up_and_not_waited_for(
    server: BillingServer, answers: Answers
) -> None:
    large = ask(0, parameters={"max_tokens": 5000})
    sent = run([large, ask(1)], endpoint(server, tpm=1000), answers)
    assert sent.failed == {large.key: "larger_than_tpm"} and sent.answered == 1
    assert sent.spent.requests == 1


def test_an_endpoints_own_concurrency_wins(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: answer(delay_s=0.005)
    run(asks(30), endpoint(server, max_concurrency=3), answers, limits=BudgetLimits(concurrency=20))
    assert server.bill.most_under_way == 3


def test_a_format_that_the_server_ignores_stops_the_run_early(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: ignoring_format()
    requests = [ask(n, response_format=TEXT_FORMAT) for n in range(100)]
    sent = run(requests, endpoint(server), answers, limits=BudgetLimits(concurrency=2))
    assert sent.stopped is not None and sent.stopped.reason == "format_ignored"
    assert sending.UNHEEDED <= sent.answered == sent.ignored_format <= sending.UNHEEDED + 2


def test_a_format_that_is_ignored_now_and_then_is_only_counted(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: ignoring_format() if received.number % 2 else answer('{"a": 1}')
    sent = run([ask(n, response_format=TEXT_FORMAT) for n in range(20)], endpoint(server), answers)
    assert sent.stopped is None and (sent.answered, sent.ignored_format) == (20, 10)


def test_the_first_interruption_lets_what_is_under_way_end(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: answer(delay_s=0.3)
    stop = asyncio.Event()

    def watch(event: Event) -> None:
        if event.kind == "sent":
            stop.set()

    sent = run(asks(50), endpoint(server), answers, limits=BudgetLimits(concurrency=4), watch=watch, stop=stop)
    assert sent.stopped is not None and sent.stopped.reason == "interrupted"
    assert sent.unsent is None
    assert sent.answered == server.bill.requests == len(answers) <= 4


def test_an_interruption_does_not_wait_for_a_pause_or_a_retry_to_end(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: rate_limited(seconds="600")

    async def main() -> SendResult:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, stop.set)
        everything = {"endpoint": endpoint(server), "answers": answers, "read_image": no_images, "stop": stop}
        return await send_all(asks(20), **everything)  # type: ignore[arg-type]

    started = time.monotonic()
    sent = asyncio.run(main())
    assert time.monotonic() - started < 3
    assert sent.stopped is not None and sent.stopped.reason == "interrupted" and sent.answered == 0


def test_what_is_under_way_when_cancelled_is_given_up_but_counted(
    server: BillingServer, answers: Answers, tmp_path: Path
) -> None:
    server.script = lambda received: answer() if received.number <= 5 else hang()
    everything: dict[str, Any] = {"answers": answers, "read_image": no_images, "ledger": tmp_path / "ledger"}

    async def main() -> None:
        limits = BudgetLimits(max_usd=1.0, concurrency=3)
        task = asyncio.create_task(send_all(asks(20), endpoint=endpoint(server), limits=limits, **everything))
        while server.bill.requests < 8:
            await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert len(answers) == 5
    spent = read_ledger(tmp_path / "ledger")
    assert spent.requests == server.bill.billed == 8
    assert [a.error for failed in answers.failures() for a in failed.attempts] == ["interrupted"] * 3


def test_control_c_drains_and_a_second_one_cancels(server: BillingServer, tmp_path: Path) -> None:
    server.script = lambda received: hang()
    code = f"""
from pathlib import Path
from pydantic import SecretStr
from vldata.llm.answers import open_answers
from vldata.llm.endpoint import Endpoint
from vldata.llm.request import Request
from vldata.llm.send import send
requests = [Request("test", "m", ({{"role": "user", "content": str(n)}},)) for n in range(9)]
with open_answers({str(tmp_path / "a")!r}) as answers:
    endpoint = Endpoint("test", {server.url!r}, SecretStr("none"))
    send(requests, endpoint=endpoint, answers=answers, read_image=None, watch=lambda e: print(e.kind, flush=True))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None and process.stderr is not None
    for _ in range(8):
        assert process.stdout.readline() == "sent\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=20)[1]
    with open_answers(tmp_path / "a", read_only=True) as answers:
        assert len(list(answers.failures())) == 8


def test_after_a_kill_no_answer_that_came_is_requested_again(server: BillingServer, tmp_path: Path) -> None:
    server.script = lambda received: answer(delay_s=0.005)
    code = f"""
from pathlib import Path
from pydantic import SecretStr
from tests.llm.test_send import asks, no_images, PRICE
from vldata.llm.answers import open_answers
from vldata.llm.budget import BudgetLimits
from vldata.llm.endpoint import Endpoint
from vldata.llm.send import send
with open_answers({str(tmp_path / "a")!r}) as answers:
    endpoint = Endpoint("test", {server.url!r}, SecretStr("none"), prices={{"m": PRICE}})
    limits, ledger = BudgetLimits(max_usd=1.0, concurrency=8), Path({str(tmp_path / "l")!r})
    send(asks(200), endpoint=endpoint, answers=answers, read_image=no_images, limits=limits, ledger=ledger)
"""
    kills, number = 0, 0
    while kills < 2:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
        number += 40
        while server.bill.requests < number and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    with open_answers(tmp_path / "a") as answers:
        limits = BudgetLimits(max_usd=1.0, concurrency=8)
        sent = run(asks(200), endpoint(server), answers, limits=limits, ledger=tmp_path / "l")
    assert sent.hits + sent.answered == 200 and sent.stopped is None
    assert len(server.bill.by_digest) == 200
    assert 200 <= server.bill.billed <= 200 + kills * 8
    assert sent.total.requests >= server.bill.billed  # what was under way at a kill stays spent
    assert sent.total.usd >= (server.bill.input_tokens * 1.0 + server.bill.output_tokens * 2.0) / 1e6


def test_what_is_in_the_store_needs_no_network_no_key_and_no_client(server: BillingServer, tmp_path: Path) -> None:
    with open_answers(tmp_path / "answers") as answers:
        run(asks(5), endpoint(server), answers)
    code = f"""
import sys
from tests.llm.server import BillingServer
from vldata.llm.answers import open_answers
from vldata.llm.endpoint import find_endpoint
from vldata.llm.request import Request
from vldata.llm.send import send
requests = [
    Request("test", "m", ({{"role": "user", "content": f"Describe image {{n}}."}},), {{"max_tokens": 50}})
    for n in range(5)
]
with open_answers({str(tmp_path / "answers")!r}) as answers:
    endpoint = find_endpoint("openai", environ={{"XDG_CONFIG_HOME": {str(tmp_path)!r}}})
    sent = send(requests, endpoint=endpoint, answers=answers, read_image=None)
assert sent.hits == 5 and sent.stopped is None, sent
assert "openai" not in sys.modules and "httpx2" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_without_a_key_the_hits_are_found_and_the_rest_is_reported(server: BillingServer, answers: Answers) -> None:
    run(asks(3), endpoint(server), answers)
    sent = run(asks(5), Endpoint("test", server.url, None, "TEST_KEY"), answers)
    assert (sent.hits, sent.unsent, sent.answered) == (3, 2, 0)
    assert sent.stopped is not None and "TEST_KEY, which is not set" in str(sent.stopped.error)


def test_an_error_of_who_writes_the_requests_keeps_what_is_under_way(server: BillingServer, answers: Answers) -> None:
    def requests() -> Iterator[Request]:
        yield from asks(3)
        raise RecipeError("sources.x", "is wrong", "repair it")

    sent = run(requests(), endpoint(server), answers)
    assert sent.answered == 3 and sent.stopped is not None and sent.stopped.reason == "error"
    assert isinstance(sent.stopped.error, RecipeError)


def test_a_bug_keeps_what_is_under_way_and_is_raised(server: BillingServer, answers: Answers) -> None:
    def requests() -> Iterator[Request]:
        yield from asks(3)
        raise ZeroDivisionError

    server.script = lambda received: answer(delay_s=0.1)
    with pytest.raises(ZeroDivisionError):
        run(requests(), endpoint(server), answers)
    assert len(answers) == 3


@pytest.mark.parametrize(
    "reply", ["<script>alert(1)</script>", "{{ 7 * 7 }}{% raw %}", "../../etc/passwd", "\ud83d\ude00 \x00"]
)
def test_a_reply_stays_the_text_that_it_is(server: BillingServer, answers: Answers, reply: str) -> None:
    text = reply.encode("utf-16", "surrogatepass").decode("utf-16")
    server.queue(answer(text))
    run([ask(0)], endpoint(server), answers)
    kept = answers.get(ask(0).key)
    assert kept is not None and kept.reply["choices"][0]["message"]["content"] == text


def quoting(act: Act) -> Act:
    """The act, by a server that quotes the key wherever it can."""
    headers = {**act.headers, "x-request-id": f"req {SENTINEL}"}
    if isinstance(act.body, dict):
        text = f"Incorrect API key provided: {SENTINEL}"
        return Act(act.status, {"error": {"message": text, "code": act.body["error"]["code"]}}, headers=headers)
    if isinstance(act.body, bytes):
        return Act(act.status, act.body + SENTINEL.encode(), headers=headers)
    return Act(**{**vars(act), "text": f"You sent {SENTINEL}.", "headers": headers})


@pytest.mark.parametrize(
    "act",
    [
        answer(),
        failure(400),
        failure(400, "unsupported_parameter"),
        failure(401, "invalid_api_key"),
        failure(429, "insufficient_quota"),
        rate_limited(seconds="7200"),
        rate_limited(ms="1"),
        failure(500),
        failure(503),
        hang(),
        reset(),
        truncated(),
        web_page(),
        Act(302, b"", headers={"Location": f"http://127.0.0.1:1/?key={SENTINEL}"}),
        Act(body=[SENTINEL]),
    ],
)
def test_the_key_is_in_no_log_error_event_or_file(
    server: BillingServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    act: Act,
) -> None:
    monkeypatch.setattr("vldata.llm.pace.MAX_BACKOFF_S", 0.01)
    monkeypatch.setattr(sending, "MAX_RATE_LIMITED", 3)
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    server.script = lambda received: quoting(act)
    keyed = find_endpoint(
        "test", url=server.url, environ={"VLDATA_API_KEY": SENTINEL, "XDG_CONFIG_HOME": str(tmp_path)}
    )
    keyed = Endpoint(
        keyed.name,
        keyed.url,
        keyed.key,
        keyed.key_from,
        timeout_s=0.2,
        prices={"m": PRICE},
        max_refused_s=0.5,
    )
    events: list[Event] = []
    with open_answers(tmp_path / "answers") as answers:
        sent = run(
            asks(2),
            keyed,
            answers,
            watch=events.append,
            limits=BudgetLimits(max_usd=1.0),
            ledger=tmp_path / "ledger",
        )
    assert server.bill.requests
    shown = [
        repr(sent),
        repr(events),
        repr(keyed),
        caplog.text,
        *capfd.readouterr(),
        *(r.key for r in asks(2)),
    ]
    if sent.stopped is not None:
        shown += [str(sent.stopped.error), "".join(traceback.format_exception(sent.stopped.error))]
    shown += [record.getMessage() + repr(record.args) + repr(record.__dict__) for record in caplog.records]
    assert not [text for text in shown if "sentinel" in text]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not [path for path in files if b"sentinel" in path.read_bytes()]


def test_the_key_is_in_no_error_when_the_client_itself_fails(
    server: BillingServer, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, body: bytes) -> None:
        raise ZeroDivisionError("in the client")

    monkeypatch.setattr("vldata.llm.client.Client.complete", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        run(asks(1), endpoint(server), answers)
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "sentinel" not in "".join(trace.format()).replace("test_send.py", "")


def test_send_works_outside_the_main_thread(server: BillingServer, answers: Answers) -> None:
    results: list[SendResult] = []
    options: dict[str, Any] = {"endpoint": endpoint(server), "answers": answers, "read_image": no_images}
    thread = threading.Thread(target=lambda: results.append(send(asks(3), **options)))
    thread.start()
    thread.join(20)
    assert results[0].answered == 3


def test_memory_does_not_grow_with_the_number_of_requests_under_way(server: BillingServer, answers: Answers) -> None:
    pulled: list[int] = []

    def requests() -> Iterator[Request]:
        for number in range(200):
            pulled.append(server.bill.requests)
            yield ask(number)

    run(requests(), endpoint(server), answers, limits=BudgetLimits(concurrency=4))
    assert all(number - done <= 10 for number, done in enumerate(pulled))  # no request is made long before it is sent
