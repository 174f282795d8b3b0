"""Checks of what a model replied; each one a class whose fields are its options. `VALIDATORS` is the one list.

base.py        what a check is, what it finds, and the words of a reply
reply.py       did it end, did the model refuse, how many turns, how long
leaks.py       captions, coordinates, few-shots, instructions and template marks that shine through
repeats.py     the same thing twice in one reply
grounding.py   against the sample's boxes and texts
foreign.py     reasoning, an assistant who speaks of itself, fences and quotation marks around all, control characters
texts.py       against the text that it was made from
across.py      the same answer over different images: sees all samples of a source at once
"""

from __future__ import annotations

from vldata.synth.validate.across import Answered, Comparison, SameAnswers
from vldata.synth.validate.base import Exchanges, Finding, Policy, Reply, Validator, message_of, text_of
from vldata.synth.validate.foreign import AssistantSpeaks, ControlCharacters, ReasoningLeft, Wrapped
from vldata.synth.validate.grounding import BoxReferences, Objects, SaidInInputs
from vldata.synth.validate.leaks import FewShotEcho, Leak, PromptEcho, RawCoordinates, SpecialTokens
from vldata.synth.validate.repeats import Repetition
from vldata.synth.validate.reply import FinishReason, Length, Refusal, Turns
from vldata.synth.validate.texts import Evolved, KeepsAnswer

__all__ = [
    "ALWAYS",
    "VALIDATORS",
    "Answered",
    "Comparison",
    "Exchanges",
    "Finding",
    "Policy",
    "Reply",
    "SameAnswers",
    "Validator",
    "message_of",
    "text_of",
]

VALIDATORS: dict[str, type[Validator]] = {
    check.name: check
    for check in (
        FinishReason,
        Refusal,
        Turns,
        Length,
        Leak,
        RawCoordinates,
        SpecialTokens,
        FewShotEcho,
        PromptEcho,
        Repetition,
        Objects,
        BoxReferences,
        SaidInInputs,
        KeepsAnswer,
        Evolved,
        ReasoningLeft,
        AssistantSpeaks,
        Wrapped,
        ControlCharacters,
    )
}
"""Every check of one reply that a ``kind.yaml`` may name."""

ALWAYS: tuple[type[Validator], ...] = (ReasoningLeft, AssistantSpeaks, Wrapped, ControlCharacters)
"""Checks that are made whether a ``kind.yaml`` names them or not: what they find is no answer to anything.

They drop and do not request again, so that they cost nothing where replies are there already; a ``kind.yaml`` that
names one sets its options.
"""
