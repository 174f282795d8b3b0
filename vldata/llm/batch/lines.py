"""The lines of the Batch API's files: requests, and what the lines of results say.

    sent    {"custom_id": <key>, "method": "POST", "url": "/v1/chat/completions", "body": {…}}
    back    {"id": "batch_req_1", "custom_id": <key>, "response": {"status_code": 200, "request_id": …, "body": {…}},
             "error": null}
            {"id": "batch_req_2", "custom_id": <key>, "response": null, "error": {"code": "batch_expired", …}}

Lines come back in any order, in two files, and not always all of them: the key is all that joins them to requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from vldata.llm.faults import Fault, fault_of_status, reply_of
from vldata.llm.request import Request
from vldata.store.keys import key_of
from vldata.store.names import KeySubject
from vldata.store.trouble import as_store_errors

MAX_LINES = 50_000
"""Requests in one file, by OpenAI's API reference."""

MAX_BYTES = 200 * 10**6
"""Bytes of one file, by the same; it says MB, of which the smaller reading is meant here."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large batches may be.

    Args:
        max_open: Most batches that are open at once, for an account that limits the tokens in its queue; None: any
            number.
    """

    max_lines: int = MAX_LINES
    max_bytes: int = MAX_BYTES
    max_open: int | None = None


CHAT: Final = "/v1/chat/completions"
"""What every line asks for."""

UNFINISHED = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that the server never processed: not failed, not billed, simply still to be sent."""

LARGER_THAN_FILE = "larger_than_file"


@dataclass(frozen=True, slots=True)
class ResultLine:
    """One line of results that can be read.

    Args:
        key: Of the request that it is about.
        reply: The raw chat completion; None: there is none.
        fault: Why there is none; None when there is one, and when the server never processed the request.
        request_id: The name of the request or the line, else a hash of it, by which the line is recognised when it is
            read again.
    """

    key: str
    reply: Mapping[str, Any] | None
    fault: Fault | None
    request_id: str

    @property
    def is_unfinished(self) -> bool:
        """Whether the server never processed the request."""
        return self.reply is None and self.fault is None


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """One line that cannot be read.

    Args:
        number: From 1.
        problem: ``torn`` (the last one, cut off), ``not_json`` or ``no_custom_id``.
    """

    number: int
    problem: str


Line = ResultLine | UnreadableLine


def line_of(request: Request, body: Mapping[str, Any]) -> bytes:
    """Encode the line that requests an answer.

    Args:
        request: Its key comes back with the answer.
        body: As `vldata.llm.client.chat_body` makes it.
    """
    return orjson.dumps({"custom_id": request.key, "method": "POST", "url": CHAT, "body": body}) + b"\n"


def results_of(path: Path, scrub: Callable[[bytes], bytes] = lambda line: line) -> Iterator[Line]:
    """Read every line of an output file or an error file; empty ones do not count.

    Args:
        scrub: Takes a key out of a line, should a server have quoted it.

    Raises:
        StoreError: It cannot be read.
    """
    with as_store_errors(path), path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _result(number, scrub(line))


def _result(number: int, line: bytes) -> Line:
    try:
        document = _loads(line)
    except ValueError:
        return UnreadableLine(number, "not_json" if line.endswith(b"\n") else "torn")
    key = document.get("custom_id") if isinstance(document, dict) else None
    if not isinstance(key, str):
        return UnreadableLine(number, "no_custom_id")
    response, error = document.get("response"), document.get("error")
    names = (response.get("request_id") if isinstance(response, dict) else None, document.get("id"))
    named = [name for name in names if isinstance(name, str) and name]
    request_id = named[0][:200] if named else f"line-{key_of(KeySubject.BATCH_LINE, line.strip())}"
    if isinstance(error, dict) and error.get("code") in UNFINISHED:
        return ResultLine(key, None, None, request_id)
    read = _read(response, error)
    return (
        ResultLine(key, None, read, request_id) if isinstance(read, Fault) else ResultLine(key, read, None, request_id)
    )


def _read(response: Any, error: Any) -> Mapping[str, Any] | Fault:
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        status, body = response["status_code"], json.dumps(response.get("body")).encode()
        if 200 <= status < 300:
            return reply_of(body)
        return fault_of_status(status, {}, body) if 300 <= status < 600 else Fault("server_error", status)
    if not isinstance(error, dict):
        return Fault("not_a_completion")
    fault = fault_of_status(400, {}, json.dumps({"error": error}).encode())
    # no status came with it; what no code tells to be the request's own fault may pass
    return Fault("server_error" if fault.name == "bad_request" else fault.name, None, detail=fault.detail)


def _loads(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:  # NaN, half a surrogate pair, more than 1,024 levels
        try:
            return json.loads(line)
        except RecursionError:
            raise ValueError("nested too deeply") from None
