"""Images that lie as they are in a larger file, named by where their bytes begin and how many they are."""

from __future__ import annotations

import re

from vldata.images.files import read_range
from vldata.images.look import MAX_BYTES
from vldata.images.problem import ImageProblem

SPAN = re.compile(r"bytes/\d{1,18}/\d{1,12}")


class ByteSpans:
    """The images in a file of records; nothing of it is read but they."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, member: str) -> bytes:
        """The image at ``bytes/<offset>/<length>``."""
        _, offset, length = member.split("/")
        if int(length) > MAX_BYTES:
            raise ImageProblem("image_bomb", f"it has {length} bytes, over the limit of {MAX_BYTES}")
        return read_range(self._path, int(offset), int(length))
