"""Places that the key ``objects`` fills: with the phrase, and with the box in the recipe's form and frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vldata
from vldata.sources.llava import Llava
from vldata.sources.reading.conversations import Talk, exchanges, talk
from vldata.sources.table import Table

MUG, SPOON = [20, 10, 100, 50], [100, 50, 180, 90]


def row(objects: Any, *texts: str, images: tuple[str, ...] = ("a.png",)) -> dict[str, Any]:
    said = texts or ("Where is <ref-object>?", "<bbox>")
    messages = [{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(said)]
    return {"id": "g", "images": list(images), "messages": messages, "objects": objects}


def read(objects: Any, *texts: str, images: tuple[str, ...] = ("a.png",)) -> Talk:
    return talk(row(objects, *texts, images=images), pictured=True)


def corners(one: Talk) -> list[list[list[float]]]:
    assert one.boxes is not None
    return [[[box[edge] for edge in ("x0", "y0", "x1", "y1")] for box in of] for of in one.boxes]


def test_each_place_has_its_own_box_and_phrase_in_the_order_of_the_text() -> None:
    texts = (
        "<image>\nWhere are <ref-object> and <ref-object>?",
        "<bbox>, <bbox>",
        "What is at <bbox>?",
        "<ref-object>",
    )
    one = read({"ref": ["a mug", "a spoon", "a mug"], "bbox": [MUG, SPOON, MUG]}, *texts)
    assert one.exchanges == [
        ("<image>\nWhere are a mug and a spoon?", "<bbox>, <bbox>"),
        ("What is at <bbox>?", "a mug"),
    ]
    assert corners(one) == [[MUG, SPOON], [MUG]]
    assert (one.box_unit, one.problem) == ("px", None)


def test_a_phrase_is_that_of_the_boxes_when_it_is_clear_whose_it_is() -> None:
    def names(ref: list[str], num: int, *texts: str) -> list[str | None]:
        one = read({"ref": ref, "bbox": [MUG] * num}, *texts)
        assert one.boxes is not None
        return [box["phrase"] for box in one.boxes[0]]

    assert names(["sheep"], 2, "Find <ref-object>", "<bbox><bbox>") == ["sheep", "sheep"]
    assert names(["a", "b"], 2, "Find", "<ref-object><bbox><ref-object><bbox>") == ["a", "b"]
    assert names(["a", "b"], 3, "Find <ref-object>, <ref-object>", "<bbox><bbox><bbox>") == [None, None, None]
    assert names(["in the text"], 1, "Find what is in the text", "<bbox>") == ["in the text"]
    assert names([], 1, "Find", "<bbox>") == [None]


@pytest.mark.parametrize("is_text", [False, True])
def test_the_older_form_is_a_list_of_objects(is_text: bool) -> None:
    objects: Any = [
        {"caption": "two mugs", "bbox": [MUG, SPOON], "bbox_type": "real", "image": 1},
        {"caption": "a spoon", "bbox": SPOON, "bbox_type": "real", "image": 0},
    ]
    objects = json.dumps(objects) if is_text else objects
    one = read(objects, "<ref-object>, <ref-object>", "<bbox> and <bbox>", images=("a.png", "b.png"))
    assert one.exchanges == [("two mugs, a spoon", "<bbox><bbox> and <bbox>")]
    assert corners(one) == [[MUG, SPOON, SPOON]]
    assert one.boxes and [(box["image"], box["phrase"]) for box in one.boxes[0]] == [
        (1, "two mugs"), (1, "two mugs"), (0, "a spoon")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "numbers", "unit"),
    [
        (None, [20, 10, 100, 50], "px"), ("real", [20.0, 10, 100, 50], "px"),
        ("norm1", [0.1, 0.1, 0.5, 0.5], "fraction"), ("norm_1", [0.1, 0.1, 0.5, 0.5], "fraction"),
        ("norm_1000", [100, 100, 500, 500], "fraction"),
    ],
)  # fmt: skip
def test_boxes_are_pixels_or_parts_of_the_image(kind: str | None, numbers: list[float], unit: str) -> None:
    one = read({"ref": ["a mug"], "bbox": [numbers], "bbox_type": kind})
    assert (one.box_unit, corners(one)) == (unit, [[MUG if unit == "px" else [0.1, 0.1, 0.5, 0.5]]])


WRONG = [
    ({"ref": ["a"], "bbox": [MUG, MUG]}, "box_count_mismatch", "1 <bbox> in the text, 1 phrases and 2 boxes"),
    ({"ref": ["a"]}, "box_count_mismatch", "1 <bbox> in the text, 1 phrases and 0 boxes"),
    ({"ref": [], "bbox": [MUG]}, "box_count_mismatch", "1 <ref-object>"),
    ({"ref": ["a", "b"], "bbox": [MUG]}, "box_count_mismatch", "2 phrases"),
    ([{"caption": "a", "bbox": MUG}] * 2, "box_count_mismatch", "2 boxes"),
    ({"ref": ["a"], "bbox": [MUG], "bbox_type": "px"}, "unparsable_row", "'bbox_type' is 'px'"),
    ({"ref": ["a"], "bbox": [MUG], "bbox_type": ["real"]}, "unparsable_row", "'bbox_type' is ['real']"),
    ({"ref": ["a"], "bbox": [[20, 10]]}, "unparsable_row", "a point, which no box format writes"),
    ({"ref": ["a"], "bbox": [[*MUG, 3]]}, "unparsable_row", "5 numbers, not four"),
    ({"ref": ["a"], "bbox": [["1", 2, 3, 4]]}, "unparsable_row", "not four numbers"),
    ({"ref": ["a"], "bbox": [[True, 2, 3, 4]]}, "unparsable_row", "not four numbers"),
    ({"ref": ["a"], "bbox": MUG}, "unparsable_row", "a box in 'objects' is 20"),
    ({"ref": ["a"], "bbox": [[MUG]]}, "unparsable_row", "not four numbers"),
    ({"ref": "a", "bbox": [MUG]}, "unparsable_row", "not lists of phrases and boxes"),
    ({"ref": [3], "bbox": [MUG]}, "unparsable_row", "a phrase in 'objects' is 3"),
    ({"ref": ["a <bbox>"], "bbox": [MUG]}, "unparsable_row", "a phrase in 'objects'"),
    ({"ref": ["a"], "bbox": [MUG], "image_id": [1]}, "box_wrong_image", "names the image 1 of 1"),
    ({"ref": ["a"], "bbox": [MUG], "image_id": [0, 0]}, "unparsable_row", "1 boxes and 2 'image_id'"),
    ({"ref": ["a"], "bbox": [MUG], "image_id": ["0"]}, "unparsable_row", "names the image '0'"),
    ({"ref": ["a"], "bbox": [MUG], "mask": [[1]]}, "unknown_key", "'mask' in 'objects'"),
    ([{"caption": "a", "bbox": MUG, "polygon": [1]}], "unknown_key", "'polygon' in 'objects'"),
    ("a mug", "unparsable_row", "'objects' is 'a mug'"),
    (["a mug"], "unparsable_row", "not phrases and boxes"),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "problem", "detail"), WRONG)
def test_what_does_not_fit_its_places_is_refused_and_says_why(objects: Any, problem: str, detail: str) -> None:
    one = read(objects)
    assert (one.problem, one.thread) == (problem, "g")
    assert detail in str(one.detail)


def test_boxes_of_two_units_are_refused() -> None:
    both = [{"caption": "a", "bbox": MUG, "bbox_type": kind} for kind in ("real", "norm_1")]
    one = read(both, "<ref-object> <ref-object>", "<bbox> <bbox>")
    assert (one.problem, one.detail) == (
        "unparsable_row",
        "'objects' has boxes in pixels and others in parts of the image",
    )


def test_objects_without_any_place_are_a_key_that_nobody_reads() -> None:
    objects = {"ref": ["a mug"], "bbox": [MUG]}
    assert read(objects, "Where is it?", "There.").problem == "unknown_key"
    ignored = talk(row(objects, "Where is it?", "There."), pictured=True, ignore=frozenset({"objects"}))
    assert (ignored.problem, ignored.boxes) == (None, None)


@pytest.mark.parametrize("mark", ["<bbox>", "<ref-object>"])
@pytest.mark.parametrize("where", ["question", "answer", "system"])
def test_a_place_that_nothing_fills_is_refused(mark: str, where: str) -> None:
    native: dict[str, Any] = row(None, *(mark if where == part else "x" for part in ("question", "answer")))
    native |= {"system": f"See {mark}."} if where == "system" else {}
    other = row({"ref": ["a mug"], "bbox": [MUG]})
    turns = exchanges([talk(native, pictured=True), talk(other, pictured=True)])
    assert turns["problem"].to_list() == ["image_mark_in_text", None]
    other["system"] = f"See {mark}."
    assert exchanges([talk(other, pictured=True)])["problem"].to_list() == ["image_mark_in_text"]


def test_images_named_in_another_order_by_the_messages_are_refused() -> None:
    native = row({"ref": ["a"], "bbox": [MUG], "image_id": [1]}, images=("a.png", "b.png"))
    parts = [{"type": "image", "index": k} for k in (1, 0)]
    native["messages"][0]["content"] = [*parts, {"type": "text", "text": "Where is <ref-object>?"}]
    assert talk(native, pictured=True).problem == "unparsable_row"
    parts.reverse()
    native["messages"][0]["content"][:2] = parts
    assert talk(native, pictured=True).problem is None


NUMBERS = st.sampled_from([0, -1, 2, 0.5, True, None, "1", float("inf")])
BOX_LIKE = st.lists(NUMBERS, min_size=2, max_size=4) | st.just(MUG) | st.none() | st.lists(st.just(MUG), max_size=2)
NATIVE = st.fixed_dictionaries({}, optional={
    "ref": st.lists(st.sampled_from(["a", "", "<bbox>", None]), max_size=3) | st.just("a"),
    "caption": st.sampled_from(["a", None, 3, ["a"]]),
    "bbox": BOX_LIKE | st.lists(BOX_LIKE, max_size=3),
    "bbox_type": st.sampled_from(["real", "norm1", "norm_1000", "px", None, 1]),
    "image_id": st.lists(NUMBERS, max_size=3) | NUMBERS,
    "image": NUMBERS,
    "z": st.sampled_from([None, 1]),
})  # fmt: skip
SAID = st.lists(st.sampled_from(["x", "<bbox>", "<ref-object>", "<image>"]), min_size=1, max_size=4).map(" ".join)


@given(NATIVE | st.lists(NATIVE | st.none(), max_size=3) | st.text(max_size=3), SAID, SAID)
def test_whatever_objects_are_each_place_has_its_box_or_the_row_its_reason(objects: Any, ask: str, tell: str) -> None:
    turns = exchanges([read(objects, ask, tell)])
    (turn,) = turns.to_dicts()
    if turn["problem"] is None:
        assert (turn["instruction"] + turn["response"]).count("<bbox>") == len(turn.get("boxes") or [])
        assert "<ref-object>" not in turn["instruction"] + turn["response"]


ROWS = [
    row({"ref": ["a mug"], "bbox": [MUG]}),
    row({"ref": ["a mug"], "bbox": [[0.1, 0.1, 0.5, 0.5]], "bbox_type": "norm1"}),
    row({"ref": ["b"], "bbox": [[20, 10, 60, 50], MUG], "image_id": [1, 0]},
        "<image><image>Find <ref-object>.", "<bbox> and <bbox>", images=("a.png", "square.png")),
    row(None, "<image>What is it?", "A mug."),
    row({"ref": ["two"], "bbox": [MUG, SPOON]},
        "Find <ref-object>, <image>.", "<bbox><bbox>", "What is left?", "A mug."),
    row({"ref": ["out"], "bbox": [[20, 10, 300, 50]]}),
    row({"ref": ["thin"], "bbox": [[20, 10, 20, 50]]}),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (("a.png", (200, 100)), ("square.png", (100, 100))):
        Image.new("RGB", size, (90, 120, 30)).save(tmp_path / name)
    rows = [{**native, "id": f"r{k}"} for k, native in enumerate(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(native)}\n" for native in rows))
    return tmp_path


def built(folder: Path, name: str, **settings: Any) -> tuple[dict[str, Any], dict[str, str]]:
    source = {"format": "llava", "task": "instruction", "path": f"{folder}/rows.jsonl", "image_root": str(folder)}
    defaults = {"max_reject_rate": 1, "conversation": {"max_turns": "all"}, **settings}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "defaults": defaults, "sources": {"s": source}}))
    vldata.build(vldata.load(folder / f"{name}.yaml"), folder / name, store=folder / "store", workers=1)
    samples = {sample["id"][2:4]: sample for sample in vldata.open_dataset(folder / name)}
    ledger = pl.read_parquet(folder / name / "ledger.parquet")
    return samples, dict(ledger.select("row", "reason").iter_rows())


def answers(samples: dict[str, Any]) -> dict[str, str]:
    return {name: sample["messages"][1]["content"][0]["text"] for name, sample in samples.items()}


def test_a_build_writes_the_boxes_in_the_recipe_s_form(folder: Path) -> None:
    samples, ledger = built(folder, "plain")
    assert answers(samples) == {
        "r0": "[0.10, 0.10, 0.50, 0.50]",
        "r1": "[0.10, 0.10, 0.50, 0.50]",
        "r2": "[0.20, 0.10, 0.60, 0.50] and [0.10, 0.10, 0.50, 0.50]",
        "r3": "A mug.",
        "r4": "[0.10, 0.10, 0.50, 0.50] [0.50, 0.50, 0.90, 0.90]",
    }
    assert ledger == {"r5/0": "box_outside_image", "r6/0": "box_empty"}
    boxes = {name: [box for turn in sample["turns"] for box in turn["boxes"]] for name, sample in samples.items()}
    assert [boxes["r0"][0][edge] for edge in ("x0", "y0", "x1", "y1")] == MUG
    assert [boxes["r1"][0][edge] for edge in ("x0", "y0", "x1", "y1")] == MUG
    assert [(box["image"], box["phrase"]) for box in boxes["r2"]] == [(1, "b"), (0, "b")]
    assert (boxes["r3"], len(boxes["r4"])) == ([], 2)
    content = samples["r4"]["messages"][0]["content"]
    assert [part["text"] for part in content] == ["Find two,", None, "."]


def test_and_in_its_frame_and_codec(folder: Path) -> None:
    padded, _ = built(folder, "padded", reference="padded_square", box_format="qwen_vl")
    assert answers(padded)["r0"] == "<box>(100,300),(500,500)</box>"
    assert answers(padded)["r4"] == "<box>(100,300),(500,500)</box><box>(500,500),(899,699)</box>"
    small, _ = built(folder, "small", images={"max_side_px": 100})
    assert answers(small)["r0"] == "[0.10, 0.10, 0.50, 0.50]"
    assert [small["r0"]["turns"][0]["boxes"][0][edge] for edge in ("x0", "y0", "x1", "y1")] == [10, 5, 50, 25]


def test_answers_with_other_boxes_are_other_answers(folder: Path) -> None:
    rows = [row({"ref": ["a mug"], "bbox": [box]}) for box in (MUG, SPOON, MUG)]
    (folder / "rows.jsonl").write_text(
        "".join(f"{json.dumps({**each, 'id': f'r{k}'})}\n" for k, each in enumerate(rows))
    )
    samples, ledger = built(folder, "dedup", conversation={"max_turns": "all", "dedup": {"by": ["answer"]}})
    assert set(answers(samples).values()) == {"[0.10, 0.10, 0.50, 0.50]", "[0.50, 0.50, 0.90, 0.90]"}
    assert [*ledger.values()] == ["duplicate"]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_tables_hold_objects_too(suffix: str, folder: Path) -> None:
    frame = pl.DataFrame(
        [{**native, "id": f"r{k}"} for k, native in enumerate(ROWS) if k != 3], infer_schema_length=None
    )
    path = folder / f"rows.{suffix}"
    frame.write_parquet(path) if suffix == "parquet" else frame.write_ipc(path)
    for adapter in (Llava, Table):
        turns = adapter(path=str(path), image_root=str(folder)).turns("instruction")
        assert turns["problem"].null_count() == turns.height == 7
        assert turns["boxes"].list.len().to_list() == [1, 1, 2, 2, 0, 1, 1]
        assert turns["box_unit"].to_list() == ["px", "fraction", "px", "px", "px", "px", "px"]
