"""The check that no single reply can fail: the same answer over many different images.

LVD-2M once held one caption 4,000 times, over unrelated videos, because an API had a fault. So all answers of a source
are compared. Nearly equal ones are found by min-wise hashing (Broder 1997) of their runs of three words: 16 hashes an
answer, of which two that are next to each other must agree for a pair to be compared at all. A pair that shares 90 % of
its runs is missed with probability 2 in a million. The likeness itself is the share of the hashes that agree.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from vldata.schema.spec import Spec
from vldata.synth.exchange import Exchange
from vldata.synth.validate.base import Finding, Policy, split_words

Words = npt.NDArray[np.uint64]
Hashes = npt.NDArray[np.uint32]

_NUM_HASHES = 16
_BAND = 2
_RUN = 3
_AT_ONCE = 4_096
"""Answers whose words are held in memory at the same time."""

_STEP = 0x9E3779B97F4A7C15
_FACTORS = np.array([xxh3_64_intdigest(b"minhash %d" % n) | 1 for n in range(_NUM_HASHES)], dtype=np.uint64)
"""Odd factors: each makes another order of all 64-bit hashes."""


class Answered(NamedTuple):
    """What `SameAnswers` needs of a sample.

    Args:
        row: The sample.
        image: What it shows: samples of one image may say the same.
        exchanges: As parsed.
    """

    row: str
    image: str
    exchanges: Sequence[Exchange]


class SameAnswers(Spec):
    """No long answer is given for many different images, word by word or nearly so; the samples' order is of no matter.

    Args:
        images: From how many different images on it is too much to be chance.
        words: Shorter answers may be right for many images.
        similarity: Runs of three words that two answers share / all runs of both, estimated with an error of about
            0.08; 1: the same words in the same order.
        policy: What is to be done with every one of them.
    """

    name: ClassVar[str] = "same_answers"
    reasons: ClassVar[tuple[str, ...]] = ("same_answer_over_images",)
    images: Annotated[int, Field(ge=2)] = 3
    words: Annotated[int, Field(ge=_RUN)] = 12
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.9
    policy: Policy = "drop"


class Comparison:
    """What is known of all answers so far.

    No text is held: some 100 bytes for each answer that is long enough, and its sample's name and image.
    """

    def __init__(self, check: SameAnswers) -> None:
        self._check = check
        self._waiting: list[tuple[str, str, int, str]] = []
        self._rows: list[str] = []
        self._images: list[str] = []
        self._numbers = array("l")
        self._digests = bytearray()
        self._sketches: list[Hashes] = []

    def add(self, sample: Answered) -> None:
        """Take note of a sample's answers."""
        row, image, exchanges = sample
        self._waiting += [(row, image, number, exchange.answer) for number, exchange in enumerate(exchanges)]
        if len(self._waiting) >= _AT_ONCE:
            self._read()

    def findings(self) -> dict[str, list[Finding]]:
        """Row -> findings, of the rows that have any, in the order of the rows."""
        findings: dict[str, list[Finding]] = defaultdict(list)
        for group in self.groups():
            detail = f"it is given for {len({image for _, image, _ in group})} different images"
            for row, _, number in sorted(group):
                finding = Finding("same_answer_over_images", number, detail, self._check.policy)
                findings[row].append(finding)
        return {row: sorted(findings[row]) for row in sorted(findings)}

    def groups(self) -> Iterator[list[tuple[str, str, int]]]:
        """Answers that are alike and given for enough images: row, image and number of each."""
        self._read()
        for group in self._groups():
            if len({self._images[place] for place in group}) >= self._check.images:
                yield [(self._rows[place], self._images[place], self._numbers[place]) for place in group]

    def _read(self) -> None:
        """Turn the texts that wait into digests and hashes of their words."""
        hashes, sizes = list[int](), list[int]()
        hash_of = _WordHashes()
        for row, image, number, answer in self._waiting:
            words = split_words(answer)
            if len(words) >= self._check.words:
                self._rows.append(row)
                self._images.append(image)
                self._numbers.append(number)
                self._digests += xxh3_128_digest(" ".join(words).encode())
                sizes.append(len(words))
                hashes += map(hash_of.__getitem__, words)
        if sizes and self._check.similarity < 1:
            self._sketches.append(_sketches(np.array(hashes, dtype=np.uint64), np.array(sizes)))
        self._waiting.clear()

    def _groups(self) -> Iterator[list[int]]:
        """Places of answers that are alike, also by way of others; only groups that may be over enough images."""
        if not self._rows:
            return
        halves = np.frombuffer(bytes(self._digests), dtype="<u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
        which = np.empty(len(order), dtype=np.int64)
        which[order] = np.cumsum(begins) - 1  # of every answer, which of the different ones it is
        leaders = list(range(int(begins.sum())))
        if self._sketches:
            for one, other in _alike(np.concatenate(self._sketches)[order[begins]], self._check.similarity):
                leaders[_leader(leaders, other)] = _leader(leaders, one)
            leaders = [_leader(leaders, place) for place in range(len(leaders))]
        groups = np.array(leaders)[which]
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            if end - start >= self._check.images:
                yield order[start:end].tolist()


class _WordHashes(dict[str, int]):
    """Word -> 64 bits, computed once: most of an answer's words have been seen before."""

    def __missing__(self, word: str) -> int:
        self[word] = hashed = xxh3_64_intdigest(word.encode())
        return hashed


def _sketches(word: Words, sizes: npt.NDArray[np.int64]) -> Hashes:
    """The smallest hash of each answer's runs of words, in each of 16 orders; shape (answers, 16).

    Args:
        word: Hashes of the words of all answers, one answer after the other.
        sizes: Words of each answer.
    """
    # a run that begins so near the end of an answer that it reaches into the next one is not a run of it
    runs = word[: len(word) - _RUN + 1].copy()
    for step in range(1, _RUN):
        runs = runs * np.uint64(_STEP) + word[step : step + len(runs)]
    ends = np.cumsum(sizes)
    inside = np.ones(len(word), dtype=np.bool_)
    for step in range(1, _RUN):
        inside[ends - step] = False
    runs = runs[inside[: len(runs)]]
    starts = np.cumsum(sizes - _RUN + 1) - (sizes - _RUN + 1)
    mixed = runs ^ (runs >> np.uint64(29))
    smallest = [np.minimum.reduceat(mixed * factor, starts) for factor in _FACTORS]
    # the smallest of many is small, so its lower half is the one that differs
    return np.stack(smallest, axis=1).astype(np.uint32)


def _alike(table: Hashes, similarity: float) -> Iterator[tuple[int, int]]:
    """Pairs of rows of which at least this share of the hashes agree.

    Of the rows that agree in a band, each is compared with the first and with the one before it, not with all.
    """
    pairs: set[tuple[int, int]] = set()
    for start in range(0, _NUM_HASHES, _BAND):
        band = table[:, start].astype(np.uint64) << np.uint64(32) | table[:, start + 1]
        order = np.argsort(band, kind="stable")
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = band[order[1:]] != band[order[:-1]]
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        later = np.flatnonzero(~begins)
        for other in (first[later], later - 1):
            same = (table[order[later]] == table[order[other]]).mean(axis=1) >= similarity - 1e-9
            pairs.update(zip(order[other][same].tolist(), order[later][same].tolist(), strict=True))
    yield from sorted(pairs)


def _leader(leaders: list[int], place: int) -> int:
    while leaders[place] != place:
        leaders[place] = leaders[leaders[place]]
        place = leaders[place]
    return place
