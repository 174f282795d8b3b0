"""Where a recipe's synthetic sources have answers, endpoints and ledgers, and what a command says for all of them."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vldata.errors import RecipeError, nearest
from vldata.generate.chain import SourceSet
from vldata.generate.run import Asking
from vldata.generate.sources import SynthSource
from vldata.llm.budget import BudgetLimits, read_ledger
from vldata.llm.endpoint import Endpoint, find_endpoint
from vldata.llm.events import Event
from vldata.llm.folder import default_answers
from vldata.pipeline.build import with_corpora
from vldata.pipeline.session import open_session
from vldata.recipe.models import Recipe
from vldata.synth.models import Synth


@dataclass(frozen=True)
class SynthOptions:
    """What a command may say for all synthetic sources of a recipe; None leaves it to the recipe.

    Args:
        endpoint: URL that takes the place of the configured ones.
        max_usd: What this run may cost, over all sources; the recipe's own limits, over all runs, hold too.
        concurrency: Requests under way at once.
        names: The synthetic sources that are meant; all when empty.
        standin: Made from stand-ins of N rows.
        reask: Also ask for a better reply where the one that is there does not pass its kind's checks.
        canary: Stop when none of the first replies of a kind and model is kept.
    """

    endpoint: str | None = None
    max_usd: float | None = None
    concurrency: int = 64
    names: Sequence[str] = ()
    standin: int | None = None
    reask: bool = False
    canary: bool = True


@dataclass(frozen=True)
class SynthPlaces:
    """A recipe and its places.

    Args:
        store: Of blocks; None is `vldata.store.store.default_store`.
        answers: The answer store's folder; None is `vldata.llm.folder.default_answers`.
        watch: Gets every event with the name of its source, or of its endpoint when it comes from a batch.
    """

    recipe: Recipe
    store: Path | None = None
    answers: Path | None = None
    options: SynthOptions = SynthOptions()
    watch: Callable[[str, Event], None] = lambda name, event: None

    @property
    def folder(self) -> Path:
        """The answer store's."""
        return self.answers or default_answers()

    @property
    def names(self) -> Sequence[str]:
        """The synthetic sources that are meant."""
        return self.options.names or [name for name, entry in self.recipe.entries.items() if entry.synth is not None]

    def specs(self) -> dict[str, Synth]:
        """What the recipe says about the synthetic sources that are meant.

        Raises:
            RecipeError: The recipe has none, or none of that name.
        """
        synthetic = {name: entry.synth for name, entry in self.recipe.entries.items() if entry.synth is not None}
        if not synthetic:
            fix = "add one: {synth: {from: …, kind: llava.conversation, model: …}}"
            raise RecipeError("sources", "none of them has a `synth` section", fix)
        for name in self.names:
            if name not in synthetic:
                raise RecipeError("--source", f"no synthetic source named {name!r}", nearest(name, synthetic))
        return {name: synthetic[name] for name in self.names}

    @contextmanager
    def sources(self) -> Iterator[SourceSet]:
        """The synthetic sources that are meant, each with its samples.

        Raises:
            RecipeError: The recipe has none, or none of that name.
            VldataError: A source that one is made from cannot be read.
        """
        self.specs()
        with open_session(self.store, 1) as session:
            ready = with_corpora(self.recipe, session, standin=self.options.standin)
            yield SourceSet(ready, self.names, session, self.folder, standin=self.options.standin is not None)

    def _asking(self, retry: bool) -> Asking:
        return Asking(retry, self.options.reask, self.options.canary)

    def _label(self, name: str) -> str:
        """What the batches and the ledger of a source are called."""
        return f"{self.recipe.head.name}.{name}"

    def _endpoint(self, source: SynthSource) -> Endpoint:
        return find_endpoint(source.spec.endpoint, url=self.options.endpoint)

    def _endpoints(self) -> Iterator[Endpoint]:
        """Every endpoint that the meant sources name, once."""
        specs = [entry.synth for name, entry in self.recipe.entries.items() if name in self.names]
        for name in dict.fromkeys(spec.endpoint for spec in specs if spec is not None):
            yield find_endpoint(name, url=self.options.endpoint)

    def ledger_so_far(self, name: str) -> Path | None:
        """What all runs and batches for a source have spent, also under the recipe's earlier names; None: nothing."""
        folder = self.folder / "budgets"
        own = folder / f"{self._label(name)}.jsonl"
        others = list(folder.glob(f"*.{glob.escape(name)}.jsonl"))
        return own if own in others else max(others, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _ledger(self, name: str) -> Path:
        """Where what is spent for a source is written down."""
        folder = self.folder / "budgets"
        folder.mkdir(parents=True, exist_ok=True)
        return self.ledger_so_far(name) or folder / f"{self._label(name)}.jsonl"

    def _limits(self, source: SynthSource, left_usd: float | None) -> BudgetLimits:
        """The recipe's, over all runs; and what this run may still charge, on top of what was spent before."""
        spec = source.spec
        own_usd = None if left_usd is None else read_ledger(self._ledger(source.entry.name)).usd + left_usd
        return BudgetLimits(
            max_usd=min((usd for usd in (own_usd, spec.max_usd) if usd is not None), default=None),
            max_requests=spec.max_requests,
            max_tokens=spec.max_tokens,
            concurrency=self.options.concurrency,
        )
