"""The bundled trainer and wrong labels: an ablation that could not see those would see nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from ablation.conftest import compared, in_this_process, run  # type: ignore[import-not-found]

from vldata.ablation import cells
from vldata.ablation.load import from_data
from vldata.sources.shapes import Shapes

SMALL = [
    "vision.side_px=48",
    "vision.width=32",
    "vision.heads=2",
    "vision.mlp_width=64",
    "decoder.width=64",
    "decoder.mlp_width=128",
    "pack_tokens=512",
    *(f"stages.0.lr_{part}=2e-2" for part in ("vision", "projector", "decoder")),
]
"""Of the tiny preset; so small a model learns fastest at ten times its rates."""
SHAPES = {"scenes": 300, "side_px": 96, "max_things": 2}


@pytest.mark.timeout(600)  # nine trainings and their questions
def test_shuffled_labels_are_worse_on_their_task_and_the_base_is_like_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    monkeypatch.setattr(cells, "to_its_end", in_this_process)
    world = Shapes(**SHAPES, world_seed=1)
    world.draw_images(tmp_path / "images")
    turns = world.turns("vqa_open").select("row", "question", "answer", image="images").explode("image").to_dicts()
    answers = [turn["answer"] for turn in turns]
    random.Random(0).shuffle(answers)
    files = {}
    for name, said in (("true", [turn["answer"] for turn in turns]), ("shuffled", answers)):
        files[name] = tmp_path / f"{name}.jsonl"
        lines = [json.dumps({**turn, "answer": answer}) for turn, answer in zip(turns, said, strict=True)]
        files[name].write_text("\n".join(lines))
    images = str(tmp_path / "images")
    base = {
        "name": "labels",
        "defaults": {"templates": {"response_format": "none"}},
        "sources": {
            "questions": {"format": "table", "path": str(files["true"]), "task": "vqa_open", "image_root": images},
            "captions": {"format": "shapes", "task": "caption", **SHAPES},
        },
        "mixture": {"total": 700, "sources": {"questions": 6, "captions": 1}},
        "splits": {"val": 0.2},
    }
    ablation = {
        "name": "labels",
        "base": base,
        "seeds": 3,
        "variants": {"shuffled": {"sources.questions.path": str(files["shuffled"])}},
        "train": {"preset": "tiny", "steps": 30, "device": "cpu", "set": SMALL},
    }
    opened = from_data(ablation, tmp_path)
    table = run(opened, tmp_path / "out", store=tmp_path / "store", workers=1, jobs=1, threads=1)
    assert not table["failed"] and not table["missing"]
    assert compared(table, "shuffled")["vqa_open"]["verdict"] == "worse", table["comparisons"]
    assert {one["verdict"] for one in table["noise"]} == {"no difference shown"}, table["noise"]
