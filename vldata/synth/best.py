"""Which of several draws is the best: by what is known about the image, by what the draws agree on, or by a judge.

A judge is shown two answers, once in each order: what it likes about the first place cancels out. A reply of the judge
that could not be read is *missing*, and an order without its counterpart counts for nothing: no number is made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.validate.base import words_of

_SHORT = 3


@dataclass(frozen=True)
class Judgement:
    """What a judge made of two answers, both orders taken together.

    Args:
        scores: ``answer_a`` and ``answer_b`` -> criterion -> mean score over pairs of orders; only criteria for which
            both orders of a pair could be read.
        num_read: Replies that hold any score.
        num_missing: Replies that hold none, or that never arrived.
    """

    scores: Mapping[str, Mapping[str, float]]
    num_read: int
    num_missing: int

    def lead(self, name: str, other: str) -> float | None:
        """By how much ``name`` is better than ``other``, as a mean over the criteria; None when that is missing."""
        one, two = self.scores.get(name, {}), self.scores.get(other, {})
        shared = sorted(set(one) & set(two))
        return fmean(one[criterion] - two[criterion] for criterion in shared) if shared else None


def judged(draws: Sequence[Sequence[Exchange] | None]) -> Judgement:
    """Take a judge's draws together.

    Args:
        draws: In the order of ``sample_index``: the even ones in the sample's order, the odd ones swapped, each as
            `Kind.read` gave it (named by the sample's order in any case); None for one that could not be parsed.
    """
    sums: dict[str, dict[str, list[float]]] = {}
    for straight, swapped in zip(draws[::2], draws[1::2], strict=False):
        if straight is None or swapped is None:
            continue
        both = [{e.answer: e.scores for e in exchanges} for exchanges in (straight, swapped)]
        for name in both[0]:
            for criterion, score in both[0][name].items():
                # only a criterion for which every answer has a score in both orders is free of the position's weight
                if all(criterion in order.get(n, {}) for order in both for n in both[0]):
                    sums.setdefault(name, {}).setdefault(criterion, []).extend([score, both[1][name][criterion]])
    scores = {name: {criterion: fmean(values) for criterion, values in lists.items()} for name, lists in sums.items()}
    num_read = sum(draw is not None for draw in draws)
    return Judgement(scores, num_read, len(draws) - num_read)


def pairs_to_judge(inputs: Inputs, question: str, candidates: Sequence[str]) -> list[Inputs]:
    """What a judge is to compare: every candidate but the first with the first.

    So k candidates cost k - 1 comparisons, all at once, and their leads over the same one can be compared.

    Args:
        question: What the candidates answer.
        candidates: At least one.
    """
    return [
        replace(
            inputs,
            row=f"{inputs.row}~{number}",
            fields={**inputs.fields, "question": question, "answer_a": candidates[0], "answer_b": candidate},
        )
        for number, candidate in enumerate(candidates[1:], 1)
    ]


def leads(judgements: Sequence[Judgement]) -> list[float | None]:
    """The candidates' scores from the judgements of `pairs_to_judge`: the first one's is 0, None is missing."""
    return [0.0, *(judgement.lead("answer_b", "answer_a") for judgement in judgements)]


def coverage(candidate: str, inputs: Inputs) -> float | None:
    """The share of what is known about the image that a text names: its objects, its texts, its captions' words.

    Words of up to three letters do not count. None when nothing is known.
    """
    facts = {word for word in words_of(inputs.words()).distinct if len(word) > _SHORT}
    said = words_of(candidate).distinct
    return len(facts & said) / len(facts) if facts else None


def agreement(candidates: Sequence[str]) -> list[float | None]:
    """For each candidate, how much of its words the others share on average, 0 to 1; None when there are no others."""
    words = [words_of(candidate).distinct for candidate in candidates]
    shares: list[float | None] = []
    for place, own in enumerate(words):
        others = words[:place] + words[place + 1 :]
        shares.append(fmean(len(own & other) / (len(own | other) or 1) for other in others) if others else None)
    return shares


def best(scores: Sequence[float | None], *, least: float | None = None) -> int | None:
    """The place of the highest score, the first one of equals; None when all are missing, or below ``least``."""
    present = [(score, -place) for place, score in enumerate(scores) if score is not None]
    if not present:
        return None
    score, place = max(present)
    return None if least is not None and score < least else -place
