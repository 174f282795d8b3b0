"""What the steps of a build share: store, workers, progress, and what was found out about images and samples.

An ablation builds all its variants in one session: they have most of their sources in common, and what one of them
found out is not found out again. It lasts seconds to minutes, and what it remembers is as true as what one build
remembers while it runs: an image that changes in between is noticed when its block is written, and everything is
forgotten then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from vldata.base import Progress, Silent
from vldata.pipeline.choose import CandidateCache
from vldata.pipeline.image_facts import Place
from vldata.pipeline.workers import Engine, cores
from vldata.prompts.template import Template
from vldata.recipe.models import Recipe
from vldata.store.gc import in_use
from vldata.store.store import Store, default_store, open_store

_JOBS = ("vldata.pipeline.render",)
"""Modules whose functions the workers run."""


class SyntheticTurns(Protocol):
    """What models wrote, for builds: `vldata.generate` has it, which no step of a build needs to know."""

    def as_files(self, recipe: Recipe, session: Session, standin: int | None) -> Recipe:
        """The recipe with its synthetic sources as files of turns in the store."""
        ...

    def costs(self, recipe: Recipe, ready: Recipe, session: Session, standin: int | None) -> dict[str, dict[str, Any]]:
        """What was written for each synthetic source of ``ready``, by which model, at what price."""
        ...


@dataclass
class Session:
    """Made by `open_session`.

    Args:
        synthetic: Needed for recipes with synthetic sources.
        is_shared: Several builds follow one another, so that what one has found out serves the next.
        remembered: What the store knew of a place's images when it was first read.
        seen: What is known of images by now.
        candidates: Samples that were inspected and chosen.
        laid_out: Names of rendered leaves, by the hash of all that decides them; what is there is not laid out again.
        drawn: Folders of images that sources drew, with these sources.
    """

    store: Store
    engine: Engine
    progress: Progress
    synthetic: SyntheticTurns | None = None
    is_shared: bool = False
    remembered: dict[Place, pl.DataFrame | None] = field(default_factory=dict)
    seen: dict[Place, pl.DataFrame] = field(default_factory=dict)
    candidates: CandidateCache = field(default_factory=CandidateCache)
    laid_out: dict[str, str] = field(default_factory=dict)
    templates: dict[str, Template] = field(default_factory=dict)
    drawn: set[tuple[str, str]] = field(default_factory=set)

    def forget(self) -> None:
        """Look at everything again."""
        self.remembered.clear()
        self.seen.clear()
        self.candidates = CandidateCache()
        self.laid_out.clear()
        self.drawn.clear()


@contextmanager
def open_session(
    store: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    synthetic: SyntheticTurns | None = None,
    is_shared: bool = False,
) -> Iterator[Session]:
    """A session whose workers end with it, and whose store is not cleaned meanwhile.

    Args:
        store: Its folder; None is `vldata.store.store.default_store`.
        workers: Processes; None is one for each core.

    Raises:
        StoreError: The store cannot be used.
    """
    opened = open_store(store or default_store())
    with in_use(opened), Engine(workers or cores(), _JOBS) as engine:
        yield Session(opened, engine, progress or Silent(), synthetic, is_shared)
