"""Why a draw has no reply yet, or waits for one."""

from __future__ import annotations

from collections.abc import Collection

from vldata.llm.faults import FAULTS
from vldata.synth.draws import NOT_GENERATED, Draw

SAYS = {
    "never_sent": "not sent yet",
    "in_batch": "in a batch that has not been collected",
    "awaits_judge": "its judge has not replied",
    "awaits_longer_reply": "its reply was cut off, and is to be requested with more tokens",
}
"""Reasons beside the classes of `vldata.llm.faults.FAULTS`, for people."""


def is_pending(draw: Draw) -> bool:
    """Whether it waits for a reply: to itself, or of a judge."""
    return draw.problem == NOT_GENERATED


def why_pending(draw: Draw, in_batch: Collection[str] = ()) -> str:
    """The class of the fault that gave its request up, or one of `SAYS`.

    Args:
        in_batch: Keys of requests in open batches.
    """
    request = draw.pending
    if request is None:
        return "awaits_judge"
    if request.key in in_batch:
        return "in_batch"
    if draw.detail is not None:
        return draw.detail
    return "awaits_longer_reply" if len(draw.requests) > 1 else "never_sent"


def says(reason: str) -> str:
    """A reason for people."""
    return SAYS.get(reason) or (FAULTS[reason].says if reason in FAULTS else reason)
