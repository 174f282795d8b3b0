"""A box in fractions of its image, the frame that every codec works in."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """Left, upper, right and lower edge of a rectangle, in fractions (0 to 1) of the image's width and height."""

    x0: float
    y0: float
    x1: float
    y1: float


def padded_square(box: Box, width: int, height: int) -> Box:
    """The box in fractions of the square that LLaVA-1.5 pads an image to: centred, side = the longer side.

    The offset is whole pixels, rounded down, as in the reference implementation's ``expand2square``.
    """
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    return Box(
        (box.x0 * width + left) / side,
        (box.y0 * height + top) / side,
        (box.x1 * width + left) / side,
        (box.y1 * height + top) / side,
    )
