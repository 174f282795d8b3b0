"""Conversations as corpora write them -> exchanges, one a turn: what the formats with dialogues share.

A conversation in which anything is out of order is refused as a whole, with one row for each question that it has: an
exchange that lost its neighbours would teach the wrong thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
import xxhash

from vldata.sources.native import is_unicode, note, shown

IMAGE_MARK = "<image>"
"""Where LLaVA and its kin put a picture in a text."""

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_SPEAKER, _WORDS = ("from", "role"), ("value", "content")


class Talk(NamedTuple):
    """One conversation.

    Args:
        thread: Native id; None where there is none.
        images: References, for all of its exchanges.
        system: What the system says before it, if anything.
        exchanges: (user, assistant), in order; empty of a conversation with a problem.
        problem: A reason, None of a sound one.
        detail: What exactly is wrong.
        num_rows: Turns that it is worth, sound or not; at least 1.
    """

    thread: str | None
    images: Sequence[str]
    system: str | None
    exchanges: Sequence[tuple[str, str]]
    problem: str | None = None
    detail: str | None = None
    num_rows: int = 1


def talk(row: Any, messages: Any, images: Sequence[str], *, system: str | None = None) -> Talk:
    """Read one conversation.

    Args:
        row: The native row, for its ``id``.
        messages: Its messages, ``{"from": "human", "value": ...}`` or ``{"role": "user", "content": ...}``, in order.
        images: Of the whole conversation.
        system: What the row says beside its messages; a system message at their head wins.
    """
    thread = _thread(row)
    try:
        said, exchanges = _exchanges(messages)
    except ValueError as error:
        return broken(row, messages, "unparsable_row", str(error), images)
    return Talk(thread, images, said or system, exchanges, num_rows=len(exchanges))


def broken(row: Any, messages: Any, problem: str, detail: str, images: Sequence[str] = ()) -> Talk:
    """A conversation that cannot be used: as many rows as it has questions."""
    asked = [m for m in messages if _role(m) == "user"] if isinstance(messages, list) else []
    return Talk(_thread(row), images, None, (), problem, detail, max(1, len(asked)))


def exchanges(talks: Iterable[Talk]) -> pl.DataFrame:
    """The turns of conversations; ``row`` is ``<thread>/<position>``.

    A conversation without an id is named by the hash of what it says; of several with the same id all but the first, in
    the order of those hashes, get ``~2``, ``~3`` … behind it (LLaVA's mixes use an id once per part).
    """
    told = list(talks)
    lengths = [t.num_rows for t in told]
    table = pl.DataFrame(
        {
            "thread": pl.Series(_threads(told), dtype=pl.String),
            "images": pl.Series([list(t.images) for t in told], dtype=pl.List(pl.String)),
            "system": pl.Series([t.system for t in told], dtype=pl.String),
            "problem": pl.Series([t.problem for t in told], dtype=pl.String),
            "detail": pl.Series([t.detail for t in told], dtype=pl.String),
            "length": pl.Series(lengths, dtype=pl.Int32),
        }
    )
    pairs = [pair for t in told for pair in (t.exchanges or [(None, None)] * t.num_rows)]
    turns = table.select(pl.all().repeat_by("length").explode() if False else pl.all())
    numbers = pl.Series("talk", range(len(told)), dtype=pl.UInt32)
    turns = table[[int(n) for n, length in zip(numbers, lengths, strict=True) for _ in range(length)]]
    return turns
