"""Which way up an image is: the Exif or XMP orientation, 1 to 8, as Pillow's ``exif_transpose`` decides it.

Pillow builds a dictionary of every Exif tag to answer this (about 100 us); here only the first directory is walked,
and whatever is unusual is left to Pillow by raising.
"""

from __future__ import annotations

import re
import struct

UPRIGHT = 1
_ORIENTATION_TAG = 0x0112
# TIFF field types that hold one integer, and how struct spells them (TIFF 6.0, section 2)
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


class UnusualExifError(ValueError):
    """An Exif block that only Pillow should judge."""


def orientation(exif: bytes | None, xmp: bytes | None) -> int:
    r"""Read the orientation: Exif's, else XMP's, else 1.

    Args:
        exif: The block with or without its ``Exif\0\0`` prefix; None or empty when there is none.
        xmp: The XMP packet.

    Returns:
        1 to 8; values outside this range are 1, as no viewer acts on them.

    Raises:
        UnusualExifError: The block has no plain TIFF header, or a tag of an unexpected type.
    """
    value = _in_exif(exif) if exif else None
    if value is None and xmp:
        match = _IN_XMP.search(xmp)
        value = int(match[1]) if match else None
    return value if value is not None and 1 <= value <= 8 else UPRIGHT


def upright(width: int, height: int, turn: int) -> tuple[int, int]:
    """Width and height after applying orientation ``turn``: 5 to 8 lie on their side."""
    return (height, width) if turn >= 5 else (width, height)


def _in_exif(exif: bytes) -> int | None:
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        raise UnusualExifError("no TIFF header")
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        raise UnusualExifError("no directory")
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    if start + 2 + 12 * entries > len(tiff):
        raise UnusualExifError("the directory is cut off")
    orientation = None
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, at)
        if tag == _ORIENTATION_TAG:
            if kind not in _INTEGERS or count != 1:
                raise UnusualExifError(f"orientation of type {kind}, count {count}")
            (orientation,) = struct.unpack_from(order + _INTEGERS[kind], tiff, at + 8)
    return orientation
