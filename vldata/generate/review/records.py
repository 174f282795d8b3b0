"""A turn as it is shown to a person, and what came back, whichever the tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vldata.synth.review import TurnReview

ACCEPT, REJECT = "accept", "reject"
VERDICTS = (ACCEPT, REJECT)

GUIDELINES = (
    "Look at the image and at the question and answer about it. Accept them if both are right, and change their "
    "texts where they are not; reject what cannot be saved. A text that you clear takes the turn out."
)


@dataclass(frozen=True, slots=True)
class TurnMark:
    """What a record carries through a tool, so that its verdict finds the turn again.

    Args:
        source: Of the recipe.
        row: Of the draw.
        key: Of the answer.
        place: Of the turn in the reply, from 0.
        num_turns: Of the reply.
    """

    source: str
    row: str
    key: str
    place: int
    num_turns: int

    @property
    def name(self) -> str:
        """Of the record, the same in every export."""
        return f"{self.key}-{self.place}"

    def to_json(self) -> dict[str, Any]:
        """As `mark_of` reads it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """One turn for a person.

    Args:
        question: Links marked; "" where the kind has none.
        conversation: The whole reply, for context; "" where the turn is all of it.
        images: URLs, or data URLs.
        model: That wrote it.
        reasons: Why the checks dropped it; empty where they kept it.
    """

    mark: TurnMark
    question: str
    answer: str
    conversation: str
    images: tuple[str, ...]
    model: str
    reasons: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one record brought back.

    Args:
        place: Of the record in its file, for people.
        mark: None: the record is not of an export of ours.
        verdict: None: nobody has decided yet.
        problem: Why it cannot be used; None where it can.
        is_contested: Whether people differ about it; the latest counts.
    """

    place: str
    mark: TurnMark | None = None
    question: str = ""
    answer: str = ""
    verdict: str | None = None
    new_question: str | None = None
    new_answer: str | None = None
    reason: str = ""
    person: str = ""
    at: str = ""
    problem: str | None = None
    is_contested: bool = False

    def review(self) -> TurnReview:
        """The same as it is kept."""
        assert self.mark is not None and self.verdict is not None
        is_accepted = self.verdict == ACCEPT
        return TurnReview(
            key=self.mark.key,
            place=self.mark.place,
            num_turns=self.mark.num_turns,
            question=self.question,
            answer=self.answer,
            verdict="accepted" if is_accepted else "rejected",
            new_question=_change(self.new_question, self.question) if is_accepted else None,
            new_answer=_change(self.new_answer, self.answer) if is_accepted else None,
            reason=self.reason,
            person=self.person,
            at=self.at,
        )


def _change(new: str | None, old: str) -> str | None:
    """What a person made of a text; None when that is the same but for the blanks around it."""
    return None if new is None or new.strip() == old.strip() else new.strip()


def mark_of(values: Any) -> TurnMark | None:
    """The mark that a record carries; None when it carries none, or a damaged one."""
    names = TurnMark.__slots__
    if not isinstance(values, Mapping) or not all(name in values for name in names):
        return None
    try:
        mark = TurnMark(**{name: values[name] for name in names})
        mark = replace(mark, place=int(mark.place), num_turns=int(mark.num_turns))
    except (TypeError, ValueError):
        return None
    return mark if all(isinstance(text, str) for text in (mark.source, mark.row, mark.key)) else None


def checked(verdict: Verdict) -> Verdict:
    """A verdict whose values are of the right kinds, or with what is wrong with it."""
    if verdict.mark is None:
        return replace(verdict, problem="carries no mark of an export of vldata")
    if verdict.verdict is not None and verdict.verdict not in VERDICTS:
        return replace(verdict, problem=f"has the verdict {verdict.verdict!r}, which is none of {', '.join(VERDICTS)}")
    texts: Iterator[Any] = iter((verdict.question, verdict.answer, verdict.new_question, verdict.new_answer))
    if any(text is not None and not isinstance(text, str) for text in texts):
        return replace(verdict, problem="has something else in the place of a text")
    return verdict
