"""The ``mixture`` section of a recipe, as typed.

A bare number is a weight, a list of names is a group without numbers, a strategy with an option is a map of one key.
`check` finds what types cannot: kinds that are mixed on a level, names that do not exist, stand twice or nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import inf
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, StrictInt, model_serializer

from vldata.errors import RecipeError, nearest
from vldata.mixture.strategies import STRATEGIES
from vldata.schema.spec import Spec

Kind = Literal["weight", "count", "epochs"]
KINDS: tuple[Kind, ...] = ("weight", "count", "epochs")
EXPLICIT = "explicit"
"""The strategy of a level that has its own numbers."""


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return value


Number = Annotated[float, BeforeValidator(_number, json_schema_input_type=float), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(_number, json_schema_input_type=float), Field(gt=0, allow_inf_nan=False)]


class Strategy(Spec):
    """A mixing rule by name, with its number where it takes one."""

    name: str
    option: float | None = None

    @model_serializer
    def _short_form(self) -> str | dict[str, float]:
        return self.name if self.option is None else {self.name: self.option}


def _strategy(value: Any) -> Any:
    """``sqrt`` or ``{temperature: 2}``."""
    if isinstance(value, Strategy):
        return value
    name, option = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, None)
    if not isinstance(name, str) or name not in (*STRATEGIES, EXPLICIT):
        raise ValueError(f"no strategy {value!r}; {nearest(str(name), [*STRATEGIES, EXPLICIT])}")
    example = STRATEGIES[name].option if name in STRATEGIES else None
    if example is None and option is not None:
        raise ValueError(f"{name!r} takes no number")
    if example is not None and (
        isinstance(option, bool) or not isinstance(option, int | float) or not 0 < option < inf
    ):
        raise ValueError(f"{name!r} needs a positive number: write {{{name}: {example}}}")
    return {"name": name, "option": option}


StrategyField = Annotated[Strategy, BeforeValidator(_strategy, json_schema_input_type=str | dict[str, float])]


def _child(value: Any) -> Any:
    """A bare number is a weight; nothing is a name without a number."""
    if value is None:
        return {}
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value < inf:
            raise ValueError(f"the weight {value!r} is not a number from 0")
        return {"weight": value}
    if not isinstance(value, dict | MixtureEntry):
        raise ValueError(f"{value!r} is neither a weight nor a map with `weight`, `count`, `epochs` or `sources`")
    return value


def _children(value: Any) -> Any:
    """A list of names is a group without numbers."""
    if not isinstance(value, list):
        return value
    if any(not isinstance(name, str) for name in value):
        raise ValueError("a list holds names only; for numbers write `name: weight`")
    if len(set(value)) < len(value):
        raise ValueError(f"{next(name for name in value if value.count(name) > 1)!r} stands twice")
    return {name: {} for name in value}


class MixtureEntry(Spec):
    """A source, or a group of them, on one level of the mixture.

    Args:
        weight: Its share relative to the others of its level; 0 keeps it in the report with nothing taken.
        count: Units to take from it; on the top level only.
        epochs: Passes over it: 0.5 is half of it, 2 is everything twice; on the top level only.
        strategy: How a group shares among members without numbers; ``proportional`` when left out.
        sources: The members, which makes this a group.
    """

    weight: Number | None = None
    count: Annotated[StrictInt, Field(ge=0)] | None = None
    epochs: Number | None = None
    strategy: StrategyField | None = None
    sources: Children | None = None

    @property
    def kinds(self) -> list[Kind]:
        """Which numbers it has; more than one is an error."""
        return [kind for kind in KINDS if getattr(self, kind) is not None]


Children = Annotated[
    dict[str, Annotated[MixtureEntry, BeforeValidator(_child, json_schema_input_type=float | MixtureEntry | None)]],
    BeforeValidator(_children, json_schema_input_type=list[str] | dict[str, float | MixtureEntry | None]),
    Field(min_length=1),
]


class Mixture(Spec):
    """How much of each source the finished dataset holds.

    Args:
        total: Units of the whole; None is the largest total in which no source repeats.
        unit: What is counted.
        max_epochs: Most passes over any source; a source that would need more is an error that names it. None is 1
            for weights and counts, so nothing repeats unasked, and no limit where ``epochs`` are written.
        strategy: How the top level shares when it has no numbers; ``proportional`` when left out.
        sources: Every source once, alone or in a group; None is all of them.
    """

    total: Annotated[StrictInt, Field(ge=1)] | None = None
    unit: Literal["samples", "images", "turns"] = "samples"
    max_epochs: Positive | None = None
    strategy: StrategyField | None = None
    sources: Children | None = None

    def level(self, names: Collection[str]) -> Mapping[str, MixtureEntry]:
        """The top level, with the recipe's sources where the mixture names none."""
        return dict.fromkeys(sorted(names), MixtureEntry()) if self.sources is None else self.sources


class Level(NamedTuple):
    """One level of a mixture and its place in the recipe."""

    where: str
    entries: Mapping[str, MixtureEntry]
    strategy: Strategy | None

    @property
    def kind(self) -> Kind | None:
        """The kind of number on this level; None when there is none and the strategy decides."""
        return next((entry.kinds[0] for entry in self.entries.values() if entry.kinds), None)


def levels(mixture: Mixture, names: Collection[str]) -> Iterator[Level]:
    """Every level from the top, in the order in which they are written; ``names`` are the recipe's sources."""

    def walk(level: Level) -> Iterator[Level]:
        yield level
        for name in level.entries:
            if group := inside(level, name):
                yield from walk(group)

    return walk(Level("mixture", mixture.level(names), mixture.strategy))


def inside(level: Level, name: str) -> Level | None:
    """The level inside a group; None for a source."""
    entry = level.entries[name]
    return None if entry.sources is None else Level(f"{level.where}.sources.{name}", entry.sources, entry.strategy)


def check(mixture: Mixture, names: Collection[str]) -> list[RecipeError]:
    """Everything wrong with a mixture over the recipe's sources, in reading order; empty when it can be used.

    Args:
        mixture: As loaded.
        names: The recipe's sources.
    """
    checked = list(levels(mixture, names))
    problems = [problem for level in checked for problem in _check_level(level, names)]
    return problems + _check_total(mixture, checked[0]) + _check_names(checked, names)


def _check_level(level: Level, names: Collection[str]) -> Iterator[RecipeError]:
    first = next(((name, entry.kinds[0]) for name, entry in level.entries.items() if entry.kinds), None)
    for name, entry in level.entries.items():
        where = f"{level.where}.sources.{name}"
        if len(entry.kinds) > 1:
            both = " and ".join(repr(kind) for kind in entry.kinds)
            yield RecipeError(where, f"{name!r} uses {both} at once", "keep one of them")
        elif first and not entry.kinds:
            fix = f"write `{first[1]}` for it too (0 takes nothing)"
            yield RecipeError(where, f"{name!r} has no number while {first[0]!r} uses {first[1]!r}", fix)
        elif first and entry.kinds[0] != first[1]:
            problem = f"{name!r} uses {entry.kinds[0]!r} while {first[0]!r} uses {first[1]!r}"
            yield RecipeError(f"{where}.{entry.kinds[0]}", problem, "use one or the other throughout")
        elif entry.kinds and entry.kinds[0] != "weight" and level.where != "mixture":
            problem = f"{entry.kinds[0]!r} stands inside a group, whose amount is decided above it"
            yield RecipeError(
                f"{where}.{entry.kinds[0]}", problem, "use weights there, or move the source to the top level"
            )
        if entry.sources is not None and name in names:
            yield RecipeError(where, f"the group {name!r} has the name of a source", "give the group another name")
        if entry.sources is None and entry.strategy is not None:
            yield RecipeError(f"{where}.strategy", f"{name!r} is no group", "a strategy needs `sources` beside it")
    if first and all(not _positive(entry) for entry in level.entries.values()):
        yield RecipeError(f"{level.where}.sources", f"every {first[1]} is 0", "give at least one a positive number")
    explicit = level.strategy is not None and level.strategy.name == EXPLICIT
    if explicit and not first:
        yield RecipeError(f"{level.where}.strategy", "'explicit' without any number", "give every member a weight")
    elif first and level.strategy is not None and not explicit:
        problem = f"strategy {level.strategy.name!r} and {first[0]!r}'s own {first[1]} at once"
        yield RecipeError(f"{level.where}.strategy", problem, "remove the strategy or the numbers")


def _check_total(mixture: Mixture, top: Level) -> list[RecipeError]:
    if mixture.total is None or top.kind in (None, "weight"):
        return []
    if top.kind == "epochs":
        problem = f"total {mixture.total:,} while the sources say how many epochs they give"
        return [RecipeError("mixture.total", problem, "remove `total`, or use weights")]
    counts = sum(entry.count or 0 for entry in top.entries.values())
    if counts == mixture.total:
        return []
    problem = f"total {mixture.total:,} while the counts sum to {counts:,}"
    return [RecipeError("mixture.total", problem, f"write {counts}, or leave it out")]


def _check_names(checked: list[Level], names: Collection[str]) -> list[RecipeError]:
    problems: list[RecipeError] = []
    seen: dict[str, str] = {}
    for level in checked:
        for name, entry in level.entries.items():
            where = f"{level.where}.sources.{name}"
            if entry.sources is not None:
                continue
            if name not in names:
                problems.append(RecipeError(where, f"the recipe has no source {name!r}", nearest(name, names)))
            elif name in seen:
                problems.append(RecipeError(where, f"{name!r} also stands in {seen[name]}", "keep one of them"))
            else:
                seen[name] = where
    for name in sorted(set(names) - set(seen)):
        fix = f"add `{name}: 0` to leave it out on purpose"
        problems.append(RecipeError("mixture.sources", f"the source {name!r} is in no group and has no weight", fix))
    return problems


def _positive(entry: MixtureEntry) -> bool:
    return any((getattr(entry, kind) or 0) > 0 for kind in entry.kinds)
