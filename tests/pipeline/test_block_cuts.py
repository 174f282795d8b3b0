"""Which samples share a block: limits, and that one row more or less leaves nearly all blocks as they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.pipeline.block_cuts import leaves
from vldata.schema.keyed import Keys, keyed, string_keys

Ints = npt.NDArray[np.int64]
CutFunction = Callable[[Keys, Ints, int], list[tuple[int, int]]]

TOP = 1 << 61
"""Ranks that are multiples of it differ in their upper three bits."""


def ranks_of(*ranks: int) -> Keys:
    return np.array(ranks, dtype=np.uint64)


def row_ranks(rows: list[str]) -> Keys:
    """As a build ranks the rows of a source."""
    return np.sort(keyed(string_keys(rows), 7, "rank", "captions"))


def bytes_each(ranks: Keys, size: int = 1) -> Ints:
    return np.full(len(ranks), size, dtype=np.int64)


def by_rank(ranks: Keys, sizes: Ints, max_rows: int) -> list[tuple[int, int]]:
    return leaves(ranks, sizes, max_rows=max_rows)


def by_count(ranks: Keys, sizes: Ints, max_rows: int) -> list[tuple[int, int]]:
    """What blocks must not be: N samples, then N more."""
    return [(low, min(low + max_rows, len(ranks))) for low in range(0, len(ranks), max_rows)]


def rank_sets(cut: CutFunction, ranks: Keys, max_rows: int) -> set[bytes]:
    """Every leaf as the set of its ranks, which is all that a leaf is: they ascend, so their bytes tell sets apart."""
    return {ranks[low:high].tobytes() for low, high in cut(ranks, bytes_each(ranks), max_rows)}


def most_remade(cut: CutFunction, ranks: Keys, others: list[Keys], max_rows: int) -> int:
    before = rank_sets(cut, ranks, max_rows)
    return max(len(rank_sets(cut, other, max_rows) - before) for other in others)


def one_more_or_less(ranks: Keys, seed: int, times: int = 20) -> list[Keys]:
    """The ranks with one random rank inserted, and with one of them left out, each ``times`` times, ends included."""
    rng = np.random.Generator(np.random.PCG64(seed))
    fresh = [np.uint64(0), np.uint64((1 << 64) - 1), *rng.integers(0, 1 << 64, times, dtype=np.uint64)]
    places = [0, len(ranks) - 1, *rng.integers(0, len(ranks), times).tolist()]
    more = [np.insert(ranks, int(np.searchsorted(ranks, rank)), rank) for rank in fresh if rank not in ranks]
    return more + [np.delete(ranks, place) for place in places]


def test_a_leaf_is_a_prefix_of_the_rank_in_bits() -> None:
    eighths = ranks_of(0, TOP, 2 * TOP, 3 * TOP, 4 * TOP, 6 * TOP, 7 * TOP)  # 000 001 010 011 100 110 111
    sizes = bytes_each(eighths)
    assert leaves(eighths, sizes, max_rows=7) == [(0, 7)]
    assert leaves(eighths, sizes, max_rows=6) == [(0, 4), (4, 7)]  # 0.. 1..
    assert leaves(eighths, sizes, max_rows=3) == [(0, 2), (2, 4), (4, 7)]  # 00. 01. 1..
    assert leaves(eighths, sizes, max_rows=2) == [(0, 2), (2, 4), (4, 5), (5, 7)]  # 00. 01. 10. 11.
    assert leaves(eighths, sizes, max_rows=1) == [(n, n + 1) for n in range(7)]


def test_ranks_that_differ_in_their_last_bit_are_kept_apart() -> None:
    low = ranks_of(0, 1, 2, 3)
    assert leaves(low, bytes_each(low), max_rows=2) == [(0, 2), (2, 4)]
    assert leaves(low, bytes_each(low), max_rows=1) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    high = ranks_of((1 << 64) - 2, (1 << 64) - 1)
    assert leaves(high, bytes_each(high), max_rows=1) == [(0, 1), (1, 2)]


def test_no_samples_make_no_leaf() -> None:
    assert leaves(ranks_of(), np.array([], dtype=np.int64), max_rows=4) == []


def test_a_leaf_of_exactly_the_limits_is_whole_and_one_byte_more_divides_it() -> None:
    eighths = ranks_of(0, TOP, 2 * TOP, 3 * TOP)
    assert leaves(eighths, bytes_each(eighths, 10), max_rows=4, max_bytes=40) == [(0, 4)]
    assert leaves(eighths, bytes_each(eighths, 10), max_rows=4, max_bytes=39) == [(0, 2), (2, 4)]
    assert leaves(eighths, np.array([0, 0, 21, 20]), max_rows=4, max_bytes=40) == [(0, 2), (2, 3), (3, 4)]


def test_without_a_word_about_bytes_a_leaf_holds_256_megabytes() -> None:
    two = ranks_of(0, 1)
    assert leaves(two, np.array([268_435_455, 1]), max_rows=2) == [(0, 2)]
    assert leaves(two, np.array([268_435_456, 1]), max_rows=2) == [(0, 1), (1, 2)]


def test_bytes_beyond_32_bits_are_added_up() -> None:
    ranks = ranks_of(*(n * TOP for n in range(8)))
    assert leaves(ranks, bytes_each(ranks, 2**31), max_rows=8, max_bytes=2**33) == [(0, 4), (4, 8)]


def test_a_sample_larger_than_a_leaf_is_one_of_its_own() -> None:
    eighths = ranks_of(0, TOP, 2 * TOP, 3 * TOP)
    assert leaves(eighths, np.array([1, 1, 1, 99]), max_rows=4, max_bytes=10) == [(0, 2), (2, 3), (3, 4)]


def test_equal_ranks_cannot_be_kept_apart() -> None:
    same = ranks_of(5, 5, 5, 6)
    assert leaves(same, bytes_each(same), max_rows=2) == [(0, 3), (3, 4)]


rank_lists = st.lists(
    st.integers(0, 40) | st.integers(0, 2**64 - 1) | st.integers(2**63 - 3, 2**63 + 3), unique=True, max_size=40
)


@given(rank_lists, st.integers(1, 8), st.integers(1, 60), st.data())
def test_leaves_tile_the_samples_and_keep_both_limits(
    listed: list[int], max_rows: int, max_bytes: int, data: st.DataObject
) -> None:
    ranks = np.sort(ranks_of(*listed))
    sizes = np.array(data.draw(st.lists(st.integers(0, 30), min_size=len(ranks), max_size=len(ranks))), dtype=np.int64)
    found = leaves(ranks, sizes, max_rows=max_rows, max_bytes=max_bytes)
    assert [place for low, high in found for place in range(low, high)] == list(range(len(ranks)))
    for low, high in found:
        assert low < high
        assert high - low == 1 or (high - low <= max_rows and sizes[low:high].sum() <= max_bytes)


@given(rank_lists, st.integers(1, 8))
def test_a_leaf_holds_all_that_share_its_prefix_and_would_not_fit_with_its_neighbour(
    listed: list[int], max_rows: int
) -> None:
    ranks = np.sort(ranks_of(*listed))
    written = [f"{rank:064b}" for rank in ranks.tolist()]
    for low, high in leaves(ranks, bytes_each(ranks), max_rows=max_rows):
        first, last = written[low], written[high - 1]
        shared = next((bit for bit in range(64) if first[bit] != last[bit]), 64)
        assert [text for text in written if text[:shared] == first[:shared]] == written[low:high]
        # the longest prefix that others share as well holds too many
        wider = max(
            (bit for bit in range(shared) if sum(text[:bit] == first[:bit] for text in written) > high - low),
            default=None,
        )
        assert wider is None or sum(text[:wider] == first[:wider] for text in written) > max_rows


@pytest.mark.parametrize("max_rows", [64, 256, 1024])
def test_one_row_more_or_less_among_20_000_remakes_at_most_two_leaves(max_rows: int) -> None:
    ranks = row_ranks([f"r{n}" for n in range(20_000)])
    others = one_more_or_less(ranks, seed=max_rows)
    assert most_remade(by_rank, ranks, others, max_rows) <= 2
    # were blocks cut by counting, a row at the front would remake them all, so what is compared can tell
    assert most_remade(by_count, ranks, others, max_rows) == -(-20_000 // max_rows)


def test_a_row_that_fills_a_leaf_to_overflowing_divides_it_alone() -> None:
    ranks = ranks_of(0, TOP, 2 * TOP, 3 * TOP, 4 * TOP, 6 * TOP, 7 * TOP)
    others = [np.sort(np.append(ranks, np.uint64(1))), np.sort(np.append(ranks, np.uint64(5 * TOP)))]
    assert [rank_sets(by_rank, other, 2) - rank_sets(by_rank, ranks, 2) for other in others] == [
        {ranks_of(0, 1).tobytes(), ranks_of(TOP).tobytes()},
        {ranks_of(4 * TOP, 5 * TOP).tobytes()},
    ]


def test_a_leaf_is_a_set_of_rows_whatever_else_the_source_has_and_in_which_order() -> None:
    rows = [f"r{n}" for n in range(2_000)]
    ranks = row_ranks(rows)
    assert rank_sets(by_rank, row_ranks(rows[::-1]), 64) == rank_sets(by_rank, ranks, 64)
    lower, upper = ranks[ranks < np.uint64(1 << 63)], ranks[ranks >= np.uint64(1 << 63)]
    assert rank_sets(by_rank, ranks, 64) == rank_sets(by_rank, lower, 64) | rank_sets(by_rank, upper, 64)
