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
from itertools import groupby, repeat
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
from vldata.pipeline.candidates import BEST_SIZES, fit_boxes
from vldata.pipeline.index import Indexed, index
from vldata.pipeline.screen import Screened, ScreenJob, screen
from vldata.recipe.models import Entry, Recipe
from vldata.schema.boxes import Box
from vldata.schema.keyed import keyed, string_keys
from vldata.store.store import Store
from vldata.synth.inputs import PARTS, Inputs, Reading, Region
from vldata.synth.kind import SynthKind

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


def usable_turns(recipe: Recipe, entry: Entry, store: Store) -> pl.DataFrame:
    """The usable turns of a source, in the order of their rows: a number before a longer one."""
    found = index(entry, store)
    if isinstance(found, VldataError):
        raise found
    assert isinstance(found, Indexed)
    exclude = ExclusionList.read(recipe.head.exclude) if recipe.head.exclude else None
    screened = screen(ScreenJob(entry, found, group=False), store=store, seed=recipe.head.seed, exclude=exclude)
    if isinstance(screened, VldataError):
        raise screened
    assert isinstance(screened, Screened)
    return pl.read_ipc(screened.turns).sort(pl.col("row").str.len_chars(), "row")


def with_facts(turns: pl.DataFrame, facts: pl.DataFrame, source: Entry) -> pl.DataFrame:
    """The turns with their images' hashes and sizes, boxes as a build has them, and why it rejects a turn for these.

    Args:
        turns: As `usable_turns` gives them.
        facts: Of those of their images that are sound; columns as in `vldata.images.facts.FACTS`.
        source: Theirs.
    """
    turns = turns.with_row_index("at").with_columns(reason=pl.lit(None, pl.String), detail=pl.lit(None, pl.String))
    each = turns.select("at", ref="images").explode("ref").drop_nulls()
    each = each.join(facts, on="ref", how="left", maintain_order="left")
    size = pl.when(pl.col("width").is_not_null()).then(pl.struct(pl.col("width", "height").cast(pl.Int32)))
    seen = each.group_by("at", maintain_order=True).agg(hashes="hash", sizes=size)
    turns = turns.join(seen, on="at", how="left", maintain_order="left")
    if "boxes" in turns.columns:
        turns = fit_boxes(turns, turns.select("at", "images", "image_sizes", BEST_SIZES), source)
    return turns.drop("at")


@dataclass
class _Known:
    """What is being put together about one sample; see `Inputs`."""

    images: tuple[str, ...]
    captions: list[str] = field(default_factory=list)
    boxes: list[Region] = field(default_factory=list)
    ocr: list[Reading] = field(default_factory=list)
    fields: Mapping[str, str] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)


def samples_of(
    made_from: Sequence[Entry], turns: Sequence[pl.DataFrame], kind: SynthKind, entry: Entry
) -> Iterator[SynthSample]:
    """One sample an image; or one a turn, where the kind works on a turn's own texts.

    Args:
        made_from: The sources.
        turns: Of each, as `with_facts` gives them; one that a build rejects says nothing.
        kind: What is to be made.
        entry: The synthetic source.
    """
    is_by_turn = bool({*kind.settings.needs} - PARTS - {"image"}) or not any(
        (table["images"].list.len() > 0).any() for table in turns
    )
    for rows in _about_one_picture(turns):
        first = rows[0][1]
        known = _Known(tuple(first["images"]))
        by_turn: list[tuple[str, _Known]] = []
        for place, row in rows:
            name = f"{made_from[place].name}/{row['row']}"
            if row["reason"] is not None:
                rejected = (row["reason"], f"{name}: {row['detail']}")
                known.rejected.append(rejected)
                if is_by_turn and kind.settings.needs:
                    by_turn.append((name, _Known(known.images, rejected=[rejected])))
                continue
            boxes = [(box["phrase"], Box(*(box[c] for c in Box._fields))) for box in row.get("fractions") or ()]
            says = made_from[place].task.facts(row, boxes)
            known.captions += says.captions
            known.boxes += [Region(phrase, *box) for phrase, box in says.objects]
            known.ocr += [Reading(text, box) for text, box in says.readings]
            if is_by_turn and says.texts:
                by_turn.append((name, replace(known, fields=says.texts)))
        if is_by_turn:
            yield from (_sample(name, one, first, entry) for name, one in by_turn)
        elif known.images:
            yield _sample("+".join(known.images), known, first, entry)


def _about_one_picture(turns: Sequence[pl.DataFrame]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """The rows of all tables with the same pictures, each with its table's place; a row without any stands alone."""
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
        ready = table.with_columns(groups["group"]).sort("group", maintain_order=True)
        streams.append(zip(ready["group"], repeat(place), ready.iter_rows(named=True), strict=False))
    for _, rows in groupby(merge(*streams, key=itemgetter(0, 1)), itemgetter(0)):
        yield [(place, row) for _, place, row in rows]


def _pictures(table: pl.DataFrame) -> pl.Series:
    return table["images"].list.join("\0").fill_null("")


def _sample(name: str, known: _Known, row: Mapping[str, Any], entry: Entry) -> SynthSample:
    assert entry.synth is not None
    hashes, sizes = row["hashes"] or (), row["sizes"] or ()
    parts: tuple[Mapping[str, Any], ...] = ()
    if None not in hashes:
        detail, side = entry.synth.detail, entry.synth.max_side_px
        parts = tuple(image_part(hash_, detail=detail, max_side_px=side) for hash_ in hashes)
    inputs = Inputs(
        row=name,
        captions=tuple(known.captions),
        boxes=tuple(known.boxes),
        ocr=tuple(known.ocr),
        images=parts,
        fields=known.fields,
        rejected=tuple(known.rejected),
    )
    return SynthSample(inputs, known.images, tuple(size and (size["width"], size["height"]) for size in sizes))
