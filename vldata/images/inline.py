"""Images written as text in a table: base64 and data URIs, read where they stand in the file.

A reference ``rows.jsonl::text/<offset>/<length>`` names bytes of the (unpacked) file, so that reading one costs one
``pread`` and nothing is copied.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import tempfile
import weakref
from pathlib import Path
from urllib.parse import unquote_to_bytes

from vldata.images.archives import gunzip, spooled
from vldata.images.files import read_range
from vldata.images.look import MAX_BYTES
from vldata.images.problem import ImageProblem

TEXT_TABLES = tuple(f"{suffix}{gz}" for suffix in (".json", ".jsonl", ".ndjson", ".csv", ".tsv") for gz in ("", ".gz"))

COLUMN = "text"
"""Stands in a reference where a Parquet file's has a column."""

LONG = 300
"""Bytes of a text that may be base64 of any kind of image."""

_HEADS = "iVBORw0KGgo|/9j/|R0lGOD|UklGR|SUkq|TU0A"  # PNG, JPEG, GIF, WebP, TIFF
HEAD = rf"^\s*(?:(?i:data:)|{_HEADS})"
"""Matches, in a tenth of the time, all of these texts that have fewer than `LONG` bytes, and some paths."""

PATTERN = (
    r"^\s*(?:(?i:data:[\w.+-]*/?[\w.+-]*(?:;[\w.+=-]*)*,)"
    rf"|(?:{_HEADS})[A-Za-z0-9+/_\s-]{{28,}}={{0,2}}\s*$|[A-Za-z0-9+/_\s-]{{{LONG},}}={{0,2}}\s*$)"
)
"""Matches texts that hold an image, for Polars and Python alike; no path is as long and has no suffix."""

_DATA_URI = re.compile(r"\s*data:[^,;]*((?:;[^,;]*)*),", re.IGNORECASE)


def image_bytes(text: str) -> bytes:
    """The bytes that base64 or a data URI stands for; base64 may be wrapped, without padding, or the one of URLs.

    Raises:
        ImageProblem: It is neither.
    """
    match = _DATA_URI.match(text)
    payload = text[match.end() :] if match else text
    if match and ";base64" not in match[1].lower():
        return unquote_to_bytes(payload)
    payload = "".join(payload.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
    except binascii.Error as error:
        what = "data URI" if match else "text"
        raise ImageProblem("image_unreadable", f"a {what} of {len(text)} characters is no base64: {error}") from None


class TextTable:
    """The images in a table that is text.

    Args:
        path: The file, gzip or not.
        spool: Folder for the unpacked form of a ``.gz``; None unpacks into the temporary folder while this lives.

    Raises:
        ImageProblem: The file is not there, or a broken ``.gz``.
        SourceError: No room to unpack it.
    """

    def __init__(self, path: str, spool: Path | None = None) -> None:
        self._path = path
        self._name = Path(path).name
        if path.endswith(".gz") and spool is not None:
            self._path = str(spooled(path, spool, ".txt", lambda target: gunzip(path, target)))
        elif path.endswith(".gz"):
            handle, self._path = tempfile.mkstemp(prefix="vldata-", suffix=".txt")
            os.close(handle)
            weakref.finalize(self, os.unlink, self._path)
            gunzip(path, Path(self._path))

    def read(self, member: str) -> bytes:
        """The image whose text stands at ``text/<offset>/<length>``."""
        _, offset, length = member.split("/")
        if int(length) > 2 * MAX_BYTES:
            raise ImageProblem("image_bomb", f"its text has {length} bytes, over the limit of {2 * MAX_BYTES}")
        text = read_range(self._path, int(offset), int(length)).decode("utf-8", "replace")
        if "\\" in text:
            try:
                text = json.loads(f'"{text}"')
            except ValueError as error:
                raise ImageProblem("image_unreadable", f"{member!r} in {self._name} is no text: {error}") from None
        return image_bytes(text)
