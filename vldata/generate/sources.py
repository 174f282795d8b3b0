"""Synthetic sources: samples of other sources, the requests about them, and the turns of the answers.

    samples.py   what other sources say about an image -> samples
    sources.py   samples and the answers that are there -> the file of turns that a build reads
    turns.py     what models wrote -> canonical columns

A build sends nothing. It takes the answers that `vldata synth run` has put into the answer store, parses and checks
them again, and treats what is kept as turns like any others; a sample without an answer is ``not_generated``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from vldata import __version__
from vldata.errors import BuildError
from vldata.generate.samples import SynthSamples, samples_of, usable_turns, with_facts
from vldata.generate.turns import write_turns
from vldata.images.pixels import resized
from vldata.images.references import ImageReader
from vldata.llm.answers import Answers, open_answers
from vldata.llm.faults import FAULTS, Scope
from vldata.llm.folder import default_answers
from vldata.llm.log import Damage
from vldata.llm.request import Request
from vldata.pipeline.image_facts import Lookup, place_of
from vldata.pipeline.session import Session
from vldata.pipeline.stand_ins import in_place_of_synth
from vldata.pipeline.workers import Engine
from vldata.recipe.models import Entry, Recipe
from vldata.store.keys import key_of
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store
from vldata.synth.draws import Outcome
from vldata.synth.generate import Folded, load_kinds, outcomes, replay
from vldata.synth.kind import SynthKind
from vldata.synth.models import Synth
from vldata.synth.replies import REPLIES_VERSION

GENERATED_VERSION = 3


@dataclass(frozen=True)
class SynthSource:
    """A synthetic source with its samples, from which its requests follow.

    Args:
        kind: What is made.
        judge: The kind that chooses; None when none does.
        samples: In keyed order, as many as the recipe says.
        images: Columns ``hash``, sorted, and ``ref``.
        root: Folder of the images.
        rejected: Turns that it would be made from and that a build rejects, by reason: they are not sent.
    """

    entry: Entry
    kind: SynthKind
    judge: SynthKind | None
    samples: SynthSamples
    images: pl.DataFrame = field(repr=False)
    root: str | None
    rejected: Mapping[str, int]

    @property
    def spec(self) -> Synth:
        """What the recipe says about it."""
        assert self.entry.synth is not None
        return self.entry.synth

    def replay(self, answers: AnswersSoFar, fold: Callable[[Iterator[Outcome]], Folded]) -> Folded:
        """What the answers that are there become, made into something; see `vldata.synth.generate.replay`."""
        return replay(self.samples.inputs, self.kind, self.spec, answers, self.judge, fold=fold)

    def outcomes(self, answers: AnswersSoFar) -> Iterator[Outcome]:
        """What becomes of every sample by itself, before the answers are compared with each other."""
        return outcomes(self.samples.inputs, self.kind, self.spec, answers, self.judge)

    def pending(self, answers: AnswersSoFar, tried: set[str], *, retry: bool = True) -> Iterator[Request]:
        """The requests whose answers are pending, each once, and which join ``tried``.

        Args:
            tried: Keys of requests that are left out.
            retry: Also what the endpoint refused for good, such as by its content policy.
        """
        for request in (request for outcome in self.outcomes(answers) for request in outcome.pending):
            if request.key not in tried and (retry or not _is_refused(answers, request.key)):
                tried.add(request.key)
                yield request

    def image(self, part: Mapping[str, Any]) -> bytes:
        """The bytes that an image part of a request stands for.

        Raises:
            VldataError: The image has changed or gone since it was looked at.
        """
        place = self.images["hash"].search_sorted(part["hash"])
        if place == self.images.height or self.images["hash"][place] != part["hash"]:
            fix = "run `vldata synth plan` again: its file has changed"
            raise BuildError(self.entry.where, f"no image has the hash {part['hash']}", fix)
        data = ImageReader(self.root).read(self.images["ref"][place])
        return resized(data, part.get("max_side_px"))[0]


def _is_refused(answers: AnswersSoFar, key: str) -> bool:
    """Whether the endpoint refused this request itself, so that sending it again would not help."""
    failure = answers.failure(key)
    if failure is None or not failure.attempts:
        return False
    last = failure.attempts[-1].error
    return last is not None and last in FAULTS and last != "interrupted" and FAULTS[last].scope is Scope.ROW


def synth_source(recipe: Recipe, name: str, session: Session) -> SynthSource:
    """Read what a synthetic source is made from.

    Raises:
        VldataError: A source that it is made from cannot be read.
    """
    entry = recipe.entries[name]
    assert entry.synth is not None
    kind, judge = load_kinds(entry.synth, f"{entry.where}.synth")
    origins = [recipe.entries[other] for other in entry.synth.from_]
    turns = [usable_turns(recipe, other, session.store) for other in origins]
    lookup = Lookup(recipe, session.store, session.progress, Engine(1))
    references = pl.concat([table["images"].explode().drop_nulls() for table in turns]).unique(maintain_order=True)
    facts = lookup.look(origins[0])(references.to_list())
    lookup.remember_seen()
    sound = facts.filter(pl.col("problem").is_null())
    turns = [with_facts(table, sound, source) for table, source in zip(turns, origins, strict=True)]
    rejected = Counter(reason for table in turns for reason in table["reason"].drop_nulls())
    samples = SynthSamples(
        session.store.root / Folder.TMP,
        samples_of(origins, turns, kind, entry),
        seed=recipe.head.seed,
        source=name,
        total=entry.synth.total,
    )
    images = sound.select("hash", "ref").unique("hash", keep="last").sort("hash")
    return SynthSource(entry, kind, judge, samples, images, place_of(origins[0]).root, dict(sorted(rejected.items())))


def with_synth(recipe: Recipe, session: Session, *, standin: int | None = None) -> Recipe:
    """The recipe with what models wrote as files of turns in the store.

    Args:
        recipe: With its other sources ready to be read.
        session: Its store is where the files go.
        standin: The recipe is only tried: a synthetic source without any answer is a stand-in of N turns.

    Raises:
        VldataError: A source that one is made from cannot be read, or the answer store cannot.
    """
    names = [name for name, entry in recipe.entries.items() if entry.synth is not None]
    if not names:
        return recipe
    folder = default_answers()
    advance = session.progress.stage("read answers", len(names))
    entries = dict(recipe.entries)
    with answers_so_far(folder) as answers:
        for name in names:
            source = synth_source(recipe, name, session)
            path = _file_of(source, answers, folder, session.store)
            if (
                standin is not None
                and not pl.scan_parquet(path).filter(pl.col("problem").is_null()).head(1).collect().height
            ):
                entries[name] = in_place_of_synth(source.entry, session.store, rows=standin, seed=recipe.head.seed)
            else:
                files = source.entry.source.model_copy(update={"path": str(path), "image_root": source.root})
                entries[name] = replace(source.entry, source=files)
            advance(1)
    return replace(recipe, entries=entries)


class NoAnswers:
    """An answer store that does not exist yet."""

    damaged: tuple[Damage, ...] = ()

    def get(self, request: Request | str) -> None:
        """None: there is no answer to it."""

    def failure(self, key: str) -> None:
        """None: it was never sent."""

    def last_like(self, request: Request) -> None:
        """None: nothing like it was ever sent."""

    def spent(self, keys: Iterable[str]) -> tuple[float, int]:
        """Nothing."""
        return 0.0, 0


AnswersSoFar = Answers | NoAnswers


def answers_so_far(folder: Path) -> AbstractContextManager[AnswersSoFar]:
    """The answer store for reading; one that does not exist yet has no answers."""
    return open_answers(folder, read_only=True) if (folder / "VERSION").is_file() else nullcontext(NoAnswers())


def _file_of(source: SynthSource, answers: AnswersSoFar, folder: Path, store: Store) -> Path:
    """The turns, written again unless samples, kind, answers and all else that decides them are what they were."""
    settings = source.entry.settings
    key = key_of(
        {
            "what": KeySubject.GENERATED,
            "versions": [__version__, GENERATED_VERSION, REPLIES_VERSION],
            "synth": source.spec.model_dump(mode="json", by_alias=True),
            "kinds": [kind.digest for kind in (source.kind, source.judge) if kind is not None],
            "boxes": [settings.box_format, settings.reference],
            "samples": source.samples.digest,
            "answers": sorted([path.name, path.stat().st_size] for path in folder.glob("*.answers")),
        }
    )
    if not store.has(Folder.GENERATED, key, ".parquet"):
        with store.write(Folder.GENERATED, key, ".parquet") as path:

            def write(outcomes: Iterator[Outcome]) -> None:
                pairs = zip(source.samples, outcomes, strict=True)  # one outcome a sample
                draws = ((sample, draw) for sample, outcome in pairs for draw in outcome.draws)
                write_turns(draws, source.entry, source.kind.lineage, path)

            source.replay(answers, write)
    return store.path(Folder.GENERATED, key, ".parquet")
