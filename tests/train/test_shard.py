"""Two ranks are one rank, those too that share every weight."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file
from train.conftest import TINY

from vldata.train import loop, run
from vldata.train.overrides import config_of

torch.set_num_threads(1)
pytestmark = pytest.mark.timeout(600)  # four processes import torch

SCRIPT = """
import json, sys, torch
import torch.distributed as dist
from pathlib import Path
torch.set_num_threads(1)
from train.test_shard import apart
from vldata.train import loop, stage
from vldata.train.overrides import config_of
from vldata.train.run import train
spread, drawn = stage.shard, loop.StagePlan.step
def spy(root, blocks, ranks):
    spread(root, blocks, ranks)
    held = [(weight.to_local().numel(), weight.numel()) for weight in root.parameters()]
    Path(f"{out}.{ranks.rank}").write_text(f"{sum(own for own, _ in held)} {sum(all for _, all in held)}")
stage.shard = spy
dist.init_process_group("gloo")  # of all runs
for name, (sets, steps, every) in json.loads(sys.argv[3]).items():
    out = Path(sys.argv[2]) / name
    loop.StagePlan.step = apart if name == "apart" else drawn
    train(Path(sys.argv[1]), out, config_of("tiny", sets, steps), device="cpu", checkpoint_steps=every)
dist.destroy_process_group()
"""


def apart(plan: loop.StagePlan, number: int) -> tuple[tuple[int, ...], ...]:
    """One pack of samples with images, one of text alone: two ranks draw one each."""
    images = plan.encoded.num_images
    return tuple(np.flatnonzero(images > 0)[:4].tolist()), tuple(np.flatnonzero(images == 0)[:3].tolist())


LORA = (
    "stages=[{name: align, lr_vision: 1e-3, lr_projector: 1e-3, packs_per_step: 3}, "
    "{name: tune, lr_projector: 1e-3, lr_decoder: 1e-3, lora: {rank: 2, dropout: 0.0}, packs_per_step: 3}]",
)


PACKS = "stages.0.packs_per_step=3"  # for two ranks: one of them has a pass over nothing
RUNS = {
    "whole": ((*TINY, PACKS), 4, 100),
    "lora": ((*TINY, *LORA, "shard=true"), 3, 100),
    "apart": ((*TINY, "stages.0.packs_per_step=2", "stages.0.optimizer=adamw", "shard=true"), 2, 100),
    "resumed": ((*TINY, PACKS, "shard=true"), 6, 3),
}
"""Name to overrides, steps, and steps between two checkpoints; the last is killed after its first checkpoint."""


def start(build: Path, folder: Path, names: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Two processes that train some runs, one after the other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    shared["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, str(build), str(folder), json.dumps({name: RUNS[name] for name in names})]
    return [subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank)}) for rank in range(2)]


@pytest.fixture(scope="module")
def two(small_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two ranks, by name; the last was killed and resumed, and its checkpoint is in ``saved``."""
    folder = tmp_path_factory.mktemp("two")
    processes = start(small_build, folder, list(RUNS))
    deadline = time.monotonic() + 250
    while not list((folder / "resumed" / "checkpoints").glob("step-*")):
        assert time.monotonic() < deadline and all(process.poll() is None for process in processes)
        time.sleep(0.01)
    for process in processes:
        process.send_signal(signal.SIGKILL)
    assert [process.wait() for process in processes] == [-signal.SIGKILL] * 2
    shutil.copytree(next((folder / "resumed" / "checkpoints").glob("step-*")), folder / "saved")
    resuming = start(small_build, folder, ["resumed"])
    assert [process.wait(timeout=200) for process in resuming] == [0, 0]
    return folder


def one(build: Path, out: Path, name: str) -> Path:
    """The same run on one rank, which holds all."""
    sets, steps, _ = RUNS[name]
    run.train(build, out, config_of("tiny", tuple(part for part in sets if part != "shard=true"), steps), device="cpu")
    return out


def same(one: Path, other: Path, *, loss: float = 1e-4, weight: float = 5e-5) -> None:
    lines = [[json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] for out in (one, other)]
    for name in ("loss", "grad_norm"):
        assert [line[name] for line in lines[1]] == pytest.approx([line[name] for line in lines[0]], abs=loss)
    weights = [load_file(out / "model.safetensors") for out in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, atol=weight, rtol=0)


def is_spread(out: Path) -> None:
    """Each of two ranks held about half of the weights: without this, whole copies would pass for shards."""
    for rank in range(2):
        own, whole = map(int, Path(f"{out}.{rank}").read_text().split())
        assert 0.4 * whole < own < 0.6 * whole


def test_two_ranks_are_one_rank(small_build: Path, two: Path, tmp_path: Path) -> None:
    same(one(small_build, tmp_path / "one", "whole"), two / "whole", loss=1e-5, weight=2e-5)
    assert not Path(f"{two / 'whole'}.0").exists()  # every rank held all


def test_sharded_ranks_are_one_rank_through_two_stages_with_lora(small_build: Path, two: Path, tmp_path: Path) -> None:
    is_spread(two / "lora")
    same(one(small_build, tmp_path / "one", "lora"), two / "lora")


def test_text_alone_on_one_rank_keeps_nobody_waiting(
    small_build: Path, two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.StagePlan, "step", apart)
    same(one(small_build, tmp_path / "one", "apart"), two / "apart")


def test_a_sharded_run_resumes_from_a_whole_checkpoint(small_build: Path, two: Path, tmp_path: Path) -> None:
    saved, weights = (load_file(two / name / "model.safetensors") for name in ("saved", "resumed"))
    assert {name: w.shape for name, w in saved.items()} == {name: w.shape for name, w in weights.items()}
    same(one(small_build, tmp_path / "one", "resumed"), two / "resumed")
