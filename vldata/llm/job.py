"""A request on its way: what was tried for it so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from vldata.llm.prices import Price, Size
from vldata.llm.records import Attempt
from vldata.llm.request import Request
from vldata.llm.servers import Server
from vldata.llm.spelling import Renames


@dataclass(slots=True)
class RequestJob:
    """A request on its way.

    Args:
        price: Of its model; None when it is not known.
        pico: The most that an attempt can cost, in trillionths of a dollar; None when that is not known.
        attempts: Those that are not kept yet.
        num_failed: Without refusals for the rate.
        renames: Of its parameters, that were in force for the last attempt.
        answered_before: Answers of this run when it came.
        tried: The server of the last attempt.
    """

    request: Request
    price: Price | None
    size: Size
    pico: int | None
    attempts: list[Attempt] = field(default_factory=list)
    num_failed: int = 0
    num_rate_limited: int = 0
    renames: Renames = field(default_factory=dict)
    answered_before: int = 0
    tried: Server | None = None
