"""Checks for what shines through: the words of the prompt, its coordinates, its examples, a chat template's marks.

A model that was given captions and boxes in the place of an image likes to speak of captions and boxes. LLaVA-Med's
list of phrases was the only published filter; ALLaVA has thousands of rows that hold the prompt itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Annotated, ClassVar

from pydantic import Field

from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind_files import KindFiles
from vldata.synth.validate.base import Finding, Lexicon, Policy, Reply, Validator, Words, together, words_of

LEAKS = (
    "caption",
    "captions",
    "bounding box",
    "bounding boxes",
    "coordinates",
    "annotation",
    "annotations",
    "five sentences",
    "given sentences",
    "provided sentences",
    "given description",
    "given descriptions",
    "provided description",
    "provided descriptions",
    "provided information",
    "given information",
    "according to the description",
    "according to the descriptions",
    "based on the description",
    "based on the descriptions",
    "mentioned in the description",
    "the descriptions mention",
    "the description mentions",
    "OCR",
    "system message",
    "system prompt",
)
"""Words about the source of what the model was shown, which somebody who looks at the image does not use."""


class Leak(Validator):
    """The reply does not speak of captions, boxes and the like.

    What the sample's own texts say is no leak: a photograph of a map with coordinates, a caption about a caption.

    Args:
        words: Words and phrases, as whole words, in any letter case.
        more: Further ones of this kind.
        allow: Those of ``words`` that this kind may use.
    """

    name: ClassVar[str] = "leak"
    reasons: ClassVar[tuple[str, ...]] = ("source_leaked",)
    policy: Policy = "reask"
    words: tuple[str, ...] = LEAKS
    more: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange, with all the words."""
        lexicon = _leaks(self.words, self.more, self.allow)
        said = together(exchanges)
        if not lexicon.may_occur(said.words):
            return []
        own = set(lexicon.occurring(words_of(inputs.words())))
        findings = []
        for number, exchange in enumerate(said):
            said_words = lexicon.occurring(words_of(f"{exchange.question}\n{exchange.answer}"))
            if leaked := [phrase for phrase in said_words if phrase not in own]:
                findings.append(Finding("source_leaked", number, f"it says {', '.join(map(repr, leaked))}"))
        return findings


_FRACTION = r"(?:0?\.\d+|[01]\.0+|1)"
_LISTS = re.compile(rf"[\[(]\s*{_FRACTION}(?:\s*,\s*{_FRACTION})+\s*[\])]|\[\s*\d+(?:\s*,\s*\d+){{3}}\s*\]")
_THREE_DECIMALS = re.compile(r"(?<![\d.])[01]\.\d{3}(?!\d)")


class RawCoordinates(Validator):
    """The reply has no coordinates: no list of fractions, and none of the numbers of the sample's own boxes."""

    name: ClassVar[str] = "raw_coordinates"
    reasons: ClassVar[tuple[str, ...]] = ("raw_coordinates",)
    policy: Policy = "reask"

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        text = together(exchanges).text
        if "[" not in text and "(" not in text and "0." not in text and "1." not in text:
            return []
        shown = {f"{value:.3f}" for region in inputs.boxes for value in region.box}
        findings = []
        for number, exchange in enumerate(exchanges):
            both = f"{exchange.question}\n{exchange.answer}"
            match = _LISTS.search(both)
            written = match[0] if match else next((n for n in _THREE_DECIMALS.findall(both) if n in shown), None)
            if written is not None:
                findings.append(Finding("raw_coordinates", number, f"it says {written!r}"))
        return findings


SPECIAL = (
    "<image>",
    "<video>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|vision_start|>",
    "<|image_pad|>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "</s>",
)
"""Marks of the chat templates of common models. In a text they would be read as structure by who trains on it."""


class SpecialTokens(Validator):
    """The reply holds no mark that a chat template would take for structure.

    Args:
        marks: The texts that may not occur, letter by letter.
    """

    name: ClassVar[str] = "special_tokens"
    reasons: ClassVar[tuple[str, ...]] = ("special_token_in_text",)
    marks: tuple[str, ...] = SPECIAL

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        text = together(exchanges).text
        if not any(first in text for first in _firsts(self.marks)) or not any(mark in text for mark in self.marks):
            return []
        findings = []
        for number, exchange in enumerate(exchanges):
            held = [mark for mark in self.marks if mark in exchange.question or mark in exchange.answer]
            if held:
                findings.append(Finding("special_token_in_text", number, f"it holds {held[0]!r}"))
        return findings


class FewShotEcho(Validator):
    """The reply does not repeat a few-shot: no run of N words stands in one and not in the sample's own texts.

    Of LLaVA's own 90 published answers made with three few-shots a kind, none shares more than 8 words in a row with
    the few-shots, unless the sample is one of them.

    Args:
        run: Words in a row.
    """

    name: ClassVar[str] = "few_shot_echo"
    reasons: ClassVar[tuple[str, ...]] = ("few_shot_echo",)
    run: Annotated[int, Field(ge=4)] = 12

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange, with the words."""
        texts = tuple(shot.answer for shot in kind.few_shots)
        return list(_echoes("few_shot_echo", exchanges, inputs, texts, self.run))


class PromptEcho(Validator):
    """The reply does not repeat the instructions: no run of N words stands there and not in the sample's texts.

    Of LLaVA's 90 published answers none shares more than 3 words in a row with its system message.

    Args:
        run: Words in a row.
    """

    name: ClassVar[str] = "prompt_echo"
    reasons: ClassVar[tuple[str, ...]] = ("prompt_echo",)
    run: Annotated[int, Field(ge=4)] = 8

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange, with the words."""
        return list(_echoes("prompt_echo", exchanges, inputs, (kind.system_message, *kind.asks), self.run))


def _echoes(
    reason: str, exchanges: Sequence[Exchange], inputs: Inputs, texts: tuple[str, ...], run: int
) -> Iterator[Finding]:
    runs = _runs(texts, run)
    if not _may_echo(together(exchanges).words.all, texts, run):
        return
    own: Words | None = None
    for number, exchange in enumerate(exchanges):
        words = words_of(f"{exchange.question}\n{exchange.answer}").all
        for place in range(len(words) - run + 1):
            piece = tuple(words[place : place + run])
            if piece not in runs:
                continue
            own = own or words_of(inputs.words())
            if " ".join(piece) not in " ".join(own.all):
                yield Finding(reason, number, f"it says {' '.join(piece)!r}")
                break


def _may_echo(words: list[str], texts: tuple[str, ...], run: int) -> bool:
    """Whether a run of `run` words is shared, looking up few of them.

    Every run holds a whole piece of a third of its length at one of the places below, so most replies are done with
    after a lookup every two thirds of a run; where a piece is shared, the runs around it are looked up.
    """
    piece = max(3, run // 3)
    step = run - piece + 1
    pieces = _runs(texts, piece)
    if pieces.isdisjoint(zip(*(words[start::step] for start in range(piece)), strict=False)):
        return False
    for place in range(0, len(words) - piece + 1, step):
        if tuple(words[place : place + piece]) in pieces:
            around = range(max(0, place - step + 1), place + 1)
            if any(tuple(words[start : start + run]) in _runs(texts, run) for start in around):
                return True
    return False


@lru_cache(maxsize=256)
def _runs(texts: tuple[str, ...], run: int) -> frozenset[tuple[str, ...]]:
    runs: set[tuple[str, ...]] = set()
    for text in texts:
        words = words_of(text).all
        runs.update(tuple(words[place : place + run]) for place in range(len(words) - run + 1))
    return frozenset(runs)


@cache
def _firsts(marks: tuple[str, ...]) -> frozenset[str]:
    return frozenset(mark[:1] for mark in marks)


@cache
def _leaks(words: tuple[str, ...], more: tuple[str, ...], allow: tuple[str, ...]) -> Lexicon:
    allowed = {phrase.lower() for phrase in allow}
    return Lexicon(phrase for phrase in (*words, *more) if phrase.lower() not in allowed)
