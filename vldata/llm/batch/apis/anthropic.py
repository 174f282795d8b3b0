"""Anthropic's Message Batches: the requests go with the creation itself, and there is no file of them.

    POST /messages/batches ─▶ GET /messages/batches/{id} ─▶ GET /messages/batches/{id}/results

    sent    {"custom_id": <key>, "params": {"model": …, "max_tokens": …, "system": …, "messages": […]}}
    back    {"custom_id": …, "result": {"type": "succeeded", "message": {"content": [{"type": "text", …}], …}}}
            {"custom_id": …, "result": {"type": "errored", "error": {"error": {"type": "invalid_request_error", …}}}}
            {"custom_id": …, "result": {"type": "expired"}}            or "canceled": never processed, not billed

A batch carries no metadata, so its part is in the ``custom_id`` of its requests, before the key: 64 characters, as many
as there may be. They can be read back only when the batch has ended; one of the right size that has not may be ours.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from vldata.llm.batch.api import (
    ENDED,
    PAGE,
    BatchApi,
    Orphans,
    RemoteBatch,
    UntranslatableError,
    completion,
    count,
    encoded_image,
    renamed,
    texts_of,
    turns_of,
)
from vldata.llm.batch.apis.openai import id_of, listed
from vldata.llm.batch.lines import Line, ResultLine, request_id_of
from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault, fault_of_status
from vldata.llm.prices import max_output_tokens
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.client import ReadImage

VERSION: Final = "2023-06-01"
_KEY_CHARS = 32
_TITLE = "Anthropic"
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_NAMES = {
    **{name: name for name in ("temperature", "top_p", "top_k", "max_tokens", "thinking")},
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
}
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_HEAD = b'{"custom_id":"'


class AnthropicBatches(BatchApi):
    """The message batches of Anthropic's API."""

    name = "anthropic"
    title = _TITLE
    max_lines = 100_000
    max_bytes = 250 * 10**6  # of 256 MB, with room for what is put around the lines

    @staticmethod
    def headers(endpoint: Endpoint) -> dict[str, str]:
        return {"x-api-key": endpoint.reveal_key(), "anthropic-version": VERSION}

    @staticmethod
    def line(request: Request, read_image: ReadImage) -> bytes:
        return orjson.dumps({"custom_id": request.key, "params": _body(request, read_image)}) + b"\n"

    @staticmethod
    def result(document: Mapping[str, Any], line: bytes) -> Line | None:
        name, result = document.get("custom_id"), document.get("result")
        if not isinstance(name, str) or not isinstance(result, dict):
            return None
        key, message, error = name[-_KEY_CHARS:], result.get("message"), result.get("error")
        named = [part.get(field) for part, field in ((message, "id"), (error, "request_id")) if isinstance(part, dict)]
        request_id = request_id_of(named, line)
        if result.get("type") in ("expired", "canceled"):
            return ResultLine(key, None, None, request_id)
        if result.get("type") == "succeeded":
            reply = _completion(message)
            if isinstance(reply, Fault):
                return ResultLine(key, None, reply, request_id)
            return ResultLine(key, reply, None, request_id)
        return ResultLine(key, None, _fault(error), request_id, is_free=True)

    def upload(self, path: Path) -> str | Fault:
        return ""

    def create(self, path: Path, file_id: str, part: str, model: str) -> RemoteBatch | Fault:
        size = sum(len(piece) for piece in _pieces(path, part))
        headers = {"Content-Type": "application/json", "Content-Length": str(size)}

        def once() -> RemoteBatch:
            return _batch(self.http.request("POST", self._url(), content=_pieces(path, part), headers=headers))

        return self.http.once(once)

    def retrieve(self, batch_id: str) -> RemoteBatch | Fault:
        return self.http.patiently(lambda: _batch(self.http.request("GET", self._url(f"/{batch_id}"))))

    def cancel(self, batch_id: str) -> RemoteBatch | Fault:
        return self.http.patiently(lambda: _batch(self.http.request("POST", self._url(f"/{batch_id}/cancel"))))

    def page(self, after: str | None, since: float) -> tuple[list[RemoteBatch], str | None] | Fault:
        query = {"limit": str(PAGE)} | ({} if after is None else {"after_id": after})

        def once() -> tuple[list[RemoteBatch], str | None]:
            document = self.http.request("GET", self._url(), params=query)
            batches = [_batch(batch) for batch in listed(document, "data")]
            return batches, batches[-1].id if batches and document.get("has_more") else None

        return self.http.patiently(once)

    def find(self, parts: Mapping[str, int], since: float, known: Collection[str]) -> Orphans | Fault:
        by_part: dict[str, RemoteBatch] = {}
        unclear: set[str] = set()
        for batch in self.batches(since):
            if isinstance(batch, Fault):
                return batch
            alike = {part for part, size in parts.items() if size == batch.counts["total"]}
            if batch.id in known or not alike or (batch.created_at is not None and batch.created_at < since):
                continue
            if batch.status not in ENDED:
                unclear |= alike
                continue
            line = self.http.first_line(self._url(f"/{batch.id}/results"))
            if isinstance(line, Fault):
                if line.status == 404:  # results are kept for 29 days
                    continue
                return line
            if (part := _part_of(line)) in alike:
                by_part[part] = batch
        return Orphans(by_part, frozenset(unclear - by_part.keys()))

    def download(self, file_id: str, path: Path) -> Fault | None:
        return self.http.download(self._url(f"/{file_id}/results"), path)

    def _url(self, rest: str = "") -> str:
        return f"{self.base}/messages/batches{rest}"


def _pieces(path: Path, part: str) -> Iterator[bytes]:
    """The body of a creation: a file's lines as one list, each with the part before its key."""
    yield b'{"requests":['
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            yield (b"," if number else b"") + _HEAD + part.encode() + line.rstrip(b"\n").removeprefix(_HEAD)
    yield b"]}"


def _part_of(line: bytes) -> str:
    try:
        name = json.loads(line)["custom_id"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name[:-_KEY_CHARS] if isinstance(name, str) else ""


def _batch(document: Mapping[str, Any]) -> RemoteBatch:
    counts = document.get("request_counts")
    numbers = {name: count(value) for name, value in counts.items()} if isinstance(counts, dict) else {}
    status = str(document.get("processing_status"))
    if status == "ended":
        status = "completed"
        if document.get("cancel_initiated_at") and numbers.get("canceled"):
            status = "cancelled"
        elif numbers.get("expired"):
            status = "expired"
    created_at = document.get("created_at")
    batch_id = id_of(document)
    return RemoteBatch(
        id=batch_id,
        status={"canceling": "cancelling"}.get(status, status),
        counts={
            "total": sum(numbers.values()),
            "completed": numbers.get("succeeded", 0),
            "failed": numbers.get("errored", 0),
        },
        files={"output": batch_id} if status in ENDED else {},
        created_at=datetime.fromisoformat(created_at).timestamp() if isinstance(created_at, str) else None,
    )


def _body(request: Request, read_image: ReadImage) -> dict[str, Any]:
    body = renamed(request, _NAMES, _TITLE)
    most = max_output_tokens(request.parameters)
    if most is None:
        raise UntranslatableError("parameters.max_tokens", f"{_TITLE} takes no request without it", "set it")
    if isinstance(body.get("temperature"), int | float) and body["temperature"] > 1:
        raise UntranslatableError("parameters.temperature", f"{_TITLE} takes 0 to 1", "lower it")
    if isinstance(body.get("stop_sequences"), str):
        body["stop_sequences"] = [body["stop_sequences"]]
    system = [m for m in request.messages if m["role"] in ("system", "developer")]
    texts = [text for message in system for text in texts_of(message, _TITLE)]
    if texts:
        body["system"] = "\n\n".join(texts)
    if request.response_format is not None and (schema := _format(request.response_format)) is not None:
        body["output_config"] = {"format": schema}
    turns = turns_of(request.messages, _TITLE, {"user": "user", "assistant": "assistant"})
    messages = [{"role": role, "content": [_part(part, read_image) for part in parts]} for role, parts in turns]
    return {"model": request.model, **body, "max_tokens": most, "messages": messages}


def _format(wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    if wanted.get("type") == "text":
        return None
    inner = wanted.get("json_schema")
    if wanted.get("type") != "json_schema" or not isinstance(inner, Mapping) or "schema" not in inner:
        raise UntranslatableError("response_format", f"{_TITLE} knows `json_schema` alone", "give a schema, or none")
    return {"type": "json_schema", "schema": inner["schema"]}


def _part(part: Mapping[str, Any], read_image: ReadImage) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["detail"] != "auto":
        raise UntranslatableError("messages", f"{_TITLE} has no place for an image's `detail`", "remove it")
    media_type, data = encoded_image(part, read_image, _IMAGES, _TITLE)
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _completion(message: Any) -> Mapping[str, Any] | Fault:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return Fault("not_a_completion", 200)
    blocks = [block for block in content if isinstance(block, dict)]
    return completion(
        message,
        text="".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text"),
        reasoning="".join(str(block.get("thinking") or "") for block in blocks if block.get("type") == "thinking"),
        finish_reason=_FINISH.get(str(message.get("stop_reason")), "content_filter"),
        usage=_usage(message.get("usage")),
        model=message.get("model"),
        id=message.get("id"),
    )


def _usage(usage: Any) -> dict[str, Any] | None:
    """Tokens as a chat completion counts them: here those of the cache are beside the others, not among them."""
    if not isinstance(usage, dict) or "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    read, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    prompt, answer = count(usage["input_tokens"]) + read + written, count(usage["output_tokens"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": read},
    }


def _fault(error: Any) -> Fault:
    inner = error.get("error", error) if isinstance(error, dict) else None
    if not isinstance(inner, dict):
        return Fault("server_error")
    status = _STATUS.get(str(inner.get("type")), 500)
    if status == 400 and "prompt is too long" in str(inner.get("message")):
        status = 413
    return fault_of_status(status, {}, json.dumps({"error": inner}).encode())
