"""What went wrong with an attempt, and what follows: try again, give the row up, or stop the run.

The class of a fault, a snake_case name, is what is kept and counted. Of what servers say beside it, one example of each
class is shown and kept (`vldata.llm.examples`), without the key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import orjson

from vldata.llm.completions import broken_by, ending_of, is_withheld, messages_of, read_completion
from vldata.llm.error_bodies import MAX_DETAIL_CHARS, ErrorBody, class_of, one_line, read_error
from vldata.llm.prices import Usage, usage_of
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
        status: HTTP's, or the one that the body of a 200 names; None when none came.
        retry_after_s: Seconds for which the server requests a pause; None when it does not say.
        detail: The server's own words, cut and without the key; for people.
        request_id: As the server calls it.
        usage: Tokens that it reports all the same; None when it reports none.
        is_partial: A part of an answer came before it.
        parameter: Of the request, that it complains about.
        words: All that the server says, without the key.
    """

    name: str
    status: int | None = None
    retry_after_s: float | None = None
    detail: str = ""
    request_id: str | None = None
    usage: Usage | None = None
    is_partial: bool = False
    parameter: str | None = None
    words: str = ""

    @property
    def scope(self) -> Scope:
        """What follows."""
        return FAULTS[self.name].scope

    @property
    def billed(self) -> Billed:
        """Whether it may have cost something."""
        return FAULTS[self.name].billed

    @property
    def is_on_no_bill(self) -> bool:
        """Whether it costs nothing: it was refused, never reached the server, or is an error of the server's own.

        A server that fails (5xx) and reports no tokens has made no answer. One that was given up on (504 and its like)
        or that breaks off may make it all the same.
        """
        failed = self.name in ("server_error", "overloaded") and self.status is not None and self.status >= 409
        return self.usage is None and not self.is_partial and (self.billed is Billed.NO or failed)

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
    "refused": FaultClass(Scope.ROW, Billed.NO, "the server forbids this request, while it answers others"),
    "takes_no_images": FaultClass(
        Scope.RUN, Billed.NO, "the model takes no images", "use a vision model, or start the server with its projector"
    ),
    "barred": FaultClass(Scope.RUN, Billed.NO, "the account may not use the service", _ACCOUNT),
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


def fault_of_status(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """The fault that an HTTP status other than 2xx tells of.

    Args:
        status: 300 to 599.
        headers: By lower-case name, or indifferent to case.
        body: What came with it; already without the key.
    """
    said = read_error(body)
    fault = _fault(class_of(status, said), status, said, headers.get("x-request-id"))
    wait = retry_after_s(headers)
    return replace(fault, retry_after_s=said.retry_after_s if wait is None else wait, usage=_usage_in(body))


def reply_of(body: bytes) -> Mapping[str, Any] | Fault:
    """The chat completion that a body holds, or what is wrong with it.

    A reply counts when it has a choice with a message: whether that says anything useful is for the validators. An
    error that comes with status 200 has the class that it would have with the status that it names.
    """
    try:
        reply = read_completion(body)
    except ValueError:
        return Fault("not_json", 200, detail=one_line(body[:MAX_DETAIL_CHARS].decode(errors="replace")))
    problem = broken_by(reply)
    if problem is None and messages_of(reply):
        return reply  # type: ignore[no-any-return]
    if problem is None and is_withheld(reply):
        return Fault("policy", 200, detail="the reply was withheld by a content filter", usage=usage_of(reply))
    said = read_error(reply if problem is None else problem)
    usage = usage_of(reply) if isinstance(reply, Mapping) else None
    name = class_of(said.status, said)
    if name == "server_error" and problem is None and not said.is_error:
        cut = one_line(body[:MAX_DETAIL_CHARS].decode(errors="replace"))
        return Fault("not_a_completion", 200, detail=said.detail or cut, usage=usage)
    fault = _fault(name, said.status or 500, said, None)
    return replace(fault, usage=usage, retry_after_s=said.retry_after_s, is_partial=bool(messages_of(reply)))


def ignores_format(request: Request, reply: Mapping[str, Any]) -> bool:
    """Whether JSON was requested by ``response_format`` and a finished answer is none.

    Some servers take the parameter, answer 200 and ignore it. A refusal, and an answer that was cut off at the maximum
    length, are none of this.
    """
    if request.response_format is None or request.response_format.get("type") not in ("json_schema", "json_object"):
        return False
    choice = reply["choices"][0]
    text = choice["message"].get("content")
    is_whole = ending_of(choice.get("finish_reason")) == "end"
    if not is_whole or choice["message"].get("refusal") or not isinstance(text, str):
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


def _fault(name: str, status: int, said: ErrorBody, request_id: str | None) -> Fault:
    return Fault(name, status, detail=said.detail, request_id=request_id, parameter=said.parameter, words=said.words)


def _usage_in(body: bytes) -> Usage | None:
    """Tokens that an error reports, as some servers do that had begun to answer."""
    if b'"usage"' not in body:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    inner = document.get("error") if isinstance(document, dict) else None
    parts = [part for part in (document, inner) if isinstance(part, dict)]
    return next((usage for part in parts if (usage := usage_of(part)) is not None), None)
