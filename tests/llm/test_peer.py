"""A real server, llama.cpp's, over a tiny model of random weights: what it says is noise, and what it obeys is real."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

pytest.importorskip("xllamacpp", reason="the real server is the xllamacpp wheel: pip install xllamacpp")
pytest.importorskip("gguf", reason="its model is written with the gguf package: pip install gguf")

from tests.llm.peer import CONTEXT_TOKENS, write_model
from vldata.llm.answers import Answers, open_answers
from vldata.llm.budget import BudgetLimits
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import SendResult
from vldata.llm.prices import Price, size_of, usage_of
from vldata.llm.request import Request
from vldata.llm.send import send
from vldata.synth.inputs import Inputs, Region
from vldata.synth.kinds import load_kind
from vldata.synth.validate import text_of

PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
WORDS = {"type": "string", "pattern": "^[a-zA-Z ]{1,12}$"}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["question", "choice"],
    "properties": {"question": WORDS, "choice": {"type": "integer", "minimum": 0, "maximum": 9}},
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}}
SEEDS = range(8)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("peer")
    write_model(folder / "tiny.gguf")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.llm.peer", str(folder / "tiny.gguf")],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert server.stdin is not None and server.stdout is not None
    try:
        line = server.stdout.readline().strip()
        assert line.startswith("http://127.0.0.1:"), (folder / "log").read_text()[-2000:]
        yield line
    finally:
        server.stdin.close()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "answers") as opened:
        yield opened


def ask(text: str = "Hi there", **more: Any) -> Request:
    parameters = {"max_tokens": 120, "temperature": 1.0, **more.pop("parameters", {})}
    return Request("peer", "tiny", ({"role": "user", "content": text},), parameters, **more)


def no_images(part: Mapping[str, Any]) -> bytes:
    raise AssertionError("there are no images in this test")


def run(requests: list[Request], url: str, answers: Answers, **more: Any) -> SendResult:
    endpoint = Endpoint("peer", url, SecretStr("none"), prices={"tiny": PRICE}, timeout_s=30.0)
    limits = BudgetLimits(max_usd=1.0, concurrency=4)
    options = {"read_image": no_images, "rng": random.Random(0), "limits": limits, **more}
    return send(requests, endpoint=endpoint, answers=answers, **options)


def reply_to(request: Request, answers: Answers) -> Mapping[str, Any]:
    line = answers.get(request)
    assert line is not None
    return line.reply


def test_a_json_schema_is_obeyed(url: str, answers: Answers) -> None:
    requests = [ask(response_format=FORMAT, parameters={"seed": seed}) for seed in SEEDS]
    sent = run(requests, url, answers)
    assert (sent.answered, sent.failed, sent.ignored_format, sent.stopped) == (len(SEEDS), {}, 0, None)
    whole = [reply for reply in (reply_to(request, answers) for request in requests) if _ended(reply) == "stop"]
    assert len(whole) >= len(SEEDS) // 2  # the others were cut off while they wrote white space
    for reply in whole:
        said = json.loads(text_of(reply))
        assert said.keys() == {"question", "choice"}
        assert 1 <= len(said["question"]) <= 12 and 0 <= said["choice"] <= 9


def test_usage_is_read_and_stays_below_what_was_reserved(url: str, answers: Answers) -> None:
    requests = ask(parameters={"max_tokens": 16})
    sent = run([requests], url, answers)
    usage = usage_of(reply_to(requests, answers))
    assert usage is not None and 0 < usage.output_tokens <= 16
    assert usage.input_tokens == len("Hi there") + 2  # a token a byte, and one for each mark
    assert usage.tokens <= (size_of(requests).ceiling or 0)
    assert sent.spent.tokens == usage.tokens
    assert sent.spent.in_doubt_pico == 0 and sent.spent.usd == pytest.approx(PRICE.cost_usd(usage))


def test_a_request_longer_than_the_context_fails_its_row_and_not_the_run(url: str, answers: Answers) -> None:
    long = ask("x" * (2 * CONTEXT_TOKENS))
    short = [ask(f"Number {number}", parameters={"max_tokens": 8}) for number in range(3)]
    sent = run([short[0], long, *short[1:]], url, answers)
    assert (sent.answered, sent.failed, sent.stopped) == (3, {long.key: "too_long"}, None)
    failure = answers.failure(long.key)
    assert failure is not None
    assert [(attempt.status, attempt.cost_usd) for attempt in failure.attempts] == [(400, 0.0)]


def test_a_reply_that_is_cut_off_is_found_by_the_checks(url: str, answers: Answers) -> None:
    kind = load_kind("screen.qa", where="test")
    inputs = Inputs(row="1", boxes=(Region("button", 0.1, 0.1, 0.4, 0.2),))
    requests = ask("A button.", response_format=FORMAT, parameters={"max_tokens": 3, "seed": 1})
    assert run([requests], url, answers).answered == 1
    reply = reply_to(requests, answers)
    assert _ended(reply) == "length"
    exchanges, findings = kind.examine(reply, inputs)
    assert not list(exchanges)
    decision = kind.decide(exchanges, findings, may_reask=False)
    assert not decision.kept
    assert "reply_truncated" in {finding.reason for finding in findings}


def test_one_seed_says_one_thing_and_another_another(url: str, tmp_path: Path) -> None:
    said = []
    for number in range(2):  # two stores, so that both are sent
        with open_answers(tmp_path / str(number)) as answers:
            requests = [ask(parameters={"seed": seed, "max_tokens": 24}) for seed in (1, 2)]
            assert run(requests, url, answers).answered == 2
            said.append([text_of(reply_to(request, answers)) for request in requests])
    assert said[0] == said[1]
    assert said[0][0] != said[0][1]


def test_a_kept_answer_is_there_without_the_server(url: str, answers: Answers) -> None:
    requests = [ask(parameters={"seed": seed, "max_tokens": 8}) for seed in SEEDS]
    run(requests, url, answers)
    before = [reply_to(request, answers) for request in requests]
    again = run(requests, "http://127.0.0.1:9/v1", answers)  # where nothing listens
    assert (again.hits, again.answered, again.failed, again.spent.requests) == (len(SEEDS), 0, {}, 0)
    assert [reply_to(request, answers) for request in requests] == before


def _ended(reply: Mapping[str, Any]) -> Any:
    return reply["choices"][0]["finish_reason"]
