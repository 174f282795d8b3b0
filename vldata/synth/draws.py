"""What became of a sample: each draw of it, and all together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vldata.llm.records import Answer
from vldata.llm.request import Request
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.validate import Finding

NOT_GENERATED = "not_generated"
NOT_BEST = "not_best"
MISSING_INPUT = "missing_input"


class Draw(NamedTuple):
    """One draw of one sample: all its requests, and what became of the last reply.

    Args:
        inputs: The sample.
        number: Which draw, from 0.
        requests: The first one and its repeats; the last one is the one that counts.
        answer: To the last one; None while it is pending.
        exchanges: What the last reply holds.
        findings: All that is wrong with it.
        kept: Places of the exchanges that become turns.
        problem: Why nothing does; None when something does.
        detail: What exactly.
        repairs: What was repaired to read the last reply: names in `vldata.synth.replies.REPAIRS`.
    """

    inputs: Inputs
    number: int
    requests: tuple[Request, ...]
    answer: Answer | None = None
    exchanges: tuple[Exchange, ...] = ()
    findings: tuple[Finding, ...] = ()
    kept: tuple[int, ...] = ()
    problem: str | None = None
    detail: str | None = None
    repairs: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """Its name: the sample's, and the draw's number after the first."""
        return f"{self.inputs.row}#{self.number + 1}" if self.number else self.inputs.row

    @property
    def pending(self) -> Request | None:
        """The request that has no answer yet."""
        return self.requests[-1] if self.requests and self.answer is None else None

    @property
    def text(self) -> str:
        """All that it answers."""
        return "\n".join(self.exchanges[place].answer for place in self.kept)


class Outcome(NamedTuple):
    """What became of one sample.

    Args:
        draws: One for each draw.
        judging: Requests to a judge that have no answer yet.
    """

    draws: list[Draw]
    judging: list[Request]

    @property
    def pending(self) -> Iterator[Request]:
        """What to send next; answers may make more requests necessary."""
        yield from (request for draw in self.draws if (request := draw.pending) is not None)
        yield from self.judging
