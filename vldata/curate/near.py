"""Near-duplicate texts within an image: greedy in rank order, vectorised over all images at once.

In each round the lowest-ranked text left of every image is kept, compared with the others of its image, and those that
are similar leave. So each text is compared with the kept ones before it, and no list of pairs is ever held. The number
of rounds is the number of texts that the fullest image keeps, at most `MAX_COMPARED`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

Indices = npt.NDArray[np.int64]
Similar = Callable[[Indices, Indices], npt.NDArray[np.bool_]]

MAX_COMPARED = 256
"""Kept texts of an image that a text is compared with, lowest rank first: 10,000 texts of one image need
2.6 million comparisons at most, not 50 million."""

_TOLERANCE = 1e-9


def near_duplicates(
    image: pl.Series, text: pl.Series, similarity: float, measure: Literal["jaccard", "edit"]
) -> Indices:
    """For each text the place of the kept text that it resembles, -1 for those that are kept; shape (n,).

    Args:
        image: Which texts are compared: those with the same value. "" is compared with nothing.
        text: In rank order; null resembles nothing.
        similarity: At least so similar, 0 to 1.
        measure: ``jaccard``: shared words / all words, both as sets, without letter case. ``edit``: 1 - (edits / length
            of the longer text), letter case and spaces evened out.
    """
    like = np.full(len(text), -1, dtype=np.int64)
    groups, places = _groups(image, text)
    if not len(places):
        return like
    similar = (_jaccard if measure == "jaccard" else _edit)(groups, text.gather(places), similarity)
    left = np.arange(len(places))
    for _ in range(MAX_COMPARED):
        if not len(left):
            break
        is_head = _starts(groups[left])
        heads = left[np.maximum.accumulate(np.where(is_head, np.arange(len(left)), 0))]
        heads, left = heads[~is_head], left[~is_head]
        same = similar(heads, left)
        like[places[left[same]]] = places[heads[same]]
        left = left[~same]
    return like


def _groups(image: pl.Series, text: pl.Series) -> tuple[Indices, Indices]:
    """Numbers of the images with several texts, ascending, and the places of their texts, in rank order within each."""
    table = pl.DataFrame({"image": image, "text": text}).with_row_index("place")
    table = table.filter((pl.col("image") != "") & pl.col("text").is_not_null())
    numbered = table.group_by("image", maintain_order=True).agg(pl.len(), pl.col("place")).filter(pl.col("len") > 1)
    places = numbered.select("place").explode("place").to_series().to_numpy().astype(np.int64)
    return np.repeat(np.arange(numbered.height), numbered["len"].to_numpy()), places


def _jaccard(groups: Indices, text: pl.Series, similarity: float) -> Similar:
    """Sets of words as numbers that are distinct per image, so that one table of marks serves all images at once."""
    words = text.str.to_lowercase().str.extract_all(r"\w+").list.unique()
    sizes = words.list.len().to_numpy().astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    codes = words.explode().drop_nulls().cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
    tokens, num_tokens = _dense(np.repeat(groups, sizes) * (codes.max(initial=0) + 1) + codes)
    marks = np.zeros(num_tokens, dtype=np.bool_)

    def similar(heads: Indices, others: Indices) -> npt.NDArray[np.bool_]:
        # heads ascend and repeat; np.unique would hash them all
        distinct = heads[_starts(heads)]
        marked = tokens[_ranges(starts[distinct], sizes[distinct])]
        marks[marked] = True
        owner = np.repeat(np.arange(len(others)), sizes[others])
        hits = marks[tokens[_ranges(starts[others], sizes[others])]]
        marks[marked] = False
        shared = np.bincount(owner[hits], minlength=len(others))
        union = sizes[heads] + sizes[others] - shared
        return (shared > 0) & (shared >= (similarity - _TOLERANCE) * union)

    return similar


def _edit(groups: Indices, text: pl.Series, similarity: float) -> Similar:
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    evened = text.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    texts = evened.to_numpy()
    lengths = evened.str.len_chars().to_numpy().astype(np.int64)

    def similar(heads: Indices, others: Indices) -> npt.NDArray[np.bool_]:
        # the lengths alone bound the similarity from above, and most pairs fail that
        longer, shorter = np.maximum(lengths[heads], lengths[others]), np.minimum(lengths[heads], lengths[others])
        same = (longer > 0) & (shorter >= (similarity - _TOLERANCE) * longer)
        pairs = np.flatnonzero(same)
        scores = process.cpdist(
            texts[heads[pairs]].tolist(),
            texts[others[pairs]].tolist(),
            scorer=Levenshtein.normalized_similarity,
            # only for speed, and loose: rapidfuzz loses scores that are nearly equal to it
            score_cutoff=max(0.0, similarity - 1e-4),
            dtype=np.float64,
        )
        same[pairs] = scores >= similarity - _TOLERANCE
        return same

    return similar


def _dense(numbers: Indices) -> tuple[Indices, int]:
    """The same numbers as places among their distinct values, and how many there are."""
    order = np.argsort(numbers, kind="stable")
    ascending = numbers[order]
    dense = np.empty_like(numbers)
    dense[order] = np.cumsum(_starts(ascending)) - 1
    return dense, int(dense.max(initial=-1)) + 1


def _starts(values: Indices) -> npt.NDArray[np.bool_]:
    """Where a run of equal values begins."""
    starts = np.ones(len(values), dtype=np.bool_)
    starts[1:] = values[1:] != values[:-1]
    return starts


def _ranges(starts: Indices, sizes: Indices) -> Indices:
    """The numbers of all ranges [start, start + size), one range after another."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(sizes.sum())
