"""Sizes of images as models see them: fitting, padding, tile grids. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Size = tuple[int, int]
"""Width and height in pixels."""

_SLACK = 1.1
"""OneVision's code shrinks a map only when its sides are this much too long, so its largest is 1.21 times the cap."""


def fit(width: int, height: int, max_side: int) -> Size:
    """The size scaled down so that its longer side is ``max_side``; a smaller one stays as it is.

    The shorter side is rounded half up and is at least 1.
    """
    longer = max(width, height)
    if longer <= max_side:
        return width, height
    return scaled(width, max_side, longer), scaled(height, max_side, longer)


class Padding(NamedTuple):
    """Where an image lies in the square that it is padded to.

    Args:
        side: Of the square, pixels.
        left: Columns of padding before the image.
        top: Rows of padding above it.
    """

    side: int
    left: int
    top: int


def padded(width: int, height: int) -> Padding:
    """Pad to a square of the longer side, centred, offsets rounded down, as LLaVA-1.5 does.

    `vldata.schema.boxes.padded_square` moves boxes the same way.
    """
    side = max(width, height)
    return Padding(side, (side - width) // 2, (side - height) // 2)


def best_grid(width: int, height: int, canvases: Sequence[Size]) -> Size:
    """The AnyRes canvas that keeps most of an image's pixels, and of those the one that wastes least.

    Args:
        width: Of the image, pixels.
        height: Of the image, pixels.
        canvases: Sizes to choose from, in pixels; at least one. Ties go to the one listed first.

    Returns:
        One of ``canvases``.
    """

    def merit(canvas: Size) -> tuple[int, int]:
        scale = min(canvas[0] / width, canvas[1] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - canvas[0] * canvas[1]

    return max(canvases, key=merit)


def unpadded(width: int, height: int, columns: int, rows: int) -> Size:
    """Columns and rows of a feature grid that show the image, without its padding on two sides.

    Args:
        width: Of the image, pixels.
        height: Of the image, pixels.
        columns: Of the whole grid.
        rows: Of the whole grid.
    """
    if width / height > columns / rows:
        return columns, rows - 2 * ((rows - int(height * (columns / width))) // 2)
    return columns - 2 * ((columns - int(width * (rows / height))) // 2), rows


def shrunk(columns: int, rows: int, max_cells: int) -> Size:
    """Columns and rows of a feature map that is to have ``max_cells``, 0 for any number; as LLaVA-OneVision does."""
    times = math.sqrt(columns * rows / max_cells) if max_cells else 0.0
    if times <= _SLACK:
        return columns, rows
    return max(1, int(columns // times)), max(1, int(rows // times))


def scaled(side: int, numerator: int, denominator: int) -> int:
    """``side * numerator / denominator`` pixels, rounded half up, at least one."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))
