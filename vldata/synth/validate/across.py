"""The check that no single reply can fail: the same answer over many different images.

LVD-2M once held one caption 4,000 times, over unrelated videos, because an API had a fault. So all answers of a source
are compared. Nearly equal ones are found by min-wise hashing (Broder 1997) of their runs of three words: 16 hashes an
answer, of which two that are next to each other must agree for a pair to be compared at all. A pair that shares 90 % of
its runs is missed with probability 2 in a million. The likeness itself is the share of the hashes that agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from vldata.spec import Spec
from vldata.synth.exchange import Exchange
from vldata.synth.validate.base import Finding, Policy

Hashes = npt.NDArray[np.uint64]

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
    reasons: ClassVar[Mapping[str, str]] = {
        "same_answer_over_images": "the same answer, or nearly the same, is given for many different images"
    }
    images: Annotated[int, Field(ge=2)] = 3
    words: Annotated[int, Field(ge=_RUN)] = 12
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.9
    policy: Policy = "drop"

    def check_all(self, samples: Iterable[Answered]) -> dict[str, list[Finding]]:
        """Row -> findings, of the rows that have any, in the order of the rows.

        No text is held: some 80 bytes for each different answer, and the name and image of every row.
        """
        places: dict[bytes, list[tuple[str, int, str]]] = defaultdict(list)
        sketches: dict[bytes, Hashes] = {}
        answers = (
            (row, number, image, exchange.answer)
            for row, image, exchanges in samples
            for number, exchange in enumerate(exchanges)
        )
        while some := list(islice(answers, _AT_ONCE)):
            for place, digest, sketch in self._read(some):
                row, number, image, _ = some[place]
                places[digest].append((row, number, image))
                sketches.setdefault(digest, sketch)
        findings: dict[str, list[Finding]] = defaultdict(list)
        for group in self._groups(sketches):
            same = sorted(place for digest in group for place in places[digest])
            num_images = len({image for _, _, image in same})
            if num_images >= self.images:
                detail = f"it is given for {num_images} different images"
                for row, number, _ in same:
                    findings[row].append(Finding("same_answer_over_images", number, detail, self.policy))
        return {row: sorted(findings[row]) for row in sorted(findings)}

    def _read(self, answers: Sequence[tuple[str, int, str, str]]) -> Iterator[tuple[int, bytes, Hashes]]:
        """Of every answer that is long enough: its place, the digest of its words, and its hashes."""
        table = pl.DataFrame({"words": pl.Series([answer for *_, answer in answers], dtype=pl.String)})
        table = table.with_row_index("place").with_columns(
            pl.col("words").str.to_lowercase().str.extract_all(r"\w+"),
        )
        table = table.filter(pl.col("words").list.len() >= self.words)
        if not table.height:
            return
        digests = [xxh3_128_digest(text.encode()) for text in table["words"].list.join(" ").to_list()]
        if self.similarity == 1:
            sketches = np.zeros((table.height, _NUM_HASHES), dtype=np.uint64)
        else:
            sketches = _sketches(table["words"])
        yield from zip(table["place"].to_list(), digests, sketches, strict=True)

    def _groups(self, sketches: Mapping[bytes, Hashes]) -> list[list[bytes]]:
        """Digests of answers that are alike, also by way of others."""
        digests = sorted(sketches)
        if self.similarity == 1 or not digests:
            return [[digest] for digest in digests]
        table = np.stack([sketches[digest] for digest in digests])
        leaders = list(range(len(digests)))
        for one, other in _alike(table, self.similarity):
            leaders[_leader(leaders, other)] = _leader(leaders, one)
        groups = defaultdict(list)
        for place, digest in enumerate(digests):
            groups[_leader(leaders, place)].append(digest)
        return list(groups.values())


def _sketches(words: pl.Series) -> Hashes:
    """The smallest hash of each answer's runs of words, in each of 16 orders; shape (answers, 16)."""
    sizes = words.list.len().to_numpy().astype(np.int64)
    flat = words.explode()
    distinct = flat.unique()
    hashes = pl.Series([xxh3_64_intdigest(word.encode()) for word in distinct.to_list()], dtype=pl.UInt64)
    word = flat.replace_strict(distinct, hashes, return_dtype=pl.UInt64).to_numpy()
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
    found = [np.minimum.reduceat(mixed * factor, starts) for factor in _FACTORS]
    return np.stack(found, axis=1).astype(np.uint64)


def _alike(table: Hashes, similarity: float) -> Iterator[tuple[int, int]]:
    """Pairs of rows of which at least this share of the hashes agree.

    Of the rows that agree in a band, each is compared with the first and with the one before it, not with all.
    """
    pairs: set[tuple[int, int]] = set()
    for start in range(0, _NUM_HASHES, _BAND):
        order = np.lexsort(tuple(table[:, start + n] for n in range(_BAND)))
        band = table[order, start : start + _BAND]
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = (band[1:] != band[:-1]).any(axis=1)
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
