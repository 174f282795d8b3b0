"""Scenes as images: every shape smooth-edged and filling its box, words in dark ink, a plain background."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from vldata.shapes.scene import Scene, font, ink

if TYPE_CHECKING:
    from PIL import Image

RGB = tuple[int, int, int]

COLOR_RGB: dict[str, RGB] = {
    "red": (214, 39, 40),
    "orange": (255, 133, 20),
    "yellow": (240, 205, 20),
    "green": (44, 150, 60),
    "blue": (31, 98, 200),
    "purple": (130, 60, 170),
    "pink": (245, 105, 180),
    "brown": (125, 75, 40),
    "black": (20, 20, 20),
}
BACKGROUND_RGB: dict[str, RGB] = {
    "white": (255, 255, 255),
    "light gray": (222, 222, 222),
    "light blue": (205, 226, 245),
    "light green": (212, 238, 212),
    "light yellow": (255, 250, 215),
    "light pink": (252, 225, 230),
    "beige": (240, 228, 205),
    "lavender": (228, 222, 246),
}
INK_RGB: RGB = (45, 45, 60)

_SMOOTH = 4  # masks are drawn this many times larger and averaged
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_JPEG_QUALITY = 90


def render(scene: Scene) -> Image.Image:
    """The scene's pixels, RGB."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (scene.width, scene.height), BACKGROUND_RGB[scene.background])
    for thing in scene.things:
        x0, y0, x1, _ = map(int, thing.box)
        image.paste(COLOR_RGB[thing.color], (x0, y0), _mask(thing.shape, x1 - x0))
    draw = ImageDraw.Draw(image)
    for word in scene.words:
        left, upper, _, _ = ink(word.text, word.font_px)
        draw.text((word.box[0] - left, word.box[1] - upper), word.text, INK_RGB, font(word.font_px))
    return image


def encoded(scene: Scene, *, suffix: str = ".jpg") -> bytes:
    """The image as a file's bytes, the same every time.

    Args:
        suffix: ``.jpg`` (or ``.jpeg``; quality 90) or ``.png``.

    Raises:
        ValueError: Another suffix.
    """
    if suffix not in _FORMATS:
        raise ValueError(f"cannot draw {suffix!r}; use one of {', '.join(_FORMATS)}")
    buffer = BytesIO()
    options = {"quality": _JPEG_QUALITY} if _FORMATS[suffix] == "JPEG" else {}
    render(scene).save(buffer, _FORMATS[suffix], **options)
    return buffer.getvalue()


def save(scene: Scene, path: Path) -> None:
    """Draw the scene into a file, in the format of its suffix; the file appears whole or not at all.

    Args:
        path: File to write or replace; its folder must exist.

    Raises:
        ValueError: A suffix that `encoded` does not know.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.write_bytes(encoded(scene, suffix=path.suffix))
    unfinished.replace(path)


@lru_cache(maxsize=256)
def _mask(shape: str, side_px: int) -> Image.Image:
    """Coverage of each pixel of a square by a shape that touches all four of its edges."""
    from PIL import Image, ImageDraw

    side = side_px * _SMOOTH
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    if shape == "circle":
        draw.ellipse((0, 0, side - 1, side - 1), fill=255)
    else:
        draw.polygon([(x * (side - 1), y * (side - 1)) for x, y in _outline(shape)], fill=255)
    return mask.reduce(_SMOOTH)


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a shape in the unit square, y downwards, stretched to touch all four edges."""
    corners = _OUTLINES[shape]
    left, upper = min(x for x, _ in corners), min(y for _, y in corners)
    width, height = max(x for x, _ in corners) - left, max(y for _, y in corners) - upper
    return [((x - left) / width, (y - upper) / height) for x, y in corners]


def _around(radii: tuple[float, ...], corners: int, start: float) -> list[tuple[float, float]]:
    """Points around the origin, ``start`` in turns from the x axis, with the radii taken in rotation."""
    angles = [math.tau * (k / corners + start) for k in range(corners)]
    return [(radii[k % len(radii)] * math.cos(a), radii[k % len(radii)] * math.sin(a)) for k, a in enumerate(angles)]


def _heart() -> list[tuple[float, float]]:
    turns = [math.tau * k / 80 for k in range(80)]
    return [
        (
            16 * math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    ]


_ARM = (0.0, 0.32, 0.68, 1.0)
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "triangle": [(0.5, 0), (1, 1), (0, 1)],
    "diamond": [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)],
    "star": _around((1.0, 0.42), 10, -0.25),
    "cross": [
        (_ARM[x], _ARM[y])
        for x, y in [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1), (1, 1)]
    ],
    "hexagon": _around((1.0,), 6, 0.0),
    "heart": _heart(),
}
