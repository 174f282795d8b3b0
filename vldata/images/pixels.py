"""New pixels for images that are larger than a recipe wants; everything else passes through untouched.

What is written depends on the bytes and the size alone, with one caveat: another version of Pillow or of the codecs
inside it may write other bytes, so a build's key names the version that made its pixels (`PIXELS_VERSION`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vldata.images import kinds
from vldata.images.geometry import fit
from vldata.images.look import MAX_PIXELS, look
from vldata.images.orientation import upright
from vldata.images.problem import ImageProblem

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 92
"""Of re-encoded photographs: at 92 a second encoding adds less error than the resize before it."""

PIXELS_VERSION = 1
"""Raised when `resized` starts to make other pixels from the same bytes."""

_DRAFT_RATIO = 2
# JPEG decodes at 1/2, 1/4 or 1/8 scale for a fraction of the cost. LANCZOS gets at least twice the wanted size to
# work on, which Pillow's `reducing_gap` of 2 documents as close to the full-size result.
_PHOTO_MODES = frozenset({"RGB", "L", "CMYK", "YCbCr"})


def resized(data: bytes, max_side_px: int, max_pixels: int = MAX_PIXELS) -> tuple[bytes, int, int]:
    """Shrink an image whose longer side exceeds ``max_side_px``.

    The new image is upright, keeps its colour profile and loses its other metadata; a moving image keeps its first
    frame. JPEG stays JPEG (quality `JPEG_QUALITY`), PNG stays PNG; of the other kinds, photographs (no palette, no
    transparency) become JPEG and the rest PNG.

    Args:
        data: Encoded bytes.
        max_side_px: Longest side allowed, at least 1.
        max_pixels: As for `look`.

    Returns:
        Encoded bytes (``data`` itself when the image is small enough), upright width, upright height.

    Raises:
        ImageProblem: What `look` raises, and ``image_undecodable``.
    """
    seen = look(data, max_pixels)
    width, height = fit(seen.width, seen.height, max_side_px)
    if (width, height) == (seen.width, seen.height):
        return data, width, height
    try:
        return _shrunk(data, seen.format, (width, height)), width, height
    except (MemoryError, ImageProblem):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageProblem("image_undecodable", f"{seen.format}: {kinds.cause(error)}") from None


def decoded(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The pixels, upright, in whatever mode the file has.

    Raises:
        ImageProblem: What `look` raises, and ``image_undecodable``.
    """
    seen = look(data, max_pixels)
    try:
        image = kinds.opened(data, seen.format)
        turn = kinds.turn_of(image)
        image.load()
        return image if seen.format == "TIFF" else _turned(image, turn)
    except (MemoryError, ImageProblem):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageProblem("image_undecodable", f"{seen.format}: {kinds.cause(error)}") from None


def _shrunk(data: bytes, kind: kinds.Kind, size: tuple[int, int]) -> bytes:
    from PIL import Image

    opened = kinds.opened(data, kind)
    turn = kinds.turn_of(opened) if kind != "TIFF" else 1  # Pillow turns a TIFF when it decodes it
    stored = upright(*size, turn)  # turned after the resize, when there are fewer pixels; the swap is its own inverse
    if kind == "JPEG":
        opened.draft(None, (stored[0] * _DRAFT_RATIO, stored[1] * _DRAFT_RATIO))
    profile = opened.info.get("icc_profile")
    is_transparent = "transparency" in opened.info  # one colour, or some of a palette
    as_jpeg = kind == "JPEG" or (kind != "PNG" and opened.mode in _PHOTO_MODES and not is_transparent)
    opened.load()
    mode = _smooth_mode(opened.mode, is_transparent)
    image = opened.convert(mode) if mode != opened.mode else opened
    shrunk = _turned(image.resize(stored, Image.Resampling.LANCZOS), turn)
    shrunk.info.clear()  # Pillow would write comments and resolutions of the old image into the new one
    out = io.BytesIO()
    if as_jpeg:
        shrunk.save(out, "JPEG", quality=JPEG_QUALITY, icc_profile=profile)
    else:
        shrunk.save(out, "PNG", icc_profile=profile)
    return out.getvalue()


def _smooth_mode(mode: str, is_transparent: bool) -> str:
    """A mode whose values can be averaged: no palette, no single bits, transparency in a channel of its own."""
    if mode in ("1", "L"):
        return "LA" if is_transparent else "L"
    if mode in ("P", "PA", "RGB"):
        return "RGBA" if is_transparent or mode == "PA" else "RGB"
    return mode


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
