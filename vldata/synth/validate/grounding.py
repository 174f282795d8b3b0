"""Checks against what is known about the image: its boxes, its texts, what it holds and how often."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar

from pydantic import Field

from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind_files import KindFiles
from vldata.synth.validate.base import Finding, Policy, Reply, Validator, together, words_of

_NAMES = """
person bicycle car motorcycle airplane bus truck boat bench bird cat dog horse sheep cow elephant bear zebra giraffe
backpack umbrella handbag tie suitcase frisbee snowboard kite skateboard surfboard bottle cup fork knife spoon bowl
banana apple sandwich broccoli carrot pizza donut cake chair couch bed toilet laptop keyboard microwave oven toaster
sink refrigerator clock vase scissors toothbrush
"""

OBJECTS = tuple(_NAMES.split())
"""COCO's categories of one word, without those that are words for other things, too: train, mouse, remote, orange."""

_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
NUMBERS = {word: number for number, word in enumerate(_COUNTED)}

_UNREAL = re.compile(
    r"\b(?:no|not|none|never|without|neither|nor|if|whether|could|might|may|would|can|imagine|usually|often|typically|"
    r"such as|for example|like|unless|instead|n't)\b|n't\b"
)
_SENTENCE = re.compile(r"[^.!?\n]+")


class Objects(Validator):
    """What an answer says to be there, and how often, fits the boxes; silent about samples without boxes.

    Only plain statements count: a sentence with a negation, a condition or a comparison is left alone, and so is
    every word that stands in the sample's own texts or in the question. Fewer than annotated is never wrong, as an
    answer may speak of some of them. It is a matter of words, and so marks by default.

    Args:
        vocabulary: Names of objects that the annotator looked for everywhere; one that is named in an answer and not
            annotated is not there.
        excess: How many more than annotated an answer may count.
    """

    name: ClassVar[str] = "objects"
    reasons: ClassVar[tuple[str, ...]] = ("object_not_annotated", "count_above_annotation")
    policy: Policy = "mark"
    vocabulary: tuple[str, ...] = OBJECTS
    excess: Annotated[int, Field(ge=0)] = 0

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange and object."""
        if not inputs.boxes:
            return []
        there = Counter(region.phrase.lower() for region in inputs.boxes)
        forms = {**_forms(self.vocabulary)}
        for name in there:
            forms |= _forms((name,))
        if together(exchanges).words.distinct.isdisjoint(form[0] for form in forms):
            return []
        own = words_of(inputs.words()).distinct
        findings = []
        for number, exchange in enumerate(exchanges):
            of_question = words_of(exchange.question).distinct
            seen: set[tuple[str, str]] = set()
            for form, name, count in _mentions(exchange.answer, forms):
                word = " ".join(form)
                if name in there:
                    reason = "count_above_annotation" if count > there[name] + self.excess else None
                    detail = f"it counts {count} ({word}), and {there[name]} are annotated"
                else:
                    is_said = not {form[0], words_of(name).all[0]}.isdisjoint(own | of_question)
                    reason, detail = None if is_said else "object_not_annotated", f"it says {word!r}"
                if reason and (reason, name) not in seen:
                    seen.add((reason, name))
                    findings.append(Finding(reason, number, detail))
        return findings


class BoxReferences(Validator):
    """Every number that a phrase is linked to is that of a box, and the box lies in the image and has an area.

    Args:
        question: Fewest links of a question.
        answer: Fewest links of an answer.
        overall: Fewest links of the whole reply.
    """

    name: ClassVar[str] = "box_references"
    reasons: ClassVar[tuple[str, ...]] = ("box_reference_unknown", "box_reference_outside", "box_references_missing")
    policy: Policy = "reask"
    question: Annotated[int, Field(ge=0)] = 0
    answer: Annotated[int, Field(ge=0)] = 0
    overall: Annotated[int, Field(ge=0)] = 1

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """One finding for each wrong number and for each text with too few links."""
        findings, total = [], 0
        for number, exchange in enumerate(exchanges):
            for what, links, least in (
                ("question", exchange.question_links, self.question),
                ("answer", exchange.answer_links, self.answer),
            ):
                total += len(links)
                for link in links:
                    for box in link.numbers:
                        if problem := _problem(box, inputs):
                            detail = f"{link.phrase!r} is linked to {box}, and {problem[1]}"
                            findings.append(Finding(problem[0], number, detail))
                if len(links) < least:
                    detail = f"the {what} has {len(links)}, and at least {least} are wanted"
                    findings.append(Finding("box_references_missing", number, detail))
        if total < self.overall:
            detail = f"the reply has {total}, and at least {self.overall} are wanted"
            findings.append(Finding("box_references_missing", None, detail))
        return findings


class SaidInInputs(Validator):
    """Most of an answer's words stand in the sample's own texts: for answers that are read off a screen or a sign.

    Args:
        share: Least share of the different words of an answer, leaving out words of one or two letters.
        words: Longer answers are left alone.
    """

    name: ClassVar[str] = "said_in_inputs"
    reasons: ClassVar[tuple[str, ...]] = ("answer_not_in_inputs",)
    policy: Policy = "mark"
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    words: Annotated[int, Field(ge=1)] = 12

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """At most one finding an exchange."""
        own = words_of(inputs.words()).distinct | _YES_NO
        findings = []
        for number, exchange in enumerate(exchanges):
            words = words_of(exchange.answer)
            # how many there are is counted, and stands nowhere
            said = {word for word in words.distinct if len(word) > 2 and word not in NUMBERS}
            if len(words.all) <= self.words and said and len(said & own) < self.share * len(said):
                strange = ", ".join(repr(word) for word in sorted(said - own))
                findings.append(Finding("answer_not_in_inputs", number, f"not there: {strange}"))
        return findings


_YES_NO = frozenset({"yes", "no", "the", "and"})


def _problem(number: int, inputs: Inputs) -> tuple[str, str] | None:
    if not 1 <= number <= len(inputs.boxes):
        return "box_reference_unknown", f"there are {len(inputs.boxes)} boxes"
    x0, y0, x1, y1 = inputs.boxes[number - 1].box
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        return "box_reference_outside", f"its corners are {(x0, y0, x1, y1)}"
    return None


def plurals(name: str) -> tuple[str, ...]:
    """Forms of an English noun that mean several of it."""
    irregular = {"person": ("people", "persons"), "man": ("men",), "woman": ("women",), "child": ("children",)}
    irregular |= {"knife": ("knives",), "sheep": (), "mouse": ("mice",), "scissors": (), "skis": ()}
    head, _, last = name.rpartition(" ")
    before = f"{head} " if head else ""
    if last in irregular:
        return tuple(before + form for form in irregular[last])
    if re.search(r"(s|x|z|ch|sh)$", last):
        return (f"{name}es",)
    if re.search(r"[^aeiou]y$", last):
        return (f"{name[:-1]}ies",)
    return (f"{name}s",)


_Forms = Mapping[tuple[str, ...], str]
"""The words of a form, such as those of "dining tables" -> the object's name, "dining table"."""


@lru_cache(maxsize=65_536)
def _forms(names: tuple[str, ...]) -> _Forms:
    forms = {tuple(words_of(form).all): name for name in names for form in (name, *plurals(name))}
    return {form: name for form, name in forms.items() if form}


def _mentions(text: str, forms: _Forms) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """The objects that are said to be there: the words, the object's name, and how many; 0 when that is not said."""
    longest = max(map(len, forms), default=0)
    for sentence in _SENTENCE.findall(text.lower().replace("’", "'")):
        if _UNREAL.search(sentence):
            continue
        words = words_of(sentence).all
        place = 0
        while place < len(words):
            sizes = range(min(longest, len(words) - place), 0, -1)
            size = next((n for n in sizes if tuple(words[place : place + n]) in forms), 0)
            if size:
                form = tuple(words[place : place + size])
                yield form, forms[form], _count_before(words[:place])
            place += size or 1


def _count_before(words: Sequence[str]) -> int:
    """The number that stands before an object, at most one word away: two cars, two red cars."""
    for word in reversed(words[-2:]):
        if word in NUMBERS:
            return NUMBERS[word]
        if word.isascii() and word.isdigit() and len(word) <= 3:
            return int(word)
    return 0
