"""The images of finished rows, whether the build embeds their bytes or stores where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from vldata.images.kinds import Kind, sniff
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageReader

_SUFFIXES: dict[Kind | None, str] = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "AVIF": "avif",
    "JPEG2000": "jp2",
    "PPM": "ppm",
    None: "bin",
}


def suffix(data: bytes) -> str:
    """The file name suffix, without a dot, of what the bytes are; their name may say another thing."""
    return _SUFFIXES[sniff(data)]


class RowImages:
    """Reads the images of rows."""

    def __init__(self) -> None:
        self._reader = ImageReader("/")

    def data(self, image: Mapping[str, Any]) -> bytes:
        """Encoded bytes of an image struct.

        Raises:
            ImageProblem: The build stores a path, and nothing usable is there.
        """
        embedded: bytes | None = image["bytes"]
        return self._reader.read(self._ref(image)) if embedded is None else embedded

    def file(self, image: Mapping[str, Any]) -> str | None:
        """The absolute path of an image that is a plain file already; None when it is embedded or in an archive.

        Raises:
            ImageProblem: The file is not there.
        """
        if image["bytes"] is not None:
            return None
        if self._reader.path_of(self._ref(image)) is None:
            return None
        path: str = image["path"]
        if not Path(path).is_file():
            raise ImageProblem("image_missing", path)
        return path

    def _ref(self, image: Mapping[str, Any]) -> str:
        path: str | None = image["path"]
        if not path:
            raise ImageProblem("image_missing", "the row has neither bytes nor a path")
        return path.lstrip("/")


class ImageFolder:
    """Images as files below ``<root>/images/``, each once, named by what they hold.

    Args:
        root: The export's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._images = RowImages()

    def place(self, image: Mapping[str, Any]) -> str:
        """Make sure that an image is a file, and say where: below ``root``, or absolute where it was a file already.

        Raises:
            ImageProblem: The build stores a path, and nothing usable is there.
        """
        file = self._images.file(image)
        if file is not None:
            return file
        data = self._images.data(image)
        name = blake3(data).hexdigest(length=16)
        relative = f"images/{name[:2]}/{name}.{suffix(data)}"
        path = self._root / relative
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return relative
