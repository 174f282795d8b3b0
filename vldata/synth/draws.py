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


class JudgeReply(NamedTuple):
    """A judge's reply about two draws of a sample.

    Args:
        problem: Why it cannot be read; None: it can.
    """

    sample: str
    request: Request
    answer: Answer
    problem: str | None = None
    detail: str | None = None


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
        edited: Places of the exchanges that a person changed.
        is_reviewed: Whether a person's verdict stands in it, which goes before every check.
        again: The request by which the last reply may be requested again, as its kind's checks say; not answered yet.
        judge_replies: About all draws of the sample; the first one has them.
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
    edited: tuple[int, ...] = ()
    is_reviewed: bool = False
    again: Request | None = None
    judge_replies: tuple[JudgeReply, ...] = ()
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
    def keys(self) -> Iterator[str]:
        """Of all that was sent for it, also to its judge, and of what may be."""
        yield from (request.key for request in (*self.requests, self.again) if request is not None)
        yield from (reply.request.key for reply in self.judge_replies)

    @property
    def is_usable(self) -> bool:
        """Whether its reply, taken by itself, would become turns: it may be waiting for a judge, or not be the best."""
        return bool(self.kept) or (self.answer is not None and self.problem in (NOT_BEST, NOT_GENERATED))

    @property
    def reask_reason(self) -> str:
        """Why its last reply may be requested again: the first of its findings that says so."""
        return next((finding.reason for finding in self.findings if finding.policy == "reask"), "no_exchange")

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
    def first_pending(self) -> Iterator[Request]:
        """What to send next but `reasks`; answers may make more requests necessary."""
        yield from (request for draw in self.draws if (request := draw.pending) is not None)
        yield from self.judging

    @property
    def reasks(self) -> Iterator[Request]:
        """Requests for a better reply where the one that is there does not pass its kind's checks."""
        yield from (draw.again for draw in self.draws if draw.again is not None)

    @property
    def pending(self) -> Iterator[Request]:
        """All that could be sent next."""
        yield from self.first_pending
        yield from self.reasks

    def by_role(self, *, reask: bool) -> Iterator[tuple[bool, Request]]:
        """What to send next, and whether a judge gets it.

        Args:
            reask: Also `reasks`.
        """
        yield from ((False, request) for draw in self.draws if (request := draw.pending) is not None)
        yield from ((False, request) for request in (self.reasks if reask else ()))
        yield from ((True, request) for request in self.judging)

    @property
    def is_kept(self) -> bool:
        """Whether any turn comes of the sample."""
        return any(draw.kept for draw in self.draws)
