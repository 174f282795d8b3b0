"""What variants share: plans and builds of all of them in one store, and how many blocks each adds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from vldata.ablation.changes import Tree
from vldata.ablation.load import Opened
from vldata.ablation.variants import BASE, Variant, facts_of, needs_amounts, variants
from vldata.base import Progress
from vldata.errors import BuildError, VldataError, nearest
from vldata.generate.for_builds import AnsweredSources
from vldata.pipeline.build import build, prepared
from vldata.pipeline.plan import plan
from vldata.pipeline.plan_record import Plan, SourceReport
from vldata.pipeline.session import Session, open_session
from vldata.recipe.load import from_tree
from vldata.recipe.models import Recipe
from vldata.store.keys import key_of
from vldata.store.names import KeySubject
from vldata.store.trouble import as_store_errors

Blocks = Sequence[tuple[str, int]]
"""Key and bytes of every block, as often as it stands in a build, in order."""


class Sharing(NamedTuple):
    """What one build adds to those before it; blocks are distinct ones."""

    new_blocks: int
    shared_blocks: int
    new_bytes: int
    shared_bytes: int


@dataclass(frozen=True)
class Planned:
    """A variant before it is built.

    Args:
        plan: None when it cannot be planned.
        error: Why; empty when it can.
    """

    variant: Variant
    plan: Plan | None

    error: str = ""

    @property
    def blocks(self) -> Blocks:
        """Its blocks; none where it cannot be planned."""
        return [(block.key, block.size_bytes) for block in self.plan.blocks] if self.plan else []


@dataclass(frozen=True)
class VariantBuild:
    """A variant's build on the disk.

    Args:
        seconds: What it took when it was first built.
    """

    folder: Path
    manifest: Mapping[str, Any]
    seconds: float

    @property
    def blocks(self) -> Blocks:
        """Key and bytes of every block."""
        return [(block["key"], block["size_bytes"]) for block in self.manifest["blocks"]]

    def fingerprint(self, split: str) -> str:
        """Hash of the split's rows in their order."""
        digests = [block["digest"] for block in self.manifest["blocks"] if block["split"] == split]
        return key_of(KeySubject.SPLIT, digests)


def sharing(builds: Mapping[str, Blocks]) -> dict[str, Sharing]:
    """What each build adds to those that are listed before it."""
    seen: set[str] = set()
    shared = {}
    for name, blocks in builds.items():
        sizes = dict(blocks)
        new = [key for key in sizes if key not in seen]
        new_bytes = sum(sizes[key] for key in new)
        shared[name] = Sharing(len(new), len(sizes) - len(new), new_bytes, sum(sizes.values()) - new_bytes)
        seen |= sizes.keys()
    return shared


def amounts(sources: Mapping[str, SourceReport], unit: str) -> dict[str, int]:
    """Units of every source in a build, as the mixture requested them.

    Of a source that gave less than its share (`short`) as much is requested again, so that the same rows are chosen.
    """
    return {name: report.achieved[unit] + report.short for name, report in sources.items()}


def with_amounts(opened: Opened, tree: Tree, base: Recipe, reports: Mapping[str, SourceReport]) -> list[Variant]:
    """The variants of one data seed, written out with what the base's plan says."""
    epochs = max((report.epochs for report in reports.values()), default=1.0)
    facts = facts_of(base, amounts(reports, base.mixture.unit), epochs)
    return variants(opened.ablation, tree, base, facts, opened.held_out)


def variants_session(
    store: Path | None, workers: int | None, progress: Progress | None
) -> AbstractContextManager[Session]:
    """A session for all variants; see `vldata.pipeline.session.open_session`."""
    return open_session(store, workers, progress, synthetic=AnsweredSources(), is_shared=True)


def plan_all(
    opened: Opened,
    *,
    store: Path | None = None,
    workers: int | None = None,
    chosen: Iterable[str] = (),
    progress: Progress | None = None,
) -> list[Planned]:
    """Plan every variant; those that turn out to hold the same rows in the same words are marked as the same.

    Raises:
        VldataError: The base cannot be planned, or the ablation makes no sense.
    """
    with variants_session(store, workers, progress) as session:

        def planned(recipe: Recipe) -> Plan:
            return plan(prepared(recipe, session), session)

        first = planned(opened.base).sources if needs_amounts(opened.ablation, facts_of(opened.base)) else {}
        plans: list[Planned] = []
        advance = session.progress.stage("plan variants", None)
        for variant in picked(with_amounts(opened, opened.tree, opened.base, first), chosen):
            if variant.same_as is not None:
                plans.append(Planned(variant, None))
                continue
            try:
                own = planned(variant.recipe)
            except VldataError as error:
                if variant.name == BASE:
                    raise
                plans.append(Planned(variant, None, error=str(error)))
                continue
            plans.append(Planned(_with_same_as(variant, own, plans), own))
            advance(1)
    return plans


def picked(all_of_them: Sequence[Variant], chosen: Iterable[str]) -> list[Variant]:
    """The base and the variants of these names; all where none is named.

    Raises:
        BuildError: There is no such variant.
    """
    names = set(chosen)
    every = {variant.name for variant in all_of_them}
    if unknown := sorted(names - every):
        raise BuildError("--variant", f"no variant named {unknown[0]!r}", nearest(unknown[0], every))
    kept = [variant for variant in all_of_them if not names or variant.name in names | {BASE}]
    left = {variant.name for variant in kept}
    return [replace(v, same_as=None) if v.same_as not in left else v for v in kept]


def _with_same_as(variant: Variant, plan: Plan, before: Iterable[Planned]) -> Variant:
    keys = [block.key for block in plan.blocks]
    for other in before:
        if other.plan is not None and keys == [block.key for block in other.plan.blocks]:
            return replace(variant, same_as=other.variant.name)
    return variant


class Builder:
    """Builds variants below a folder, and remembers what each took when it was first built."""

    def __init__(self, out: Path, session: Session) -> None:
        self.out, self.session = out, session
        self._file = out / "seconds.json"

    def build(self, recipe: Recipe, name: str) -> tuple[VariantBuild, Mapping[str, SourceReport]]:
        """Build a recipe into ``<out>/<name>``, or find it there.

        Raises:
            VldataError: As `vldata.pipeline.build.build`.
        """
        began = time.perf_counter()
        built = build(recipe, self.out / name, self.session)
        took = self._seconds(f"{name} {built.plan.key}", time.perf_counter() - began)
        return VariantBuild(built.out, built.manifest, took), built.plan.sources

    def _seconds(self, name: str, seconds: float) -> float:
        first: dict[str, float] = json.loads(self._file.read_text()) if self._file.is_file() else {}
        if name not in first:
            first[name] = round(seconds, 3)
            write_text(self._file, json.dumps(first, indent=1))
        return first[name]


def write_text(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        StoreError: It cannot be written.
    """
    with as_store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)


def of_seed(opened: Opened, seed: int, exclude: Path | None = None) -> tuple[Tree, Recipe]:
    """The base with another data seed; ``exclude`` lists what it must not train on."""
    tree = {**opened.tree, "seed": seed, **({"exclude": str(exclude)} if exclude else {})}
    return tree, from_tree(tree)
