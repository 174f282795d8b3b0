"""Checks of a reply against the text that it was made from: an answer kept, an instruction made into another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind_files import KindFiles
from vldata.synth.validate.base import Finding, Policy, Reply, Validator, starts_of, words_of


class KeepsAnswer(Validator):
    """The answer still says what the short answer said, word by word.

    Args:
        field: Which of the sample's texts is the short answer.
    """

    name: ClassVar[str] = "keeps_answer"
    reasons: ClassVar[tuple[str, ...]] = ("short_answer_lost",)
    policy: Policy = "reask"
    field: str = "answer"

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        short = inputs.fields.get(self.field, "")
        wanted = words_of(short).all
        # "yes" and "no" are said in many ways, and an answer of no words at all has nothing to keep
        if not wanted or wanted in (["yes"], ["no"]):
            return []
        return [
            Finding("short_answer_lost", number, f"the short answer is {short!r}")
            for number, exchange in enumerate(exchanges)
            if not starts_of(wanted, words_of(exchange.answer))
        ]


class Evolved(Validator):
    """The new instruction differs from the one that it was made from, and does not speak of it.

    Args:
        field: Which of the sample's texts it was made from.
        similarity: At least so alike, character by character, 0 to 1, is the same.
        lengthening: How many times as long it may be.
    """

    name: ClassVar[str] = "evolved"
    reasons: ClassVar[tuple[str, ...]] = ("not_evolved", "evolved_too_long", "evolution_leaked")
    policy: Policy = "reask"
    field: str = "text"
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.95
    lengthening: Annotated[float, Field(gt=1)] = 12.0

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        from rapidfuzz.distance import Levenshtein

        old = inputs.fields.get(self.field, "").strip()
        findings = []
        for number, exchange in enumerate(exchanges):
            new = exchange.question
            alike = Levenshtein.normalized_similarity(old.lower(), new.lower())
            leaked = [phrase for phrase in _REWRITING if starts_of(words_of(phrase).all, words_of(new))]
            if alike >= self.similarity:
                findings.append(Finding("not_evolved", number, f"alike to {alike:.2f}"))
            elif len(new) > self.lengthening * max(len(old), 40):
                findings.append(Finding("evolved_too_long", number, f"{len(new)} characters, made from {len(old)}"))
            elif leaked:
                findings.append(Finding("evolution_leaked", number, f"it says {leaked[0]!r}"))
        return findings


_REWRITING = (
    "rewritten instruction",
    "rewritten prompt",
    "new instruction",
    "given instruction",
    "original instruction",
    "harder version",
)
