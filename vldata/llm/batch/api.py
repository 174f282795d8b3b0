"""What a Batch API has to offer, whichever provider's it is; `vldata.llm.batch.apis` holds one module for each.

An API turns requests into lines, takes a file of these as a batch, and says how far it is, in one set of words. What
its results say is read by `vldata.llm.batch.results`, which needs no connection and no key.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vldata.errors import VldataError
from vldata.images.kinds import sniff
from vldata.llm.batch.lines import MAX_BYTES, MAX_LINES, BatchLimits, Line
from vldata.llm.endpoint import Endpoint
from vldata.llm.faults import Fault
from vldata.llm.request import Request

if TYPE_CHECKING:
    from vldata.llm.batch.http import Http
    from vldata.llm.client import ReadImage

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
"""States of a batch that do not change any more."""

PAGE = 100
"""Batches listed at once, the most that these APIs give."""


class UntranslatableError(VldataError):
    """A request says something for which a provider's API has no place."""


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A batch as its provider reports it.

    Args:
        status: ``in_progress``, ``cancelling``, one of `ENDED`, or whatever else means that it has not ended.
        counts: Its requests: ``total``, ``completed`` and ``failed``.
        files: What `BatchApi.download` takes, by suffix: ``output``, ``errors``.
        errors: What the provider says about the batch as a whole.
        part: The part that it carries; None where the provider has no place for it.
        created_at: Seconds since 1970.
    """

    id: str
    status: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    part: str | None = None
    created_at: float | None = None


@dataclass(frozen=True, slots=True)
class Orphans:
    """Batches of parts whose creation was interrupted.

    Args:
        by_part: Those that were recognised.
        unclear: Parts of which a batch may exist that cannot be recognised yet.
    """

    by_part: Mapping[str, RemoteBatch] = field(default_factory=dict)
    unclear: frozenset[str] = frozenset()


class BatchApi(ABC):
    """The files and batches of one endpoint at one provider.

    Faults are returned. A batch is created once a call; all else may be repeated without harm, and is.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    max_lines: ClassVar[int] = MAX_LINES
    max_bytes: ClassVar[int] = MAX_BYTES
    is_newest_first: ClassVar[bool] = True

    def __init__(self, http: Http, base: str) -> None:
        self.http = http
        self.base = base

    @staticmethod
    def headers(endpoint: Endpoint) -> dict[str, str]:
        """What every request carries, the key included."""
        return {"Authorization": f"Bearer {endpoint.reveal_key()}"}

    @staticmethod
    def base_of(url: str) -> str:
        """The address of the batches of an endpoint that has this URL."""
        return url

    @staticmethod
    @abstractmethod
    def line(request: Request, read_image: ReadImage) -> bytes:
        """Encode the line that requests an answer.

        Raises:
            UntranslatableError: The request says what the API has no place for.
            VldataError: An image cannot be read, or is of a kind that the API does not take.
            OSError: An image cannot be read.
        """

    @staticmethod
    @abstractmethod
    def result(document: Mapping[str, Any], line: bytes) -> Line | None:
        """Read a line of results; None when it is not of this API's form."""

    @abstractmethod
    def upload(self, path: Path) -> str | Fault:
        """Upload a file of requests; its id. One that is uploaded twice costs nothing."""

    @abstractmethod
    def create(self, path: Path, file_id: str, part: str, model: str) -> RemoteBatch | Fault:
        """Create a batch of a file, once. After a fault that may be billed it may exist all the same: see `find`."""

    @abstractmethod
    def retrieve(self, batch_id: str) -> RemoteBatch | Fault:
        """A batch as it is now."""

    @abstractmethod
    def cancel(self, batch_id: str) -> RemoteBatch | Fault:
        """Ask that a batch end; asking twice does no harm."""

    @abstractmethod
    def page(self, after: str | None, since: float) -> tuple[list[RemoteBatch], str | None] | Fault:
        """Some batches, and what to give for the next ones; None: there are no more.

        Args:
            since: Seconds since 1970; older batches may be left out.
        """

    @abstractmethod
    def download(self, file_id: str, path: Path) -> Fault | None:
        """Read a file of results into ``path``, a line at a time, without the key."""

    def find(self, parts: Mapping[str, int], since: float, known: Collection[str]) -> Orphans | Fault:
        """The batches that were created for these parts.

        Args:
            parts: By id, the number of their requests.
            since: Seconds since 1970; older batches are not looked at.
            known: Ids of batches of other parts.
        """
        by_part: dict[str, RemoteBatch] = {}
        for batch in self.batches(since):
            if isinstance(batch, Fault):
                return batch
            if batch.part in parts:
                by_part[str(batch.part)] = batch
            if len(by_part) == len(parts):
                break
        return Orphans(by_part)

    def batches(self, since: float) -> Iterator[RemoteBatch | Fault]:
        """Every batch created since then, or the fault that ends the list."""
        after: str | None = None
        while True:
            page = self.page(after, since)
            if isinstance(page, Fault):
                yield page
                return
            batches, after = page
            yield from batches
            oldest = batches[-1].created_at if batches else None
            is_past = self.is_newest_first and oldest is not None and oldest < since
            if after is None or not batches or is_past:
                return

    @classmethod
    def within(cls, limits: BatchLimits) -> BatchLimits:
        """Limits that the API accepts, too."""
        return BatchLimits(min(limits.max_lines, cls.max_lines), min(limits.max_bytes, cls.max_bytes), limits.max_open)


def renamed(request: Request, names: Mapping[str, str], title: str) -> dict[str, Any]:
    """The parameters of a request by an API's own names.

    Args:
        names: Every parameter that the API has a place for, by the name that requests use.

    Raises:
        UntranslatableError: One has no place there.
    """
    for name in request.parameters:
        if name not in names:
            raise UntranslatableError(
                f"parameters.{name}",
                f"{title}'s Batch API has no place for it",
                f"remove it; known there: {', '.join(sorted(names))}",
            )
    return {names[name]: value for name, value in request.parameters.items()}


def texts_of(message: Mapping[str, Any], title: str) -> list[str]:
    """The texts of a message that may hold nothing else.

    Raises:
        UntranslatableError: It holds an image.
    """
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if any(part["type"] != "text" for part in parts):
        raise UntranslatableError(
            f"messages.{message['role']}", f"{title} takes no image there", "put the image in a message of the user's"
        )
    return [part["text"] for part in parts]


def parts_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a message, of which a bare text is one."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def turns_of(
    messages: Iterable[Mapping[str, Any]], title: str, roles: Mapping[str, str]
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Role and parts of every message that is no instruction of the system's.

    Args:
        roles: The API's own names.

    Raises:
        UntranslatableError: A role or a name has no place.
    """
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        if message["role"] not in roles or "name" in message:
            what = f"a message of {message['role']!r}" + (" with a name" if "name" in message else "")
            raise UntranslatableError("messages", f"{title} has no place for {what}", f"use {', '.join(roles)}")
        yield roles[message["role"]], parts_of(message)


def encoded_image(
    part: Mapping[str, Any], read_image: ReadImage, media_types: Collection[str], title: str
) -> tuple[str, str]:
    """Media type and base64 of an image part.

    Raises:
        VldataError: It cannot be read, or is of a kind that the API does not take.
        OSError: It cannot be read.
    """
    data = read_image(part)
    media_type = f"image/{(sniff(data) or '').lower()}"
    if media_type not in media_types:
        raise VldataError(f"image {part['hash']}", f"is of a kind that {title} does not take", "convert it to PNG")
    return media_type, base64.b64encode(data).decode()


def completion(
    native: Mapping[str, Any],
    *,
    text: str,
    reasoning: str,
    finish_reason: str,
    usage: Mapping[str, Any] | None,
    model: Any,
    id: Any,
) -> dict[str, Any]:
    """A reply in the form of a chat completion, the form in which all answers are kept.

    Args:
        native: The reply as the provider gave it, which is kept beside.
    """
    message = {"role": "assistant", "content": text} | ({"reasoning_content": reasoning} if reasoning else {})
    return {
        "id": id,
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        **({"usage": usage} if usage is not None else {}),
        "native": native,
    }


def flattened(reply: Mapping[str, Any] | Fault) -> Mapping[str, Any] | Fault:
    """A chat completion whose content is one text, where a server gives a list of chunks, some of them reasoning."""
    if isinstance(reply, Fault) or not isinstance(reply["choices"][0]["message"].get("content"), list):
        return reply
    choice = reply["choices"][0]
    chunks = [chunk for chunk in choice["message"]["content"] if isinstance(chunk, dict)]
    text = "".join(str(chunk.get("text") or "") for chunk in chunks if chunk.get("type") == "text")
    thoughts = [chunk.get("thinking") for chunk in chunks if chunk.get("type") == "thinking"]
    inner = [part for thought in thoughts if isinstance(thought, list) for part in thought if isinstance(part, dict)]
    message = {**choice["message"], "content": text}
    if inner:
        message["reasoning_content"] = "".join(str(part.get("text") or "") for part in inner)
    return {**reply, "choices": [{**choice, "message": message}, *reply["choices"][1:]]}


def count(value: Any) -> int:
    """A number of tokens or requests, which some APIs write as text; what is no number is 0."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return 0


def plain_line(text: Any) -> str:
    """A stranger's words on one line, without control characters."""
    return "".join(char if char.isprintable() else " " for char in str(text)[:300])
