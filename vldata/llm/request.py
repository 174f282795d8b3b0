"""A request: all that decides a model's answer, as plain JSON, and the key by which that answer is found for ever.

What does not decide the answer is not in it and cannot be put in: no URL, no API key, no header, no timeout, no number
of retries. An image stands in it as the hash of its encoded bytes, so a request is small and says nothing about where
the image lies.

Two requests that a server cannot tell apart have one key: the order of names does not count, ``1`` and ``1.0`` are one
number (as in RFC 8785), a parameter that is null is not there, an image part without ``detail`` has ``auto``. Text is
compared as it is, without Unicode normalisation, as models do see the difference.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson

from vldata.errors import RecipeError
from vldata.store.keys import key_of
from vldata.store.names import KeySubject

REQUEST_VERSION = 1
"""Part of every key. Raising it asks, and pays for, every request again."""

DETAILS = ("auto", "low", "high")
"""How closely a model of the `chat.completions` kind is to look at an image."""

Json = Any
"""None, bool, int, float, str, or a list or mapping (with string keys) of these."""

_ELSEWHERE = {
    **dict.fromkeys(
        ("api_key", "authorization", "organization", "project", "headers", "extra_headers", "extra_query"),
        "belongs to the endpoint: put it in your own configuration of endpoints",
    ),
    **dict.fromkeys(("url", "base_url"), "belongs to the endpoint: name one with `endpoint`"),
    **dict.fromkeys(("timeout", "max_retries", "stream"), "does not change the answer: it is an option of the command"),
    "extra_body": "write what is in it directly under `parameters`",
    "n": "one request has one answer: several draws are several requests, which differ in `sample_index`",
    **dict.fromkeys(("model", "messages", "response_format"), "has a place of its own beside `parameters`"),
}
_REST = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HASH = re.compile(r"[0-9a-f]{32}")
_INT_RANGE = range(-(2**63), 2**64)  # what every JSON reader in use keeps exactly


@dataclass(frozen=True, eq=False)
class Request:
    """One chat completion to ask for. Equal when the keys are.

    Args:
        endpoint: The name of an endpoint in the user's configuration; never a URL.
        model: As the endpoint calls it.
        messages: As in the chat API, each with a ``role`` and a ``content``, which is a text or a list of text parts
            and of image parts as `image_part` makes them.
        parameters: ``temperature``, ``max_tokens``, ``top_p``, ``seed``, ``stop`` … as in the chat API.
        response_format: As in the chat API; None for free text.
        sample_index: Which of several draws, from 0; also counts the times a faulty answer was requested again.

    Raises:
        RecipeError: ``endpoint`` is no name, or a parameter has its place elsewhere.
        ValueError: What is given is not JSON, or a message is not made as it should be: a bug of the caller's.
    """

    endpoint: str
    model: str
    messages: tuple[Mapping[str, Json], ...]
    parameters: Mapping[str, Json] = field(default_factory=dict)
    response_format: Mapping[str, Json] | None = None
    sample_index: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.endpoint):
            raise RecipeError(
                "endpoint",
                f"{self.endpoint!r} is not the name of an endpoint",
                "use letters, digits, '.', '_' and '-'; URLs belong in your own configuration of endpoints",
            )
        for name, why in _ELSEWHERE.items():
            if name in self.parameters:
                raise RecipeError(f"parameters.{name}", "cannot be a parameter of a request", why)
        if type(self.sample_index) is not int or self.sample_index < 0:
            raise ValueError(f"sample_index {self.sample_index!r} is not a whole number from 0")
        given = {name: value for name, value in self.parameters.items() if value is not None}
        response_format = None if self.response_format is None else _plain(self.response_format)
        _set(
            self,
            endpoint=self.endpoint,
            model=_text(self.model),
            messages=tuple(_message(message) for message in self.messages),
            parameters=_plain(given),
            response_format=response_format,
            sample_index=self.sample_index,
        )

    @cached_property
    def key(self) -> str:
        """32 hex characters, the same on every machine; tests pin it with a literal."""
        return key_of(KeySubject.REQUEST, REQUEST_VERSION, self.rest, canonical_json(self.messages))

    @property
    def rest(self) -> str:
        """All but the messages, as it takes part in the key."""
        return _REST.encode(self.to_json() | {"messages": None})

    @cached_property
    def subject(self) -> str:
        """A key of the last message alone: the same when only the prompt around it changed."""
        return key_of(KeySubject.LAST_MESSAGE, canonical_json(self.messages[-1:]))

    @property
    def image_parts(self) -> Iterator[Mapping[str, Json]]:
        """Every image part of every message, in order, repeated where it is repeated."""
        for message in self.messages:
            yield from images_of(message)

    def to_json(self) -> dict[str, Json]:
        """As plain JSON, of which `from_json` makes an equal one."""
        return {
            "endpoint": self.endpoint,
            "model": self.model,
            "messages": list(self.messages),
            "parameters": self.parameters,
            "response_format": self.response_format,
            "sample_index": self.sample_index,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Json]) -> Request:
        """The request that `to_json` wrote; it is believed to be well made."""
        request = cls.__new__(cls)
        _set(request, **{**saved, "messages": tuple(saved["messages"])})
        return request

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Prompt:
    """All of a request but its last message: what the requests about many samples share.

    It is made plain and encoded once, so that a request costs what its own message costs. The requests are the same,
    and have the same keys, as if each had been made by itself.

    Args:
        endpoint: As for `Request`, and so are the others.
        messages: Those before the last one.

    Raises:
        RecipeError: As for `Request`.
        ValueError: As for `Request`.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        model: str,
        messages: Sequence[Mapping[str, Json]] = (),
        parameters: Mapping[str, Json] | None = None,
        response_format: Mapping[str, Json] | None = None,
    ) -> None:
        self._shared = Request(endpoint, model, tuple(messages), parameters or {}, response_format)
        self._before = canonical_json(self._shared.messages)[:-1] + (b"," if messages else b"")
        self._rests: dict[int, str] = {}

    def request(self, content: Json, *, sample_index: int = 0) -> Request:
        """The request whose last message is the user's, with this content.

        Args:
            content: A text, or a list of parts, as in `Request.messages`.
            sample_index: Which of several draws, from 0.

        Raises:
            ValueError: The content is not made as it should be.
        """
        rest = self._rests.get(sample_index)
        if rest is None:
            rest = self._rests[sample_index] = replace(self._shared, sample_index=sample_index).rest
        last = {"role": "user", "content": _content(content)}
        written = canonical_json(last)
        request = Request.__new__(Request)
        values = request.__dict__
        values.update(self._shared.__dict__)
        values["messages"] = (*self._shared.messages, last)
        values["sample_index"] = sample_index
        values["key"] = key_of(KeySubject.REQUEST, REQUEST_VERSION, rest, b"%b%b]" % (self._before, written))
        return request


def image_part(image_hash: str, *, detail: str = "auto", max_side_px: int | None = None) -> dict[str, Json]:
    """An image in a message.

    Args:
        image_hash: BLAKE3 of the encoded bytes, 128 bits as 32 hex characters.
        detail: One of `DETAILS`.
        max_side_px: The image is made smaller before it is sent, so that its longer side is at most this; None: as is.
    """
    if not _HASH.fullmatch(_text(image_hash)):
        raise ValueError(f"{image_hash!r} is not the hash of an image: 32 hex characters are wanted")
    if detail not in DETAILS:
        raise ValueError(f"detail {detail!r} is not one of {', '.join(DETAILS)}")
    if max_side_px is not None and (type(max_side_px) is not int or max_side_px < 1):
        raise ValueError(f"max_side_px {max_side_px!r} is not a number of pixels")
    return {"type": "image", "hash": image_hash, "detail": detail, "max_side_px": max_side_px}


def images_of(message: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """The image parts of a message, in order."""
    if isinstance(message["content"], list):
        yield from (part for part in message["content"] if part["type"] == "image")


def canonical_json(value: Json) -> bytes:
    """The one way to write messages, and whatever else has no floats: sorted names, no spaces, UTF-8.

    Five times as fast as the standard library, which writes a key's floats, as its form of them is Python's own and
    cannot change with a version of a package.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _set(request: Request, **values: Json) -> None:
    request.__dict__.update(values)  # past the frozen class's own setter, as it is being made


def _message(message: Mapping[str, Json]) -> dict[str, Json]:
    if not {"role", "content"} <= message.keys() <= {"role", "content", "name"}:
        raise ValueError(f"a message has a role, a content and perhaps a name: {str(message)[:200]}")
    plain = {name: _text(value) for name, value in message.items() if name != "content"}
    return plain | {"content": _content(message["content"])}


def _content(content: Json) -> Json:
    return [_part(part) for part in content] if isinstance(content, list | tuple) else _text(content)


def _part(part: Json) -> dict[str, Json]:
    match part:
        case {"type": "text", "text": text} if len(part) == 2:
            return {"type": "text", "text": _text(text)}
        case {"type": "image", "hash": _} if part.keys() <= {"type", "hash", "detail", "max_side_px"}:
            detail, max_side_px = part.get("detail", "auto"), part.get("max_side_px")
            return image_part(part["hash"], detail=detail, max_side_px=max_side_px)
    raise ValueError(f"a part of a message is a text or an image by its hash, not {str(part)[:200]}")


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:80]!r} is not a text")
    if not value.isascii():
        value.encode()  # UnicodeEncodeError is a ValueError: half a surrogate pair cannot be sent
    return str(value)


def _plain(value: Json) -> Json:
    """A copy in the one form that equal values share: dicts, lists, and whole numbers wherever they are whole."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in _INT_RANGE:
            raise ValueError(f"{value} does not fit in 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a number of JSON's")
        return int(value) if value.is_integer() and int(value) in _INT_RANGE else float(value)
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise ValueError(f"JSON's names are strings: {list(value)[:5]!r}")
        return {_plain(name): _plain(member) for name, member in value.items()}
    raise ValueError(f"{type(value).__name__} {str(value)[:80]!r} is not a value of JSON's")
