"""A small build of six tasks, made once, and a model small enough to train in a second."""

from __future__ import annotations

from pathlib import Path

import pytest

TINY = (
    "stages.0.optimizer=adamw",
    "stages.0.lr_vision=5e-4",
    "stages.0.lr_projector=5e-4",
    "stages.0.lr_decoder=1e-3",
    "vision.width=16",
    "vision.depth=1",
    "vision.heads=2",
    "vision.mlp_width=32",
    "vision.side_px=32",
    "decoder.width=32",
    "decoder.depth=2",
    "decoder.heads=2",
    "decoder.kv_heads=1",
    "decoder.mlp_width=48",
    "pack_tokens=512",
    "pack_images=16",
)
"""Changes of the tiny preset that make it fast enough for tests of the machinery."""


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tasks of the shapes world: most of 120 samples to train on, the rest ask about other images."""
    from vldata import build
    from vldata.recipe.load import from_tree

    folder = tmp_path_factory.mktemp("small")
    shapes = {"format": "shapes", "scenes": 24, "side_px": 96}
    sources = {
        "captions": {**shapes, "task": "caption"},
        "questions": {**shapes, "task": "vqa_open", "conversation": {"max_turns": 4, "dedup": {"by": "answer"}}},
        "choices": {**shapes, "task": "vqa_mc"},
        "statements": {**shapes, "task": "true_false"},
        "boxes": {**shapes, "task": "rec", "box_format": "llava", "templates": {"flip": 0.5}},
        "arithmetic": {**shapes, "task": "text_instruction"},
    }
    mixture = {"total": 120, "sources": dict.fromkeys(sources, 1)}
    tree = {"name": "small", "seed": 3, "sources": sources, "mixture": mixture, "splits": {"val": 0.4}}
    build(from_tree(tree), folder / "build", store=folder / "store", workers=1)
    return folder / "build"
