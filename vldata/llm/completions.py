"""Reading what should be a chat completion: forgiving of its bytes and its form, and never inventing what it says.

A reply was generated, and may be paid for, however oddly it is written: a byte-order mark, half a surrogate pair, NaN
among the log probabilities, bytes that are no UTF-8, or a stream of events though none was requested are all read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import orjson

Ending = Literal["end", "length", "filtered", "tools", "broken", "unknown"]

_ENDINGS: Mapping[Ending, tuple[str, ...]] = {
    "length": ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"),
    "filtered": (
        "content_filter",
        "content_filtered",
        "sensitive",
        "safety",
        "recitation",
        "prohibited_content",
        "blocklist",
        "spii",
        "image_safety",
        "refusal",
        "guardrail_intervened",
    ),
    "tools": ("tool_calls", "tool_call", "tool_use", "function_call", "malformed_function_call", "pause_turn"),
    "broken": ("error", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource"),
}
_BY_REASON = {reason: ending for ending, reasons in _ENDINGS.items() for reason in reasons}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = "\ufeff"


def ending_of(finish_reason: Any) -> Ending:
    """How an answer ended, by what its server calls it; a name that is not known to be a fault's is an end.

    So are null and all the names that servers have for it: ``stop``, ``eos``, ``STOP``, ``end_turn``, ``eos_token``.
    """
    if isinstance(finish_reason, str):
        return _BY_REASON.get(finish_reason.lower(), "end")
    return "end" if finish_reason is None else "unknown"


def read_completion(body: bytes) -> Any:
    """The JSON of a reply; of a stream of events, the completion that its chunks make up.

    Raises:
        ValueError: It is neither, or a stream that breaks off.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace").lstrip(_BOM).strip()
    if text.startswith(("data:", "event:", "id:", "retry:", ":")):
        return _joined(text)
    return _loads(text)


def messages_of(reply: Any) -> list[Mapping[str, Any]]:
    """The message of every choice; none when a choice has none, as what is no completion has."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices:
        return []
    messages = [choice.get("message") if isinstance(choice, dict) else None for choice in choices]
    return messages if all(isinstance(message, dict) for message in messages) else []  # type: ignore[return-value]


def is_withheld(reply: Any) -> bool:
    """Whether a filter took the message away and left its choice."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and "finish_reason" in choice and ending_of(choice["finish_reason"]) == "filtered"
        for choice in choices
    )


def broken_by(reply: Any) -> Any | None:
    """The error that came with status 200, in the place of an answer or after a part of one; None: there is none."""
    if isinstance(reply, list) and len(reply) == 1:
        return broken_by(reply[0])
    if not isinstance(reply, dict):
        return None
    if reply.get("error") or reply.get("object") == "error":
        return reply
    choices = reply.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict) and (choice.get("error") or ending_of(choice.get("finish_reason")) == "broken"):
            return choice if choice.get("error") else {"error": f"finish_reason is {choice['finish_reason']!r}"}
    return None


def _loads(text: str) -> Any:
    """JSON as Python reads it: with NaN, any depth and half surrogate pairs, which become U+FFFD: no UTF-8 has them."""
    try:
        document = json.loads(text, strict=False)
        return _whole(document) if "\\u" in text else document
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    return value


def _events(text: str) -> Iterator[Any]:
    """The JSON of every event; comments and the names of events say nothing.

    Raises:
        ValueError: An event is no JSON, or the stream has no end.
    """
    ended = False
    for event in re.split(r"\r?\n\r?\n|\r\r", text):
        lines = [line[5:].removeprefix(" ") for line in re.split(r"\r?\n|\r", event) if line.startswith("data:")]
        if not lines:
            continue
        if "".join(lines).strip() == "[DONE]":
            ended = True
            continue
        chunk = _loads("\n".join(lines))
        ended = ended or _has_ended(chunk)
        yield chunk
    if not ended:
        raise ValueError("the stream breaks off")


def _has_ended(chunk: Any) -> bool:
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    whole = [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    return broken_by(chunk) is not None or any(c.get("finish_reason") is not None or "message" in c for c in whole)


def _joined(text: str) -> Any:
    """One completion of all chunks: texts one behind the other, of everything else what was said last."""
    joined: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in _events(text):
        if broken_by(chunk) is not None or not isinstance(chunk, dict):
            return chunk
        joined |= {name: value for name, value in chunk.items() if value is not None and name != "choices"}
        for place, choice in enumerate(chunk.get("choices") or []):
            if isinstance(choice, dict):
                number = choice["index"] if isinstance(choice.get("index"), int) else place
                _add(choices.setdefault(number, {"index": number, "message": {}}), choice)
    if joined.get("object") == "chat.completion.chunk":
        joined["object"] = "chat.completion"
    return {**joined, "choices": [choices[number] for number in sorted(choices)]}


def _add(choice: dict[str, Any], chunk: Mapping[str, Any]) -> None:
    said = chunk.get("delta") or chunk.get("message") or {}
    for name, value in said.items() if isinstance(said, dict) else ():
        so_far = choice["message"].get(name)
        is_text = isinstance(value, str) and isinstance(so_far, str) and name != "role"
        if value is not None or name not in choice["message"]:
            choice["message"][name] = so_far + value if is_text else value
    choice |= {name: value for name, value in chunk.items() if name not in ("delta", "message", "index", "logprobs")}
