"""What follows from what goes wrong."""

from __future__ import annotations

from email.utils import formatdate

import orjson
import pytest

from vldata.llm.faults import (
    FAULTS,
    MAX_DETAIL_CHARS,
    Billed,
    Fault,
    Scope,
    fault_of_status,
    ignores_format,
    reply_of,
    retry_after_s,
)
from vldata.llm.records import Attempt
from vldata.llm.request import Request


def body(code: str | None = None, kind: str | None = None, message: str = "no") -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "code": code}})


@pytest.mark.parametrize(
    ("status", "said", "name", "scope", "billed"),
    [
        (429, body("rate_limit_exceeded"), "rate_limited", Scope.RETRY, Billed.NO),
        (429, b"", "rate_limited", Scope.RETRY, Billed.NO),
        (429, body("insufficient_quota"), "out_of_credit", Scope.RUN, Billed.NO),
        (429, body(None, "insufficient_quota"), "out_of_credit", Scope.RUN, Billed.NO),
        (402, b"", "out_of_credit", Scope.RUN, Billed.NO),
        (408, b"", "timed_out", Scope.RETRY, Billed.PERHAPS),
        (409, b"", "overloaded", Scope.RETRY, Billed.PERHAPS),
        (500, b"<html>", "server_error", Scope.RETRY, Billed.PERHAPS),
        (502, b"", "server_error", Scope.RETRY, Billed.PERHAPS),
        (503, b"", "overloaded", Scope.RETRY, Billed.PERHAPS),
        (504, b"", "timed_out", Scope.RETRY, Billed.PERHAPS),
        (529, b"", "overloaded", Scope.RETRY, Billed.PERHAPS),
        (401, body("invalid_api_key"), "unauthorized", Scope.RUN, Billed.NO),
        (403, body(), "forbidden", Scope.RUN, Billed.NO),
        (404, body("model_not_found"), "unknown_model", Scope.RUN, Billed.NO),
        (404, b"<html>not here", "unknown_model", Scope.RUN, Billed.NO),
        (400, body("model_not_found"), "unknown_model", Scope.RUN, Billed.NO),
        (400, body("unsupported_parameter", "invalid_request_error"), "unsupported_parameter", Scope.RUN, Billed.NO),
        (400, body("content_policy_violation"), "policy", Scope.ROW, Billed.NO),
        (400, body("content_filter"), "policy", Scope.ROW, Billed.NO),
        (403, body("content_filter"), "policy", Scope.ROW, Billed.NO),
        (400, body("context_length_exceeded"), "too_long", Scope.ROW, Billed.NO),
        (400, body(None, "exceed_context_size_error"), "too_long", Scope.ROW, Billed.NO),
        (413, b"", "too_long", Scope.ROW, Billed.NO),
        (400, body(), "bad_request", Scope.ROW, Billed.NO),
        (422, b"", "bad_request", Scope.ROW, Billed.NO),
        (302, b"", "redirected", Scope.RUN, Billed.NO),
    ],
)
def test_a_status_and_what_comes_with_it_decide_what_follows(
    status: int, said: bytes, name: str, scope: Scope, billed: Billed
) -> None:
    fault = fault_of_status(status, {}, said)
    assert (fault.name, fault.scope, fault.billed) == (name, scope, billed)


def test_every_class_can_be_kept_in_the_store_and_says_what_it_is() -> None:
    for name, kind in FAULTS.items():
        assert Attempt(0.0, error=name)
        assert kind.says
        assert kind.fix or kind.scope is not Scope.RUN


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "300"}, 300.0),  # the client itself gives up beyond 120
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": formatdate(1_700_000_090, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(1_699_999_000, usegmt=True)}, 0.0),
    ],
)
def test_retry_after_is_read_in_full(headers: dict[str, str], wait: float | None) -> None:
    assert retry_after_s(headers, now=1_700_000_000) == wait


def test_a_date_is_compared_with_the_servers_own_clock() -> None:
    headers = {"retry-after": formatdate(1_000_030, usegmt=True), "date": formatdate(1_000_000, usegmt=True)}
    assert retry_after_s(headers, now=1_700_000_000) == 30.0


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (b'{"choices": [{"message": {"cont', "not_json"),
        (b"", "not_json"),
        (b"<html>", "not_json"),
        (b"{}", "not_a_completion"),
        (b'{"choices": []}', "not_a_completion"),
        (b'{"choices": [1]}', "not_a_completion"),
        (b'{"choices": [{"message": null}]}', "not_a_completion"),
        (b"[]", "not_a_completion"),
        (b'"choices"', "not_a_completion"),
    ],
)
def test_what_is_no_completion_is_a_fault_that_may_be_billed(reply: bytes, name: str) -> None:
    fault = reply_of(reply)
    assert isinstance(fault, Fault)
    assert (fault.name, fault.scope, fault.billed) == (name, Scope.RETRY, Billed.PERHAPS)


def test_a_completion_is_kept_with_everything_in_it() -> None:
    reply = {"choices": [{"message": {"content": None}}], "odd": [1, {"x": "<b>{{ y }}</b>"}]}
    assert reply_of(orjson.dumps(reply)) == reply


def test_what_a_server_says_is_one_short_line_without_control_characters() -> None:
    fault = fault_of_status(400, {}, body(message="\x1b[31mred\nand\x00 " + "x" * 1000))
    assert fault.detail.startswith("[31mred and  xxx")
    assert len(fault.detail) <= MAX_DETAIL_CHARS and fault.detail.isprintable()


def request(response_format: dict[str, str] | None) -> Request:
    return Request("e", "m", ({"role": "user", "content": "?"},), {}, response_format)


def said(text: str | None, finish_reason: str = "stop", **more: str) -> dict[str, object]:
    return {"choices": [{"message": {"content": text, **more}, "finish_reason": finish_reason}]}


@pytest.mark.parametrize(
    ("response_format", "reply", "ignored"),
    [
        ({"type": "json_object"}, said("Sure!"), True),
        ({"type": "json_schema"}, said("Sure!"), True),
        ({"type": "json_object"}, said('{"a": 1}'), False),
        ({"type": "json_object"}, said('{"a": ', "length"), False),
        ({"type": "json_object"}, said(None, refusal="no"), False),
        ({"type": "text"}, said("Sure!"), False),
        (None, said("Sure!"), False),
    ],
)
def test_a_format_that_a_server_ignores_is_noticed(
    response_format: dict[str, str] | None, reply: dict[str, object], ignored: bool
) -> None:
    assert ignores_format(request(response_format), reply) is ignored
