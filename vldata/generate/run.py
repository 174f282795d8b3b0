"""The pending requests of a synthetic source, sent until none is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vldata.generate.sources import SynthSource
from vldata.llm.answers import Answers
from vldata.llm.batch.book import under_way
from vldata.llm.budget import BudgetLimits, Spending
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import Event, Stop
from vldata.llm.send import send


def send_pending(
    source: SynthSource,
    *,
    retry: bool,
    endpoint: Endpoint,
    answers: Answers,
    limits: BudgetLimits,
    ledger: Path,
    watch: Callable[[Event], None],
) -> dict[str, Any]:
    """Send until nothing is pending or something stops it; what it did, as plain data.

    Args:
        retry: Also what the endpoint refused for good.
    """
    answered, failed, spent = 0, dict[str, str](), Spending()
    said: dict[str, str] = {}
    servers: dict[str, Counter[str]] = {}
    tried = set(under_way(answers.folder))  # in a batch that is not back yet: not twice
    while True:  # an answer may make another request necessary
        before_round = len(tried)
        sent = send(
            source.pending(answers, tried, retry=retry),
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
        spent += sent.spent
        if sent.stopped is not None or len(tried) == before_round:
            break
    return {
        "answered": answered,
        "failed": dict(sorted(Counter(failed.values()).items())),
        "spent_usd": spent.usd,
        "spent_usd_in_all_runs": sent.total.usd,
        "tokens": spent.tokens,
        "requests": spent.requests,
        "unpriced_requests": spent.unpriced,
        "said": said,
        "servers": servers,
        "stopped": stop_row(sent.stopped),
    }


def stop_row(stopped: Stop | None) -> dict[str, str] | None:
    """Why something stopped, as plain data."""
    if stopped is None:
        return None
    error = stopped.error
    return {"reason": stopped.reason, "where": error.where, "problem": error.problem, "fix": error.fix}
