"""Candidates under inspection: their boxes, their images, their split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import box, columns_of, entry, facts_of
from vldata.pipeline.candidates import InspectedSamples, inspect
from vldata.pipeline.screen import grouped
from vldata.schema.turns import COMMON, KEY

Box = tuple[float, float, float, float]
IMAGE = "a.jpg"  # 200 x 100 px, as all images here


def look_at(
    boxes: Mapping[str, Any],
    facts: Sequence[str | Mapping[str, Any]] = (IMAGE,),
    *,
    images: Mapping[str, list[str]] | None = None,
    splits: dict[str, float] | None = None,
    excluded: frozenset[str] = frozenset(),
    sizes: list[dict[str, int]] | None = None,
    thread: str | None = None,
    **settings: Any,
) -> InspectedSamples:
    """Inspect one turn for each row of ``boxes``, over one image unless ``images`` says which."""
    source = entry("rec", name="refs", **settings)
    columns = {**COMMON, **columns_of("rec"), KEY: pl.UInt64, "rank": pl.UInt64}
    rows = [
        {
            "row": row,
            "images": images[row] if images else [IMAGE],
            "image_sizes": sizes,
            "phrase": "it",
            "boxes": [b if isinstance(b, dict) else box(*b) for b in of_row],
            "thread": thread,
            KEY: number,
            "rank": number,
        }
        for number, (row, of_row) in enumerate(boxes.items())
    ]
    table = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)
    turns = grouped(table.drop("problem", "detail", "urls", strict=False), source)
    at = (turns["place"] == 0).cum_sum().cast(pl.Int64) - 1
    table_of_facts = facts_of(facts)

    def look(refs: list[str]) -> pl.DataFrame:
        return pl.DataFrame({"ref": refs}, schema={"ref": pl.String}).join(table_of_facts, on="ref", how="left")

    return inspect(
        turns.with_columns(at=at),
        source,
        look,
        seed=7,
        splits=splits or {"train": 1.0},
        excluded_hashes=excluded,
    )


def reason(*boxes: Box | dict[str, Any], **options: Any) -> str | None:
    """Why a turn with these boxes is rejected; None when it is not."""
    found = look_at({"r": boxes}, **options).refused
    return str(found["reason"][0]) if found.height else None


@pytest.mark.parametrize("side", range(4))
def test_a_box_may_stick_out_by_a_pixel_and_is_clamped(side: int) -> None:
    inside = [10.0, 10.0, 190.0, 90.0]
    inside[side] = (-0.9, -0.9, 200.9, 100.9)[side]
    (clamped,) = look_at({"r": [tuple(inside)]}).turns["boxes"].to_list()[0]
    edges = [10.0, 10.0, 190.0, 90.0]
    edges[side] = (0.0, 0.0, 200.0, 100.0)[side]
    assert [clamped[corner] for corner in ("x0", "y0", "x1", "y1")] == edges


@pytest.mark.parametrize("side", range(4))
def test_a_box_that_sticks_out_by_more_than_a_pixel_is_rejected(side: int) -> None:
    outside = [10.0, 10.0, 190.0, 90.0]
    outside[side] = (-1.1, -1.1, 201.1, 101.1)[side]
    assert reason(tuple(outside)) == "box_outside_image"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rejected", "why"),
    [
        ((10.0, 10.0, 10.0, 20.0), "box_empty"),
        ((10.0, 20.0, 30.0, 20.0), "box_empty"),
        ((30.0, 10.0, 10.0, 20.0), "box_corners_swapped"),
        (box(10.0, 10.0, 20.0, 20.0, image=1), "box_wrong_image"),
        (box(10.0, 10.0, 20.0, 20.0, image=-1), "box_wrong_image"),
        ({**box(10.0, 10.0, 20.0, 20.0), "x1": None}, "no_box"),
    ],
)
def test_what_is_no_box_on_the_image_is_rejected_with_its_own_reason(rejected: Any, why: str) -> None:
    assert reason(rejected) == why
    assert reason((10.0, 10.0, 20.0, 20.0), rejected) == why


def test_fractions_are_of_the_upright_image() -> None:
    (of_turn,) = look_at({"r": [(50.0, 25.0, 100.0, 100.0)]}).turns["fractions"].to_list()
    assert [of_turn[0][corner] for corner in ("x0", "y0", "x1", "y1")] == [0.25, 0.25, 0.5, 1.0]


def test_a_size_that_the_annotation_says_otherwise_is_a_mismatch() -> None:
    fine = (10.0, 10.0, 20.0, 20.0)
    assert reason(fine, sizes=[{"width": 200, "height": 100}]) is None
    assert reason(fine, sizes=[{"width": 100, "height": 200}]) == "image_size_mismatch"


def test_a_box_on_an_image_of_unknown_size_is_rejected() -> None:
    unknown = [{"ref": IMAGE, "width": None, "height": None}]
    assert reason((10.0, 10.0, 20.0, 20.0), facts=unknown) == "image_size_unknown"


def test_an_excluded_or_missing_image_takes_its_turns_along() -> None:
    fine = (10.0, 10.0, 20.0, 20.0)
    assert reason(fine, excluded=frozenset({f"#{IMAGE}"})) == "excluded"
    assert reason(fine, facts=[{"ref": IMAGE, "problem": "image_missing"}]) == "image_missing"


def test_a_photograph_is_in_one_split_whatever_its_name_and_two_of_them_may_part_a_sample() -> None:
    names = [f"{number}.jpg" for number in range(40)]
    twins = [f"copy-{name}" for name in names]
    facts = [*names, *({"ref": twin, "hash": f"#{name}"} for twin, name in zip(twins, names, strict=True))]
    fine = [(10.0, 10.0, 20.0, 20.0)]
    rows = {name: [name] for name in [*names, *twins]}
    splits = {"train": 0.5, "val": 0.5}
    found = look_at(dict.fromkeys(rows, fine), facts, images=rows, splits=splits).samples
    split = dict(zip(found["sample_row"], found["split"], strict=True))
    assert all(split[name] == split[f"copy-{name}"] for name in names)
    assert set(split.values()) == {"train", "val"}
    train = next(name for name in names if split[name] == "train")
    val = next(name for name in names if split[name] == "val")
    parted = look_at({"r": fine}, facts, images={"r": [train, val]}, splits=splits)
    assert parted.refused["reason"].to_list() == ["image_in_two_splits"]
