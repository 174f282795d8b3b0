"""OpenAI's Batch API, and those of servers that speak it.

    POST /files (purpose=batch) ─▶ POST /batches ─▶ GET /batches/{id} ─▶ GET /files/{id}/content, of output and errors

    sent    {"custom_id": <key>, "method": "POST", "url": "/v1/chat/completions", "body": {…}}
    back    {"id": "batch_req_1", "custom_id": <key>, "response": {"status_code": 200, "request_id": …, "body": {…}},
             "error": null}
            {"id": "batch_req_2", "custom_id": <key>, "response": null, "error": {"code": "batch_expired", …}}

A batch carries its part as metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from vldata.llm.batch.api import PAGE, BatchApi, RemoteBatch, flattened, plain_line
from vldata.llm.batch.lines import Line, ResultLine, request_id_of
from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault, fault_of_status, reply_of
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.client import ReadImage

PART: Final = "vldata_part"
"""The metadata field in which a batch carries the id of its part."""

CHAT: Final = "/v1/chat/completions"
"""What every line asks for."""

WINDOW: Final = "24h"
"""The only one that OpenAI's API takes."""

UNFINISHED = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that the server never processed: not failed, not billed, simply still to be sent."""


class OpenAIBatches(BatchApi):
    """The files and batches of OpenAI's API; also the base for APIs that differ in little."""

    name = "openai"
    title = "OpenAI"

    @staticmethod
    def headers(endpoint: Endpoint) -> dict[str, str]:
        headers = BatchApi.headers(endpoint)
        if endpoint.name == "openai":  # the environment's organisation is nobody else's business
            for header, variable in (
                ("OpenAI-Organization", "OPENAI_ORG_ID"),
                ("OpenAI-Project", "OPENAI_PROJECT_ID"),
            ):
                if os.environ.get(variable):
                    headers[header] = os.environ[variable]
        return headers

    @staticmethod
    def line(request: Request, read_image: ReadImage) -> bytes:
        from vldata.llm.client import chat_body  # loads the whole client library

        body = chat_body(request, read_image)
        return orjson.dumps({"custom_id": request.key, "method": "POST", "url": CHAT, "body": body}) + b"\n"

    @staticmethod
    def result(document: Mapping[str, Any], line: bytes) -> Line | None:
        key = document.get("custom_id")
        if not isinstance(key, str) or "result" in document:
            return None
        response, error = document.get("response"), document.get("error")
        names = (response.get("request_id") if isinstance(response, dict) else None, document.get("id"))
        request_id = request_id_of(names, line)
        if isinstance(error, dict) and error.get("code") in UNFINISHED:
            return ResultLine(key, None, None, request_id)
        read = _read(response, error)
        is_fault = isinstance(read, Fault)
        return ResultLine(key, None if is_fault else read, read if is_fault else None, request_id)  # type: ignore[arg-type]

    def upload(self, path: Path) -> str | Fault:
        def once() -> str:
            with path.open("rb") as data:
                files, form = {"file": (path.name, data)}, {"purpose": "batch"}
                return id_of(self.http.request("POST", f"{self.base}/files", files=files, data=form))

        return self.http.patiently(once)

    def create(self, path: Path, file_id: str, part: str, model: str) -> RemoteBatch | Fault:
        body = {
            "input_file_id": file_id,
            "endpoint": CHAT,
            "completion_window": WINDOW,
            "metadata": {PART: part},
        }
        return self.http.once(lambda: _batch(self.http.request("POST", f"{self.base}/batches", json=body)))

    def retrieve(self, batch_id: str) -> RemoteBatch | Fault:
        return self.http.patiently(lambda: _batch(self.http.request("GET", f"{self.base}/batches/{batch_id}")))

    def cancel(self, batch_id: str) -> RemoteBatch | Fault:
        url = f"{self.base}/batches/{batch_id}/cancel"
        return self.http.patiently(lambda: _batch(self.http.request("POST", url)))

    def page(self, after: str | None, since: float) -> tuple[list[RemoteBatch], str | None] | Fault:
        query = {"limit": str(PAGE)} | ({} if after is None else {"after": after})

        def once() -> tuple[list[RemoteBatch], str | None]:
            document = self.http.request("GET", f"{self.base}/batches", params=query)
            batches = [_batch(batch) for batch in listed(document, "data")]
            return batches, batches[-1].id if batches and document.get("has_more") else None

        return self.http.patiently(once)

    def download(self, file_id: str, path: Path) -> Fault | None:
        return self.http.download(f"{self.base}/files/{file_id}/content", path)


def id_of(document: Mapping[str, Any]) -> str:
    """The id of a file or batch.

    Raises:
        UnexpectedReplyError: There is none.
    """
    from vldata.llm.batch.http import UnexpectedReplyError

    name = document.get("id")
    if not isinstance(name, str) or not name:
        raise UnexpectedReplyError
    return name


def listed(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The batches of a page.

    Raises:
        UnexpectedReplyError: There is no list.
    """
    from vldata.llm.batch.http import UnexpectedReplyError

    batches = document.get(name)
    if not isinstance(batches, list):
        raise UnexpectedReplyError
    return [batch for batch in batches if isinstance(batch, dict) and isinstance(batch.get("id"), str)]


def files_of(document: Mapping[str, Any], output: str, errors: str) -> dict[str, str]:
    """The ids of both files of results, as far as there are any, by suffix."""
    named = {"output": document.get(output), "errors": document.get(errors)}
    return {suffix: name for suffix, name in named.items() if isinstance(name, str) and name}


def part_in(document: Mapping[str, Any]) -> str | None:
    """The part that a batch carries as metadata."""
    metadata = document.get("metadata")
    part = metadata.get(PART) if isinstance(metadata, dict) else None
    return part if isinstance(part, str) else None


def time_of(document: Mapping[str, Any]) -> float | None:
    """When a batch was created."""
    created_at = document.get("created_at")
    return float(created_at) if isinstance(created_at, int | float) else None


def _batch(document: Mapping[str, Any]) -> RemoteBatch:
    counts = document.get("request_counts")
    return RemoteBatch(
        id=id_of(document),
        status=str(document.get("status")),
        counts=counts if isinstance(counts, dict) else {},
        files=files_of(document, "output_file_id", "error_file_id"),
        errors=tuple(_errors(document)),
        part=part_in(document),
        created_at=time_of(document),
    )


def _errors(document: Mapping[str, Any]) -> Iterator[str]:
    errors = document.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else None
    for error in data[:3] if isinstance(data, list) else ():
        if isinstance(error, dict):
            yield plain_line(f"{error.get('code') or 'error'}: {str(error.get('message') or '')[:200]}")


def _read(response: Any, error: Any) -> Mapping[str, Any] | Fault:
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        status, body = response["status_code"], json.dumps(response.get("body")).encode()
        if 200 <= status < 300:
            return flattened(reply_of(body))
        return fault_of_status(status, {}, body) if 300 <= status < 600 else Fault("server_error", status)
    if not isinstance(error, dict):
        return Fault("not_a_completion")
    fault = fault_of_status(400, {}, json.dumps({"error": error}).encode())
    # no status came with it; what no code tells to be the request's own fault may pass
    return Fault("server_error" if fault.name == "bad_request" else fault.name, None, detail=fault.detail)
