"""How different the turns of a synthetic source are, and limits on how alike they may be.

What is compared is what the model chose to write: the question of a turn where its kind generates questions, else the
answer. Questions nearly the same over different images are found as in `vldata.synth.validate.across`, by min-wise
hashing of their runs of three words.

A limit takes turns out in the keyed order of their samples, whatever order the answers came in: the first ones stay. It
takes one turn at a time, as nothing is wrong with the others of its reply.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from vldata.synth.draws import Draw, Outcome
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.models import Diversity
from vldata.synth.validate.across import Answered, Comparison, SameAnswers
from vldata.synth.validate.base import Finding, split_words

OPENING = "opening_too_frequent"
QUESTION = "question_over_images"

SAMPLE: Final = 10_000
"""Turns, the first in keyed order, on which distinct-n and likeness are measured: both fall as a corpus grows, so they
compare sources only at one size."""

SHOWN: Final = 10
"""Openings that are listed."""


def opening(text: str, num_words: int) -> str:
    """The first words of a text, in lower case."""
    return " ".join(split_words(text)[:num_words])


def largest_count(counts: Sequence[int], share: float) -> int:
    """How many turns an opening may have, so that none has more than its share of those that are left.

    Args:
        counts: Turns of each opening.
        share: Above 0, at most 1.
    """
    before = sum(counts)
    if len(counts) * share < 1:  # it cannot hold, however few are left
        return max(1, int(share * before + _TOLERANCE))
    left = before
    while True:
        most = max(1, int(share * left + _TOLERANCE))
        now = sum(min(count, most) for count in counts)
        if now == left:
            return most
        left = now


_TOLERANCE = 1e-9


class DiversityLimits:
    """What a source's limits take out, found by going through all outcomes once."""

    def __init__(self, spec: Diversity, *, of_questions: bool) -> None:
        self._spec = spec
        self._of_questions = of_questions
        self._out: dict[int, Finding] = {}

    def measure(self, outcomes: Iterator[Outcome]) -> DiversityLimits:
        """Find the turns to take out; the outcomes must come in the same order again for `applied`."""
        self._out = {}
        codes: dict[str, int] = {}
        openings = array("q")
        comparison = Comparison(SameAnswers(images=2, words=3, similarity=self._spec.similarity))
        for place, (draw, exchange) in enumerate(_turns(outcomes)):
            text = _written(exchange, of_questions=self._of_questions)
            openings.append(codes.setdefault(opening(text, self._spec.opening_words), len(codes)))
            if self._spec.max_images_of_a_question is not None:
                comparison.add(Answered(str(place), image_of(draw.inputs), [Exchange("", text)]))
        if self._spec.max_images_of_a_question is not None:
            self._limit_questions(comparison, self._spec.max_images_of_a_question)
        if self._spec.max_share_of_an_opening is not None:
            self._limit_openings(np.frombuffer(openings, dtype=np.int64), list(codes))
        return self

    def applied(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """The outcomes without the turns that were found."""
        place = 0
        for outcome in outcomes:
            draws = []
            for draw in outcome.draws:
                draws.append(self._applied(draw, place))
                place += len(draw.kept)
            yield outcome._replace(draws=draws)

    def _applied(self, draw: Draw, first: int) -> Draw:
        places = enumerate(draw.kept, start=first)
        found = {place: self._out[number] for number, place in places if number in self._out}
        if not found:
            return draw
        findings = [finding._replace(exchange=place) for place, finding in found.items()]
        kept = tuple(place for place in draw.kept if place not in found)
        draw = draw._replace(kept=kept, findings=(*draw.findings, *findings))
        return draw if kept else draw._replace(problem=findings[0].reason, detail=findings[0].detail)

    def _limit_questions(self, comparison: Comparison, most: int) -> None:
        for group in comparison.groups():
            seen: set[str] = set()
            for place, image in sorted((int(row), image) for row, image, _ in group):
                if image in seen or len(seen) < most:
                    seen.add(image)
                else:
                    self._out[place] = Finding(QUESTION, None, f"more than {most} images have nearly the same")

    def _limit_openings(self, openings: npt.NDArray[np.int64], names: Sequence[str]) -> None:
        share = self._spec.max_share_of_an_opening
        assert share is not None
        left = np.ones(len(openings), dtype=np.bool_)
        left[list(self._out)] = False
        counts = np.bincount(openings[left], minlength=len(names))
        most = largest_count(counts[counts > 0].tolist(), share)
        used: Counter[int] = Counter()
        for place in np.flatnonzero(left & (counts[openings] > most)).tolist():
            code = int(openings[place])
            used[code] += 1
            if used[code] > most:
                detail = f"{counts[code]:,} turns begin with {names[code]!r}, {most:,} may"
                self._out[place] = Finding(OPENING, None, detail)


class Variety:
    """Numbers about the turns that are kept, gathered one by one."""

    def __init__(self, *, of_questions: bool, opening_words: int = 2) -> None:
        self._of_questions = of_questions
        self._opening_words = opening_words
        self._openings: Counter[str] = Counter()
        self._sizes = {"question": array("l"), "answer": array("l")}
        self._distinct: dict[int, set[int]] = {1: set(), 2: set()}
        self._runs: Counter[int] = Counter()
        self._comparison = Comparison(SameAnswers(images=2, words=3))
        self._num_turns = 0

    def add(self, draw: Draw) -> None:
        """Take note of a draw's turns."""
        for exchange in (draw.exchanges[place] for place in draw.kept):
            written = split_words(_written(exchange, of_questions=self._of_questions))
            self._openings[" ".join(written[: self._opening_words])] += 1
            if exchange.question:
                self._sizes["question"].append(len(exchange.question.split()))
            self._sizes["answer"].append(len(exchange.answer.split()))
            if self._num_turns < SAMPLE:
                self._measure(written, image_of(draw.inputs))
            self._num_turns += 1

    def _measure(self, written: Sequence[str], image: str) -> None:
        for length, distinct in self._distinct.items():
            runs = [" ".join(written[at : at + length]) for at in range(len(written) - length + 1)]
            distinct.update(xxh3_64_intdigest(run.encode()) for run in runs)
            self._runs[length] += len(runs)
        self._comparison.add(Answered(str(self._num_turns), image, [Exchange("", " ".join(written))]))

    def row(self) -> dict[str, Any]:
        """The same as plain data; shares are of the turns, and null where there are none."""
        top = sorted(self._openings.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        measured = min(self._num_turns, SAMPLE)
        repeated = sum(len(group) for group in self._comparison.groups())
        return {
            "of": "questions" if self._of_questions else "answers",
            "turns": self._num_turns,
            "openings": len(self._openings),
            "top_openings": dict(top),
            **{
                f"distinct_{length}": len(distinct) / self._runs[length] if distinct else None
                for length, distinct in self._distinct.items()
            },
            "alike_over_images": repeated / measured if measured else None,
            "words": {name: _spread(sizes) for name, sizes in self._sizes.items() if sizes},
        }


def image_of(inputs: Inputs) -> str:
    """What distinguishes samples of different images; a text is its own."""
    return "+".join(str(part["hash"]) for part in inputs.images) or inputs.row


def _turns(outcomes: Iterator[Outcome]) -> Iterator[tuple[Draw, Exchange]]:
    for outcome in outcomes:
        for draw in outcome.draws:
            yield from ((draw, draw.exchanges[place]) for place in draw.kept)


def _written(exchange: Exchange, *, of_questions: bool) -> str:
    return exchange.question if of_questions else exchange.answer


def _spread(sizes: array[int]) -> dict[str, float]:
    low, middle, high = np.percentile(np.frombuffer(sizes, dtype=np.int64), [5, 50, 95]).tolist()
    return {"p5": low, "median": middle, "p95": high, "mean": float(np.mean(sizes))}
