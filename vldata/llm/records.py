"""Answers and failures as they are kept: the request, the reply, and what every attempt cost."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import orjson

from vldata.llm.prices import PICO
from vldata.llm.request import Json, Request

Channel = Literal["online", "batch"]
"""How a request was sent: by itself, or in a file of the Batch API."""

_CLASS = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Attempt:
    """One time that a request was sent.

    Args:
        at: When, in seconds since 1970.
        status: HTTP's status; None when none came.
        error: The class of the error in snake_case, such as ``rate_limited``; None when there was an answer. Never a
            message, which may quote what must not be kept.
        wait_s: How long was waited before the next attempt.
        usage: Tokens, as the server reported them; None when it did not.
        cost_usd: What it cost; None when that is unknown.
        request_id: As the server calls it.
    """

    at: float
    status: int | None = None
    error: str | None = None
    wait_s: float = 0.0
    usage: Mapping[str, Json] | None = None
    cost_usd: float | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        if self.error is not None and not _CLASS.fullmatch(self.error):
            raise ValueError(f"{self.error[:80]!r} is not the name of a class of errors")


@dataclass(frozen=True)
class Answer:
    """A reply to a request, whole and unchanged.

    Args:
        reply: The raw ``chat.completion``.
        attempts: Every one since the last failure that was kept, the one that succeeded last.
        cost_usd: Of all ``attempts``; None when that is unknown.
        usage: As the reply has it; None when it has none.
        received_at: In seconds since 1970.
    """

    key: str
    request: Request
    reply: Mapping[str, Json]
    attempts: tuple[Attempt, ...]
    cost_usd: float | None
    usage: Mapping[str, Json] | None
    received_at: float
    channel: Channel = "online"


@dataclass(frozen=True)
class Failure:
    """A request that got no answer, with all attempts that were made, oldest first."""

    key: str
    request: Request
    attempts: tuple[Attempt, ...]


class Cost(NamedTuple):
    """What attempts cost, as far as it is known.

    Args:
        pico_usd: The sum of what is known, in 1e-12 USD; whole, so that the order of summing does not show.
        num_unknown: Attempts whose cost is not known.
    """

    pico_usd: int
    num_unknown: int


_Record = TypeVar("_Record", Answer, Attempt)


def cost_of(attempts: Sequence[Attempt], total_usd: float | None = None) -> Cost:
    """What attempts cost together.

    Args:
        total_usd: Their sum, when the caller knows it; believed before the attempts' own costs.

    Raises:
        ValueError: A cost is negative or not finite.
    """
    if total_usd is not None:
        return Cost(_pico(total_usd), 0)
    costs = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
    return Cost(sum(map(_pico, costs)), len(attempts) - len(costs) if attempts else 1)


def encode_answer(answer: Answer) -> bytes:
    """Encode as two lines of JSON in UTF-8, reply and request; `decode_answer` reads an equal one from them.

    Raises:
        ValueError: A reply is nested too deeply, or holds what JSON cannot.
    """
    reply = {
        "reply": answer.reply,
        "attempts": [vars(attempt) for attempt in answer.attempts],
        "cost_usd": answer.cost_usd,
        "usage": answer.usage,
        "received_at": answer.received_at,
        "channel": answer.channel,
    }
    return b"%b\n%b\n" % (_theirs(reply), _ours(answer.request))


def decode_answer(key: str, payload: bytes, request: Request | None = None) -> Answer:
    """The answer that `encode_answer` wrote.

    Args:
        request: Of that key, when the caller has it; reading it again would take half the time.
    """
    saved = _loads(payload[: payload.index(b"\n")])
    saved["attempts"] = _attempts(saved)
    return _record(Answer, {"key": key, "request": request or decode_request(payload), **saved})


def encode_failure(failure: Failure) -> bytes:
    """Encode as two lines of JSON in UTF-8, like an answer without a reply; `decode_failure` reads an equal one.

    Raises:
        ValueError: An attempt holds what JSON cannot.
    """
    attempts = {"attempts": [vars(attempt) for attempt in failure.attempts]}
    return b"%b\n%b\n" % (_theirs(attempts), _ours(failure.request))


def decode_failure(key: str, payload: bytes) -> Failure:
    """The failure that `encode_failure` wrote."""
    return Failure(key, decode_request(payload), _attempts(_loads(payload[: payload.index(b"\n")])))


def decode_request(payload: bytes) -> Request:
    """The request of an encoded answer or failure."""
    return Request.from_json(_loads(payload[payload.index(b"\n") :]))


def without(payload: bytes, secrets: Sequence[str]) -> bytes:
    """Encoded JSON in which every secret reads ``[secret]``, in whichever of JSON's two ways it was written."""
    for secret in secrets:
        for written in (json.dumps(secret, ensure_ascii=False), json.dumps(secret)):
            payload = payload.replace(written[1:-1].encode(), b"[secret]")
    return payload


def _pico(cost_usd: float) -> int:
    if not math.isfinite(cost_usd) or cost_usd < 0:
        raise ValueError(f"{cost_usd!r} USD is not what something costs")
    return round(cost_usd * PICO)  # a token costs more than 1e-9 USD: nothing is lost in rounding, and sums are exact


def _attempts(saved: Mapping[str, Json]) -> tuple[Attempt, ...]:
    return tuple([_record(Attempt, attempt) for attempt in saved["attempts"]])


def _record(record: type[_Record], saved: Mapping[str, Json]) -> _Record:
    """A record that was checked when it was kept: past the frozen class's own setter, in a third of the time."""
    read = record.__new__(record)
    read.__dict__.update(saved)
    return read


def _ours(request: Request) -> bytes:
    return orjson.dumps(request.to_json())


def _theirs(value: Json) -> bytes:
    """JSON that a server made, which may hold what orjson would refuse or make null: NaN, half a surrogate pair."""
    try:
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            return json.dumps(value, separators=(",", ":")).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"this cannot be kept as JSON: {error}") from None


def _loads(payload: bytes) -> Json:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:  # NaN, half a surrogate pair, more than 1,024 levels
        return json.loads(payload)
