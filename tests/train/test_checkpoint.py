from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from vldata.errors import BuildError
from vldata.train import checkpoint


def some(step: int) -> checkpoint.Checkpoint:
    tensors = {"w": torch.full((3, 2), float(step)), "b": torch.arange(3, dtype=torch.bfloat16)}
    return checkpoint.Checkpoint({"step": step, "config": "abc"}, tensors, {"w/exp_avg": torch.ones(3, 2)})


def test_what_is_saved_is_loaded_bit_by_bit(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 7, some(7))
    loaded = checkpoint.load(path)
    assert loaded.state == {"step": 7, "config": "abc"}
    assert loaded.model["b"].dtype == torch.bfloat16 and torch.equal(loaded.model["w"], some(7).model["w"])
    assert torch.equal(loaded.optimizer["w/exp_avg"], torch.ones(3, 2))


def test_the_last_two_stay(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        checkpoint.save(tmp_path, step, some(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000030"]
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000030"


def test_there_is_no_latest_before_the_first(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None


def test_a_half_written_one_is_no_checkpoint_and_is_removed_by_the_next(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, some(1))
    (tmp_path / ".writing-abcd").mkdir()
    (tmp_path / ".writing-abcd" / "model.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000001"
    checkpoint.save(tmp_path, 2, some(2))
    assert not list(tmp_path.glob(".writing-*"))


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, some(1))
    (path / "model.safetensors").write_bytes(b"\x01")
    with pytest.raises(BuildError, match="step-00000001"):
        checkpoint.load(path)


WRITER = """
import sys, torch
from pathlib import Path
from vldata.train import checkpoint
big = {"w": torch.zeros(1_000_000)}
for step in range(1, 10_000):
    big["w"].fill_(step)
    checkpoint.save(Path(sys.argv[1]), step, checkpoint.Checkpoint({"step": step}, big, big))
"""


def test_a_kill_in_the_middle_leaves_the_last_good_one(tmp_path: Path) -> None:
    for wait_s in (0.0, 0.013, 0.029):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
        while checkpoint.latest(tmp_path) is None:
            assert writer.poll() is None
            time.sleep(0.01)
        time.sleep(wait_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        last = checkpoint.latest(tmp_path)
        assert last is not None
        loaded = checkpoint.load(last)
        assert loaded.state["step"] == int(last.name[5:])
        assert torch.equal(loaded.model["w"], torch.full((1_000_000,), float(loaded.state["step"])))
