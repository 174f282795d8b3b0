"""Synthetic sources: samples of other sources, the requests about them, and the turns of the answers.

    synth_samples.py   what other sources say about a picture -> samples
    synth.py           samples and the answers that are there -> the file of turns that a build reads
    synth_turns.py     what models wrote -> canonical columns

A build sends nothing. It takes the answers that `vldata synth run` has put into the answer store, parses and checks
them anew, and treats what is kept as turns like any others; a sample without an answer is ``not_generated``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from vldata import __version__
from vldata.base import Progress, Silent
from vldata.errors import BuildError
from vldata.generate.samples import SynthSamples, samples_of, usable_turns, with_facts
from vldata.generate.turns import write_turns
from vldata.images.pixels import resized
from vldata.images.references import ImageReader
from vldata.llm.answers import Answers, open_answers
from vldata.llm.folder import default_answers
from vldata.llm.request import Request
from vldata.pipeline.image_facts import Lookup, place_of
from vldata.pipeline.stand_ins import in_place_of_synth
from vldata.pipeline.workers import Engine
from vldata.recipe.models import Entry, Recipe
from vldata.store.keys import key_of
from vldata.store.store import Store
from vldata.synth.draws import Outcome
from vldata.synth.generate import Folded, load_kinds, outcomes, replay
from vldata.synth.kind import SynthKind
from vldata.synth.models import Synth

GENERATED_VERSION = 3


@dataclass(frozen=True)
class Asking:
    """A synthetic source, ready to be asked about.

    Args:
        entry: The source.
        kind: What is made.
        judge: Who chooses; None when nobody does.
        samples: In keyed order, as many as the recipe wants.
        pictures: Columns ``hash``, sorted, and ``ref``.
        root: Where the pictures lie.
        rejected: Turns that it would be made from and that a build rejects, by reason: they are not sent.
    """

    entry: Entry
    kind: SynthKind
    judge: SynthKind | None
    samples: SynthSamples
    pictures: pl.DataFrame = field(repr=False)
    root: str | None
    rejected: Mapping[str, int]

    @property
    def spec(self) -> Synth:
        """What the recipe says about it."""
        assert self.entry.synth is not None
        return self.entry.synth

    def replay(self, answers: Answers, fold: Callable[[Iterator[Outcome]], Folded]) -> Folded:
        """What the answers that are there become, made into something; see `vldata.synth.generate.replay`."""
        return replay(self.samples.inputs, self.kind, self.spec, answers, self.judge, fold=fold)

    def outcomes(self, answers: Answers) -> Iterator[Outcome]:
        """What becomes of every sample by itself, before the answers are compared with each other."""
        return outcomes(self.samples.inputs, self.kind, self.spec, answers, self.judge)

    def wanted(self, answers: Answers) -> Iterator[Request]:
        """The requests whose answers are wanting, one after the other."""
        return (request for outcome in self.outcomes(answers) for request in outcome.pending)

    def picture(self, part: Mapping[str, Any]) -> bytes:
        """The bytes that an image part of a request stands for.

        Raises:
            VldataError: The picture has changed or gone since it was looked at.
        """
        place = self.pictures["hash"].search_sorted(part["hash"])
        if place == self.pictures.height or self.pictures["hash"][place] != part["hash"]:
            fix = "run `vldata synth plan` again: its file has changed"
            raise BuildError(self.entry.where, f"no picture has the hash {part['hash']}", fix)
        data = ImageReader(self.root).read(self.pictures["ref"][place])
        return resized(data, part.get("max_side_px"))[0]


def asking(recipe: Recipe, name: str, store: Store, progress: Progress | None = None) -> Asking:
    """Read what a synthetic source is made from.

    Raises:
        VldataError: A source that it is made from cannot be read.
    """
    entry = recipe.entries[name]
    assert entry.synth is not None
    kind, judge = load_kinds(entry.synth, f"{entry.where}.synth")
    made_from = [recipe.entries[other] for other in entry.synth.from_]
    turns = [usable_turns(recipe, other, store) for other in made_from]
    lookup = Lookup(recipe, store, progress or Silent(), Engine(1))
    references = pl.concat([table["images"].explode().drop_nulls() for table in turns]).unique(maintain_order=True)
    facts = lookup.look(made_from[0])(references.to_list())
    lookup.remember_seen()
    sound = facts.filter(pl.col("problem").is_null())
    turns = [with_facts(table, sound, source) for table, source in zip(turns, made_from, strict=True)]
    rejected = Counter(reason for table in turns for reason in table["reason"].drop_nulls())
    samples = SynthSamples(
        store.root / "tmp",
        samples_of(made_from, turns, kind, entry),
        seed=recipe.head.seed,
        source=name,
        total=entry.synth.total,
    )
    pictures = sound.select("hash", "ref").unique("hash", keep="last").sort("hash")
    return Asking(entry, kind, judge, samples, pictures, place_of(made_from[0]).root, dict(sorted(rejected.items())))


def with_synth(
    recipe: Recipe,
    store: Store,
    *,
    answers: Path | None = None,
    standin: int | None = None,
    progress: Progress | None = None,
) -> Recipe:
    """The recipe with what models wrote as files of turns in the store.

    Args:
        recipe: With its other sources ready to be read.
        store: Where the files go.
        answers: The answer store's folder.
        standin: The recipe is only tried: a synthetic source without any answer is a stand-in of so many turns.

    Raises:
        VldataError: A source that one is made from cannot be read, or the answer store cannot.
    """
    names = [name for name, entry in recipe.entries.items() if entry.synth is not None]
    if not names:
        return recipe
    folder = answers or default_answers()
    told = (progress or Silent()).stage("read answers", len(names))
    entries = dict(recipe.entries)
    with opened(folder) as known:
        for name in names:
            ask = asking(recipe, name, store, progress)
            path = _file_of(ask, known, folder, store)
            if (
                standin is not None
                and not pl.scan_parquet(path).filter(pl.col("problem").is_null()).head(1).collect().height
            ):
                entries[name] = in_place_of_synth(ask.entry, store, rows=standin, seed=recipe.head.seed)
            else:
                source = ask.entry.source.model_copy(update={"path": str(path), "image_root": ask.root})
                entries[name] = replace(ask.entry, source=source)
            told(1)
    return replace(recipe, entries=entries)


def opened(folder: Path) -> AbstractContextManager[Any]:
    """The answer store for reading; one that does not exist yet has no answers."""
    return open_answers(folder, read_only=True) if (folder / "VERSION").is_file() else nullcontext(_NoAnswers())


class _NoAnswers:
    """Nothing has been asked yet."""

    def get(self, asked: object) -> None:
        """None."""

    def failure(self, key: str) -> None:
        """None."""


def _file_of(ask: Asking, answers: Answers, folder: Path, store: Store) -> Path:
    """The turns, made anew unless samples, kind, answers and all else that decides them are what they were."""
    settings = ask.entry.settings
    key = key_of(
        {
            "what": "generated",
            "versions": [__version__, GENERATED_VERSION],
            "synth": ask.spec.model_dump(mode="json", by_alias=True),
            "kinds": [kind.digest for kind in (ask.kind, ask.judge) if kind is not None],
            "boxes": [settings.box_format, settings.reference],
            "samples": ask.samples.digest,
            "answers": sorted([path.name, path.stat().st_size] for path in folder.glob("*.answers")),
        }
    )
    if not store.has("generated", key, ".parquet"):
        with store.write("generated", key, ".parquet") as path:

            def written(found: Iterator[Outcome]) -> None:
                # samples and outcomes go side by side: one outcome a sample
                drawn = ((s, draw) for s, outcome in zip(ask.samples, found, strict=True) for draw in outcome.draws)
                write_turns(drawn, ask.entry, ask.kind.lineage, path)

            ask.replay(answers, written)
    return store.path("generated", key, ".parquet")
