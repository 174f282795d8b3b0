"""What is asked of seeds and splits, and refused alike by a plan, a run and a tuning."""

from __future__ import annotations

from collections.abc import Collection

from vldata.ablation.statistics import MIN_SEEDS
from vldata.errors import BuildError

HELD_OUT = ("val", "validation", "test")
"""Splits to ask about, the first that there is."""


def few_seeds(num_seeds: int) -> str:
    """What is to be said of an ablation with fewer seeds than the statistics want."""
    return f"{num_seeds} trainings of each variant show hardly any difference; take {MIN_SEEDS} or more"


def check_seeds(data_seeds: int, num_seeds: int) -> None:
    """Data seeds are one, or one for each training.

    Raises:
        BuildError: They are not.
    """
    if data_seeds not in (1, num_seeds):
        problem = f"{data_seeds} data seeds for {num_seeds} trainings: those that share one are not independent"
        raise BuildError("data_seeds", problem, f"write 1, or {num_seeds}")


def split_of(asked: str | None, has: Collection[str], *, is_own: bool) -> str:
    """The split that is asked.

    Args:
        asked: As the file says.
        has: Splits with rows of the build that holds the questions.
        is_own: Whether that is the base, which is trained on.

    Raises:
        BuildError: There is no such split, or it would be trained on.
    """
    split = asked or next((name for name in HELD_OUT if name in has), None)
    if split is None or split not in has:
        problem = f"no rows to ask about in a split {split or ' or '.join(HELD_OUT)}; there is {', '.join(has)}"
        raise BuildError("evaluate.split", problem, "name a split, or hold more out: splits: {val: 0.05}")
    if split == "train" and is_own:
        raise BuildError("evaluate.split", "what is asked would be trained on", "name a split that is held out")
    return split
