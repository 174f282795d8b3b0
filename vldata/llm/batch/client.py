"""Files and batches of one endpoint. What can be repeated without harm is; a batch is created once a call.

As in `vldata.llm.client`: OpenAI's own client with its retries off, no redirects, and no key in what is kept.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import openai
import orjson

from vldata.llm.batch.lines import CHAT
from vldata.llm.client import CONNECT_TIMEOUT_S
from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault, Scope, fault_of_status
from vldata.llm.pace import MAX_WAIT_S, backoff_s

MAX_ATTEMPTS = 6
"""As for single requests: with waits that double from half a second, some 15 s of bad luck."""

PART = "vldata_part"
"""The metadata field in which a batch carries the id of its part."""

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
"""States of a batch that do not change any more."""

WINDOW: Final = "24h"
"""The only one that OpenAI's API takes."""

PAGE = 100
"""Batches listed at once, the most that OpenAI's API gives."""

_Value = TypeVar("_Value")


class BatchClient:
    """A connection to the files and batches of an endpoint; a context manager.

    Args:
        endpoint: Its key is used here and nowhere else.

    Raises:
        EndpointError: It has no key.
    """

    def __init__(self, endpoint: Endpoint, sleep: Callable[[float], None] = time.sleep) -> None:
        self._endpoint = endpoint
        self._sleep = sleep
        self._rng = random.Random()
        self._client = openai.OpenAI(
            api_key=endpoint.reveal_key(),
            admin_api_key="",  # the environment's belongs to another API
            base_url=endpoint.url,
            max_retries=0,
            http_client=openai.DefaultHttpx2Client(
                timeout=httpx2.Timeout(endpoint.timeout_s, connect=min(CONNECT_TIMEOUT_S, endpoint.timeout_s)),
                follow_redirects=False,
            ),
        )
        if endpoint.name != "openai":  # the environment's organisation is nobody else's business
            self._client.organization = self._client.project = None

    def upload(self, path: Path) -> str | Fault:
        """Upload a file of requests; its id. One that is uploaded twice costs nothing."""

        def once() -> str:
            with path.open("rb") as data:
                response = self._client.files.with_raw_response.create(file=(path.name, data), purpose="batch")
            return _id(self._json(response.http_response.content))

        return self._patiently(once)

    def create(self, file_id: str, part: str) -> Mapping[str, Any] | Fault:
        """Create a batch of a file, once. After a fault that may be billed it may exist all the same: see `find`."""

        def once() -> Mapping[str, Any]:
            response = self._client.batches.with_raw_response.create(
                input_file_id=file_id, endpoint=CHAT, completion_window=WINDOW, metadata={PART: part}
            )
            return _batch(self._json(response.http_response.content))

        return self._once(once)

    def retrieve(self, batch_id: str) -> Mapping[str, Any] | Fault:
        """A batch as it is now."""

        def once() -> Mapping[str, Any]:
            response = self._client.batches.with_raw_response.retrieve(batch_id)
            return _batch(self._json(response.http_response.content))

        return self._patiently(once)

    def cancel(self, batch_id: str) -> Mapping[str, Any] | Fault:
        """Ask that a batch end; asking twice does no harm."""

        def once() -> Mapping[str, Any]:
            response = self._client.batches.with_raw_response.cancel(batch_id)
            return _batch(self._json(response.http_response.content))

        return self._patiently(once)

    def find(self, parts: set[str], since: float) -> dict[str, Mapping[str, Any]] | Fault:
        """The batches that carry these parts, by part.

        Args:
            parts: As given to `create`.
            since: Seconds since 1970; batches are listed newest first, and older ones are not looked at.
        """
        by_part: dict[str, Mapping[str, Any]] = {}
        after: str | None = None
        while parts - by_part.keys():
            page = self._patiently(lambda after=after: self._page(after))  # type: ignore[misc]
            if isinstance(page, Fault):
                return page
            batches, has_more = page
            for batch in batches:
                metadata = batch.get("metadata")
                part = metadata.get(PART) if isinstance(metadata, dict) else None
                if part in parts:
                    by_part[part] = batch
            oldest = batches[-1].get("created_at") if batches else None
            if not has_more or not batches or (isinstance(oldest, int | float) and oldest < since):
                break
            after = str(batches[-1]["id"])
        return by_part

    def download(self, file_id: str, path: Path) -> Fault | None:
        """Read a file of results into ``path``, a line at a time, without the key."""

        def once() -> None:
            with (
                self._client.files.with_streaming_response.content(file_id) as response,
                path.open("wb") as file,
            ):
                for line in _lines(response.http_response.iter_bytes()):
                    file.write(self._endpoint.scrub_bytes(line))

        return self._patiently(once)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def __enter__(self) -> BatchClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _page(self, after: str | None) -> tuple[list[Mapping[str, Any]], bool]:
        response = self._client.batches.with_raw_response.list(
            limit=PAGE, after=openai.omit if after is None else after
        )
        document = self._json(response.http_response.content)
        batches = document.get("data")
        if not isinstance(batches, list):
            raise _UnexpectedReplyError
        named: list[Mapping[str, Any]] = [
            batch for batch in batches if isinstance(batch, dict) and isinstance(batch.get("id"), str)
        ]
        return named, bool(document.get("has_more"))

    def _json(self, content: bytes) -> Mapping[str, Any]:
        try:
            document = orjson.loads(self._endpoint.scrub_bytes(content))
        except orjson.JSONDecodeError:
            raise _UnexpectedReplyError from None
        if not isinstance(document, dict):
            raise _UnexpectedReplyError
        return document

    def _patiently(self, once: Callable[[], _Value]) -> _Value | Fault:
        """Try until it succeeds, or a fault to give up on."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            result = self._once(once)
            if not isinstance(result, Fault) or result.scope is not Scope.RETRY or attempt == MAX_ATTEMPTS:
                return result
            wait = result.retry_after_s or backoff_s(attempt, self._rng)
            if wait > MAX_WAIT_S:
                return result
            self._sleep(wait)
        raise AssertionError("the last attempt returns")

    def _once(self, once: Callable[[], _Value]) -> _Value | Fault:
        try:
            return once()
        except openai.APIStatusError as error:
            body = b""
            with suppress(httpx2.HTTPError):  # of a streamed reply, which is read only now
                body = error.response.read()
            return fault_of_status(error.response.status_code, error.response.headers, self._endpoint.scrub_bytes(body))
        except openai.APIConnectionError as error:
            never = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
            if isinstance(error.__cause__, never):
                return Fault("unreachable", detail=self._endpoint.scrub(str(error.__cause__)))
            return Fault("timed_out" if isinstance(error, openai.APITimeoutError) else "connection_lost")
        except httpx2.TimeoutException:
            return Fault("timed_out")
        except httpx2.HTTPError:  # in the middle of a streamed reply
            return Fault("connection_lost")
        except _UnexpectedReplyError:
            return Fault("not_json", 200)


class _UnexpectedReplyError(Exception):
    """A reply with a good status that is not of the form requested."""


def _id(document: Mapping[str, Any]) -> str:
    name = document.get("id")
    if not isinstance(name, str) or not name:
        raise _UnexpectedReplyError
    return name


def _batch(document: Mapping[str, Any]) -> Mapping[str, Any]:
    _id(document)
    if not isinstance(document.get("status"), str):
        raise _UnexpectedReplyError
    return document


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest
