"""Synthetic sources that are made from synthetic sources: which comes first, and what the later ones are made from.

A later source is made from the turns that are kept of an earlier one, as a build would read them. So it is put
together again whenever answers have come, and a change of an earlier reply is a change of the requests about it alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from vldata.generate.sources import AnswersSoFar, SynthSource, answers_so_far, file_of, synth_source
from vldata.pipeline.session import Session
from vldata.pipeline.stand_ins import in_place_of_synth
from vldata.recipe.models import Entry, Recipe


def in_order(entries: Mapping[str, Entry], names: Iterable[str]) -> list[str]:
    """Synthetic sources with all that they are made from before them, else in the order of their names."""
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        synth = entries[name].synth
        for origin in synth.from_ if synth is not None else ():
            if entries[origin].synth is not None and origin not in ordered:
                add(origin)
        ordered.setdefault(name)

    for name in names:
        add(name)
    return list(ordered)


@dataclass
class SourceSet:
    """The synthetic sources of a recipe, each made when it is needed.

    Args:
        recipe: With its other sources ready to be read.
        names: Of the sources that are meant.
        folder: The answer store's.
        standin: The recipe is only tried, on stand-ins.
    """

    recipe: Recipe
    names: Collection[str]
    session: Session
    folder: Path
    standin: bool = False
    _from_files: dict[str, SynthSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What is made from files alone is read at once: what is wrong with one is found before anything is sent."""
        for name in in_order(self.recipe.entries, self.names):
            if not self.origins(name):
                self._from_files[name] = synth_source(self.recipe, name, self.session, standin=self.standin)

    def at(self, answers: AnswersSoFar, *, with_origins: bool = False) -> Iterator[tuple[str, SynthSource]]:
        """The sources that are meant, the earlier ones of a chain first; each as it is when its turn comes.

        Args:
            with_origins: Also the synthetic ones that these are made from.
        """
        for name in in_order(self.recipe.entries, self.names):
            if with_origins or name in self.names:
                yield name, self.source(name, answers)

    def source(self, name: str, answers: AnswersSoFar) -> SynthSource:
        """A source as it follows from the answers that are there."""
        if (known := self._from_files.get(name)) is not None:
            return known
        recipe = self.recipe
        for origin in self.origins(name):
            recipe = with_file(recipe, self.source(origin, answers), answers, self.folder, self.session)
        return synth_source(recipe, name, self.session, standin=self.standin)

    def origins(self, name: str) -> list[str]:
        """The synthetic sources that a source is made from, directly."""
        synth = self.recipe.entries[name].synth
        return [origin for origin in (synth.from_ if synth else ()) if self.recipe.entries[origin].synth is not None]


def with_file(recipe: Recipe, source: SynthSource, answers: AnswersSoFar, folder: Path, session: Session) -> Recipe:
    """The recipe with one synthetic source as a file of turns in the store."""
    path = file_of(source, answers, folder, session.store)
    entry = recipe.entries[source.entry.name]
    kept = {"path": str(path), "image_root": source.root, "keep": list(source.kind.scores)}
    files = entry.source.model_copy(update=kept)
    return replace(recipe, entries={**recipe.entries, entry.name: replace(entry, source=files)})


def with_synth(recipe: Recipe, session: Session, folder: Path, *, standin: int | None = None) -> Recipe:
    """The recipe with what models wrote as files of turns in the store.

    Args:
        recipe: With its other sources ready to be read.
        session: Its store is where the files go.
        folder: The answer store's.
        standin: The recipe is only tried: a synthetic source without any answer is a stand-in of N turns.

    Raises:
        VldataError: A source that one is made from cannot be read, or the answer store cannot.
    """
    names = in_order(recipe.entries, [name for name, entry in recipe.entries.items() if entry.synth is not None])
    if not names:
        return recipe
    advance = session.progress.stage("read answers", len(names))
    with answers_so_far(folder) as answers:
        for name in names:
            source = synth_source(recipe, name, session, standin=standin is not None)
            entry, recipe = source.entry, with_file(recipe, source, answers, folder, session)
            if standin is not None and not _has_turns(recipe.entries[name]):
                seed, scores = recipe.head.seed, source.kind.scores
                stand_in = in_place_of_synth(entry, session.store, rows=standin, seed=seed, scores=scores)
                recipe = replace(recipe, entries={**recipe.entries, name: stand_in})
            advance(1)
    return recipe


def _has_turns(entry: Entry) -> bool:
    path = getattr(entry.source, "path", "")
    return bool(pl.scan_parquet(path).filter(pl.col("problem").is_null()).head(1).collect().height)
