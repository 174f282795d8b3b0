"""Samples of each source to look at: thumbnails, boxes, the conversation, and where each turn came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from vldata.dataset.manifest import manifest_of
from vldata.dataset.open import block_table
from vldata.report.boxes_on_images import SampleImage, boxes_by_image
from vldata.report.text import cut
from vldata.report.thumbnails import Thumbnails

MAX_SAMPLES = 48
"""Of all sources together."""

MAX_IMAGE_BYTES = 1_500_000
"""Of all thumbnails together, as they stand in the page."""

_PER_SOURCE = (1, 6)
_LOOKED_AT = 48
_MAX_IMAGES, _MAX_MESSAGES, _MAX_TEXT = 4, 12, 1200
_COLUMNS = ["id", "image_sizes", "messages", "source", "task", "split", "turns", "num_text_chars"]


@dataclass(frozen=True)
class MessagePart:
    """A text of a message, or the place of an image.

    Args:
        image: Number of the image, from 1; 0 for a text.
    """

    text: str
    image: int = 0


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: str
    parts: tuple[MessagePart, ...]


@dataclass(frozen=True)
class GallerySample:
    """A sample as the page shows it.

    Args:
        more_images: How many of its images are left out.
        more_messages: How many of its messages are left out.
        turns: Its lineage: ``row, template, variant, synthetic, weight, boxes`` of each turn.
    """

    id: str
    source: str
    task: str
    split: str
    chars: int
    images: tuple[SampleImage, ...]
    more_images: int
    messages: tuple[Message, ...]
    more_messages: int
    turns: tuple[Mapping[str, Any], ...]


def gallery(build: Path) -> dict[str, tuple[GallerySample, ...]]:
    """Samples of each source, in the build's order, varied in their templates' variants and with boxes if there are.

    Raises:
        BuildError: Not a build, or a file of it cannot be read.
    """
    manifest = manifest_of(build)
    names = [name for name, source in manifest["sources"].items() if source["achieved"]["samples"]]
    low, high = _PER_SOURCE
    each = max(low, min(high, MAX_SAMPLES // max(1, len(names))))
    left = MAX_IMAGE_BYTES
    share = MAX_IMAGE_BYTES // max(1, len(names))
    samples: dict[str, tuple[GallerySample, ...]] = {}
    for i, (name, rows) in enumerate(_first(build, manifest, names).items()):
        thumbnails = Thumbnails(min(left, share * (i + 1) - (MAX_IMAGE_BYTES - left)))
        samples[name] = tuple(_sample(row, thumbnails) for row in _varied(rows, each))
        left -= thumbnails.used
    return samples


def _first(build: Path, manifest: Mapping[str, Any], names: list[str]) -> dict[str, list[tuple[pa.Table, int, Any]]]:
    """The first samples of each source as (block, row number, row without images), each id once."""
    first: dict[str, dict[str, tuple[pa.Table, int, Any]]] = {name: {} for name in names}
    for block in manifest["blocks"]:
        pending = {name for name, rows in first.items() if len(rows) < _LOOKED_AT}
        if not pending:
            break
        if block["source"] is not None and block["source"] not in pending:
            continue
        table = block_table(build, block)
        for name in [name for name in names if name in pending and block["source"] in (None, name)]:
            of_source = pl.Series(pl.from_arrow(table["source"])) == name
            for at in of_source.arg_true().head(_LOOKED_AT).to_list():
                if len(first[name]) < _LOOKED_AT:
                    (row,) = table.select(_COLUMNS).slice(at, 1).to_pylist()
                    first[name].setdefault(row["id"], (table, at, row))
    return {name: list(rows.values()) for name, rows in first.items()}


def _varied(rows: list[tuple[pa.Table, int, Any]], num: int) -> list[tuple[pa.Table, int, Any]]:
    """At most ``num`` of them: at first one of each wording, with and without boxes, then whatever stands first."""
    seen: set[Any] = set()
    fresh: list[tuple[pa.Table, int, Any]] = []
    others: list[tuple[pa.Table, int, Any]] = []
    for one in rows:
        turns = one[2]["turns"]
        kind = (turns[0]["variant"], any(turn["boxes"] for turn in turns), one[2]["split"])
        (others if kind in seen else fresh).append(one)
        seen.add(kind)
    return [*fresh, *others][:num]


def _sample(place: tuple[pa.Table, int, Any], thumbnails: Thumbnails) -> GallerySample:
    table, at, row = place
    stored = table["images"].slice(at, 1)[0].as_py()[:_MAX_IMAGES]
    sizes = row["image_sizes"]
    boxes = boxes_by_image(row["turns"], len(stored))
    images = [thumbnails.image(image, sizes[i] if i < len(sizes) else None, boxes[i]) for i, image in enumerate(stored)]
    return GallerySample(
        id=row["id"],
        source=row["source"],
        task=row["task"],
        split=row["split"],
        chars=row["num_text_chars"],
        images=tuple(images),
        more_images=len(sizes) - len(images),
        messages=_messages(row["messages"]),
        more_messages=max(0, len(row["messages"]) - _MAX_MESSAGES),
        turns=tuple(row["turns"][:_MAX_MESSAGES]),
    )


def _messages(messages: list[Any]) -> tuple[Message, ...]:
    number = 0
    shown = []
    for message in messages[:_MAX_MESSAGES]:
        parts = []
        for part in message["content"]:
            number += part["type"] == "image"
            parts.append(
                MessagePart("", number) if part["type"] == "image" else MessagePart(cut(part["text"] or "", _MAX_TEXT))
            )
        shown.append(Message(message["role"], tuple(parts)))
    return tuple(shown)
