"""KOSMOS-2's boxes: ``<object><patch_index_0044><patch_index_0863></object>``.

https://github.com/huggingface/transformers (``processing_kosmos2.py``)
A grid of 32 x 32 cells, numbered row by row; a box is the cells of its upper left and lower right corners, ``floor(c
* 32)`` and ``ceil(c * 32 - 1)``. Read as the two cells' centres, except that a box within one row or one column of
cells is read as the cells' outer edges. Worst-case error 1/32 of a side. The reference fails on a lower right corner
at 0 and on boxes without area; here the second cell is never before the first. Boxes of one phrase are joined by
``</delimiter_of_multi_objects/>``; a text's leading ``<grounding>`` is the template's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from vldata.codecs.base import Codec
from vldata.codecs.coordinates import checked, clamped, malformed, none_in
from vldata.schema.boxes import Box

_SIDE = 32
_DELIMITER = "</delimiter_of_multi_objects/>"
_OBJECT = re.compile(r"<object>(.*?)</object>", re.DOTALL)
_PAIR = re.compile(r"<patch_index_(\d{4})>\s*<patch_index_(\d{4})>")


class Kosmos2(Codec):
    """Two patch tokens: the cells of the upper left and of the lower right corner."""

    name = "kosmos2"
    about = "<object><patch_index_0044><patch_index_0863></object>: cells of a 32 x 32 grid (KOSMOS-2)"
    max_error = 1 / _SIDE

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        return f"<object>{_DELIMITER.join(_tokens(clamped(box)) for box in boxes)}</object>"

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        objects = _OBJECT.findall(text)
        if len(objects) != text.count("<object>"):
            raise malformed(text, "an <object> without </object>")
        boxes = [_box(pair, text) for inside in objects for pair in inside.split(_DELIMITER)]
        if not boxes:
            raise none_in(text, "<object><patch_index_0044><patch_index_0863></object>")
        return boxes

    def encode_phrase(self, phrase: str, boxes: Sequence[Box]) -> str:
        """Write a phrase between its tags and the boxes right behind it."""
        return f"<phrase>{phrase}</phrase>{self.encode(boxes)}"


def _tokens(box: Box) -> str:
    first_x, first_y = (min(math.floor(c * _SIDE), _SIDE - 1) for c in (box.x0, box.y0))
    last_x, last_y = math.ceil(box.x1 * _SIDE - 1), math.ceil(box.y1 * _SIDE - 1)
    first, last = first_y * _SIDE + first_x, max(last_y, first_y) * _SIDE + max(last_x, first_x)
    return f"<patch_index_{first:04d}><patch_index_{last:04d}>"


def _box(pair: str, text: str) -> Box:
    match = _PAIR.fullmatch(pair.strip())
    if not match:
        raise malformed(text, f"{pair!r} is not two <patch_index_NNNN> tokens")
    (y0, x0), (y1, x1) = (divmod(int(n), _SIDE) for n in match.groups())
    before, behind = (0.0, 1.0) if x0 == x1 or y0 == y1 else (0.5, 0.5)
    return checked((x0 + before) / _SIDE, (y0 + before) / _SIDE, (x1 + behind) / _SIDE, (y1 + behind) / _SIDE, text)
