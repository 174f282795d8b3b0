"""Batches: as files, and against a server that fails on command, and bills; with a kill at every step."""

from __future__ import annotations

import itertools
import json
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.llm.batch_api_servers import SERVERS
from tests.llm.batch_server import BatchServer, Fate, Refusal
from vldata.errors import StoreError, VldataError
from vldata.llm.answers import Answers, open_answers
from vldata.llm.batch import book as batch_book
from vldata.llm.batch import collect as batch_collect
from vldata.llm.batch import submit as batch_submit
from vldata.llm.batch.api import BatchApi
from vldata.llm.batch.book import open_book
from vldata.llm.batch.collect import BatchResults, collect, poll
from vldata.llm.batch.files import export, import_, most_of
from vldata.llm.batch.lines import BatchLimits
from vldata.llm.batch.results import APIS
from vldata.llm.batch.submit import SubmitResult, submit
from vldata.llm.budget import Budget, BudgetLimits, Spending, read_ledger
from vldata.llm.endpoint import Endpoint, EndpointError
from vldata.llm.prices import Price, to_pico, usage_of
from vldata.llm.request import Request, image_part
from vldata.llm.send import send

SENTINEL = "sk-sentinel/0123456789abcdef"
PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0, batch_factor=0.5)
CONTEXT = ssl.create_default_context()
STEP_S = 100.0
"""Longer than it takes until a batch that is not listed was never made."""


@pytest.fixture(params=SERVERS, ids=lambda server: server.batch_api)
def server(request: pytest.FixtureRequest) -> Iterator[BatchServer]:
    with request.param() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def answers(folder: Path) -> Iterator[Answers]:
    with open_answers(folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits of ours; no certificates, which a client reads for 60 ms; no flushes, as a kill is no power cut."""
    monkeypatch.setattr("vldata.llm.pace.BACKOFF_S", 0.001)
    monkeypatch.setattr("ssl.create_default_context", lambda *args, **options: CONTEXT)
    monkeypatch.setattr("os.fsync", lambda handle: None)


def endpoint(server: BatchServer, **more: Any) -> Endpoint:
    options = {"prices": {"m": PRICE}, "batch_api": server.batch_api, **more}
    return Endpoint("test", server.url, SecretStr(SENTINEL), "TEST_KEY", **options)


def ask(number: int, model: str = "m", **more: Any) -> Request:
    message = {"role": "user", "content": f"Describe image {number}."}
    return Request("test", model, (message,), {"max_tokens": 50}, **more)


def asks(number: int) -> list[Request]:
    return [ask(n) for n in range(number)]


def no_images(part: Mapping[str, Any]) -> bytes:
    raise VldataError("image", "is not there", "put it there")


def later() -> Callable[[], float]:
    """A clock that is a while later whenever it is looked at."""
    looks = itertools.count(1)
    return lambda: time.time() + STEP_S * next(looks)


def ledger(answers: Answers) -> Path:
    return answers.folder / "budgets" / "r.s.jsonl"


def go(requests: list[Request], server: BatchServer, answers: Answers, **more: Any) -> SubmitResult:
    options = {"read_image": no_images, "endpoint": endpoint(server), "ledger": ledger(answers), **more}
    return submit(requests, answers=answers, **options)


def come(server: BatchServer, answers: Answers, **more: Any) -> BatchResults:
    return collect(answers=answers, **{"endpoint": endpoint(server), **more})


def cost_of(answers: Answers, requests: list[Request]) -> int:
    kept = [answers.get(request) for request in requests]
    usages = [usage_of(answer.reply) for answer in kept if answer is not None]
    return sum(to_pico(PRICE.cost_usd(usage, is_batch=True) or 0) for usage in usages if usage is not None)


def test_a_batch_goes_out_and_its_answers_come_back_once_it_has_ended(server: BatchServer, answers: Answers) -> None:
    server.batch_script = lambda number: Fate(polls=2, is_reversed=True)
    sent = go(asks(7), server, answers, batch_limits=BatchLimits(3))
    assert (sent.batches, sent.requests, sent.stopped) == (3, 7, None)
    assert [state.status for state in poll(endpoint=endpoint(server), answers=answers.folder)] == ["in_progress"] * 3
    first = come(server, answers)
    assert (first.answered, len(first.open)) == (0, 3)
    second = come(server, answers)
    assert (second.answered, second.ended, second.open) == (7, {"completed": 3}, ())
    for request in asks(7):  # the results came in another order than the requests went
        kept = answers.get(request)
        assert kept is not None and kept.channel == "batch"
        assert server.batch_bill[request.key] == 1
        usage = usage_of(kept.reply)
        assert usage is not None and kept.cost_usd == PRICE.cost_usd(usage, is_batch=True)
    assert read_ledger(ledger(answers)) == Spending(
        pico=cost_of(answers, asks(7)), tokens=second.spent.tokens, requests=7
    )
    assert go(asks(7), server, answers).hits == 7 and len(server.batches) == 3


def test_what_is_under_way_is_not_put_into_another_batch(server: BatchServer, answers: Answers) -> None:
    server.batch_script = lambda number: Fate(polls=100)
    go(asks(4), server, answers)
    again = go([*asks(6), ask(5)], server, answers)
    assert (again.under_way, again.requests) == (5, 2)
    assert set(batch_book.under_way(answers.folder)) == {request.key for request in asks(6)}


def test_each_model_has_its_own_batch(server: BatchServer, answers: Answers) -> None:
    mixed = [ask(n, model="m" if n % 2 else "other") for n in range(6)]
    assert go(mixed, server, answers).batches == 2
    models = [{line["body"]["model"] for line in batch.lines} for batch in server.batches.values()]
    assert sorted(map(sorted, models)) == [["m"], ["other"]]


def test_no_more_than_max_open_batches_are_open_at_once(server: BatchServer, answers: Answers) -> None:
    first = go(asks(7), server, answers, batch_limits=BatchLimits(2, max_open=2))
    assert (first.batches, first.requests, first.unsent) == (2, 4, 3)
    come(server, answers)
    second = go(asks(7), server, answers, batch_limits=BatchLimits(2, max_open=2))
    assert (second.batches, second.requests, second.hits) == (2, 3, 4)


def test_failed_lines_are_kept_as_failures_and_never_as_answers(server: BatchServer, answers: Answers) -> None:
    fates = {ask(1).key: (400, "content_policy_violation"), ask(2).key: (429, "rate_limit_exceeded")}
    server.batch_script = lambda number: Fate(failing=fates.get)
    go(asks(4), server, answers)
    got = come(server, answers)
    assert (got.answered, got.failed, got.pending) == (2, {server.policy: 1, "rate_limited": 1}, 0)
    assert ask(1).key not in answers and ask(2).key not in answers
    failure = answers.failure(ask(1).key)
    assert failure is not None and [attempt.error for attempt in failure.attempts] == [server.policy]
    again = go(asks(4), server, answers)  # what of it is requested again is for the caller to say
    assert (again.hits, again.requests) == (2, 2)


def test_a_batch_of_which_all_lines_failed_has_no_output_file(server: BatchServer, answers: Answers) -> None:
    server.batch_script = lambda number: Fate(failing=lambda key: (500, "server_error"))
    go(asks(3), server, answers)
    got = come(server, answers)
    assert (next(iter(server.batches.values())).output is None) == server.has_error_file
    assert (got.answered, got.failed, got.ended) == (0, {"server_error": 3}, {"completed": 1})


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_what_a_batch_had_answered_before_it_was_ended_is_kept(
    server: BatchServer, answers: Answers, status: str
) -> None:
    server.batch_script = lambda number: Fate(status=status, done=2) if number == 1 else Fate()
    go(asks(5), server, answers)
    got = come(server, answers)
    assert (got.answered, got.pending, got.failed, got.ended) == (2, 3, {}, {status: 1})
    assert list(answers.failures()) == []
    assert read_ledger(ledger(answers)).pico == cost_of(answers, asks(5))  # what was not done costs nothing
    again = go(asks(5), server, answers)
    assert (again.hits, again.requests) == (2, 3)
    assert come(server, answers).answered == 3
    assert set(server.batch_bill.values()) == {1}


def test_a_batch_that_is_refused_as_a_whole_says_why_and_costs_nothing(server: BatchServer, answers: Answers) -> None:
    if server.batch_api == "anthropic":
        pytest.skip("refuses the creation instead")
    errors = ({"code": "token_limit_exceeded", "message": f"Enqueued token limit reached. {SENTINEL}", "line": None},)
    server.batch_script = lambda number: Fate(status="failed", errors=errors)
    go(asks(3), server, answers)
    got = come(server, answers)
    assert (got.ended, got.pending, got.answered) == ({"failed": 1}, 3, 0)
    assert "token_limit_exceeded" in got.problems[0] and SENTINEL not in got.problems[0]
    assert read_ledger(ledger(answers)).pico == 0


def test_what_a_batch_did_not_finish_is_finished_online_and_the_reverse(server: BatchServer, answers: Answers) -> None:
    server.batch_script = lambda number: Fate(status="expired", done=2)
    go(asks(4), server, answers)
    come(server, answers)
    online = send(asks(4), endpoint=endpoint(server), answers=answers, read_image=no_images)
    assert (online.hits, online.answered) == (2, 2)
    assert go(asks(4), server, answers).hits == 4
    assert {answer.channel for answer in answers} == {"batch", "online"}


def test_a_second_answer_is_kept_as_a_spare_and_paid_for(server: BatchServer, answers: Answers) -> None:
    go(asks(2), server, answers)
    send(asks(1), endpoint=endpoint(server), answers=answers, read_image=no_images)
    before = answers.spent()[0]
    got = come(server, answers)
    kept = answers.get(ask(0))
    assert (got.answered, got.already) == (1, 1)
    assert kept is not None and kept.channel == "online"
    assert answers.spent()[0] > before
    assert read_ledger(ledger(answers)).pico == got.spent.pico > 0


def test_the_budget_is_charged_before_and_settled_after(server: BatchServer, answers: Answers) -> None:
    most = sum((most_of(request, PRICE) for request in asks(4)), Spending())
    limits = BudgetLimits(max_usd=most.usd)
    sent = go(asks(6), server, answers, limits=limits)
    assert (sent.requests, sent.unsent) == (4, 2)
    assert sent.stopped is not None and sent.stopped.reason == "max_usd"
    charged = read_ledger(ledger(answers))
    assert charged == most and charged.in_doubt_pico == charged.pico
    assert go(asks(6), server, answers, limits=limits).requests == 0
    come(server, answers)
    after = read_ledger(ledger(answers))
    assert (after.pico, after.in_doubt_pico, after.requests) == (cost_of(answers, asks(4)), 0, 4)
    assert go(asks(6), server, answers, limits=limits).requests == 2


def test_an_answer_without_usage_stays_charged_in_full(server: BatchServer, answers: Answers) -> None:
    server.batch_script = lambda number: Fate(with_usage=False)
    go(asks(2), server, answers)
    come(server, answers)
    spent = read_ledger(ledger(answers))
    assert spent.pico == spent.in_doubt_pico == 2 * most_of(ask(0), PRICE).pico


def test_a_limit_in_dollars_needs_the_factor_of_batches(server: BatchServer, answers: Answers) -> None:
    unknown = endpoint(server, prices={"m": Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)})
    sent = go(asks(1), server, answers, endpoint=unknown, limits=BudgetLimits(max_usd=5))
    assert sent.stopped is not None and sent.stopped.reason == "no_price" and "batch_factor" in str(sent.stopped.error)
    endless = Request("test", "m", ({"role": "user", "content": "Tell all."},))
    sent = go([endless], server, answers, limits=BudgetLimits(max_usd=5))
    assert sent.stopped is not None and sent.stopped.reason == "no_maximum"
    assert not server.batches


def test_a_request_that_cannot_be_built_is_reported_and_the_others_are_sent(
    server: BatchServer, answers: Answers
) -> None:
    shown = Request("test", "m", ({"role": "user", "content": [image_part("0" * 32)]},), {"max_tokens": 5})
    long = Request("test", "m", ({"role": "user", "content": "long " * 1000},), {"max_tokens": 5})
    sent = go([shown, long, ask(0)], server, answers, batch_limits=BatchLimits(max_bytes=2000))
    assert sent.left_out == {shown.key: "image_unreadable", long.key: "larger_than_file"}
    assert sent.requests == 1


def test_an_endpoint_without_a_batch_api_is_reported_and_nothing_is_charged(
    server: BatchServer, answers: Answers
) -> None:
    server.refuse[server.first_step].append(Refusal(404))
    sent = go(asks(2), server, answers)
    assert sent.stopped is not None and "vldata synth run" in sent.stopped.error.fix
    assert read_ledger(ledger(answers)) == Spending()
    assert not open_book(answers.folder, read_only=True).open_parts


def test_a_batch_that_was_created_although_the_connection_broke_is_found_again(
    server: BatchServer, answers: Answers
) -> None:
    server.refuse["create"].append(Refusal(0, after=True))
    sent = go(asks(3), server, answers)
    assert sent.stopped is not None and sent.unsent == 3
    for _ in range(4):  # others are made after it, so it is not on the first page
        server.batches[f"batch_{len(server.batches) + 1}"] = replace(
            server.batches["batch_1"], body=server.batches["batch_1"].body | {"metadata": None}, number=99
        )
    again = go(asks(3), server, answers)
    assert (again.under_way, again.batches) == (3, 0)
    assert come(server, answers).answered == 3


def test_a_batch_that_was_not_created_is_given_up_only_after_a_while(server: BatchServer, answers: Answers) -> None:
    server.refuse["create"].append(Refusal(0))
    go(asks(3), server, answers)
    assert go(asks(3), server, answers).under_way == 3
    again = go(asks(3), server, answers, now=later())
    assert (again.requests, len(server.batches)) == (3, 1)


def test_rate_limits_and_broken_downloads_are_waited_out(server: BatchServer, answers: Answers) -> None:
    server.refuse["upload"].append(Refusal(429, headers={"retry-after-ms": "5"}))
    server.refuse["content"].extend([Refusal(503), Refusal(0)])
    assert go(asks(3), server, answers).batches == 1
    assert come(server, answers).answered == 3


def test_a_key_that_is_not_accepted_leaves_everything_as_it_is(server: BatchServer, answers: Answers) -> None:
    go(asks(3), server, answers)
    server.refuse["content"].append(Refusal(401))
    got = come(server, answers)
    assert got.stopped is not None and got.stopped.reason == "unauthorized" and len(got.open) == 1
    assert come(server, answers).answered == 3


def test_a_batch_that_is_not_known_any_more_stays_until_it_is_forgotten(server: BatchServer, answers: Answers) -> None:
    go(asks(3), server, answers)
    server.batches.clear()
    assert [state.status for state in come(server, answers).open] == ["not_found"]
    assert come(server, answers, forget=True).ended == {"not_found": 1}
    spent = read_ledger(ledger(answers))
    assert spent.pico == spent.in_doubt_pico > 0  # it may have been billed
    assert go(asks(3), server, answers).requests == 3


def test_at_another_url_batches_are_left_alone(server: BatchServer, answers: Answers) -> None:
    go(asks(3), server, answers)
    with type(server)() as other:
        assert [state.status for state in come(other, answers, forget=True).open] == ["elsewhere"]
    assert come(server, answers).answered == 3


def test_a_results_file_that_is_gone_stays_charged_in_full(server: BatchServer, answers: Answers) -> None:
    go(asks(3), server, answers)
    poll(endpoint=endpoint(server), answers=answers.folder)
    server.files.clear()
    got = come(server, answers)
    assert (got.answered, got.pending) == (0, 3) and "gone" in got.problems[0]
    assert read_ledger(ledger(answers)) == sum((most_of(r, PRICE) for r in asks(3)), Spending())


def test_a_results_file_that_is_cut_off_is_reported_with_its_place(server: BatchServer, answers: Answers) -> None:
    server.batch_script = lambda number: Fate(spoil=lambda data: data[:-20])
    go(asks(3), server, answers)
    got = come(server, answers)
    assert (got.answered, got.pending) == (2, 1)
    assert got.unreadable[0].endswith("output:3: torn")
    lost = most_of(ask(0), PRICE).pico
    assert read_ledger(ledger(answers)).pico == cost_of(answers, asks(3)) + lost


def test_the_key_is_in_no_file(server: BatchServer, answers: Answers) -> None:
    server.batch_script = lambda number: Fate(text=f"Your key is {SENTINEL}.")
    go(asks(2), server, answers)
    come(server, answers)
    assert SENTINEL in " ".join(server.batch_headers[0].values())
    kept = b"".join(path.read_bytes() for path in answers.folder.rglob("*") if path.is_file())
    assert SENTINEL.encode() not in kept and json.dumps(SENTINEL).encode() not in kept
    assert b"Your key is" in kept


def test_without_anything_to_ask_no_key_is_needed(server: BatchServer, answers: Answers) -> None:
    keyless = Endpoint("test", server.url, None, "TEST_KEY", batch_api=server.batch_api)
    assert come(server, answers, endpoint=keyless).open == ()
    with pytest.raises(EndpointError, match="TEST_KEY"):
        go(asks(1), server, answers, endpoint=keyless)


class Killed(BaseException):
    """As good as a kill: nothing of ours catches it."""


STEPS: tuple[tuple[Any, str], ...] = (
    (batch_book.Book, "_note"),
    (Budget, "change"),
    (batch_submit, "keep_requests"),
    (batch_collect, "import_"),
    (Answers, "put"),
    (Answers, "fail"),
)


def killed_at(number: int, patch: pytest.MonkeyPatch, api: type[BatchApi]) -> Callable[[], int]:
    """Kill before or after one of the steps, whichever is the ``number``-th; tells how many there were."""
    passed = 0

    def step() -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            raise Killed

    def around(inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any, **options: Any) -> Any:
            step()
            result = inner(*args, **options)
            step()
            return result

        return outer

    for owner, name in (*STEPS, (api, "upload"), (api, "create"), (api, "download")):
        patch.setattr(owner, name, around(getattr(owner, name)))
    return lambda: passed


def whole(server: BatchServer, folder: Path, now: Callable[[], float]) -> None:
    """What the command does: collect and submit until nothing is open or pending, except what failed for good."""
    for _ in range(6):
        with open_answers(folder) as answers:
            come(server, answers, now=now)
            given_up = {failure.key for failure in answers.failures()}
            wanted = [request for request in asks(5) if request.key not in given_up]
            sent = go(wanted, server, answers, batch_limits=BatchLimits(3), limits=BudgetLimits(max_usd=1.0), now=now)
            if sent.hits == len(wanted):
                return
    raise AssertionError("it does not end")


@pytest.mark.parametrize("block", range(6))
def test_a_kill_at_any_step_loses_no_answer_and_pays_nothing_twice(
    server: BatchServer, tmp_path: Path, block: int
) -> None:
    failing = {ask(1).key: (400, "content_policy_violation")}.get
    number, total = block + 1, 10**9
    while number <= total:
        folder, now, offset = tmp_path / str(number), later(), len(server.batches)
        server.batch_bill.clear()

        def fate(batch: int, offset: int = offset) -> Fate:
            return Fate(status="expired", done=2, failing=failing) if batch == offset + 1 else Fate(failing=failing)

        server.batch_script = fate
        with pytest.MonkeyPatch.context() as patch:
            count = killed_at(number, patch, APIS[server.batch_api])
            try:
                whole(server, folder, now)
                total = count()
            except Killed:
                pass
        whole(server, folder, now)
        with open_answers(folder) as answers:
            assert {answer.key for answer in answers} == {ask(n).key for n in (0, 2, 3, 4)}
            failure = answers.failure(ask(1).key)
            assert failure is not None and len(failure.attempts) == 1
            assert server.batch_bill == {ask(n).key: 1 for n in (0, 2, 3, 4)}
            assert not open_book(folder, read_only=True).open_parts
            spent = read_ledger(ledger(answers))
            assert (spent.pico, spent.in_doubt_pico) == (cost_of(answers, asks(5)), 0)
            assert sorted(path.name for path in (folder / "batches").iterdir()) == ["book.jsonl"]
        number += 6
    assert total > 40


def test_a_charge_that_cannot_be_distinguished_from_others_stays(answers: Answers, server: BatchServer) -> None:
    """A kill between the announcement and its note, and spending by another run before the next look."""
    with pytest.MonkeyPatch.context() as patch:

        def change(budget: Budget, by: Spending) -> None:
            original(budget, by)
            raise Killed

        original = Budget.change
        patch.setattr(Budget, "change", change)
        with pytest.raises(Killed):
            go(asks(3), server, answers)
    charged = read_ledger(ledger(answers))
    online = send(asks(1), endpoint=endpoint(server), answers=answers, read_image=no_images, ledger=ledger(answers))
    come(server, answers)
    assert read_ledger(ledger(answers)) == charged + online.spent


def test_a_damaged_book_is_reported_and_a_torn_line_is_not_damage(server: BatchServer, answers: Answers) -> None:
    go(asks(1), server, answers)
    book = answers.folder / "batches" / "book.jsonl"
    whole_book = book.read_bytes()
    book.write_bytes(whole_book + b'{"id": "x", "endp')
    assert come(server, answers).answered == 1
    book.write_bytes(b"not JSON\n" + whole_book)
    with pytest.raises(StoreError, match=r"book\.jsonl:1"):
        come(server, answers)


def output_of(files: list[Path], fail: Callable[[str], bool] = lambda key: False) -> tuple[bytes, bytes]:
    """What a provider makes of exported files: an output file and an error file, in another order."""
    lines = [json.loads(line) for path in files for line in path.read_bytes().splitlines()]
    random.Random(1).shuffle(lines)
    output, errors = b"", b""
    for place, line in enumerate(lines):
        assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
        text = line["body"]["messages"][0]["content"]
        row: dict[str, Any] = {"id": f"batch_req_{place}", "custom_id": line["custom_id"], "error": None}
        if fail(line["custom_id"]):
            body: dict[str, Any] = {"error": {"message": "No.", "code": "content_policy_violation"}}
            errors += json.dumps(row | {"response": {"status_code": 400, "body": body}}).encode() + b"\n"
        else:
            body = {
                "object": "chat.completion",
                "choices": [{"message": {"role": "assistant", "content": f"To {text}"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
            output += json.dumps(row | {"response": {"status_code": 200, "body": body}}).encode() + b"\n"
    return output, errors


def test_files_go_out_and_come_back_and_a_failed_line_shifts_no_answer(tmp_path: Path, answers: Answers) -> None:
    exported = export([*asks(10), ask(3)], tmp_path / "out", no_images, BatchLimits(4))
    assert [path.name for path in exported.files] == ["0001.jsonl", "0002.jsonl", "0003.jsonl"]
    assert (exported.num_requests, exported.duplicates, exported.left_out) == (10, 1, {})
    output, errors = output_of(list(exported.files), lambda key: key == ask(4).key)
    (tmp_path / "good").write_bytes(output)
    (tmp_path / "bad").write_bytes(errors)
    requests = {request.key: request for request in asks(10)}
    files = [tmp_path / "bad", tmp_path / "good"]
    imported = import_(files, answers, requests, prices={"m": PRICE})
    assert (imported.answered, dict(imported.failed)) == (9, {"policy": 1})
    for number in {*range(10)} - {4}:
        kept = answers.get(ask(number))
        assert kept is not None and kept.channel == "batch"
        assert kept.reply["choices"][0]["message"]["content"] == f"To Describe image {number}."
    assert ask(4).key not in answers
    spent = answers.spent()
    again = import_(files, answers, requests, prices={"m": PRICE})
    assert (again.answered, again.already, again.failed.total(), again.spent) == (0, 10, 0, Spending())
    assert answers.spent() == spent
    failure = answers.failure(ask(4).key)
    assert failure is not None and len(failure.attempts) == 1


def test_unknown_torn_and_repeated_lines_are_reported_and_are_no_answers(tmp_path: Path, answers: Answers) -> None:
    exported = export(asks(4), tmp_path / "out", no_images)
    output, _ = output_of(list(exported.files))
    first, *_, last = output.splitlines(keepends=True)
    spoiled = first.replace(b"To Describe", b"Twice: Describe").replace(b"batch_req_0", b"batch_req_9")
    data = output[: -len(last)] + spoiled + b"\n{}\nnot JSON\n" + last[:-30]
    (tmp_path / "good").write_bytes(data)
    requests = {request.key: request for request in asks(4)}
    hidden = json.loads(output.splitlines()[1])["custom_id"]
    del requests[hidden]
    imported = import_([tmp_path / "good"], answers, requests)
    assert (imported.answered, imported.unknown, imported.duplicates) == (2, [hidden], 1)
    problems = [(line.number, line.problem) for _, line in imported.unreadable]
    assert problems == [(6, "no_custom_id"), (7, "not_json"), (8, "torn")]
    assert all("Twice" not in str(answer.reply) for answer in answers)


def test_files_are_split_by_bytes_too(tmp_path: Path) -> None:
    exported = export(asks(20), tmp_path / "out", no_images, BatchLimits(max_bytes=1000))
    sizes = [path.stat().st_size for path in exported.files]
    assert len(sizes) > 2 and all(500 < size <= 1000 for size in sizes[:-1])
    assert sum(len(path.read_bytes().splitlines()) for path in exported.files) == 20


def test_an_export_is_not_mixed_with_another(tmp_path: Path) -> None:
    export(asks(1), tmp_path / "out", no_images)
    with pytest.raises(StoreError, match="not empty"):
        export(asks(2), tmp_path / "out", no_images)


def test_a_reply_that_is_no_completion_is_a_failure(tmp_path: Path, answers: Answers) -> None:
    row = {
        "id": "b1",
        "custom_id": ask(0).key,
        "response": {"status_code": 200, "body": {"choices": []}},
        "error": None,
    }
    none = {"id": "b2", "custom_id": ask(1).key, "response": None, "error": {"code": "server_error", "message": "Oh."}}
    odd = {"id": "b3", "custom_id": ask(2).key, "response": "text", "error": None}
    (tmp_path / "o").write_text("".join(json.dumps(line) + "\n" for line in (row, none, odd)))
    imported = import_([tmp_path / "o"], answers, {request.key: request for request in asks(3)})
    assert dict(imported.failed) == {"not_a_completion": 2, "server_error": 1} and len(answers) == 0


def test_a_settlement_that_a_kill_interrupted_is_made_before_others_are(server: BatchServer, answers: Answers) -> None:
    """The first batch ends after the second, whose settlement was announced and not made."""
    server.batch_script = lambda number: Fate(polls=3 if number == 1 else 0)
    go(asks(4), server, answers, batch_limits=BatchLimits(2))
    with pytest.MonkeyPatch.context() as patch:

        def change(budget: Budget, by: Spending) -> None:
            raise Killed

        patch.setattr(Budget, "change", change)
        with pytest.raises(Killed):
            come(server, answers)
    for batch in server.batches.values():
        batch.polled = batch.fate.polls
    come(server, answers)
    spent = read_ledger(ledger(answers))
    assert (spent.pico, spent.in_doubt_pico) == (cost_of(answers, asks(4)), 0)
