"""The dataset card, from a literal manifest."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.pipeline.tables import recipe
from vldata.pipeline.dataset_card import card

SOURCE = {
    "format": "coco_captions",
    "task": "caption",
    "licence": "CC BY 4.0",
    "epochs": 1.5,
    "achieved": {"samples": 1500, "images": 1500, "turns": 1500},
    "achieved_share": {"samples": 0.75},
}


def manifest(splits: dict[str, int], **sources: dict[str, Any]) -> dict[str, Any]:
    totals = {"samples": 2000, "images": 1700, "turns": 12345}
    return {"seed": 7, "splits": splits, "totals": totals, "sources": sources}


def written(splits: dict[str, int], about: str = "", **sources: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Front matter and text."""
    text = card(recipe({"src": {"task": "vqa_open"}}, about=about), manifest(splits, **sources))
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


@pytest.mark.parametrize(
    ("splits", "files"),
    [
        ({"train": 2000}, [{"split": "train", "path": "*.arrow"}]),
        (
            {"train": 1900, "val": 100},
            [{"split": "train", "path": "train/*.arrow"}, {"split": "val", "path": "val/*.arrow"}],
        ),
        ({"train": 2000, "val": 0}, [{"split": "train", "path": "train/*.arrow"}]),
    ],
)
def test_the_hub_finds_the_files_of_every_split_with_rows(splits: dict[str, int], files: list[dict[str, str]]) -> None:
    front, _ = written(splits)
    assert front["configs"] == [{"config_name": "default", "data_files": files}]
    assert front["pretty_name"] == "small"


def test_the_counts_and_the_sources_are_the_manifest_s() -> None:
    _, body = written({"train": 2000}, captions=SOURCE)
    assert "2,000 samples, 1,700 images, 12,345 turns; seed 7." in body
    assert "| captions | coco_captions | caption | 1,500 | 75.0% | 1.50 | CC BY 4.0 |" in body


def test_a_licence_cannot_break_the_table() -> None:
    _, body = written({"train": 2000}, captions={**SOURCE, "licence": "mine | yours\n| not"})
    assert "| 1.50 | mine \\| yours \\| not |\n" in body


def test_the_recipe_s_own_words_are_the_introduction() -> None:
    assert "# small\n\nall about cats\n" in written({"train": 2000}, about="all about cats")[1]
    assert "# small\n\nA vision-language dataset built with vldata.\n" in written({"train": 2000})[1]
