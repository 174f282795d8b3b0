"""How a group shares its amount among its members when the recipe writes no numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple


class Member(NamedTuple):
    """One source or group, as a strategy sees it.

    Args:
        size: Units it has.
        task: Its task; of a group the one task of its members, else the group's own name.
    """

    size: int
    task: str


class MixingRule(NamedTuple):
    """A mixing rule.

    Args:
        about: One line, with its formula.
        shares: Members and the option -> relative shares.
        option: An example of the number that the rule takes; None where it takes none.
    """

    about: str
    shares: Callable[[Mapping[str, Member], float], dict[str, Fraction]]
    option: int | None = None


def proportional(members: Mapping[str, Member], _: float) -> dict[str, Fraction]:
    """As many units as there are: what concatenating and shuffling gives."""
    return {name: Fraction(member.size) for name, member in members.items()}


def uniform(members: Mapping[str, Member], _: float) -> dict[str, Fraction]:
    """The same for each, however large (Honeybee's "per dataset")."""
    return dict.fromkeys(members, Fraction(1))


def uniform_tasks(members: Mapping[str, Member], _: float) -> dict[str, Fraction]:
    """The same for each task, and within a task the same for each member (Honeybee's "per task")."""
    per_task = Counter(member.task for member in members.values())
    return {name: Fraction(1, per_task[member.task]) for name, member in members.items()}


def temperature(members: Mapping[str, Member], t: float) -> dict[str, Fraction]:
    """Size to the power 1 / T: 1 is proportional, 2 is the square root, large values come near uniform (seqio)."""
    return {name: _decimal(member.size ** (1 / t)) for name, member in members.items()}


def sqrt(members: Mapping[str, Member], _: float) -> dict[str, Fraction]:
    """The square root of the size (InstructBLIP)."""
    return temperature(members, 2.0)


def capped(members: Mapping[str, Member], cap: float) -> dict[str, Fraction]:
    """The size, but never more than the cap (Honeybee's "per sample" has 100,000; seqio's ``maximum``)."""
    return {name: min(Fraction(member.size), _decimal(cap)) for name, member in members.items()}


STRATEGIES: dict[str, MixingRule] = {
    "proportional": MixingRule("n: as many as there are", proportional),
    "uniform": MixingRule("1: the same for each", uniform),
    "uniform_tasks": MixingRule("1 / (tasks x members of the task): the same for each task", uniform_tasks),
    "sqrt": MixingRule("sqrt(n)", sqrt),
    "temperature": MixingRule("n ^ (1 / T)", temperature, 2),
    "capped": MixingRule("min(n, cap)", capped, 100_000),
}
"""Every rule; ``explicit``, the numbers of the recipe itself, is the one that needs none."""


def _decimal(x: float) -> Fraction:
    """Twelve significant digits, so that the last bit of a platform's ``pow`` decides no count."""
    return Fraction(f"{x:.12g}")
