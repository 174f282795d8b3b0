"""``--standin N``: the same recipe over small stand-ins of its sources, to try it before anything is downloaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from vldata.base import Progress
from vldata.curate.where import names_of
from vldata.errors import BuildError, RecipeError, SourceError
from vldata.mixture.models import Mixture
from vldata.pipeline.plan_record import SourceReport
from vldata.recipe.models import Entry, Recipe, Settings
from vldata.sources import source_class
from vldata.sources.base import Source
from vldata.store.keys import key_of
from vldata.store.lock import exclusive
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store
from vldata.store.trouble import as_store_errors

STANDIN_VERSION = 1

_SYNTH_STANDINS = {
    "instruction": "llava",
    "text_instruction": "alpaca",
    "caption": "coco_captions",
    "vqa_open": "vqav2",
    "rec": "refcoco",
}


def with_standins(recipe: Recipe, store: Store, *, rows: int, progress: Progress) -> Recipe:
    """The recipe with every source replaced by a stand-in of at least ``rows`` turns, true in its labels.

    The shares of the mixture stay; its total becomes the largest that the stand-ins give without repeats, and counts
    become weights.
    """
    advance = progress.stage("write stand-ins", len(recipe.entries))
    entries = {}
    synthetic = [entry.synth for entry in recipe.entries.values() if entry.synth is not None]
    joined = {name: synth.from_[0] for synth in synthetic for name in synth.from_}
    numbers = {name: number for number, name in enumerate(sorted(recipe.entries))}
    for name, entry in sorted(recipe.entries.items()):
        number = numbers.get(joined.get(name, name), 0)  # what one synthetic source puts together shows the same scenes
        entries[name] = entry
        if entry.synth is None:
            entries[name] = _standin(entry, entry.source, store, rows=rows, seed=recipe.head.seed + number)
        advance(1)
    entries = {name: entries[name] for name in recipe.entries}
    return replace(recipe, entries=entries, mixture=_without_amounts(recipe.raw.get("mixture", {})))


def refuse_empty(reports: Mapping[str, SourceReport]) -> None:
    """A source without a sample of its stand-in would not be tried at all.

    Raises:
        BuildError: One gives none although nothing but its own rows decides so, and why.
    """
    for name, report in reports.items():
        if report.filtered + report.rejected == report.rows_in:
            why = ", ".join(f"{reason} {count:,}" for reason, count in report.reasons.items()) or "it has no rows"
            problem = f"the stand-in gives no sample: all of its {report.rows_in:,} turns are gone ({why})"
            raise BuildError(f"sources.{name}", problem, "fix what takes them away, such as `where` or `filters`")


def _without_amounts(section: dict[str, Any]) -> Mixture:
    tree = deepcopy(section)
    tree.pop("total", None)
    sources = tree.get("sources")
    for entry in sources.values() if isinstance(sources, dict) else ():
        if isinstance(entry, dict) and "count" in entry:
            entry["weight"] = entry.pop("count")
    return Mixture.model_validate(tree)


def in_place_of_synth(entry: Entry, store: Store, *, rows: int, seed: int, scores: Sequence[str] = ()) -> Entry:
    """A stand-in for what a model has not written yet: a corpus of a format with turns of the same task.

    Args:
        scores: Columns that it lacks, so that ``where`` cannot look at them.
    """
    plain = source_class(_SYNTH_STANDINS[entry.task.name])(path=".", keep=list(scores))
    return _standin(entry, plain, store, rows=rows, seed=seed)


def _standin(entry: Entry, source: Source, store: Store, *, rows: int, seed: int) -> Entry:
    options = source.standin_key()
    key = key_of(
        {
            "what": KeySubject.STANDIN,
            "version": [STANDIN_VERSION, source.version],
            "format": source.format,
            "task": entry.task.name,
            "rows": rows,
            "seed": seed,
            **({} if options is None else {"options": options}),
        }
    )
    folder = store.root / Folder.STANDINS / key
    note = folder.with_suffix(".json")
    with exclusive(store.root / Folder.LOCKS / f"standin-{key}"):
        if not note.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                keys = source.standin_for(folder, rows=rows, seed=seed, task=entry.task.name)
            except SourceError as error:
                raise type(error)(f"{entry.where}.{error.where}", error.problem, error.fix) from None
            note.write_text(json.dumps(keys))
    keys = json.loads(note.read_text())
    return replace(entry, source=source.model_validate(keys), settings=_without_native(entry, source))


def _without_native(entry: Entry, source: Source) -> Settings:
    """Settings that do not look at native columns, which a stand-in does not have."""
    looks = entry.settings.where is not None and names_of(entry.settings.where, source.keep)
    return entry.settings.model_copy(update={"where": None}) if looks else entry.settings


def with_images(recipe: Recipe, store: Store, *, progress: Progress, drawn_before: set[tuple[str, str]]) -> Recipe:
    """The recipe with the images of sources that draw their own drawn into the store.

    Args:
        drawn_before: Folders and sources that need no look any more; what is drawn is added.
    """
    drawn = {n: e for n, e in recipe.entries.items() if e.source.images_key() is not None}
    advance = progress.stage("draw images", len(drawn)) if drawn else None
    entries = dict(recipe.entries)
    for name, entry in drawn.items():
        folder = store.root / Folder.IMAGES / key_of(entry.source.images_key())
        folder.mkdir(parents=True, exist_ok=True)
        what = str(folder), entry.source.model_dump_json()
        if what not in drawn_before:
            entry.source.draw_images(folder)
            drawn_before.add(what)
        entries[name] = replace(entry, source=entry.source.model_copy(update={"image_root": str(folder)}))
        if advance:
            advance(1)
    return replace(recipe, entries=entries)


def write_standin(format_name: str, folder: Path, *, rows: int, seed: int, images: bool) -> dict[str, Any]:
    """Write a stand-in into a new or empty folder (`vldata standin`).

    Returns:
        The recipe keys that read it back.

    Raises:
        RecipeError: No such format, or the folder holds something.
    """
    cls = source_class(format_name, "FORMAT")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecipeError(str(folder), "it is not an empty folder", "name a new one")
    with as_store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return cls.standin(folder, rows=rows, seed=seed, images=images)
