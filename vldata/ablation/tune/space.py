"""What the base's build says about the mixtures that may be tried, and mixtures as sections of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vldata.ablation.builds import amounts
from vldata.ablation.changes import Tree
from vldata.ablation.tune.file import OpenedTune
from vldata.errors import RecipeError
from vldata.mixture.apportion import apportion
from vldata.pipeline.plan_record import SourceReport

_SPARE = 0.99  # of the bound on epochs: how many units a source has is known from rounded epochs


@dataclass(frozen=True)
class Space:
    """The mixtures that may be tried.

    Args:
        total: Units of the base's dataset.
        proxy_total: Of each proxy's.
        base: Source to its share in the base, above 0.
        absent: Sources that the base takes nothing from, and no other mixture either.
        max_epochs: As requested, or the base's own where it has more.
    """

    unit: str
    total: int
    proxy_total: int
    base: Mapping[str, float]
    absent: Sequence[str]
    caps: Mapping[str, float]
    available: Mapping[str, int]
    max_epochs: float

    def units(self, shares: Sequence[float], total: int) -> dict[str, int]:
        """Whole units of every source that make the total."""
        weights = {name: Fraction(float(share)) for name, share in zip(self.base, shares, strict=True)}
        return {**apportion(weights, total), **dict.fromkeys(self.absent, 0)}

    def mixture(self, units: Mapping[str, int]) -> Tree:
        """The ``mixture`` section with these units as weights."""
        return {
            "unit": self.unit,
            "total": sum(units.values()),
            "max_epochs": self.max_epochs,
            "sources": {name: units[name] for name in sorted(units)},
        }


def space_of(requested: OpenedTune, reports: Mapping[str, SourceReport]) -> Space:
    """What the base's build says about the mixtures that may be tried.

    Raises:
        RecipeError: There is nothing to vary, or the bound on epochs leaves less than the total.
    """
    tune, unit = requested.tune, requested.opened.base.mixture.unit
    has = {name: units for name, units in sorted(amounts(reports, unit).items()) if units}
    if len(has) < 2:
        raise RecipeError("base: sources", f"{len(has)} has rows, and weights are relative", "name a base with two")
    total = sum(has.values())
    proxy_total = tune.total or total
    available = {name: round(units / reports[name].epochs) for name, units in has.items()}
    most = max(total, proxy_total)
    caps = {name: min(1.0, _SPARE * tune.max_epochs * available[name] / most) for name in has}
    if sum(caps.values()) < 1:
        problem = f"{tune.max_epochs:g} passes over every source are fewer than {most:,} {unit}"
        raise RecipeError("max_epochs", problem, "raise it, or lower the total")
    epochs = max(report.epochs for report in reports.values()) * max(1.0, proxy_total / total)
    return Space(
        unit=unit,
        total=total,
        proxy_total=proxy_total,
        base={name: units / total for name, units in has.items()},
        absent=sorted(set(reports) - set(has)),
        caps=caps,
        available=available,
        max_epochs=max(tune.max_epochs, math.ceil(100 * epochs) / 100),
    )


def laid_over(base: Tree, mixture: Tree) -> Tree:
    """The mixture as it must be written so that nothing of the base's is left when it is laid on it."""
    old = base.get("sources")
    groups = dict.fromkeys(set(old) - set(mixture["sources"])) if isinstance(old, dict) else {}
    gone = dict.fromkeys(key for key in base if key not in mixture)
    return {**gone, **mixture, "sources": {**dict(sorted(groups.items())), **mixture["sources"]}}
