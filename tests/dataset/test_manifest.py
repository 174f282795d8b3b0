"""Which blocks a build names, and what a collection makes of folders that it cannot read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from vldata.dataset.manifest import block_keys
from vldata.dataset.verify import collect_garbage
from vldata.errors import BuildError, StoreError
from vldata.store.gc import register
from vldata.store.store import open_store

KEYS = ["a" * 32, "b" * 32]
BLOCK = {"digest": "", "split": "train", "file": "train/data-00000-of-00001.arrow", "rows": 1, "size_bytes": 9}
MANIFEST: dict[str, Any] = {
    "name": "mine",
    "plan": "",
    "ledger": "",
    "recipe": {},
    "sources": {},
    "totals": {},
    "blocks": [{**BLOCK, "key": key, "source": None} for key in KEYS],
}
DAMAGED = ["", "{", "[]", "[" * 100_000, "\udcff", '{"blocks": 3}', json.dumps({**MANIFEST, "blocks": [BLOCK]})]


@pytest.fixture
def build(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    return folder


def test_a_build_names_its_blocks(build: Path) -> None:
    assert block_keys(build) == set(KEYS)


def test_no_folder_and_a_folder_without_a_manifest_are_no_build(build: Path) -> None:
    assert block_keys(build / "gone") is None
    assert block_keys(build / "manifest.json") is None  # a file stands where the folder was
    (build / "manifest.json").unlink()
    assert block_keys(build) is None


@pytest.mark.parametrize("text", DAMAGED)
def test_the_blocks_of_a_damaged_manifest_are_unknown(build: Path, text: str) -> None:
    (build / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BuildError, match="cannot be read") as caught:
        block_keys(build)
    assert caught.value.where == str(build / "manifest.json")


def test_a_manifest_that_cannot_be_opened_is_not_taken_for_a_missing_one(build: Path) -> None:
    (build / "manifest.json").unlink()
    (build / "manifest.json").mkdir()
    with pytest.raises(BuildError, match="cannot be read"):
        block_keys(build)


def test_collecting_keeps_the_blocks_of_builds_and_stops_at_a_damaged_one(build: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    register(store, build)
    for key in (*KEYS, "c" * 32):
        with store.write("blocks", key, ".arrow", durable=False) as path:
            path.write_bytes(bytes(10))
        os.utime(store.path("blocks", key, ".arrow"), (0, 0))
    (build / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="the blocks that this build needs are unknown"):
        collect_garbage(store.root, keep_days=0, dry_run=False)
    assert store.has("blocks", "c" * 32, ".arrow")
    (build / "manifest.json").write_text(json.dumps(MANIFEST))
    said = [{"kind": "blocks", "removed": 1, "kept": 2, "bytes": 10}]
    assert collect_garbage(store.root, keep_days=0, dry_run=True) == said
    assert collect_garbage(store.root, keep_days=0, dry_run=False) == said
    assert [store.has("blocks", key, ".arrow") for key in (*KEYS, "c" * 32)] == [True, True, False]
