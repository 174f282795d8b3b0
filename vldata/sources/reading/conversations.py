"""Conversations as corpora write them -> exchanges, one a turn: what the formats with dialogues share.

A conversation in which anything is out of order is refused as a whole, with one row for each question that it has: an
exchange that lost its neighbours would teach the wrong thing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import polars as pl
import xxhash

from vldata.errors import SourceError
from vldata.sources.reading.json import json_rows
from vldata.sources.reading.rows import lists_of_texts, note, shown

IMAGE_MARK = "<image>"
"""Where LLaVA and its kin put an image in a text."""

_MESSAGES = ("conversations", "conversatons", "messages")
_IMAGES = ("image", "images")
_OTHER_MEDIA = ("video", "videos", "audio", "audios")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


class Talk(NamedTuple):
    """One conversation.

    Args:
        thread: Native id; None where there is none.
        images: References, for all of its exchanges.
        system: What is said before it, if anything.
        exchanges: (user, assistant), in order; (None, None) for each question of one with a problem.
        problem: A name of `vldata.schema.reasons`; None of a sound one.
        detail: What exactly is wrong.
    """

    thread: str | None
    images: Sequence[str]
    system: str | None
    exchanges: Sequence[tuple[str | None, str | None]]
    problem: str | None = None
    detail: str | None = None


def talk(row: Any, *, pictured: bool) -> Talk:
    """Read a row as LLaVA, ShareGPT and those who write like them have it.

    Args:
        row: ``id``, ``conversations`` of ``from`` and ``value`` (or ``messages`` of ``role`` and ``content``), and
            perhaps ``image`` and ``system``.
        pictured: Whether conversations about images are wanted, or those without; the others are ``not_for_task``.
    """
    if not isinstance(row, dict):
        detail = str(row) if isinstance(row, Exception) else f"not an object: {shown(row)}"
        return _broken(None, (), None, "unparsable_row", detail)
    thread, messages = _name(row.get("id")), next((row[key] for key in _MESSAGES if key in row), None)
    for key in _OTHER_MEDIA:
        if row.get(key):
            return _broken(thread, (), messages, "unparsable_row", f"the row has {key!r}, which is not read")
    images: Any = next((row[key] for key in _IMAGES if row.get(key)), [])
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not all(_is_text(ref) and ref for ref in images):
        detail = f"'image' is {shown(images)}, not a path or a list of paths"
        return _broken(thread, (), messages, "unparsable_row", detail)
    if not images and isinstance(messages, list) and any(isinstance(_content(message), list) for message in messages):
        return _broken(thread, images, messages, "unparsable_row", "a text in typed parts, which are not read")
    if bool(images) != pictured:
        return _broken(thread, images, messages, "not_for_task", "it has a picture" if images else "it has no picture")
    try:
        system, said = _exchanges(messages)
        if system is None and row.get("system"):
            system = row["system"]
            if not _is_text(system):
                raise ValueError(f"'system' is {shown(system)}, not text")
    except ValueError as error:
        return _broken(thread, images, messages, "unparsable_row", str(error))
    return Talk(thread, images, system, said)


def talks_in(path: Path, *, pictured: bool) -> list[Talk]:
    """Every row of a JSON list or of JSON lines as a conversation; see `talk`.

    Raises:
        SourceError: No row has any messages, so the file is of another format.
    """
    rows = json_rows(path)
    if rows and not any(isinstance(row, dict) and any(key in row for key in _MESSAGES) for row in rows):
        raise SourceError(
            str(path), f"no row has {_MESSAGES[0]!r}; the first is {shown(rows[0])}", "fix `path` or `format`"
        )
    return [talk(row, pictured=pictured) for row in rows]


def exchanges(talks: Sequence[Talk]) -> pl.DataFrame:
    """The turns of conversations, in the columns of the two instruction tasks; ``row`` is ``<thread>/<position>``.

    A conversation without an id is named by the hash of what it says. Of several with the same id all but the first, in
    the order of these hashes, get ``~2``, ``~3`` … behind it: LLaVA's mixes use an id once in each part.
    """
    lengths = np.array([len(t.exchanges) for t in talks], dtype=np.int64)
    ends = np.cumsum(lengths)
    each = pl.DataFrame(
        {
            "thread": pl.Series(_threads(talks), dtype=pl.String),
            "images": lists_of_texts([t.images for t in talks]),
            "system": pl.Series([t.system for t in talks], dtype=pl.String),
            "problem": pl.Series([t.problem for t in talks], dtype=pl.String),
            "detail": pl.Series([t.detail for t in talks], dtype=pl.String),
        }
    )
    turns = each[np.repeat(np.arange(len(talks)), lengths)].with_columns(
        pl.Series("position", np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths), dtype=pl.Int32),
        pl.Series("instruction", [user for t in talks for user, _ in t.exchanges], dtype=pl.String),
        pl.Series("response", [assistant for t in talks for _, assistant in t.exchanges], dtype=pl.String),
    )
    return with_image_places(turns).with_columns(row=pl.format("{}/{}", "thread", "position"))


def with_image_places(turns: pl.DataFrame) -> pl.DataFrame:
    """Take the mark of a lone image out of the text, and check the number of all others.

    A single mark at the start or end of the first question about a single image says nothing that the recipe would
    not decide, so it goes, with the line break beside it. Texts without any mark leave the place to the recipe as well.
    Other marks stay; there must be one for each image, and none in what the system or the assistant says.

    Args:
        turns: ``thread`` (a turn without one stands alone), ``position``, ``images``, ``instruction``, ``response``,
            ``system``, ``problem`` and ``detail``.
    """
    alone = pl.format("\0{}", pl.int_range(pl.len()))
    turns = turns.with_columns(talk=pl.coalesce("thread", alone), text=pl.col("instruction").str.strip_chars())
    here, num_images = _marks("instruction"), pl.col("images").list.len().fill_null(0)
    astray = (_marks("response") + _marks("system")).sum().over("talk")
    turns = turns.with_columns(marks=here.sum().over("talk"), astray=astray, num_images=num_images)
    at_edge = pl.col("text").str.starts_with(IMAGE_MARK) | pl.col("text").str.ends_with(IMAGE_MARK)
    is_first = pl.col("position").fill_null(0) == 0
    is_lone = (pl.col("marks") == 1) & (pl.col("num_images") == 1) & (here == 1) & is_first & at_edge
    bare = pl.col("text").str.strip_prefix(IMAGE_MARK).str.strip_suffix(IMAGE_MARK).str.strip_chars()
    is_mismatch = (pl.col("astray") > 0) | ((pl.col("marks") > 0) & (pl.col("marks") != pl.col("num_images")))
    said = pl.format(
        "{} {} in the questions, {} in answers, {} images", "marks", pl.lit(IMAGE_MARK), "astray", "num_images"
    )
    turns = note(turns, is_mismatch, "image_count_mismatch", said)
    turns = turns.with_columns(instruction=pl.when(is_lone).then(bare).otherwise("instruction"))
    return turns.drop("talk", "text", "marks", "astray", "num_images")


def _broken(thread: str | None, images: Sequence[str], messages: Any, problem: str, detail: str) -> Talk:
    """A conversation that cannot be used; worth as many turns as it has questions, and at least one."""
    num_questions = sum(_role(message) == "user" for message in messages) if isinstance(messages, list) else 0
    return Talk(thread, images, None, [(None, None)] * max(1, num_questions), problem, detail)


def _marks(column: str) -> pl.Expr:
    return pl.col(column).str.count_matches(IMAGE_MARK, literal=True).fill_null(0)


def _exchanges(messages: Any) -> tuple[str | None, list[tuple[str, str]]]:
    """What the system says, and the exchanges.

    Raises:
        ValueError: Something is out of order, and what.
    """
    if not isinstance(messages, list):
        raise ValueError(f"no list of messages, but {shown(messages)}")
    system: str | None = None
    question: str | None = None
    found: list[tuple[str, str]] = []
    for number, message in enumerate(messages, start=1):
        role = _role(message)
        if role == "system":
            if number > 1:
                raise ValueError(f"message {number}: the system speaks in the middle")
            system = _words(_content(message), number) if _content(message) else None
        elif role == "user":
            if question is not None:
                raise ValueError(f"message {number}: the user speaks twice in a row")
            question = _words(_content(message), number)
        elif role == "assistant":
            if question is None:
                raise ValueError(f"message {number}: the assistant speaks {'twice in a row' if found else 'first'}")
            found.append((question, _words(_content(message), number)))
            question = None
        elif isinstance(message, dict):
            raise ValueError(f"message {number}: unknown speaker {shown(message.get('from', message.get('role')))}")
        else:
            raise ValueError(f"message {number} is no object, but {shown(message)}")
    if question is not None:
        raise ValueError(f"message {len(messages)}: the last question has no answer")
    if not found:
        raise ValueError("no messages")
    return system, found


def _role(message: Any) -> str | None:
    if type(message) is not dict:
        return None
    speaker = message["from"] if "from" in message else message.get("role")
    return _ROLES.get(speaker) if type(speaker) is str else None


def _content(message: Any) -> Any:
    if type(message) is not dict:
        return None
    return message["value"] if "value" in message else message.get("content")


def _words(words: Any, number: int) -> str:
    if not _is_text(words):
        raise ValueError(f"message {number}: its text is {shown(words)}")
    if not words or words.isspace():
        raise ValueError(f"message {number} is empty")
    return words


def _is_text(value: Any) -> TypeGuard[str]:
    """False also for text with half a surrogate pair, which JSON can write and UTF-8 cannot."""
    if type(value) is not str:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(thread: Any) -> str | None:
    if type(thread) is int:
        return str(thread)
    return thread if thread and _is_text(thread) else None


def _threads(talks: Sequence[Talk]) -> list[str]:
    same: defaultdict[str, list[int]] = defaultdict(list)
    for place, t in enumerate(talks):
        same[t.thread or _digest(t)].append(place)
    names = [""] * len(talks)
    for name, places in same.items():
        if len(places) > 1:
            places.sort(key=lambda place: _digest(talks[place]))
        for k, place in enumerate(places, start=1):
            names[place] = name if k == 1 else f"{name}~{k}"
    return names


def _digest(t: Talk) -> str:
    said = json.dumps([list(t.images), t.system, list(t.exchanges), t.detail])
    return xxhash.xxh3_64_hexdigest(said.encode())
