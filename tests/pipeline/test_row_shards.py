"""Layout ``rows``: one keyed order over all sources, cut into shards."""

from __future__ import annotations

import json

import pytest

from tests.pipeline.tables import finished, piece, rows_of_stream
from vldata.pipeline.row_shards import Instance, Shard, gather, row_shards
from vldata.store.blocks import NOTE, PIECE
from vldata.store.store import Store

MB = 1024 * 1024


@pytest.fixture
def pieces(store: Store) -> Store:
    """Two sources: piece ``aa`` of rows a to e, and ``bb`` of rows x to z with two images each."""
    piece(store, "aa", finished("abcde"), [f"#{name}" for name in "abcde"], [1, 2, 3, 4, 5])
    hashes = ["#x0", "#x1", None, "#y1", "#z0", "#z1"]
    piece(store, "bb", finished("xyz", images=2, source="other"), hashes, [20, 21, 22])
    return store


BOTH = [Instance("aa", 5, 0), Instance("bb", 3, 0)]


def cut(store: Store, *instances: Instance, max_rows: int = 100, seed: int = 7, versions: object = 1) -> list[Shard]:
    return row_shards({"train": instances}, store, seed=seed, max_rows=max_rows, versions=versions)


def names(*shards: Shard) -> list[str]:
    """Each shard's rows by letter."""
    return ["".join("abcde"[n] if key == "aa" else "xyz"[n] for key, n in shard.rows) for shard in shards]


def test_the_order_is_keyed_by_row_whatever_piece_it_stands_in(pieces: Store) -> None:
    assert names(*cut(pieces, *BOTH)) == ["byadzexc"]
    assert names(*cut(pieces, *reversed(BOTH))) == names(*cut(pieces, *BOTH))
    alone = "".join(name for name in names(*cut(pieces, *BOTH))[0] if name in "abcde")
    assert names(*cut(pieces, BOTH[0])) == [alone]
    assert names(*cut(pieces, *BOTH, seed=8)) != names(*cut(pieces, *BOTH))


def test_the_same_rows_stand_elsewhere_in_another_pass(pieces: Store) -> None:
    first, second = (names(*cut(pieces, Instance("aa", 5, n)))[0] for n in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second
    (both,) = names(*cut(pieces, Instance("aa", 5, 0), Instance("aa", 5, 1)))
    assert sorted(both) == sorted("abcde" * 2)
    assert both not in (first + second, second + first)


def test_of_a_piece_that_is_used_in_part_the_first_rows_are(pieces: Store) -> None:
    assert sorted(names(*cut(pieces, Instance("aa", 2, 0)))[0]) == ["a", "b"]
    assert sorted(names(*cut(pieces, Instance("aa", 5, 0), Instance("aa", 2, 1)))[0]) == sorted("abcdeab")


def test_a_shard_has_at_most_n_rows_and_the_last_one_the_rest(pieces: Store) -> None:
    (whole,) = names(*cut(pieces, *BOTH))
    assert names(*cut(pieces, *BOTH, max_rows=3)) == [whole[:3], whole[3:6], whole[6:]]
    assert names(*cut(pieces, *BOTH, max_rows=8)) == [whole]
    assert names(*cut(pieces, *BOTH, max_rows=1)) == list(whole)
    assert [shard.image_bytes for shard in cut(pieces, *BOTH)] == [15 + 63]


def test_a_shard_has_no_more_image_bytes_than_a_worker_can_hold(store: Store) -> None:
    piece(store, "aa", finished("abcde"), ["#"] * 5, [100 * MB, 100 * MB, 100 * MB, 300 * MB, 56 * MB])
    shards = cut(store, Instance("aa", 5, 0))
    assert names(*shards) == ["ba", "d", "ec"]  # the fourth alone is more than that, and stands alone
    assert [shard.image_bytes // MB for shard in shards] == [200, 300, 156]


def test_splits_are_apart(pieces: Store) -> None:
    instances = {"train": [BOTH[0]], "val": [BOTH[1]], "test": []}
    shards = row_shards(instances, pieces, seed=7, max_rows=4, versions=1)
    assert [(shard.split, len(shard.rows)) for shard in shards] == [("train", 4), ("train", 1), ("val", 3)]


def test_a_shards_key_is_that_of_its_rows_and_versions(pieces: Store) -> None:
    (usual,) = cut(pieces, *BOTH)
    assert cut(pieces, *reversed(BOTH))[0].key == usual.key
    others = [cut(pieces, *BOTH, versions=2)[0], cut(pieces, *BOTH, seed=8)[0], *cut(pieces, *BOTH, max_rows=4)]
    others.append(cut(pieces, BOTH[0])[0])
    assert len({usual.key, *(shard.key for shard in others)}) == 1 + len(others)


def test_gathering_gives_exactly_these_rows_in_this_order_with_their_images_hashes(pieces: Store) -> None:
    rows = [("bb", 2), ("aa", 4), ("bb", 0), ("aa", 0), ("aa", 4), ("bb", 1)]
    gather(Shard("cc", "train", rows, 0), pieces)
    expected = {key: rows_of_stream(pieces.path("pieces", key, PIECE)) for key in ("aa", "bb")}
    assert rows_of_stream(pieces.path("pieces", "cc", PIECE)) == [expected[key][n] for key, n in rows]
    note = json.loads(pieces.path("pieces", "cc", NOTE).read_text())
    assert note == {
        "hashes": ["#z0", "#z1", "#e", "#x0", "#x1", "#a", "#e", None, "#y1"],
        "image_bytes": [22, 5, 20, 1, 5, 21],
    }


def test_what_is_gathered_stays(pieces: Store) -> None:
    shard = Shard("cc", "train", [("bb", 2), ("aa", 4)], 0)
    gather(shard, pieces)
    before = pieces.path("pieces", "cc", PIECE).stat().st_mtime_ns
    for key in ("aa", "bb"):
        pieces.remove("pieces", key, PIECE)
    gather(shard, pieces)
    assert pieces.path("pieces", "cc", PIECE).stat().st_mtime_ns == before
