"""Variants in one store: what they share, and that builds of one session are plain builds."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vldata import build
from vldata.ablation.builds import Builder, plan_all, sharing, with_amounts, write_text
from vldata.ablation.load import Opened
from vldata.ablation.overview import overview
from vldata.ablation.variants import Variant
from vldata.errors import RecipeError, StoreError
from vldata.generate.for_builds import AnsweredSources
from vldata.pipeline.build import build as build_in
from vldata.pipeline.session import Session, open_session
from vldata.recipe.load import from_tree

Make = Callable[..., Opened]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "store", 1, synthetic=AnsweredSources(), is_shared=True) as session:
        yield session


def build_all(opened: Opened, builder: Builder) -> dict[str, tuple[Variant, Any]]:
    """Every variant with its build, made in one session."""
    base, reports = builder.build(opened.base, "builds/base")
    variants = with_amounts(opened, opened.tree, opened.base, reports)
    rest = {v.name: (v, builder.build(v.recipe, f"builds/{v.name}")[0]) for v in variants[1:]}
    return {"base": (variants[0], base), **rest}


def test_with_the_counts_held_a_variant_needs_no_block_of_its_own(
    opened: Make, shared: Session, tmp_path: Path
) -> None:
    builds = build_all(opened(held="counts", axes={"drop": "sources"}), Builder(tmp_path, shared))
    base = {block["key"]: block["source"] for block in builds["base"][1].manifest["blocks"]}
    for name, (_, variant_build) in builds.items():
        own = {block["key"] for block in variant_build.manifest["blocks"]}
        assert own == {key for key, source in base.items() if f"drop-{source}" != name}


def test_with_the_total_held_the_others_grow_to_it(opened: Make, shared: Session, tmp_path: Path) -> None:
    builds = build_all(opened(held="total", axes={"drop": ["boxes"]}), Builder(tmp_path, shared))
    manifest = builds["drop-boxes"][1].manifest
    assert manifest["totals"]["samples"] == 120
    assert manifest["sources"]["captions"]["achieved"]["samples"] == 40


def test_builds_of_one_session_are_those_of_plain_builds(opened: Make, shared: Session, tmp_path: Path) -> None:
    axes = {
        "drop": ["captions"],
        "strategy": ["uniform"],
        "total": [90],
        "templates": {"per": ["task_name"]},
        "conversation": {"max_turns": [3], "dedup": [{"by": "answer"}]},
        "images": {"max_side_px": [64]},
    }
    turns = {"conversation": {"max_turns": 3}, "mixture.unit": "turns"}
    builds = build_all(opened(held="total", axes=axes, variants={"turns": turns}), Builder(tmp_path, shared))
    assert len(builds) == 9
    for name, (variant, variant_build) in builds.items():
        plain = build(variant.recipe, tmp_path / "plain" / name, store=tmp_path / "other", workers=1)
        assert {k: v for k, v in plain.manifest.items() if k not in ("inputs", "links", "plan")} == {
            k: v for k, v in variant_build.manifest.items() if k not in ("inputs", "links", "plan")
        }
        for file in ("ledger.parquet", "README.md", "recipe.lock.yaml"):
            assert (plain.out / file).read_bytes() == (variant_build.folder / file).read_bytes(), f"{name}/{file}"


def test_an_image_that_changes_during_a_session_is_seen(tree: dict[str, Any], shared: Session, tmp_path: Path) -> None:
    first = build_in(from_tree(tree), tmp_path / "first", shared)
    for image in (tmp_path / "store" / "pictures").rglob("*.jpg"):
        image.write_bytes(image.read_bytes()[:-40])  # cut off
    tree["output"] = {"block_rows": 7}  # other blocks, so that the images are read again
    with pytest.raises(RecipeError, match="no source has any"):
        build_in(from_tree(tree), tmp_path / "second", shared)
    assert first.manifest["totals"]["samples"] == 120


def test_new_and_shared_blocks_are_counted_in_order() -> None:
    variant_build = sharing({"a": [("k", 5), ("l", 7), ("k", 5)], "b": [("k", 5), ("m", 2)], "c": [("l", 7), ("m", 2)]})
    assert variant_build["a"] == (2, 0, 12, 0)
    assert variant_build["b"] == (1, 1, 2, 5)
    assert variant_build["c"] == (0, 2, 0, 9)


def test_the_plan_says_what_the_builds_then_are(opened: Make, shared: Session, tmp_path: Path) -> None:
    ablation = opened(
        held="counts", axes={"drop": ["captions"], "total": [60, 120], "templates": {"per": ["task_name"]}}
    )
    outline = overview(ablation, store=tmp_path / "store", workers=1, seeds=3)
    builds = build_all(ablation, Builder(tmp_path, shared))
    by_name = {one["name"]: one for one in outline["variants"]}
    assert by_name["total-120"]["same_as"] == "base"
    for name, (_, variant_build) in builds.items():
        if name != "total-120":
            keys = {block["key"] for block in variant_build.manifest["blocks"]}
            assert by_name[name]["samples"] == variant_build.manifest["totals"]["samples"]
            assert by_name[name]["new_blocks"] + by_name[name]["shared_blocks"] == len(keys)
    assert by_name["drop-captions"]["new_blocks"] == 0
    assert by_name["drop-captions"]["in_common"]["base"] == by_name["drop-captions"]["shared_blocks"]
    assert outline["trainings"] == outline["base_seeds"] + 3 * 3
    assert outline["bytes_to_write"] == sum(one.get("new_bytes", 0) for one in outline["variants"])
    json.dumps(outline, allow_nan=False)


def test_variants_that_hold_the_same_rows_are_marked_as_the_same(opened: Make, tmp_path: Path) -> None:
    # no file is only for one of these datasets, so the recipe differs and what is built does not
    planned = plan_all(opened(axes={"templates": {"per": ["dataset"]}}), store=tmp_path / "store", workers=1)
    assert planned[1].variant.same_as == "base"


def test_a_variant_that_cannot_be_built_is_named_and_the_others_are_planned(opened: Make, tmp_path: Path) -> None:
    planned = plan_all(opened(axes={"total": [100_000, 60]}), store=tmp_path / "store", workers=1)
    assert "max_epochs" in planned[1].error and planned[1].plan is None
    assert planned[2].plan is not None


def test_a_full_disk_is_one_error_and_leaves_what_was_there(
    tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "results.json", "old")
    recipe = from_tree(tree)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(StoreError, match="no space left"):
            write_text(tmp_path / "results.json", "new")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)  # the ledger's, into the build's folder
        with pytest.raises(StoreError, match="no space left"):
            build(recipe, tmp_path / "out", store=tmp_path / "store", workers=1)
    assert (tmp_path / "results.json").read_text() == "old" and not (tmp_path / "out").exists()
    assert build(recipe, tmp_path / "out", store=tmp_path / "store", workers=1).made == 0
