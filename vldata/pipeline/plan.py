"""Everything before pixels move: which rows, in which words, in which blocks; exact, and remembered.

A plan is kept in the store under the hash of all that decides it. Finding it again takes a look at the sizes and times
of the files it read, and nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from glob import has_magic
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from vldata import __version__
from vldata.curate.exclude import ExclusionList
from vldata.errors import RecipeErrors, VldataError
from vldata.images.pixels import PIXELS_VERSION
from vldata.paths import home
from vldata.pipeline.choose import ChosenSamples, Pool, choose
from vldata.pipeline.finished_rows import RENDER_VERSION
from vldata.pipeline.image_facts import Lookup, place_of
from vldata.pipeline.index import IndexedTurns, already_indexed, index
from vldata.pipeline.ledger import ledger_of, refuse_too_many_rejects
from vldata.pipeline.plan_record import UNITS, Block, Plan, SourceReport, recall, remember
from vldata.pipeline.render import Leaf, render_all
from vldata.pipeline.row_shards import Instance, Shard, row_shards
from vldata.pipeline.screen import CuratedSource, ScreenedTurns, ScreenJob, across_sources, screen
from vldata.pipeline.session import Session
from vldata.pipeline.write_blocks import SourceImages
from vldata.prompts.template import Template, language_folders, load
from vldata.recipe.models import Entry, Recipe, Settings
from vldata.schema.keyed import keyed_one
from vldata.schema.rows import SCHEMA_VERSION
from vldata.sources.reading.files import passed_over
from vldata.sources.reading.shards import notes_on_files
from vldata.store.keys import key_of
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store

PLAN_VERSION = 4


def plan(recipe: Recipe, session: Session, *, limit: int | None = None) -> Plan:
    """Work out a build, or find it worked out already.

    Args:
        recipe: What to build, its sources ready to be read.
        limit: At most N units of the mixture in all.

    Raises:
        VldataError: All of a kind at once where that is possible.
    """
    store, engine = session.store, session.engine
    templates = load_templates(recipe, session.templates)
    exclude = ExclusionList.read(recipe.head.exclude) if recipe.head.exclude else None
    indexed = _index_all(recipe, session)
    lookup = Lookup(recipe, store, session.progress, engine, session.remembered, session.seen)
    key = key_of(
        {
            "what": KeySubject.PLAN,
            "versions": [__version__, PLAN_VERSION, SCHEMA_VERSION, PIXELS_VERSION],
            "head": recipe.head.model_dump(mode="json"),
            "mixture": recipe.mixture.model_dump(mode="json"),
            "limit": limit,
            "sources": {n: _identity(e, indexed[n], templates[n]) for n, e in recipe.entries.items()},
            "exclude": exclude.digest if exclude else None,
        }
    )
    recalled = recall(key, store)
    if recalled is not None and lookup.still_true(key):
        return recalled
    engine.start()
    faults: dict[str, pl.DataFrame] = {}
    while True:
        screened = _screen_all(recipe, indexed, exclude, faults, session)
        kept = across_sources(recipe, screened, lookup)
        chosen = choose(_pools(recipe, screened, kept, lookup, exclude, session), recipe.mixture, limit)
        ledgers = _ledgers(recipe, kept, chosen, indexed)
        rendered = render_all(recipe, chosen, templates, session)
        failed = {name: rows for name, rows in rendered.items() if isinstance(rows, pl.DataFrame)}
        if not failed:
            break
        faults = {**faults, **{n: pl.concat([faults[n], f]) if n in faults else f for n, f in failed.items()}}
    leaves = {name: of_source for name, of_source in rendered.items() if isinstance(of_source, list)}
    planned = _put_together(key, recipe, indexed, chosen, ledgers, leaves, templates, store)
    store.remove(Folder.PLANS, key, ".json")
    lookup.save(key)
    remember(planned, pl.concat(ledgers.values()), store)
    if not session.is_shared:
        session.forget()  # the tables of this plan, which blocks are written without
    return planned


def load_templates(recipe: Recipe, loaded: dict[str, Template]) -> dict[str, Template]:
    """The template of every source.

    Args:
        loaded: Templates that were read before, to which those of the recipe are added.

    Raises:
        RecipeErrors: Everything wrong with any of them.
    """
    problems: list[VldataError] = []
    templates = {}
    for name, entry in recipe.entries.items():
        try:
            datasets = [name, entry.source.format]
            options = entry.settings.templates
            language = entry.settings.language_of_words
            task = [entry.task.name, entry.task.model_dump(mode="json")]
            key = key_of(task, options.model_dump(mode="json"), datasets, language)
            if key not in loaded:
                names = entry.task.template_names()
                loaded[key] = load(entry.task.name, names, options, datasets=datasets, language=language)
            templates[name] = loaded[key]
        except RecipeErrors as errors:
            problems += errors.errors
    if problems:
        raise RecipeErrors(list({str(problem): problem for problem in problems}.values()))
    return templates


def language_notes(recipe: Recipe, templates: Mapping[str, Template]) -> list[str]:
    """Where words are not in the language that the recipe names, as there is no template in it."""
    notes = []
    for name, entry in recipe.entries.items():
        language = entry.settings.language_of_words
        if language and name in templates and (others := templates[name].words_in_other_than(language)):
            wanted = " and ".join(f"{language_folders(language)[-1]}/{file}" for file in others)
            said = f"no template is in {language!r}, its words come from {' and '.join(others)}"
            notes.append(f"{name}: {said}; write {wanted} into the folder that `templates.path` names")
    return notes


def folder_notes(entry: Entry) -> list[str]:
    """What the names of a source's files say: shards that are not there, splits side by side, files that it omits."""
    path = entry.source.path
    if not (home(path).is_dir() or has_magic(path)):
        return []
    taken = entry.source.files()
    notes = [f"{entry.name}: {note}" for note in notes_on_files(path, taken)]
    if taken and (left := passed_over(path, taken)):
        shown = ", ".join(left[:5]) + (" …" if len(left) > 5 else "")
        notes.append(
            f"{entry.name} passed over {len(left):,} files of its folder, which are not of its format: {shown}"
        )
    return notes


def _identity(entry: Entry, indexed: IndexedTurns, template: Template) -> dict[str, Any]:
    """Everything that decides a source's part of the plan."""
    return {
        "turns": indexed.key,
        "root": str(Path(entry.source.image_root or ".").absolute()),
        "task": entry.task.identity(),
        "settings": entry.settings.model_dump(mode="json", exclude=_unset(entry.settings)),
        "template": [template.name, template.digest],
    }


def _unset(settings: Settings) -> set[str]:
    """What a recipe may say of a source and this one does not, which leaves the plan what it was without such keys."""
    return {name for name in ("licence", "language") if getattr(settings, name) is None}


def _index_all(recipe: Recipe, session: Session) -> dict[str, IndexedTurns]:
    """The turns of every source; those that were never read are read by the workers, one each at a time."""
    earlier = {name: already_indexed(entry, session.store) for name, entry in recipe.entries.items()}
    fresh = [entry for name, entry in recipe.entries.items() if earlier[name] is None]
    advance = session.progress.stage("read sources", len(recipe.entries))
    advance(len(earlier) - len(fresh))
    if len(fresh) > 1:
        session.engine.start()
        fresh.sort(key=_file_bytes, reverse=True)  # the longest first, so that none of them is waited for at the end
    indexed = {name: result for name, result in earlier.items() if isinstance(result, IndexedTurns)}
    problems = [result for result in earlier.values() if isinstance(result, VldataError)]
    for entry, result in session.engine.run(partial(index, store=session.store), fresh):
        if isinstance(result, VldataError):
            problems.append(result)
        else:
            indexed[entry.name] = result
        advance(1)
    _refuse(sorted(problems, key=str))
    return {name: indexed[name] for name in recipe.entries}


def _file_bytes(entry: Entry) -> int:
    try:
        return sum(file.stat().st_size for file in entry.source.files())
    except (VldataError, OSError, ValueError):
        return 0  # the worker reports it


def _refuse(problems: Sequence[VldataError]) -> None:
    if problems:
        raise problems[0] if len(problems) == 1 else RecipeErrors(list(problems))


def _screen_all(
    recipe: Recipe,
    indexed: Mapping[str, IndexedTurns],
    exclude: ExclusionList | None,
    faults: Mapping[str, pl.DataFrame],
    session: Session,
) -> dict[str, ScreenedTurns]:
    advance = session.progress.stage("curate", len(recipe.entries))
    screened: dict[str, ScreenedTurns] = {}
    problems: list[VldataError] = []
    compared = {name for rule in recipe.head.dedup_across for name in rule.sources}
    jobs = [
        ScreenJob(entry, indexed[name], group=name not in compared, faults=faults.get(name))
        for name, entry in recipe.entries.items()
    ]
    jobs.sort(key=lambda job: job.indexed.rows, reverse=True)
    work = partial(screen, store=session.store, seed=recipe.head.seed, exclude=exclude)
    for job, result in session.engine.run(work, jobs):
        if isinstance(result, VldataError):
            problems.append(result)
        else:
            screened[job.entry.name] = result
        advance(1)
    _refuse(problems)
    return screened


def _pools(
    recipe: Recipe,
    screened: Mapping[str, ScreenedTurns],
    kept: Mapping[str, CuratedSource],
    lookup: Lookup,
    exclude: ExclusionList | None,
    session: Session,
) -> dict[str, Pool]:
    compared = {name for rule in recipe.head.dedup_across for name in rule.sources}
    return {
        name: Pool(
            entry=entry,
            turns=kept[name].turns,
            look=lookup.look(entry),
            seed=recipe.head.seed,
            splits=recipe.split_shares,
            excluded_hashes=exclude.hashes if exclude else frozenset(),
            unit=recipe.mixture.unit,
            key=None if name in compared else _candidates_key(recipe, entry, screened[name], exclude),
            cache=session.candidates,
        )
        for name, entry in recipe.entries.items()
    }


def _candidates_key(recipe: Recipe, entry: Entry, screened: ScreenedTurns, exclude: ExclusionList | None) -> str:
    """Everything that decides what `vldata.pipeline.candidates` finds of a source's candidates, and no words."""
    return key_of(
        {
            "turns": screened.key,
            "source": [entry.name, entry.source.format, place_of(entry).root],
            "settings": entry.settings.model_dump(mode="json", include={"images", "filters"}),
            "seed": recipe.head.seed,
            "splits": recipe.split_shares,
            "exclude": exclude.digest if exclude else None,
        }
    )


def _ledgers(
    recipe: Recipe,
    kept: Mapping[str, CuratedSource],
    chosen: Mapping[str, ChosenSamples],
    indexed: Mapping[str, IndexedTurns],
) -> dict[str, pl.DataFrame]:
    ledgers, problems = {}, []
    for name, entry in recipe.entries.items():
        ledgers[name] = ledger_of(entry, kept[name].ledger, chosen[name], indexed[name].rows)
        problem = refuse_too_many_rejects(entry, ledgers[name], indexed[name].rows)
        if problem is not None:
            problems.append(problem)
    _refuse(problems)
    return ledgers


def _put_together(
    key: str,
    recipe: Recipe,
    indexed: Mapping[str, IndexedTurns],
    chosen: Mapping[str, ChosenSamples],
    ledgers: Mapping[str, pl.DataFrame],
    leaves: Mapping[str, list[Leaf]],
    templates: Mapping[str, Template],
    store: Store,
) -> Plan:
    output, seed = recipe.head.output, recipe.head.seed
    shards: dict[str, Shard] = {}
    if output.layout == "blocks":
        blocks = _in_keyed_order(leaves, seed)
    else:
        versions = [
            SCHEMA_VERSION,
            RENDER_VERSION,
            output.images,
            {n: e.settings.images.max_side_px for n, e in recipe.entries.items()},
        ]
        cut = row_shards(_instances(leaves, recipe), store, seed=seed, max_rows=output.max_rows, versions=versions)
        shards = {shard.key: shard for shard in cut}
        blocks = [Block(s.key, None, s.split, len(s.rows), s.image_bytes, 0) for s in cut]
    reports = _reports(recipe, indexed, chosen, ledgers, leaves, templates)
    return Plan(
        key=key,
        blocks=blocks,
        sources=reports,
        ledger=store.path(Folder.PLANS, key, ".ledger.parquet"),
        inputs={name: one.digests for name, one in indexed.items()},
        templates={name: template.lineage for name, template in templates.items()},
        images={n: _source_images(e) for n, e in recipe.entries.items()},
        shards=shards,
        notes=[
            *_notes(recipe, reports, blocks),
            *language_notes(recipe, templates),
            *_remarks(recipe, indexed, chosen),
            *_deep_images(recipe, chosen),
        ],
        num_new_blocks=len({leaf.rendered.key for leaf in chain(*leaves.values()) if leaf.rendered.is_new_block}),
    )


def _source_images(entry: Entry) -> SourceImages:
    return SourceImages(place_of(entry).root, entry.settings.images.max_side_px, entry.settings.images.decode)


def _in_keyed_order(leaves: Mapping[str, list[Leaf]], seed: int) -> list[Block]:
    """Every block as often as it stands in the build; its place depends on its own first sample and pass alone."""
    placed = []
    for source, of_source in leaves.items():
        for leaf in of_source:
            m = leaf.rendered
            size = m.size_bytes + m.image_bytes
            block = Block(m.key, source, m.split, m.rows, m.image_bytes, size)
            for number in leaf.numbers:
                place = keyed_one(f"{source}/{m.split}/{m.first_rank}/{number}", seed, "block_order")
                placed.append((m.split, place, block))
    return [block for _, _, block in sorted(placed, key=lambda p: (p[0], p[1], p[2].key))]


def _instances(leaves: Mapping[str, list[Leaf]], recipe: Recipe) -> dict[str, list[Instance]]:
    instances: dict[str, list[Instance]] = {split: [] for split in recipe.split_shares}
    for name in sorted(leaves):
        for leaf in leaves[name]:
            for number in leaf.numbers:
                instances[leaf.rendered.split].append(Instance(leaf.rendered.key, leaf.rendered.rows, number))
    return instances


def _reports(
    recipe: Recipe,
    indexed: Mapping[str, IndexedTurns],
    chosen: Mapping[str, ChosenSamples],
    ledgers: Mapping[str, pl.DataFrame],
    leaves: Mapping[str, list[Leaf]],
    templates: Mapping[str, Template],
) -> dict[str, SourceReport]:
    reports = {}
    for name, entry in recipe.entries.items():
        outcomes = dict(ledgers[name].group_by("outcome").len().iter_rows())
        achieved = dict.fromkeys(UNITS, 0)
        for leaf in leaves[name]:
            times = len(leaf.numbers)
            counts = (leaf.rendered.rows, leaf.rendered.num_images, leaf.rendered.num_turns, leaf.rendered.answer_chars)
            for unit, count in zip(UNITS, counts, strict=True):
                achieved[unit] += times * count
        quota, rows_out = chosen[name].quota, chosen[name].turns.height
        reports[name] = SourceReport(
            rows_in=indexed[name].rows,
            rows_out=rows_out,
            filtered=outcomes.get("filtered", 0),
            rejected=outcomes.get("rejected", 0),
            not_chosen=outcomes.get("not_chosen", 0),
            repeats=achieved["turns"] - rows_out,
            requested_share=quota.share,
            epochs=round(quota.epochs, 6),
            achieved=achieved,
            short=max(0, quota.units - achieved[recipe.mixture.unit]) if recipe.mixture.unit == "samples" else 0,
            task=entry.task.name,
            format=entry.source.format,
            reasons=_reasons(ledgers[name]),
            licence=entry.settings.licence or entry.source.licence,
            language=entry.settings.language,
            columns=indexed[name].columns,
            templates=templates[name].lineage,
        )
    return reports


def _reasons(ledger: pl.DataFrame) -> dict[str, int]:
    counted = ledger.filter(pl.col("outcome") != "not_chosen").group_by("reason").len()
    return dict(counted.sort("len", "reason", descending=[True, False]).iter_rows())


def _remarks(recipe: Recipe, indexed: Mapping[str, IndexedTurns], chosen: Mapping[str, ChosenSamples]) -> list[str]:
    """What sources say of turns that they read, and tasks of turns that are in the dataset."""
    notes = []
    for name, entry in recipe.entries.items():
        read, used = indexed[name].rows, chosen[name].turns
        notes += [f"{name}: {note}" for note in indexed[name].notes]
        notes += [f"{name}: {remark}: {n:,} of {read:,} turns" for remark, n in indexed[name].remarks.items()]
        notes += [f"{name}: {remark}: {n:,} of {used.height:,} turns" for remark, n in entry.task.remarks(used).items()]
    return notes


def _deep_images(recipe: Recipe, chosen: Mapping[str, ChosenSamples]) -> list[str]:
    """Which sources have images whose pixels are not stored as they are, or would be cut off by their readers."""
    of = {name: (one.samples["num_deep"].sum(), one.samples["images"].list.len().sum()) for name, one in chosen.items()}
    said = "are scaled to 8 bits a pixel, as .convert('RGB') would cut their values off at 255"
    if recipe.head.output.images == "path":
        said = (
            "have more than 8 bits a pixel, which .convert('RGB') cuts off at 255 (`output.images: embed` scales them)"
        )
    return [f"{name}: {num:,} of {total:,} images {said}" for name, (num, total) in of.items() if num]


def _untried_in_standin(entry: Entry, settings: Mapping[str, Any]) -> str:
    """Options of a source that read its own files, where a stand-in in their place is read without them."""
    options = ("at", "columns", "explode", "gather", "join", "extract", "text", "take")
    gone = [name for name in options if settings.get(name) and not getattr(entry.source, name, None)]
    if settings.get("fields") and settings["fields"] != getattr(entry.source, "fields", None):
        gone.insert(0, "fields")
    return ", ".join(f"`{name}`" for name in gone)


def _notes(recipe: Recipe, reports: Mapping[str, SourceReport], blocks: list[Block]) -> list[str]:
    notes = []
    for name, entry in recipe.entries.items():
        settings = {**(recipe.raw.get("defaults") or {}), **recipe.raw.get("sources", {}).get(name, {})}
        if settings.get("where") and entry.settings.where is None:
            notes.append(f"{name}: its `where` looks at columns of `keep`, which a stand-in has not: it is left out")
        if untried := _untried_in_standin(entry, settings):
            notes.append(f"{name}: not tried by its stand-in, which is read without: {untried}")
        notes += folder_notes(entry)
    for name, report in reports.items():
        if report.epochs > 1:
            notes.append(f"{name} runs short and is repeated: {report.epochs:.2f} epochs")
        if report.short:
            short = f"{report.short:,} samples less than its share"
            notes.append(f"{name} gives {short}: held-out splits are never repeated")
        if not report.rows_in:
            notes.append(f"{name} has no rows")
        elif report.filtered + report.rejected == report.rows_in:
            why = ", ".join(f"{reason} {count:,}" for reason, count in report.reasons.items())
            notes.append(f"{name} gives nothing: all of its {report.rows_in:,} turns are filtered or rejected ({why})")
    for split in recipe.split_shares:
        if split not in {block.split for block in blocks}:
            notes.append(f"the split {split!r} is empty and left out")
    return notes
