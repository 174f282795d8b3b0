"""Answers that ended by themselves stand under another limit of tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vldata.llm import index
from vldata.llm.answers import Answer, Attempt, open_answers
from vldata.llm.limits import was_cut, with_limit
from vldata.llm.request import Request


def ask(number: int = 0, limit: int | None = 300, name: str = "max_tokens", **more: Any) -> Request:
    given = {"endpoint": "openai", "model": "m", "messages": ({"role": "user", "content": f"image {number}"},)}
    return Request(**{**given, "parameters": {"temperature": 0.5, name: limit}, **more})


def answered(request: Request, finish: str | None = "stop", tokens: int | None = 100) -> Answer:
    usage = None if tokens is None else {"prompt_tokens": 9, "completion_tokens": tokens}
    reply = {"choices": [{"message": {"content": finish}, "finish_reason": finish}], "usage": usage}
    return Answer(request.key, request, reply, (Attempt(1.0, 200, cost_usd=0.0),), 0.0, None, 0.0)


@pytest.mark.parametrize("fold_rows", [1, 1 << 16])
def test_a_raised_limit_keeps_what_ended_by_itself_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold_rows: int
) -> None:
    monkeypatch.setattr(index, "_FOLD_ROWS", fold_rows)
    with open_answers(tmp_path) as answers:
        answers.put(answered(ask(0)))
        answers.put(answered(ask(1), "length", 300))
        answers.put(answered(ask(2), None))
        found = [answers.get(ask(number, 4096)) for number in range(4)]
        assert [one and one.key for one in found] == [ask(0).key, None, ask(2).key, None]
        assert found[0] is not None and found[0].request == ask(0)
        assert answers.get(ask(0, 4096).key) is None, "a key is the request's own"
        answers.put(answered(ask(1, 4096), "stop", 900))
    with open_answers(tmp_path, read_only=True) as answers:
        assert [answers.get(ask(1, limit)) is None for limit in (300, 600, 900, 8192)] == [False, True, False, False]


@pytest.mark.parametrize(
    "other",
    [
        ask(limit=4096, messages=({"role": "user", "content": "image 0"}, {"role": "user", "content": "image 0"})),
        ask(limit=4096, model="n"),
        ask(limit=4096, endpoint="mine"),
        ask(limit=4096, sample_index=1),
        ask(limit=4096, parameters={"max_tokens": 4096}),
        ask(limit=4096, response_format={"type": "json_object"}),
    ],
)
def test_whatever_else_differs_is_another_request(tmp_path: Path, other: Request) -> None:
    with open_answers(tmp_path) as answers:
        answers.put(answered(ask()))
        assert answers.get(ask(limit=4096)) is not None
        assert answers.get(other) is None


@pytest.mark.parametrize("limit", [None, 100, 4096])
def test_a_limit_under_its_other_name_or_none_is_the_same_but_for_its_height(tmp_path: Path, limit: int | None) -> None:
    with open_answers(tmp_path) as answers:
        answers.put(answered(ask()))
        assert answers.get(ask(limit=limit, name="max_completion_tokens")) is not None


def test_a_lowered_limit_keeps_what_is_known_to_be_short_enough(tmp_path: Path) -> None:
    with open_answers(tmp_path) as answers:
        answers.put(answered(ask(0), tokens=100))
        answers.put(answered(ask(1), tokens=None))
        assert answers.get(ask(0, 100)) is not None
        assert answers.get(ask(0, 99)) is None
        assert answers.get(ask(1, 299)) is None


def test_a_higher_limit_stands_under_the_name_that_the_request_uses() -> None:
    raised = with_limit(ask(name="max_completion_tokens"), 4096)
    assert raised is not None and raised.parameters == {"temperature": 0.5, "max_completion_tokens": 4096}
    assert raised == replace(ask(), parameters={"temperature": 0.5, "max_completion_tokens": 4096})
    assert with_limit(ask(limit=4096), 4096) is None
    assert with_limit(ask(limit=None), 4096) is None


@pytest.mark.parametrize(
    ("reply", "cut"),
    [
        ({"choices": [{"finish_reason": "length"}]}, True),
        ({"choices": [{"finish_reason": "MAX_TOKENS"}]}, True),
        ({"choices": [{"finish_reason": "stop"}]}, False),
        ({"choices": [{"finish_reason": None}]}, False),
        ({"choices": []}, False),
        ({"choices": "odd"}, False),
        ({}, False),
    ],
)
def test_a_reply_that_was_cut_off_says_so(reply: dict[str, Any], cut: bool) -> None:
    assert was_cut(reply) is cut
