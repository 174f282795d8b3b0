"""Mixture and sizes -> how many units each source gives: exact, and an error before anything repeats unasked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from vldata.errors import RecipeError, RecipeErrors
from vldata.mixture.apportion import apportion
from vldata.mixture.models import Level, Mixture, MixtureEntry, check, inside, levels
from vldata.mixture.strategies import STRATEGIES, Member


class Quota(NamedTuple):
    """What one source gives.

    Args:
        units: To take, in the mixture's unit.
        share: As the recipe has it: its part of the whole, 0 to 1, before rounding to whole units.
        epochs: Passes over the source: units / available; 0 when it has none.
    """

    units: int
    share: float
    epochs: float


class Sizes(NamedTuple):
    """What is known about the sources: the units that each has, and its task."""

    available: Mapping[str, int]
    tasks: Mapping[str, str]

    def of(self, name: str, entry: MixtureEntry) -> int:
        """Units of a source or of all members of a group."""
        if entry.sources is None:
            return self.available[name]
        return sum(self.of(member, below) for member, below in entry.sources.items())

    def task(self, name: str, entry: MixtureEntry) -> str:
        """Task of a source; of a group the one task of its members, else the group's own name."""
        if entry.sources is None:
            return self.tasks[name]
        tasks = {self.task(member, below) for member, below in entry.sources.items()}
        return tasks.pop() if len(tasks) == 1 else name


def quotas(mixture: Mixture, available: Mapping[str, int], tasks: Mapping[str, str]) -> dict[str, Quota]:
    """Units of every source, in the order of ``available``.

    With weights or a strategy the counts sum to the total exactly and each lies within one of its ideal; a source that
    has nothing left gives nothing, and its share goes to the others of its group. Without a total they sum to the
    largest whole number at which no ideal exceeds its source. Weights multiply down the groups, and the order in which
    sources and groups are listed decides nothing.

    Args:
        mixture: As loaded.
        available: Source name to the units that it has, after curation.
        tasks: Source name to its task, for ``uniform_tasks``.

    Raises:
        RecipeErrors: The mixture does not fit the sources (`check`), a source with a count has nothing, or
            a source would be passed more often than ``max_epochs``; all offenders are named.
    """
    _raise(check(mixture, available))
    sizes = Sizes(available, tasks)
    top = next(levels(mixture, available))
    _raise([problem for level in levels(mixture, available) for problem in _counts_of_nothing(level, sizes)])
    shares: Mapping[str, Fraction]
    if top.kind in (None, "weight"):
        shares = _leaf_shares(top, sizes)
        total = mixture.total
        if total is None:
            total = _largest_total(shares, available, min(1.0, mixture.max_epochs or 1.0))
        elif not any(shares.values()):
            raise RecipeError(
                "mixture.total", f"{total:,} {mixture.unit} requested, and no source has any", "fix the sources"
            )
        units = apportion(shares, total)
    else:
        units = _fixed(top, sizes)
        whole = sum(units.values())
        shares = {name: Fraction(n, whole or 1) for name, n in units.items()}
    _raise(_repeats(mixture, units, shares, available))
    return {
        name: Quota(units[name], float(shares[name]), units[name] / n if n else 0.0) for name, n in available.items()
    }


def _level_shares(level: Level, sizes: Sizes) -> dict[str, Fraction]:
    """Shares of a level's members, which sum to 1, or are all 0 where there is nothing to share."""
    if level.kind is None:
        rule = "proportional" if level.strategy is None else level.strategy.name
        option = level.strategy.option if level.strategy else None
        members = {name: Member(sizes.of(name, e), sizes.task(name, e)) for name, e in level.entries.items()}
        shares = STRATEGIES[rule].shares(members, option or 0.0)
    else:
        # the decimals as typed: 0.1 + 0.2 is as much as 0.3
        shares = {name: Fraction(str(getattr(e, level.kind))) for name, e in level.entries.items()}
    if level.kind in (None, "weight"):
        shares = {name: share if sizes.of(name, level.entries[name]) else Fraction(0) for name, share in shares.items()}
    whole = sum(shares.values(), Fraction(0))
    return {name: share / whole if whole else Fraction(0) for name, share in shares.items()}


def _leaf_shares(level: Level, sizes: Sizes) -> dict[str, Fraction]:
    leaves: dict[str, Fraction] = {}
    for name, share in _level_shares(level, sizes).items():
        group = inside(level, name)
        leaves |= {leaf: share * s for leaf, s in _leaf_shares(group, sizes).items()} if group else {name: share}
    return leaves


def _fixed(top: Level, sizes: Sizes) -> dict[str, int]:
    """Units where the top level says counts or epochs; a group's amount is shared among its members."""
    units: dict[str, int] = {}
    for name, entry in top.entries.items():
        # half a unit counts as one
        passed = math.floor(Fraction(str(entry.epochs or 0)) * sizes.of(name, entry) + Fraction(1, 2))
        amount = passed if entry.count is None else entry.count
        group = inside(top, name)
        units |= apportion(_leaf_shares(group, sizes), amount) if group else {name: amount}
    return units


def _counts_of_nothing(level: Level, sizes: Sizes) -> Iterator[RecipeError]:
    for name, entry in level.entries.items():
        if entry.count and not sizes.of(name, entry):
            problem = f"{name!r} has count {entry.count:,} and nothing that could be taken"
            yield RecipeError(f"{level.where}.sources.{name}", problem, "fix the source, or give it 0")


def _largest_total(shares: Mapping[str, Fraction], available: Mapping[str, int], epochs: float) -> int:
    passes = Fraction(str(epochs))
    return min((math.floor(passes * available[name] / share) for name, share in shares.items() if share), default=0)


def _repeats(
    mixture: Mixture, units: Mapping[str, int], shares: Mapping[str, Fraction], available: Mapping[str, int]
) -> Iterator[RecipeError]:
    every_level = list(levels(mixture, available))
    kind = every_level[0].kind
    if mixture.max_epochs is None and kind == "epochs":
        return
    limit = 1.0 if mixture.max_epochs is None else mixture.max_epochs
    where = {name: f"{level.where}.sources.{name}" for level in every_level for name in level.entries}
    for name, n in sorted(units.items()):
        if n > Fraction(str(limit)) * available[name]:
            passes = math.ceil(100 * n / available[name]) / 100
            problem = (
                f"{name!r} would give {n:,} {mixture.unit} of {available[name]:,}: {passes:g} passes, "
                f"and max_epochs is {limit:g}"
            )
            less = f"its {kind}" if kind in ("count", "epochs") else "its share"
            if kind in (None, "weight"):
                less += f", or mixture.total to {_largest_total(shares, available, limit)}"
            yield RecipeError(where[name], problem, f"set mixture.max_epochs: {passes:g}, or lower {less}")


def _raise(problems: Iterator[RecipeError] | list[RecipeError]) -> None:
    if errors := list(problems):
        raise RecipeErrors(errors)
