"""Google's Gemini Batch API: a file in two steps, a batch that is a long-running operation, and words of its own.

    POST /upload/v1beta/files (start) ─▶ POST its upload URL (finalize)
    ─▶ POST /v1beta/models/{model}:batchGenerateContent
    ─▶ GET /v1beta/batches/{id} ─▶ GET /download/v1beta/{file}:download?alt=media

    sent    {"key": <key>, "request": {"contents": [{"role": "user", "parts": [{"text": …}, {"inlineData": …}]}], …}}
    back    {"key": <key>, "response": {"candidates": [{"content": {"parts": […]}, "finishReason": "STOP"}], …}}
            {"key": <key>, "error": {"code": 13, "message": …}}        a code of google.rpc's, or HTTP's

A batch carries its part as display name. Files of results are kept for 48 hours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from vldata.llm.batch.api import (
    PAGE,
    BatchApi,
    RemoteBatch,
    UntranslatableError,
    completion,
    count,
    encoded_image,
    plain_line,
    renamed,
    texts_of,
    turns_of,
)
from vldata.llm.batch.lines import Line, ResultLine, request_id_of
from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault, fault_of_status
from vldata.llm.prices import max_output_tokens
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.client import ReadImage

_TITLE = "Gemini"
_IMAGES = frozenset({"image/jpeg", "image/png", "image/webp"})
_NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "stop": "stopSequences",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "thinking_config": "thinkingConfig",
}
_DETAILS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
_MAX_STOPS = 5
_STATES = {
    "PENDING": "in_progress",
    "RUNNING": "in_progress",
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
_CANCELLED = 1
_RPC_STATUS = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 400, 13: 500, 14: 503, 16: 401}
"""HTTP's status for a code of google.rpc's, as its definition maps them."""


class GeminiBatches(BatchApi):
    """The files and batches of the Gemini API."""

    name = "gemini"
    title = _TITLE
    max_bytes = 2 * 10**9

    @staticmethod
    def headers(endpoint: Endpoint) -> dict[str, str]:
        return {"x-goog-api-key": endpoint.reveal_key()}

    @staticmethod
    def base_of(url: str) -> str:
        return url.removesuffix("/openai")  # where the same API takes chat completions

    @staticmethod
    def line(request: Request, read_image: ReadImage) -> bytes:
        return orjson.dumps({"key": request.key, "request": _body(request, read_image)}) + b"\n"

    @staticmethod
    def result(document: Mapping[str, Any], line: bytes) -> Line | None:
        key, response, error = document.get("key"), document.get("response"), document.get("error")
        if not isinstance(key, str) or not (isinstance(response, dict) or isinstance(error, dict)):
            return None
        request_id = request_id_of([response.get("responseId") if isinstance(response, dict) else None], line)
        if not isinstance(response, dict):
            assert isinstance(error, dict)
            if error.get("code") == _CANCELLED:
                return ResultLine(key, None, None, request_id)
            return ResultLine(key, None, _fault(error), request_id, is_free=True)
        reply = _completion(response)
        if isinstance(reply, Fault):
            return ResultLine(key, None, reply, request_id)
        return ResultLine(key, reply, None, request_id)

    def upload(self, path: Path) -> str | Fault:
        root, version = self._root()

        def once() -> str:
            from vldata.llm.batch.http import UnexpectedReplyError

            size = path.stat().st_size
            start = {
                "X-Goog-Upload-Protocol": "resumable",
                "X-Goog-Upload-Command": "start",
                "X-Goog-Upload-Header-Content-Length": str(size),
                "X-Goog-Upload-Header-Content-Type": "application/jsonl",
            }
            named = {"file": {"displayName": path.name}}
            url = self.http.send("POST", f"{root}/upload/{version}/files", json=named, headers=start).headers.get(
                "x-goog-upload-url", ""
            )
            if urlsplit(url)[:2] != urlsplit(root)[:2]:  # the key goes where the user said, and nowhere else
                raise UnexpectedReplyError
            finish = {
                "X-Goog-Upload-Command": "upload, finalize",
                "X-Goog-Upload-Offset": "0",
                "Content-Length": str(size),
            }
            with path.open("rb") as data:
                document = self.http.request("POST", url, content=data, headers=finish)
            file = document.get("file")
            return _name(file if isinstance(file, dict) else {})

        return self.http.patiently(once)

    def create(self, path: Path, file_id: str, part: str, model: str) -> RemoteBatch | Fault:
        url = f"{self.base}/models/{quote(model.removeprefix('models/'))}:batchGenerateContent"
        body = {"batch": {"displayName": part, "inputConfig": {"fileName": file_id}}}
        return self.http.once(lambda: _batch(self.http.request("POST", url, json=body)))

    def retrieve(self, batch_id: str) -> RemoteBatch | Fault:
        return self.http.patiently(lambda: _batch(self.http.request("GET", f"{self.base}/{batch_id}")))

    def cancel(self, batch_id: str) -> RemoteBatch | Fault:
        done = self.http.patiently(lambda: self.http.request("POST", f"{self.base}/{batch_id}:cancel"))
        if isinstance(done, Fault):
            return done
        batch = self.retrieve(batch_id)  # the reply to a cancellation is empty
        if isinstance(batch, Fault) or batch.status != "in_progress":
            return batch
        return RemoteBatch(batch.id, "cancelling", batch.counts, batch.files, batch.errors, batch.part)

    def page(self, after: str | None, since: float) -> tuple[list[RemoteBatch], str | None] | Fault:
        query = {"pageSize": str(PAGE)} | ({} if after is None else {"pageToken": after})

        def once() -> tuple[list[RemoteBatch], str | None]:
            document = self.http.request("GET", f"{self.base}/batches", params=query)
            operations = document.get("operations", [])  # left out of a page without any
            batches = [_batch(each) for each in operations if isinstance(each, dict)]
            return batches, document.get("nextPageToken") or None

        return self.http.patiently(once)

    def download(self, file_id: str, path: Path) -> Fault | None:
        root, version = self._root()
        return self.http.download(f"{root}/download/{version}/{file_id}:download?alt=media", path)

    def _root(self) -> tuple[str, str]:
        """The address without the version of the API, and that."""
        root, _, version = self.base.rpartition("/")
        return root, version


def _name(document: Mapping[str, Any]) -> str:
    from vldata.llm.batch.http import UnexpectedReplyError

    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise UnexpectedReplyError
    return name


def _batch(operation: Mapping[str, Any]) -> RemoteBatch:
    metadata = operation.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    state = str(about.get("state")).removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    numbers = about.get("batchStats")
    stats = numbers if isinstance(numbers, dict) else {}
    error = operation.get("error")
    created_at, part = about.get("createTime"), about.get("displayName")
    response = operation.get("response")
    outputs = (about.get("output"), response)
    named = [output["responsesFile"] for output in outputs if isinstance(output, dict) and "responsesFile" in output]
    return RemoteBatch(
        id=_name(operation),
        status=_STATES.get(state, state.lower()),
        counts={
            "total": count(stats.get("requestCount")),
            "completed": count(stats.get("successfulRequestCount")),
            "failed": count(stats.get("failedRequestCount")),
        },
        files={"output": str(named[0])} if named else {},
        errors=(plain_line(error.get("message") or "error"),) if isinstance(error, dict) else (),
        part=part if isinstance(part, str) else None,
        created_at=datetime.fromisoformat(created_at).timestamp() if isinstance(created_at, str) else None,
    )


def _body(request: Request, read_image: ReadImage) -> dict[str, Any]:
    settings = renamed(request, _NAMES, _TITLE)
    if (most := max_output_tokens(request.parameters)) is not None:
        settings["maxOutputTokens"] = most
    stops = settings.get("stopSequences")
    if stops is not None:
        settings["stopSequences"] = [stops] if isinstance(stops, str) else stops
        if len(settings["stopSequences"]) > _MAX_STOPS:
            raise UntranslatableError("parameters.stop", f"{_TITLE} takes at most {_MAX_STOPS} texts", "give fewer")
    settings |= _format(request.response_format) | _resolution(request)
    body: dict[str, Any] = {
        "contents": [
            {"role": role, "parts": [_part(part, read_image) for part in parts]}
            for role, parts in turns_of(request.messages, _TITLE, {"user": "user", "assistant": "model"})
        ]
    }
    system = [m for m in request.messages if m["role"] in ("system", "developer")]
    texts = [text for message in system for text in texts_of(message, _TITLE)]
    if texts:
        body["systemInstruction"] = {"parts": [{"text": text} for text in texts]}
    return body | ({"generationConfig": settings} if settings else {})


def _format(wanted: Mapping[str, Any] | None) -> dict[str, Any]:
    if wanted is None or wanted.get("type") == "text":
        return {}
    if wanted.get("type") == "json_object":
        return {"responseMimeType": "application/json"}
    inner = wanted.get("json_schema")
    if wanted.get("type") != "json_schema" or not isinstance(inner, Mapping) or "schema" not in inner:
        raise UntranslatableError("response_format", f"{_TITLE} has no place for it", "use json_schema or json_object")
    return {"responseMimeType": "application/json", "responseJsonSchema": inner["schema"]}


def _resolution(request: Request) -> dict[str, str]:
    details = {part["detail"] for part in request.image_parts}
    if len(details) > 1:
        raise UntranslatableError("messages", f"{_TITLE} takes one `detail` for all images", "give all the same")
    detail = details.pop() if details else "auto"
    return {"mediaResolution": _DETAILS[detail]} if detail in _DETAILS else {}


def _part(part: Mapping[str, Any], read_image: ReadImage) -> dict[str, Any]:
    if part["type"] == "text":
        return {"text": part["text"]}
    media_type, data = encoded_image(part, read_image, _IMAGES, _TITLE)
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _completion(response: Mapping[str, Any]) -> Mapping[str, Any] | Fault:
    candidates = response.get("candidates")
    feedback = response.get("promptFeedback")
    if isinstance(feedback, dict) and feedback.get("blockReason") and not candidates:
        return Fault("policy", 200, detail=plain_line(feedback["blockReason"]))
    if not isinstance(candidates, list) or not candidates or not isinstance(candidates[0], dict):
        return Fault("not_a_completion", 200)
    content = candidates[0].get("content")  # left out when nothing was said before the end
    found = content.get("parts") if isinstance(content, dict) else None
    parts = [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []
    reason = str(candidates[0].get("finishReason"))
    finish = {"STOP": "stop", "MAX_TOKENS": "length"}.get(reason, "content_filter")
    if any("functionCall" in part for part in parts):
        finish = "tool_calls"
    return completion(
        response,
        text="".join(str(part.get("text") or "") for part in parts if not part.get("thought")),
        reasoning="".join(str(part.get("text") or "") for part in parts if part.get("thought")),
        finish_reason=finish,
        usage=_usage(response.get("usageMetadata")),
        model=response.get("modelVersion"),
        id=response.get("responseId"),
    )


def _usage(usage: Any) -> dict[str, Any] | None:
    """Tokens as a chat completion counts them: thoughts are billed with the answer, and are no part of its count."""
    if not isinstance(usage, dict) or "promptTokenCount" not in usage:
        return None
    prompt = count(usage["promptTokenCount"]) + count(usage.get("toolUsePromptTokenCount"))
    answer = count(usage.get("candidatesTokenCount")) + count(usage.get("thoughtsTokenCount"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": count(usage.get("cachedContentTokenCount"))},
    }


def _fault(error: Mapping[str, Any]) -> Fault:
    code = count(error.get("code"))
    status = code if 400 <= code < 600 else _RPC_STATUS.get(code, 500)
    return fault_of_status(status, {}, json.dumps({"error": error}).encode())
