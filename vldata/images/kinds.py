"""Kinds of image files: recognised by their first bytes, opened by exactly one Pillow plugin each.

Extensions are never looked at. `Image.open` is not used: it tries every plugin there is, PostScript and meta files
included, and applies its own pixel limit by a process-wide setting.
"""

from __future__ import annotations

import io
import re
import struct
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from vldata.images.orientation import UnusualExifError, orientation
from vldata.images.problem import ImageProblem

if TYPE_CHECKING:
    from PIL import ImageFile

Kind = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"]

_PLUGINS: dict[Kind, str] = {
    "JPEG": "PIL.JpegImagePlugin:JpegImageFile",
    "PNG": "PIL.PngImagePlugin:PngImageFile",
    "WEBP": "PIL.WebPImagePlugin:WebPImageFile",
    "GIF": "PIL.GifImagePlugin:GifImageFile",
    "BMP": "PIL.BmpImagePlugin:BmpImageFile",
    "TIFF": "PIL.TiffImagePlugin:TiffImageFile",
    "AVIF": "PIL.AvifImagePlugin:AvifImageFile",
    "JPEG2000": "PIL.Jpeg2KImagePlugin:Jpeg2KImageFile",
    "PPM": "PIL.PpmImagePlugin:PpmImageFile",
}
_HEADS: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_PPM_HEAD = re.compile(rb"P[1-6][ \t\r\n#]")
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274  # TIFF tags


def sniff(data: bytes) -> Kind | None:
    """The kind that the first bytes announce, None for anything that is not one of ours."""
    for head, kind in _HEADS:
        if data.startswith(head):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in (b"avif", b"avis")):
        return "AVIF"
    return "PPM" if _PPM_HEAD.match(data) else None


def describe(data: bytes) -> str:
    """Say what bytes that are no known image look like."""
    if not data:
        return "the file is empty"
    head = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        return "an HTML page: the download got an error page in place of the image"
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in data[:2048].lower()):
        return "an SVG drawing: vector graphics are not read"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: the real file was not fetched (git lfs pull)"
    if head.startswith((b"<?xml", b"<")):
        return "an XML document, not an image"
    if head.startswith(b"%pdf"):
        return "a PDF document, not an image"
    if data[4:8] == b"ftyp":
        return f"an ISO media file of brand {data[8:12]!r} (HEIC or video), not an image of a known kind"
    if not any(data):
        return f"{len(data)} zero bytes: the file was never written"
    return f"not an image of a known kind: it begins with {data[:8]!r}"


def opened(data: bytes, kind: Kind) -> ImageFile.ImageFile:
    """Read the header with Pillow's plugin for ``kind``; pixels are not decoded and no pixel limit is applied.

    Raises:
        Exception: Whatever the plugin raises on bytes that it cannot use.
    """
    module, _, name = _PLUGINS[kind].partition(":")
    plugin: type[ImageFile.ImageFile] = getattr(import_module(module), name)
    return plugin(io.BytesIO(data))


def stored_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Width and height in pixels as stored, before orientation; ``image`` is not decoded yet."""
    tags = getattr(image, "tag_v2", None)  # Pillow turns TIFF sizes at different moments in different versions
    return (tags[_WIDTH], tags[_HEIGHT]) if tags is not None else image.size


def turn_of(image: ImageFile.ImageFile) -> int:
    """Orientation of an opened image, 1 to 8.

    Raises:
        ImageProblem: Its Exif block is so damaged that Pillow fails on it, and every reader built on Pillow would.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        value = tags.get(_ORIENTATION, 1)
        return value if value in range(1, 9) else 1
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if "Raw profile type exif" not in image.info:
        try:
            return orientation(image.info.get("exif"), xmp.encode() if isinstance(xmp, str) else xmp)
        except UnusualExifError:
            pass  # Pillow decides
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # its parser raises nearly anything
        raise ImageProblem("image_unreadable", f"Pillow cannot read its Exif block: {cause(error)}") from None
    return int(value) if value in range(1, 9) else 1


def has_end(data: bytes, kind: Kind, image: ImageFile.ImageFile | None = None) -> bool | None:
    """Whether the data reaches as far as its own structure says, without decoding; None where there is no such test.

    Args:
        data: The whole file.
        kind: From `sniff`.
        image: The same, opened; needed for TIFF.
    """
    if kind == "JPEG":
        return data.rfind(b"\xff\xd9") > 0
    if kind == "PNG":
        return data.rfind(b"\0\0\0\0IEND\xaeB`\x82") > 0
    if kind == "GIF":
        return data.endswith(b"\0;")  # the end of the last frame's blocks, then the trailer
    if kind == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    if kind == "BMP":
        return len(data) >= int.from_bytes(data[2:6], "little") > 0
    if kind == "AVIF":
        return _boxes_fit(data)
    if kind == "JPEG2000":
        return data.rstrip(b"\0").endswith(b"\xff\xd9")
    if kind == "TIFF" and image is not None:
        return _strips_fit(len(data), getattr(image, "tag_v2", {}))
    return None


def cause(error: Exception) -> str:
    """An error of Pillow's in one line."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _boxes_fit(data: bytes) -> bool:
    at = 0
    has_data = False
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        has_data = has_data or name == b"mdat"
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if size == 0:  # to the end of the file
            return has_data
        if size < 8:
            return False
        at += size
    return has_data and at == len(data)


def _strips_fit(length: int, tags: dict[int, tuple[int, ...]]) -> bool | None:
    for offsets, counts in ((273, 279), (324, 325)):  # strips, tiles
        if offsets in tags and counts in tags:
            return all(o + c <= length for o, c in zip(tags[offsets], tags[counts], strict=False))
    return None
