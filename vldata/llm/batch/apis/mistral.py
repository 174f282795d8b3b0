"""Mistral's batch jobs: files as OpenAI's, jobs of its own, and chat bodies that differ in a few names.

    POST /files (purpose=batch) ─▶ POST /batch/jobs ─▶ GET /batch/jobs/{id} ─▶ GET /files/{id}/content

    sent    {"custom_id": <key>, "body": {…}}
    back    {"id": …, "custom_id": <key>, "response": {"status_code": 200, "body": {…}}, "error": null}

A job carries its part as metadata. It ends by itself after 24 hours (``timeout_hours``), with what it has by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from vldata.llm.batch.api import PAGE, RemoteBatch, UntranslatableError, count, plain_line, renamed
from vldata.llm.batch.apis.openai import CHAT, PART, OpenAIBatches, files_of, id_of, listed, part_in, time_of
from vldata.llm.batch.lines import Line
from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault
from vldata.llm.prices import max_output_tokens
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.client import ReadImage

_NAMES = {
    **{
        name: name
        for name in (
            "temperature",
            "top_p",
            "max_tokens",
            "stop",
            "presence_penalty",
            "frequency_penalty",
            "safe_prompt",
            "prompt_mode",
            "reasoning_effort",
        )
    },
    "max_completion_tokens": "max_tokens",
    "seed": "random_seed",
    "random_seed": "random_seed",
}
_STATES = {
    "QUEUED": "in_progress",
    "RUNNING": "in_progress",
    "SUCCESS": "completed",
    "FAILED": "failed",
    "TIMEOUT_EXCEEDED": "expired",
    "CANCELLATION_REQUESTED": "cancelling",
    "CANCELLED": "cancelled",
}
_HOURS = 24


class MistralBatches(OpenAIBatches):
    """The files and batch jobs of Mistral's API."""

    name = "mistral"
    title = "Mistral"
    is_newest_first = False
    max_lines = 1_000_000
    max_bytes = 512 * 10**6

    @staticmethod
    def headers(endpoint: Endpoint) -> dict[str, str]:
        return {"Authorization": f"Bearer {endpoint.reveal_key()}"}

    @staticmethod
    def line(request: Request, read_image: ReadImage) -> bytes:
        from vldata.llm.client import chat_body  # loads the whole client library

        parameters = renamed(request, _NAMES, MistralBatches.title)
        if any("name" in message for message in request.messages):
            raise UntranslatableError("messages", "Mistral has no place for the name of a message", "remove it")
        if (most := max_output_tokens(request.parameters)) is not None:
            parameters["max_tokens"] = most
        body = {name: value for name, value in chat_body(request, read_image).items() if name not in request.parameters}
        return orjson.dumps({"custom_id": request.key, "body": body | parameters}) + b"\n"

    @staticmethod
    def result(document: Mapping[str, Any], line: bytes) -> Line | None:
        return OpenAIBatches.result(document, line)

    def create(self, path: Path, file_id: str, part: str, model: str) -> RemoteBatch | Fault:
        body = {
            "input_files": [file_id],
            "endpoint": CHAT,
            "model": model,
            "metadata": {PART: part},
            "timeout_hours": _HOURS,
        }
        return self.http.once(lambda: _job(self.http.request("POST", f"{self.base}/batch/jobs", json=body)))

    def retrieve(self, batch_id: str) -> RemoteBatch | Fault:
        return self.http.patiently(lambda: _job(self.http.request("GET", f"{self.base}/batch/jobs/{batch_id}")))

    def cancel(self, batch_id: str) -> RemoteBatch | Fault:
        url = f"{self.base}/batch/jobs/{batch_id}/cancel"
        return self.http.patiently(lambda: _job(self.http.request("POST", url)))

    def page(self, after: str | None, since: float) -> tuple[list[RemoteBatch], str | None] | Fault:
        number = 0 if after is None else int(after)
        created_after = datetime.fromtimestamp(since, UTC).isoformat()
        query = {"page": str(number), "page_size": str(PAGE), "created_after": created_after}

        def once() -> tuple[list[RemoteBatch], str | None]:
            document = self.http.request("GET", f"{self.base}/batch/jobs", params=query)
            jobs = [_job(job) for job in listed(document, "data")]
            is_last = (number + 1) * PAGE >= count(document.get("total")) if "total" in document else len(jobs) < PAGE
            return jobs, None if is_last or not jobs else str(number + 1)

        return self.http.patiently(once)


def _job(document: Mapping[str, Any]) -> RemoteBatch:
    names = {"total": "total_requests", "completed": "succeeded_requests", "failed": "failed_requests"}
    errors = document.get("errors")
    status = str(document.get("status"))
    return RemoteBatch(
        id=id_of(document),
        status=_STATES.get(status, status),
        counts={name: count(document.get(theirs)) for name, theirs in names.items()},
        files=files_of(document, "output_file", "error_file"),
        errors=tuple(
            plain_line(error.get("message") or "error")
            for error in (errors[:3] if isinstance(errors, list) else ())
            if isinstance(error, dict)
        ),
        part=part_in(document),
        created_at=time_of(document),
    )
