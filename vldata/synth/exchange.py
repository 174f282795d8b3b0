"""An exchange of a generated conversation, and the links from its phrases to the boxes that it was made from.

A model is shown numbered boxes and marks a phrase with the numbers of what it means: ``[two dogs](2, 3) on a sofa``.
`read_links` takes the marks out of the text, and `with_boxes` puts boxes in their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vldata.codecs.base import Codec
from vldata.synth.inputs import Inputs, Region

_LINK = re.compile(r"\[([^\[\]]+)\]\(\s*(\d{1,6}(?:\s*,\s*\d{1,6})*)\s*\)")


class Link(NamedTuple):
    """A phrase and the boxes that it means.

    Args:
        start: Where the phrase begins in the text, in characters.
        phrase: As it stands there.
        numbers: Which of the sample's boxes, counted from 1; not yet known to exist.
    """

    start: int
    phrase: str
    numbers: tuple[int, ...]


class Exchange(NamedTuple):
    """A question and its answer, free of any markup of ours.

    Args:
        question: "" when the kind does not generate it; `Kind.read` fills it in.
        answer: What the model is to say.
        question_links: Phrases of the question that mean boxes, in the order of the text.
        answer_links: Those of the answer.
        scores: Of a judge's reply only: criterion to score; a criterion that could not be read is not there.
    """

    question: str
    answer: str
    question_links: tuple[Link, ...] = ()
    answer_links: tuple[Link, ...] = ()
    scores: Mapping[str, float] = {}


def read_links(marked: str) -> tuple[str, tuple[Link, ...]]:
    """The text without its marks, and the links that they were."""
    pieces: list[str] = []
    links: list[Link] = []
    length = end = 0
    for match in _LINK.finditer(marked):
        before = marked[end : match.start()]
        length += len(before)
        links.append(Link(length, match[1], tuple(int(number) for number in match[2].split(","))))
        pieces += [before, match[1]]
        length += len(match[1])
        end = match.end()
    return "".join([*pieces, marked[end:]]), tuple(links)


def with_boxes(text: str, links: Sequence[Link], inputs: Inputs, codec: Codec) -> str:
    """The text with each linked phrase in the codec's form, with the boxes that it means.

    Args:
        text: The question or answer.
        links: Of that text; every number exists (the check ``box_references`` has passed).
        codec: How the recipe writes boxes.
    """
    boxes = [[inputs.boxes[number - 1].box for number in link.numbers] for link in links]
    written = [codec.encode_phrase(link.phrase, some) for link, some in zip(links, boxes, strict=True)]
    return _replaced(text, list(zip(links, written, strict=True)))


def linked_regions(links: Sequence[Link], inputs: Inputs) -> list[Region]:
    """The boxes that the links mean, each with the link's phrase: what a turn's ``boxes`` column holds."""
    return [Region(link.phrase, *inputs.boxes[number - 1].box) for link in links for number in link.numbers]


def _replaced(text: str, written: Sequence[tuple[Link, str]]) -> str:
    pieces, done = [], 0
    for link, new in written:
        pieces += [text[done : link.start], new]
        done = link.start + len(link.phrase)
    return "".join([*pieces, text[done:]])
