"""What all codecs share: clamping on the way out, range and order checks on the way in."""

from __future__ import annotations

import math

from vldata.errors import CodecError
from vldata.schema.boxes import Box


def clamped(box: Box) -> Box:
    """The box with every coordinate moved into [0, 1].

    Raises:
        CodecError: A coordinate is NaN.
    """
    if any(math.isnan(c) for c in box):
        raise CodecError(
            "box", f"{tuple(box)} has a coordinate that is no number", "reject the turn: `box_outside_image`"
        )
    # + 0.0 turns -0.0 into 0.0, which would otherwise be written with a minus sign
    return Box(*(min(max(c, 0.0), 1.0) + 0.0 for c in box))


def checked(x0: float, y0: float, x1: float, y1: float, text: str) -> Box:
    """A decoded box.

    Args:
        x0: Left edge, as read.
        y0: Upper edge.
        x1: Right edge.
        y1: Lower edge.
        text: Where it was read, for the error.

    Raises:
        CodecError: A coordinate outside [0, 1], or two edges the wrong way round.
    """
    box = Box(x0, y0, x1, y1)
    if not all(0 <= c <= 1 for c in box):
        raise malformed(text, f"{_edges(box)} lies outside the image")
    if x0 > x1 or y0 > y1:
        raise malformed(text, f"the first corner of {_edges(box)} is not the upper left one")
    return box


def malformed(text: str, problem: str) -> CodecError:
    """The error of a text that almost holds a box."""
    return CodecError(_shown(text), problem, "fix the text, or name the `box_format` that it was written in")


def none_in(text: str, example: str) -> CodecError:
    """The error of a text without any box; ``example`` is one that would have been read."""
    return CodecError(_shown(text), "no box in it", f"a box looks like {example}")


def _edges(box: Box) -> str:
    return f"x0={box.x0:.4g} y0={box.y0:.4g} x1={box.x1:.4g} y1={box.y1:.4g}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:197] + "...")
