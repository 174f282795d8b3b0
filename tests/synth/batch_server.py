"""Files and batches on loopback, beside the chat API of `tests.synth.server`; scripted, and billing.

    with BatchServer() as server:
        server.batch_script = lambda batch: Fate(polls=2, status="expired", done=3)
        ...
        assert server.batch_bill == {key: 1, ...}

What a line's completion costs is counted once for each batch in which it was generated, like anything it generates.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.synth.server import Act, Asked, BillingServer, completion_of

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Fate:
    """What becomes of a batch.

    Args:
        polls: How often it is ``in_progress`` before it ends.
        status: In which it ends.
        done: So many of its lines are generated, from the first; None: all.
        failing: Custom ids of lines that fail, with status and code of the error.
        errors: Of the batch as a whole, when its validation fails: nothing is generated.
        is_reversed: Results come in the opposite order.
        with_usage: Whether completions report their tokens.
        text: What completions say.
        spoil: Applied to the bytes of the output file.
    """

    polls: int = 0
    status: str = "completed"
    done: int | None = None
    failing: Callable[[str], tuple[int, str] | None] = lambda custom_id: None
    errors: tuple[dict[str, Any], ...] = ()
    is_reversed: bool = False
    with_usage: bool = True
    text: str = "A batch says this."
    spoil: Callable[[bytes], bytes] = lambda data: data


@dataclass
class Batch:
    """One that was made."""

    number: int
    lines: list[Line]
    fate: Fate
    body: dict[str, Any]
    polled: int = 0
    output: str | None = None
    errors: str | None = None
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Refusal:
    """An HTTP error, or a broken connection, in the place of a reply.

    Args:
        status: HTTP's; 0 breaks the connection.
        after: Whether what was asked for is done all the same.
        code: Of the error.
        headers: Besides the usual.
    """

    status: int
    after: bool = False
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class BatchServer(BillingServer):
    """A `BillingServer` with files and batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_script: Callable[[int], Fate] = lambda number: Fate()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}
        self.batch_bill: Counter[str] = Counter()
        self.batch_headers: list[Mapping[str, str]] = []
        self.refuse: dict[str, deque[Refusal]] = {name: deque() for name in ("upload", "create", "content", "list")}

    def __enter__(self) -> BatchServer:
        super().__enter__()
        return self

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.post("/v1/files", self.upload),
            web.get("/v1/files/{id}/content", self.content),
            web.post("/v1/batches", self.create),
            web.get("/v1/batches", self.list),
            web.get("/v1/batches/{id}", self.retrieve),
        ]

    async def upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        data = form["file"].file.read()  # type: ignore[union-attr]
        assert form["purpose"] == "batch"
        refusal = self._refusal("upload")
        if refusal is not None:
            return self._refused(request, refusal)
        name = self._keep(data)
        return web.json_response({"id": name, "object": "file", "bytes": len(data), "purpose": "batch"})

    async def content(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal("content")
        if refusal is not None:
            return self._refused(request, refusal)
        data = self.files.get(request.match_info["id"])
        return self._error(404, "not_found") if data is None else web.Response(body=data)

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.batch_headers.append(dict(request.headers))
        body = await request.json()
        assert body["endpoint"] == "/v1/chat/completions"
        refusal = self._refusal("create")
        if refusal is None or refusal.after:
            number = len(self.batches) + 1
            lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
            self.batches[f"batch_{number}"] = Batch(number, lines, self.batch_script(number), body)
        if refusal is not None:
            return self._refused(request, refusal)
        return web.json_response(self._shown(f"batch_{number}"))

    async def list(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal("list")
        if refusal is not None:
            return self._refused(request, refusal)
        names = list(reversed(self.batches))
        if "after" in request.query:
            names = names[names.index(request.query["after"]) + 1 :]
        page = names[: min(int(request.query.get("limit", 20)), 2)]  # small pages, so that paging is used
        shown = [self._shown(name) for name in page]
        return web.json_response({"object": "list", "data": shown, "has_more": len(page) < len(names)})

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        if name not in self.batches:
            return self._error(404, "not_found")
        batch = self.batches[name]
        batch.polled += 1
        if batch.polled > batch.fate.polls:
            self._finish(batch)
        return web.json_response(self._shown(name))

    def _finish(self, batch: Batch) -> None:
        fate = batch.fate
        if batch.output is not None or batch.errors is not None or fate.errors:
            return
        good, bad = [], []
        for place, line in enumerate(batch.lines):
            key = line["custom_id"]
            name = f"batch_req_{batch.number}_{place}"
            if fate.done is not None and place >= fate.done:
                code = "batch_cancelled" if fate.status == "cancelled" else "batch_expired"
                error = {"code": code, "message": "Not executed."}
                bad.append({"id": name, "custom_id": key, "response": None, "error": error})
                continue
            failure = fate.failing(key)
            if failure is not None:
                error = {"message": "It failed.", "type": "error", "code": failure[1]}
                response = {"status_code": failure[0], "request_id": f"req-{name}", "body": {"error": error}}
                bad.append({"id": name, "custom_id": key, "response": response, "error": None})
                continue
            asked = Asked(batch.number * 1_000_000 + place, 1, key, dict(line["body"]), {})
            completion = completion_of(asked, Act(text=fate.text))
            if not fate.with_usage:
                del completion["usage"]
            self.batch_bill[key] += 1
            response = {"status_code": 200, "request_id": f"req-{name}", "body": completion}
            good.append({"id": name, "custom_id": key, "response": response, "error": None})
        batch.completed, batch.failed = len(good), len(bad)
        step = -1 if fate.is_reversed else 1
        batch.output = self._keep(fate.spoil(_lines(good[::step]))) if good else None
        batch.errors = self._keep(_lines(bad[::step])) if bad else None

    def _shown(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        is_ended = batch.polled > batch.fate.polls
        return {
            "id": name,
            "object": "batch",
            "endpoint": batch.body["endpoint"],
            "input_file_id": batch.body["input_file_id"],
            "completion_window": "24h",
            "created_at": int(time.time()),
            "metadata": batch.body.get("metadata"),
            "status": batch.fate.status if is_ended else "in_progress",
            "errors": {"object": "list", "data": list(batch.fate.errors)} if is_ended and batch.fate.errors else None,
            "output_file_id": batch.output,
            "error_file_id": batch.errors,
            "request_counts": {"total": len(batch.lines), "completed": batch.completed, "failed": batch.failed},
        }

    def _keep(self, data: bytes) -> str:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = data
        return name

    def _refusal(self, name: str) -> Refusal | None:
        return self.refuse[name].popleft() if self.refuse[name] else None

    def _refused(self, request: web.Request, refusal: Refusal) -> web.StreamResponse:
        if refusal.status == 0:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return self._error(refusal.status, refusal.code, refusal.headers)

    def _error(self, status: int, code: str | None, headers: Mapping[str, str] | None = None) -> web.Response:
        body = {"error": {"message": "It failed", "type": "error", "param": None, "code": code}}
        return web.json_response(body, status=status, headers=headers)


def _lines(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)
