"""What a run reports while it sends, and when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vldata.errors import VldataError
from vldata.llm.budget import BudgetLimits, Spending
from vldata.llm.endpoint import Endpoint, EndpointError
from vldata.llm.prices import Price, Usage, max_output_tokens
from vldata.llm.request import Request

EventKind = Literal["hit", "duplicate", "sent", "answered", "retry", "failed", "unsent", "paused", "stopping"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for a progress display.

    Args:
        kind: ``sent`` and ``retry`` are about attempts; ``paused`` about the whole endpoint; ``stopping`` about the
            run; the others end a request.
        key: The request's; None for ``paused`` and ``stopping``.
        fault: The class, for ``retry``, ``failed`` and ``paused``; the reason, for ``stopping``.
        wait_s: For ``retry`` and ``paused``.
        usage: For ``answered``; None when the server did not say.
        cost_usd: For ``answered``, of the last attempt; None when it is not known.
    """

    kind: EventKind
    key: str | None = None
    fault: str | None = None
    wait_s: float = 0.0
    usage: Usage | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ended before all requests were dealt with.

    Args:
        reason: ``interrupted``; ``max_usd``, ``max_requests`` or ``max_tokens``; ``no_price`` or ``no_maximum`` under
            such a limit; ``no_key``; ``long_wait``; ``rate_limited`` without end; ``failing`` (the circuit breaker);
            ``format_ignored``; ``error`` of the store or of what writes the requests; or a class of
            `vldata.llm.faults.FAULTS` that stops a run.
        error: The same for people, with what to do.
    """

    reason: str
    error: VldataError


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of all requests, each of which is a hit, a duplicate, answered, failed or unsent.

    Args:
        hits: Answered before this run.
        duplicates: Equal to one that this run sent.
        answered: By this run.
        failed: Key to class of fault, of those given up.
        unsent: Not sent, or not answered, when the run stopped; None after an interruption, as the rest is not looked
            at then.
        spent: By this run.
        total: By all runs of this ledger, this one included.
        ignored_format: Answers that ignore ``response_format``, among ``answered``.
        examples: One example of the server's own words for each class of fault.
        servers: What became of attempts, by URL: ``sent``, ``answered`` and ``failed``.
    """

    hits: int
    duplicates: int
    answered: int
    failed: Mapping[str, str]
    unsent: int | None
    spent: Spending
    total: Spending
    ignored_format: int = 0
    stopped: Stop | None = None
    examples: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def unbounded(request: Request, endpoint: Endpoint, limits: BudgetLimits, *, in_batch: bool = False) -> Stop | None:
    """Why a request cannot be held to the limits, which then goes for all others like it; None: it can.

    Args:
        in_batch: It goes into a batch, whose price has a factor of its own.
    """
    price: Price | None = endpoint.prices.get(request.model)
    if limits.max_usd is not None and (price is None or (in_batch and price.batch_factor is None)):
        missing = "price" if price is None else "batch_factor of the price"
        return Stop(
            "no_price",
            EndpointError(
                f"endpoint {endpoint.name}",
                f"the {missing} of {request.model!r} is not known, so max_usd cannot be kept",
                f"add it under endpoints.{endpoint.name}.prices in your configuration, or limit max_tokens",
            ),
        )
    is_limited = limits.max_usd is not None or limits.max_tokens is not None
    if is_limited and max_output_tokens(request.parameters) is None:
        limit = "max_usd" if limits.max_usd is not None else "max_tokens"
        return Stop(
            "no_maximum",
            EndpointError(
                f"model {request.model!r}",
                f"its answers have no largest length, so {limit} cannot be kept",
                "set max_completion_tokens (or max_tokens) under `parameters`",
            ),
        )
    return None
