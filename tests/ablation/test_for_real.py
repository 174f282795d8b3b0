"""The bundled trainer and wrong labels: an ablation that could not see those would see nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from ablation.conftest import compared, run  # type: ignore[import-not-found]

from vldata.ablation.load import from_data
from vldata.sources.shapes import Shapes

SMALL = ["vision.side_px=48", "vision.width=64", "vision.heads=2", "vision.mlp_width=128", "pack_tokens=512"]


@pytest.mark.timeout(1800)  # nine trainings and their questions: three minutes of one core
def test_shuffled_labels_are_worse_on_their_task_and_the_base_is_like_itself(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    world = Shapes(scenes=400, side_px=96, max_things=2, world_seed=1)
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
            "captions": {"format": "shapes", "task": "caption", "scenes": 400, "side_px": 96, "max_things": 2},
        },
        "mixture": {"total": 1000, "sources": {"questions": 4, "captions": 1}},
        "splits": {"val": 0.2},
    }
    ablation = {
        "name": "labels",
        "base": base,
        "seeds": 3,
        "variants": {"shuffled": {"sources.questions.path": str(files["shuffled"])}},
        "train": {"preset": "tiny", "steps": 60, "device": "cpu", "set": SMALL},
    }
    opened = from_data(ablation, tmp_path)
    table = run(opened, tmp_path / "out", store=tmp_path / "store", workers=1, jobs=2, threads=1)
    assert not table["failed"] and not table["missing"]
    assert compared(table, "shuffled")["vqa_open"]["verdict"] == "worse", table["comparisons"]
    assert {one["verdict"] for one in table["noise"]} == {"no difference shown"}, table["noise"]
