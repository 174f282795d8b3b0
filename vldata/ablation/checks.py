"""Rules for seeds and splits that a plan, a run and a tuning refuse alike."""

from __future__ import annotations

from collections.abc import Collection

from vldata.ablation.file import Ablation
from vldata.ablation.statistics import DEFAULT_SEEDS, MIN_SEEDS
from vldata.errors import BuildError

HELD_OUT = ("val", "validation", "test")
"""Splits to score on: the first that has rows."""


def notes_on_seeds(num_seeds: int) -> list[str]:
    """What a reader of an ablation with fewer seeds than the statistics need should know."""
    few = f"{num_seeds} trainings of each variant show hardly any difference; take {MIN_SEEDS} or more"
    return [few] if num_seeds < MIN_SEEDS else []


def num_seeds_of(ablation: Ablation, requested: int | None) -> int:
    """Trainings of each variant: as requested, else as the file says, else as many as the statistics need.

    Raises:
        BuildError: Data seeds are neither one, nor one for each training.
    """
    num_seeds = requested or ablation.seeds or DEFAULT_SEEDS
    if ablation.data_seeds not in (1, num_seeds):
        problem = (
            f"{ablation.data_seeds} data seeds for {num_seeds} trainings: those that share one are not independent"
        )
        raise BuildError("data_seeds", problem, f"write 1, or {num_seeds}")
    return num_seeds


def split_of(requested: str | None, has: Collection[str], *, is_own: bool) -> str:
    """The split that models are scored on.

    Args:
        has: Splits with rows of the build that holds the questions.
        is_own: Whether that is the base, which is trained on.

    Raises:
        BuildError: There is no such split, or it would be trained on.
    """
    split = requested or next((name for name in HELD_OUT if name in has), None)
    if split is None or split not in has:
        problem = f"no rows to score on in a split {split or ' or '.join(HELD_OUT)}; there is {', '.join(has)}"
        raise BuildError("evaluate.split", problem, "name a split, or hold more out: splits: {val: 0.05}")
    if split == "train" and is_own:
        raise BuildError("evaluate.split", "it would be trained on", "name a split that is held out")
    return split
