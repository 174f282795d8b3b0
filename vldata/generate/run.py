"""`vldata synth`: what would be asked and what it would cost, asking it, and looking at what came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vldata.base import Progress
from vldata.errors import RecipeError, nearest
from vldata.generate.sources import Asking, asking, opened
from vldata.llm.answers import Answers, open_answers
from vldata.llm.batch.book import under_way
from vldata.llm.budget import BudgetLimits, Spent, read_ledger
from vldata.llm.endpoint import find_endpoint
from vldata.llm.events import Event, Stop
from vldata.llm.faults import FAULTS, Scope
from vldata.llm.folder import default_answers
from vldata.llm.request import Request
from vldata.llm.send import send
from vldata.pipeline.build import with_corpora
from vldata.pipeline.session import open_session
from vldata.recipe.models import Recipe
from vldata.synth.draws import Outcome
from vldata.synth.generate import AnswerLookup


@dataclass(frozen=True)
class SynthOptions:
    """What a command may say for all synthetic sources of a recipe; None leaves it to the recipe.

    Args:
        endpoint: URL that takes the place of the configured ones.
        max_usd: What this run may cost, over all sources; the recipe's own limits, over all runs, hold too.
        concurrency: Requests under way at once.
        names: The synthetic sources that are meant; all when empty.
        standin: Made from stand-ins of so many rows.
    """

    endpoint: str | None = None
    max_usd: float | None = None
    concurrency: int = 64
    names: Sequence[str] = ()
    standin: int | None = None


ALL = SynthOptions()
"""Every source, as the recipe says."""


@contextmanager
def askings(
    recipe: Recipe, store: Path | None, options: SynthOptions, progress: Progress | None = None
) -> Iterator[dict[str, Asking]]:
    """Every synthetic source that is meant, ready to be asked about.

    Raises:
        RecipeError: The recipe has none, or none of that name.
        VldataError: A source that one is made from cannot be read.
    """
    known = [name for name, entry in recipe.entries.items() if entry.synth is not None]
    if not known:
        fix = "add one: {synth: {from: …, kind: llava.conversation, model: …}}"
        raise RecipeError("sources", "none of them has a `synth` section", fix)
    for name in options.names:
        if name not in known:
            raise RecipeError("--source", f"no synthetic source named {name!r}", nearest(name, known))
    with open_session(store, 1, progress) as session:
        ready = with_corpora(recipe, session, standin=options.standin)
        yield {name: asking(ready, name, session.store, progress) for name in options.names or known}


def run(
    recipe: Recipe,
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    retry: bool = False,
    watch: Callable[[str, Event], None] = lambda name, event: None,
    begin: Callable[[str, int], None] = lambda name, total: None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Ask for every answer that is wanting, until none is or something stops it.

    Args:
        recipe: With synthetic sources.
        store: Of blocks.
        answers: The answer store's folder.
        retry: Ask again for what the endpoint refused for good, such as by its content policy.
        watch: Is told everything that happens, with the source's name.
        begin: Is told of each source how many requests it makes, should nothing be asked again.

    Raises:
        VldataError: An endpoint or a source cannot be used.
    """
    folder = answers or default_answers()
    rows: list[dict[str, Any]] = []
    with askings(recipe, store, options, progress) as all_of_them, open_answers(folder) as known:
        for name, ask in all_of_them.items():
            begin(name, len(ask.samples) * ask.kind.settings.draws)
            left = None if options.max_usd is None else options.max_usd - sum(row["spent_usd"] for row in rows)
            row = _run_one(recipe.head.name, name, ask, known, folder, replace(options, max_usd=left), retry, watch)
            rows.append(row)
            if row["stopped"] is not None:
                break
    return rows


def _run_one(
    recipe_name: str,
    name: str,
    ask: Asking,
    answers: Answers,
    folder: Path,
    options: SynthOptions,
    retry: bool,
    watch: Callable[[str, Event], None],
) -> dict[str, Any]:
    spec = ask.spec
    endpoint = find_endpoint(spec.endpoint, url=options.endpoint)
    ledger = ledger_of(folder, recipe_name, name)
    before = read_ledger(ledger)
    limits = BudgetLimits(
        max_usd=smaller(None if options.max_usd is None else before.usd + options.max_usd, spec.max_usd),
        max_requests=spec.max_requests,
        max_tokens=spec.max_tokens,
        concurrency=options.concurrency,
    )
    answered, failed, spent, stopped = 0, dict[str, str](), Spent(), None
    total = before
    tried = set(under_way(folder))  # in a batch that is not back yet: not twice

    def untried() -> Iterator[Request]:
        for request in ask.wanted(answers):
            if request.key not in tried and (retry or not is_final(answers, request.key)):
                tried.add(request.key)
                yield request

    while True:  # an answer may make another request necessary
        before_round = len(tried)
        sent = send(
            untried(),
            endpoint=endpoint,
            answers=answers,
            pictures=ask.picture,
            limits=limits,
            watch=lambda event: watch(name, event),
            ledger=ledger,
        )
        answered += sent.answered
        failed |= sent.failed
        spent, total, stopped = spent + sent.spent, sent.total, sent.stopped
        if stopped is not None or len(tried) == before_round:
            break
    state = _state(ask, answers)
    return {
        "source": name,
        "answered": answered,
        "failed": dict(sorted(Counter(failed.values()).items())),
        "spent_usd": spent.usd,
        "spent_usd_in_all_runs": total.usd,
        "tokens": spent.tokens,
        "requests": spent.requests,
        "unpriced_requests": spent.unpriced,
        "stopped": told(stopped),
        **state,
    }


def status(
    recipe: Recipe, *, store: Path | None = None, answers: Path | None = None, options: SynthOptions = ALL
) -> list[dict[str, Any]]:
    """What is there of every synthetic source: draws kept, wanting and dropped by reason, and what all cost.

    ``damaged`` lists every place of the answer store that was found damaged on the way, whoever's answer it holds:
    ``file``, ``offset`` in bytes and ``key`` of the request, which is None when that cannot be read either.
    """
    with askings(recipe, store, options) as all_of_them, opened(answers or default_answers()) as known:
        rows = [{"source": name, **_state(ask, known)} for name, ask in all_of_them.items()]
        found = known.damaged if isinstance(known, Answers) else ()
        damaged = [{"file": place.path.name, "offset": place.offset, "key": place.key} for place in found]
        return [{**row, "damaged": damaged} for row in rows]


def _state(ask: Asking, answers: Any) -> dict[str, Any]:
    counted = ask.replay(answers, lambda outcomes: _counted(outcomes, answers))
    return {"samples": len(ask.samples), "rejected": ask.rejected, **counted}


def _counted(outcomes: Iterator[Outcome], answers: Any) -> dict[str, Any]:
    numbers: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    keys: set[bytes] = set()
    for draw in (draw for outcome in outcomes for draw in outcome.draws):
        keys.update(bytes.fromhex(request.key) for request in draw.requests)
        numbers["draws"] += 1
        numbers["turns"] += len(draw.kept)
        if draw.kept:
            numbers["kept"] += 1
            marks.update(finding.reason for finding in draw.findings if finding.policy == "mark")
        elif draw.pending is not None:
            numbers["wanting"] += 1
        elif draw.problem is not None:
            dropped[draw.problem] += 1
    usd, unpriced = answers.spent(key.hex() for key in keys) if isinstance(answers, Answers) else (0.0, 0)
    return {
        **{name: numbers[name] for name in ("draws", "kept", "turns", "wanting")},
        "dropped": dict(sorted(dropped.items())),
        "marked": dict(sorted(marks.items())),
        "cost_usd": usd,
        "unpriced_attempts": unpriced,
    }


def is_final(answers: AnswerLookup, key: str) -> bool:
    """Whether the endpoint refused this request, so that asking again would not help."""
    failure = answers.failure(key)
    if failure is None or not failure.attempts:
        return False
    last = failure.attempts[-1].error
    return last is not None and last in FAULTS and last != "interrupted" and FAULTS[last].scope is Scope.ROW


def smaller(one: float | None, other: float | None) -> float | None:
    """The limit that holds where there may be two."""
    given = [limit for limit in (one, other) if limit is not None]
    return min(given) if given else None


def told(stopped: Stop | None) -> dict[str, str] | None:
    """Why something stopped, as plain data."""
    if stopped is None:
        return None
    error = stopped.error
    return {"reason": stopped.reason, "where": error.where, "problem": error.problem, "fix": error.fix}


def ledger_of(answers: Path, recipe_name: str, source: str) -> Path:
    """The ledger of what all runs and batches for a source have spent."""
    folder = answers / "budgets"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{recipe_name}.{source}.jsonl"


def spent_of(row: Mapping[str, Any]) -> str:
    """What a run cost, for people."""
    unknown = f" and {row['unpriced_requests']:,} requests of unknown price" if row["unpriced_requests"] else ""
    return f"{row['spent_usd']:.4f} USD{unknown}"
