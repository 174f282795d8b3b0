"""What was generated is read, however it is written; and nothing but the answer is the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vldata.llm.completions import ending_of
from vldata.llm.faults import Fault, reply_of
from vldata.synth.validate.base import message_of, text_of

COMPLETION = {
    "id": "c-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "A red cup."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
}
WHOLE = json.dumps(COMPLETION).encode()


def said(body: bytes) -> str:
    reply = reply_of(body)
    assert not isinstance(reply, Fault), reply
    return text_of(reply)


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + WHOLE,
        b"\n\n   \n" + WHOLE + b"\n",
        b"\xef\xbb\xbf\r\n" + WHOLE,
        WHOLE.replace(b'"usage"', b'"logprob": NaN, "usage"'),
        WHOLE.replace(b'"usage"', b'"logprob": -Infinity, "usage"'),
    ],
)
def test_a_completion_is_read_whatever_is_odd_about_its_bytes(body: bytes) -> None:
    assert said(body) == "A red cup."


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"A \ud83d cup.", "A \ufffd cup."),
        (rb"A \ude00 cup.", "A \ufffd cup."),
        (rb"A \ud83d\ude00 cup.", "A \U0001f600 cup."),
        (rb"A \ud83d\ude00 cup \ud83d", "A \U0001f600 cup \ufffd"),
        (b"A \xff cup.", "A \ufffd cup."),
        (b"A red\ncup.", "A red\ncup."),
        (rb"A \\ud83d cup.", "A \\ud83d cup."),
    ],
)
def test_a_text_that_no_utf_8_has_is_read_with_a_mark_in_its_place(written: bytes, read: str) -> None:
    text = said(WHOLE.replace(b"A red cup.", written))
    assert text == read
    text.encode()


def chunk(delta: dict[str, Any] | None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {"id": "c-1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}


def stream(*chunks: object, end: str = "data: [DONE]\n\n", newline: str = "\n") -> bytes:
    events = "".join(f"data: {json.dumps(piece)}\n\n" for piece in chunks)
    return (events + end).replace("\n", newline).encode()


PIECES = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "A red "}),
    chunk({"content": "cup."}, None),
    chunk({}, "stop"),
    chunk(None, usage={"prompt_tokens": 5, "completion_tokens": 3}),
)


@pytest.mark.parametrize(
    "body",
    [
        stream(*PIECES),
        stream(*PIECES, newline="\r\n"),
        stream(*PIECES, end=""),
        b": PROCESSING\n\n: PROCESSING\n\n" + stream(*PIECES),
        b"\xef\xbb\xbf" + stream(*PIECES),
        stream(*PIECES).replace(b"data: ", b"data:"),
        stream(*PIECES).replace(b"data: {", b"event: message\nid: 7\ndata: {"),
    ],
)
def test_a_stream_of_events_is_the_completion_that_its_chunks_make_up(body: bytes) -> None:
    reply = reply_of(body)
    assert not isinstance(reply, Fault), reply
    assert text_of(reply) == "A red cup."
    assert message_of(reply)[1] == "stop" and message_of(reply)[0]["role"] == "assistant"
    assert reply["usage"] == {"prompt_tokens": 5, "completion_tokens": 3}
    assert reply["object"] == "chat.completion" and reply["model"] == "m"


def test_a_stream_of_one_whole_completion_is_read_too() -> None:
    assert said(b"data: " + WHOLE + b"\n\ndata: [DONE]\n\n") == "A red cup."


def test_in_a_stream_too_reasoning_is_not_the_answer() -> None:
    pieces = (
        chunk({"role": "assistant", "reasoning_content": "Hm, "}),
        chunk({"reasoning_content": "a cup?"}),
        *PIECES,
    )
    reply = reply_of(stream(*pieces))
    assert not isinstance(reply, Fault)
    assert text_of(reply) == "A red cup."
    assert message_of(reply)[0]["reasoning_content"] == "Hm, a cup?"


def test_several_choices_of_a_stream_are_kept_apart() -> None:
    both = {
        "choices": [
            {"index": 1, "delta": {"content": "two"}, "finish_reason": "stop"},
            {"index": 0, "delta": {"content": "one"}, "finish_reason": "stop"},
        ]
    }
    reply = reply_of(stream(both))
    assert not isinstance(reply, Fault)
    assert [choice["message"]["content"] for choice in reply["choices"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (stream(*PIECES[:3], end=""), "not_json"),  # no end: it breaks off
        (stream(*PIECES)[: len(stream(*PIECES)) // 2], "not_json"),
        (b"data: [DONE]\n\n", "not_a_completion"),
        (stream(*PIECES[:2], {"error": {"code": 429, "message": "slow down"}}), "rate_limited"),
        (stream(*PIECES[:2], {"error": {"message": "maximum context length"}}), "too_long"),
        (stream(*PIECES[:2], {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}), "server_error"),
        (b"data: <html>\n\n", "not_json"),
        (b"[" * 100_000, "not_json"),
    ],
)
def test_a_stream_that_holds_no_whole_answer_is_a_fault(body: bytes, name: str) -> None:
    fault = reply_of(body)
    assert isinstance(fault, Fault) and fault.name == name


@pytest.mark.parametrize("reason", [None, "stop", "STOP", "eos", "end_turn", "stop_sequence", "eos_token", "", "done"])
def test_an_end_is_an_end_by_any_name(reason: object) -> None:
    assert ending_of(reason) == "end"


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("content_filter", "filtered"),
        ("SAFETY", "filtered"),
        ("sensitive", "filtered"),
        ("tool_calls", "tools"),
        ("function_call", "tools"),
        ("error", "broken"),
    ],
)
def test_what_is_no_end_is_told_apart(reason: str, ending: str) -> None:
    assert ending_of(reason) == ending


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("content", [None, "", "A red cup."])
def test_reasoning_is_never_the_answer(name: str, content: str | None) -> None:
    message = {"role": "assistant", "content": content, name: "The user wants a caption."}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    assert said(body) == (content or "")
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "A cup."}]
    assert said(json.dumps({"choices": [{"message": {"content": parts}}]}).encode()) == "A cup."
