"""Candidates under inspection: their boxes, their images, their split."""

from __future__ import annotations

from tests.pipeline.inspecting import IMAGE, look_at, reason


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
