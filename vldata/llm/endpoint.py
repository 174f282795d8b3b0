"""Endpoints: where requests go, with whose key, how fast and at what price; from the user's own configuration only.

A recipe names an endpoint and can say nothing about it: a recipe comes from a stranger, and a URL of his would be given
the user's key. The key itself is shown by nothing here: it has no repr, is part of no message, and `Endpoint.scrub`
takes it out of whatever a server says.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import SecretStr

from vldata.errors import nearest
from vldata.llm.cache_hints import CacheHint
from vldata.llm.endpoint_specs import (
    MAX_REFUSED_S,
    TIMEOUT_S,
    EndpointSpec,
    ServerSpec,
    check_url,
    config_path,
    load_endpoints,
)
from vldata.llm.endpoint_specs import EndpointError as EndpointError
from vldata.llm.faults import FAULTS, Fault
from vldata.llm.prices import Price

NO_KEY = "none"
"""What is sent where no key is needed: the header may not be empty."""

MIN_SECRET_CHARS = 8
"""A shorter key is a word such as "none" or "EMPTY", and no secret; to take it out of texts would only damage them."""

KEY_REMOVED = "[key removed]"


@dataclass(frozen=True)
class Endpoint:
    """An endpoint, ready to be used; made by `find_endpoint`.

    Args:
        name: As recipes call it.
        url: Without a trailing slash; the first server's where there are several.
        key: What is sent as the API key; None when it is not there, which matters only once something is sent.
        key_from: The variable that the key comes from, for messages.
    """

    name: str
    url: str
    key: SecretStr | None = field(default=None, repr=False)
    key_from: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    timeout_s: float = TIMEOUT_S
    prices: Mapping[str, Price] = field(default_factory=dict)
    batch_api: str = "openai"
    max_refused_s: float = MAX_REFUSED_S
    bills_failures: bool = False
    cache_hint: CacheHint | None = None
    servers: tuple[ServerSpec, ...] = ()

    @property
    def each(self) -> tuple[Endpoint, ...]:
        """Every server as an endpoint of its own, with the limits that hold for it."""
        return tuple(
            replace(
                self,
                url=server.url.rstrip("/"),
                rpm=server.rpm or self.rpm,
                tpm=server.tpm or self.tpm,
                max_concurrency=server.max_concurrency or self.max_concurrency,
                servers=(),
            )
            for server in self.servers
        ) or (self,)

    def __reduce__(self) -> Any:
        """Refuse to be pickled: the key would be in it."""
        raise TypeError("an endpoint stays in its process: it holds a key")

    def reveal_key(self) -> str:
        """The key, for the one place that sends it.

        Raises:
            EndpointError: There is none.
        """
        if self.key is None:
            raise EndpointError(
                f"endpoint {self.name}",
                f"its key should be in the environment variable {self.key_from}, which is not set",
                f"export {self.key_from}=…  (what is in the answer store needs no key)",
            )
        return self.key.get_secret_value()

    def scrub(self, text: str) -> str:
        """``text`` without the key, should a server have quoted it, as it is or escaped in JSON."""
        return self.scrub_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def scrub_bytes(self, data: bytes) -> bytes:
        """As `scrub`, for what is still UTF-8; a reply that is cut off may end in the middle of the key."""
        for form in (form.encode() for form in self._forms):
            data = data.replace(form, KEY_REMOVED.encode())
            cut = next((n for n in range(len(form) - 1, MIN_SECRET_CHARS - 1, -1) if data.endswith(form[:n])), 0)
            data = data[:-cut] + KEY_REMOVED.encode() if cut else data
        return data

    @property
    def _forms(self) -> tuple[str, ...]:
        key = "" if self.key is None else self.key.get_secret_value()
        if len(key) < MIN_SECRET_CHARS:
            return ()
        escaped = orjson.dumps(key).decode()[1:-1]
        return tuple(dict.fromkeys((key, escaped, escaped.replace("/", "\\/"))))


def find_endpoint(name: str, *, url: str | None = None, environ: Mapping[str, str] | None = None) -> Endpoint:
    """The endpoint that a recipe names.

    Args:
        url: From ``--endpoint``: takes the place of the configured URL. The key is then ``$VLDATA_API_KEY``, else
            ``$OPENAI_API_KEY`` where the way to it is encrypted or does not leave the machine, else none. Limits and
            prices stay those of the name.
        environ: Instead of the process's own environment.

    Raises:
        EndpointError: There is no such endpoint, or its configuration is faulty.
    """
    environ = os.environ if environ is None else environ
    specs = load_endpoints(environ)
    spec = specs.get(name)
    if url is None:
        if spec is None:
            raise EndpointError(
                f"endpoint {name!r}",
                "is not in your configuration",
                f"add it to {config_path(environ)}, or give --endpoint URL; {nearest(name, specs)}",
            )
        return _endpoint(name, spec, environ)
    where = "--endpoint"
    check_url(where, url)
    settings = {} if spec is None else _settings(spec)
    is_private = urlsplit(url).scheme == "https" or is_loopback(url)
    sources = ["VLDATA_API_KEY"] + ["OPENAI_API_KEY"] * is_private
    key_from = next((variable for variable in sources if environ.get(variable)), None)
    key = _key(where, environ[key_from]) if key_from else SecretStr(NO_KEY)
    return Endpoint(name=name, url=url.rstrip("/"), key=key, key_from=key_from, **settings)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine by its name alone; nothing is looked up."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def endpoint_error(endpoint: Endpoint, fault: Fault, fix: str = "") -> EndpointError:
    """A fault that stops a run, as an error for people; ``fix`` replaces what its class says to do."""
    kind = FAULTS[fault.name]
    status = f" (HTTP {fault.status})" if fault.status else ""
    detail = f": {fault.detail}" if fault.detail else ""
    wait = f"; it asks to wait {fault.retry_after_s:.0f} s" if fault.retry_after_s else ""
    if fault.name == "unsupported_parameter" and fault.parameter:
        fix = fix or (
            f"set `parameters: {{{fault.parameter}: null}}` under `synth`, which sends the request without it, or give "
            "the value that the server takes, or use another model"
        )
    return EndpointError(
        f"endpoint {endpoint.name} at {endpoint.url}",
        f"{kind.says}{status}{wait}{detail}",
        fix or kind.fix or "correct what the server complains about, then run again: answers that came are kept",
    )


def _endpoint(name: str, spec: EndpointSpec, environ: Mapping[str, str]) -> Endpoint:
    key: SecretStr | None = SecretStr(NO_KEY)
    if spec.key_env is not None:
        value = environ.get(spec.key_env)
        key = _key(f"${spec.key_env}", value) if value else None
    url = (spec.url or spec.servers[0].url) if spec.servers else spec.url
    settings = {**_settings(spec), "servers": spec.servers or ()}
    return Endpoint(name=name, url=url.rstrip("/"), key=key, key_from=spec.key_env, **settings)


def _settings(spec: EndpointSpec) -> dict[str, Any]:
    return {name: value for name, value in spec if name not in ("url", "servers", "key_env", "alias")}


def _key(where: str, value: str) -> SecretStr:
    """A key that can stand in a header: the client's own complaint would quote it."""
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise EndpointError(where, "holds no API key: it has blanks or odd characters", "set it again")
    return SecretStr(value)
