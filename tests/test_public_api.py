"""The Python API in the package's face: load, plan, build, open_dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

import vldata
from vldata.errors import BuildError
from vldata.pipeline.build import build
from vldata.pipeline.session import open_session
from vldata.recipe.load import from_tree


def test_a_bundled_recipe_is_loaded_planned_built_and_opened(tmp_path: Path) -> None:
    recipe = vldata.load("quickstart", ["mixture.total=60"])
    planned = vldata.plan(recipe, store=tmp_path / "store", workers=1)
    built = vldata.build(recipe, tmp_path / "out", store=tmp_path / "store", workers=1)
    opened = vldata.open_dataset(built.out)
    assert {split: len(rows) for split, rows in opened.items()} == built.manifest["splits"]
    assert [b["key"] for b in planned["blocks"]] == [b["key"] for b in built.manifest["blocks"]]
    assert planned["totals"]["samples"] == 60


def test_a_refused_folder_leaves_no_store_in_its_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(BuildError, match="it is a file"):
        vldata.build(vldata.load("quickstart"), tmp_path / "out", store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_session_without_what_reads_synthetic_sources_says_so(tmp_path: Path) -> None:
    sources = {
        "captions": {"format": "shapes", "scenes": 4, "task": "caption"},
        "chat": {"synth": {"from": "captions", "kind": "llava.detail", "model": "tiny"}},
    }
    recipe = from_tree({"name": "x", "sources": sources})
    with open_session(tmp_path / "store", 1) as session, pytest.raises(BuildError, match="no synthetic sources"):
        build(recipe, tmp_path / "out", session)
