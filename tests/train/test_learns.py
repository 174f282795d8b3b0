"""The whole way: a world of images, a build, the tiny preset as it is, and scores that no guess explains."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from vldata import build
from vldata.recipe.load import load
from vldata.train import run
from vldata.train.overrides import config_of

torch.set_num_threads(1)

RECIPE = Path(__file__).parents[2] / "recipes" / "small-world.yaml"
LESS = [
    *(f"sources.{name}.scenes=4000" for name in ("captions", "questions", "regions")),
    "mixture.total=15000",
    "splits.val=0.05",
]
"""Half of the recipe's samples for half of its steps, and as many that ask."""


@pytest.mark.timeout(1200)  # about two minutes of one core
def test_the_tiny_preset_sees(tmp_path: Path) -> None:
    build(load(RECIPE, LESS), tmp_path / "build", store=tmp_path / "store", workers=1)
    run.train(tmp_path / "build", tmp_path / "run", config_of("tiny", (), 500), device="cpu")
    tasks = run.evaluate(tmp_path / "run", tmp_path / "build", device="cpu")["tasks"]
    gains = {task: scores["gain"] for task, scores in tasks.items()}  # paired over the same answers, seeing less blind
    assert gains.keys() == {"caption", "reg", "vqa_open"}
    assert all(gain["ci_low"] > 0 for gain in gains.values()), gains
    assert gains["caption"]["value"] > 0.3 and gains["reg"]["value"] > 0.05, gains
