"""One request to one endpoint and back: bytes out, a reply or a fault in. What follows from it is decided elsewhere.

The client is OpenAI's own with its retries off: they would escape the budget and the account of attempts, and it gives
up where a server asks for a pause of over two minutes. Replies are taken as bytes and kept as they came, which also
spares the client half of its work. Redirects are not followed: a request and its key go where the user said, and
nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import openai

from vldata.errors import VldataError
from vldata.images.kinds import sniff
from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault, fault_of_status, reply_of
from vldata.llm.request import Request

CONNECT_TIMEOUT_S = 30.0
"""A server that is there accepts within seconds; the long timeout is for the answer."""

MAX_REQUEST_ID_CHARS = 200
"""Longer than any in use; a header may be as long as its server likes, and this is kept for ever."""

_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
ReadImage = Callable[[Mapping[str, Any]], bytes]
"""Reads the encoded bytes to send for an image part of a message, already scaled down where the part says so. It may be
called from several threads; it raises `VldataError` or `OSError` for what it cannot read, which fails the row."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A chat completion.

    Args:
        raw: Unchanged, but without the key.
        request_id: As the server calls it.
    """

    raw: Mapping[str, Any]
    request_id: str | None


class Client:
    """A connection to an endpoint.

    Args:
        endpoint: Its key is used here and nowhere else.
        concurrency: Requests that may be under way at once; there is a connection for each.

    Raises:
        EndpointError: It has no key.
    """

    def __init__(self, endpoint: Endpoint, concurrency: int) -> None:
        self._endpoint = endpoint
        self._client = openai.AsyncOpenAI(
            api_key=endpoint.reveal_key(),
            admin_api_key="",  # the environment's belongs to another API
            base_url=endpoint.url,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpx2Client(
                timeout=httpx2.Timeout(endpoint.timeout_s, connect=min(CONNECT_TIMEOUT_S, endpoint.timeout_s)),
                limits=httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            ),
        )
        self._silencer = _Silencer(endpoint)
        self._loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if _is_clients(name)]
        for logger in self._loggers:
            logger.addFilter(self._silencer)
        if endpoint.name != "openai":  # the environment's organisation is nobody else's business
            self._client.organization = self._client.project = None

    async def complete(self, body: bytes) -> Reply | Fault:
        """Send a body as `chat_body` makes it, as JSON, once."""
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                response = await self._client.post(
                    "/chat/completions",
                    content=body,
                    cast_to=httpx2.Response,
                    options={"headers": {"Content-Type": "application/json"}, "follow_redirects": False},
                )
        except TimeoutError:
            return Fault("timed_out")
        except openai.APIStatusError as error:
            response = error.response
            fault = fault_of_status(
                response.status_code, response.headers, self._endpoint.scrub_bytes(response.content)
            )
            return replace(fault, request_id=self._request_id(response))
        except openai.APIConnectionError as error:
            never = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
            if isinstance(error.__cause__, never):
                return Fault("unreachable", detail=self._endpoint.scrub(str(error.__cause__)))
            return Fault("timed_out" if isinstance(error, openai.APITimeoutError) else "connection_lost")
        raw = reply_of(self._endpoint.scrub_bytes(response.content))
        request_id = self._request_id(response)
        return replace(raw, request_id=request_id) if isinstance(raw, Fault) else Reply(raw, request_id)

    async def close(self) -> None:
        """Give the connections back."""
        try:
            await self._client.close()
        finally:
            for logger in self._loggers:
                logger.removeFilter(self._silencer)

    def _request_id(self, response: httpx2.Response) -> str | None:
        name = response.headers.get("x-request-id")
        return None if name is None else self._endpoint.scrub(name)[:MAX_REQUEST_ID_CHARS]


class _Silencer(logging.Filter):
    """Takes the key out of what the client's parts log: they hide what they send, and show headers that quote it."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._endpoint.scrub(record.getMessage()), ()
        return True


def _is_clients(logger: str) -> bool:
    return logger.split(".")[0] in ("openai", "httpx2", "httpcore2", "httpx", "httpcore")


def chat_body(request: Request, read_image: ReadImage) -> dict[str, Any]:
    """The body that a chat API takes: image parts by hash become data URLs.

    Raises:
        VldataError: An image cannot be read, or is of a kind that no API takes.
        OSError: The same.
    """
    body: dict[str, Any] = {"model": request.model, "messages": [_message(m, read_image) for m in request.messages]}
    body |= request.parameters
    if request.response_format is not None:
        body["response_format"] = request.response_format
    return body


def _message(message: Mapping[str, Any], read_image: ReadImage) -> Mapping[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [_part(part, read_image) if part["type"] == "image" else part for part in content]}


def _part(part: Mapping[str, Any], read_image: ReadImage) -> dict[str, Any]:
    data = read_image(part)
    media_type = _MEDIA_TYPES.get(sniff(data) or "")
    if media_type is None:
        raise VldataError(f"image {part['hash']}", "is of a kind that no chat API takes", "convert it to PNG or JPEG")
    url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": part["detail"]}}
