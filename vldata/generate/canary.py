"""The canary: when none of the first replies of a kind and model is kept, nothing more is sent.

It is read off the answers that are there, so it costs nothing, holds over all runs, and opens by itself when a changed
parser or check keeps one of them. Until one is kept, at most `FIRST` draws are under way or dealt with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vldata.errors import VldataError
from vldata.generate.show import shown, shown_judgement
from vldata.generate.sources import AnswersSoFar, SynthSource
from vldata.llm.events import Stop
from vldata.synth.draws import Draw, JudgeReply, Outcome
from vldata.synth.generate import is_refused, same_answers_of

FIRST = 20
"""Draws of which one at least is to be kept."""


@dataclass
class Canary:
    """What is known of the replies of one kind and model.

    Args:
        who: Kind and model, for people.
        is_alive: One is kept.
        num_dealt: Draws that were answered or given up, none of which is kept.
        problems: Why not.
        examples: Gives one for each of these, as `vldata synth show` has it.
    """

    who: str
    is_alive: bool = False
    num_dealt: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Callable[[], dict[str, Any]]] = field(default_factory=dict)

    def lose(self, problem: str, example: Callable[[], dict[str, Any]]) -> None:
        """Count a draw that is not kept."""
        self.num_dealt += 1
        self.problems[problem] += 1
        self.examples.setdefault(problem, example)

    @property
    def room(self) -> int | None:
        """How many may be sent; None: any number."""
        return None if self.is_alive else max(0, FIRST - self.num_dealt)

    def stop(self) -> tuple[Stop, dict[str, Any]] | None:
        """Why nothing more is sent, and the example to look at; None: it may be."""
        if self.room != 0:
            return None
        (most, _), *_ = self.problems.most_common(1)
        why = ", ".join(f"{problem} {count:,}" for problem, count in self.problems.most_common())
        problem = f"none of the first {self.num_dealt:,} replies of {self.who} is kept: {why}"
        fix = (
            f"look at them with `vldata synth show RECIPE --only {most}`, then change the kind, its checks or the "
            "model: replies that are there are read again at no cost; --no-canary goes on as it is"
        )
        return Stop("canary", VldataError("canary", problem, fix)), self.examples[most]()


def canaries(
    source: SynthSource, answers: AnswersSoFar, failed: Mapping[str, str], *, retry: bool
) -> tuple[Canary, Canary]:
    """What is known of the replies of a source's kind, and of its judge's; a judge that is not there is alive.

    Args:
        failed: Keys of requests that this run gave up.
        retry: Requests that the endpoint refused for good are sent again.
    """
    spec = source.spec
    kind = Canary(f"{source.kind.name} by {spec.model}")
    judge = Canary("nobody", is_alive=True)
    if source.judge is not None:
        judge = Canary(f"{source.judge.name} by {spec.judge_model or spec.model}")
    usable: list[Draw] = []
    for outcome in source.outcomes(answers):
        usable += list(_look(outcome, kind, failed, answers=None if retry else answers))[: FIRST - len(usable)]
        _look_at_judge((reply for draw in outcome.draws for reply in draw.judge_replies), judge)
        if len(usable) + kind.num_dealt >= FIRST and usable and judge.is_alive:
            break
    _without_same(usable, source, kind)
    return kind, judge


def stop_of(birds: Iterable[Canary]) -> tuple[Stop, dict[str, Any]] | None:
    """The first reason of several for which nothing more is sent, with its example."""
    return next((stop for bird in birds if (stop := bird.stop()) is not None), None)


def _look(outcome: Outcome, kind: Canary, failed: Mapping[str, str], *, answers: AnswersSoFar | None) -> Iterable[Draw]:
    """Count the draws that are lost, and return the others that have a reply.

    Args:
        answers: Where it says what the endpoint refused for good; None: that is sent again.
    """
    for draw in outcome.draws:
        request = draw.pending
        if draw.is_usable:
            yield draw
        elif draw.answer is not None:
            kind.lose(draw.problem or "no_exchange", partial(shown, draw))
        elif request is not None and request.key in failed:
            kind.lose(failed[request.key], partial(shown, draw))
        elif request is not None and answers is not None and is_refused(answers, request.key):
            kind.lose(draw.detail or "failed", partial(shown, draw))


def _look_at_judge(replies: Iterable[JudgeReply], judge: Canary) -> None:
    for reply in replies:
        if reply.problem is None:
            judge.is_alive = True
        else:
            judge.lose(reply.problem, partial(shown_judgement, reply))


def _without_same(usable: list[Draw], source: SynthSource, kind: Canary) -> None:
    """Count as lost what is said about many images; what is left of the usable draws keeps the canary alive."""
    same = same_answers_of(usable, source.spec)
    for draw in usable:
        if draw.row in same:
            kind.lose(same[draw.row][0].reason, partial(shown, draw))
        else:
            kind.is_alive = True
