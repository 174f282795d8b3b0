"""What models wrote -> turns like any others, in a file of canonical columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vldata.codecs import codec
from vldata.generate.samples import SynthSample
from vldata.recipe.models import Entry
from vldata.schema.boxes import padded_square
from vldata.schema.turns import BOX, COMMON
from vldata.synth.draws import Draw
from vldata.synth.exchange import Exchange, Link, linked_regions, with_boxes
from vldata.synth.inputs import Region
from vldata.synth.kind import SynthKind
from vldata.synth.review import EDITED

COLUMNS = {
    "instruction": ("instruction", "response"),
    "text_instruction": ("instruction", "response"),
    "vqa_open": ("question", "answer"),
    "caption": (None, "caption"),
    "rec": ("phrase", None),
}
"""Task -> the columns for the question and the answer of an exchange; boxes that are the answer have their own."""

_ROWS = 8_192
"""Turns that are held until they are written."""


def write_turns(draws: Iterable[tuple[SynthSample, Draw]], entry: Entry, kind: SynthKind, path: Path) -> None:
    """Canonical columns of everything that was generated, and a row with its reason for every draw that gives none.

    Args:
        draws: Every draw with its sample; they are not held.
        entry: The synthetic source.
        kind: That made them.
        path: Of the Parquet file.
    """
    question_column, answer_column = COLUMNS[entry.task.name]
    schema: dict[str, Any] = {**COMMON, **{column: pl.String for column in (question_column, answer_column) if column}}
    if not answer_column:
        schema["boxes"] = pl.List(BOX)
    schema |= dict.fromkeys(kind.scores, pl.Float64)
    rows = (row for sample, draw in draws for row in _rows(sample, draw, entry, kind))
    with pq.ParquetWriter(path, _arrow(pl.DataFrame(schema=schema)).schema, compression="zstd") as writer:
        while held := list(islice(rows, _ROWS)):
            writer.write_table(_arrow(pl.DataFrame(held, schema=schema)))


def _arrow(table: pl.DataFrame) -> pa.Table:
    return table.to_arrow()


def _rows(sample: SynthSample, draw: Draw, entry: Entry, kind: SynthKind) -> Iterator[dict[str, Any]]:
    question_column, answer_column = COLUMNS[entry.task.name]
    sizes = [{"width": size[0], "height": size[1]} for size in sample.sizes if size is not None]
    head = {
        "images": list(sample.images),
        "image_sizes": sizes if sizes and len(sizes) == len(sample.images) else None,
        "generator": f"{kind.lineage} {draw.requests[-1].key}" if draw.requests else None,
    }
    if not draw.kept:
        yield {**head, "row": draw.row, "problem": draw.problem, "detail": draw.detail}
        return
    for position, place in enumerate(draw.kept):
        exchange = draw.exchanges[place]
        texts = zip((question_column, answer_column), _texts(exchange, sample, entry), strict=True)
        words: dict[str, Any] = {column: text for column, text in texts if column is not None}
        if answer_column is None:
            words["boxes"] = [region._asdict() | {"image": 0} for region in _regions(exchange, sample)]
        many = len(draw.kept) > 1
        place_in = {"thread": draw.row, "position": position} if question_column == "instruction" else {}
        own = {"generator": f"{head['generator']} {EDITED}"} if place in draw.edited else {}
        if kind.scores:
            words |= {f"score_{name}": score for name, score in exchange.scores.items()}
            is_whole = len(exchange.scores) == len(kind.scores) - 1  # a mean of what could be read would mislead
            words["score"] = fmean(exchange.scores.values()) if is_whole else None
        yield {**head, **own, **words, **place_in, "row": f"{draw.row}/{position + 1}" if many else draw.row}


def _regions(exchange: Exchange, sample: SynthSample) -> list[Region]:
    """The boxes that an answer means, each with the question as its phrase."""
    regions = linked_regions(exchange.answer_links, sample.inputs)
    return [region._replace(phrase=exchange.question) for region in regions]


def _texts(exchange: Exchange, sample: SynthSample, entry: Entry) -> tuple[str, str]:
    """Question and answer, with boxes behind linked phrases in the recipe's codec and frame."""
    if not (exchange.question_links or exchange.answer_links):
        return exchange.question, exchange.answer
    inputs = sample.inputs
    if entry.settings.reference == "padded_square" and sample.sizes and sample.sizes[0] is not None:
        width, height = sample.sizes[0]
        boxes = tuple(Region(r.phrase, *padded_square(r.box, width, height)) for r in inputs.boxes)
        inputs = replace(inputs, boxes=boxes)
    box_format = codec(entry.settings.box_format)

    def rendered(text: str, links: tuple[Link, ...]) -> str:
        return with_boxes(text, links, inputs, box_format)

    return rendered(exchange.question, exchange.question_links), rendered(exchange.answer, exchange.answer_links)
