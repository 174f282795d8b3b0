"""What sources say about pictures and texts -> the samples that a synthetic source asks about.

There may be more of them than fit in memory as Python objects, so they are put together picture by picture and kept in
a file without a name, from which they are read again one after the other.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from blake3 import blake3

from vldata.curate.exclude import ExclusionList
from vldata.errors import VldataError
from vldata.llm.request import image_part
from vldata.pipeline.index import IndexedTurns, index
from vldata.pipeline.screen import ScreenedTurns, ScreenJob, screen
from vldata.recipe.models import Entry, Recipe
from vldata.schema.boxes import Box
from vldata.schema.keyed import keyed, string_keys
from vldata.store.store import Store
from vldata.synth.inputs import PARTS, Inputs, Reading, Region
from vldata.synth.kind import SynthKind

_FIELDS = {"question": "question", "answer": "answer", "instruction": "question", "response": "answer"}
_NUMBERS_ITS_CHOICES = "vqa_mc"

_AT_ONCE = 10_000  # names whose keys are computed at once


@dataclass(frozen=True)
class SynthSample:
    """What is known of one picture or text, and where it came from.

    Args:
        inputs: For the kind.
        images: References, as in the turns of its sources.
        sizes: Of the images, pixels; None when unknown.
    """

    inputs: Inputs
    images: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int] | None, ...] = ()


class SynthSamples:
    """Samples in a file without a name, in an order of their own; gone through as often as wanted.

    Args:
        folder: On a disk with room.
        found: One after the other, as they are found.
        source: The synthetic source, which with the seed decides the order.
        total: At most so many, the first ones in that order; None: all.
    """

    def __init__(
        self, folder: Path, found: Iterator[SynthSample], *, seed: int, source: str, total: int | None = None
    ) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            ends, ranks, names = array("q", [0]), [np.empty(0, np.uint64)], list[str]()

            def rank() -> None:
                ranks.append(keyed(string_keys(names), seed, "synth", source))
                names.clear()

            for sample in found:
                data = msgspec.msgpack.encode(sample)
                file.write(data)
                ends.append(ends[-1] + len(data))
                names.append(sample.inputs.row)
                if len(names) == _AT_ONCE:
                    rank()
            rank()
            file.flush()
            self._handle = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._handle)
        self._ends = np.array(ends)
        self._order = np.argsort(np.concatenate(ranks), kind="stable")[:total]

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[SynthSample]:
        """In their order."""
        decode = msgspec.msgpack.Decoder(SynthSample).decode
        return map(decode, self._encoded())

    @property
    def inputs(self) -> Iterable[Inputs]:
        """What the kind is told of each; to be gone through as often as wanted."""
        return _InputsOf(self)

    @cached_property
    def digest(self) -> str:
        """32 hex characters that change with any sample, and with their order."""
        hasher = blake3()
        for data in self._encoded():
            hasher.update(data)
        return hasher.hexdigest(length=16)

    def _encoded(self) -> Iterator[bytes]:
        for place in self._order:
            start, end = self._ends[place : place + 2].tolist()
            yield os.pread(self._handle, end - start, start)


@dataclass(frozen=True)
class _InputsOf:
    samples: SynthSamples

    def __iter__(self) -> Iterator[Inputs]:
        return (sample.inputs for sample in self.samples)


@dataclass(frozen=True)
class Fact:
    """What is known of a picture's file.

    Args:
        hash: 32 hex characters.
        width: Pixels.
        height: Pixels.
    """

    hash: str
    width: int
    height: int


def usable_turns(recipe: Recipe, entry: Entry, store: Store) -> pl.DataFrame:
    """The usable turns of a source, in the order of their rows: a number before a longer one."""
    found = index(entry, store)
    if isinstance(found, VldataError):
        raise found
    assert isinstance(found, IndexedTurns)
    exclude = ExclusionList.read(recipe.head.exclude) if recipe.head.exclude else None
    screened = screen(ScreenJob(entry, found, group=False), store=store, seed=recipe.head.seed, exclude=exclude)
    if isinstance(screened, VldataError):
        raise screened
    assert isinstance(screened, ScreenedTurns)
    return pl.read_ipc(screened.turns).sort(pl.col("row").str.len_chars(), "row")


@dataclass
class _Known:
    """What is being put together about one sample."""

    images: tuple[str, ...]
    captions: list[str] = field(default_factory=list)
    boxes: list[Region] = field(default_factory=list)
    ocr: list[Reading] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


def samples_of(
    made_from: Sequence[Entry], turns: Sequence[pl.DataFrame], facts: pl.DataFrame, kind: SynthKind, entry: Entry
) -> Iterator[SynthSample]:
    """One sample a picture; or one a turn, where the kind works on a turn's own texts.

    Args:
        made_from: The sources.
        turns: Of each, as `usable_turns` gives them.
        facts: Of those of their pictures that are sound; columns as in `vldata.images.facts.FACTS`.
        kind: What is to be made.
        entry: The synthetic source.
    """
    is_by_turn = bool({*kind.settings.needs} - PARTS - {"image"}) or not any(
        (table["images"].list.len() > 0).any() for table in turns
    )
    for rows in _about_one_picture(turns, facts):
        images = tuple(rows[0][1]["images"])
        facts_of = zip(*(rows[0][1][name] or () for name in _FACTS), strict=True)
        seen = [None if hash_ is None else Fact(hash_, width, height) for hash_, width, height in facts_of]
        known = _Known(images)
        by_turn: list[tuple[str, dict[str, str]]] = []
        for place, row in rows:
            source = made_from[place]
            _learn(known, row, source, seen)
            if is_by_turn and (fields := _fields(row, source)):
                by_turn.append((f"{source.name}/{row['row']}", fields))
        if is_by_turn:
            yield from (_sample(name, replace(known, fields=fields), seen, entry) for name, fields in by_turn)
        elif images:
            yield _sample("+".join(images), known, seen, entry)


_FACTS = ("fact_hash", "fact_width", "fact_height")


def _about_one_picture(
    turns: Sequence[pl.DataFrame], facts: pl.DataFrame
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """The rows of all tables with the same pictures, each with its table's place; a row without any stands alone."""
    known = facts.select(ref="ref", fact_hash="hash", fact_width="width", fact_height="height")
    keys = pl.concat([_pictures(table).alias("pictures") for table in turns])
    first = keys.to_frame().with_row_index("at").group_by("pictures").agg(pl.col("at").min())
    streams = []
    start = 0
    for place, table in enumerate(turns):
        at = pl.int_range(start, start + table.height, eager=True, dtype=pl.UInt32)
        start += table.height
        groups = pl.DataFrame({"pictures": _pictures(table), "own": at})
        groups = groups.join(first, on="pictures", how="left", maintain_order="left")
        # no pictures are nobody's but the row's own
        groups = groups.select(group=pl.when(pl.col("pictures") == "").then("own").otherwise("at"))
        ready = _with_facts(table, known).with_columns(groups["group"]).sort("group", maintain_order=True)
        streams.append((row["group"], place, row) for row in ready.iter_rows(named=True))
    for _, rows in groupby(merge(*streams, key=itemgetter(0, 1)), itemgetter(0)):
        yield [(place, row) for _, place, row in rows]


def _pictures(table: pl.DataFrame) -> pl.Series:
    return table["images"].list.join("\0").fill_null("")


def _with_facts(table: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """The table with what is known of each row's pictures, side by side with them."""
    numbered = table.with_row_index("at")
    each = numbered.select("at", ref="images").explode("ref").join(facts, on="ref", how="left", maintain_order="left")
    is_picture = pl.col("ref").is_not_null()  # the row of an empty list has none
    of_row = each.group_by("at", maintain_order=True).agg(pl.col(name).filter(is_picture) for name in _FACTS)
    return numbered.join(of_row, on="at", how="left", maintain_order="left").drop("at")


def _sample(name: str, known: _Known, seen: Sequence[Fact | None], entry: Entry) -> SynthSample:
    assert entry.synth is not None
    parts: tuple[Mapping[str, Any], ...] = ()
    if all(fact is not None for fact in seen):
        detail, side = entry.synth.detail, entry.synth.max_side_px
        parts = tuple(image_part(fact.hash, detail=detail, max_side_px=side) for fact in seen if fact is not None)
    inputs = Inputs(
        row=name,
        captions=tuple(known.captions),
        boxes=tuple(known.boxes),
        ocr=tuple(known.ocr),
        images=parts,
        fields=known.fields,
    )
    return SynthSample(
        inputs, known.images, tuple(None if fact is None else (fact.width, fact.height) for fact in seen)
    )


def _fields(row: Mapping[str, Any], source: Entry) -> dict[str, str]:
    """The texts of a turn by the names that kinds know them by."""
    found = {_FIELDS[column]: row[column] for column in _FIELDS if isinstance(row.get(column), str)}
    if source.task.name == _NUMBERS_ITS_CHOICES and row.get("choices") and row.get("answer") is not None:
        found["answer"] = row["choices"][row["answer"]]
    texts = [row[column] for column in source.task.texts if isinstance(row.get(column), str)]
    text = found.get("question") or "\n".join(texts)
    return {**found, "text": text} if text else found


def _learn(known: _Known, row: Mapping[str, Any], source: Entry, seen: Sequence[Fact | None]) -> None:
    if isinstance(row.get("caption"), str):
        known.captions.append(row["caption"])
    for box in row.get("boxes") or ():
        corners = _fractions(box, row, source, seen)
        phrase = box["phrase"] or row.get("phrase")  # a box that is all that its turn is about has the turn's phrase
        if corners is not None and phrase:
            if source.task.name == "ocr":
                known.ocr.append(Reading(phrase, corners))
            else:
                known.boxes.append(Region(phrase, *corners))


def _fractions(
    box: Mapping[str, Any], row: Mapping[str, Any], source: Entry, seen: Sequence[Fact | None]
) -> Box | None:
    """The box in fractions of its picture; None when the picture's size is not known."""
    corners = Box(box["x0"], box["y0"], box["x1"], box["y1"])
    if source.source.box_unit == "fraction":
        return corners
    place = box["image"] or 0
    fact = seen[place] if place < len(seen) else None
    told = (row["image_sizes"] or [None])[0]
    size = (fact.width, fact.height) if fact is not None else told and (told["width"], told["height"])
    if size is None or None in corners:
        return None
    return Box(*(min(1.0, max(0.0, c / s)) for c, s in zip(corners, (*size, *size), strict=True)))
