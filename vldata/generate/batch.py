"""Batches of a run: how large they may be, how they are waited for, and what has come of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vldata.generate.run import stop_row
from vldata.llm.batch.collect import BatchResults
from vldata.llm.batch.route import State
from vldata.llm.batch.submit import LIMITS, SubmitResult
from vldata.llm.budget import Spending
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import Stop


@dataclass(frozen=True)
class Polling:
    """How batches, which may take a day, are waited for.

    Args:
        poll_s: Seconds between two looks.
        before_wait: Gets the open batches before each wait.
    """

    poll_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    before_wait: Callable[[Sequence[State]], None] = lambda states: None

    def wait(self, states: Sequence[State]) -> None:
        """Until the next look."""
        self.before_wait(states)
        self.sleep(self.poll_s)

    def until_ready(self, states_now: Callable[[], tuple[State, ...]]) -> tuple[State, ...]:
        """The open batches, once one of them is ready to be collected, or none can be waited for."""
        states = states_now()
        while not is_lost(states) and not any(state.is_ready for state in states):
            self.wait(states)
            if any(state.status == "unmade" for state in states):
                break  # only a look with the store open can tell what became of it
            states = states_now()
        return states


@dataclass
class Tally:
    """What has come back so far, over all looks and endpoints.

    Args:
        batches_ended: In whichever state.
        answered: Requests that have an answer now and had none.
        failed: Class of fault to number of requests.
        spent_usd: What ended batches cost.
        problems: What the endpoint says about whole batches, and lines that cannot be read.
        stopped: Why the last look was cut short, by the first endpoint that says so or by what was sent after it; set
            to None before each look.
    """

    batches_ended: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    spent_usd: float = 0.0
    problems: list[str] = field(default_factory=list)
    stopped: Stop | None = None

    def add(self, results: BatchResults) -> None:
        """Count what an endpoint gave."""
        self.batches_ended += sum(results.ended.values())
        self.answered += results.answered
        self.failed += Counter(results.failed)
        self.spent_usd += results.spent.usd
        self.problems += [*results.problems, *results.unreadable]
        self.stopped = self.stopped or results.stopped

    def row(self) -> dict[str, Any]:
        """The same as plain data."""
        return vars(self) | {"failed": dict(sorted(self.failed.items())), "stopped": stop_row(self.stopped)}


def is_lost(states: Iterable[State]) -> bool:
    """Whether nothing can come of any of these batches."""
    return all(state.status in ("not_found", "elsewhere") for state in states)


def is_end(stopped: Stop | None) -> bool:
    """Whether no other source can be sent either; under a limit of its own a source stops alone."""
    return stopped is not None and stopped.reason not in LIMITS


def not_submitted(stop: Stop) -> SubmitResult:
    """What goes into batches when something stops them before."""
    return SubmitResult(0, 0, 0, 0, {}, 0, Spending(), Spending(), stop)


def left_usd_after(submitted: SubmitResult, left_usd: float | None) -> float | None:
    """What this run may still charge; what comes back of it is for the next run."""
    return None if left_usd is None else max(0.0, left_usd - submitted.charged.usd)


def submitted_row(submitted: SubmitResult) -> dict[str, Any]:
    """What went into batches, as plain data."""
    return {
        "batches": submitted.batches,
        "requests": submitted.requests,
        "hits": submitted.hits,
        "under_way": submitted.under_way,
        "left_out": dict(sorted(Counter(submitted.left_out.values()).items())),
        "unsent": submitted.unsent,
        "charged_usd_in_all_runs": submitted.total.usd,
        "stopped": stop_row(submitted.stopped),
    }


def collected_row(endpoint: Endpoint, results: BatchResults) -> dict[str, Any]:
    """What came back from an endpoint, as plain data."""
    return {
        "endpoint": endpoint.name,
        "ended": dict(results.ended),
        "answered": results.answered,
        "already": results.already,
        "failed": dict(results.failed),
        "wanting": results.pending,
        "unknown": results.unknown,
        "duplicates": results.duplicates,
        "bad_lines": list(results.unreadable),
        "problems": list(results.problems),
        "spent_usd": results.spent.usd,
        "open": [asdict(state) for state in results.open],
        "stopped": stop_row(results.stopped),
    }
