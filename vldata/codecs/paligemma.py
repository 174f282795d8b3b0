"""PaliGemma's boxes: ``<loc0512><loc0000><loc1023><loc1023>``, **y before x**.

https://github.com/google-research/big_vision (``pp/proj/paligemma/segmentation.py``)
Order y0, x0, y1, x1; a coordinate c is token ``round(c * 1023)`` of 1,024 and is read ``token / 1023``. Worst-case
error 0.5 / 1023 of a side. Several boxes, and boxes with a phrase, are joined by `` ; ``, the phrase behind its box.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vldata.codecs.base import Codec
from vldata.codecs.coordinates import checked, clamped, malformed, none_in
from vldata.schema.boxes import Box

_LAST = 1023
_TOKENS = re.compile(r"(?:<loc\d{4}>)+")
_TOKEN = re.compile(r"\d{4}")


class PaliGemma(Codec):
    """Four location tokens, y before x."""

    name = "paligemma"
    about = "<loc0512><loc0000><loc1023><loc1023>: y0 x0 y1 x1, tokens 0 to 1023 (PaliGemma)"
    max_error = 0.5 / _LAST

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        return " ; ".join(self._one(clamped(box)) for box in boxes)

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        boxes = []
        for run in _TOKENS.findall(text):
            numbers = [int(n) / _LAST for n in _TOKEN.findall(run)]
            if len(numbers) != 4:
                raise malformed(text, f"{len(numbers)} <locNNNN> tokens in a row, not four")
            y0, x0, y1, x1 = numbers
            boxes.append(checked(x0, y0, x1, y1, text))
        if not boxes:
            raise none_in(text, "<loc0512><loc0000><loc1023><loc1023>")
        return boxes

    def encode_phrase(self, phrase: str, boxes: Sequence[Box]) -> str:
        """Write each box with the phrase behind it."""
        return " ; ".join(f"{self.encode([box])} {phrase}" for box in boxes)

    def _one(self, box: Box) -> str:
        return "".join(f"<loc{round(c * _LAST):04d}>" for c in (box.y0, box.x0, box.y1, box.x1))
