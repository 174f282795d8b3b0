"""The family of decimal codecs: four decimals in brackets, x before y; a subclass says how many digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from vldata.codecs.base import Codec
from vldata.codecs.coordinates import checked, clamped, malformed, none_in
from vldata.schema.boxes import Box

_DECIMAL = re.compile(r"\d+(?:\.\d+)?")


class Decimals(Codec):
    """``x0, y0, x1, y1`` as decimals in [0, 1], rounded half to even on the exact binary value (Python's ``format``).

    Decoding allows spaces around the separators and any number of digits; brackets that hold anything but digits,
    points, separators and spaces are prose.

    Attributes:
        digits: Behind the point.
        comma: Between two coordinates.
        between: Between two boxes inside one pair of brackets; None gives each box its own pair, with a space between.
        brackets: The opening and the closing one.
    """

    digits: ClassVar[int]
    comma: ClassVar[str] = ","
    between: ClassVar[str | None] = None
    brackets: ClassVar[tuple[str, str]] = ("[", "]")

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        written = [self.comma.join(f"{c:.{self.digits}f}" for c in clamped(box)) for box in boxes]
        left, right = self.brackets
        if self.between is not None:
            return f"{left}{self.between.join(written)}{right}"
        return " ".join(f"{left}{text}{right}" for text in written)

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        left, right = (re.escape(bracket) for bracket in self.brackets)
        boxes = [
            self._box(written, text)
            for inside in re.findall(rf"{left}([\d.,;\s+-]*\d[\d.,;\s+-]*){right}", text)
            for written in inside.split(";" if self.between is not None else "\n")
        ]
        if not boxes:
            raise none_in(text, self.encode([Box(0.1, 0.2, 0.3, 0.4)]))
        return boxes

    def _box(self, written: str, text: str) -> Box:
        numbers = [number.strip() for number in written.split(",")]
        if len(numbers) != 4 or not all(_DECIMAL.fullmatch(number) for number in numbers):
            raise malformed(text, f"{written!r} is not four decimals")
        x0, y0, x1, y1 = map(float, numbers)
        return checked(x0, y0, x1, y1, text)
