"""Scores of answers, each a pure function of texts or boxes, and their intervals.

A corpus score is the mean of its items' scores, so every one has an interval by bootstrap. Items of one sample are
drawn together: six questions about one image are not six independent observations.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vldata.schema.boxes import Box

Floats = npt.NDArray[np.float64]

DRAWS = 1000
"""Bootstrap samples; the ends of a 95 % interval then move by about 2 % of its width between seeds."""

# VQA's official evaluation (https://visualqa.org/evaluation.html): what it does to an answer, as rules.
_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_CONTRACTED = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll "
    "how's i'm i've isn't it'd it'll let's ma'am mightn't might've mustn't must've needn't not've o'clock "
    "oughtn't shan't should've shouldn't somebody'd somebody'll somebody's someone'd someone'll someone's "
    "something'd something'll that's there'd there're there's they'd they'll they're they've 'twas wasn't "
    "we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's who've "
    "why'll why're why's won't would've wouldn't y'all you'd you'll you're you've"
)
_CONTRACTIONS = {word.replace("'", ""): word for word in _CONTRACTED.split()}

_CIDER_N = 4
_CIDER_SIGMA = 6.0
# n-grams of 1 to 4 words, and the width of the length penalty: Vedantam et al. 2015, section 4 and 6 (CIDEr-D)


class Interval(NamedTuple):
    """A mean with its 95 % interval by bootstrap; ``n`` items."""

    value: float
    low: float
    high: float
    n: int


def vqa_normalised(answer: str) -> str:
    """An answer as VQA's official evaluation compares it: lower case, no articles, no punctuation, numbers as digits.

    Punctuation that stands beside a space (or a comma within a number) vanishes; elsewhere it becomes a space.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip().lower()
    number_with_comma = _COMMA_IN_NUMBER.search(text) is not None
    cleaned = text
    for mark in _PUNCTUATION:
        if f"{mark} " in text or f" {mark}" in text or number_with_comma:
            cleaned = cleaned.replace(mark, "")
        else:
            cleaned = cleaned.replace(mark, " ")
    words = (_NUMBERS.get(word, word) for word in _PERIOD.sub("", cleaned).split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """VQA's soft accuracy, 0 to 1: min(1, matches / 3), averaged over leaving each reference out.

    With fewer than four references three matches are out of reach; then it is 1 if any of them matches, else 0.
    """
    given = vqa_normalised(answer)
    matches = [vqa_normalised(reference) == given for reference in references]
    if len(matches) < 4:
        return float(any(matches))
    total = sum(matches)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(matches)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes in one frame, 0 to 1; 0 when both are empty."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(0.0, width) * max(0.0, height)
    union = (a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared
    return shared / union if union > 0 else 0.0


def words(text: str) -> list[str]:
    """Lower-case words without punctuation: the simple tokenizer of `token_f1` and `cider_d`."""
    return re.findall(r"\w+(?:['’.]\w+)*", text.lower())


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of the words' precision and recall as bags, 0 to 1; two empty texts agree."""
    given, wanted = Counter(words(answer)), Counter(words(reference))
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((given & wanted).values())
    return 2 * shared / (sum(given.values()) + sum(wanted.values()))


def cider_d(answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each answer, 0 to 10; document frequencies from the references given.

    Vedantam et al. 2015 (https://arxiv.org/abs/1411.5726), with `words` in place of the Penn Treebank tokenizer, so
    figures compare with each other and not with those of pycocoevalcap.

    Args:
        answers: One an item.
        references: One or more an item.
    """
    wanted = [[_ngrams(text) for text in texts] for texts in references]
    frequency: Counter[tuple[str, ...]] = Counter()
    for texts in wanted:
        frequency.update({gram for grams in texts for gram in grams})
    log_items = math.log(max(len(references), 2))  # with one item every n-gram would weigh nothing
    scores = []
    for answer, texts in zip(answers, wanted, strict=True):
        given = _ngrams(answer)
        each = [_cider_pair(given, reference, frequency, log_items) for reference in texts]
        scores.append(10.0 * sum(each) / len(each))
    return scores


def interval(values: Sequence[float], groups: Sequence[str], seed: int = 0) -> Interval:
    """The mean of values with its 95 % percentile interval, whole groups drawn with replacement.

    Args:
        values: One an item, at least one.
        groups: The group of each item, usually its sample's id.
        seed: Of the draws; the same gives the same interval.
    """
    sums, counts = _by_group(np.asarray(values, np.float64), groups)
    rng = np.random.Generator(np.random.PCG64(seed))
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        drawn = rng.integers(0, len(sums), len(sums))
        means[draw] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(np.mean(values)), float(low), float(high), len(values))


def paired(a: Sequence[float], b: Sequence[float], groups: Sequence[str], seed: int = 0) -> Interval:
    """The mean of ``a - b`` over the same items, with its interval."""
    return interval((np.asarray(a, np.float64) - np.asarray(b, np.float64)).tolist(), groups, seed)


def _by_group(values: Floats, groups: Sequence[str]) -> tuple[Floats, Floats]:
    number: dict[str, int] = {}
    places = np.array([number.setdefault(group, len(number)) for group in groups])
    return np.bincount(places, values).astype(np.float64), np.bincount(places).astype(np.float64)


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    said = words(text)
    return Counter(tuple(said[start : start + n]) for n in range(1, _CIDER_N + 1) for start in range(len(said) - n + 1))


def _cider_pair(
    given: Counter[tuple[str, ...]],
    wanted: Counter[tuple[str, ...]],
    frequency: Counter[tuple[str, ...]],
    log_items: float,
) -> float:
    """Mean over n of the clipped cosine of tf-idf vectors, times the Gaussian length penalty; 0 to 1."""
    total = 0.0
    apart = sum(c for g, c in given.items() if len(g) == 1) - sum(c for g, c in wanted.items() if len(g) == 1)
    for n in range(1, _CIDER_N + 1):
        a = _weighed(given, n, frequency, log_items)
        b = _weighed(wanted, n, frequency, log_items)
        norm = math.sqrt(sum(w * w for w in a.values())) * math.sqrt(sum(w * w for w in b.values()))
        if norm > 0:
            total += sum(min(weight, b[gram]) * b[gram] for gram, weight in a.items() if gram in b) / norm
    return total / _CIDER_N * math.exp(-(apart**2) / (2 * _CIDER_SIGMA**2))


def _weighed(
    grams: Counter[tuple[str, ...]], n: int, frequency: Counter[tuple[str, ...]], log_items: float
) -> dict[tuple[str, ...], float]:
    return {
        gram: count * (log_items - math.log(max(1, frequency[gram]))) for gram, count in grams.items() if len(gram) == n
    }
