"""Synthetic sources: samples of other sources, the requests about them, and the turns of the answers.

    samples.py   what other sources say about an image -> samples
    sources.py   samples and the answers that are there -> the file of turns that a build reads
    chain.py     sources that are made from other synthetic ones, and all of them for a build
    turns.py     what models wrote -> canonical columns

A build sends nothing. It takes the answers that `vldata synth run` has put into the answer store, parses and checks
them again, and treats what is kept as turns like any others; a sample without an answer is ``not_generated``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from vldata import __version__
from vldata.errors import BuildError, RecipeError
from vldata.generate.review.book import NAME as REVIEWS
from vldata.generate.review.book import read_reviews
from vldata.generate.samples import SynthSamples, samples_of, usable_turns, with_facts
from vldata.generate.turns import write_turns
from vldata.images.pixels import resized
from vldata.images.references import ImageReader
from vldata.llm.answers import Answers, open_answers
from vldata.llm.endpoint_specs import load_endpoints
from vldata.llm.log import Damage
from vldata.llm.request import Request
from vldata.pipeline.image_facts import Lookup, place_of
from vldata.pipeline.session import Session
from vldata.pipeline.workers import Engine
from vldata.recipe.models import Entry, Recipe
from vldata.store.keys import key_of
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store
from vldata.synth.diversity import DiversityLimits
from vldata.synth.draws import Outcome
from vldata.synth.generate import Folded, is_refused, load_kinds, outcomes, replay
from vldata.synth.kind import SynthKind
from vldata.synth.models import Synth
from vldata.synth.replies import REPLIES_VERSION
from vldata.synth.review import TurnReview

GENERATED_VERSION = 4


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

    @property
    def num_expected(self) -> int:
        """Requests, should none be repeated and, with ``until``, every reply be kept."""
        samples = len(self.samples) if self.spec.until is None else min(len(self.samples), self.spec.total or 0)
        return samples * self.kind.settings.draws

    def replay(self, answers: AnswersSoFar, fold: Callable[[Iterator[Outcome]], Folded]) -> Folded:
        """What the answers that are there become, made into something; see `vldata.synth.generate.replay`."""
        about = (self.samples.inputs, self.kind, self.spec, answers, self.judge, _reviews(answers))
        if self.spec.diversity is None:
            return replay(*about, fold=fold)
        limits = replay(*about, fold=DiversityLimits(self.spec.diversity, of_questions=self.writes_questions).measure)
        return replay(*about, fold=lambda outcomes: fold(limits.applied(outcomes)))

    @property
    def writes_questions(self) -> bool:
        """Whether the model writes the questions, too."""
        return self.kind.settings.question == "generated"

    def outcomes(self, answers: AnswersSoFar, *, reask: bool = False) -> Iterator[Outcome]:
        """What becomes of every sample by itself, before the answers are compared with each other."""
        about = (self.samples.inputs, self.kind, self.spec, answers, self.judge, _reviews(answers))
        return outcomes(*about, reask=reask)

    def pending(
        self,
        answers: AnswersSoFar,
        tried: set[str],
        *,
        retry: bool = True,
        reask: bool = False,
        room: tuple[int | None, int | None] = (None, None),
    ) -> Iterator[Request]:
        """The requests whose answers are pending, each once, and which join ``tried``.

        Args:
            tried: Keys of requests that are left out.
            retry: Also what the endpoint refused for good, such as by its content policy.
            reask: Also for a better reply where the one that is there does not pass its kind's checks.
            room: At most N requests for draws, and at most N to a judge; None: any number.
        """
        left = [sys.maxsize if most is None else most for most in room]
        for outcome in self.outcomes(answers, reask=reask):
            for is_judge, request in outcome.by_role(reask=reask):
                if left[is_judge] and request.key not in tried and (retry or not is_refused(answers, request.key)):
                    left[is_judge] -= 1
                    tried.add(request.key)
                    yield request
            if not left[False]:
                return

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


def _reviews(answers: AnswersSoFar) -> Mapping[str, list[TurnReview]]:
    return read_reviews(answers.folder) if isinstance(answers, Answers) else {}


def synth_source(recipe: Recipe, name: str, session: Session, *, standin: bool = False) -> SynthSource:
    """Read what a synthetic source is made from, each other one of which is read from files.

    Args:
        standin: The others are stand-ins, which may have their images in different places.

    Raises:
        VldataError: A source that it is made from cannot be read, or has no images where it says.
    """
    entry = _with_alias(recipe.entries[name])
    assert entry.synth is not None
    kind, judge = load_kinds(entry.synth, f"{entry.where}.synth")
    origins = [recipe.entries[other] for other in entry.synth.from_]
    turns = [usable_turns(recipe, other, session.store) for other in origins]
    lookup = Lookup(recipe, session.store, session.progress, Engine(1))
    references = pl.concat([table["images"].explode().drop_nulls() for table in turns]).unique(maintain_order=True)
    facts = lookup.look(replace(origins[0], settings=entry.settings))(references.to_list())
    lookup.remember_seen()
    if not standin and (kind.needs_image or entry.settings.images.missing == "reject"):
        for table, source in zip(turns, origins, strict=True):
            _refuse_without_images(table, facts, source)
    turns = [with_facts(table, facts, source) for table, source in zip(turns, origins, strict=True)]
    rejected = Counter(reason for table in turns for reason in table["reason"].drop_nulls())
    samples = SynthSamples(
        session.store.root / Folder.TMP,
        samples_of(origins, turns, kind, entry),
        seed=recipe.head.seed,
        source=name,
        total=entry.synth.samples_at_most,
        why_unusable=kind.why_unusable,
    )
    images = facts.filter(pl.col("problem").is_null()).select("hash", "ref").unique("hash", keep="last").sort("hash")
    return SynthSource(entry, kind, judge, samples, images, place_of(origins[0]).root, dict(sorted(rejected.items())))


def _with_alias(entry: Entry) -> Entry:
    """The source with the name that its answers were stored under, by the user's configuration if not by the recipe."""
    assert entry.synth is not None
    spec = load_endpoints().get(entry.synth.endpoint)
    if entry.synth.alias is not None or spec is None or spec.alias is None:
        return entry
    return replace(entry, synth=entry.synth.model_copy(update={"alias": spec.alias}))


def _refuse_without_images(turns: pl.DataFrame, facts: pl.DataFrame, source: Entry) -> None:
    """Not a single image of a source is there: a wrong folder, about which nothing should be sent.

    Raises:
        RecipeError: That is so.
    """
    own = facts.join(turns.select(ref="images").explode("ref").drop_nulls(), on="ref", how="semi")
    missing = own.filter(problem="image_missing")
    if own.is_empty() or own["problem"].null_count() or missing.is_empty():
        return
    root = source.source.image_root
    folder = "no image_root is given, so they are looked for in the working directory" if root is None else repr(root)
    problem = f"none of its {own.height:,} images is there, such as {missing['ref'][0]}: {missing['detail'][0]}"
    raise RecipeError(f"{source.where}.image_root", problem, f"correct image_root, which is {folder}")


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


def file_of(source: SynthSource, answers: AnswersSoFar, folder: Path, store: Store) -> Path:
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
            **({"reviews": (folder / REVIEWS).stat().st_size} if (folder / REVIEWS).exists() else {}),
        }
    )
    if not store.has(Folder.GENERATED, key, ".parquet"):
        with store.write(Folder.GENERATED, key, ".parquet") as path:

            def write(outcomes: Iterator[Outcome]) -> None:
                pairs = zip(source.samples, outcomes, strict=False)  # one outcome a sample, as far as they are needed
                draws = ((sample, draw) for sample, outcome in pairs for draw in outcome.draws)
                write_turns(draws, source.entry, source.kind, path)

            source.replay(answers, write)
    return store.path(Folder.GENERATED, key, ".parquet")
