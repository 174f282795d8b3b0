"""ScreenAI's boxes: ``TOOLBAR 0 999 31 109``, **both x before both y**.

https://github.com/google-research-datasets/screen_annotation
Order x0, x1, y0, y1 (of 55,148 published elements whose box can be checked, 55,147 fit; the paper's own example shows
x0, y0, x1, y1); integers 0 to 999. The reference states no rounding; a coordinate c is written ``round(c * 999)`` and
read ``n / 999``. Worst-case error 0.5 / 999 of a side. Elements are joined by ``, ``, children stand in parentheses,
and an element's text may itself hold numbers: only the last four before ``,``, ``)``, `` (`` or the end are its box.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vldata.codecs.base import Codec
from vldata.codecs.coordinates import checked, clamped, none_in
from vldata.schema.boxes import Box

_LAST = 999
_BOX = re.compile(r"(?<!\S)(\d{1,3}) (\d{1,3}) (\d{1,3}) (\d{1,3})(?=,|\)| \(|\s*$)")


class ScreenAi(Codec):
    """Four integers, both x before both y."""

    name = "screenai"
    about = "0 999 31 109: x0 x1 y0 y1, 0 to 999 (ScreenAI screen annotation)"
    max_error = 0.5 / _LAST

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        return ", ".join(self._one(clamped(box)) for box in boxes)

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        boxes = []
        for written in _BOX.findall(text):
            x0, x1, y0, y1 = (int(n) / _LAST for n in written)
            boxes.append(checked(x0, y0, x1, y1, text))
        if not boxes:
            raise none_in(text, "TOOLBAR 0 999 31 109")
        return boxes

    def encode_phrase(self, phrase: str, boxes: Sequence[Box]) -> str:
        """Write each box with the phrase before it, as screen elements are."""
        return ", ".join(f"{phrase} {self.encode([box])}" for box in boxes)

    def _one(self, box: Box) -> str:
        return " ".join(str(round(c * _LAST)) for c in (box.x0, box.x1, box.y0, box.y1))
