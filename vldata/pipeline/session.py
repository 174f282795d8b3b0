"""What several builds in one process share beyond the store: workers, and pictures and samples that were looked at.

For an ablation, whose variants have most of their sources in common: what one of them found out is not found out again.
It lasts seconds to minutes, and what it remembers is as true as what one build remembers while it runs: a picture that
changes in between is noticed when its block is made, and everything is forgotten then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from vldata.pipeline.choose import Known
from vldata.pipeline.image_facts import Place
from vldata.pipeline.workers import Engine
from vldata.prompts.template import Template


@dataclass
class Session:
    """Made by `session`.

    Args:
        engine: Runs the jobs of all builds.
        remembered: What the store knew of a place's pictures when it was first asked.
        seen: What is known of pictures by now.
        candidates: Samples that were looked at and chosen.
        laid_out: Names of rendered leaves, by the samples, the words and the form of the output.
        templates: Templates that were read.
        drawn: Folders of pictures that sources drew, with the number of scenes.
    """

    engine: Engine
    remembered: dict[Place, pl.DataFrame | None] = field(default_factory=dict)
    seen: dict[Place, pl.DataFrame] = field(default_factory=dict)
    candidates: Known = field(default_factory=Known)
    laid_out: dict[str, str] = field(default_factory=dict)
    templates: dict[str, Template] = field(default_factory=dict)
    drawn: set[tuple[str, int]] = field(default_factory=set)

    def forget(self) -> None:
        """Look at everything anew."""
        self.remembered.clear()
        self.seen.clear()
        self.candidates = Known()
        self.laid_out.clear()
        self.drawn.clear()


@contextmanager
def session(workers: int) -> Iterator[Session]:
    """A session with so many workers, which end with it."""
    with Engine(workers) as engine:
        yield Session(engine)
