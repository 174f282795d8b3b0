"""What servers do beside answering, and that it costs no row, no cent and no run that it need not cost."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.llm.error_bodies import INVALID, MAX_TOKENS, openai, openrouter
from tests.llm.server import (
    FAULTS,
    Act,
    BillingServer,
    ReceivedRequest,
    answer,
    failure,
    faulty,
    hang,
    rate_limited,
    reset,
    without_usage,
)
from tests.llm.test_send import PRICE, SENTINEL, answers, ask, asks, ceiling_usd, endpoint, impatient, run, server
from vldata.llm.answers import Answers, open_answers
from vldata.llm.budget import BudgetLimits, read_ledger, settle_doubts
from vldata.llm.endpoint import Endpoint, EndpointError, find_endpoint
from vldata.llm.endpoint_specs import ServerSpec
from vldata.llm.events import Event
from vldata.llm.examples import examples_of
from vldata.llm.ledger import ledger_of
from vldata.llm.prices import Usage
from vldata.llm.request import Request

__all__ = ["answers", "impatient", "server"]

FORBIDDEN = Act(403, b"<html>Forbidden</html>", is_billed=False)


def is_about(received: ReceivedRequest, *numbers: int) -> bool:
    return any(f"image {number}." in str(received.body) for number in numbers)


@pytest.mark.parametrize("concurrency", [1, 2, 8, 64])
@pytest.mark.parametrize("rows", [(0,), (0, 1), (7, 30), (49,), (48, 49)])
def test_a_403_while_others_are_answered_gives_up_its_row_alone(
    server: BillingServer, answers: Answers, concurrency: int, rows: tuple[int, ...]
) -> None:
    server.script = lambda received: FORBIDDEN if is_about(received, *rows) else answer(delay_s=0.02)
    sent = run(asks(50), endpoint(server), answers, limits=BudgetLimits(concurrency=concurrency))
    assert sent.stopped is None
    assert sent.failed == dict.fromkeys([ask(row).key for row in rows], "refused")
    assert sent.answered == 50 - len(rows) and server.bill.requests == 50
    assert {failed.attempts[-1].error for failed in answers.failures()} == {"refused"}


def test_a_403_with_the_words_of_a_moderation_gives_up_its_row_even_before_an_answer(
    server: BillingServer, answers: Answers
) -> None:
    flagged = Act(403, openrouter(403, "m requires moderation on X. Your input was flagged."), is_billed=False)
    server.script = lambda received: flagged if is_about(received, *range(10)) else answer()
    sent = run(asks(20), endpoint(server), answers, limits=BudgetLimits(concurrency=1))
    assert sent.stopped is None and Counter(sent.failed.values()) == {"policy": 10} and sent.answered == 10


@pytest.mark.parametrize("concurrency", [1, 4, 64])
def test_a_key_that_may_do_nothing_stops_the_run_soon_and_gives_no_row_up(
    server: BillingServer, answers: Answers, concurrency: int
) -> None:
    server.script = lambda received: FORBIDDEN
    sent = run(asks(200), endpoint(server), answers, limits=BudgetLimits(concurrency=concurrency))
    assert sent.stopped is not None and sent.stopped.reason == "forbidden"
    assert (sent.failed, sent.unsent) == ({}, 200) and server.bill.requests <= 8
    server.script = lambda received: answer()
    assert run(asks(200), endpoint(server), answers).answered == 200


def test_a_key_that_is_barred_half_way_gives_up_few_rows(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: answer() if received.number <= 50 else FORBIDDEN
    sent = run(asks(500), endpoint(server), answers, limits=BudgetLimits(concurrency=8))
    assert sent.stopped is not None and sent.stopped.reason == "forbidden"
    assert sent.answered == 50 and sent.failed == {} and sent.unsent == 450 and server.bill.requests < 100
    server.script = lambda received: answer()
    assert run(asks(500), endpoint(server), answers).answered == 450


@pytest.mark.parametrize(
    "act",
    [
        failure(404, None, "file of the model not found"),
        failure(400, "unsupported_value", "'detail' does not support this image"),
        failure(400, None, "odd image"),
    ],
)
def test_what_every_row_would_meet_is_a_rows_own_fault_when_its_model_answers_others(
    server: BillingServer, answers: Answers, act: Act
) -> None:
    server.script = lambda received: act if is_about(received, 30, 31, 40) else answer()
    sent = run(asks(60), endpoint(server), answers, limits=BudgetLimits(concurrency=2))
    assert sent.stopped is None and sent.answered == 57 and len(sent.failed) == 3
    assert set(sent.failed.values()) <= {"refused", "bad_request"}
    again = run(asks(60), endpoint(server), answers)
    assert (again.hits == 57 and again.stopped is not None) or again.failed


def test_a_model_that_is_not_there_stops_the_run_though_another_one_answers(
    server: BillingServer, answers: Answers
) -> None:
    missing = failure(404, "model_not_found")
    server.script = lambda received: missing if received.body["model"] == "judge" else answer()
    judged = [Request("test", "judge", one.messages, one.parameters) for one in asks(50)]
    requests = [one for pair in zip(asks(50), judged, strict=True) for one in pair]
    sent = run(requests, endpoint(server), answers, limits=BudgetLimits(concurrency=4))
    assert sent.stopped is not None and sent.stopped.reason == "unknown_model" and sent.failed == {}


def test_a_key_that_may_use_one_model_and_not_the_other_stops_the_run(server: BillingServer, answers: Answers) -> None:
    server.script = lambda received: FORBIDDEN if received.body["model"] == "judge" else answer(delay_s=0.01)
    judged = [Request("test", "judge", one.messages, one.parameters) for one in asks(50)]
    requests = [one for pair in zip(asks(50), judged, strict=True) for one in pair]
    sent = run(requests, endpoint(server), answers, limits=BudgetLimits(concurrency=4))
    assert sent.stopped is not None and sent.stopped.reason == "forbidden" and sent.failed == {}
    assert server.bill.requests < 20


def test_the_last_rows_of_a_source_are_refused_when_it_was_answered_in_earlier_runs(
    server: BillingServer, answers: Answers, tmp_path: Path
) -> None:
    server.script = lambda received: FORBIDDEN if is_about(received, 0) else answer()
    run(asks(10)[1:], endpoint(server), answers, ledger=tmp_path / "ledger")
    sent = run([ask(0)], endpoint(server), answers, ledger=tmp_path / "ledger")
    assert sent.stopped is None and sent.failed == {ask(0).key: "refused"}


def test_a_parameter_that_every_row_has_wrong_gives_no_row_up(
    server: BillingServer, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.llm.pace.MAX_BACKOFF_S", 0.01)
    server.script = lambda received: failure(400, None, "messages.0: odd")
    sent = run(asks(500), endpoint(server), answers, limits=BudgetLimits(concurrency=4))
    assert (
        sent.stopped is not None and sent.stopped.reason == "failing" and "messages.0: odd" in str(sent.stopped.error)
    )
    assert sent.failed == {} and sent.unsent == 500 and sent.spent.pico == 0


@pytest.mark.parametrize(
    "refusal",
    [
        openai(MAX_TOKENS, INVALID, "max_tokens", "unsupported_parameter"),
        {"error": {"message": MAX_TOKENS, "code": "invalid_request_body"}},
        openai("Unrecognized request argument supplied: max_tokens", INVALID),
        {
            "detail": [
                {"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}
            ]
        },
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_wants_the_newer_name_of_the_largest_length_gets_it(
    server: BillingServer, answers: Answers, refusal: dict[str, Any], status: int
) -> None:
    def script(received: ReceivedRequest) -> Act:
        is_old = "max_tokens" in received.body
        return Act(status, refusal, is_billed=False) if is_old else answer(delay_s=0.01)

    server.script = script
    sent = run(asks(100), endpoint(server), answers, limits=BudgetLimits(concurrency=32, max_usd=1.0))
    assert sent.answered == 100 and sent.stopped is None and not sent.failed
    assert server.bill.billed == 100
    assert server.bill.requests <= 100 + 8  # those that were under way when it was learnt
    assert {received.body.get("max_completion_tokens") for received in server.received[-50:]} == {50}
    assert ask(7).key in answers  # the key knows nothing of it


def test_a_server_that_knows_only_the_older_name_gets_that(server: BillingServer, answers: Answers) -> None:
    body = {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]}
    server.script = lambda r: Act(422, body, is_billed=False) if "max_completion_tokens" in r.body else answer()
    sent = run([ask(n, parameters={"max_completion_tokens": 50}) for n in range(20)], endpoint(server), answers)
    assert sent.answered == 20 and server.received[-1].body["max_tokens"] == 50


def test_a_server_that_takes_neither_name_is_reported(server: BillingServer, answers: Answers) -> None:
    def script(received: ReceivedRequest) -> Act:
        name = next(name for name in ("max_tokens", "max_completion_tokens") if name in received.body)
        return Act(
            400, openai(f"Unsupported parameter: '{name}'", INVALID, name, "unsupported_parameter"), is_billed=False
        )

    server.script = script
    sent = run(asks(20), endpoint(server), answers, limits=BudgetLimits(concurrency=1))
    assert sent.stopped is not None and sent.stopped.reason == "unsupported_parameter" and server.bill.requests == 2


def test_a_temperature_that_a_model_does_not_take_is_never_dropped_but_reported_with_the_fix(
    server: BillingServer, answers: Answers
) -> None:
    message = (
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) is supported."
    )
    server.script = lambda r: Act(400, openai(message, INVALID, "temperature", "unsupported_value"), is_billed=False)
    parameters = {"max_tokens": 50, "temperature": 0.2}
    sent = run([ask(n, parameters=parameters) for n in range(20)], endpoint(server), answers)
    assert sent.stopped is not None and sent.stopped.reason == "unsupported_parameter"
    assert "parameters: {temperature: null}" in sent.stopped.error.fix


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (failure(500), None),
        (failure(502), None),
        (failure(503), None),
        (Act(body={"error": {"message": "Lost", "code": 502}}, is_billed=False), None),
        (rate_limited(), None),
        (failure(504), "timed_out"),
        (reset(), "connection_lost"),
        (without_usage(), "no_usage"),
    ],
)
def test_only_what_may_be_billed_is_booked_and_the_ledger_says_why(
    server: BillingServer, answers: Answers, tmp_path: Path, act: Act, why: str | None
) -> None:
    server.queue(act)
    run([ask(0)], endpoint(server), answers, ledger=tmp_path / "ledger")
    ledger = ledger_of(tmp_path / "ledger")
    assert set(ledger.doubts) == ({why} if why else set())
    most = round(ceiling_usd(ask(0)) * 1e12)
    assert (
        ledger.spent.in_doubt_pico
        == sum(doubt.in_doubt_pico for doubt in ledger.doubts.values())
        == (most if why else 0)
    )
    bill_usd = (server.bill.input_tokens * 1.0 + server.bill.output_tokens * 2.0) / 1e6
    assert ledger.spent.usd >= bill_usd * (1 - 1e-9)
    if why is None:
        assert ledger.spent.usd == pytest.approx(bill_usd)


def test_an_error_that_reports_tokens_costs_these(server: BillingServer, answers: Answers) -> None:
    body = {"error": {"message": "Lost"}, "usage": {"prompt_tokens": 10, "completion_tokens": 4}}
    server.queue(Act(500, body, is_billed=False))
    sent = run([ask(0)], endpoint(server), answers)
    kept = answers.get(ask(0).key)
    assert kept is not None and kept.attempts[0].cost_usd == PRICE.cost_usd(Usage(10, 4))
    assert sent.spent.in_doubt_pico == 0


def test_an_endpoint_that_bills_its_failures_is_booked_for_them(
    server: BillingServer, answers: Answers, tmp_path: Path
) -> None:
    server.script = lambda received: failure(500)
    billing = endpoint(server, bills_failures=True)
    cap = 3 * ceiling_usd(ask(0))
    sent = run([ask(0)], billing, answers, limits=BudgetLimits(max_usd=cap), ledger=tmp_path / "ledger")
    assert sent.stopped is not None and sent.stopped.reason == "max_usd" and server.bill.requests == 3
    assert set(ledger_of(tmp_path / "ledger").doubts) == {"server_error"}


def test_what_is_in_doubt_is_settled_by_the_users_word(server: BillingServer, answers: Answers, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    server.queue(reset(), reset(), without_usage())
    sent = run(asks(3), endpoint(server), answers, ledger=ledger, limits=BudgetLimits(concurrency=1))
    doubt_usd = sent.total.in_doubt_pico / 1e12
    known_usd = sent.total.usd - doubt_usd
    assert doubt_usd == pytest.approx(3 * ceiling_usd(ask(0)))
    settle_doubts(ledger, doubt_usd / 4)
    spent = read_ledger(ledger)
    assert spent.in_doubt_pico == 0 and spent.usd == pytest.approx(known_usd + doubt_usd / 4)
    assert ledger_of(ledger).doubts == {} and spent.requests == sent.total.requests and spent.tokens < sent.total.tokens
    settle_doubts(ledger, 0.0)  # nothing is left to settle
    assert read_ledger(ledger) == spent
    again = run([ask(9)], endpoint(server), answers, ledger=ledger)  # after which the line is carried
    assert again.total.usd == pytest.approx(spent.usd + again.spent.usd) and ledger_of(ledger).doubts == {}


def test_one_example_of_the_servers_words_is_kept_for_each_class(tmp_path: Path, server: BillingServer) -> None:
    def script(received: ReceivedRequest) -> Act:
        if is_about(received, 1, 2):
            return failure(400, "content_filter", f"No: {SENTINEL} row {received.number}")
        return failure(500, None, "CUDA error") if received.nth == 1 and is_about(received, 3) else answer()

    server.script = script
    with open_answers(tmp_path / "answers") as answers:
        sent = run(asks(6), endpoint(server), answers)
        assert sent.examples.keys() == {"policy", "server_error"}
        assert sent.examples["server_error"] == "HTTP 500: CUDA error"
        assert "[key removed]" in sent.examples["policy"]
        run(asks(20)[6:], endpoint(server), answers)  # which says nothing new
    assert examples_of(tmp_path / "answers", "test") == sent.examples
    assert "sentinel" not in (tmp_path / "answers" / "examples.json").read_text()


def several(*servers: BillingServer | str, **more: Any) -> Endpoint:
    urls = [server if isinstance(server, str) else server.url for server in servers]
    specs = tuple(ServerSpec(url=url) for url in urls)
    return Endpoint("test", urls[0], SecretStr(SENTINEL), "TEST_KEY", prices={"m": PRICE}, servers=specs, **more)


def nobody() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/v1"


def test_several_servers_share_by_load_and_the_key_does_not_know_who_answered(
    server: BillingServer, answers: Answers
) -> None:
    with BillingServer(lambda received: answer(delay_s=0.4)) as slow:
        server.script = lambda received: answer(delay_s=0.005)
        sent = run(asks(300), several(server, slow), answers, limits=BudgetLimits(concurrency=16))
        assert sent.answered == 300 == server.bill.billed + slow.bill.billed
        assert server.bill.billed > 2 * slow.bill.billed > 0
        assert {url: count["answered"] for url, count in sent.servers.items()} == {
            server.url: server.bill.billed,
            slow.url: slow.bill.billed,
        }
    again = run(asks(300), several(server), answers)
    assert again.hits == 300


def test_a_dead_server_costs_no_row_and_no_cent(server: BillingServer, answers: Answers) -> None:
    sent = run(asks(200), several(nobody(), server), answers, limits=BudgetLimits(max_usd=1.0))
    assert sent.answered == 200 and not sent.failed and sent.stopped is None
    assert sent.spent.in_doubt_pico == 0 and server.bill.requests == 200


def test_a_server_that_dies_is_left_alone_and_joins_again_when_it_lives(
    answers: Answers, server: BillingServer
) -> None:
    server.script = lambda received: answer(delay_s=0.01)
    with BillingServer() as other:

        def script(received: ReceivedRequest) -> Act:
            return failure(503, delay_s=0.001) if 20 < received.number <= 22 else answer(delay_s=0.01)

        other.script = script
        events: list[Event] = []
        limits = BudgetLimits(concurrency=4)
        sent = run(asks(600), several(server, other), answers, limits=limits, watch=events.append)
        assert sent.answered == 600 and not sent.failed
        assert other.bill.billed > 30  # 20 before it died, the others after
        assert {event.fault for event in events if event.kind == "paused"} == {"overloaded"}


def test_a_server_with_another_model_is_left_out_and_the_others_go_on(server: BillingServer, answers: Answers) -> None:
    with BillingServer(lambda received: failure(404, "model_not_found")) as other:
        sent = run(asks(100), several(other, server), answers)
        assert sent.answered == 100 and not sent.failed and sent.stopped is None
        assert 1 <= other.bill.requests <= 8


def test_when_all_servers_are_left_out_the_run_stops(answers: Answers) -> None:
    def no_model(received: ReceivedRequest) -> Act:
        return failure(404, "model_not_found")

    with BillingServer(no_model) as one, BillingServer(no_model) as other:
        sent = run(asks(100), several(one, other), answers)
    assert sent.stopped is not None and sent.stopped.reason == "unknown_model"
    assert (sent.failed, sent.unsent) == ({}, 100)


def test_when_all_servers_are_dead_the_run_stops_and_can_be_resumed(
    answers: Answers, server: BillingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.llm.pace.MAX_BACKOFF_S", 0.05)
    sent = run(asks(100), several(nobody(), nobody()), answers, limits=BudgetLimits(concurrency=4))
    assert sent.stopped is not None and sent.stopped.reason == "failing" and sent.answered == 0
    assert run(asks(100), several(server), answers).answered == 100


def test_each_server_has_its_own_limits(server: BillingServer, answers: Answers) -> None:
    with BillingServer(lambda received: answer(delay_s=0.01)) as other:
        server.script = lambda received: answer(delay_s=0.01)
        both = (ServerSpec(url=server.url, max_concurrency=2), ServerSpec(url=other.url))
        mixed = Endpoint("test", server.url, SecretStr(SENTINEL), prices={"m": PRICE}, servers=both, max_concurrency=5)
        run(asks(200), mixed, answers, limits=BudgetLimits(concurrency=64))
        assert server.bill.most_under_way == 2 and other.bill.most_under_way == 5


def test_a_budget_is_one_for_all_servers(answers: Answers, server: BillingServer) -> None:
    with BillingServer(lambda received: hang()) as other:
        server.script = lambda received: reset()
        cap = 7 * ceiling_usd(ask(0))
        servers = several(server, other, timeout_s=0.3)
        sent = run(asks(50), servers, answers, limits=BudgetLimits(max_usd=cap, concurrency=4))
        assert sent.stopped is not None and sent.stopped.reason in ("max_usd", "failing")
        bill = [server.bill, other.bill]
        assert sum(b.input_tokens * 1.0 + b.output_tokens * 2.0 for b in bill) / 1e6 <= sent.spent.usd <= cap


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{servers: ['http://a/v1', {url: 'http://b/v1', rpm: 5}], rpm: 9}", None),
        ("{servers: []}", "at least 1 item"),
        ("{servers: ['nowhere']}", "servers.0: is not a URL"),
        ("{servers: ['http://a/v1'], url: 'http://b/v1'}", "has both `url` and `servers`"),
        ("{rpm: 5}", "has no `url`"),
        ("{servers: [{url: 'http://a/v1', key: x}]}", "extra inputs are not permitted"),
        ("{servers: ['http://me:secret-0123456@a/v1']}", "more than an address"),
    ],
)
def test_servers_are_a_list_of_urls_or_of_urls_with_limits(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"endpoints: {{cluster: {text}}}")
    environ = {"VLDATA_CONFIG": str(path)}
    if message is None:
        each = find_endpoint("cluster", environ=environ).each
        assert [(one.url, one.rpm) for one in each] == [("http://a/v1", 9), ("http://b/v1", 5)]
        return
    with pytest.raises(EndpointError, match=message) as caught:
        find_endpoint("cluster", environ=environ)
    assert "secret" not in str(caught.value)


def test_servers_take_the_place_of_a_known_url(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("endpoints: {openai: {servers: ['http://127.0.0.1:1/v1']}}")
    assert find_endpoint("openai", environ={"VLDATA_CONFIG": str(path)}).url == "http://127.0.0.1:1/v1"


def test_odd_replies_are_read_and_paid_once(server: BillingServer, answers: Answers) -> None:
    whole = {"choices": [{"message": {"content": "A \ud83d cup."}, "finish_reason": None}]}
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    delta = {"choices": [{"index": 0, "delta": {"content": "A cup."}, "finish_reason": "eos"}], "usage": usage}
    headers = {"Content-Type": "text/event-stream"}
    server.queue(
        Act(body=b"\xef\xbb\xbf" + json.dumps({**whole, "usage": usage}).encode()),
        Act(body=f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n".encode(), headers=headers),
    )
    sent = run(asks(2), endpoint(server), answers, limits=BudgetLimits(concurrency=1))
    assert sent.answered == 2 == server.bill.requests and sent.spent.in_doubt_pico == 0
    kept = [answers.get(ask(n).key) for n in range(2)]
    texts = [one.reply["choices"][0]["message"]["content"] for one in kept if one is not None]
    assert texts == ["A \ufffd cup.", "A cup."]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_several_servers_do_every_row_ends_and_no_bill_passes_what_is_booked(
    answers: Answers, tmp_path: Path, seed: int
) -> None:
    faults = (
        *FAULTS,
        FORBIDDEN,
        failure(400, None, "odd"),
        Act(body=b"data: {}"),
        failure(504, is_billed=True),
        hang(),
    )
    with (
        BillingServer(faulty(0.3, seed, faults)) as one,
        BillingServer(faulty(0.1, seed + 100, faults)) as other,
        BillingServer(lambda received: failure(503)) as dead,
    ):
        servers = several(one, other, dead, timeout_s=0.5)
        limits = BudgetLimits(max_usd=1.0, concurrency=16)
        sent = run(asks(150), servers, answers, limits=limits, ledger=tmp_path / "ledger")
        bills = [server.bill for server in (one, other, dead)]
    assert sent.stopped is None
    assert sent.answered + len(sent.failed) == 150 and sent.answered == len(answers) >= 120
    assert sum(b.input_tokens + 2.0 * b.output_tokens for b in bills) / 1e6 <= sent.total.usd <= 1.0
    assert sum(bill.requests for bill in bills) == sent.total.requests
    assert sent.total == read_ledger(tmp_path / "ledger")
    assert {failed.key for failed in answers.failures()} == sent.failed.keys()


SHARED = (
    {"role": "system", "content": "Look."},
    {"role": "user", "content": "A"},
    {"role": "assistant", "content": "B"},
)


@pytest.mark.parametrize("hint", [None, "prompt_cache_key"])
def test_a_provider_is_told_what_prompts_share_and_the_key_of_an_answer_is_not(
    server: BillingServer, answers: Answers, hint: Any
) -> None:
    requests = [Request("test", "m", (*SHARED, *ask(n).messages), {"max_tokens": 50}) for n in range(3)]
    run([*requests, ask(9)], endpoint(server, cache_hint=hint), answers)
    assert all(request.key in answers for request in requests)
    bodies = [received.body for received in server.received if len(received.body["messages"]) > 1]
    assert all(body["messages"][:3] == list(SHARED) for body in bodies)
    assert len({body.get("prompt_cache_key") for body in bodies}) == 1
    assert ("prompt_cache_key" in bodies[0]) == (hint == "prompt_cache_key")
