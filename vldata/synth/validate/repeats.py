"""A check for saying the same thing twice in one reply. For the same over different images: `across`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind_files import KindFiles
from vldata.synth.validate.base import Finding, Reply, Validator

_LONG = 60


class Repetition(Validator):
    """A reply asks nothing twice, gives no answer twice, and does not run in circles.

    Args:
        distinct: Least share of different words in an answer of more than 60 words; loops have almost none. The lowest
            of LLaVA's 90 published answers is 0.53.
        words: An answer may come again when it has fewer words: "Yes." answers many questions.
    """

    name: ClassVar[str] = "repetition"
    reasons: ClassVar[tuple[str, ...]] = ("question_repeated", "answer_repeated", "answer_runs_in_circles")
    distinct: Annotated[float, Field(ge=0, le=1)] = 0.2
    words: Annotated[int, Field(ge=1)] = 5

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding for each text, about the later one of two."""
        findings = []
        questions: dict[str, int] = {}
        answers: dict[str, int] = {}
        for number, exchange in enumerate(exchanges):
            question, answer = exchange.question.lower(), exchange.answer.lower()
            if question and questions.setdefault(question, number) != number:
                findings.append(Finding("question_repeated", number, f"as in exchange {questions[question] + 1}"))
            if answers.setdefault(answer, number) != number and len(answer.split()) >= self.words:
                findings.append(Finding("answer_repeated", number, f"as in exchange {answers[answer] + 1}"))
            # that many words have more characters
            words = answer.split() if len(answer) > 2 * _LONG else []
            if len(words) > _LONG and len(set(words)) < self.distinct * len(words):
                detail = f"{len(set(words))} different words of {len(words)}"
                findings.append(Finding("answer_runs_in_circles", number, detail))
        return findings
