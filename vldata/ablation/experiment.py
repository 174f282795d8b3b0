"""What an ablation and a tuning share: a folder of their own, builds in one store, cells kept by key.

    <out>/builds/<name>  a plain build of each variant or mixture; the base's holds the questions
    <out>/held_out/      questions that are not the base's own
    <out>/cells/<key>/   see `vldata.ablation.cells`

What is there already is found and not made again, so that a killed experiment resumes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from vldata.ablation.builds import Builder, VariantBuild, variants_session, write_text
from vldata.ablation.cells import Cell, CellFailure, Questions, Trainer, outcome_of
from vldata.ablation.checks import split_of
from vldata.ablation.load import Opened
from vldata.ablation.schedule import Board, run_cells
from vldata.errors import BuildError
from vldata.paths import home
from vldata.recipe.load import from_tree
from vldata.store.lock import exclusive

REQUESTS = {"ablation": "ablation.json", "tuning": "asked.json"}
"""Kind of an experiment -> the file in which its folder says what is requested."""

Scores = TypeVar("Scores")


@dataclass(frozen=True)
class Experiment:
    """Where variants are built and trained, and with what.

    Args:
        out: New, empty, or the folder of an experiment of the same kind, which resumes.
        store: Where blocks are kept; see `vldata.store.store.default_store`.
        workers: Processes that build; None is one for each core.
    """

    out: Path
    trainer: Trainer
    store: Path | None = None
    workers: int | None = None
    jobs: int = 1
    board: Board = field(default_factory=Board)

    @cached_property
    def folder(self) -> Path:
        """Its folder, absolute."""
        return home(self.out).resolve()

    @contextmanager
    def claimed(self, kind: Literal["ablation", "tuning"], requested: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder, with what is requested written into it.

        Raises:
            BuildError: It is something else's, another process holds it, or the trainer's command cannot be read.
        """
        where, request = f"--out {self.folder}", REQUESTS[kind]
        if self.folder.is_file():
            raise BuildError(where, "it is a file", "name a folder")
        names = {path.name for path in self.folder.iterdir()} - {".lock"} if self.folder.is_dir() else set()
        if names and request not in names:
            raise BuildError(where, f"the folder holds something that is no {kind}", "name a new or empty folder")
        self.trainer.words()  # an unreadable command is an error before anything is built
        with exclusive(self.folder / ".lock", wait=False):
            write_text(self.folder / request, json.dumps(requested, indent=1, ensure_ascii=False) + "\n")
            yield

    @contextmanager
    def builder(self) -> Iterator[Builder]:
        """Builds, until the trainings need the cores."""
        with variants_session(self.store, self.workers, self.board) as session:
            yield Builder(self.folder, session)

    def train(self, cells: Sequence[Cell]) -> None:
        """Train and evaluate, some at a time; finished cells are found."""
        run_cells(cells, self.trainer, self.folder / "cells", self.jobs, self.board)

    def cell_folder(self, cell: Cell) -> Path:
        """Where a cell's files are."""
        return self.folder / "cells" / cell.key(self.trainer)

    def outcome(self, cell: Cell, read: Callable[[Path], Scores]) -> tuple[Scores | None, CellFailure | None]:
        """See `vldata.ablation.cells.outcome_of`."""
        return outcome_of(self.cell_folder(cell), read)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file of the folder."""
        write_text(self.folder / name, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def questions_of(opened: Opened, base: VariantBuild, builder: Builder) -> Questions:
    """The split that models are scored on: of the base's build, or of a recipe's own, which is built here.

    Raises:
        BuildError: There is no such split.
    """
    build = base
    if opened.held_out is not None:
        build, _ = builder.build(from_tree(opened.held_out), "held_out/questions")
    splits = [name for name, rows in build.manifest["splits"].items() if rows]
    return Questions(build, split_of(opened.ablation.evaluate.split, splits, is_own=build is base))
