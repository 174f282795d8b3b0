"""A recipe over real public datasets in their native formats: every count is explained by a quirk of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest

from vldata import build
from vldata.errors import BuildError
from vldata.pipeline.build import Built
from vldata.recipe.load import from_tree

KEEP = {"images": {"missing": "keep"}}
ONCE = {"conversation": {"dedup": {"by": "caption"}}}


def tree(data: Path) -> dict[str, Any]:
    def at(path: str) -> str:
        return str(data / path)

    return {
        "name": "real",
        "seed": 1,
        "output": {"images": "path"},
        "sources": {
            "coco": {
                "format": "coco_captions",
                "path": at("coco_captions/annotations/captions_val2017.json.gz"),
                **KEEP,
                **ONCE,
            },
            "flickr8k": {"format": "flickr8k", "path": at("flickr8k/Flickr8k.token.txt.gz"), **KEEP, **ONCE},
            "multi30k": {"format": "multi30k", "path": at("multi30k/data"), **KEEP},
            "vsr": {"format": "vsr", "path": at("vsr/data/splits/random/train.jsonl"), **KEEP},
            "scienceqa": {
                "format": "scienceqa",
                "path": at("scienceqa/problems.json.gz"),
                "where": "ARRAY_LENGTH(images) > 0",
                **KEEP,
            },
            "scienceqa_whole": {"format": "scienceqa", "path": at("scienceqa/problems.json.gz"), **KEEP},
            "chartqa": {"format": "chartqa", "path": at("chartqa_split"), "image_root": at("chartqa_split")},
            "okvqa": {"format": "okvqa", "path": at("okvqa/train.json.gz"), **KEEP},
            "textvqa": {"format": "textvqa", "path": at("textvqa/val_questions_vqa_format.json.gz"), **KEEP},
            "refcocos": {
                "format": "refcocos",
                "path": at("refcocos/results/refcocos_test.json"),
                **KEEP,
            },
            "instances": {
                "format": "coco_instances",
                "path": at("coco_mini/annotations/instances_train2017.json"),
                "image_root": at("coco_mini/train2017"),
                "task": "reg",
            },
            "screens": {
                "format": "screen_annotation",
                "path": at("screen_annotation/valid_part1.csv"),
                **KEEP,
            },
            "code": {"format": "alpaca", "path": at("alpaca/code_alpaca_2k.json")},
            "sharegpt": {"format": "sharegpt", "path": at("sharegpt/dummy_conversation.json")},
            "pope": {
                "format": "table",
                "path": at("pope/output/coco/coco_pope_random.json.gz"),
                "task": "vqa_open",
                "fields": {"row": "question_id", "images": "image", "question": "text", "answer": "label"},
                **KEEP,
            },
        },
        "mixture": {"sources": {}},
    }


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("real")
    recipe = tree(shared_data)
    recipe["mixture"] = {"sources": {name: {"epochs": 1} for name in recipe["sources"]}}
    return build(from_tree(recipe), folder / "out", store=folder / "store", workers=2)


EXPLAINED = {
    # source: (turns read, filtered, rejected, reasons), from data/README.md
    "coco": (
        25_014,
        6,
        0,
        {"duplicate": 6},
    ),  # 4 captions repeated on their image, 2 more but for white space at the ends
    "flickr8k": (40_460, 10, 1, {"duplicate": 10, "unparsable_row": 1}),  # 10 repeated pairs, 1 malformed key
    "vsr": (7_680, 0, 0, {}),
    "scienceqa": (1_412, 700, 0, {"where": 700}),  # 700 problems have no image
    "scienceqa_whole": (1_412, 0, 0, {}),
    "chartqa": (400, 0, 0, {}),
    "okvqa": (9_009, 0, 2, {"empty_text": 2}),  # of 2 questions the best-scored answer is the empty one
    "textvqa": (5_000, 0, 0, {}),
    "refcocos": (393, 17, 0, {"not_for_task": 17}),  # 17 expressions that nothing in the image fits
    "instances": (739, 8, 0, {"is_crowd": 8}),  # 8 of the boxes are crowds
    "screens": (1_617, 0, 0, {}),  # the parentheses that seem unbalanced in 22 rows stand inside texts on the screens
    "code": (2_017, 0, 2, {"empty_text": 2}),  # 2 with empty output
    "pope": (3_000, 0, 0, {}),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_count_is_explained(real: Built, name: str) -> None:
    rows_in, filtered, rejected, reasons = EXPLAINED[name]
    source = real.manifest["sources"][name]
    ledger = pl.read_parquet(real.out / "ledger.parquet").filter(pl.col("source") == name)
    assert dict(ledger.group_by("reason").len().iter_rows()) == reasons
    assert (source["rows_in"], source["filtered"], source["rejected"]) == (rows_in, filtered, rejected)
    assert source["rows_out"] == rows_in - filtered - rejected


def test_conversations_stay_whole(real: Built) -> None:
    source = real.manifest["sources"]["sharegpt"]
    assert source["achieved"]["samples"] == 500
    assert source["achieved"]["turns"] == source["rows_in"]


def test_multi30k_has_every_line_of_its_training_split(real: Built) -> None:
    assert real.manifest["sources"]["multi30k"]["achieved"]["images"] == 29_000


def test_the_whole_opens_and_adds_up(real: Built) -> None:
    loaded = datasets.load_from_disk(str(real.out))
    assert len(loaded) == real.manifest["totals"]["samples"] > 90_000
    assert len(set(loaded["id"])) == len(loaded)


def test_no_vsr_question_is_garbled(real: Built) -> None:
    loaded = datasets.load_from_disk(str(real.out)).select_columns(["source", "messages"])
    questions = [row["messages"][0]["content"][-1]["text"] for row in loaded if row["source"] == "vsr"]
    assert len(questions) == 7_680
    assert not [text for text in questions if text.startswith("Is ") and " contains " in text]
    assert not [text for text in questions if "tenn racket" in text or "sc sors" in text]


def test_photographs_are_embedded_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "coco_mini"
    recipe = {
        "name": "photos",
        "sources": {
            "captions": {
                "format": "coco_captions",
                "path": str(root / "annotations/captions_train2017.json"),
                "image_root": str(root / "train2017"),
                "conversation": {"max_turns": 5},
            }
        },
    }
    built = build(from_tree(recipe), tmp_path / "out", store=tmp_path / "store", workers=1)
    loaded = datasets.load_from_disk(str(built.out)).cast_column("images", [datasets.Image(decode=False)])
    assert len(loaded) == 80
    for row in loaded:
        (image,) = row["images"]
        assert image["bytes"] == (root / "train2017" / image["path"]).read_bytes()


def test_annotations_without_images_stop_with_examples(shared_data: Path, tmp_path: Path) -> None:
    recipe = tree(shared_data)
    recipe["sources"] = {"coco": {**recipe["sources"]["coco"], "images": {}, "image_root": str(tmp_path)}}
    recipe["mixture"] = {}
    with pytest.raises(BuildError, match="image_missing") as caught:
        build(from_tree(recipe), tmp_path / "out", store=tmp_path / "store", workers=1)
    assert "max_reject_rate" in str(caught.value)
    assert "missing: keep" in str(caught.value) or "fix the source" in str(caught.value)


def test_the_manifest_of_a_real_build_is_plain_json(real: Built) -> None:
    assert json.loads((real.out / "manifest.json").read_text())["sources"]["coco"]["licence"]
