"""Chosen samples -> finished rows without pixels, one leaf at a time, as a pure function of its arguments.

The result is named by the hash of its bytes and of its images' contents, so everything that decides a block's bytes is
in its key. Arrow arrays are built from flat values: their buffers then depend on the values alone, not on which table
the rows came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vldata.codecs import codec
from vldata.images.geometry import fit
from vldata.prompts.models import Templates
from vldata.prompts.places import MARK, PLACE, marks, places
from vldata.prompts.render import Rendered, render
from vldata.prompts.template import Template
from vldata.schema.arrow import flags, nested, numbers, strings
from vldata.schema.boxes import Box, padded_square
from vldata.schema.keyed import Keys, fractions, keyed
from vldata.schema.rows import CONTENT, IMAGE, MESSAGE, ROW_BOX, SIZE_TYPE, TURN, arrow_schema
from vldata.schema.turns import BOX, KEY, META, SIZE
from vldata.tasks.base import Task

RENDER_VERSION = 2

Ints = npt.NDArray[np.int64]
_SYSTEM, _USER, _ASSISTANT = range(3)


@dataclass(frozen=True)
class RenderSettings:
    """All that decides the words of a source's samples.

    Args:
        source: Name in the recipe.
        dataset: What templates call the source.
        image_prefix: Put before an image reference to make the stored path: the image root, where paths are stored.
        has_meta: Whether the rows have a column for native columns, as those of any source of the recipe do.
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
    has_meta: bool = False

    def identity(self) -> dict[str, Any]:
        """All of it as plain values, for keys: a class or a field that is renamed renders nothing again."""
        return {
            "source": self.source,
            "dataset": self.dataset,
            "task": self.task.identity(),
            "places": list(self.task.places),
            "template": [self.template.name, self.template.digest],
            "templates": self.templates.model_dump(mode="json"),
            "box_format": self.box_format,
            "padded": self.padded,
            "image_position": self.image_position,
            "max_side_px": self.max_side_px,
            "image_prefix": self.image_prefix,
            "seed": self.seed,
            **({"meta": True} if self.has_meta else {}),
        }


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


def render_leaf(samples: pl.DataFrame, turns: pl.DataFrame, words: RenderSettings) -> Piece | dict[str, str]:
    """Finish the samples of one leaf.

    Args:
        samples: As `vldata.pipeline.candidates.InspectedSamples.samples`, in rank order.
        turns: Their turns, sample by sample.

    Returns:
        The piece, or the rows on which the template failed with what it said.
    """
    salt = words.source
    turns = words.task.prepare(turns, seed=words.seed, salt=salt)
    keys = turns[KEY].to_numpy()
    columns, has_places = _columns(turns, samples, words)
    rendered = render(
        words.template,
        columns,
        num_rows=turns.height,
        options=words.templates,
        variant_keys=_variant_keys(keys, samples, words),
        flip_keys=keyed(keys, words.seed, "flip", salt),
        dataset=words.dataset,
    )
    rows = turns["row"].to_list()
    failed = {rows[i]: f"template_error: {message}" for i, message in rendered.failed.items()}
    position = turns["place"].to_numpy()
    empty = [(i, "the user's text") for i, text in enumerate(rendered.user) if not text and position[i] > 0]
    empty += [(i, "the assistant's text") for i, text in enumerate(rendered.assistant) if not text]
    failed |= {rows[i]: f"empty_message: {what}" for i, what in empty if i not in rendered.failed}
    marked = [i for i, text in enumerate(rendered.user) if text and PLACE in text] if has_places else []
    miscounted = _miscounted(rendered.user, marked, samples)
    failed |= {rows[i]: f"image_count_mismatch: {message}" for i, message in miscounted.items()}
    if has_places:  # an image stands in what the user says; anywhere else its mark is a word
        assistant, system = ([text and marks(text) for text in said] for said in (rendered.assistant, rendered.system))
        rendered = rendered._replace(assistant=assistant, system=system)
    return failed or _piece(samples, turns, rendered, marked, rows, words)


def _variant_keys(keys: Keys, samples: pl.DataFrame, words: RenderSettings) -> Keys:
    """Which wording each turn has; one without images the first, as others may speak of the image."""
    chosen = keyed(keys, words.seed, "variant", words.source)
    textual = (samples["images"].list.len() == 0).to_numpy()
    if not (words.task.needs_image and textual.any()):
        return chosen
    return np.where(np.repeat(textual, samples["num_turns"].to_numpy()), np.uint64(0), chosen)


def _columns(
    turns: pl.DataFrame, samples: pl.DataFrame, words: RenderSettings
) -> tuple[dict[str, Sequence[Any]], bool]:
    """What the template reads, and whether it or the template has places of images."""
    boxed = "fractions" in turns.columns
    wanted = set(words.template.file.reads) | (words.task.columns.keys() if boxed else set())
    columns: dict[str, Sequence[Any]] = {name: _values(turns[name]) for name in sorted(wanted & set(turns.columns))}
    if boxed:
        columns |= words.task.write_boxes(columns, _framed(turns, samples, words), codec(words.box_format))
    marked = [name for name in words.task.places if turns[name].str.contains(MARK, literal=True).any()]
    columns |= {name: [text and places(text) for text in columns.get(name) or turns[name].to_list()] for name in marked}
    return columns, bool(marked) or words.template.has_places


def _values(column: pl.Series) -> list[Any]:
    """The column as Python values; lists of texts are cut from one list, ten times as fast as Polars makes them."""
    if column.dtype != pl.List(pl.String) or column.null_count():
        return column.to_list()
    flat = column.explode(empty_as_null=False).to_list()
    return [flat[low:high] for low, high in pairwise([0, *column.list.len().cum_sum().to_list()])]


def _framed(turns: pl.DataFrame, samples: pl.DataFrame, words: RenderSettings) -> list[list[tuple[str | None, Box]]]:
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


def _miscounted(user: Sequence[str | None], marked: Sequence[int], samples: pl.DataFrame) -> dict[int, str]:
    """Turns whose samples have image places in their texts, but not as many as images."""
    if not marked:
        return {}
    ends = np.cumsum(samples["num_turns"].to_numpy())
    counts = samples["images"].list.len().to_list()
    places: dict[int, int] = {}
    for i in marked:
        at = int(np.searchsorted(ends, i, side="right"))
        places[at] = places.get(at, 0) + (user[i] or "").count(PLACE)
    mismatched = {at for at, n in places.items() if n != counts[at]}
    return {
        i: f"{places[at]} {MARK} in the text, {counts[at]} images"
        for i in marked
        if (at := int(np.searchsorted(ends, i, side="right"))) in mismatched
    }


def _piece(
    samples: pl.DataFrame,
    turns: pl.DataFrame,
    rendered: Rendered,
    marked: Sequence[int],
    rows: list[str],
    words: RenderSettings,
) -> Piece:
    bounds = np.concatenate([[0], np.cumsum(samples["num_turns"].to_numpy())]).astype(np.int64)
    counts = samples["images"].list.len().to_numpy().astype(np.int64)
    image_bounds = np.concatenate([[0], np.cumsum(counts)])
    messages, chars = _messages(rendered, bounds, counts, _image_after(turns, bounds, words), marked)
    num = samples.height
    columns = [
        strings([f"{words.source}/{rows[low]}" for low in bounds[:-1].tolist()]),
        _lists(image_bounds, _paths(samples["images"].explode(empty_as_null=False).to_list(), words)),
        _lists(image_bounds, _sizes(samples["sizes"].explode(empty_as_null=False), words)),
        messages,
        strings([words.source] * num),
        strings([words.task.name] * num),
        strings(samples["split"].to_list()),
        _lists(bounds, _lineage(turns, samples, rendered, rows, words)),
        numbers(chars, pl.Int32),
    ]
    if words.has_meta:
        columns.append(_metas(turns, bounds))
    return Piece(
        table=pa.Table.from_arrays(columns, schema=arrow_schema(meta=words.has_meta)),
        hashes=samples["hashes"].explode(empty_as_null=False).to_list(),
        num_images=int(image_bounds[-1]),
        num_turns=turns.height,
        answer_chars=sum(map(len, filter(None, rendered.assistant))),
        text_chars=int(chars.sum()),
        image_bytes=int(samples["image_bytes"].sum()),
    )


def _metas(turns: pl.DataFrame, bounds: Ints) -> pa.Array:
    """Each sample's native columns: an object; a list with one for each turn, where they differ."""
    if META not in turns.columns:
        return pa.nulls(len(bounds) - 1, pa.string())
    texts = turns[META].to_list()
    of_samples = (texts[low:high] for low, high in pairwise(bounds.tolist()))
    same = (each[0] if len({*each}) == 1 else f"[{','.join(text or 'null' for text in each)}]" for each in of_samples)
    return strings(list(same))


def _paths(references: list[str], words: RenderSettings) -> pa.Array:
    paths = strings([ref if ref.startswith("/") else words.image_prefix + ref for ref in references])
    return pa.StructArray.from_arrays([pa.nulls(len(references), pa.binary()), paths], fields=list(IMAGE))


def _sizes(sizes: pl.Series, words: RenderSettings) -> pa.Array:
    if words.max_side_px is not None:
        sizes = pl.Series([_stored(size, words.max_side_px) for size in sizes.to_list()], dtype=SIZE)
    sides = [sizes.struct.field(side).fill_null(0).to_arrow() for side in ("width", "height")]
    unknown = flags(sizes.is_null()) if sizes.null_count() else None
    return pa.StructArray.from_arrays(sides, fields=list(SIZE_TYPE), mask=unknown)


def _stored(size: dict[str, int] | None, max_side_px: int) -> dict[str, int] | None:
    if size is None:
        return None
    width, height = fit(size["width"], size["height"], max_side_px)
    return {"width": width, "height": height}


def _image_after(turns: pl.DataFrame, bounds: Ints, words: RenderSettings) -> npt.NDArray[np.bool_]:
    """Whether a sample's images stand behind the text of its first question."""
    if words.image_position != "random":
        return np.full(len(bounds) - 1, words.image_position == "after")
    keys = keyed(turns[KEY].to_numpy()[bounds[:-1]], words.seed, "image_position", words.source)
    return fractions(keys) >= 0.5


def _messages(
    rendered: Rendered, bounds: Ints, counts: Ints, after: npt.NDArray[np.bool_], marked: Sequence[int]
) -> tuple[pa.Array, Ints]:
    """The messages column, and how many characters each sample's texts have.

    A message has one part, or several when there are image places in its text; a part is a text with N images
    before it and behind it. The column is laid out by arithmetic over the whole leaf, without an object a message.

    Args:
        bounds: First turn of each sample, and the end; shape (samples + 1,).
        counts: Images of each sample; shape (samples,).
        after: See `_image_after`.
        marked: Turns with image places in the user's text.
    """
    texts = [""] * (2 * len(rendered.user))
    texts[0::2], texts[1::2] = ([text or "" for text in said] for said in (rendered.user, rendered.assistant))
    roles = np.tile([_USER, _ASSISTANT], len(rendered.user))
    num_parts = np.ones(len(texts), dtype=np.int64)
    before, behind = np.zeros_like(num_parts), np.zeros_like(num_parts)
    heads, ends = 2 * bounds[:-1], 2 * bounds
    before[heads], behind[heads] = np.where(after, 0, counts), np.where(after, counts, 0)
    if marked:
        own = heads[np.searchsorted(bounds, marked, side="right") - 1]
        before[own] = behind[own] = 0
        split = {2 * i: [part.strip() for part in texts[2 * i].split(PLACE)] for i in marked}
        num_parts[list(split)] = list(map(len, split.values()))
        texts = [part for at, text in enumerate(texts) for part in split.get(at, (text,))]
        before, behind = np.repeat(before, num_parts), np.repeat(behind, num_parts)
        is_inner = np.ones(len(texts), dtype=np.bool_)
        is_inner[_starts(num_parts)] = False
        before[is_inner] = 1
    systems = {at: text for at, low in enumerate(bounds[:-1].tolist()) if (text := rendered.system[low])}
    if systems:
        has = np.isin(np.arange(len(heads)), list(systems))
        at = _starts(num_parts)[heads[has]]
        texts = np.insert(np.array(texts, dtype=object), at, list(systems.values())).tolist()
        before, behind = np.insert(before, at, 0), np.insert(behind, at, 0)
        roles, num_parts = np.insert(roles, heads[has], _SYSTEM), np.insert(num_parts, heads[has], 1)
        ends = ends + np.concatenate([[0], np.cumsum(has)])

    num_chars = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    size = before + (num_chars > 0) + behind
    at = (_starts(size) + before)[num_chars > 0]
    content = np.full(size.sum(), None, dtype=object)
    content[at] = np.array(texts, dtype=object)[num_chars > 0]
    types = np.zeros(len(content), dtype=np.int64)
    types[at] = 1
    parts = pa.StructArray.from_arrays(
        [strings(["image", "text"]).take(numbers(types)), strings(content.tolist())], fields=list(CONTENT)
    )
    first_part = _starts(num_parts)
    content_ends = np.concatenate([[0], np.cumsum(size)])[np.append(first_part, len(texts))]
    messages = pa.StructArray.from_arrays(
        [strings(["system", "user", "assistant"]).take(numbers(roles)), _lists(content_ends, parts)],
        fields=list(MESSAGE),
    )
    return _lists(ends, messages), np.add.reduceat(num_chars, first_part[ends[:-1]])


def _starts(sizes: Ints) -> Ints:
    """Where each of these many things begins when they stand one after another."""
    return np.cumsum(sizes) - sizes


def _stored_boxes(turns: pl.DataFrame, samples: pl.DataFrame, words: RenderSettings) -> pl.Series:
    """Every turn's boxes in pixels of the images as they are stored."""
    boxes = turns["boxes"].fill_null([])
    if words.max_side_px is None:
        return boxes
    sizes = dict(zip(samples["at"].to_list(), samples["sizes"].to_list(), strict=True))
    scaled: list[list[dict[str, Any]]] = []
    for at, of_turn in zip(turns["at"].to_list(), boxes.to_list(), strict=True):
        scaled.append([])
        for box in of_turn:
            size = sizes[at][box["image"] or 0]
            stored = _stored(size, words.max_side_px) or size
            x, y = stored["width"] / size["width"], stored["height"] / size["height"]
            moved = {"x0": box["x0"] * x, "y0": box["y0"] * y, "x1": box["x1"] * x, "y1": box["y1"] * y}
            scaled[-1].append({**box, **moved})
    return pl.Series(scaled, dtype=pl.List(BOX))


def _lineage(
    turns: pl.DataFrame, samples: pl.DataFrame, rendered: Rendered, rows: list[str], words: RenderSettings
) -> pa.Array:
    num = len(rows)
    if "boxes" in turns.columns:
        boxes = nested(_stored_boxes(turns, samples, words), pa.list_(ROW_BOX))
    else:
        boxes = _lists([0] * (num + 1), pa.nulls(0, ROW_BOX))
    columns = [
        strings(rows),
        strings([words.template.lineage] * num),
        strings(rendered.variant),
        boxes,
        _generators(turns),
        turns["weight"].fill_null(1.0).to_arrow(),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(TURN))


def _generators(turns: pl.DataFrame) -> pa.Array:
    if turns["generator"].null_count() == turns.height:
        return pa.nulls(turns.height, pa.string())
    return strings(turns["generator"].to_list())


def _lists(ends: list[int] | Ints, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(numbers(ends, pl.Int32), values)
