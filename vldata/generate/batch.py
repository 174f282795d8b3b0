"""`vldata synth batch`: what a run would ask, by the Batch API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vldata.base import Progress
from vldata.generate.run import ALL, SynthOptions, askings, is_final, ledger_of, smaller, told
from vldata.generate.sources import Asking, opened
from vldata.llm.answers import Answers, open_answers
from vldata.llm.batch.book import open_book
from vldata.llm.batch.collect import BatchResults, collect, poll
from vldata.llm.batch.lines import MAX_BYTES, MAX_LINES, BatchLimits
from vldata.llm.batch.route import State
from vldata.llm.batch.submit import LIMITS, SubmitResult, submit
from vldata.llm.budget import BudgetLimits, read_ledger
from vldata.llm.endpoint import Endpoint, find_endpoint
from vldata.llm.events import Event, Stop
from vldata.llm.folder import default_answers
from vldata.llm.request import Request
from vldata.recipe.models import Recipe

POLL_S = 60.0
"""Between two looks at batches that may take a day."""

Watch = Callable[[str, Event], None]


@dataclass
class Tally:
    """What has come back so far, over all looks and endpoints.

    Args:
        batches_ended: In whichever state.
        answered: Requests that have an answer now and had none.
        failed: Class of fault to number of requests.
        spent_usd: What ended batches cost.
        problems: What the endpoint says about whole batches, and lines that cannot be read.
        stopped: Why the last look was cut short, by the first endpoint that says so or by what was sent after it; who
            looks sets it to None before.
    """

    batches_ended: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    spent_usd: float = 0.0
    problems: list[str] = field(default_factory=list)
    stopped: Stop | None = None

    def add(self, came: BatchResults) -> None:
        """Count what an endpoint gave."""
        self.batches_ended += sum(came.ended.values())
        self.answered += came.answered
        self.failed += Counter(came.failed)
        self.spent_usd += came.spent.usd
        self.problems += [*came.problems, *came.unreadable]
        self.stopped = self.stopped or came.stopped

    def row(self) -> dict[str, Any]:
        """The same as plain data, which the caller's own facts join."""
        return {
            "batches_ended": self.batches_ended,
            "answered": self.answered,
            "failed": dict(sorted(self.failed.items())),
            "spent_usd": self.spent_usd,
            "problems": self.problems,
            "stopped": told(self.stopped),
        }


def submit_batch(
    recipe: Recipe,
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
    max_open: int | None = None,
    retry: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Send what is wanting in batches, and do not wait.

    Args:
        recipe: With synthetic sources.
        store: Of blocks.
        answers: The answer store's folder.
        max_lines: Most requests in a batch.
        max_bytes: Most bytes of its file.
        max_open: Most batches of an endpoint that are open at once.
        retry: Also what the endpoint refused for good.

    Raises:
        VldataError: An endpoint or a source cannot be used.
    """
    place = answers or default_answers()
    rows = []
    with askings(recipe, store, options, progress) as all_of_them, open_answers(place) as known:
        left_usd = options.max_usd
        for name, ask in all_of_them.items():
            wanted = still_wanting(ask, known, retry=retry)
            sent = _submit(recipe, name, ask, wanted, known, options, max_lines, max_bytes, max_open, left_usd)
            left_usd = _left(left_usd, sent)
            rows.append({"source": name, **_sent(sent)})
            if _is_end(sent.stopped):
                break
    return rows


def collect_batch(
    recipe: Recipe,
    *,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    forget: bool = False,
    watch: Watch = lambda name, event: None,
) -> list[dict[str, Any]]:
    """Take the answers of batches that have ended, of every endpoint that the recipe names.

    Reads no source, and takes also what other recipes sent to the same endpoints: it is paid for.

    Args:
        recipe: With synthetic sources.
        answers: The answer store's folder.
        forget: Give up batches that the endpoint does not know any more.
        watch: Is told what is answered and what failed, with the endpoint's name.

    Raises:
        VldataError: An endpoint or the answer store cannot be used.
    """
    rows = []
    with open_answers(answers or default_answers()) as known:
        for endpoint in endpoints_of(recipe, options):
            tell = partial(watch, endpoint.name)
            rows.append(_came(endpoint, collect(endpoint=endpoint, answers=known, forget=forget, watch=tell)))
    return rows


def run_batch(
    recipe: Recipe,
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
    max_open: int | None = None,
    retry: bool = False,
    forget: bool = False,
    poll_s: float = POLL_S,
    sleep: Callable[[float], None] = time.sleep,
    watch: Watch = lambda name, event: None,
    waiting: Callable[[Sequence[State]], None] = lambda states: None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Submit, wait and collect until nothing is wanting and no batch is open; it may be ended and begun again anywhere.

    The answer store is open only while something is put into it, so that others can write while this waits.

    Args:
        recipe: With synthetic sources.
        store: Of blocks.
        answers: The answer store's folder.
        max_lines: As for `submit_batch`, and so are the next three.
        max_bytes: See above.
        max_open: See above.
        retry: See above.
        forget: As for `collect_batch`.
        poll_s: Seconds between two looks.
        sleep: Waits.
        watch: Is told what is answered and what failed.
        waiting: Is told what is open before each wait.

    Raises:
        VldataError: An endpoint or a source cannot be used.
    """
    place = answers or default_answers()
    total: Counter[str] = Counter()
    tally, states = Tally(), tuple[State, ...]()
    tried: set[str] = set()
    left_usd = options.max_usd
    with askings(recipe, store, options, progress) as all_of_them:
        endpoints = list(endpoints_of(recipe, options))
        while True:
            tally.stopped = None
            with open_answers(place) as known:
                for endpoint in endpoints:
                    tell = partial(watch, endpoint.name)
                    tally.add(collect(endpoint=endpoint, answers=known, forget=forget, watch=tell))
                for name, ask in all_of_them.items():
                    if _is_end(tally.stopped):
                        break
                    wanted = [r for r in still_wanting(ask, known, retry=retry) if r.key not in tried]
                    sent = _submit(recipe, name, ask, wanted, known, options, max_lines, max_bytes, max_open, left_usd)
                    left_usd = _left(left_usd, sent)
                    with open_book(place, read_only=True) as book:
                        there = book.keys_sent()
                    tried |= {request.key for request in wanted if request.key in there} | sent.left_out.keys()
                    total += Counter(batches=sent.batches, requests=sent.requests, left_out=len(sent.left_out))
                    tally.stopped = sent.stopped if _is_end(sent.stopped) else tally.stopped or sent.stopped
            if _is_end(tally.stopped):
                break
            states = _waited(endpoints, place, waiting, partial(sleep, poll_s))
            if is_lost(states):
                break  # under a limit it goes on: what comes back may make room
        with opened(place) as known:
            wanting = {r.key for ask in all_of_them.values() for r in ask.wanted(known)}
    return {
        **{name: total[name] for name in ("batches", "requests", "left_out")},
        **tally.row(),
        "wanting": len(wanting),
        "open": [asdict(state) for state in states],
    }


def is_lost(states: Iterable[State]) -> bool:
    """Whether nothing can come of any of these batches."""
    return all(state.status in ("not_found", "elsewhere") for state in states)


def _waited(
    endpoints: Sequence[Endpoint],
    place: Path,
    waiting: Callable[[Sequence[State]], None],
    sleep: Callable[[], None],
) -> tuple[State, ...]:
    """The open batches, once one of them is ready to be collected, or none can be waited for."""
    states = _states(endpoints, place)
    while not is_lost(states) and not any(state.is_ready for state in states):
        waiting(states)
        sleep()
        if any(state.status == "unmade" for state in states):
            break  # only a look with the store open can tell what became of it
        states = _states(endpoints, place)
    return states


def _is_end(stopped: Stop | None) -> bool:
    """Whether no other source can be sent either; under a limit of its own a source stops alone."""
    return stopped is not None and stopped.reason not in LIMITS


def label_of(recipe: Recipe, name: str) -> str:
    """Whose a batch is."""
    return f"{recipe.head.name}.{name}"


def _states(endpoints: Iterable[Endpoint], place: Path) -> tuple[State, ...]:
    return tuple(state for endpoint in endpoints for state in poll(endpoint=endpoint, answers=place))


def _submit(
    recipe: Recipe,
    name: str,
    ask: Asking,
    wanted: Iterable[Request],
    known: Answers,
    options: SynthOptions,
    max_lines: int,
    max_bytes: int,
    max_open: int | None,
    left_usd: float | None,
) -> SubmitResult:
    """Send what is wanting of one source; ``left_usd`` is what this run may still charge."""
    spec = ask.spec
    ledger = ledger_of(known.folder, recipe.head.name, name)
    own = None if left_usd is None else read_ledger(ledger).usd + left_usd
    limits = BudgetLimits(
        max_usd=smaller(own, spec.max_usd),
        max_requests=spec.max_requests,
        max_tokens=spec.max_tokens,
    )
    return submit(
        wanted,
        endpoint=endpoint_of(ask, options),
        answers=known,
        read_image=ask.picture,
        limits=limits,
        ledger=ledger,
        label=label_of(recipe, name),
        batch_limits=BatchLimits(max_lines, max_bytes, max_open),
    )


def still_wanting(ask: Asking, known: Any, *, retry: bool) -> list[Request]:
    """What to ask, each once; not what was refused for good, unless that is to be tried again."""
    found = {request.key: request for request in ask.wanted(known)}
    return [request for key, request in found.items() if retry or not is_final(known, key)]


def endpoints_of(recipe: Recipe, options: SynthOptions) -> Iterator[Endpoint]:
    """Every endpoint that the meant sources name, once."""
    entries = [entry for name, entry in recipe.entries.items() if not options.names or name in options.names]
    names = dict.fromkeys(entry.synth.endpoint for entry in entries if entry.synth is not None)
    for name in names:
        yield find_endpoint(name, url=options.endpoint)


def endpoint_of(ask: Asking, options: SynthOptions) -> Endpoint:
    """Where a source's requests go."""
    return find_endpoint(ask.spec.endpoint, url=options.endpoint)


def _sent(sent: SubmitResult) -> dict[str, Any]:
    return {
        "batches": sent.batches,
        "requests": sent.requests,
        "hits": sent.hits,
        "under_way": sent.under_way,
        "left_out": dict(sorted(Counter(sent.left_out.values()).items())),
        "unsent": sent.unsent,
        "charged_usd_in_all_runs": sent.total.usd,
        "stopped": told(sent.stopped),
    }


def _came(endpoint: Endpoint, came: BatchResults) -> dict[str, Any]:
    return {
        "endpoint": endpoint.name,
        "ended": dict(came.ended),
        "answered": came.answered,
        "already": came.already,
        "failed": dict(came.failed),
        "wanting": came.pending,
        "unknown": came.unknown,
        "duplicates": came.duplicates,
        "bad_lines": list(came.unreadable),
        "problems": list(came.problems),
        "spent_usd": came.spent.usd,
        "open": [asdict(state) for state in came.open],
        "stopped": told(came.stopped),
    }


def _left(left_usd: float | None, sent: SubmitResult) -> float | None:
    """What this run may still charge; what comes back of it is for the next run."""
    return None if left_usd is None else max(0.0, left_usd - sent.charged.usd)
