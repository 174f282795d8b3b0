"""Endpoints: where requests go, with whose key, how fast and at what price; from the user's own configuration only.

    # $VLDATA_CONFIG, else ~/.config/vldata/config.yaml
    endpoints:
      openai:                          # known without this file; what is given here wins
        key_env: OPENAI_API_KEY        # the name of a variable, never a key
        rpm: 5000                      # requests and tokens a minute, as your account has them
        tpm: 2000000
        prices: {gpt-x: {input_usd_per_mtok: 2.5, output_usd_per_mtok: 10, batch_factor: 0.5}}
      local: {url: "http://127.0.0.1:8000/v1"}
      cluster:                         # several servers of one model: shared out by load, a dead one is tried again
        servers: ["http://10.0.0.1:8000/v1", {url: "http://10.0.0.2:8000/v1", max_concurrency: 16}]

A recipe names an endpoint and can say nothing about it: a recipe comes from a stranger, and a URL of his would be given
the user's key. The key itself is shown by nothing here: it has no repr, is part of no message, and `Endpoint.scrub`
takes it out of whatever a server says.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
import yaml
from pydantic import BeforeValidator, Field, SecretStr, ValidationError

from vldata.errors import VldataError, nearest
from vldata.llm.cache_hints import CacheHint
from vldata.llm.faults import FAULTS, Fault
from vldata.llm.prices import Price
from vldata.schema.spec import Spec

NO_KEY = "none"
"""What is sent where no key is needed: the header may not be empty."""

TIMEOUT_S = 600.0
"""How long one request may take: the default of OpenAI's own client."""

MAX_REFUSED_S = 600.0
"""Limits are counted by the minute: who is refused everything for ten has used up a day's, or another's."""

MIN_SECRET_CHARS = 8
"""A shorter key is a word such as "none" or "EMPTY", and no secret; to take it out of texts would only damage them."""

KEY_REMOVED = "[key removed]"

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_AVAILABLE: Mapping[str, Mapping[str, str]] = {
    "openai": {"url": "https://api.openai.com/v1", "key_env": "OPENAI_API_KEY"},
    "anthropic": {
        "url": "https://api.anthropic.com/v1",
        "key_env": "ANTHROPIC_API_KEY",
        "batch_api": "anthropic",
    },
    "gemini": {
        "url": "https://generativelanguage.googleapis.com/v1beta/openai",
        "key_env": "GEMINI_API_KEY",
        "batch_api": "gemini",
    },
    "mistral": {"url": "https://api.mistral.ai/v1", "key_env": "MISTRAL_API_KEY", "batch_api": "mistral"},
}


class EndpointError(VldataError):
    """An endpoint cannot be used: not configured, without a key, or refusing what it is sent."""


class ServerSpec(Spec):
    """One of several servers of an endpoint; limits that it does not state are the endpoint's.

    Args:
        url: As for the endpoint.
        rpm: As for the endpoint, of this server alone; and so are the others.
    """

    url: str
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None
    max_concurrency: Annotated[int, Field(ge=1)] | None = None


def _as_server(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


class EndpointSpec(Spec):
    """One endpoint in the configuration.

    Args:
        url: The base of an API like OpenAI's, up to and with ``/v1``.
        servers: In place of ``url``: several servers of the same models, each a URL or ``{url, rpm, tpm,
            max_concurrency}``. Requests go to the least loaded; one that fails is left out until it works again. Which
            of them answered is no part of an answer's key. The limits of the endpoint hold for each.
        key_env: The environment variable that holds the API key; null: no key is needed.
        rpm: Requests that may be sent within any minute.
        tpm: Tokens, expected prompt and largest answer together, that may be requested within any minute.
        max_concurrency: Requests that may be under way at once, whatever the command says.
        timeout_s: How long one request may take.
        max_refused_s: How long all requests may be refused for their rate (429) before the run stops.
        bills_failures: A server error (5xx) that reports no tokens may stand on the bill all the same: it is then
            counted at the most that it can cost, and in doubt.
        cache_hint: ``prompt_cache_key``: sent with prompts that begin alike, so that the provider finds more of them in
            its cache (OpenAI); null: nothing is. It is no part of an answer's key.
        prices: By model, as the endpoint calls it.
        batch_api: Whose Batch API it speaks; single requests always go to an API like OpenAI's.
        alias: The name under which answers were stored before this endpoint was renamed, so that they are found.
    """

    url: str = ""
    servers: Annotated[tuple[Annotated[ServerSpec, BeforeValidator(_as_server)], ...], Field(min_length=1)] | None = (
        None
    )
    key_env: str | None = None
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None
    max_concurrency: Annotated[int, Field(ge=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = TIMEOUT_S
    max_refused_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = MAX_REFUSED_S
    bills_failures: bool = False
    cache_hint: CacheHint | None = None
    prices: dict[str, Price] = {}
    batch_api: Literal["openai", "anthropic", "gemini", "mistral"] = "openai"
    alias: str | None = None


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
    _check_url(where, url)
    settings = {} if spec is None else _settings(spec)
    is_private = urlsplit(url).scheme == "https" or is_loopback(url)
    sources = ["VLDATA_API_KEY"] + ["OPENAI_API_KEY"] * is_private
    key_from = next((variable for variable in sources if environ.get(variable)), None)
    key = _key(where, environ[key_from]) if key_from else SecretStr(NO_KEY)
    return Endpoint(name=name, url=url.rstrip("/"), key=key, key_from=key_from, **settings)


def load_endpoints(environ: Mapping[str, str] | None = None) -> dict[str, EndpointSpec]:
    """Every configured endpoint by name, and those that are known without a configuration.

    Raises:
        EndpointError: The file cannot be read, is no YAML, or says what it may not. The message quotes no value.
    """
    environ = os.environ if environ is None else environ
    path = config_path(environ)
    if not path.exists():
        if environ.get("VLDATA_CONFIG"):
            raise EndpointError("$VLDATA_CONFIG", f"names {str(path)!r}, which is not there", "create it, or unset it")
        return {name: EndpointSpec.model_validate(spec) for name, spec in _AVAILABLE.items()}
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise EndpointError(f"{path}{line}", "is not YAML", "correct the line") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EndpointError(str(path), f"cannot be read: {type(error).__name__}", "check the file") from None
    given = document.get("endpoints") if isinstance(document, dict) else None
    if document is not None and not isinstance(document, dict):
        raise EndpointError(str(path), "is not a mapping", "begin it with `endpoints:`")
    if given is not None and not isinstance(given, dict):
        raise EndpointError(f"{path}: endpoints", "is not a mapping", "write `name: {url: …}` under it")
    merged: dict[Any, Any] = dict(_AVAILABLE)
    for name, settings in (given or {}).items():
        merged[name] = _merged(_AVAILABLE.get(name, {}), settings) if isinstance(settings, dict) else settings
    return {name: _spec(path, name, settings) for name, settings in merged.items()}


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the user's configuration is: ``$VLDATA_CONFIG``, else ``~/.config/vldata/config.yaml``."""
    environ = os.environ if environ is None else environ
    if environ.get("VLDATA_CONFIG"):
        return Path(environ["VLDATA_CONFIG"]).expanduser()
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path("~/.config").expanduser()) / "vldata" / "config.yaml"


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


def _merged(known: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, on top of what is known; servers take the place of the known URL."""
    return {**{key: value for key, value in known.items() if key != "url" or "servers" not in settings}, **settings}


def _spec(path: Path, name: Any, settings: Any) -> EndpointSpec:
    where = f"{path}: endpoints.{name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise EndpointError(f"{path}: endpoints", "a name is not one", "use letters, digits, '.', '_' and '-'")
    if isinstance(settings, dict) and settings.keys() & {"key", "api_key", "token"}:
        raise EndpointError(where, "holds a key", "put it in an environment variable and name that with `key_env`")
    try:
        spec = EndpointSpec.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in (where, *first["loc"]))
        fix = "remove it, or correct its name" if first["type"] == "extra_forbidden" else "correct it"
        raise EndpointError(place, first["msg"].lower(), fix) from None
    if bool(spec.url) == bool(spec.servers):
        problem = "has both `url` and `servers`" if spec.url else "has no `url`"
        raise EndpointError(where, problem, "give one URL, or a list of them as `servers`")
    for place, url in [("url", spec.url)] if spec.url else _places(spec.servers or ()):
        _check_url(f"{where}.{place}", url)
    if spec.key_env is not None and not _VARIABLE.fullmatch(spec.key_env):  # which may be the key itself
        raise EndpointError(
            f"{where}.key_env",
            "is not the name of an environment variable",
            "put the key in a variable such as OPENAI_API_KEY, and write that name here",
        )
    return spec


def _places(servers: tuple[ServerSpec, ...]) -> list[tuple[str, str]]:
    return [(f"servers.{number}", server.url) for number, server in enumerate(servers)]


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


def _check_url(where: str, url: str) -> None:
    """A URL that holds no credentials, since URLs are shown."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise EndpointError(where, "is not a URL", "write one like https://api.example.org/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise EndpointError(
            where, "holds more than an address", "remove user, password, '?…' and '#…': a key belongs in `key_env`"
        )
