"""Batch APIs on loopback beside OpenAI's: the same batches and fates, spoken by the protocols of other providers."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.llm.batch_server import Batch, BatchServer, Line

Outcome = dict[str, Any] | tuple[int, str] | str


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _has_ended(batch: Batch) -> bool:
    return batch.polled > batch.fate.polls


class MistralServer(BatchServer):
    """Files as OpenAI's, and batch jobs."""

    batch_api = "mistral"

    def routes(self) -> list[web.RouteDef]:
        mine = [
            web.post("/v1/batch/jobs", self.create),
            web.get("/v1/batch/jobs", self.list),
            web.get("/v1/batch/jobs/{id}", self.retrieve),
            web.post("/v1/batch/jobs/{id}/cancel", self.cancel),
        ]
        return [*(route for route in super().routes() if "batches" not in route.path), *mine]

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.batch_headers.append(dict(request.headers))
        body = await request.json()
        assert body.keys() <= {"input_files", "endpoint", "model", "metadata", "timeout_hours"}
        assert (body["endpoint"], body["timeout_hours"]) == ("/v1/chat/completions", 24)
        assert all(len(value) <= 512 for value in body["metadata"].values())
        (file,) = body["input_files"]
        return self._created(request, body, self.files[file])

    async def list(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal("list")
        if refusal is not None:
            return self._refused(request, refusal)
        datetime.fromisoformat(request.query["created_after"])
        number, size = int(request.query["page"]), int(request.query["page_size"])
        names = list(self.batches)[number * size : (number + 1) * size]
        shown = [self._shown(name) for name in names]
        return web.json_response({"object": "list", "data": shown, "total": len(self.batches)})

    def line_of(self, line: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        assert line.keys() == {"custom_id", "body"}
        unknown = line["body"].keys() & {"seed", "max_completion_tokens", "n", "user"}
        assert not unknown, unknown
        return {**line, "key": line["custom_id"]}

    def _shown(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        state = {"completed": "SUCCESS", "expired": "TIMEOUT_EXCEEDED"}.get(
            batch.fate.status, batch.fate.status.upper()
        )
        errors = [{"message": f"{e['code']}: {e['message']}", "count": 1} for e in batch.fate.errors]
        return {
            "id": name,
            "object": "batch",
            "input_files": batch.body["input_files"],
            "metadata": batch.body["metadata"],
            "endpoint": batch.body["endpoint"],
            "model": batch.body["model"],
            "output_file": batch.output,
            "error_file": batch.errors,
            "errors": errors if _has_ended(batch) else [],
            "status": state if _has_ended(batch) else "CANCELLATION_REQUESTED" if batch.is_cancelled else "RUNNING",
            "created_at": int(time.time()),
            "total_requests": len(batch.lines),
            "completed_requests": batch.completed + batch.failed,
            "succeeded_requests": batch.completed,
            "failed_requests": batch.failed,
        }


class AnthropicServer(BatchServer):
    """Message batches: no files of requests, and no metadata."""

    batch_api = "anthropic"
    first_step = "create"
    policy = "bad_request"
    has_error_file = False

    def routes(self) -> list[web.RouteDef]:
        mine = [
            web.post("/v1/messages/batches", self.create),
            web.get("/v1/messages/batches", self.list),
            web.get("/v1/messages/batches/{id}", self.retrieve),
            web.post("/v1/messages/batches/{id}/cancel", self.cancel),
            web.get("/v1/messages/batches/{id}/results", self.content),
        ]
        return [
            *(route for route in super().routes() if "batches" not in route.path and "files" not in route.path),
            *mine,
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.batch_headers.append(dict(request.headers))
        assert request.headers["anthropic-version"] == "2023-06-01" and "Authorization" not in request.headers
        body = await request.json()
        assert body.keys() == {"requests"}
        names = [each["custom_id"] for each in body["requests"]]
        assert len(set(names)) == len(names) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
        return self._created(request, {"metadata": None}, b"\n".join(json.dumps(r).encode() for r in body["requests"]))

    async def list(self, request: web.Request) -> web.StreamResponse:
        for batch in self.batches.values():  # time passes whoever looks
            batch.polled += 1
            if _has_ended(batch):
                self._finish(batch)
        refusal = self._refusal("list")
        if refusal is not None:
            return self._refused(request, refusal)
        names = list(reversed(self.batches))
        if "after_id" in request.query:
            names = names[names.index(request.query["after_id"]) + 1 :]
        page = names[:2]
        return web.json_response(
            {"data": [self._shown(name) for name in page], "has_more": len(page) < len(names), "last_id": page[-1:]}
        )

    async def content(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal("content")
        if refusal is not None:
            return self._refused(request, refusal)
        batch = self.batches.get(request.match_info["id"])
        data = None if batch is None or batch.output is None else self.files.get(batch.output)
        return self._error(404, None) if data is None else web.Response(body=data)

    def line_of(self, line: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        params = line["params"]
        known = {"model", "max_tokens", "messages", "system", "temperature", "top_p", "top_k", "stop_sequences"}
        assert params.keys() <= known | {"output_config", "thinking"} and params["max_tokens"] >= 1
        assert all(message["role"] in ("user", "assistant") for message in params["messages"])
        return {"custom_id": line["custom_id"], "key": line["custom_id"][-32:], "body": params}

    def row(self, name: str, line: Line, outcome: Outcome) -> dict[str, Any]:
        if isinstance(outcome, str):
            result: dict[str, Any] = {"type": {"cancelled": "canceled"}.get(outcome, outcome)}
        elif isinstance(outcome, tuple):
            types = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error"}
            error = {"type": types[outcome[0]], "message": f"{outcome[1]}: it failed"}
            result = {"type": "errored", "error": {"type": "error", "error": error, "request_id": f"req-{name}"}}
        else:
            usage = outcome.get("usage")
            message = {
                "id": f"msg_{name}",
                "type": "message",
                "role": "assistant",
                "model": outcome["model"],
                "content": [{"type": "text", "text": outcome["choices"][0]["message"]["content"]}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
            }
            if usage is not None:
                message["usage"] = {
                    "input_tokens": usage["prompt_tokens"],
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": usage["completion_tokens"],
                    "service_tier": "batch",
                }
            result = {"type": "succeeded", "message": message}
        return {"custom_id": line["custom_id"], "result": result}

    def _shown(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        total, has_ended = len(batch.lines), _has_ended(batch)
        left = 0 if batch.fate.done is None else max(0, total - batch.fate.done)
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        if has_ended:
            counts["succeeded"], counts["errored"] = batch.completed, batch.failed - left
            counts["canceled" if batch.fate.status == "cancelled" else "expired"] = left
        else:
            counts["processing"] = total
        is_cancelled = batch.is_cancelled or batch.fate.status == "cancelled"
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if has_ended else "canceling" if batch.is_cancelled else "in_progress",
            "request_counts": counts,
            "created_at": _stamp(),
            "expires_at": _stamp(),
            "ended_at": _stamp() if has_ended else None,
            "cancel_initiated_at": _stamp() if is_cancelled else None,
            "archived_at": None,
            "results_url": f"{self.url}/messages/batches/{name}/results" if has_ended else None,
        }


class GeminiServer(BatchServer):
    """Files in two steps, and batches that are operations."""

    batch_api = "gemini"
    has_error_file = False

    def routes(self) -> list[web.RouteDef]:
        mine = [
            web.post("/upload/v1/files", self.start),
            web.post("/upload/v1/files/{size}", self.upload),
            web.post("/v1/models/{model}:batchGenerateContent", self.create),
            web.get("/v1/batches", self.list),
            web.get("/v1/batches/{id}", self.retrieve),
            web.post("/v1/batches/{id}:cancel", self.cancel),
            web.get("/download/v1/files/{id}:download", self.content),
        ]
        return [
            *(route for route in super().routes() if "batches" not in route.path and "files" not in route.path),
            *mine,
        ]

    async def start(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["X-Goog-Upload-Protocol"] == "resumable"
        assert request.headers["X-Goog-Upload-Command"] == "start"
        refusal = self._refusal("upload")
        if refusal is not None:
            return self._refused(request, refusal)
        size = request.headers["X-Goog-Upload-Header-Content-Length"]
        root = self.url.rpartition("/")[0]
        return web.json_response({}, headers={"X-Goog-Upload-URL": f"{root}/upload/v1/files/{size}?upload_id=1"})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["X-Goog-Upload-Command"] == "upload, finalize"
        data = await request.read()
        assert len(data) == int(request.match_info["size"])
        name = f"files/{self._keep(data)}"
        return web.json_response({"file": {"name": name, "sizeBytes": str(len(data)), "state": "ACTIVE"}})

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.batch_headers.append(dict(request.headers))
        assert "x-goog-api-key" in request.headers and "Authorization" not in request.headers
        body = (await request.json())["batch"] | {"model": request.match_info["model"]}
        return self._created(request, body, self.files[body["inputConfig"]["fileName"].removeprefix("files/")])

    async def list(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal("list")
        if refusal is not None:
            return self._refused(request, refusal)
        names, start = list(reversed(self.batches)), int(request.query.get("pageToken", 0))
        page = {"operations": [self._shown(name) for name in names[start : start + 2]]}
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(names) else {}
        return web.json_response(more | (page if page["operations"] else {}))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        done = await super().cancel(request)
        return web.json_response({}) if done.status == 200 else done

    def line_of(self, line: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        assert line.keys() == {"key", "request"}
        sent = line["request"]
        assert sent.keys() <= {"contents", "systemInstruction", "generationConfig"}
        assert all(content["role"] in ("user", "model") for content in sent["contents"])
        messages = [{"content": content["parts"]} for content in sent["contents"]]
        return {"custom_id": line["key"], "key": line["key"], "body": {"model": body["model"], "messages": messages}}

    def row(self, name: str, line: Line, outcome: Outcome) -> dict[str, Any]:
        row = {"key": line["key"]}
        if isinstance(outcome, str):
            return row | {"error": {"code": 1, "message": "The operation was cancelled."}}
        if isinstance(outcome, tuple) and outcome[1] == "content_policy_violation":
            blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "responseId": name}
            return row | {"response": blocked | {"usageMetadata": {"promptTokenCount": 0}}}
        if isinstance(outcome, tuple):
            return row | {"error": {"code": {429: 8, 500: 13}[outcome[0]], "message": "It failed."}}
        text = outcome["choices"][0]["message"]["content"]
        response: dict[str, Any] = {
            "candidates": [
                {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
            ],
            "modelVersion": outcome["model"],
            "responseId": name,
        }
        if (usage := outcome.get("usage")) is not None:
            response["usageMetadata"] = {
                "promptTokenCount": usage["prompt_tokens"],
                "candidatesTokenCount": usage["completion_tokens"],
                "totalTokenCount": usage["total_tokens"],
            }
        return row | {"response": response}

    def _shown(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        states = {"completed": "SUCCEEDED"}
        state = states.get(batch.fate.status, batch.fate.status.upper()) if _has_ended(batch) else "RUNNING"
        output = {"responsesFile": f"files/{batch.output}"} if batch.output is not None else {}
        operation: dict[str, Any] = {
            "name": f"batches/{name}",
            "metadata": {
                "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
                "model": f"models/{batch.body.get('model')}",
                "displayName": batch.body.get("displayName") or "other",
                "createTime": _stamp(),
                "batchStats": {
                    "requestCount": str(len(batch.lines)),
                    "successfulRequestCount": str(batch.completed),
                    "failedRequestCount": str(batch.failed),
                },
                "state": f"BATCH_STATE_{state}",
                **({"output": output} if output else {}),
            },
        }
        if not _has_ended(batch):
            return operation
        if batch.fate.errors:
            error = batch.fate.errors[0]
            return operation | {"done": True, "error": {"code": 8, "message": f"{error['code']}: {error['message']}"}}
        return operation | {"done": True, "response": output}


SERVERS: tuple[type[BatchServer], ...] = (BatchServer, AnthropicServer, GeminiServer, MistralServer)
