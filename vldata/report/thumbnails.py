"""Images of a dataset made small, as ``data:`` addresses, within a number of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from vldata.images.geometry import fit
from vldata.images.look import look
from vldata.images.pixels import decoded, resized
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageReader
from vldata.report.boxes_on_images import ImageBox, SampleImage

THUMBNAIL_PX = 400
_SMALL_PX = 160


class Thumbnails:
    """Makes small images until ``max_bytes`` are used."""

    def __init__(self, max_bytes: int) -> None:
        self.used = 0
        self._max_bytes = max_bytes
        self._reader = ImageReader("/")

    def image(
        self, image: Mapping[str, Any], size: Mapping[str, int] | None, boxes: tuple[ImageBox, ...]
    ) -> SampleImage:
        """An image of a row, or why it cannot be shown."""
        upright = (size["width"], size["height"]) if size else None
        try:
            data, decoded_size = _small(self._bytes(image))
        except ImageProblem as problem:
            width, height = upright or (0, 0)
            why = f"not shown: {problem.reason.replace('_', ' ')}"
            return SampleImage(width, height, None, why, boxes if upright else ())
        width, height = upright or decoded_size
        if self.used + len(data) > self._max_bytes:
            return SampleImage(width, height, None, "not shown, to keep the page small", boxes)
        self.used += len(data)
        return SampleImage(width, height, data, "", boxes)

    def _bytes(self, image: Mapping[str, Any]) -> bytes:
        if image["bytes"] is not None:
            return bytes(image["bytes"])
        if not image["path"]:
            raise ImageProblem("image_missing", "the row has neither bytes nor a path")
        return self._reader.read(image["path"].lstrip("/"))


def _small(data: bytes) -> tuple[str, tuple[int, int]]:
    """An image as a ``data:`` address, and its upright size before it was made small."""
    from PIL import Image

    seen = look(data)
    full = (seen.width, seen.height)
    image = decoded(resized(data, 2 * THUMBNAIL_PX)[0])  # a large JPEG decodes at a fraction of its size
    if "A" in image.getbands() or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(clear, mask=clear.getchannel("A"))
    image = image.convert("RGB")
    width, height = fit(*full, THUMBNAIL_PX)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    is_drawn = max(full) <= _SMALL_PX  # few pixels, often of a drawing: losses would show
    image.save(out, "PNG") if is_drawn else image.save(out, "JPEG", quality=80)
    kind = "png" if is_drawn else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}", full
