"""New pixels for images that are larger than a recipe wants, or that would not be seen; others pass through untouched.

What is seen is what nearly every trainer makes of a file: ``Image.open(file).convert("RGB")``, which drops transparency
and cuts values off at 0 and 255. So each channel is averaged by itself, that the ground of a chart keeps the colour
under its transparency, and pixels with more than 8 bits are scaled to 8 (`vldata.images.depth`).

What is written depends on the bytes and the size alone, with one caveat: another version of Pillow or of the codecs
inside it may write other bytes, so a build's key names the version that made its pixels (`PIXELS_VERSION`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vldata.images import kinds
from vldata.images.depth import clips, eight_bits, may_be_deep
from vldata.images.geometry import fit
from vldata.images.look import MAX_PIXELS, look
from vldata.images.orientation import upright
from vldata.images.problem import ImageProblem

if TYPE_CHECKING:
    from PIL import Image, ImageFile

JPEG_QUALITY = 92
"""Of re-encoded photographs: at 92 a second encoding adds less error than the resize before it."""

PIXELS_VERSION = 3
"""Raised when `resized` starts to make other pixels from the same bytes."""

_DRAFT_RATIO = 2
# JPEG decodes at 1/2, 1/4 or 1/8 scale for a fraction of the cost. LANCZOS gets at least twice the wanted size to
# work on, which Pillow's `reducing_gap` of 2 documents as close to the full-size result.
_PHOTO_MODES = frozenset({"RGB", "L", "CMYK", "YCbCr"})


def resized(data: bytes, max_side_px: int | None, max_pixels: int = MAX_PIXELS) -> tuple[bytes, int, int]:
    """Shrink an image whose longer side exceeds ``max_side_px``, and scale deep pixels to 8 bits.

    The new image is upright, keeps its colour profile and loses its other metadata; a moving image keeps its first
    frame. JPEG stays JPEG (quality `JPEG_QUALITY`), PNG stays PNG; of the other kinds, photographs (no palette, no
    transparency) become JPEG and the rest PNG.

    Args:
        data: Encoded bytes.
        max_side_px: Longest side allowed, at least 1; None: any.
        max_pixels: As for `look`.

    Returns:
        Encoded bytes (``data`` itself when there is nothing to do), upright width, upright height.

    Raises:
        ImageProblem: What `look` raises, and ``image_undecodable``.
    """
    seen = look(data, max_pixels)
    size = seen.width, seen.height
    fitted = size if max_side_px is None else fit(*size, max_side_px)
    if fitted == size and not may_be_deep(data):
        return data, *size
    try:
        opened = kinds.opened(data, seen.format)
        if fitted == size and not clips(opened):
            return data, *size
        return _written(opened, seen.format, fitted), *fitted
    except (MemoryError, ImageProblem):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageProblem("image_undecodable", f"{seen.format}: {kinds.cause(error)}") from None


def decoded(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The pixels, upright and with 8 bits a channel, in a mode whose ``.convert("RGB")`` shows all that there is.

    Raises:
        ImageProblem: What `look` raises, and ``image_undecodable``.
    """
    seen = look(data, max_pixels)
    try:
        image = kinds.opened(data, seen.format)
        turn = kinds.turn_of(image)
        image.load()
        plain = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else eight_bits(image)
        return plain if seen.format == "TIFF" else _turned(plain, turn)
    except (MemoryError, ImageProblem):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageProblem("image_undecodable", f"{seen.format}: {kinds.cause(error)}") from None


def _written(opened: ImageFile.ImageFile, kind: kinds.Kind, size: tuple[int, int]) -> bytes:
    turn = kinds.turn_of(opened) if kind != "TIFF" else 1  # Pillow turns a TIFF when it decodes it
    stored = upright(*size, turn)  # turned after the resize, when there are fewer pixels; the swap is its own inverse
    if kind == "JPEG":
        opened.draft(None, (stored[0] * _DRAFT_RATIO, stored[1] * _DRAFT_RATIO))
    profile = opened.info.get("icc_profile")
    is_transparent = "transparency" in opened.info  # one colour, or some of a palette
    as_jpeg = kind == "JPEG" or (kind != "PNG" and opened.mode in _PHOTO_MODES and not is_transparent)
    opened.load()
    image = eight_bits(opened)
    mode = _smooth_mode(image.mode, is_transparent and image is opened)
    shrunk = _turned(_averaged(image.convert(mode) if mode != image.mode else image, stored), turn)
    shrunk.info.clear()  # Pillow would write comments and resolutions of the old image into the new one
    out = io.BytesIO()
    if as_jpeg:
        shrunk.save(out, "JPEG", quality=JPEG_QUALITY, icc_profile=profile)
    else:
        shrunk.save(out, "PNG", icc_profile=profile)
    return out.getvalue()


def _averaged(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resized, each channel by itself: Pillow makes the colour under full transparency black."""
    from PIL import Image

    if image.size == size:
        return image
    if image.mode not in ("LA", "RGBA"):
        return image.resize(size, Image.Resampling.LANCZOS)
    return Image.merge(image.mode, [band.resize(size, Image.Resampling.LANCZOS) for band in image.split()])


_SMOOTH = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}


def _smooth_mode(mode: str, is_transparent: bool) -> str:
    """A mode whose values can be averaged: no palette, no single bits, transparency in a channel of its own."""
    smooth = _SMOOTH.get(mode, mode)
    return {"L": "LA", "RGB": "RGBA"}.get(smooth, smooth) if is_transparent else smooth


def _turned(image: Image.Image, turn: int) -> Image.Image:
    from PIL import Image

    if turn == 1:
        return image
    # what each Exif orientation needs to be upright (Exif 2.32, tag 274)
    how = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(how[turn])
