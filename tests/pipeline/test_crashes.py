"""Killed at any moment, two at a time, on a full disk: the next run ends with the same bytes, and none half-made."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from tests.kills import KILLS
from vldata import build
from vldata.errors import StoreError
from vldata.recipe.load import from_tree

CHECKOUT = Path(__file__).parents[2]


def tree() -> dict[str, Any]:
    shapes = {"format": "shapes", "scenes": 150, "side_px": 96}
    return {
        "name": "crash",
        "seed": 5,
        "sources": {
            "captions": {**shapes, "task": "caption"},
            "vqa": {**shapes, "task": "vqa_open", "conversation": {"max_turns": 6}},
            "refs": {**shapes, "task": "rec"},
        },
        "output": {"block_rows": 32},
        "splits": {"val": 0.1},
    }


def command(tmp_path: Path, out: str, *, workers: int = 1) -> list[str]:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree()))
    options = ["--out", str(tmp_path / out), "--store", str(tmp_path / "store"), "--workers", str(workers), "--json"]
    return [sys.executable, str(CHECKOUT / "cli.py"), "build", str(recipe), *options]


def digests(out: Path) -> list[str]:
    return [block["digest"] for block in json.loads((out / "manifest.json").read_text())["blocks"]]


def stages_reached(store: Path) -> set[str]:
    """Kinds of objects that the store holds: how far a killed build came."""
    if not store.is_dir():
        return set()
    return {kind.name for kind in store.iterdir() if kind.is_dir() and any(p.is_file() for p in kind.rglob("*"))}


@pytest.mark.timeout(60 * (KILLS + 2))
def test_kill_at_many_moments_and_go_on(tmp_path: Path) -> None:
    """Every round starts where the last one was killed, so the moments wander through all stages."""
    undisturbed = build(from_tree(tree()), tmp_path / "undisturbed", store=tmp_path / "other", workers=1)
    started = time.monotonic()
    subprocess.run(command(tmp_path, "timed"), check=True, capture_output=True)
    whole = time.monotonic() - started
    subprocess.run(["rm", "-rf", str(tmp_path / "store"), str(tmp_path / "timed")], check=True)
    rng = random.Random(20)
    reached: list[set[str]] = []
    for moment in range(KILLS):
        if moment % 4 == 0:  # from nothing again, so that the early stages are met more than once
            subprocess.run(["rm", "-rf", str(tmp_path / "store")], check=True)
        process = subprocess.Popen(
            command(tmp_path, "out", workers=1 + moment % 2),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(whole * (0.1 + 0.9 * rng.random() * (moment % 4 + 1) / 4))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reached.append(stages_reached(tmp_path / "store"))
        if (tmp_path / "out").exists():  # it came to its end before the signal: whole, or not there
            assert digests(tmp_path / "out") == digests(undisturbed.out)
            subprocess.run(["rm", "-rf", str(tmp_path / "out")], check=True)
    subprocess.run(command(tmp_path, "out"), check=True, capture_output=True)
    assert digests(tmp_path / "out") == digests(undisturbed.out)
    assert not any(name.name.endswith((".new", ".old")) for name in tmp_path.iterdir())
    assert len({frozenset(stages) for stages in reached}) >= 3, reached


def test_what_a_killed_build_left_beside_the_folder_goes_with_the_next_one(tmp_path: Path) -> None:
    for name in (".out.7.new", ".out.8.old", ".out.new", ".outer.7.new"):
        (tmp_path / name).mkdir()
    for scenes in (40, 41):  # an abandoned old folder may be all there is of a build: it stays until there is another
        assert (tmp_path / ".out.8.old").exists()
        sources = {"captions": {"format": "shapes", "scenes": scenes, "task": "caption"}}
        build(from_tree({"name": "x", "sources": sources}), tmp_path / "out", store=tmp_path / "store", workers=1)
    assert {p.name for p in tmp_path.iterdir()} == {".out.lock", ".out.new", ".outer.7.new", "out", "store"}


def test_two_builds_in_one_store_both_succeed(tmp_path: Path) -> None:
    running = [subprocess.Popen(command(tmp_path, out, workers=2), stdout=subprocess.DEVNULL) for out in ("one", "two")]
    assert [process.wait() for process in running] == [0, 0]
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_two_builds_into_one_folder_is_an_error(tmp_path: Path) -> None:
    first = subprocess.Popen(command(tmp_path, "out"), stdout=subprocess.DEVNULL)
    lock = tmp_path / ".out.lock"
    while not (lock.exists() and lock.read_text().strip()) and first.poll() is None:
        time.sleep(0.01)
    second = subprocess.run(command(tmp_path, "out"), capture_output=True, text=True)
    assert first.wait() == 0
    assert second.returncode == 2
    assert "is using it" in second.stderr
    assert "Traceback" not in second.stderr
    assert len(datasets.load_from_disk(str(tmp_path / "out"))["train"]) > 100


def test_a_full_disk_is_said_with_both_numbers_and_leaves_the_old_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vldata.store.disk as disk

    before = build(from_tree(tree()), tmp_path / "out", store=tmp_path / "store", workers=1)
    monkeypatch.setattr(disk, "free_bytes", lambda path: 12_345)
    with pytest.raises(StoreError, match="free"):
        build(from_tree({**tree(), "seed": 6}), tmp_path / "out", store=tmp_path / "store", workers=1)
    assert digests(tmp_path / "out") == digests(before.out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="writable"):
        build(from_tree(tree()), tmp_path / "out", store=tmp_path / "store", workers=1)


def test_a_damaged_block_is_named_and_remade_alone(tmp_path: Path) -> None:
    from vldata.dataset.verify import verify

    built = build(from_tree(tree()), tmp_path / "out", store=tmp_path / "store", workers=1)
    assert verify(built.out, tmp_path / "store") == []
    victim = built.manifest["blocks"][1]
    file = built.out / victim["file"]
    file.chmod(0o644)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    file.write_bytes(raw)
    damaged = verify(built.out, tmp_path / "store")
    assert [one["file"] for one in damaged] == [victim["file"]]
    again = build(from_tree(tree()), tmp_path / "out", store=tmp_path / "store", workers=1)
    assert again.made == 1
    assert digests(again.out) == [block["digest"] for block in built.manifest["blocks"]]
    assert verify(again.out, tmp_path / "store") == []
