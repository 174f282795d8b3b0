from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vldata.errors import BuildError, StoreError
from vldata.store.gc import KindUsage, collect, in_use, register

NO_BUILDS = {}.get
KEYS = {name: name * 32 for name in "abcd"}


def put(store, kind: str, key: str, suffix: str, *, days: float, size: int = 100) -> Path:
    with store.write(kind, key, suffix, durable=False) as path:
        path.write_bytes(bytes(size))
    path = store.path(kind, key, suffix)
    then = time.time() - days * 86_400
    os.utime(path, (then, then))
    return path


def roots(store) -> int:
    """How many build folders are registered."""
    return len(list((store.root / "roots").iterdir()))


def test_blocks_of_a_live_build_stay_and_old_ones_of_nobody_go(store, tmp_path):
    live = put(store, "blocks", KEYS["a"], ".arrow", days=100)
    note = put(store, "blocks", KEYS["a"], ".json", days=100)
    dead = put(store, "blocks", KEYS["b"], ".arrow", days=100)
    young = put(store, "blocks", KEYS["c"], ".arrow", days=1)
    turns = put(store, "turns", KEYS["a"], ".parquet", days=100)
    builds = {tmp_path / "out": [KEYS["a"]]}
    register(store, tmp_path / "out")
    usage = collect(store, builds.get, keep_days=30)
    assert live.exists()
    assert note.exists()
    assert young.exists()
    assert not dead.exists()
    assert not turns.exists(), "a key keeps blocks alone"
    assert usage == {"blocks": KindUsage(1, 100, 3, 300), "turns": KindUsage(1, 100)}


def test_a_dry_run_says_the_same_and_removes_nothing(store, tmp_path):
    dead = put(store, "blocks", KEYS["b"], ".arrow", days=100)
    register(store, tmp_path / "gone")
    usage = collect(store, NO_BUILDS, keep_days=30, dry_run=True)
    assert dead.exists() and roots(store) == 1
    assert usage == collect(store, NO_BUILDS, keep_days=30)
    assert not dead.exists() and roots(store) == 0


def test_nothing_is_kept_for_its_age_when_no_days_are_given(store):
    put(store, "turns", KEYS["a"], ".parquet", days=0.001)
    assert collect(store, NO_BUILDS, keep_days=0)["turns"].removed == 1


def test_the_blocks_of_a_build_that_is_gone_go_and_the_build_is_forgotten(store, tmp_path):
    out = tmp_path / "out"
    register(store, out)
    put(store, "blocks", KEYS["a"], ".arrow", days=100)
    assert collect(store, {out: [KEYS["a"]]}.get, keep_days=30)["blocks"].removed == 0
    assert roots(store) == 1
    collect(store, NO_BUILDS, keep_days=30)
    assert roots(store) == 0
    assert not store.has("blocks", KEYS["a"], ".arrow")


def test_a_build_may_be_registered_again_and_others_beside_it(store, tmp_path):
    builds = {tmp_path / name: [KEYS[key]] for name, key in (("two", "b"), ("one", "a"))}
    for out in [*builds, tmp_path / "one"]:
        register(store, out)
    for key in "ab":
        put(store, "blocks", KEYS[key], ".arrow", days=100)
    collect(store, builds.get, keep_days=30)
    assert roots(store) == 2
    assert store.has("blocks", KEYS["a"], ".arrow")
    assert store.has("blocks", KEYS["b"], ".arrow")


def test_a_build_whose_blocks_cannot_be_known_stops_everything(store, tmp_path):
    def block_keys(out: Path) -> list[str]:
        raise BuildError(str(out), "it is damaged", "build it again")

    register(store, tmp_path / "out")
    dead = put(store, "blocks", KEYS["a"], ".arrow", days=100)
    with pytest.raises(StoreError, match="it is damaged, so the blocks that this build needs are unknown") as caught:
        collect(store, block_keys, keep_days=0)
    assert caught.value.where == str(tmp_path / "out")
    assert dead.exists()


def test_files_of_one_key_go_together_or_stay_together(store):
    put(store, "pieces", KEYS["a"], ".piece.arrow", days=100)
    put(store, "pieces", KEYS["a"], ".json", days=1)
    put(store, "pieces", KEYS["b"], ".piece.arrow", days=100)
    put(store, "pieces", KEYS["b"], ".json", days=99)
    usage = collect(store, NO_BUILDS, keep_days=30)
    assert (usage["pieces"].removed, usage["pieces"].kept) == (2, 2)
    assert store.has("pieces", KEYS["a"], ".piece.arrow")


def test_folders_go_or_stay_as_a_whole(store):
    for key, days in ((KEYS["a"], (100, 1)), (KEYS["b"], (100, 100))):
        folder = store.root / "standins" / key / "images"
        folder.mkdir(parents=True)
        for k, age in enumerate(days):
            (folder / f"{k}.jpg").write_bytes(bytes(10))
            then = time.time() - age * 86_400
            os.utime(folder / f"{k}.jpg", (then, then))
    usage = collect(store, NO_BUILDS, keep_days=30)
    assert (usage["standins"].removed, usage["standins"].kept) == (2, 2)
    assert sorted(path.name for path in (store.root / "standins").iterdir()) == [KEYS["a"]]


def test_a_block_that_a_folder_still_links_to_frees_nothing(store, tmp_path):
    block = put(store, "blocks", KEYS["a"], ".arrow", days=100)
    os.link(block, tmp_path / "linked")
    usage = collect(store, NO_BUILDS, keep_days=30)
    assert usage == {"blocks": KindUsage(removed=1)}
    assert (tmp_path / "linked").exists()


def test_nothing_is_collected_while_a_build_runs(store):
    dead = put(store, "blocks", KEYS["a"], ".arrow", days=100)
    with in_use(store), in_use(store), pytest.raises(StoreError, match="is using it"):
        collect(store, NO_BUILDS, keep_days=0)
    assert dead.exists()
    assert collect(store, NO_BUILDS, keep_days=0)["blocks"].removed == 1
