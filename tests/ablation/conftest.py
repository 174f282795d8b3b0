"""A small recipe to ablate, and a command in place of a trainer, which scores by what a build holds, at once."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vldata.ablation.cells import Trainer
from vldata.ablation.experiment import Experiment
from vldata.ablation.load import Opened, from_data
from vldata.ablation.run import run as run_ablation
from vldata.cli.main import app

Tree = dict[str, Any]

TRAINER = '''
"""Scores a task by its samples in the build, a little by the seed, and each answer by its row."""
import hashlib, json, os, sys, time
from pathlib import Path

build, held_out, split, seed, out = sys.argv[1:6]
options = sys.argv[6:]
luck_seed = "0" if "seedless" in options else seed

def unit(*parts):
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32

if f"fail={Path(build).name}/{seed}" in options:
    print("reading the data")
    sys.exit("out of memory")
if "slow" in options:
    time.sleep(0.3)
sources = json.loads((Path(build) / "manifest.json").read_text())["sources"]
samples = {}
for source in sources.values():
    samples[source["task"]] = samples.get(source["task"], 0) + source["achieved"]["samples"]
items = []
folder = Path(held_out) / split
state = json.loads((folder / "state.json").read_text())
kept = Path(sys.argv[0]).with_name(state["_fingerprint"] + ".json")  # Arrow is slow to start: once will do
if not kept.exists():
    import pyarrow as pa

    rows = []
    for file in state["_data_files"]:
        table = pa.ipc.open_stream(str(folder / file["filename"])).read_all()
        rows += table.select(["id", "source", "task", "turns"]).to_pylist()
    fresh = kept.with_name(str(os.getpid()))
    fresh.write_text(json.dumps(rows))
    fresh.rename(kept)
if rows := json.loads(kept.read_text()):
    for row in rows:
        for number, turn in enumerate(row["turns"]):
            chance = min(0.8, samples.get(row["task"], 0) / 40) + 0.05 * unit(luck_seed, row["task"])
            luck = 0.8 * unit(turn["row"], row["source"]) + 0.2 * unit(luck_seed, turn["row"], row["source"])
            score = {"accuracy": float(luck < chance), "nll": 1 - chance}
            items.append({"id": row["id"], "turn": number, "row": turn["row"], "source": row["source"],
                          "task": row["task"], "scores": score})
tasks = {}
for item in items:
    tasks.setdefault(item["task"], []).append(item["scores"]["accuracy"])
out = Path(out)
if "no-items" not in options:
    (out / "scores.items.jsonl").write_text("".join(json.dumps(item) + "\\n" for item in items))
summary = {t: {"metric": "accuracy", "value": sum(v) / len(v), "n": len(v)} for t, v in tasks.items()}
(out / "scores.json").write_text(json.dumps({"tasks": summary}) if "broken" not in options else "{}")
'''


@pytest.fixture
def tree() -> Tree:
    """Three tasks, one with two sources, 120 samples and a quarter held out."""
    shapes = {"format": "shapes", "scenes": 60, "side_px": 96}
    return {
        "name": "small",
        "seed": 3,
        "sources": {
            "captions": {**shapes, "task": "caption"},
            "questions": {**shapes, "task": "vqa_open", "world_seed": 1},
            "more": {**shapes, "task": "vqa_open", "world_seed": 2, "templates": {"prompts": "many"}},
            "boxes": {**shapes, "task": "rec", "world_seed": 3},
        },
        "mixture": {
            "total": 120,
            "max_epochs": 4,
            "sources": {"captions": 1, "vqa": {"weight": 2, "sources": ["questions", "more"]}, "boxes": 1},
        },
        "splits": {"val": 0.25},
    }


@pytest.fixture
def opened(tree: Tree, tmp_path: Path) -> Callable[..., Opened]:
    """An ablation of `tree`, from the other keys of its file."""

    def make(**data: Any) -> Opened:
        return from_data({"name": "small", "base": tree, **data}, tmp_path)

    return make


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Tree]:
    """The ``train`` section with `TRAINER`; options make it slow, or make it fail."""

    def make(*options: str) -> Tree:
        script = tmp_path / "trainer.py"
        script.write_text(TRAINER)
        return {
            "command": [sys.executable, str(script), "{build}", "{held_out}", "{split}", "{seed}", "{out}", *options]
        }

    return make


def run(
    opened: Opened,
    out: Path,
    *,
    seeds: int | None = None,
    chosen: Sequence[str] = (),
    builds_only: bool = False,
    threads: int | None = None,
    **options: Any,
) -> Tree:
    """Run an ablation in a folder; the other options are those of an `Experiment`."""
    experiment = Experiment(out, Trainer(opened.ablation.train, None, threads), **options)
    return run_ablation(opened, experiment, seeds=seeds, chosen=chosen, builds_only=builds_only)


def in_this_process(
    words: Sequence[str], log: Path, environment: Mapping[str, str], lock: int, stopping: threading.Event
) -> str | None:
    """A command of the bundled trainer, in place of `to_its_end`: half of a short one is spent on importing torch.

    For one cell at a time, since what a command prints is caught.
    """
    import torch

    torch.set_num_threads(1)
    said = CliRunner().invoke(app, list(words[words.index("-c") + 2 :]))
    return None if said.exit_code == 0 else f"{said.output}{said.exception!r}"


def compared(table: Tree, variant: str) -> dict[str, Tree]:
    """Task to a variant's comparison."""
    return {one["task"]: one for one in table["comparisons"] if one["variant"] == variant}


def without_seconds(table: Tree) -> Tree:
    """What must not depend on how fast anything was."""
    table = json.loads(json.dumps(table))
    for variant in table["variants"]:
        del variant["build"]["seconds"]
    return table
