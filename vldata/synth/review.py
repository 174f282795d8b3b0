"""What a person says about the turns of a reply, and what becomes of the draw: a person's word goes before every check.

A review belongs to one turn of one reply, by the key of that answer and by the texts that the person saw. So it holds
as long as that reply counts, whatever else changes, and a reply that was reviewed is not requested again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from vldata.synth.draws import Draw
from vldata.synth.exchange import Exchange, Link, read_links
from vldata.synth.validate import Finding

REJECTED = "rejected_by_person"
OUTDATED = "review_outdated"
EDITED = "edited_by_person"
"""Stands behind the request's key in the lineage of a turn."""


class TurnReview(NamedTuple):
    """A person's verdict on one turn.

    Args:
        key: Of the answer: of the request that it was first given to.
        place: Of the turn in the reply, from 0.
        num_turns: Of the reply, as it was read then.
        question: As it was shown, links marked.
        answer: The same.
        new_question: What it is to be instead; None: unchanged; "": the turn is taken out.
        new_answer: The same.
        reason: In the person's own words.
        person: As the tool names them.
        at: When, as the tool writes it.
    """

    key: str
    place: int
    num_turns: int
    question: str
    answer: str
    verdict: Literal["accepted", "rejected"]
    new_question: str | None = None
    new_answer: str | None = None
    reason: str = ""
    person: str = ""
    at: str = ""

    @property
    def is_edit(self) -> bool:
        """Whether it changes a text."""
        return self.verdict == "accepted" and (self.new_question is not None or self.new_answer is not None)

    def after(self, before: TurnReview | None) -> TurnReview:
        """The same as one of the reply's own texts, where the person saw what another review had made of them."""
        if before is None or not before.is_edit:
            return self
        question = before.question if before.new_question is None else before.new_question
        answer = before.answer if before.new_answer is None else before.new_answer
        if (self.question, self.answer) != (question, answer):
            return self
        new = (self.new_question, self.new_answer)
        if self.verdict == "accepted":
            new = (
                before.new_question if self.new_question is None else self.new_question,
                before.new_answer if self.new_answer is None else self.new_answer,
            )
        return self._replace(question=before.question, answer=before.answer, new_question=new[0], new_answer=new[1])


Reviews = Mapping[str, Collection[TurnReview]]
"""By the key of the answer."""


def reviewed(draw: Draw, reviews: Collection[TurnReview], *, whole: bool) -> Draw:
    """The draw as a person left it.

    Args:
        draw: As the checks left it; what nobody reviewed stays so.
        reviews: Of its reply.
        whole: Whether a turn that is rejected takes those with it that nobody accepted.
    """
    said, kept = list(draw.exchanges), set(draw.kept)
    edited: set[int] = set()
    accepted: set[int] = set()
    findings = list(draw.findings)
    rejected: list[Finding] = []
    for review in reviews:
        place = _place(review, draw.exchanges)
        if place is None:
            detail = f"turn {review.place + 1} is not read as it was when it was reviewed"
            findings.append(Finding(OUTDATED, None, detail, "mark"))
            continue
        found = _rejection(review, place, draw)
        if found is not None:
            rejected.append(found)
            kept.discard(place)
            continue
        kept.add(place)
        accepted.add(place)
        if review.is_edit:
            said[place] = _edited(draw.exchanges[place], review)
            edited.add(place)
    if whole and any(review.verdict == "rejected" for review in reviews) and rejected:
        kept &= accepted
    problem = None if kept else draw.problem
    why = None if kept else draw.detail
    if rejected and not kept:
        problem, why = rejected[0].reason, rejected[0].detail
    return draw._replace(
        exchanges=tuple(said),
        findings=(*findings, *rejected),
        kept=tuple(sorted(kept)),
        problem=problem,
        detail=why,
        edited=tuple(sorted(edited & kept)),
        is_reviewed=True,
    )


def marked(text: str, links: Sequence[Link]) -> str:
    """A text with its links as the model marks them: what a person sees and edits."""
    pieces, done = [], 0
    for link in links:
        end = link.start + len(link.phrase)
        pieces += [text[done : link.start], f"[{link.phrase}]({', '.join(map(str, link.numbers))})"]
        done = end
    return "".join([*pieces, text[done:]])


def shown_texts(exchange: Exchange) -> tuple[str, str]:
    """Question and answer as a person sees them."""
    return marked(exchange.question, exchange.question_links), marked(exchange.answer, exchange.answer_links)


def _place(review: TurnReview, exchanges: Sequence[Exchange]) -> int | None:
    """The turn that was reviewed: at its place, or where its texts stand now."""
    same = [place for place, exchange in enumerate(exchanges) if shown_texts(exchange) == review[3:5]]
    if review.place in same:
        return review.place
    return same[0] if len(same) == 1 else None


def _rejection(review: TurnReview, place: int, draw: Draw) -> Finding | None:
    if review.verdict == "rejected":
        return Finding(REJECTED, place, review.reason)
    if not review.is_edit:
        return None
    if "" in (review.new_question, review.new_answer):
        return Finding(REJECTED, place, "its text was cleared")
    exchange = _edited(draw.exchanges[place], review)
    links = (*exchange.question_links, *exchange.answer_links)
    unknown = {number for link in links for number in link.numbers} - set(range(1, len(draw.inputs.boxes) + 1))
    if unknown:
        return Finding("box_reference_unknown", place, f"edited by a person: {sorted(unknown)[0]}")
    return None


def _edited(exchange: Exchange, review: TurnReview) -> Exchange:
    question, question_links = _new(exchange.question, exchange.question_links, review.new_question)
    answer, answer_links = _new(exchange.answer, exchange.answer_links, review.new_answer)
    return exchange._replace(question=question, question_links=question_links, answer=answer, answer_links=answer_links)


def _new(text: str, links: tuple[Link, ...], new: str | None) -> tuple[str, tuple[Link, ...]]:
    """A text as a person left it: marks of links count only where the model's text had some."""
    if new is None:
        return text, links
    return read_links(new) if links else (new, ())
