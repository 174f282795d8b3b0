"""HTTP to one Batch API: patient, without redirects, and with the key taken out of all that comes back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import orjson

from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault, Scope, fault_of_status
from vldata.llm.pace import MAX_WAIT_S, backoff_s

MAX_ATTEMPTS = 6
"""As for single requests: with waits that double from half a second, some 15 s of bad luck."""

CONNECT_TIMEOUT_S = 30.0
"""A server that is there accepts within seconds; the long timeout is for the answer."""

_Value = TypeVar("_Value")


class UnexpectedReplyError(Exception):
    """A reply with a good status that is not of the form requested."""


class _RefusalError(Exception):
    """A reply with another status than 2xx."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.name)
        self.fault = fault


class Http:
    """A connection to one endpoint; a context manager.

    Args:
        headers: Of every request, the key included.
        sleep: Takes seconds.
    """

    def __init__(
        self, endpoint: Endpoint, headers: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._endpoint = endpoint
        self._sleep = sleep
        self._rng = random.Random()
        self._client = httpx2.Client(
            headers=dict(headers),
            timeout=httpx2.Timeout(endpoint.timeout_s, connect=min(CONNECT_TIMEOUT_S, endpoint.timeout_s)),
            follow_redirects=False,
        )

    def request(self, method: str, url: str, **options: Any) -> Mapping[str, Any]:
        """Send a request and read the JSON object that answers it; for use within `once` and `patiently`."""
        response = self.send(method, url, **options)
        try:
            document = orjson.loads(self._endpoint.scrub_bytes(response.content))
        except orjson.JSONDecodeError:
            raise UnexpectedReplyError from None
        if not isinstance(document, dict):
            raise UnexpectedReplyError
        return document

    def send(self, method: str, url: str, **options: Any) -> httpx2.Response:
        """Send a request that is answered with a good status; for use within `once` and `patiently`."""
        response = self._client.request(method, url, **options)
        self._check(response)
        return response

    def download(self, url: str, path: Path) -> Fault | None:
        """Read what lies at ``url`` into a file, a line at a time, without the key."""

        def once() -> None:
            with self._client.stream("GET", url) as response, path.open("wb") as file:
                self._check(response)
                for line in _lines(response.iter_bytes()):
                    file.write(self._endpoint.scrub_bytes(line))

        return self.patiently(once)

    def first_line(self, url: str) -> bytes | Fault:
        """The first line of what lies at ``url``, without the key."""

        def once() -> bytes:
            with self._client.stream("GET", url) as response:
                self._check(response)
                return self._endpoint.scrub_bytes(next(_lines(response.iter_bytes()), b""))

        return self.patiently(once)

    def patiently(self, once: Callable[[], _Value]) -> _Value | Fault:
        """Try until it succeeds, or a fault to give up on."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            result = self.once(once)
            if not isinstance(result, Fault) or result.scope is not Scope.RETRY or attempt == MAX_ATTEMPTS:
                return result
            wait = result.retry_after_s or backoff_s(attempt, self._rng)
            if wait > MAX_WAIT_S:
                return result
            self._sleep(wait)
        raise AssertionError("the last attempt returns")

    def once(self, once: Callable[[], _Value]) -> _Value | Fault:
        """Try once; what goes wrong on the way is a fault."""
        try:
            return once()
        except _RefusalError as error:
            return error.fault
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return Fault("unreachable", detail=self._endpoint.scrub(str(error)))
        except httpx2.TimeoutException:
            return Fault("timed_out")
        except httpx2.HTTPError:
            return Fault("connection_lost")
        except UnexpectedReplyError:
            return Fault("not_json", 200)

    def _check(self, response: httpx2.Response) -> None:
        if response.is_success:
            return
        try:
            body = response.read()
        except httpx2.HTTPError:  # of a streamed reply, which is read only now
            body = b""
        status = response.status_code if response.status_code >= 300 else 502  # 1xx is no answer
        raise _RefusalError(fault_of_status(status, response.headers, self._endpoint.scrub_bytes(body)))

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest
