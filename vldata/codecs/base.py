"""What a box codec is: boxes in fractions -> text, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from vldata.schema.boxes import Box


class Codec:
    """One textual form of boxes, both directions.

    Attributes:
        name: What a recipe calls it (``box_format: llava``).
        about: One line for `vldata formats`.
        max_error: Largest move of a coordinate in one round trip, as a fraction of the image's side.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    max_error: ClassVar[float]

    def encode(self, boxes: Sequence[Box]) -> str:
        """Write one or more boxes; coordinates outside [0, 1] are clamped."""
        raise NotImplementedError

    def decode(self, text: str) -> list[Box]:
        """Read every box that stands in ``text``, in order.

        Raises:
            CodecError: There is none, or one is malformed; names the text.
        """
        raise NotImplementedError

    def encode_phrase(self, phrase: str, boxes: Sequence[Box]) -> str:
        """Write a phrase with its boxes, as grounded captions do; the plain form puts the boxes behind the phrase."""
        return f"{phrase} {self.encode(boxes)}"
