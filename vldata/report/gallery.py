"""Samples of each source to look at: thumbnails, boxes, the conversation, and where each turn came from."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from vldata.dataset.manifest import manifest_of
from vldata.dataset.open import block_table
from vldata.images.geometry import fit
from vldata.images.look import look
from vldata.images.pixels import decoded, resized
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageReader
from vldata.report.text import cut

MAX_SAMPLES = 48
"""Of all sources together."""

MAX_IMAGE_BYTES = 1_500_000
"""Of all thumbnails together, as they stand in the page."""

THUMBNAIL_PX = 400
_PER_SOURCE = (1, 6)
_LOOKED_AT = 48
_MAX_IMAGES, _MAX_MESSAGES, _MAX_TEXT, _MAX_BOXES = 4, 12, 1200, 40
_SMALL_PX = 160
_COLUMNS = ["id", "image_sizes", "messages", "source", "task", "split", "turns", "num_text_chars"]


@dataclass(frozen=True)
class ImageFrame:
    """A box on a picture.

    Args:
        x: Left edge, pixels of the stored picture; ``y``, ``width`` and ``height`` likewise.
        number: As it stands on the picture, from 1.
    """

    x: float
    y: float
    width: float
    height: float
    number: int
    phrase: str


@dataclass(frozen=True)
class SampleImage:
    """A picture of a sample.

    Args:
        width: Of the stored picture, pixels; the frame that boxes live in. 0 when it is not known.
        height: Likewise.
        data: A ``data:`` address; None when there is nothing to show, and ``problem`` says why.
        frames: The boxes on it.
    """

    width: int
    height: int
    data: str | None
    problem: str
    frames: tuple[ImageFrame, ...]


@dataclass(frozen=True)
class MessagePart:
    """A text of a message, or the place of a picture.

    Args:
        image: Number of the picture, from 1; 0 for a text.
    """

    text: str
    image: int = 0


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: str
    parts: tuple[MessagePart, ...]


@dataclass(frozen=True)
class Shown:
    """A sample as the page shows it.

    Args:
        more_pictures: Pictures of it that are left out.
        more_messages: Messages that are left out.
        turns: Its lineage: ``row, template, variant, synthetic, weight, boxes`` of each turn.
    """

    id: str
    source: str
    task: str
    split: str
    chars: int
    pictures: tuple[SampleImage, ...]
    more_pictures: int
    messages: tuple[Message, ...]
    more_messages: int
    turns: tuple[Mapping[str, Any], ...]


def gallery(build: Path) -> dict[str, tuple[Shown, ...]]:
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
    found: dict[str, tuple[Shown, ...]] = {}
    for i, (name, rows) in enumerate(_first(build, manifest, names).items()):
        pictures = _Thumbnails(min(left, share * (i + 1) - (MAX_IMAGE_BYTES - left)))
        found[name] = tuple(_shown(row, pictures) for row in _varied(rows, each))
        left -= pictures.used
    return found


def _first(build: Path, manifest: Mapping[str, Any], names: list[str]) -> dict[str, list[tuple[pa.Table, int, Any]]]:
    """The first samples of each source as (block, row number, row without pictures), each id once."""
    found: dict[str, dict[str, tuple[pa.Table, int, Any]]] = {name: {} for name in names}
    for block in manifest["blocks"]:
        wanting = {name for name, rows in found.items() if len(rows) < _LOOKED_AT}
        if not wanting:
            break
        if block["source"] is not None and block["source"] not in wanting:
            continue
        table = block_table(build, block)
        for name in [name for name in names if name in wanting and block["source"] in (None, name)]:
            mine = pl.Series(pl.from_arrow(table["source"])) == name
            for at in mine.arg_true().head(_LOOKED_AT).to_list():
                if len(found[name]) < _LOOKED_AT:
                    (row,) = table.select(_COLUMNS).slice(at, 1).to_pylist()
                    found[name].setdefault(row["id"], (table, at, row))
    return {name: list(rows.values()) for name, rows in found.items()}


def _varied(rows: list[tuple[pa.Table, int, Any]], num: int) -> list[tuple[pa.Table, int, Any]]:
    """So many of them: at first one of each wording, with and without boxes, then whatever stands first."""
    seen: set[Any] = set()
    fresh: list[tuple[pa.Table, int, Any]] = []
    others: list[tuple[pa.Table, int, Any]] = []
    for one in rows:
        turns = one[2]["turns"]
        kind = (turns[0]["variant"], any(turn["boxes"] for turn in turns), one[2]["split"])
        (others if kind in seen else fresh).append(one)
        seen.add(kind)
    return [*fresh, *others][:num]


def _shown(place: tuple[pa.Table, int, Any], thumbnails: _Thumbnails) -> Shown:
    table, at, row = place
    images = table["images"].slice(at, 1)[0].as_py()[:_MAX_IMAGES]
    sizes = row["image_sizes"]
    pictures = []
    number = 0
    for i, image in enumerate(images):
        frames = []
        for turn in row["turns"]:
            for box in turn["boxes"] or ():
                if (box["image"] or 0) == i and number < _MAX_BOXES:
                    number += 1
                    w, h = box["x1"] - box["x0"], box["y1"] - box["y0"]
                    frames.append(ImageFrame(box["x0"], box["y0"], w, h, number, cut(box["phrase"] or "", 200)))
        pictures.append(thumbnails.picture(image, sizes[i] if i < len(sizes) else None, tuple(frames)))
    return Shown(
        id=row["id"],
        source=row["source"],
        task=row["task"],
        split=row["split"],
        chars=row["num_text_chars"],
        pictures=tuple(pictures),
        more_pictures=len(sizes) - len(pictures),
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


class _Thumbnails:
    """Makes small pictures until so many bytes are used."""

    def __init__(self, max_bytes: int) -> None:
        self.used = 0
        self._max_bytes = max_bytes
        self._reader = ImageReader("/")

    def picture(
        self, image: Mapping[str, Any], size: Mapping[str, int] | None, frames: tuple[ImageFrame, ...]
    ) -> SampleImage:
        """A picture of a row, or why it cannot be shown."""
        known = (size["width"], size["height"]) if size else None
        try:
            data, drawn = _small(self._bytes(image))
        except ImageProblem as problem:
            width, height = known or (0, 0)
            why = f"not shown: {problem.reason.replace('_', ' ')}"
            return SampleImage(width, height, None, why, frames if known else ())
        width, height = known or drawn
        if self.used + len(data) > self._max_bytes:
            return SampleImage(width, height, None, "not shown, to keep the page small", frames)
        self.used += len(data)
        return SampleImage(width, height, data, "", frames)

    def _bytes(self, image: Mapping[str, Any]) -> bytes:
        if image["bytes"] is not None:
            return bytes(image["bytes"])
        if not image["path"]:
            raise ImageProblem("image_missing", "the row has neither bytes nor a path")
        return self._reader.read(image["path"].lstrip("/"))


def _small(data: bytes) -> tuple[str, tuple[int, int]]:
    """A picture as a ``data:`` address, and its upright size before it was made small."""
    from PIL import Image

    seen = look(data)
    full = (seen.width, seen.height)
    image = decoded(resized(data, 2 * THUMBNAIL_PX)[0])  # a large JPEG decodes at a fraction of its size
    if "A" in image.getbands() or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(clear, mask=clear.getchannel("A"))
    image = image.convert("RGB")
    width, height = fit(*full, THUMBNAIL_PX)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    is_drawn = max(full) <= _SMALL_PX  # few pixels, often of a drawing: losses would show
    image.save(out, "PNG") if is_drawn else image.save(out, "JPEG", quality=80)
    kind = "png" if is_drawn else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}", full
