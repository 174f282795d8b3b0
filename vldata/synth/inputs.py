"""What is known about one sample, and the text in which a kind tells it to the model.

The text is LLaVA's: one caption a line, an empty line, then one ``category: [x1, y1, x2, y2]`` a line, in fractions of
the image, with three decimals and no zeros behind them (as in ``playground/data/prompts`` of
https://github.com/haotian-liu/LLaVA). A kind's layout names the sections and their order, and may put a title on each;
an empty line parts them. `inputs_text` writes, `read_inputs` reads back: the few-shots of a kind are such texts, and
its own checks are run on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vldata.schema.boxes import Box

_BOX_LINE = re.compile(r"(.+): \[(-?[\d.]+), (-?[\d.]+), (-?[\d.]+), (-?[\d.]+)\]")
_NUMBER = re.compile(r"(\d+)\. ")
_TOOL = re.compile(r"\[([^\[\]]+)\]")
_BLANK_LINES = re.compile(r"\n[ \t]*\n")


class Region(NamedTuple):
    """A phrase and its box.

    Args:
        phrase: A category, a phrase, or the class and text of an element of a screen.
        x0: Left edge in fractions of the image, as are the others.
        y0: Upper edge.
        x1: Right edge.
        y1: Lower edge.
    """

    phrase: str
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def box(self) -> Box:
        """The box alone."""
        return Box(self.x0, self.y0, self.x1, self.y1)


class Reading(NamedTuple):
    """A piece of text that stands in the image.

    Args:
        text: As it was read.
        box: Where; None when the reader does not say.
        tool: Who read it; "" when there is only one reader.
    """

    text: str
    box: Box | None = None
    tool: str = ""


@dataclass(frozen=True)
class Inputs:
    """Everything that a kind may tell the model about one sample.

    Args:
        row: The sample's native row, which keys every drawn wording.
        captions: One sentence each, about the whole image.
        boxes: What is where, in the order of the annotation; kinds that link phrases number them from 1.
        ocr: Texts in the image.
        images: Image parts as a request holds them: ``{"type": "image", "hash": …, "detail": …, "max_side_px": …}``.
        fields: Texts by name: ``question``, ``answer``, ``text``, ``answer_a`` …
        rejected: Reason and detail of each turn about it that a build rejects. The model is shown nothing of these.
        unusable: Reason and detail for which a build would reject whatever is made of it; None: it is usable.
    """

    row: str
    captions: tuple[str, ...] = ()
    boxes: tuple[Region, ...] = ()
    ocr: tuple[Reading, ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    rejected: tuple[tuple[str, str], ...] = ()
    unusable: tuple[str, str] | None = None

    def has(self, need: str) -> bool:
        """Whether there is any of ``captions``, ``boxes``, ``ocr`` or ``image``, or a field of that name with words."""
        if need == "image":
            return bool(self.images)
        if need in ("captions", "boxes", "ocr"):
            return bool(getattr(self, need))
        return bool(self.fields.get(need, "").strip())

    def words(self) -> str:
        """All its texts, one a line, in no layout: what a check looks into."""
        texts = [*self.captions, *(region.phrase for region in self.boxes), *(reading.text for reading in self.ocr)]
        return "\n".join([*texts, *self.fields.values()])


class Section(NamedTuple):
    """A part of the user's message.

    Args:
        part: ``captions``, ``boxes``, ``numbered_boxes``, ``ocr``, or the name of a field.
        title: The line above it; "" for none.
    """

    part: str
    title: str = ""


def inputs_text(inputs: Inputs, layout: Sequence[Section]) -> str:
    """The sections that have something to say, parted by an empty line; no line break at the end."""
    sections = []
    for part, title in layout:
        body = _WRITERS[part](inputs) if part in _WRITERS else inputs.fields.get(part, "").strip()
        if body:
            sections.append(f"{title}\n{body}" if title else body)
    return "\n\n".join(sections)


def read_inputs(text: str, layout: Sequence[Section], *, row: str = "") -> Inputs:
    """The inputs that `inputs_text` wrote with the same layout; what stands under no section is left out.

    Titled sections are found by their titles. Of the untitled ones, which stand first, a paragraph of nothing but boxes
    is the boxes, and the others are taken in the layout's order.
    """
    titled = {title: part for part, title in layout if title}
    untitled = [part for part, title in layout if not title]
    paragraphs_of: dict[str, list[str]] = {}
    current: str | None = None
    for paragraph in _BLANK_LINES.split(text.strip("\n")):
        first, _, rest = paragraph.partition("\n")
        if first in titled:
            current = titled[first]
            paragraphs_of.setdefault(current, []).append(rest)
        elif current in titled.values():
            # a field may hold paragraphs of its own
            paragraphs_of[str(current)].append(paragraph)
        elif untitled:
            part = _untitled(paragraph, untitled)
            untitled = untitled[untitled.index(part) + 1 :]
            paragraphs_of.setdefault(part, []).append(paragraph)
    whole = {part: "\n\n".join(paragraphs).strip("\n") for part, paragraphs in paragraphs_of.items()}
    named = {part: body for part, body in whole.items() if part not in _WRITERS}
    boxes = whole.get("boxes") or whole.get("numbered_boxes") or ""
    return Inputs(
        row=row,
        captions=tuple(line for line in whole.get("captions", "").split("\n") if line),
        boxes=tuple(region for line in boxes.split("\n") if (region := _region(line)) is not None),
        ocr=tuple(_readings(whole.get("ocr", ""))),
        fields=named,
    )


def one_line(text: str) -> str:
    """White space evened out, as a line of the layout is one caption or phrase."""
    return " ".join(text.split())


def coordinate(value: float) -> str:
    """Three decimals at most, and at least one: ``0.24``, ``1.0``."""
    return repr(round(float(value), 3) + 0.0)


def _untitled(paragraph: str, parts: Sequence[str]) -> str:
    if all(_BOX_LINE.fullmatch(line) for line in paragraph.split("\n")):
        return next((part for part in parts if part in ("boxes", "numbered_boxes")), parts[0])
    return parts[0]


def _box(box: Sequence[float]) -> str:
    return f"[{', '.join(coordinate(value) for value in box)}]"


def _captions(inputs: Inputs) -> str:
    return "\n".join(line for line in map(one_line, inputs.captions) if line)


def _boxes(inputs: Inputs) -> str:
    return "\n".join(f"{one_line(region.phrase)}: {_box(region[1:])}" for region in inputs.boxes)


def _numbered(inputs: Inputs) -> str:
    return "\n".join(f"{n}. {one_line(box.phrase)}: {_box(box[1:])}" for n, box in enumerate(inputs.boxes, 1))


def _ocr(inputs: Inputs) -> str:
    lines, tool = [], ""
    # under no name would they pass for the ones of the tool before
    for reading in sorted(inputs.ocr, key=lambda reading: reading.tool != ""):
        if reading.tool != tool:
            tool = reading.tool
            lines.append(f"[{tool}]")
        text = one_line(reading.text)
        lines.append(text if reading.box is None else f"{text}: {_box(reading.box)}")
    return "\n".join(lines)


_WRITERS: Mapping[str, Callable[[Inputs], str]] = {
    "captions": _captions,
    "boxes": _boxes,
    "numbered_boxes": _numbered,
    "ocr": _ocr,
}

PARTS = frozenset(_WRITERS)
"""The names in a layout that are no fields."""


def _region(line: str) -> Region | None:
    match = _BOX_LINE.fullmatch(line)
    if match is None:
        return None
    phrase, *numbers = match.groups()
    return Region(_NUMBER.sub("", phrase, count=1) if _NUMBER.match(phrase) else phrase, *map(float, numbers))


def _readings(body: str) -> list[Reading]:
    readings, tool = [], ""
    for line in filter(None, body.split("\n")):
        if heading := _TOOL.fullmatch(line):
            tool = heading[1]
        elif match := _BOX_LINE.fullmatch(line):
            text, *numbers = match.groups()
            readings.append(Reading(text, Box(*map(float, numbers)), tool))
        else:
            readings.append(Reading(line, None, tool))
    return readings
