"""A chat API on loopback that does what a script says, and bills.

In a test, in a thread of its own:

    with BillingServer() as server:
        server.queue(rate_limited(seconds="2"), answer())      # the next requests, whatever they are
        server.script = lambda received: reset() if received.nth == 1 else answer()      # all others
        ...
        assert server.bill.requests == 2

For what is killed, or measured, in a process of its own, which prints its URL and then serves until its input closes:

    python -m tests.llm.server [--faults 0.05] [--delay 0.01] [--seed 7] [--talks]
    GET /bill    the bill as JSON

It bills what it generated: an answer, and also one that never arrives whole (`reset`, `truncated`, `hang`, a 500 after
generating, which says how many tokens that were, a client that has gone). What it refuses (429, 400, 401, a 500 before)
is not billed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from types import TracebackType
from typing import Any, Literal

from aiohttp import web

TEXT = "Question:\nWhat is on the table?\n===\nAnswer:\nA red cup stands on the wooden table."

Whole = Literal["whole", "reset", "truncated", "hang"]


@dataclass(frozen=True)
class Act:
    """What to do with one request.

    Args:
        status: HTTP's.
        body: Bytes, or a value to send as JSON; None: a completion that says ``text``.
        text: Of the completion.
        headers: Besides the usual.
        whole: Whether the reply arrives whole, and if not, how it fails.
        is_billed: Whether something was generated.
        with_usage: Whether the completion reports its tokens.
        change: Applied to the completion before it is sent.
        delay_s: Before anything is sent.
    """

    status: int = 200
    body: bytes | object | None = None
    text: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: Whole = "whole"
    is_billed: bool = True
    with_usage: bool = True
    change: Callable[[dict[str, Any]], None] = lambda completion: None
    delay_s: float = 0.0


@dataclass(frozen=True)
class ReceivedRequest:
    """One request, unchanged.

    Args:
        number: From 1, over all.
        nth: From 1, over those with this body.
        digest: Of the body.
        body: Decoded.
        headers: By the names they came with.
    """

    number: int
    nth: int
    digest: str
    body: dict[str, Any]
    headers: Mapping[str, str]


@dataclass
class Bill:
    """What was requested and what it costs.

    Args:
        requests: All that came.
        billed: Those for which something was generated.
        whole: Those of ``billed`` that were sent whole.
        by_digest: Of a body, to how often it was billed.
        input_tokens: Of what is billed.
        output_tokens: Of what is billed.
        under_way: Now.
        most_under_way: At any time.
    """

    requests: int = 0
    billed: int = 0
    whole: int = 0
    by_digest: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    under_way: int = 0
    most_under_way: int = 0

    def as_json(self) -> dict[str, int]:
        return {
            "requests": self.requests,
            "billed": self.billed,
            "whole": self.whole,
            "distinct": len(self.by_digest),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "under_way": self.under_way,
            "most_under_way": self.most_under_way,
        }


def answer(text: str = TEXT, **more: Any) -> Act:
    """A completion that says ``text``."""
    return Act(text=text, **more)


def rate_limited(*, seconds: str | None = None, date_in_s: float | None = None, ms: str | None = None) -> Act:
    """429 with ``Retry-After`` in seconds or as a date, or with ``retry-after-ms``, or with neither."""
    headers = {}
    if seconds is not None:
        headers["Retry-After"] = seconds
    if date_in_s is not None:
        headers["Retry-After"] = formatdate(time.time() + date_in_s, usegmt=True)
    if ms is not None:
        headers["retry-after-ms"] = ms
    return failure(429, "rate_limit_exceeded", "Rate limit reached", headers=headers)


def failure(status: int, code: str | None = None, message: str = "It failed", **more: Any) -> Act:
    """An error in OpenAI's form, not billed unless ``is_billed`` says so."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return Act(**{"status": status, "body": body, "is_billed": False, **more})


def hang() -> Act:
    """Take the request, generate, and never answer."""
    return Act(whole="hang")


def reset() -> Act:
    """Break the connection in the middle of the reply."""
    return Act(whole="reset")


def truncated() -> Act:
    """Send half of the JSON as if it were all."""
    return Act(whole="truncated")


def without_usage() -> Act:
    """A completion that does not say how many tokens it took."""
    return Act(with_usage=False)


def ignoring_format() -> Act:
    """Plain text, whatever ``response_format`` says."""
    return Act(text="Sure! Here is a description of the picture.")


def refusal(text: str = "I can't help with that.") -> Act:
    """A completion whose message is a refusal."""

    def refuse(completion: dict[str, Any]) -> None:
        completion["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": text}

    return Act(change=refuse)


def web_page() -> Act:
    """200 with a page of HTML, as a wrong URL gives."""
    return Act(body=b"<!doctype html><title>Welcome</title>", is_billed=False, headers={"Content-Type": "text/html"})


class BillingServer:
    """The server, in a thread; a context manager.

    ``script`` decides what becomes of a request, unless `queue` has something for it.
    """

    def __init__(self, script: Callable[[ReceivedRequest], Act] = lambda received: Act()) -> None:
        self.script = script
        self.bill = Bill()
        self.received: list[ReceivedRequest] = []
        self.keeps_requests = True
        self.url = ""
        self._queued: deque[Act] = deque()
        self._seen: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="billing server", daemon=True)
        self._ready = threading.Event()
        self._closing = asyncio.Event()
        self._connections: set[asyncio.Transport] = set()

    def queue(self, *acts: Act) -> None:
        """What to do with the next requests, in the order in which they come."""
        self._queued.extend(acts)

    def routes(self) -> list[web.RouteDef]:
        """What it serves; more can be added in a subclass."""
        return [
            web.post("/v1/chat/completions", self.complete),
            web.get("/bill", self.show_bill),
        ]

    def __enter__(self) -> BillingServer:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        digest = hashlib.blake2b(raw, digest_size=16).hexdigest()
        self.bill.requests += 1
        self._seen[digest] += 1
        received = ReceivedRequest(
            self.bill.requests, self._seen[digest], digest, json.loads(raw), dict(request.headers)
        )
        if self.keeps_requests:
            self.received.append(received)
        act = self._queued.popleft() if self._queued else self.script(received)
        self.bill.under_way += 1
        self.bill.most_under_way = max(self.bill.most_under_way, self.bill.under_way)
        try:
            if act.delay_s:
                await asyncio.sleep(act.delay_s)
            return await self._act(request, received, act)
        finally:
            self.bill.under_way -= 1

    async def _act(self, request: web.Request, received: ReceivedRequest, act: Act) -> web.StreamResponse:
        completion = completion_of(received, act)
        if act.is_billed:
            self.bill.billed += 1
            self.bill.by_digest[received.digest] += 1
            self.bill.input_tokens += completion["usage"]["prompt_tokens"]
            self.bill.output_tokens += completion["usage"]["completion_tokens"]
        if not act.with_usage:
            del completion["usage"]
        act.change(completion)
        sent = completion if act.body is None else act.body
        if act.is_billed and act.with_usage and isinstance(sent, dict) and "error" in sent:
            sent = {"usage": completion["usage"], **sent}
        body = sent if isinstance(sent, bytes) else json.dumps(sent)
        data = body if isinstance(body, bytes) else body.encode()
        headers = {"Content-Type": "application/json", "x-request-id": f"req-{received.number}", **act.headers}
        if act.whole == "hang":
            await self._closing.wait()
        if act.whole == "truncated":
            data = data[: len(data) // 2]
        if act.whole in ("reset", "hang"):
            return await self._reset(request, data, headers)
        response = web.Response(status=act.status, body=data, headers=headers)
        await response.prepare(request)
        await response.write_eof()
        self.bill.whole += act.is_billed and act.whole == "whole"
        return response

    async def _reset(self, request: web.Request, data: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={**headers, "Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        if request.transport is not None:
            request.transport.abort()
        return response

    async def show_bill(self, request: web.Request) -> web.Response:
        return web.json_response(self.bill.as_json())

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self.serve())
        finally:
            self._loop.close()

    async def serve(self) -> None:
        """Serve on a free port until closed."""
        app = web.Application(client_max_size=2**28)
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        try:
            await self._closing.wait()
        finally:
            await runner.cleanup()


def completion_of(received: ReceivedRequest, act: Act) -> dict[str, Any]:
    """A chat completion; its tokens are the characters of request and reply, divided by four."""
    said = sum(len(json.dumps(message.get("content"))) for message in received.body["messages"])
    prompt, output = max(1, said // 4), max(1, len(act.text) // 4)
    return {
        "id": f"chatcmpl-{received.number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": received.body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": act.text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output},
        "system_fingerprint": "fp_test",
    }


FAULTS: tuple[Act, ...] = (
    rate_limited(ms="20"),
    rate_limited(seconds="0"),
    failure(500),
    failure(500, is_billed=True),
    failure(503),
    reset(),
    truncated(),
    without_usage(),
    refusal(),
    failure(400, "content_policy_violation", "No."),
)
"""A little of everything that ends by itself."""


def faulty(share: float, seed: int, faults: tuple[Act, ...] = FAULTS) -> Callable[[ReceivedRequest], Act]:
    """A script that fails a share of the requests; which, and how, follows from the body and how often it came."""

    def script(received: ReceivedRequest) -> Act:
        drawn = hashlib.blake2b(f"{seed} {received.digest} {received.nth}".encode(), digest_size=8).digest()
        number = int.from_bytes(drawn, "little") / 2**64
        return faults[int(number / share * len(faults))] if number < share else Act()

    return script


_THINGS = tuple(
    [
        "table",
        "lamp",
        "bicycle",
        "blanket",
        "window",
        "garden",
        "bridge",
        "basket",
        "river",
        "market",
        "kettle",
        "ladder",
        "mirror",
    ]
)
_LOOKS = tuple(
    [
        "red",
        "wooden",
        "small",
        "round",
        "bright",
        "heavy",
        "narrow",
        "painted",
        "quiet",
        "broken",
        "striped",
        "modern",
        "empty",
    ]
)
_PLACES = tuple(
    [
        "behind",
        "beside",
        "under",
        "above",
        "near",
        "against",
        "across",
        "inside",
        "around",
        "opposite",
        "beyond",
        "below",
        "along",
    ]
)


def talk(digest: str) -> str:
    """A conversation of three exchanges and some 120 words, another one for every digest."""
    numbers = iter(hashlib.blake2b(digest.encode()).digest())

    def said(words: tuple[str, ...]) -> str:
        return words[next(numbers) % len(words)]

    blocks = []
    for opening in ("What", "And what", "Finally, what"):
        blocks.append(f"Question:\n{opening} is {said(_PLACES)} the {said(_LOOKS)} {said(_THINGS)} in this picture?")
        clauses = [f"a {said(_LOOKS)} {said(_THINGS)} {said(_PLACES)} the {said(_THINGS)}" for _ in range(3)]
        blocks.append(f"Answer:\nThere is {clauses[0]}, and one can make out {clauses[1]}, while {clauses[2]} is seen.")
    return "\n===\n".join(blocks)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--talks", action="store_true", help="answer every request with another conversation")
    options = parser.parse_args()
    script = faulty(options.faults, options.seed) if options.faults else lambda received: Act()

    def answered(received: ReceivedRequest) -> Act:
        act = replace(script(received), delay_s=options.delay)
        return replace(act, text=talk(received.digest)) if options.talks and act.text is TEXT else act

    with BillingServer(answered) as server:
        server.keeps_requests = False
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


if __name__ == "__main__":
    main()
