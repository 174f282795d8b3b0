"""The user's own configuration of endpoints: what may be said about one, and how it is read.

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

Its errors quote no value: one that stands in the wrong place may be the key itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from vldata.errors import VldataError
from vldata.llm.cache_hints import CacheHint
from vldata.llm.prices import Price
from vldata.schema.spec import Spec

TIMEOUT_S = 600.0
"""How long one request may take: the default of OpenAI's own client."""

MAX_REFUSED_S = 600.0
"""Limits are counted by the minute: who is refused everything for ten has used up a day's, or another's."""

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
        check_url(f"{where}.{place}", url)
    if spec.key_env is not None and not _VARIABLE.fullmatch(spec.key_env):  # which may be the key itself
        raise EndpointError(
            f"{where}.key_env",
            "is not the name of an environment variable",
            "put the key in a variable such as OPENAI_API_KEY, and write that name here",
        )
    return spec


def _places(servers: tuple[ServerSpec, ...]) -> list[tuple[str, str]]:
    return [(f"servers.{number}", server.url) for number, server in enumerate(servers)]


def check_url(where: str, url: str) -> None:
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
