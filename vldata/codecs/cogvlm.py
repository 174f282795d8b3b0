"""CogVLM's and CogAgent's boxes: ``[[053,353,943,999]]``.

https://github.com/THUDM/CogVLM
Order x0, y0, x1, y1; three digits 000 to 999, zero-padded; several boxes in one double bracket with ``;`` between.
The reference states the range and no rounding; here the side is cut into 1,000 cells, a coordinate is written as its
cell (``floor``, the right edge in cell 999) and read as the cell's centre. Worst-case error 0.0005 of a side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vldata.codecs.base import Codec
from vldata.codecs.coordinates import checked, clamped, malformed, none_in
from vldata.schema.boxes import Box

_CELLS = 1000
_BOXES = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_BOX = re.compile(r"(\d{3}),(\d{3}),(\d{3}),(\d{3})")


class CogVlm(Codec):
    """Three-digit cells in double brackets, x before y."""

    name = "cogvlm"
    about = "[[053,353,943,999]]: x0,y0,x1,y1, 000 to 999, boxes joined by ; (CogVLM, CogAgent)"
    max_error = 0.5 / _CELLS

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        return f"[[{';'.join(','.join(f'{_cell(c):03d}' for c in clamped(box)) for box in boxes)}]]"

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        boxes = []
        for inside in _BOXES.findall(text):
            for written in inside.split(";"):
                match = _BOX.fullmatch(written.strip())
                if not match:
                    raise malformed(text, f"{written!r} is not four times three digits")
                x0, y0, x1, y1 = ((int(n) + 0.5) / _CELLS for n in match.groups())
                boxes.append(checked(x0, y0, x1, y1, text))
        if not boxes:
            raise none_in(text, "[[053,353,943,999]]")
        return boxes


def _cell(c: float) -> int:
    return min(int(c * _CELLS), _CELLS - 1)
