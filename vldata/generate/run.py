"""The pending requests of a synthetic source, sent until none is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vldata.generate.canary import canaries, stop_of
from vldata.generate.sources import SynthSource
from vldata.llm.answers import Answers
from vldata.llm.batch.book import under_way
from vldata.llm.budget import BudgetLimits, Spending, read_ledger
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import Event, Stop
from vldata.llm.send import send


@dataclass(frozen=True)
class Asking:
    """What a run sends beside what was never sent.

    Args:
        retry: Also what the endpoint refused for good, such as by its content policy.
        reask: Also for a better reply where the one that is there does not pass its kind's checks.
        canary: Stop when none of the first replies is kept; see `vldata.generate.canary`.
    """

    retry: bool = False
    reask: bool = False
    canary: bool = True


def send_pending(
    source: SynthSource,
    asking: Asking,
    *,
    endpoint: Endpoint,
    answers: Answers,
    limits: BudgetLimits,
    ledger: Path,
    watch: Callable[[Event], None],
) -> dict[str, Any]:
    """Send until nothing is pending or something stops it; what it did, as plain data."""
    answered, failed, spent, total = 0, dict[str, str](), Spending(), read_ledger(ledger)
    said: dict[str, str] = {}
    servers: dict[str, Counter[str]] = {}
    tried = set(under_way(answers.folder))  # in a batch that is not back yet: not twice
    stopped: Stop | None = None
    example: dict[str, Any] | None = None
    room: tuple[int | None, int | None] = (None, None)
    while True:  # an answer may make another request necessary
        if asking.canary:
            birds = canaries(source, answers, failed, retry=asking.retry)
            if (stop := stop_of(birds)) is not None:
                stopped, example = stop
                break
            room = (birds[0].room, birds[1].room)
        before_round = len(tried)
        sent = send(
            source.pending(answers, tried, retry=asking.retry, reask=asking.reask, room=room),
            endpoint=endpoint,
            answers=answers,
            read_image=source.image,
            limits=limits,
            watch=watch,
            ledger=ledger,
        )
        answered += sent.answered
        failed |= sent.failed
        said = {**sent.examples, **said}
        for url, counts in sent.servers.items():
            servers.setdefault(url, Counter()).update(counts)
        spent, total, stopped = spent + sent.spent, sent.total, sent.stopped
        if stopped is not None or len(tried) == before_round:
            break
    return {
        "answered": answered,
        "failed": dict(sorted(Counter(failed.values()).items())),
        "spent_usd": spent.usd,
        "spent_usd_in_all_runs": total.usd,
        "tokens": spent.tokens,
        "requests": spent.requests,
        "unpriced_requests": spent.unpriced,
        "said": said,
        "servers": servers,
        "stopped": stop_row(stopped),
        "example": example,
    }


def stop_row(stopped: Stop | None) -> dict[str, str] | None:
    """Why something stopped, as plain data."""
    if stopped is None:
        return None
    error = stopped.error
    return {"reason": stopped.reason, "where": error.where, "problem": error.problem, "fix": error.fix}
