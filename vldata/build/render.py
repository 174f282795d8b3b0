"""Chosen samples -> finished rows without pixels, one leaf at a time, as a pure function of its arguments.

The result is named by the hash of its bytes and of its images' contents, so everything that decides a block's bytes is
in its key. Arrow arrays are built from plain lists: their buffers then depend on the values alone, not on which table
the rows came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vldata.codecs import codec
from vldata.images.geometry import fit
from vldata.prompts.models import Templates
from vldata.prompts.render import Rendered, render
from vldata.prompts.template import Template
from vldata.schema.boxes import Box, padded_square
from vldata.schema.keyed import fractions, keyed
from vldata.schema.rows import CONTENT, IMAGE, MESSAGE, ROW_BOX, SIZE_TYPE, TURN, arrow_schema
from vldata.schema.turns import KEY
from vldata.tasks.base import Task

IMAGE_MARK = "<image>"
RENDER_VERSION = 1


@dataclass(frozen=True)
class Words:
    """All that decides the words of a source's samples.

    Args:
        source: Name in the recipe.
        dataset: Format, which templates may name.
        image_prefix: Put before an image reference to make the stored path: the image root, where paths are stored.
    """

    source: str
    dataset: str
    task: Task
    template: Template
    templates: Templates
    box_format: str
    padded: bool
    image_position: str
    max_side_px: int | None
    image_prefix: str
    seed: int


@dataclass(frozen=True)
class Piece:
    """The finished rows of a leaf, images as references, and what was counted on the way."""

    table: pa.Table
    hashes: list[str | None]
    num_images: int
    num_turns: int
    answer_chars: int
    text_chars: int
    image_bytes: int


def render_leaf(samples: pl.DataFrame, turns: pl.DataFrame, words: Words) -> Piece | dict[str, str]:
    """Finish the samples of one leaf.

    Args:
        samples: As `vldata.build.inspect.Inspected.samples`, in rank order.
        turns: Their turns, sample by sample.
        words: What to say.

    Returns:
        The piece, or the rows on which the template failed with what it said.
    """
    salt = words.source
    turns = words.task.prepare(turns, seed=words.seed, salt=salt)
    keys = turns[KEY].to_numpy()
    rendered = render(
        words.template,
        _columns(turns, samples, words),
        num_rows=turns.height,
        options=words.templates,
        variant_keys=keyed(keys, words.seed, "variant", salt),
        flip_keys=keyed(keys, words.seed, "flip", salt),
        dataset=words.dataset,
    )
    rows = turns["row"].to_list()
    failed = {rows[i]: f"template_error: {message}" for i, message in rendered.failed.items()}
    for i, (user, assistant) in enumerate(zip(rendered.user, rendered.assistant, strict=True)):
        if i not in rendered.failed and not (user or "").strip() and turns["place"][i] > 0:
            failed[rows[i]] = "empty_message: the user's text"
        if i not in rendered.failed and not (assistant or "").strip():
            failed[rows[i]] = "empty_message: the assistant's text"
    marks = _marks(rendered.user, samples, words)
    failed |= {rows[i]: f"image_count_mismatch: {message}" for i, message in marks.items()}
    return failed or _piece(samples, turns, rendered, rows, words)


def _columns(turns: pl.DataFrame, samples: pl.DataFrame, words: Words) -> dict[str, Sequence[Any]]:
    boxed = "fractions" in turns.columns
    wanted = set(words.template.file.reads) | (words.task.columns.keys() if boxed else set())
    columns: dict[str, Sequence[Any]] = {name: turns[name].to_list() for name in sorted(wanted & set(turns.columns))}
    if boxed:
        columns |= words.task.write_boxes(columns, _framed(turns, samples, words), codec(words.box_format))
    return columns


def _framed(turns: pl.DataFrame, samples: pl.DataFrame, words: Words) -> list[list[tuple[str | None, Box]]]:
    """Every turn's (phrase, box), the box in fractions of the frame that the recipe's ``reference`` names."""
    sizes = dict(zip(samples["at"].to_list(), samples["sizes"].to_list(), strict=True))
    framed = []
    for at, boxes in zip(turns["at"].to_list(), turns["fractions"].to_list(), strict=True):
        of_turn = []
        for b in boxes:
            box = Box(b["x0"], b["y0"], b["x1"], b["y1"])
            size = sizes[at][b["image"] or 0] if words.padded else None
            of_turn.append((b["phrase"], padded_square(box, size["width"], size["height"]) if size else box))
        framed.append(of_turn)
    return framed


def _marks(user: Sequence[str | None], samples: pl.DataFrame, words: Words) -> dict[int, str]:
    """Turns whose samples have image places in their texts, but not as many as images."""
    marked = [i for i, text in enumerate(user) if text and IMAGE_MARK in text]
    if not marked:
        return {}
    ends = np.cumsum(samples["num_turns"].to_numpy())
    counts = samples["images"].list.len().to_list()
    found: dict[int, int] = {}
    for i in marked:
        at = int(np.searchsorted(ends, i, side="right"))
        found[at] = found.get(at, 0) + (user[i] or "").count(IMAGE_MARK)
    wrong = {at for at, n in found.items() if n != counts[at]}
    return {
        i: f"{found[at]} {IMAGE_MARK} in the text, {counts[at]} images"
        for i in marked
        if (at := int(np.searchsorted(ends, i, side="right"))) in wrong
    }


def _piece(samples: pl.DataFrame, turns: pl.DataFrame, rendered: Rendered, rows: list[str], words: Words) -> Piece:
    bounds = [0, *np.cumsum(samples["num_turns"].to_numpy()).tolist()]
    images = samples["images"].to_list()
    counts = [len(of) for of in images]
    sizes = [[_stored(s, words) for s in of] for of in samples["sizes"].to_list()]
    messages = _Messages()
    for i, (after, (low, high)) in enumerate(zip(_image_after(turns, bounds, words), pairwise(bounds), strict=True)):
        messages.add(rendered, low, high, counts[i], after)
    num = len(counts)
    paths = [{"bytes": None, "path": words.image_prefix + ref} for of in images for ref in of]
    columns = [
        pa.array([f"{words.source}/{rows[low]}" for low in bounds[:-1]], pa.string()),
        _lists([0, *np.cumsum(counts).tolist()], pa.array(paths, IMAGE)),
        pa.array(sizes, pa.list_(SIZE_TYPE)),
        messages.array(),
        pa.array([words.source] * num, pa.string()),
        pa.array([words.task.name] * num, pa.string()),
        pa.array(samples["split"].to_list(), pa.string()),
        _lists(bounds, _lineage(turns, rendered, rows, words)),
        pa.array(messages.chars, pa.int32()),
    ]
    return Piece(
        table=pa.Table.from_arrays(columns, schema=arrow_schema()),
        hashes=[h for of in samples["hashes"].to_list() for h in of],
        num_images=sum(counts),
        num_turns=turns.height,
        answer_chars=sum(map(len, filter(None, rendered.assistant))),
        text_chars=sum(messages.chars),
        image_bytes=int(samples["image_bytes"].sum()),
    )


def _stored(size: dict[str, int] | None, words: Words) -> dict[str, int] | None:
    if size is None or words.max_side_px is None:
        return size
    width, height = fit(size["width"], size["height"], words.max_side_px)
    return {"width": width, "height": height}


def _image_after(turns: pl.DataFrame, bounds: list[int], words: Words) -> list[bool]:
    if words.image_position != "random":
        return [words.image_position == "after"] * (len(bounds) - 1)
    keys = turns[KEY].to_numpy()[np.asarray(bounds[:-1], dtype=np.int64)]
    return [bool(x) for x in fractions(keyed(keys, words.seed, "image_position", words.source)) >= 0.5]


class _Messages:
    """The messages column while it grows, flat: Arrow's own form, so that no object is made per message."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.texts: list[str | None] = []
        self.roles: list[str] = []
        self.message_ends: list[int] = [0]
        self.sample_ends: list[int] = [0]
        self.chars: list[int] = []

    def add(self, rendered: Rendered, low: int, high: int, num_images: int, after: bool) -> None:
        """Add one sample: turns ``low`` to ``high``, its images in the first question or at the marks in the texts."""
        chars = self._say("system", rendered.system[low]) if rendered.system[low] else 0
        marked = any(text and IMAGE_MARK in text for text in rendered.user[low:high])
        for i in range(low, high):
            user = rendered.user[i] or ""
            if marked:
                chars += self._interleave(user)
            elif i == low and num_images:
                if not after:
                    self._show(num_images)
                chars += self._text(user)
                if after:
                    self._show(num_images)
            else:
                chars += self._text(user)
            self._close("user")
            chars += self._say("assistant", rendered.assistant[i])
        self.sample_ends.append(len(self.roles))
        self.chars.append(chars)

    def array(self) -> pa.Array:
        """The finished column."""
        content = pa.StructArray.from_arrays(
            [pa.array(self.types, pa.string()), pa.array(self.texts, pa.string())], fields=list(CONTENT)
        )
        messages = pa.StructArray.from_arrays(
            [pa.array(self.roles, pa.string()), _lists(self.message_ends, content)], fields=list(MESSAGE)
        )
        return _lists(self.sample_ends, messages)

    def _say(self, role: str, text: str | None) -> int:
        chars = self._text(text or "")
        self._close(role)
        return chars

    def _close(self, role: str) -> None:
        self.roles.append(role)
        self.message_ends.append(len(self.types))

    def _show(self, num_images: int) -> None:
        self.types.extend(["image"] * num_images)
        self.texts.extend([None] * num_images)

    def _text(self, text: str) -> int:
        if text:
            self.types.append("text")
            self.texts.append(text)
        return len(text)

    def _interleave(self, text: str) -> int:
        chars = 0
        for k, words in enumerate(text.split(IMAGE_MARK)):
            if k:
                self._show(1)
            chars += self._text(words.strip())
        return chars


def _lineage(turns: pl.DataFrame, rendered: Rendered, rows: list[str], words: Words) -> pa.Array:
    num = len(rows)
    if "boxes" in turns.columns:
        boxes = pa.array([of or [] for of in turns["boxes"].to_list()], pa.list_(ROW_BOX))
    else:
        boxes = _lists([0] * (num + 1), pa.array([], ROW_BOX))
    columns = [
        pa.array(rows, pa.string()),
        pa.array([words.template.lineage] * num, pa.string()),
        pa.array(rendered.variant, pa.string()),
        boxes,
        pa.nulls(num, pa.string()),
        pa.array(np.ones(num, dtype=np.float32)),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(TURN))


def _lists(ends: list[int], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)
