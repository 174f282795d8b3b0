"""What sources say about images and texts -> the samples of a synthetic source.

There may be more of them than fit in memory as Python objects, so they are put together image by image and kept in
a file without a name, from which they are read again one after the other.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from vldata.pipeline.candidates import BEST_SIZES
from vldata.pipeline.fit_boxes import fit_boxes
from vldata.pipeline.index import IndexedTurns, index
from vldata.pipeline.screen import ScreenedTurns, ScreenJob, screen
from vldata.recipe.models import Entry, Recipe
from vldata.schema.boxes import Box
from vldata.schema.keyed import keyed, string_keys
from vldata.store.store import Store
from vldata.synth.inputs import PARTS, Inputs, Reading, Region
from vldata.synth.kind import SynthKind

_AT_ONCE = 10_000  # names whose keys are computed at once


@dataclass(frozen=True)
class SynthSample:
    """What is known of one image or text, and where it came from.

    Args:
        inputs: For the kind.
        images: References, as in the turns of its sources.
        sizes: Of the images, pixels; None when unknown.
    """

    inputs: Inputs
    images: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int] | None, ...] = ()


class SynthSamples:
    """Samples in a file without a name, in an order of their own; read as often as needed.

    Args:
        folder: On a disk with room.
        samples: Pulled one by one.
        source: The synthetic source, which with the seed decides the order.
        total: At most N, the first usable ones in that order; None: all, and those that are not usable too.
        why_unusable: The reason and detail why nothing is sent about a sample; None: it is usable.

    Attributes:
        unusable: Number of samples of all that were given, by reason.
    """

    def __init__(
        self,
        folder: Path,
        samples: Iterator[SynthSample],
        *,
        seed: int,
        source: str,
        total: int | None = None,
        why_unusable: Callable[[Inputs], tuple[str, str] | None] = lambda inputs: None,
    ) -> None:
        unusable, is_usable = Counter[str](), array("b")
        with tempfile.TemporaryFile(dir=folder) as file:
            ends, ranks, names = array("q", [0]), [np.empty(0, np.uint64)], list[str]()

            def rank() -> None:
                ranks.append(keyed(string_keys(names), seed, "synth", source))
                names.clear()

            for sample in samples:
                data = msgspec.msgpack.encode(sample)
                file.write(data)
                ends.append(ends[-1] + len(data))
                names.append(sample.inputs.row)
                why = why_unusable(sample.inputs)
                is_usable.append(why is None)
                unusable.update([] if why is None else [why[0]])
                if len(names) == _AT_ONCE:
                    rank()
            rank()
            file.flush()
            self._handle = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._handle)
        self._ends = np.array(ends)
        order = np.argsort(np.concatenate(ranks), kind="stable")
        self._order = order if total is None else order[np.array(is_usable, bool)[order]][:total]
        self.unusable = dict(sorted(unusable.items()))

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[SynthSample]:
        """In their order."""
        decode = msgspec.msgpack.Decoder(SynthSample).decode
        return map(decode, self._encoded())

    @property
    def inputs(self) -> Iterable[Inputs]:
        """What the kind gets of each; read as often as needed."""
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
    indexed = index(entry, store)
    if isinstance(indexed, VldataError):
        raise indexed
    assert isinstance(indexed, IndexedTurns)
    exclude = ExclusionList.read(recipe.head.exclude) if recipe.head.exclude else None
    screened = screen(ScreenJob(entry, indexed, group=False), store=store, seed=recipe.head.seed, exclude=exclude)
    if isinstance(screened, VldataError):
        raise screened
    assert isinstance(screened, ScreenedTurns)
    return pl.read_ipc(screened.turns).sort(pl.col("row").str.len_chars(), "row")


def with_facts(turns: pl.DataFrame, facts: pl.DataFrame, source: Entry) -> pl.DataFrame:
    """The turns with their images' hashes and sizes, boxes as a build has them, and why it rejects a turn for these.

    Args:
        turns: As `usable_turns` gives them.
        facts: Of their images; columns as in `vldata.images.facts.FACTS`.
        source: Theirs.

    Returns:
        With columns ``hashes`` and ``sizes``, null for an image that cannot be used; ``image_problem``, the reason and
        detail of the first such image; and ``reason`` and ``detail`` of boxes that do not fit.
    """
    turns = turns.with_row_index("at").with_columns(reason=pl.lit(None, pl.String), detail=pl.lit(None, pl.String))
    each = turns.select("at", ref="images").explode("ref").drop_nulls()
    each = each.join(facts, on="ref", how="left", maintain_order="left")
    is_sound = pl.col("problem").is_null()
    each = each.with_columns(pl.when(is_sound).then(pl.col("hash", "width", "height")))
    size = pl.when(pl.col("width").is_not_null()).then(pl.struct(pl.col("width", "height").cast(pl.Int32)))
    problem = pl.struct("problem", pl.col("detail").fill_null("")).filter(pl.col("problem").is_not_null()).first()
    seen = each.group_by("at", maintain_order=True).agg(hashes="hash", sizes=size, image_problem=problem)
    turns = turns.join(seen, on="at", how="left", maintain_order="left")
    if "boxes" in turns.columns:
        turns = fit_boxes(turns, turns.select("at", "images", "image_sizes", BEST_SIZES), source)
    return turns.drop("at")


@dataclass
class _Draft:
    """What is being put together about one sample; see `Inputs`."""

    images: tuple[str, ...]
    captions: list[str] = field(default_factory=list)
    boxes: list[Region] = field(default_factory=list)
    ocr: list[Reading] = field(default_factory=list)
    fields: Mapping[str, str] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)


def samples_of(
    origins: Sequence[Entry], turns: Sequence[pl.DataFrame], kind: SynthKind, entry: Entry
) -> Iterator[SynthSample]:
    """One sample an image; or one a turn, where the kind works on a turn's own texts.

    Args:
        origins: The sources.
        turns: Of each, as `with_facts` gives them; one that a build rejects says nothing.
        kind: What is made.
        entry: The synthetic source.
    """
    own_texts = {*kind.settings.needs} - PARTS - {"image"}
    is_by_turn = bool(own_texts) or not any((table["images"].list.len() > 0).any() for table in turns)
    for rows in _about_one_image(turns):
        first = rows[0][1]
        draft = _Draft(tuple(first["images"]))
        by_turn: list[tuple[str, _Draft]] = []
        for place, row in rows:
            name = f"{origins[place].name}/{row['row']}"
            if row["reason"] is not None:
                rejected = (row["reason"], f"{name}: {row['detail']}")
                draft.rejected.append(rejected)
                if is_by_turn and kind.settings.needs:
                    by_turn.append((name, _Draft(draft.images, rejected=[rejected])))
                continue
            boxes = [(box["phrase"], Box(*(box[c] for c in Box._fields))) for box in row.get("fractions") or ()]
            says = origins[place].task.facts(row, boxes)
            draft.captions += says.captions
            draft.boxes += [Region(phrase, *box) for phrase, box in says.objects]
            draft.ocr += [Reading(text, box) for text, box in says.readings]
            if is_by_turn and says.texts and (not own_texts or own_texts & says.texts.keys()):
                by_turn.append((name, replace(draft, fields=says.texts)))
        if is_by_turn:
            yield from (_sample(name, one, first, entry) for name, one in by_turn)
        elif draft.images:
            yield _sample("+".join(draft.images), draft, first, entry)


def _about_one_image(turns: Sequence[pl.DataFrame]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """The rows of all tables with the same images, each with its table's place; a row without any stands alone."""
    keys = pl.concat([_image_key(table).alias("images") for table in turns])
    first = keys.to_frame().with_row_index("at").group_by("images").agg(pl.col("at").min())
    streams = []
    start = 0
    for place, table in enumerate(turns):
        at = pl.int_range(start, start + table.height, eager=True, dtype=pl.UInt32)
        start += table.height
        groups = pl.DataFrame({"images": _image_key(table), "own": at})
        groups = groups.join(first, on="images", how="left", maintain_order="left")
        # a row without images stands alone
        groups = groups.select(group=pl.when(pl.col("images") == "").then("own").otherwise("at"))
        ready = table.with_columns(groups["group"]).sort("group", maintain_order=True)
        streams.append(zip(ready["group"], repeat(place), ready.iter_rows(named=True), strict=False))
    for _, rows in groupby(merge(*streams, key=itemgetter(0, 1)), itemgetter(0)):
        yield [(place, row) for _, place, row in rows]


def _image_key(table: pl.DataFrame) -> pl.Series:
    return table["images"].list.join("\0").fill_null("")


def _sample(name: str, draft: _Draft, row: Mapping[str, Any], entry: Entry) -> SynthSample:
    assert entry.synth is not None
    hashes, sizes = row["hashes"] or (), row["sizes"] or ()
    problem = row["image_problem"] or {"problem": None}
    is_kept = problem["problem"] == "image_missing" and entry.settings.images.missing == "keep"
    parts: tuple[Mapping[str, Any], ...] = ()
    if None not in hashes:
        detail, side = entry.synth.detail, entry.synth.max_side_px
        parts = tuple(image_part(hash_, detail=detail, max_side_px=side) for hash_ in hashes)
    inputs = Inputs(
        row=name,
        captions=tuple(draft.captions),
        boxes=tuple(draft.boxes),
        ocr=tuple(draft.ocr),
        images=parts,
        fields=draft.fields,
        rejected=tuple(draft.rejected),
        unusable=None if problem["problem"] is None or is_kept else (problem["problem"], problem["detail"]),
    )
    return SynthSample(inputs, draft.images, tuple(size and (size["width"], size["height"]) for size in sizes))
