"""Every server says no in words of its own, and each no has its class."""

from __future__ import annotations

import json

import orjson
import pytest

from tests.llm.error_bodies import ERROR_BODIES, INVALID, MAX_TOKENS, Said, gemini, openai, openrouter, vllm
from vldata.llm.faults import Fault, Scope, fault_of_status, reply_of


def bytes_of(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


@pytest.mark.parametrize("said", ERROR_BODIES, ids=lambda said: said.server)
def test_an_error_body_has_its_class_whoever_writes_it(said: Said) -> None:
    fault = fault_of_status(said.status, {}, bytes_of(said.body))
    assert fault.name == said.name
    assert fault.detail or not said.body


def test_the_table_holds_what_it_promises() -> None:
    assert len(ERROR_BODIES) >= 80
    assert len({said.server for said in ERROR_BODIES}) == len(ERROR_BODIES)


@pytest.mark.parametrize(
    "said", [said for said in ERROR_BODIES if not isinstance(said.body, str)], ids=lambda said: said.server
)
def test_an_error_inside_a_200_is_classed_too(said: Said) -> None:
    """Those that a code or words decide are the same; of others only a status that the body names is known."""
    body = said.body if isinstance(said.body, list) or "error" in said.body else {"error": said.body}
    fault = reply_of(orjson.dumps(body))
    assert isinstance(fault, Fault)
    by_status_alone = ("forbidden", "server_error", "overloaded", "bad_request", "unauthorized", "too_long")
    assert fault.name in (said.name, "server_error", "bad_request") if said.name in by_status_alone else said.name


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (openrouter(429, "Rate limit exceeded: free-models-per-min."), "rate_limited"),
        (openrouter(502, "Provider returned error"), "server_error"),
        (openrouter(503, "No instances available"), "overloaded"),
        (openrouter(402, "Insufficient credits"), "out_of_credit"),
        (openrouter(401, "No auth credentials found"), "unauthorized"),
        (openrouter(403, "Your input was flagged"), "policy"),
        (vllm("The input (61709 tokens) is longer than the model's context length (40960 tokens)."), "too_long"),
        ({"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512."}, "too_long"),
        (gemini(400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", "X"), "too_long"),
        ({"error": {"message": "It failed"}}, "server_error"),
        ({"error": {"message": "It failed", "code": "400"}}, "bad_request"),
        ({"choices": None, "error": {"message": "Content blocked", "code": "content_filter"}}, "policy"),
        ({"choices": [{"finish_reason": "content_filter", "index": 0}]}, "policy"),
        ({"choices": [{"error": {"code": 502, "message": "Lost"}, "message": {"content": "The c"}}]}, "server_error"),
        ({"choices": [{"finish_reason": "error", "message": {"content": "The c"}}]}, "server_error"),
        ({"choices": [{"finish_reason": "abort", "message": {"content": ""}}]}, "server_error"),
        ({"message": "no completion"}, "not_a_completion"),
    ],
)
def test_an_error_that_comes_with_status_200_has_the_class_of_its_code(body: object, name: str) -> None:
    fault = reply_of(orjson.dumps(body))
    assert isinstance(fault, Fault) and fault.name == name


@pytest.mark.parametrize("status", [400, 403, 404, 422, 500, 502, 503])
def test_a_message_that_is_json_itself_is_read_through(status: int) -> None:
    inner = json.dumps({"error": {"message": "This model's maximum context length is 8 tokens", "code": 400}})
    fault = fault_of_status(status, {}, orjson.dumps(openai(f"upstream said: {inner}", INVALID)))
    assert fault.name == ("overloaded" if status == 503 else "too_long")


def test_the_pause_that_a_body_requests_is_kept() -> None:
    (body,) = (said.body for said in ERROR_BODIES if said.server == "Gemini: rate")
    assert fault_of_status(429, {}, orjson.dumps(body)).retry_after_s == 34.0
    assert fault_of_status(429, {"retry-after": "5"}, orjson.dumps(body)).retry_after_s == 5.0


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (openai(MAX_TOKENS, INVALID, "max_tokens", "unsupported_parameter"), "max_tokens"),
        ({"error": {"message": MAX_TOKENS}}, "max_tokens"),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra"}]}, "top_k"),
        (openai("x does not support parameters: ['seed'], for model=m", None), "seed"),
        (openai("Unsupported value: 'temperature' does not support 0 with this model.", INVALID), "temperature"),
        (openai("Unrecognized request argument supplied: top_k", INVALID), "top_k"),
        (openai("It failed", INVALID), None),
    ],
)
def test_the_parameter_that_is_complained_about_is_known(body: object, parameter: str | None) -> None:
    assert fault_of_status(400, {}, orjson.dumps(body)).parameter == parameter


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"[[[[[[[[[[]]]]]]]]]]",
        b'{"error": null}',
        b'{"error": {"error": {"error": {}}}}',
        b"\xff\xfe",
        b"7",
    ],
)
@pytest.mark.parametrize("status", [300, 400, 403, 429, 500, 599])
def test_no_body_is_too_odd(body: bytes, status: int) -> None:
    fault = fault_of_status(status, {}, body)
    assert fault.scope in Scope


def test_only_what_may_stand_on_a_bill_is_in_doubt() -> None:
    usage = {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    assert fault_of_status(500, {}, b"").is_on_no_bill
    assert fault_of_status(502, {}, b"<html>").is_on_no_bill
    assert fault_of_status(503, {}, b"").is_on_no_bill
    assert fault_of_status(429, {}, b"").is_on_no_bill
    assert fault_of_status(400, {}, b"").is_on_no_bill
    assert not fault_of_status(504, {}, b"").is_on_no_bill  # the server behind may have gone on
    assert not fault_of_status(408, {}, b"").is_on_no_bill
    assert not fault_of_status(500, {}, orjson.dumps({"error": {"message": "Lost"}, **usage})).is_on_no_bill
    assert Fault("unreachable").is_on_no_bill
    assert not Fault("connection_lost").is_on_no_bill
    assert not Fault("not_json", 200).is_on_no_bill
    partial = reply_of(orjson.dumps({"choices": [{"finish_reason": "error", "message": {"content": "The"}}]}))
    assert isinstance(partial, Fault) and not partial.is_on_no_bill
    whole = reply_of(orjson.dumps({"error": {"message": "Lost", "code": 502}}))
    assert isinstance(whole, Fault) and whole.is_on_no_bill
