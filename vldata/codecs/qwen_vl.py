"""Qwen-VL's boxes: ``<ref>the cat</ref><box>(588,499),(725,789)</box>``.

https://github.com/QwenLM/Qwen-VL
Order x0, y0, x1, y1 as two corners; integers 0 to 999. The reference gives the range but no rounding; its grounding
evaluation divides by 999 (``eval_mm/evaluate_grounding.py``), so a coordinate c is written ``round(c * 999)`` and
read ``n / 999``. Worst-case error 0.5 / 999 of a side. Several boxes of a phrase repeat ``<box>…</box>`` behind one
``<ref>``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vldata.codecs.base import Codec
from vldata.codecs.coordinates import checked, clamped, malformed, none_in
from vldata.schema.boxes import Box

_LAST = 999
_BOX = re.compile(r"<box>\((\d+),(\d+)\),\((\d+),(\d+)\)</box>")


class QwenVl(Codec):
    """Two corners of thousandths between tags, x before y."""

    name = "qwen_vl"
    about = "<box>(588,499),(725,789)</box>: (x0,y0),(x1,y1), 0 to 999 (Qwen-VL)"
    max_error = 0.5 / _LAST

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        bins = [[round(c * _LAST) for c in clamped(box)] for box in boxes]
        return "".join(f"<box>({x0},{y0}),({x1},{y1})</box>" for x0, y0, x1, y1 in bins)

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        matches = _BOX.findall(text)
        if len(matches) != text.count("<box>"):
            raise malformed(text, "a <box> is not of the form (x0,y0),(x1,y1)</box>")
        if not matches:
            raise none_in(text, "<box>(588,499),(725,789)</box>")
        boxes = []
        for written in matches:
            x0, y0, x1, y1 = (int(n) / _LAST for n in written)
            boxes.append(checked(x0, y0, x1, y1, text))
        return boxes

    def encode_phrase(self, phrase: str, boxes: Sequence[Box]) -> str:
        """Write a phrase with its boxes: the phrase between ``<ref>`` tags, the boxes right behind it."""
        return f"<ref>{phrase}</ref>{self.encode(boxes)}"
