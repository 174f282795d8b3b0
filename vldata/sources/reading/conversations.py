"""Conversations as corpora write them -> exchanges, one a turn: what the formats with dialogues share.

A conversation in which anything is out of order is refused as a whole, with one row for each question that it has: an
exchange that lost its neighbours would teach the wrong thing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import xxhash

from vldata.errors import SourceError
from vldata.schema.turns import BOX
from vldata.sources.reading.delimited import BLANK_LINE
from vldata.sources.reading.keep import columns_of_texts, heads, texts_of_row
from vldata.sources.reading.keys import is_blank, is_harmless
from vldata.sources.reading.marks import IMAGE_MARK, with_image_places
from vldata.sources.reading.message_images import Images, Refused, images_of
from vldata.sources.reading.messages import conversation_of, name_of, num_questions
from vldata.sources.reading.native_types import lists_of_texts, shown
from vldata.sources.reading.objects import BoxFields, boxes_of_turns, has_places, placed
from vldata.sources.reading.rows import note
from vldata.sources.reading.talk_files import talk_rows
from vldata.sources.reading.talk_keys import (
    EXCHANGES,
    MESSAGES,
    OBJECTS,
    READ,
    form_of,
    may_name_images,
    speaks_of_images,
    unknown_key,
)


class Talk(NamedTuple):
    """One conversation.

    Args:
        thread: Native id; None where there is none.
        images: References, for all of its exchanges.
        system: What is said before it, if anything.
        exchanges: (user, assistant), in order; (None, None) for each question of one with a problem.
        problem: A name of `vldata.schema.reasons`; None of a sound one.
        detail: What exactly is wrong.
        weights: Of each answer's loss; None: all are learnt alike.
        boxes: Of each exchange, for its places of boxes; None: it has none.
        box_unit: Of these.
        kept: JSON texts of the native columns that the recipe keeps.
    """

    thread: str | None
    images: Sequence[str]
    system: str | None
    exchanges: Sequence[tuple[str | None, str | None]]
    problem: str | None = None
    detail: str | None = None
    weights: Sequence[float] | None = None
    boxes: Sequence[Sequence[BoxFields]] | None = None
    box_unit: str | None = None
    kept: Sequence[str | None] = ()


def talk(row: Any, *, pictured: bool, ignore: frozenset[str] = frozenset(), keep: tuple[str, ...] = ()) -> Talk:
    """Read a row in any of the forms of `vldata.sources.reading.messages`.

    Args:
        row: An object, or the exception that says why it is none.
        pictured: Whether conversations about images are requested, or those without; the others are ``not_for_task``.
        ignore: Keys that change nothing of what is learnt.
        keep: Native columns that go along, by their names or dotted paths.
    """
    if keep:
        own = ignore | _not_read(keep)
        return _talk(row, pictured, ignore, own)._replace(kept=texts_of_row(row, keep))
    return _talk(row, pictured, ignore, ignore)


@lru_cache
def _not_read(keep: tuple[str, ...]) -> frozenset[str]:
    """Keys of a row that are known as they are kept, which says nothing of its messages' keys."""
    return heads(keep) - READ


def _talk(row: Any, pictured: bool, ignore: frozenset[str], ignore_of_row: frozenset[str]) -> Talk:
    if not isinstance(row, dict):
        detail = str(row) if isinstance(row, Exception) else f"not an object: {shown(row)}"
        problem = "blank_line" if detail == BLANK_LINE else "unparsable_row"
        return Talk(None, (), None, [(None, None)], problem, detail)
    form, thread = form_of(tuple(row), ignore_of_row), name_of(row.get("id"))
    images, said = Images([]), None

    def refused(problem: str, detail: str) -> Talk:
        nothing = [(None, None)] * (len(said.exchanges) if said else num_questions(row, form))
        return Talk(thread, images.named, None, nothing, problem, detail)

    if not form.messages and not form.exchange:
        there = ", ".join(map(repr, row)) or "no keys"
        return refused("unparsable_row", f"no conversation under a key that is known as one, but {there}")
    for key in form.media:
        if not is_blank(row[key]):
            return refused("unparsable_row", f"the row has {key!r}, which is not read")
    try:
        images = images_of(row, form)
    except Refused as error:
        return refused(error.problem, str(error))
    problem, detail = "", ""
    try:
        said = conversation_of(row, form, images, ignore)
        found = images.references()
    except Refused as error:
        problem, detail = error.problem, str(error)
    if bool(images) != pictured:
        unread = may_name_images(form, row) if pictured else None
        if unread is not None:
            return refused("unknown_key", unread)
        if problem and pictured and any(speaks_of_images(row[key]) for key in form.messages):
            return refused(problem, detail)
        if pictured and said is not None and any(IMAGE_MARK in question for question, _ in said.exchanges):
            return refused("image_count_mismatch", f"{IMAGE_MARK} in a question, and the row names no image")
        return refused("not_for_task", "it has an image" if images else "it has no image")
    if said is None or problem:
        return refused(problem, detail)
    boxes = None
    if not is_blank(row.get(OBJECTS)) and OBJECTS not in ignore and has_places(said.exchanges):
        try:
            boxes = placed(row[OBJECTS], said.exchanges, num_images=len(found), ignore=ignore)
        except Refused as error:
            return refused(error.problem, str(error))
        if images.named and found != images.named and len(found) > 1:
            return refused("unparsable_row", f"its parts name its images in another order, and so may {OBJECTS!r}")
        said = said._replace(exchanges=boxes.exchanges)
        form = form._replace(others=tuple(key for key in form.others if key != OBJECTS))
    if form.others:
        texts = {text for exchange in said.exchanges for text in exchange} | {said.system or ""}
        unread = unknown_key(row, form, texts, has_images=pictured)
        if unread is not None:
            return refused("unknown_key", unread)
    if said.weights is not None and not any(said.weights):
        return refused("not_for_task", "none of its answers is to be learnt")
    own, unit = (boxes.boxes, boxes.unit) if boxes is not None else (None, "px")
    if own is None and not has_places(said.exchanges):
        own = boxes_of_turns(row.get("turns"), len(said.exchanges), len(found))
    return Talk(thread, found, said.system, said.exchanges, weights=said.weights, boxes=own, box_unit=unit)


def talks_in(
    path: Path,
    *,
    pictured: bool,
    ignore: Collection[str] = (),
    keep: Sequence[str] = (),
    image_root: str | None = None,
) -> list[Talk]:
    """Every row of a table, however it is written, as a conversation; see `talk`.

    Args:
        image_root: Folder from which the images inside the table are named.

    Raises:
        SourceError: No row has any messages, so the file is of another format.
    """
    rows = talk_rows(path, image_root=image_root if pictured else str(path.parent))
    known = (form_of(tuple(row)) for row in rows if isinstance(row, dict))
    if rows and not any(form.messages or form.exchange for form in known):
        raise SourceError(
            str(path), f"no row has {MESSAGES[0]!r}; the first is {shown(rows[0])}", "fix `path` or `format`"
        )
    ignored, kept = frozenset(ignore), tuple(keep)
    return [talk(row, pictured=pictured, ignore=ignored, keep=kept) for row in rows]


def holds_talks(columns: Collection[str], fields: Collection[str], ignore: Collection[str]) -> bool:
    """Whether a table's rows are to be read as whole conversations, one by one.

    Not those of which a recipe says what the exchange is, nor The Cauldron's without strange columns, whose ``texts``
    are read all at once.
    """
    exchange = {"instruction", "response"}
    if exchange & {*fields} or exchange <= {*columns}:
        return False
    if "texts" in columns and not {*MESSAGES[:-1]} & {*columns}:
        read = {"texts", "image", "images", "id", "thread", "row", "system", *ignore}
        return not all(column in read or is_harmless(column) for column in columns)
    return any(key in columns for key in MESSAGES[:-1]) or any({*pair} <= {*columns} for pair in EXCHANGES)


def exchanges(talks: Sequence[Talk], keep: Sequence[str] = ()) -> pl.DataFrame:
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
    ).with_columns(columns_of_texts([t.kept for t in talks], keep))
    turns = each[np.repeat(np.arange(len(talks)), lengths)].with_columns(
        pl.Series("position", np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths), dtype=pl.Int32),
        pl.Series("instruction", [user for t in talks for user, _ in t.exchanges], dtype=pl.String),
        pl.Series("response", [assistant for t in talks for _, assistant in t.exchanges], dtype=pl.String),
    )
    if any(t.weights for t in talks):
        weights = [weight for t in talks for weight in (t.weights or [1.0] * len(t.exchanges))]
        turns = turns.with_columns(pl.Series("weight", weights, dtype=pl.Float32))
    if any(t.boxes is not None for t in talks):
        boxes = [of for t in talks for of in (t.boxes if t.boxes is not None else [None] * len(t.exchanges))]
        units = pl.Series([t.box_unit for t in talks], dtype=pl.String).gather(
            np.repeat(np.arange(len(talks)), lengths)
        )
        turns = turns.with_columns(pl.Series("boxes", boxes, dtype=pl.List(BOX)), units.alias("box_unit"))
    return with_image_places(turns).with_columns(row=pl.format("{}/{}", "thread", "position"))


def in_order(turns: pl.DataFrame) -> pl.DataFrame:
    """Refuse conversations of which two exchanges have the same place, or one is missing between others.

    Args:
        turns: ``thread``, ``position`` (counted from 0, or from 1 in all conversations), ``problem`` and ``detail``.
    """
    first = pl.lit(1 if turns["position"].min() == 1 else 0, pl.Int32)
    places = pl.col("position").sort().implode()
    of_threads = turns.filter(pl.col("thread").is_not_null()).group_by("thread").agg(places=places, num=pl.len())
    has_gaps = pl.col("places").list.eval(pl.element().is_null()).list.any()
    is_whole = (
        (pl.col("places").list.n_unique() == pl.col("num"))
        & (pl.col("places").list.first() == first)
        & (pl.col("places").list.last() == first + pl.col("num").cast(pl.Int32) - 1)
    )
    broken = of_threads.filter(has_gaps | ~is_whole.fill_null(False)).filter((pl.col("num") > 1) | ~has_gaps)
    if broken.is_empty():
        return turns
    said = pl.col("places").list.eval(pl.element().cast(pl.String).fill_null("none")).list.join(", ")
    names = broken.select("thread", said=pl.format("the positions of its conversation are {}", said))
    turns = turns.join(names, on="thread", how="left", maintain_order="left")
    return note(turns, pl.col("said").is_not_null(), "broken_conversation", pl.col("said")).drop("said")


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
