"""Axes -> named variants, each a whole recipe; those that are the same recipe are marked as the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from vldata.ablation.changes import BaseFacts, Tree, changed, drops_sources, flat, of_words
from vldata.ablation.file import Ablation, Axes
from vldata.errors import RecipeError, RecipeErrors, VldataError
from vldata.recipe.load import from_tree
from vldata.recipe.models import Recipe, Settings
from vldata.store.keys import key_of
from vldata.store.names import KeySubject

BASE = "base"
"""The name of the variant that changes nothing."""

NAME_BYTES = 200
"""The longest name of a variant: a folder's may have 255, and a data seed is put behind it."""


@dataclass(frozen=True)
class Variant:
    """One recipe of an ablation.

    Args:
        changes: Key to value, as the axes name them; the base has none.
        key: Hash of all that the recipe says once defaults are filled in; the order of keys does not count.
        same_as: An earlier variant with the same recipe, which is built and trained in its place.
        words: The recipe of the questions in this variant's words; None where they are its own already.
    """

    name: str
    changes: Mapping[str, Any]
    recipe: Recipe = field(repr=False)
    key: str
    same_as: str | None = None
    words: Recipe | None = field(default=None, repr=False)


class Point(NamedTuple):
    """One value on one axis."""

    key: str
    value: Any
    label: str


def recipe_key(recipe: Recipe) -> str:
    """Hash of what a recipe says, its name and description apart."""
    return key_of(
        {
            "head": recipe.head.model_dump(mode="json", exclude={"name", "about"}),
            "mixture": recipe.mixture.model_dump(mode="json"),
            "sources": {
                name: {
                    "source": [entry.source.format, entry.source.model_dump(mode="json")],
                    "task": entry.task.identity(),
                    "settings": entry.settings.model_dump(mode="json", exclude=_unspoken(entry.settings)),
                    "synth": entry.synth.model_dump(mode="json") if entry.synth else None,
                }
                for name, entry in recipe.entries.items()
            },
        }
    )


def _unspoken(settings: Settings) -> set[str]:
    """What changes nothing of a dataset's rows."""
    return {"licence"} | ({"language"} if settings.language is None else set())


def points(axes: Axes, facts: BaseFacts) -> list[list[Point]]:
    """Every axis with its values."""
    every: list[list[Point]] = []
    for key in ("drop", "only"):
        names: Any = getattr(axes, key)
        if names == "sources":
            names = list(facts.tasks)
        elif names == "tasks":
            names = list(dict.fromkeys(facts.tasks.values()))
        every.append([Point(key, one if isinstance(one, list) else [one], f"{key}-{_slug(one)}") for one in names])
    single: dict[str, Sequence[Any]] = {
        "strategy": axes.strategy,
        "total": axes.total,
        "box_format": axes.box_format,
        "synth": axes.synth,
    }
    many: dict[str, Sequence[Any]] = {}
    for section in ("weights", "templates", "conversation", "images"):
        many |= {f"{section}.{key}": values for key, values in getattr(axes, section).items()}
    for key, values in {**single, **many, **axes.set}.items():
        every.append([Point(key, value, f"{_short(key)}-{_slug(value)}") for value in values])
    return [axis for axis in every if axis]


def named(ablation: Ablation, facts: BaseFacts) -> dict[str, dict[str, Any]]:
    """Name to changes of every variant but the base, in order.

    Raises:
        RecipeErrors: Two would have the same name, or the design does not fit.
    """
    axes = points(ablation.axes, facts)
    problems: list[VldataError] = []
    if ablation.design == "list" and axes:
        problems.append(RecipeError("design", "`list` with axes", "remove the axes, or take another design"))
    if not axes and not ablation.variants:
        problems.append(RecipeError("axes", "nothing is varied", "for example axes: {drop: sources}"))
    chosen: list[tuple[Point, ...]] = []
    if ablation.design == "grid" and axes:
        chosen = list(product(*axes))
    elif ablation.design == "one_at_a_time":
        chosen = [(point,) for axis in axes for point in axis]
    by_name: dict[str, dict[str, Any]] = {}
    for axis in axes:
        problems += _twice(axis)
    for several in [] if problems else chosen:
        name = next(name for name in _names(several) if name not in by_name and name != BASE)
        by_name[name] = {point.key: point.value for point in several}
    for name, changes in ablation.variants.items():
        if len(name.encode()) > NAME_BYTES:
            problem = f"the name has {len(name.encode())} bytes; a folder is named so, and {NAME_BYTES} are the most"
            problems.append(RecipeError(f"variants.{name[:40]}…", problem, "choose a shorter one"))
        if name in by_name or name == BASE:
            problems.append(RecipeError(f"variants.{name}", "the name is taken", "choose another one"))
        by_name[name] = flat(changes)
    if problems:
        raise RecipeErrors(problems)
    return by_name


def _twice(axis: Sequence[Point]) -> list[RecipeError]:
    """What stands twice in an axis."""
    values = [repr(point.value) for point in axis]
    again = {value: point for value, point in zip(values, axis, strict=True) if values.count(value) > 1}
    return [
        RecipeError("axes", f"{', '.join(_words(point.value))} stands twice in {point.key}", "write it once")
        for point in again.values()
    ]


def _names(several: Sequence[Point]) -> Iterator[str]:
    """Names of a variant, the shortest first; the last one is its own whatever the others are called."""
    long = "+".join(f"{_slug(point.key)}-{_slug(point.value)}" for point in several)
    yield _fitting("+".join(point.label for point in several))
    yield _fitting(long)
    yield _fitting(f"{long}-{_digest([(point.key, point.value) for point in several])}")


def _fitting(name: str) -> str:
    """The name, or its beginning and a hash of all of it where a folder could not be named so."""
    if len(name.encode()) <= NAME_BYTES:
        return name
    digest = _digest(name)
    return f"{name.encode()[: NAME_BYTES - len(digest) - 1].decode(errors='ignore')}-{digest}"


def _digest(value: Any) -> str:
    return key_of(KeySubject.VARIANT, repr(value))[:8]  # of plain values; folders of variants have it in their names


def facts_of(recipe: Recipe, amounts: Mapping[str, int] | None = None, epochs: float = 1.0) -> BaseFacts:
    """What changes need to know of the base."""
    return BaseFacts(
        tasks={name: entry.task.name for name, entry in recipe.entries.items()},
        synthetic={name: entry.synth.from_ for name, entry in recipe.entries.items() if entry.synth is not None},
        amounts=amounts or {},
        epochs=epochs,
    )


def needs_amounts(ablation: Ablation, facts: BaseFacts) -> bool:
    """Whether any variant can only be written out when the base's counts are known."""
    return any(drops_sources(changes) or "strategy" in changes for changes in named(ablation, facts).values())


def variants(
    ablation: Ablation, tree: Tree, base: Recipe, facts: BaseFacts, questions: Tree | None = None
) -> list[Variant]:
    """The base and every variant, written out.

    Args:
        tree: The base as merged plain data.
        facts: Of the base, with its amounts where `needs_amounts`.
        questions: The recipe of the questions where it is not the base.

    Raises:
        RecipeErrors: Everything wrong with any of them, said by variant.
    """
    written = [Variant(BASE, {}, base, recipe_key(base))]
    key_of_questions = written[0].key if questions is None else recipe_key(from_tree(questions))
    problems: list[VldataError] = []
    for name, changes in named(ablation, facts).items():
        where = f"variant {name}"
        try:
            recipe = _loaded(changed(tree, changes, facts, ablation.held, where), where)
            _refuse_leaks(ablation, base, recipe, where)
            words = of_words(changes)
            base_of_questions = tree if questions is None else questions
            own = _loaded(changed(base_of_questions, words, facts, ablation.held, where), where) if words else None
        except RecipeErrors as errors:
            problems += errors.errors
            continue
        except RecipeError as error:
            problems.append(error)
            continue
        key = recipe_key(recipe)
        same_as = next((other.name for other in written if other.key == key), None)
        if own is not None and recipe_key(own) == key_of_questions:
            own = None
        written.append(Variant(name, changes, recipe, key, same_as, own))
    if problems:
        raise RecipeErrors(list({str(problem): problem for problem in problems}.values()))
    return written


def notes_of(ablation: Ablation, variants: Sequence[Variant]) -> list[str]:
    """What a reader should know about the variants before they cost anything."""
    others = [variant.name for variant in variants if variant.words is not None and variant.same_as is None]
    if not others or ablation.evaluate.words == "own":
        return []
    return [
        f"scored on questions in other words than they learn, unless `evaluate: {{words: own}}`: {', '.join(others)}"
    ]


def _loaded(tree: Tree, where: str) -> Recipe:
    try:
        return from_tree(tree)
    except RecipeErrors as errors:
        of_variant = [RecipeError(f"{where}: {error.where}", error.problem, error.fix) for error in errors.errors]
        raise RecipeErrors(of_variant) from None


def _refuse_leaks(ablation: Ablation, base: Recipe, recipe: Recipe, where: str) -> None:
    """What is held out is decided by the seed and the splits: a variant with others would train on the questions."""
    if ablation.evaluate.recipe is not None:
        return
    for key, fix in (("seed", "use `data_seeds`"), ("splits", "change the base's")):
        if getattr(recipe.head, key) != getattr(base.head, key):
            problem = "another split: this variant would be trained on questions of the others"
            raise RecipeError(f"{where}.{key}", problem, f"{fix}, or name questions of their own in evaluate.recipe")


def _short(key: str) -> str:
    parts = key.split(".")
    return _slug(f"weight-{parts[1]}" if parts[0] == "weights" else parts[-1])


def _slug(value: Any) -> str:
    """A value as part of a folder's name: letters and digits of any script, and a hash where others were lost."""
    said = unicodedata.normalize("NFC", "-".join(_words(value)))
    text = re.sub(r"[^\w.]+", "-", said).strip("-.")[:60]
    if not re.sub(r"[\w.]+", "", said).isascii():
        text = f"{text}-{_digest(said)}".lstrip("-")
    return text or "none"


def _words(value: Any) -> Iterator[str]:
    if value is None:
        yield "none"
    elif isinstance(value, bool):
        yield "on" if value else "off"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _words(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _words(inner)
    else:
        yield f"{value:g}" if isinstance(value, float) else str(value)
