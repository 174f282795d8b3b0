"""The boxes that are drawn on a sample's images: which lie on which image, and how they are numbered.

``templates/boxes_on_images.html.jinja`` draws them, as an SVG over the thumbnail in pixels of the stored image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vldata.report.text import cut

_MAX_BOXES, _MAX_PHRASE = 40, 200
_STAGE_PX, _STAGE_HEIGHT_PX = 420, 380


@dataclass(frozen=True)
class ImageBox:
    """A box on an image.

    Args:
        x: Left edge, pixels of the stored image; ``y``, ``width`` and ``height`` likewise.
        number: As it stands on the image, from 1.
    """

    x: float
    y: float
    width: float
    height: float
    number: int
    phrase: str


@dataclass(frozen=True)
class SampleImage:
    """An image of a sample.

    Args:
        width: Of the stored image, pixels, in which its boxes are; 0 when it is not known.
        height: Likewise.
        data: A ``data:`` address; None when there is nothing to show, and ``problem`` says why.
    """

    width: int
    height: int
    data: str | None
    problem: str
    boxes: tuple[ImageBox, ...]


def boxes_by_image(turns: list[Any], num_images: int) -> list[tuple[ImageBox, ...]]:
    """The boxes of a sample's turns on each of its first images, numbered through all of them."""
    by_image: list[tuple[ImageBox, ...]] = []
    number = 0
    for i in range(num_images):
        boxes = []
        for turn in turns:
            for box in turn["boxes"] or ():
                if (box["image"] or 0) == i and number < _MAX_BOXES:
                    number += 1
                    w, h = box["x1"] - box["x0"], box["y1"] - box["y0"]
                    phrase = cut(box["phrase"] or "", _MAX_PHRASE)
                    boxes.append(ImageBox(box["x0"], box["y0"], w, h, number, phrase))
        by_image.append(tuple(boxes))
    return by_image


def stage_px(image: SampleImage) -> int:
    """How wide an image is shown: across its card, but neither too high nor blown up much."""
    widest = min(_STAGE_PX, max(160, 3 * image.width))
    return max(1, round(min(widest, _STAGE_HEIGHT_PX * image.width / image.height)))
