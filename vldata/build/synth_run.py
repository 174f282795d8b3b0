"""`vldata synth`: what would be asked and what it would cost, asking it, and looking at what came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from vldata.build.build import default_store, with_corpora
from vldata.build.progress import Progress
from vldata.build.synth import Asking, asking, default_answers, opened
from vldata.errors import RecipeError, nearest
from vldata.recipe.models import Recipe
from vldata.store.gc import in_use
from vldata.store.store import open_store
from vldata.synth.answers import Answers, open_answers
from vldata.synth.batch_book import under_way
from vldata.synth.budget import Limits, Spent, read_ledger
from vldata.synth.endpoint import EndpointSpec, find_endpoint, load_endpoints
from vldata.synth.faults import FAULTS, Scope
from vldata.synth.generate import Draw, Known, first_requests
from vldata.synth.prices import BYTES_PER_TOKEN, Price, Usage, size_of, usage_of
from vldata.synth.request import Request, differences
from vldata.synth.send import Event, Stop, send
from vldata.synth.validate import text_of

_FEW = 20
"""Answers from which on their measured lengths are better than a guess."""


@dataclass(frozen=True)
class Options:
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


@contextmanager
def askings(
    recipe: Recipe, store: Path | None, options: Options, progress: Progress | None = None
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
    opened_store = open_store(store or default_store())
    with in_use(opened_store):
        ready = with_corpora(recipe, opened_store, standin=options.standin, progress=progress)
        yield {name: asking(ready, name, opened_store, progress) for name in options.names or known}


def plan(
    recipe: Recipe, *, store: Path | None = None, answers: Path | None = None, options: Options = Options()
) -> list[dict[str, Any]]:
    """What a run would ask, per synthetic source: requests, hits, why the others are new, tokens and cost.

    ``cost_usd`` holds ``low`` (prompts alone), ``expected`` (answers as long as the ones that are there, else half of
    what is allowed) and ``max`` (every answer as long as it may be, every byte of a prompt a token); None: unknown.
    """
    rows = []
    with askings(recipe, store, options) as all_of_them, opened(answers or default_answers()) as known:
        endpoints = load_endpoints()
        for name, ask in all_of_them.items():
            generated = ask.generated(known)
            wanting = list({request.key: request for request in generated.wanting}.values())
            first = list(first_requests((s.inputs for s in ask.samples), ask.kind, ask.spec))
            price = _price(ask, endpoints)
            rows.append(
                {
                    "source": name,
                    "kind": ask.kind.lineage,
                    "model": ask.spec.model,
                    "endpoint": ask.spec.endpoint,
                    "samples": len(ask.samples),
                    "requests": len({request.key for request in first}),
                    "hits": sum(draw.answer is not None for draw in generated.draws),
                    "to_send": len(wanting),
                    "why_new": dict(_why_new(wanting, known)),
                    **_costs(wanting, price, _usages(generated.draws)),
                    "example": wanting[0].to_json() if wanting else None,
                }
            )
    return rows


def run(
    recipe: Recipe,
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: Options = Options(),
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
        options: The command's.
        retry: Ask again for what the endpoint refused for good, such as by its content policy.
        watch: Is told everything that happens, with the source's name.
        begin: Is told of each source how many requests it makes, should nothing be asked again.
        progress: Who watches what comes before.

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
    options: Options,
    retry: bool,
    watch: Callable[[str, Event], None],
) -> dict[str, Any]:
    spec = ask.spec
    endpoint = find_endpoint(spec.endpoint, url=options.endpoint)
    ledger = ledger_of(folder, recipe_name, name)
    before = read_ledger(ledger)
    limits = Limits(
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
    recipe: Recipe, *, store: Path | None = None, answers: Path | None = None, options: Options = Options()
) -> list[dict[str, Any]]:
    """What is there of every synthetic source: draws kept, wanting and dropped by reason, and what all cost."""
    with askings(recipe, store, options) as all_of_them, opened(answers or default_answers()) as known:
        return [{"source": name, **_state(ask, known)} for name, ask in all_of_them.items()]


def show(
    recipe: Recipe,
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: Options = Options(),
    only: str | None = None,
    limit: int = 5,
) -> list[dict[str, Any]]:
    """Draws side by side with what was asked, what came, how it was parsed and what was found.

    Args:
        recipe: With synthetic sources.
        store: Of blocks.
        answers: The answer store's folder.
        options: The command's.
        only: ``kept``, a reason, or a sample's row; None: whatever comes first.
        limit: At most so many of each source.
    """
    rows = []
    with askings(recipe, store, options) as all_of_them, opened(answers or default_answers()) as known:
        for name, ask in all_of_them.items():
            draws = [draw for draw in ask.generated(known).draws if _is_meant(draw, only)]
            rows += [{"source": name, **_shown(draw)} for draw in draws[:limit]]
    return rows


def _is_meant(draw: Draw, only: str | None) -> bool:
    if only is None:
        return draw.answer is not None
    reasons = {draw.problem, *(finding.reason for finding in draw.findings)}
    return only in (draw.row, draw.inputs.row) or only in reasons or (only == "kept" and bool(draw.kept))


def _shown(draw: Draw) -> dict[str, Any]:
    request = draw.requests[-1] if draw.requests else None
    return {
        "row": draw.row,
        "request": request.key if request else None,
        "messages": list(request.messages) if request else [],
        "reply": text_of(draw.answer.reply) if draw.answer else None,
        "turns": [
            {"question": e.question, "answer": e.answer, "kept": place in draw.kept}
            for place, e in enumerate(draw.exchanges)
        ],
        "findings": [{**f._asdict()} for f in draw.findings],
        "verdict": "kept" if draw.kept else draw.problem,
        "detail": draw.detail,
        "asked_times": len(draw.requests),
        "cost_usd": draw.answer.cost_usd if draw.answer else None,
    }


def _state(ask: Asking, answers: Any) -> dict[str, Any]:
    draws = ask.generated(answers).draws
    requests = [request.key for draw in draws for request in draw.requests]
    usd, unpriced = answers.spent(requests) if isinstance(answers, Answers) else (0.0, 0)
    marks = Counter(f.reason for draw in draws if draw.kept for f in draw.findings if f.policy == "mark")
    return {
        "samples": len(ask.samples),
        "draws": len(draws),
        "kept": sum(bool(draw.kept) for draw in draws),
        "turns": sum(len(draw.kept) for draw in draws),
        "wanting": sum(draw.wanting is not None for draw in draws),
        "dropped": dict(sorted(Counter(d.problem for d in draws if d.problem and d.wanting is None).items())),
        "marked": dict(sorted(marks.items())),
        "cost_usd": usd,
        "unpriced_attempts": unpriced,
    }


def is_final(answers: Known, key: str) -> bool:
    """Whether the endpoint refused this request, so that asking again would not help."""
    failure = answers.failure(key)
    if failure is None or not failure.attempts:
        return False
    last = failure.attempts[-1].error
    return last is not None and last in FAULTS and last != "interrupted" and FAULTS[last].scope is Scope.ROW


def _why_new(wanting: Sequence[Request], answers: Any) -> Counter[str]:
    """Why there is no answer yet, to how many requests."""
    why: Counter[str] = Counter()
    for request in wanting:
        like = answers.last_like(request) if isinstance(answers, Answers) else None
        changed = [] if like is None else differences(like, request)
        why[", ".join(changed) + " changed" if changed else "never asked"] += 1
    return why


def _usages(draws: Sequence[Draw]) -> list[Usage]:
    found = (usage_of(draw.answer.reply) for draw in draws if draw.answer is not None)
    return [usage for usage in found if usage is not None]


def _costs(wanting: Sequence[Request], price: Price | None, known: Sequence[Usage]) -> dict[str, Any]:
    sizes = [size_of(request, price) for request in wanting]
    prompt = sum(size.input_expected for size in sizes)
    measured = fmean(usage.output_tokens for usage in known) if len(known) >= _FEW else None
    answers = sum(
        min(measured, size.output_ceiling or measured) if measured is not None else (size.output_ceiling or 0) / 2
        for size in sizes
    )
    largest = [size.ceiling for size in sizes]
    basis = f"answers measured on {len(known):,}" if measured is not None else "answers guessed at half their limit"
    tokens = {
        "prompt": prompt,
        "answers": round(answers),
        "max": None if None in largest else sum(size for size in largest if size is not None),
        "basis": basis,
        "bytes_per_token": BYTES_PER_TOKEN,
    }
    cost: dict[str, float | None] = {"low": None, "expected": None, "max": None}
    if price is not None:
        ceilings = [price.ceiling_usd(size) for size in sizes]
        cost = {
            "low": price.cost_usd(Usage(prompt, 0)),
            "expected": price.cost_usd(Usage(prompt, round(answers))),
            "max": None if None in ceilings else sum(c for c in ceilings if c is not None),
        }
    return {"tokens": tokens, "cost_usd": cost}


def _price(ask: Asking, endpoints: Mapping[str, EndpointSpec]) -> Price | None:
    spec = ask.spec
    endpoint = endpoints.get(spec.endpoint)
    return endpoint.prices.get(spec.model) if endpoint is not None else None


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
