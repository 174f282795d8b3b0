"""Judge an image by its bytes: its kind, its size, and whether it is whole. Pixels are decoded only on suspicion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vldata.images import kinds
from vldata.images.depth import check_shown, clips, may_be_deep
from vldata.images.kinds import Kind
from vldata.images.orientation import upright
from vldata.images.problem import ImageProblem
from vldata.images.scan import scan_jpeg, scan_png, scan_webp

if TYPE_CHECKING:
    from PIL import ImageFile

MAX_PIXELS = 178_956_970
"""Pillow's own limit: `Image.open` raises above 2 * `Image.MAX_IMAGE_PIXELS` = 2 * (2**30 // 4 // 3), so no reader of a
finished dataset could open a larger image."""

MAX_BYTES = 1 << 29
"""Largest encoded image: `MAX_PIXELS` as uncompressed RGB."""

_ZEROS = bytes(16)  # decodes as flat grey

_SCANS = {"JPEG": scan_jpeg, "PNG": scan_png, "WEBP": scan_webp}


class Look(NamedTuple):
    """A usable image.

    Args:
        format: Pillow's name of the kind: ``JPEG``, ``PNG`` …
        width: Pixels, upright.
        height: Pixels, upright.
        is_deep: Whether it has pixels that ``.convert("RGB")`` would cut off, so that they are scaled to 8 bits.
    """

    format: Kind
    width: int
    height: int
    is_deep: bool = False


def look(data: bytes, max_pixels: int = MAX_PIXELS) -> Look:
    """Judge encoded bytes.

    A file without its format's end mark is decoded before it is called truncated, as some writers leave the mark out
    and every reader copes; a JPEG that fades into zeros (a stopped download) is truncated though it decodes. Damage in
    the middle of the pixels is not seen here: only decoding shows it.

    Raises:
        ImageProblem: ``image_unreadable``, ``image_truncated`` or ``image_bomb``.
    """
    kind = kinds.sniff(data)
    if kind is None:
        raise ImageProblem("image_unreadable", kinds.describe(data))
    scan = _SCANS[kind](data) if kind in _SCANS else None
    if scan is None:
        return _by_pillow(data, kind, max_pixels)
    _refuse_bomb(scan.width, scan.height, max_pixels)
    if not scan.ended:
        _decode(data, kind, ended=False)
    if kind != "PNG" or not may_be_deep(data):
        return Look(kind, scan.width, scan.height)
    return Look(kind, scan.width, scan.height, _clips(kinds.opened(data, kind), kind))


def _by_pillow(data: bytes, kind: Kind, max_pixels: int) -> Look:
    if kind == "WEBP":
        _refuse_webp_bomb(data, max_pixels)
    try:
        image = kinds.opened(data, kind)
        width, height = kinds.stored_size(image)
    except MemoryError:
        raise
    except Exception as error:  # plugins raise nearly anything on damaged bytes
        cut = kinds.has_end(data, kind) is False
        reason = "image_truncated" if cut else "image_unreadable"
        raise ImageProblem(reason, f"{kind}: {kinds.cause(error)}") from None
    _refuse_bomb(width, height, max_pixels)
    ended = kinds.has_end(data, kind, image)
    if not ended or kind in _SCANS:  # a JPEG, PNG or WebP that got here is an unusual one
        _decode(data, kind, ended=ended)
    turn = kinds.turn_of(image)  # Pillow forgets a TIFF's when it decodes it
    return Look(kind, *upright(width, height, turn), _clips(image, kind))


def _clips(image: ImageFile.ImageFile, kind: Kind) -> bool:
    """Whether its pixels are scaled to 8 bits; refuses those of which nobody can say how."""
    try:
        check_shown(image)
        return clips(image)
    except (MemoryError, ImageProblem):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageProblem("image_unreadable", f"{kind}: {kinds.cause(error)}") from None


def _refuse_bomb(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        detail = f"{width} x {height} px is over the limit of {max_pixels} px"
        raise ImageProblem("image_bomb", detail)


def _refuse_webp_bomb(data: bytes, max_pixels: int) -> None:
    # Pillow's WebP plugin allocates the canvas when it opens a file, so the canvas is checked before
    if data[12:16] == b"VP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[k : k + 3], "little") + 1 for k in (24, 27))
        _refuse_bomb(width, height, max_pixels)


def _decode(data: bytes, kind: Kind, *, ended: bool | None) -> None:
    if kind == "JPEG" and ended is False and data.endswith(_ZEROS):
        raise ImageProblem("image_truncated", "JPEG: no end mark, and zeros where the last pixels should be")
    try:
        kinds.opened(data, kind).load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        reason = "image_truncated" if ended is False else "image_unreadable"
        detail = f"{kind}: {kinds.cause(error)}"
        raise ImageProblem(reason, detail) from None
