"""Pixels with more than 8 bits, which ``.convert("RGB")`` cuts off at 255: scaled by their bit depth, or refused.

Grey of 16 bits is scaled to 8 bits, by the fewest bits of 10, 12, 14 and 16 that hold its greatest value: cameras and
scanners store 12 bits in 16. Where a TIFF says less than 16, it is by that. Integers of 32 bits and floating-point
numbers have no white of their own: those in 0 to 255 are taken as such, integers in 0 to 65535 by their greatest value
(a depth map that ends at 300 would be black by 16 bits), and others are refused.
Values that all lie in 0 to 255 are never scaled, as every reader shows them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vldata.images import kinds
from vldata.images.problem import ImageProblem

if TYPE_CHECKING:
    from PIL import Image, ImageFile

_DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
_DEPTHS = (10, 12, 14, 16)
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second


def may_be_deep(data: bytes | memoryview) -> bool:
    """Whether the pixels may have more than 8 bits, by the first bytes alone."""
    head = bytes(data[:64])
    kind = kinds.sniff(head)
    if kind == "PNG":  # grey of 16 bits; Pillow opens colours of 16 bits with 8
        return head[24:26] == b"\x10\0"
    return kind in ("TIFF", "JPEG2000", "PPM")


def check_shown(image: ImageFile.ImageFile) -> None:
    """Refuse pixels of which nobody can say what is black and what is white; decodes the rare kinds that may be so.

    Raises:
        ImageProblem: ``image_unreadable``.
    """
    if image.mode == "LAB":
        raise ImageProblem("image_unreadable", "its colours are CIE L*a*b*, which .convert('RGB') does not take")
    if image.mode not in ("I", "F"):
        return
    low, high = _extremes(image)
    if image.mode == "F" and not (low >= 0 and 1 < high <= 255) and (low, high) != (0, 0):
        what = "floating-point pixels"
    elif image.mode == "I" and not (low >= 0 and high <= 65_535):
        what = "32-bit pixels"
    else:
        return
    detail = f"{what} from {low:g} to {high:g}, of which .convert('RGB') shows only 0 to 255: write it with 8 bits"
    raise ImageProblem("image_unreadable", detail)


def clips(image: ImageFile.ImageFile) -> bool:
    """Whether ``.convert("RGB")`` would lose what an opened image shows."""
    if image.mode not in _DEEP_MODES:
        return False
    return _extremes(image)[1] > 255


def eight_bits(image: Image.Image) -> Image.Image:
    """The image itself, or its deep pixels as 8-bit grey."""
    if image.mode not in _DEEP_MODES:
        return image
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    tags = getattr(image, "tag_v2", {})
    if values.max(initial=0) > 255:
        values *= 255 / _white(image.mode, int(values.max()), tags)
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            values = 255 - values
    return Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8))


def _white(mode: str, high: int, tags: Mapping[int, Any]) -> int:
    """The value that is shown as white, of pixels that go up to ``high``."""
    if mode == "I":
        return high
    declared = tags[_BITS][0] if _BITS in tags else 16
    return int(2 ** (declared if declared < 16 else next(bits for bits in _DEPTHS if high < 2**bits)) - 1)


def _extremes(image: ImageFile.ImageFile) -> tuple[float, float]:
    """The least and greatest value; not a number when a pixel is none."""
    import numpy as np

    image.load()
    values = np.asarray(image)
    return float(values.min()), float(values.max())
