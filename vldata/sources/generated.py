"""Turns that a model wrote: what `vldata synth` made of other sources, as one Parquet file of turns in the store.

No recipe names this format: a source with a ``synth`` section becomes one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl

from vldata.errors import RecipeError
from vldata.sources.base import Source


class GeneratedTurns(Source):
    """Canonical columns as they are."""

    format: ClassVar[str] = "synth"
    about: ClassVar[str] = "conversations that a model wrote about another source"
    licence: ClassVar[str] = "as of the sources it is made from; the terms of the model's provider apply"
    tasks: ClassVar[tuple[str, ...]] = ("instruction", "text_instruction", "caption", "vqa_open", "rec")
    box_unit: ClassVar[Literal["px", "fraction"]] = "fraction"

    path: str = ""

    def files(self) -> list[Path]:
        """The one file."""
        return [Path(self.path)]

    def turns(self, task: str) -> pl.DataFrame:
        """The table."""
        return pl.read_parquet(self.path)

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """There is none: what it is made from has one.

        Raises:
            RecipeError: Always.
        """
        raise RecipeError("format", "'synth' has no stand-in of its own", "name one of the formats it is made from")
