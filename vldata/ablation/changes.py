"""Changes of a recipe, each a pure function of plain data: what the axes of an ablation mean, written out.

A change is a key and a value. The keys are those of the axes (``drop``, ``weights.captions``, ``templates.flip`` …),
and every other key is a path of the recipe, as ``--set`` has it. Whatever the order in which they are given, they are
made in one order: paths, sections, box format, then what stays in the mixture, then its numbers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from vldata.errors import RecipeError, nearest
from vldata.mixture.models import KINDS, Mixture
from vldata.recipe.merge import merged
from vldata.recipe.models import Head, Settings

Tree = dict[str, Any]
Held = Literal["counts", "total"]

SECTIONS = ("templates", "conversation", "images")
"""Sections of ``defaults`` that an axis sets for all sources at once."""

_AMOUNTS = ("weights", "strategy", "total")
_CHOICES = ("drop", "only", "synth")
_OWN = (*SECTIONS, "box_format", *_CHOICES, *_AMOUNTS)
_PATHS = (*Head.model_fields, "defaults", "sources", "mixture")
_WORDS = re.compile(
    r"((defaults|sources\.[^.]+)\.)?"
    r"(language|templates\.(per|prompts|response_format|path|language)|box_format|reference|task_options(\..+)?|conversation\.image_position)"
)


@dataclass(frozen=True)
class BaseFacts:
    """What changes need to know of the base.

    Args:
        synthetic: Sources that a model wrote, with those that they are made from.
        amounts: Source to its units in the base's build; empty where no change needs them.
        epochs: The most passes over any source there.
    """

    tasks: Mapping[str, str]
    synthetic: Mapping[str, Sequence[str]]
    amounts: Mapping[str, int]
    epochs: float = 1.0


def flat(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with one key each: ``templates: {per: task}`` is ``templates.per: task``."""
    single: dict[str, Any] = {}
    for key, value in changes.items():
        if key in (*SECTIONS, "weights") and isinstance(value, dict):
            single |= {f"{key}.{part}": inner for part, inner in value.items()}
        else:
            single[key] = value
    return single


def drops_sources(changes: Mapping[str, Any]) -> bool:
    """Whether sources are left out, so that it must be said what the others do."""
    return any(changes.get(key) is not None and changes.get(key) is not True for key in _CHOICES)


def of_words(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the changes that say the same turns in other words."""
    return {key: value for key, value in _leaves(changes) if _WORDS.fullmatch(key)}


def _leaves(changes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Maps that a path sets, with one path a value."""
    leaves = []
    for key, value in changes.items():
        is_map = isinstance(value, dict) and key.split(".")[0] in ("defaults", "sources") and value
        leaves += _leaves({f"{key}.{part}": inner for part, inner in value.items()}) if is_map else [(key, value)]
    return leaves


def changed(tree: Tree, changes: Mapping[str, Any], facts: BaseFacts, held: Held | None, where: str) -> Tree:
    """The base's tree with the changes made.

    Args:
        tree: Merged plain data of the base recipe; it stays as it is.
        changes: As from `flat`.
        facts: Of the base; its amounts are needed where sources are left out.
        held: What stays as it is then.

    Raises:
        RecipeError: A change that means nothing in this recipe.
    """
    tree = deepcopy(tree)
    of_axes = {key: value for key, value in changes.items() if key.split(".")[0] in _OWN}
    for key, value in changes.items():
        if key not in of_axes:
            tree = _path(tree, key, value, where)
    for key, value in of_axes.items():
        if key.split(".")[0] in SECTIONS or key == "box_format":
            _for_all(tree, key.split("."), value, f"{where}.{key}")
    gone = _gone(of_axes, facts, where)
    amounts = {key: value for key, value in of_axes.items() if key.split(".")[0] in _AMOUNTS and value is not None}
    if gone:
        level = (tree.get("mixture") or {}).get("sources")
        amounts = {key: value for key, value in amounts.items() if not _weighs_nothing(level, key, gone)}
        if held is None:
            problem = "sources are left out, and it is not said what the others do then"
            raise RecipeError(
                "held", problem, "write `held: counts` (they stay as they are) or `held: total` (they grow)"
            )
        if held == "counts" and amounts:
            problem = "`held: counts` keeps every count as it is in the base"
            raise RecipeError(f"{where}.{next(iter(amounts))}", problem, "write `held: total`")
        _without(tree, gone, facts, held, where)
    for key in sorted(amounts, key=lambda key: _AMOUNTS.index(key.split(".")[0])):
        _AMOUNT[key.split(".")[0]](tree, key, amounts[key], facts, f"{where}.{key}")
    return tree


def _path(tree: Tree, key: str, value: Any, where: str) -> Tree:
    parts = key.split(".")
    if not all(parts):
        raise RecipeError(f"{where}.{key}", "not a path of the form key.path", "for example mixture.total")
    if parts[0] not in _PATHS:
        raise RecipeError(f"{where}.{key}", "unknown key", _meant(parts[0]))
    if value is None:
        _check_removable(tree, parts, f"{where}.{key}")
    for part in reversed(parts):
        value = {part: value}
    result: Tree = merged(tree, value)
    return result


def _meant(key: str) -> str:
    """A fix for an unknown key: an axis's, a recipe's, or one that stands in a section."""
    whole = {name: name for name in (*_OWN, *_PATHS)}
    inside = {name: f"{section}.{name}" for section in SECTIONS for name in _keys_of(section)}
    deeper = {name: f"mixture.{name}" for name in Mixture.model_fields}
    deeper |= {name: f"defaults.{name}" for name in Settings.model_fields}
    paths = {**deeper, **inside, **whole}
    close = difflib.get_close_matches(key, paths, n=1, cutoff=0.6)
    return f"did you mean {paths[close[0]]!r}?" if close else nearest(key, whole)


def _keys_of(section: str) -> Collection[str]:
    return list(type(getattr(Settings(), section)).model_fields)


def _check_removable(tree: Any, parts: Sequence[str], where: str) -> None:
    """Null removes; of a key that is not there it would hide a misspelt name."""
    for number, part in enumerate(parts):
        if not isinstance(tree, dict) or part not in tree:
            problem = f"the base has no {'.'.join(parts[: number + 1])!r} to remove"
            raise RecipeError(where, problem, nearest(part, tree if isinstance(tree, dict) else ()))
        tree = tree[part]


def _for_all(tree: Tree, parts: Sequence[str], value: Any, where: str) -> None:
    """Set a key of ``defaults``, and let no source say otherwise; null is the default of vldata."""
    if len(parts) != (2 if parts[0] in SECTIONS else 1):
        raise RecipeError(where, "not a key of that section", f"write {parts[0]}: {{key: value}}")
    sections = [tree.setdefault("defaults", {}), *tree.get("sources", {}).values()]
    for section in sections:
        inner = section.get(parts[0]) if len(parts) == 2 and isinstance(section, dict) else section
        if isinstance(inner, dict):
            inner.pop(parts[-1], None)
    if value is not None:
        target = sections[0]
        for part in parts[:-1]:
            target = target.setdefault(part, {})
        target[parts[-1]] = deepcopy(value)


def names_of(requested: Any, facts: BaseFacts, where: str) -> list[str]:
    """Sources by name, or by their task where no source has that name.

    Raises:
        RecipeError: There is no such source or task.
    """
    names: list[str] = []
    for name in requested if isinstance(requested, list) else [requested]:
        own = [name] if name in facts.tasks else [source for source, task in facts.tasks.items() if task == name]
        if not own:
            every = {*facts.tasks, *facts.tasks.values()}
            raise RecipeError(where, f"no source and no task named {name!r}", nearest(str(name), every))
        names += own
    return list(dict.fromkeys(names))


def _gone(changes: Mapping[str, Any], facts: BaseFacts, where: str) -> set[str]:
    gone: set[str] = set()
    if changes.get("drop") is not None:
        gone |= set(names_of(changes["drop"], facts, f"{where}.drop"))
    if changes.get("only") is not None:
        gone |= set(facts.tasks) - set(names_of(changes["only"], facts, f"{where}.only"))
    if changes.get("synth") is False:
        gone |= set(facts.synthetic)
    if gone and gone >= set(facts.tasks):
        raise RecipeError(where, "no source is left", "leave fewer out")
    return gone


def _without(tree: Tree, gone: set[str], facts: BaseFacts, held: Held, where: str) -> None:
    """Leave sources out; those that a kept synthetic one is made from stay, with nothing taken from them."""
    needed = {name for chat, inputs in facts.synthetic.items() if chat not in gone for name in inputs}
    for name in gone - needed:
        tree["sources"].pop(name, None)
    rules = []
    for rule in tree.get("dedup_across", []):
        left = [name for name in rule["sources"] if name not in gone - needed]
        if len(left) > 1:
            rules.append({**rule, "sources": left})
    if "dedup_across" in tree:
        tree["dedup_across"] = rules
    mixture = dict(tree.get("mixture") or {})
    kept = [name for name in tree["sources"] if name not in gone]
    if held == "counts":
        counts = {name: facts.amounts[name] for name in kept} | dict.fromkeys(sorted(gone & needed), 0)
        tree["mixture"] = _counted(mixture, counts, facts)
        return
    top = mixture.get("sources")
    if _kind(top) in ("count", "epochs"):
        counts = {name: facts.amounts[name] for name in kept} | dict.fromkeys(sorted(gone & needed), 0)
        mixture["sources"] = {name: {"weight": count} for name, count in counts.items()}
    elif top is not None:
        mixture["sources"] = _level_without(top, gone - needed, gone & needed)
    elif gone & needed:
        source = sorted(gone & needed)[0]
        problem = f"{source!r} is what a synthetic source is made from, and the mixture has no weights"
        raise RecipeError(where, problem, "leave the synthetic source out too, or give the mixture weights")
    mixture.setdefault("total", sum(facts.amounts.values()))
    tree["mixture"] = mixture


def _counted(mixture: Tree, counts: Mapping[str, int], facts: BaseFacts) -> Tree:
    kept: Tree = {key: mixture[key] for key in ("unit", "max_epochs") if key in mixture}
    if facts.epochs > 1 and "max_epochs" not in kept:  # the base says its passes, which have no limit of their own
        kept["max_epochs"] = facts.epochs
    return {**kept, "sources": {name: {"count": count} for name, count in counts.items()}}


def _kind(level: Any) -> str | None:
    """Which numbers the top level of a mixture has."""
    if not isinstance(level, dict):
        return None
    for entry in level.values():
        if isinstance(entry, int | float):
            return "weight"
        if isinstance(entry, dict):
            return next((kind for kind in KINDS if kind in entry), None)
    return None


def _level_without(level: Any, gone: Collection[str], silent: Collection[str]) -> Any:
    """A level of the mixture without some sources, and with weight 0 for others; a group without members goes too."""
    if isinstance(level, list):
        return [name for name in level if name not in gone]
    kept = {}
    for name, entry in level.items():
        if name in gone:
            continue
        if isinstance(entry, dict) and entry.get("sources") is not None:
            inner = _level_without(entry["sources"], gone, silent)
            if inner:
                kept[name] = {**entry, "sources": inner}
        else:
            kept[name] = {"weight": 0} if name in silent else entry
    return kept


def _weighs_nothing(level: Any, key: str, gone: Collection[str]) -> bool:
    """Whether it is a weight of what is left out: of a source, or of a group whose sources all are."""
    section, _, name = key.partition(".")
    place = _place(level, name) if section == "weights" else None
    return place is not None and _members({name: place[name]}) <= set(gone)


def _members(level: Any) -> set[str]:
    """The sources of a level of the mixture."""
    if not isinstance(level, dict):
        return set(level)
    inside = {name: entry.get("sources") for name, entry in level.items() if isinstance(entry, dict)}
    return {one for name in level for one in (_members(inside[name]) if inside.get(name) is not None else {name})}


def _weight(tree: Tree, key: str, value: Any, facts: BaseFacts, where: str) -> None:
    name = key.partition(".")[2]
    level = (tree.get("mixture") or {}).get("sources")
    place = _place(level, name)
    if place is None or _kind({name: place[name]}) != "weight":
        weighed = _weighed(level)
        fix = "write the base's mixture with weights: mixture: {sources: {name: weight}}"
        raise RecipeError(
            where, f"the base's mixture gives {name!r} no weight", nearest(name, weighed) if weighed else fix
        )
    entry = place[name]
    place[name] = {**entry, "weight": value} if isinstance(entry, dict) else value


def _weighed(level: Any) -> list[str]:
    """Sources and groups with a weight."""
    if not isinstance(level, dict):
        return []
    own = [name for name, entry in level.items() if _kind({name: entry}) == "weight"]
    return own + [
        name for entry in level.values() if isinstance(entry, dict) for name in _weighed(entry.get("sources"))
    ]


def _place(level: Any, name: str) -> Tree | None:
    """The level of the mixture in which a source or a group stands."""
    if not isinstance(level, dict):
        return None
    if name in level:
        return level
    inside = [entry.get("sources") for entry in level.values() if isinstance(entry, dict)]
    return next((place for inner in inside if (place := _place(inner, name)) is not None), None)


def _strategy(tree: Tree, _key: str, value: Any, facts: BaseFacts, _where: str) -> None:
    """A rule in place of all numbers and groups; the total stays what it was."""
    mixture = tree.get("mixture") or {}
    kept = {key: mixture[key] for key in ("unit", "max_epochs", "total") if key in mixture}
    kept.setdefault("total", sum(facts.amounts.values()))
    tree["mixture"] = {**kept, "strategy": value}


def _total(tree: Tree, _key: str, value: Any, _facts: BaseFacts, where: str) -> None:
    mixture = tree.setdefault("mixture", {})
    if _kind(mixture.get("sources")) in ("count", "epochs"):
        problem = "the base's mixture says counts or epochs, so its total is their sum"
        raise RecipeError(where, problem, "write the base's mixture with weights")
    mixture["total"] = value


_AMOUNT: dict[str, Callable[[Tree, str, Any, BaseFacts, str], None]] = {
    "weights": _weight,
    "strategy": _strategy,
    "total": _total,
}
