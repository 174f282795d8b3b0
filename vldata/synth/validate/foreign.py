"""Checks for what is no part of any answer: reasoning, an assistant who speaks of itself, wrapping, control characters.

Parsers take away what they can without doubt; this is for what is left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind_files import KindFiles
from vldata.synth.replies.reasoning import LEFT
from vldata.synth.validate.base import Finding, Lexicon, Policy, Reply, Validator, together, words_of

_FRAMES = ("<answer>", "</answer>", "<|channel|>", "<|message|>", "<|start|>", "<|begin_of_box|>", "<|end_of_box|>")


class ReasoningLeft(Validator):
    """The texts hold no mark of reasoning, such as ``<think>``, and none of the frame of an answer behind it."""

    name: ClassVar[str] = "reasoning"
    reasons: ClassVar[tuple[str, ...]] = ("reasoning_in_text",)

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        text = together(exchanges).text
        if "<" not in text and "◁" not in text and "[" not in text:
            return []
        findings = []
        for number, exchange in enumerate(exchanges):
            both = f"{exchange.question}\n{exchange.answer}"
            left = LEFT.search(both)
            mark = left[0] if left else next((frame for frame in _FRAMES if frame in both), None)
            if mark is not None:
                findings.append(Finding("reasoning_in_text", number, f"it holds {mark!r}"))
        return findings


SPEAKS = (
    "as an AI",
    "I am an AI",
    "I'm an AI",
    "I'm just an AI",
    "as a large language model",
    "as a vision language model",
    "as a multimodal model",
    "I was trained",
    "my training data",
    "my knowledge cutoff",
    "the user asked",
    "the user asks",
    "the user is asking",
    "the user has asked",
    "the user's request",
    "the user's question",
    "the user provided",
    "you provided",
    "you've provided",
    "you have provided",
    "you shared",
    "you've shared",
    "you uploaded",
    "you've uploaded",
    "per your request",
    "as requested",
    "I hope this helps",
    "let me know if you",
    "let me know if there",
    "feel free to ask",
    "would you like me to",
    "I'd be happy to help",
    "I would be happy to help",
    "I'll describe",
    "I will describe",
    "I need to describe",
    "I should describe",
    "I need to write",
    "I need to create",
    "I should write",
    "I should mention",
    "let me think",
    "let's think step by step",
    "the user wants",
)
"""What assistants say to the one who requested an answer, or of themselves. As whole words, anywhere in an answer."""


class AssistantSpeaks(Validator):
    """An answer answers, and neither speaks of the assistant who wrote it nor to the one who requested it.

    What the sample's own texts say is fine, and so are questions and answers that are made from a text alone, in which
    letters and drafts have their place: there, only what an assistant says of itself counts.

    Args:
        phrases: Anywhere in an answer, as whole words.
        of_itself: Those of ``phrases`` that count where an answer is made from a text.
    """

    name: ClassVar[str] = "assistant_speaks"
    reasons: ClassVar[tuple[str, ...]] = ("assistant_speaks",)
    phrases: tuple[str, ...] = SPEAKS
    of_itself: tuple[str, ...] = SPEAKS[:10]

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        lexicon = _lexicon(self.of_itself if "text" in kind.settings.needs else self.phrases)
        said = together(exchanges)
        if not lexicon.may_occur(said.words):
            return []
        findings = []
        for number, exchange in enumerate(said):
            phrases = lexicon.occurring(words_of(exchange.answer))
            own = set(lexicon.occurring(words_of(inputs.words()))) if phrases else set()
            if spoken := [phrase for phrase in phrases if phrase not in own]:
                findings.append(Finding("assistant_speaks", number, f"it says {spoken[0]!r}"))
        return findings


_PAIRED = {'"': '"', "“": "”", "«": "»", "「": "」", "『": "』", "„": "“"}


class Wrapped(Validator):
    """An answer that is the whole reply stands neither in a fence nor in quotation marks, and is no JSON object.

    Answers of a conversation may: to the question what a sign says, for one.
    """

    name: ClassVar[str] = "wrapped"
    reasons: ClassVar[tuple[str, ...]] = ("reply_wrapped",)

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        if kind.settings.parser[0] != "answer_only":
            return []
        return [
            Finding("reply_wrapped", number, f"it begins with {exchange.answer[:3]!r}")
            for number, exchange in enumerate(exchanges)
            if _is_wrapped(exchange.answer)
        ]


def _is_wrapped(answer: str) -> bool:
    if answer.startswith(("```", "~~~")):
        return answer.endswith(answer[:3])
    close = _PAIRED.get(answer[:1])
    if close is not None and len(answer) > 2 and answer.endswith(close):
        inner = answer[1:-1]
        return answer[0] not in inner and close not in inner
    return answer[:1] == "{" and answer[-1:] == "}"


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]")
_PLAIN = bytes([*range(0x20, 0x7F), *b"\t\n\r"])


class ControlCharacters(Validator):
    """The texts hold no NUL, no escape, no other control character, and none that turns the direction of what follows.

    Marks that merely say a direction (U+200E, U+200F), as right-to-left scripts use them, are fine.
    """

    name: ClassVar[str] = "control_characters"
    reasons: ClassVar[tuple[str, ...]] = ("control_character",)
    policy: Policy = "drop"

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        text = together(exchanges).text
        if not text.encode().translate(None, _PLAIN) if text.isascii() else _CONTROL.search(text) is None:
            return []
        findings = []
        for number, exchange in enumerate(exchanges):
            found = _CONTROL.search(f"{exchange.question}\n{exchange.answer}")
            if found is not None:
                findings.append(Finding("control_character", number, f"it holds U+{ord(found[0]):04X}"))
        return findings


@cache
def _lexicon(phrases: tuple[str, ...]) -> Lexicon:
    return Lexicon(phrases)
