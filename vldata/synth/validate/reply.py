"""Checks of the reply's frame: did it end, did the model refuse, how many turns, how long."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, ClassVar

from pydantic import Field

from vldata.llm.completions import ending_of
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind_files import KindFiles
from vldata.synth.replies import ParseError, bared
from vldata.synth.validate.base import (
    Finding,
    Lexicon,
    Reply,
    Validator,
    message_of,
    text_of,
    together,
    words_of,
)

Count = Annotated[int, Field(ge=0)]


class FinishReason(Validator):
    """The model stopped by itself: at no limit, by no filter, and not to call a tool.

    Args:
        allowed: Values of ``finish_reason`` that are fine whatever they say.
    """

    name: ClassVar[str] = "finish_reason"
    reasons: ClassVar[tuple[str, ...]] = ("reply_truncated", "reply_filtered", "reply_unfinished")
    before_parsing: ClassVar[bool] = True
    allowed: tuple[str, ...] = ("stop",)

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding, about the whole reply."""
        message, ended = message_of(reply)
        ending = ending_of(ended)
        if ended in self.allowed or (message and ending == "end"):
            return []
        reason = {"length": "reply_truncated", "filtered": "reply_filtered"}.get(ending, "reply_unfinished")
        return [Finding(reason, None, f"finish_reason is {ended!r}")]


REFUSALS = (
    "as an AI language model",
    "as an artificial intelligence",
    "as a text-based",
    "as a language model",
    "I am unable to see",
    "I'm unable to see",
    "I am unable to view",
    "I'm unable to view",
    "I am not able to see",
    "I'm not able to view",
    "I cannot see the image",
    "I can't see the image",
    "I cannot view",
    "I can't view",
    "I do not have access to the image",
    "I don't have access to the image",
    "cannot view images",
    "can't view images",
    "cannot process images",
    "no image was provided",
    "no image has been provided",
    "please provide the image",
    "please upload the image",
)
"""What models write who were not shown the image, or believe so. As whole words, anywhere in a reply."""

APOLOGIES = (
    "I'm sorry",
    "I am sorry",
    "sorry, but",
    "I apologize",
    "I apologise",
    "my apologies",
    "unfortunately, I",
    "I cannot help",
    "I can't help",
    "I cannot assist",
    "I can't assist",
    "I'm unable to",
    "I am unable to",
    "I won't be able to",
)
"""How refusals begin. Looked for at the beginning of an answer only: a person in the image may be sorry, too."""


class Refusal(Validator):
    """The model did what the prompt says.

    Args:
        phrases: Anywhere in the reply, as whole words.
        openings: At the beginning of the reply or of an answer.
    """

    name: ClassVar[str] = "refusal"
    reasons: ClassVar[tuple[str, ...]] = ("refusal",)
    before_parsing: ClassVar[bool] = True
    phrases: tuple[str, ...] = REFUSALS
    openings: tuple[str, ...] = APOLOGIES

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange; one about the whole reply when the API says that it is a refusal."""
        refused = message_of(reply)[0].get("refusal")
        if refused:
            return [Finding("refusal", None, f"the API says: {str(refused)[:200]!r}")]
        phrases, openings = _lexicon(self.phrases), _lexicon(self.openings)
        said = together(exchanges) if exchanges else None
        words = said.words if said is not None else words_of(_text(reply))
        if not phrases.may_occur(words) and not openings.may_occur(words):
            return []
        texts = [(None, _text(reply))] if said is None else [(n, e.answer) for n, e in enumerate(said)]
        findings = []
        for number, text in texts:
            words = words_of(text)
            signs = phrases.occurring(words) or [name for name, run in _runs(self.openings) if _begins(words.all, run)]
            if signs:
                findings.append(Finding("refusal", number, f"it says {signs[0]!r}"))
        return findings


class Turns(Validator):
    """The reply has as many exchanges as it should.

    Args:
        least: Fewest.
        most: Most.
    """

    name: ClassVar[str] = "turns"
    reasons: ClassVar[tuple[str, ...]] = ("too_few_turns", "too_many_turns")
    least: Annotated[int, Field(ge=1)] = 1
    most: Annotated[int, Field(ge=1)] = 20

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding, about the whole reply."""
        if self.least <= len(exchanges) <= self.most:
            return []
        reason = "too_few_turns" if len(exchanges) < self.least else "too_many_turns"
        return [Finding(reason, None, f"{len(exchanges)}, and {self.least} to {self.most} are wanted")]


class Length(Validator):
    """Questions and answers are neither stubs nor essays; in characters, as some languages do not part their words.

    Args:
        question: Fewest and most characters of a question; questions that are not generated do not count.
        answer: Of an answer.
    """

    name: ClassVar[str] = "length"
    reasons: ClassVar[tuple[str, ...]] = (
        "question_too_short",
        "question_too_long",
        "answer_too_short",
        "answer_too_long",
    )
    question: tuple[Count, Count] = (1, 1_000)
    answer: tuple[Count, Count] = (1, 8_000)

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding for each text."""
        findings = []
        generated = kind.settings.question == "generated"
        for number, exchange in enumerate(exchanges):
            texts = [("question", exchange.question, self.question)] if generated else []
            for what, text, (least, most) in [*texts, ("answer", exchange.answer, self.answer)]:
                if not least <= len(text) <= most:
                    side = "short" if len(text) < least else "long"
                    detail = f"{len(text)} characters, and {least} to {most} are wanted"
                    findings.append(Finding(f"{what}_too_{side}", number, detail))
        return findings


def _text(reply: Reply) -> str:
    """What the model wrote but for its reasoning, which may well speak of refusing."""
    try:
        return bared(text_of(reply))[0]
    except ParseError:
        return ""


@cache
def _lexicon(phrases: tuple[str, ...]) -> Lexicon:
    return Lexicon(phrases)


@cache
def _runs(phrases: tuple[str, ...]) -> tuple[tuple[str, list[str]], ...]:
    return tuple((phrase, words_of(phrase).all) for phrase in phrases)


def _begins(words: list[str], opening: list[str]) -> bool:
    return bool(opening) and words[: len(opening)] == opening
