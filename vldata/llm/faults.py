"""What went wrong with an attempt, and what follows: try again, give the row up, or stop the run.

The class of a fault, a snake_case name, is what is kept and counted. What a server says beside it is shown once, where
a run stops, and kept nowhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import orjson

from vldata.llm.request import Request


class Scope(Enum):
    """How far a fault reaches."""

    RETRY = "try again"
    ROW = "give the row up"
    RUN = "stop the run"


class Billed(Enum):
    """Whether an attempt that failed may stand on the bill."""

    NO = "no"
    PERHAPS = "perhaps"


@dataclass(frozen=True, slots=True)
class Fault:
    """One attempt that brought no answer.

    Args:
        name: Its class, one of `FAULTS`.
        status: HTTP's; None when none came.
        retry_after_s: Seconds for which the server requests a pause; None when it does not say.
        detail: The server's own words, cut and without the key; for people.
        request_id: As the server calls it.
    """

    name: str
    status: int | None = None
    retry_after_s: float | None = None
    detail: str = ""
    request_id: str | None = None

    @property
    def scope(self) -> Scope:
        """What follows."""
        return FAULTS[self.name].scope

    @property
    def billed(self) -> Billed:
        """Whether it may have cost something."""
        return FAULTS[self.name].billed

    @property
    def is_congestion(self) -> bool:
        """Whether it says that too much is sent at once."""
        return FAULTS[self.name].is_congestion


@dataclass(frozen=True, slots=True)
class FaultClass:
    """A class of faults.

    Args:
        billed: A server that refuses or cannot be reached has made no answer. One that breaks off may have.
        says: What it is, for people.
        fix: What the user can do.
        is_congestion: Fewer requests at once may help.
    """

    scope: Scope
    billed: Billed
    says: str
    fix: str = ""
    is_congestion: bool = False


_AGAIN = "run again: answers that came are kept, and only what is missing is sent"
_ACCOUNT = "look at your account's credit and limits, then run again: answers that came are kept"

FAULTS: Mapping[str, FaultClass] = {
    "rate_limited": FaultClass(Scope.RETRY, Billed.NO, "too many requests or tokens a minute", _AGAIN, True),
    "overloaded": FaultClass(Scope.RETRY, Billed.PERHAPS, "the server is overloaded or not ready", _AGAIN, True),
    "timed_out": FaultClass(Scope.RETRY, Billed.PERHAPS, "no whole answer came in time", _AGAIN, True),
    "unreachable": FaultClass(Scope.RETRY, Billed.NO, "no connection could be made", "check the URL and the network"),
    "connection_lost": FaultClass(
        Scope.RETRY, Billed.PERHAPS, "the connection broke before the answer was whole", _AGAIN
    ),
    "server_error": FaultClass(Scope.RETRY, Billed.PERHAPS, "the server failed", _AGAIN),
    "not_json": FaultClass(Scope.RETRY, Billed.PERHAPS, "the reply is not JSON, or is cut off", _AGAIN),
    "not_a_completion": FaultClass(
        Scope.RETRY, Billed.PERHAPS, "the reply is JSON but no chat completion", "check that the URL ends in /v1"
    ),
    "interrupted": FaultClass(Scope.ROW, Billed.PERHAPS, "the run was stopped while it was under way", _AGAIN),
    "policy": FaultClass(Scope.ROW, Billed.NO, "the provider's content policy refuses the request"),
    "too_long": FaultClass(Scope.ROW, Billed.NO, "the request is longer than the model's context"),
    "larger_than_tpm": FaultClass(
        Scope.ROW, Billed.NO, "the request alone takes more tokens than the limit of a minute"
    ),
    "bad_request": FaultClass(Scope.ROW, Billed.NO, "the server refuses the request"),
    "image_unreadable": FaultClass(Scope.ROW, Billed.NO, "an image cannot be read"),
    "unauthorized": FaultClass(Scope.RUN, Billed.NO, "the key is not accepted", "check the key of this endpoint"),
    "forbidden": FaultClass(Scope.RUN, Billed.NO, "the key may not do this", "check what the key may use"),
    "out_of_credit": FaultClass(Scope.RUN, Billed.NO, "the account has no credit left", _ACCOUNT),
    "unknown_model": FaultClass(Scope.RUN, Billed.NO, "there is no such model or path", "correct `model` or the URL"),
    "unsupported_parameter": FaultClass(
        Scope.RUN, Billed.NO, "the model does not take a parameter", "remove it or rename it under `parameters`"
    ),
    "redirected": FaultClass(
        Scope.RUN, Billed.NO, "the server points elsewhere, where the key is not sent", "configure the URL it points to"
    ),
}
"""Every class of faults. What is refused with a 4xx made no answer and costs nothing; all else that fails may."""

_CREDIT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
_POLICY = {"content_policy_violation", "content_filter", "moderation_blocked", "ResponsibleAIPolicyViolation"}
_LONG = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length", "request_too_large"}
_PARAMETER = {"unsupported_parameter", "unsupported_value", "unknown_parameter", "invalid_parameter"}
_MODEL = {"model_not_found", "invalid_model", "unknown_model"}

MAX_DETAIL_CHARS = 300
"""Of what a server says: enough for its sentence, too little for a page of HTML."""


def fault_of_status(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """The fault that an HTTP status other than 2xx tells of.

    Args:
        status: 300 to 599.
        headers: By lower-case name, or indifferent to case.
        body: What came with it; already without the key.
    """
    codes, detail = _said(body)
    return Fault(
        _name_of_status(status, codes),
        status,
        retry_after_s(headers),
        detail,
        headers.get("x-request-id"),
    )


def _name_of_status(status: int, codes: set[str]) -> str:
    if status < 400:
        return "redirected"
    if status == 402 or codes & _CREDIT:  # OpenAI says 429 and means the second
        return "out_of_credit"
    if status == 429:
        return "rate_limited"
    if status in (408, 409):  # OpenAI's client takes 409 for a lock that time frees
        return "timed_out" if status == 408 else "overloaded"
    if status >= 500:
        return "overloaded" if status in (503, 529) else "timed_out" if status == 504 else "server_error"
    if codes & _MODEL:
        return "unknown_model"
    if codes & _POLICY:
        return "policy"
    if codes & _LONG or status == 413:
        return "too_long"
    if codes & _PARAMETER:
        return "unsupported_parameter"
    return {401: "unauthorized", 403: "forbidden", 404: "unknown_model", 405: "unknown_model"}.get(
        status, "bad_request"
    )


def reply_of(body: bytes) -> Mapping[str, Any] | Fault:
    """The chat completion that a body holds, or what is wrong with it.

    A reply counts when it has a choice with a message: whether that says anything useful is for the validators.
    """
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Fault("not_json", 200, detail=_cut(body))
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices:
        return Fault("not_a_completion", 200, detail=_cut(body))
    if not all(isinstance(choice, dict) and isinstance(choice.get("message"), dict) for choice in choices):
        return Fault("not_a_completion", 200, detail=_cut(body))
    return reply  # type: ignore[no-any-return]


def ignores_format(request: Request, reply: Mapping[str, Any]) -> bool:
    """Whether JSON was requested by ``response_format`` and a finished answer is none.

    Some servers take the parameter, answer 200 and ignore it. A refusal, and an answer that was cut off at the maximum
    length, are none of this.
    """
    if request.response_format is None or request.response_format.get("type") not in ("json_schema", "json_object"):
        return False
    choice = reply["choices"][0]
    text = choice["message"].get("content")
    if choice.get("finish_reason") != "stop" or choice["message"].get("refusal") or not isinstance(text, str):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return True
    return False


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds for which a server requests a pause; None when it does not say, or nothing that can be read.

    ``retry-after-ms`` is the finer and wins over ``retry-after``, which is in seconds or a date (RFC 9110, 10.2.3). A
    date is compared with the server's own ``date``, as its clock may differ from ours.

    Args:
        headers: By lower-case name, or indifferent to case.
        now: Seconds since 1970, where the server gives no ``date``.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            wait = float(text) * unit
        except ValueError:
            continue
        if math.isfinite(wait) and wait >= 0:
            return wait
    until = _date(headers.get("retry-after"))
    if until is None:
        return None
    since = _date(headers.get("date"))
    return max(0.0, until - (since if since is not None else time.time() if now is None else now))


def _date(text: str | None) -> float | None:
    try:
        return None if text is None else parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _said(body: bytes) -> tuple[set[str], str]:
    """The codes and types of an error body, and its message."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return set(), _cut(body)
    error = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(error, str):
        return set(), _line(error)
    if not isinstance(error, dict):
        return set(), _cut(body)
    inner = error.get("innererror")
    parts = [error, inner] if isinstance(inner, dict) else [error]
    codes = {part[name] for part in parts for name in ("code", "type") if isinstance(part.get(name), str)}
    message = error.get("message")
    return codes, _line(message) if isinstance(message, str) else ""


def _cut(body: bytes) -> str:
    return _line(body[:MAX_DETAIL_CHARS].decode(errors="replace"))


def _line(text: str) -> str:
    """A stranger's words for a terminal: one line, without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_DETAIL_CHARS]).strip()
