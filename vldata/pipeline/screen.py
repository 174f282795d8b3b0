"""Turns -> samples and ledger: what is broken, what is filtered, and which turns make a conversation.

The order is fixed: the reader's own findings, exclusion list, ``where``, the task's checks, text filters, deduplication
within an image, deduplication across sources, whole threads, grouping. Everything that leaves is in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vldata.curate.across import across
from vldata.curate.ambiguous import ambiguous_phrases
from vldata.curate.cut import LEDGER, Cut, Drop, cut
from vldata.curate.dedup import dedup
from vldata.curate.exclude import ExclusionList
from vldata.curate.filters import text_filters
from vldata.curate.group import conversations, whole_threads
from vldata.curate.where import where
from vldata.errors import VldataError
from vldata.pipeline.image_facts import Lookup
from vldata.pipeline.index import IndexedTurns
from vldata.pipeline.ledger import staged
from vldata.recipe.models import Entry, Recipe
from vldata.schema.keyed import keyed
from vldata.schema.turns import KEY
from vldata.sources.reading.keep import KEPT
from vldata.store.keys import key_of
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store

CURATE_VERSION = 3


@dataclass(frozen=True)
class ScreenedTurns:
    """The turns of one source that are fit for use, and what left so far; both in the store."""

    key: str
    is_grouped: bool
    turns: Path
    ledger: Path


@dataclass(frozen=True)
class ScreenJob:
    """One source to screen; travels to any worker.

    Args:
        group: Whether its turns become samples at once, as no other source can take any of them away.
        faults: Rows (``row, reason, detail``) that a later stage found broken, such as by a template.
    """

    entry: Entry
    indexed: IndexedTurns
    group: bool
    faults: pl.DataFrame | None = None


def screen(
    job: ScreenJob, *, store: Store, seed: int, exclude: ExclusionList | None = None
) -> ScreenedTurns | VldataError:
    """Everything that looks at one source alone; what the user must fix is returned, so that all is reported at once.

    Args:
        exclude: Rows, URLs and images that must not be used.
    """
    entry, indexed, faults = job.entry, job.indexed, job.faults
    settings = entry.settings
    key = key_of(
        {
            "what": KeySubject.SCREENED,
            "version": CURATE_VERSION,
            "turns": indexed.key,
            "name": entry.name,
            "seed": seed,
            "task": [entry.task.name, entry.task.model_dump(mode="json")],
            "needs_image": _needs_image(entry),
            "asks_where": _asks_where(entry),
            "where": settings.where,
            "filters": settings.filters.model_dump(mode="json"),
            "dedup": settings.conversation.dedup.model_dump(mode="json") if settings.conversation.dedup else None,
            "exclude": exclude.digest if exclude else None,
            "group": [settings.conversation.group_by, settings.conversation.max_turns] if job.group else None,
            "faults": faults.rows() if faults is not None else [],
        }
    )
    paths = store.path(Folder.SCREENED, key, ".arrow"), store.path(Folder.SCREENED, key, ".ledger.parquet")
    if not (store.has(Folder.SCREENED, key, ".arrow") and store.has(Folder.SCREENED, key, ".ledger.parquet")):
        try:
            kept, dropped = _screen(entry, pl.read_parquet(indexed.path), seed=seed, exclude=exclude, faults=faults)
        except VldataError as error:
            return error
        with store.write(Folder.SCREENED, key, ".ledger.parquet") as path:
            dropped.write_parquet(path)
        with store.write(Folder.SCREENED, key, ".arrow") as path:
            (grouped(kept, entry) if job.group else kept).write_ipc(path)
    return ScreenedTurns(key, job.group, *paths)


def _screen(
    entry: Entry, turns: pl.DataFrame, *, seed: int, exclude: ExclusionList | None, faults: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    settings, task = entry.settings, entry.task
    ranks = keyed(turns[KEY].to_numpy(), seed, "rank", entry.name)
    everything = turns.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64))
    left: list[pl.DataFrame] = []

    def keep(cut: Cut, stage: str) -> pl.DataFrame:
        left.append(staged(cut.dropped, entry.name, stage))
        return cut.kept

    kept = keep(_problems(everything), "read")
    if faults is not None:
        kept = keep(_marked(kept, faults), "render")
    if exclude is not None:
        kept = keep(exclude.rows(entry.name, kept), "exclude")
    if settings.where:
        kept = keep(where(kept, settings.where, f"{entry.where}.where"), "where")
    kept, everything = (turns.drop(KEPT) for turns in (kept, everything))
    kept = keep(complete(kept, entry), "check")
    if _asks_where(entry):
        kept = keep(_clear(kept, everything), "check")
    kept = keep(text_filters(kept, settings.filters, task.texts), "filter")
    if settings.conversation.dedup:
        kept = keep(dedup(kept, settings.conversation.dedup, texts=task.texts, answer=task.answer_column), "dedup")
    kept = keep(_whole_threads(everything, kept, pl.concat(left)), "thread")
    return kept.drop("problem", "detail", "urls"), pl.concat(left)


def _whole_threads(before: pl.DataFrame, kept: pl.DataFrame, ledger: pl.DataFrame) -> Cut:
    """Native conversations stay or leave whole; one that a filter takes an exchange of is filtered, not broken."""
    cut = whole_threads(before, kept)
    filtered = ledger.filter(pl.col("outcome") == "filtered").select(lost=pl.format("lost: {}", "row"))
    was_filtered = pl.col("detail").is_in(filtered["lost"].implode())
    reason = pl.when(was_filtered).then(pl.lit("conversation_filtered")).otherwise("reason")
    return Cut(cut.kept, cut.dropped.with_columns(reason=reason))


def _problems(turns: pl.DataFrame) -> Cut:
    if turns["problem"].null_count() == turns.height:
        return Cut(turns, pl.DataFrame(schema=LEDGER))  # without a copy, as for all that is sound below
    broken = pl.col("problem").is_not_null()
    return Cut(turns.filter(~broken), turns.filter(broken).select("row", reason="problem", detail="detail"))


def _marked(turns: pl.DataFrame, faults: pl.DataFrame) -> Cut:
    return Cut(
        turns.join(faults, on="row", how="anti", maintain_order="left"), faults.select("row", "reason", "detail")
    )


def complete(turns: pl.DataFrame, entry: Entry) -> Cut:
    """The turns with all that every row of their task must have; the first thing that one lacks is the reason."""
    task = entry.task
    nothing = pl.lit(None, pl.String)
    needed = [name for name in task.columns if name not in task.optional]
    lacks = [Drop("missing_value", pl.col(name).is_null(), pl.lit(name)) for name in needed]
    lacks += (Drop("empty_text", pl.col(name).str.strip_chars() == "", pl.lit(name)) for name in task.texts)
    if _needs_image(entry):
        lacks.append(Drop("no_image", pl.col("images").list.len() == 0, nothing))
    if task.needs_box:
        lacks.append(Drop("no_box", pl.col("boxes").list.len() == 0, nothing))
    return cut(turns, [*lacks, *(Drop(name, when, nothing) for name, when in task.rejects().items())])


def _needs_image(entry: Entry) -> bool:
    return entry.task.needs_image and not entry.source.has_text_rows


def _asks_where(entry: Entry) -> bool:
    asks = entry.task.asks_where
    return asks == "always" or (asks == "flipped" and entry.settings.templates.flip > 0)


def _clear(turns: pl.DataFrame, everything: pl.DataFrame) -> Cut:
    """Turns whose phrase means nothing else in the whole source, whatever else left already."""
    found = ambiguous_phrases(everything)
    dropped = turns.select("row").join(found, on="row", maintain_order="left")
    reason = pl.lit("ambiguous_phrase").alias("reason")
    kept = turns.join(dropped, on="row", how="anti", maintain_order="left") if dropped.height else turns
    return Cut(kept, dropped.select("row", reason, "detail"))


@dataclass(frozen=True)
class CuratedSource:
    """The samples of a source (see `grouped`) when all sources have been compared, and its ledger so far."""

    turns: pl.DataFrame
    ledger: pl.DataFrame


def across_sources(recipe: Recipe, screened: Mapping[str, ScreenedTurns], lookup: Lookup) -> dict[str, CuratedSource]:
    """Drop turns that another source already has about the same photograph, where the recipe asks for it."""
    kept = {n: CuratedSource(pl.read_ipc(one.turns), pl.read_parquet(one.ledger)) for n, one in screened.items()}
    for rule in recipe.head.dedup_across:
        tables = {name: _with_identity(kept[name].turns, recipe.entries[name], lookup) for name in rule.sources}
        for name, duplicates in across(tables, identity="identity", by=rule.by, order=rule.sources).items():
            turns = kept[name].turns.join(duplicates.dropped, on="row", how="anti", maintain_order="left")
            gone = staged(duplicates.dropped, name, "dedup_across")
            whole = _whole_threads(kept[name].turns, turns, gone)
            dropped = [gone, staged(whole.dropped, name, "thread")]
            kept[name] = CuratedSource(whole.kept, pl.concat([kept[name].ledger, *dropped]))
    return {
        n: one if screened[n].is_grouped else CuratedSource(grouped(one.turns, recipe.entries[n]), one.ledger)
        for n, one in kept.items()
    }


def _with_identity(turns: pl.DataFrame, entry: Entry, lookup: Lookup) -> pl.DataFrame:
    """The contents of each turn's images, null where one is not there."""
    each = turns.select("row", ref="images").explode("ref")
    facts = lookup.look(entry)(each["ref"].drop_nulls().unique(maintain_order=True).to_list())
    named = each.join(facts.select("ref", "hash"), on="ref", how="left", maintain_order="left")
    identity = named.group_by("row", maintain_order=True).agg(
        identity=pl.when(pl.col("hash").is_not_null().all()).then(pl.col("hash"))
    )
    return turns.join(identity, on="row", how="left", maintain_order="left")


def grouped(turns: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    """Turns as samples, sorted by the samples' ranks."""
    conversation = entry.settings.conversation
    max_turns = None if conversation.max_turns == "all" else conversation.max_turns
    group_by = entry.task.group_by if conversation.group_by == "image" else "none"
    return conversations(turns, group_by=group_by, max_turns=max_turns)
