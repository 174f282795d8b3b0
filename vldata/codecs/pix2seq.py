"""Pix2Seq's and PaLI's boxes: ``100 200 500 600``, four bins, **y before x**.

https://github.com/google-research/pix2seq (``quantize``, ``dequantize``)
Order y0, x0, y1, x1; a coordinate c is bin ``round(c * (bins - 1))`` of 1,000 and is read ``bin / (bins - 1)``.
Worst-case error 0.5 / (bins - 1) of a side. In the papers the bins are tokens of their own; here they are numbers
with spaces between, objects one after another, each with its class behind it. Nothing marks a coordinate: whole
numbers in a row are read as boxes and must be a multiple of four, so a class that starts or ends with a number can be
written, and is refused when read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from vldata.codecs.base import Codec
from vldata.codecs.coordinates import checked, clamped, malformed, none_in
from vldata.schema.boxes import Box

_NUMBERS = re.compile(r"(?<!\S)\d+(?: \d+)+(?!\S)")


class Pix2Seq(Codec):
    """Four bin numbers, y before x.

    Attributes:
        bins: Per axis; a subclass that changes it also changes `max_error`.
    """

    name = "pix2seq"
    about = "100 200 500 600: y0 x0 y1 x1, bins 0 to 999 (Pix2Seq, PaLI)"
    max_error = 0.5 / 999
    bins: ClassVar[int] = 1000

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        corners = [clamped(box) for box in boxes]
        return " ".join(str(round(c * (self.bins - 1))) for b in corners for c in (b.y0, b.x0, b.y1, b.x1))

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        boxes = []
        for run in _NUMBERS.findall(text):
            numbers = [int(n) / (self.bins - 1) for n in run.split(" ")]
            if len(numbers) % 4:
                raise malformed(text, f"{len(numbers)} numbers in a row, not four for each box")
            for y0, x0, y1, x1 in zip(*(iter(numbers),) * 4, strict=True):
                boxes.append(checked(x0, y0, x1, y1, text))
        if not boxes:
            raise none_in(text, "100 200 500 600")
        return boxes

    def encode_phrase(self, phrase: str, boxes: Sequence[Box]) -> str:
        """Write each box with the phrase behind it, as detection targets do."""
        return " ".join(f"{self.encode([box])} {phrase}" for box in boxes)
