"""Two ranks that share every weight are one rank that holds all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
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

SCRIPT = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from train.test_shard import apart
from vldata.train import loop, stage
from vldata.train.overrides import config_of
from vldata.train.run import train
spread = stage.shard
def spy(root, blocks, ranks):
    spread(root, blocks, ranks)
    held = [(weight.to_local().numel(), weight.numel()) for weight in root.parameters()]
    Path(f"{sys.argv[2]}.{ranks.rank}").write_text(f"{sum(own for own, _ in held)} {sum(all for _, all in held)}")
stage.shard = spy
if sys.argv[5] == "apart":
    loop.StagePlan.step = apart
config = config_of("tiny", sys.argv[3].split("|"), int(sys.argv[4]))
build, out = Path(sys.argv[1]), Path(sys.argv[2])
print(train(build, out, config, device="cpu", checkpoint_steps=int(sys.argv[6])).get("stopped"))
"""


def apart(plan: loop.StagePlan, number: int) -> tuple[tuple[int, ...], ...]:
    """One pack of samples with images, one of text alone: two ranks draw one each."""
    images = plan.encoded.num_images
    return tuple(np.flatnonzero(images > 0)[:4].tolist()), tuple(np.flatnonzero(images == 0)[:3].tolist())


LORA = (
    "stages=[{name: align, lr_vision: 1e-3, lr_projector: 1e-3, packs_per_step: 3}, "
    "{name: tune, lr_projector: 1e-3, lr_decoder: 1e-3, lora: {rank: 2, dropout: 0.0}, packs_per_step: 3}]",
)


def start(build: Path, out: Path, sets: tuple[str, ...], steps: int, how: str = "", every: int = 100) -> list:
    """Two processes of one run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", SCRIPT, str(build), str(out), "|".join(sets), str(steps), how, str(every)]
    shared["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return [subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank)}) for rank in range(2)]


def done(processes: list) -> None:
    assert [process.wait(timeout=200) for process in processes] == [0] * len(processes)


def same(one: Path, other: Path) -> None:
    lines = [[json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] for out in (one, other)]
    for name in ("loss", "grad_norm"):
        assert [line[name] for line in lines[1]] == pytest.approx([line[name] for line in lines[0]], abs=1e-4)
    weights = [load_file(out / "model.safetensors") for out in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, atol=5e-5, rtol=0)


def is_spread(out: Path) -> None:
    """Each of two ranks held about half of the weights: without this, whole copies would pass for shards."""
    for rank in range(2):
        own, whole = map(int, Path(f"{out}.{rank}").read_text().split())
        assert 0.4 * whole < own < 0.6 * whole


def test_sharded_ranks_are_one_rank_through_two_stages_with_lora(small_build: Path, tmp_path: Path) -> None:
    # three packs for two ranks: one of them has a pass over nothing
    sets = (*TINY, *LORA)
    done(start(small_build, tmp_path / "two", (*sets, "shard=true"), 3))
    is_spread(tmp_path / "two")
    run.train(small_build, tmp_path / "one", config_of("tiny", sets, 3), device="cpu")
    same(tmp_path / "one", tmp_path / "two")


def test_text_alone_on_one_rank_keeps_nobody_waiting(
    small_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = (*TINY, "stages.0.packs_per_step=2", "stages.0.optimizer=adamw")
    done(start(small_build, tmp_path / "two", (*sets, "shard=true"), 2, "apart"))
    monkeypatch.setattr(loop.StagePlan, "step", apart)
    run.train(small_build, tmp_path / "one", config_of("tiny", sets, 2), device="cpu")
    same(tmp_path / "one", tmp_path / "two")


def test_a_sharded_run_resumes_from_a_whole_checkpoint(small_build: Path, tmp_path: Path) -> None:
    sets, out = (*TINY, "stages.0.packs_per_step=3"), tmp_path / "two"
    processes = start(small_build, out, (*sets, "shard=true"), 6, every=3)
    deadline = time.monotonic() + 250
    while not list((out / "checkpoints").glob("step-*")):
        assert time.monotonic() < deadline and all(process.poll() is None for process in processes)
        time.sleep(0.01)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    saved = load_file(next((out / "checkpoints").glob("step-*")) / "model.safetensors")
    done(start(small_build, out, (*sets, "shard=true"), 6, every=3))
    weights = load_file(out / "model.safetensors")
    assert {name: w.shape for name, w in saved.items()} == {name: w.shape for name, w in weights.items()}
    run.train(small_build, tmp_path / "one", config_of("tiny", sets, 6), device="cpu")
    same(tmp_path / "one", out)
