"""The first rows of every source, as `vldata check` reads them: what a build would stop at is found in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from vldata.errors import RecipeErrors
from vldata.pipeline import first_rows
from vldata.pipeline.check import check
from vldata.recipe.load import from_tree
from vldata.sources import format_names, source_class
from vldata.sources.webdataset import write_tar

ROWS = [{"id": k, "image": "a.jpg", "question": f"What is {k}?", "label": "cup", "note": "x"} for k in range(500)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    return tmp_path


def checked(**keys: Any) -> dict[str, Any]:
    source = {"format": "table", "task": "vqa_open", "fields": {"answer": "label"}, **keys}
    (row,) = check(from_tree({"name": "t", "sources": {"t": source}}))
    return row


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pl.DataFrame(rows).write_csv(path)
    return path.name


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet"])
def test_columns_are_named_and_all_rows_looked_at(folder: Path, name: str) -> None:
    row = checked(path=write(folder / name, ROWS))
    assert (row["rows"], row["all_rows"], row["notes"]) == (500, True, [])
    read = {"id": ["row"], "image": ["images"], "question": ["question"], "label": ["answer"]}
    assert row["columns"] == {"read": read, "kept": [], "ignored": {"note": "harmless"}, "unknown": {}}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet"])
def test_of_large_files_the_head_is_read(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    path = write(folder / name, ROWS)
    row = checked(path=path)
    assert 190 <= row["rows"] <= 200 and not row["all_rows"]
    with pytest.raises(RecipeErrors, match="did you mean 'label'"):
        checked(path=path, fields={"answer": "lable"})


def test_large_files_without_a_head_are_told_not_to_be_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    keys = source_class("refcoco").standin(folder / "refcoco", rows=9, seed=1)
    (row,) = check(from_tree({"name": "t", "sources": {"t": {"format": "refcoco", **keys}}}))
    assert row["rows"] is None
    assert "not opened" in row["notes"][0]


def captions(folder: Path, *, named: str = "caption", image: str = "a.jpg", end: int | None = None) -> dict[str, Any]:
    """What is found of a COCO file of 400 captions, the last image's first, that counts as large."""
    images = [{"id": k, "file_name": image} for k in range(400)]
    rows = [{"id": k, "image_id": 399 - k, named: f"A cup {k}."} for k in range(400)]
    text = json.dumps({"info": {}, "images": images, "annotations": rows, "licenses": []})
    (folder / "captions_train.json").write_text(text[:end])
    source = {"format": "coco_captions", "path": "captions_train.json", "image_root": "."}
    (row,) = check(from_tree({"name": "t", "sources": {"t": source}}))
    return row


def test_of_a_large_object_the_first_rows_of_its_lists_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    row = captions(folder)
    assert (row["rows"], row["all_rows"], row["notes"]) == (200, False, [])
    for keys, said in (
        ({"named": "text"}, "200 of the first 200 turns are broken, .*'text' is not read"),
        ({"image": "b.jpg"}, "not one of the first 1 images is there"),
        ({"end": -1}, r"captions_train\.json: not JSON: it ends inside a list or an object"),
        ({"end": -40}, r"not JSON: it ends inside a list or an object|not JSON: it ends inside a text"),
    ):
        with pytest.raises(RecipeErrors, match=said):
            captions(folder, **keys)


def test_each_large_file_of_a_folder_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    texts = []
    for part in range(2):
        rows = [{"id": 1000 * part + k, "image_id": 499 - k, "caption": "A cup."} for k in range(500)]
        images = [{"id": k, "file_name": "a.jpg"} for k in range(500)]
        texts.append(json.dumps({"images": images, "annotations": rows}))
    (folder / "a").mkdir()
    for path in ("a", "a/*.json"):
        tree = {"name": "t", "sources": {"t": {"format": "coco_captions", "path": path, "image_root": "."}}}
        for part, text in enumerate(texts):
            (folder / f"a/captions_{part}.json").write_text(text)
        (row,) = check(from_tree(tree))
        assert (row["files"], row["rows"], row["notes"]) == (2, 400, [])
        (folder / "a/captions_1.json").write_text(texts[1][:-30])
        with pytest.raises(RecipeErrors, match=r"a/captions_1\.json: not JSON: it ends inside"):
            check(from_tree(tree))


def test_a_large_list_without_its_end_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    text = (folder / write(folder / "rows.json", ROWS)).read_text()
    (folder / "rows.json").write_text(text[:-1])
    with pytest.raises(RecipeErrors, match=r"rows\.json: not JSON: it ends inside a list or an object"):
        checked(path="rows.json")


@pytest.mark.parametrize("name", sorted({*format_names()} - {"shapes", "generated", "refcoco", "multi30k"}))
def test_the_first_rows_of_a_large_source_are_without_fault(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    keys = source_class(name).standin(folder / "standin", rows=450, seed=1)
    (row,) = check(from_tree({"name": "t", "sources": {"t": {"format": name, **keys}}}))
    assert row["rows"] > 100 and not row["all_rows"]
    assert row["notes"] == []


def test_of_a_large_folder_of_images_the_first_are_read_with_what_lies_beside(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    for k in range(300):
        (folder / "set" / "cats").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(folder / "set" / "cats" / f"{k:03}.jpg")
        (folder / "set" / "cats" / f"{k:03}.txt").write_text(f"Cat {k}.")
    tree = {"name": "t", "sources": {"t": {"format": "image_folder", "path": "set"}}}
    for root in ({}, {"image_root": "."}):
        (row,) = check(from_tree({"name": "t", "sources": {"t": {**tree["sources"]["t"], **root}}}))  # type: ignore[index]
        assert (row["rows"], row["all_rows"], row["notes"]) == (200, False, [])


def test_of_a_large_shard_the_first_samples_are_read_wherever_their_files_stand(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    images = [(f"a/{k:03}.jpg", b"x" * 2000) for k in range(300)]
    write_tar(folder / "0.tar", [*images, *((f"a/{k:03}.txt", b"A cup.") for k in range(300))])
    tree = {"name": "t", "sources": {"t": {"format": "webdataset", "path": "0.tar"}}}
    (row,) = check(from_tree(tree))
    assert (row["rows"], row["all_rows"], row["notes"]) == (200, False, [])
    (folder / "0.tar").write_bytes((folder / "0.tar").read_bytes()[:-20_000])
    with pytest.raises(RecipeErrors, match=r"0\.tar"):
        check(from_tree(tree))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"fields": {"answer": "lable"}}, "did you mean 'label'"),
        ({"fields": {"answer": "label +"}}, "fields.answer"),
        ({"fields": {"answer": "label", "image_sizes": "note"}}, "not sizes"),
        ({"image_root": "nowhere"}, "no such folder or archive: nowhere"),
        ({"fields": {"answer": "label", "images": "question"}}, "not one of the first 20 images is there"),
        ({"fields": {"answer": "label", "position": "note"}}, "500 of 500 turns are broken"),
    ],
)
def test_what_a_build_would_stop_at_is_a_problem(folder: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeErrors, match=said):
        checked(path=write(folder / "rows.jsonl", ROWS), **keys)


def test_an_unknown_suffix_is_a_problem(folder: Path) -> None:
    (folder / "rows.xyz").write_text("a")
    with pytest.raises(RecipeErrors, match=r"\.xyz"):
        checked(path="rows.xyz")


def test_images_that_need_an_image_root_are_missed(folder: Path) -> None:
    (folder / "vsr").mkdir()
    line = {"image": "000000085637.jpg", "caption": "The cat is on the suitcase.", "label": 1}
    (folder / "vsr" / "train.jsonl").write_text(f"{json.dumps(line)}\n")
    with pytest.raises(RecipeErrors, match="image_root is not set"):
        check(from_tree({"name": "t", "sources": {"t": {"format": "vsr", "path": "vsr"}}}))


def test_a_list_named_for_lines_is_told(folder: Path) -> None:
    (folder / "rows.jsonl").write_text(json.dumps(ROWS, indent=1))
    assert "one JSON list" in checked(path="rows.jsonl")["notes"][0]


def test_ids_that_repeat_are_told(folder: Path) -> None:
    assert "share an id" in checked(path=write(folder / "rows.jsonl", [*ROWS, ROWS[3]]))["notes"][0]
    named = [{**row, "id": f"a~{k}"} for k, row in enumerate(ROWS)]
    assert checked(path=write(folder / "rows.jsonl", named))["notes"] == []


def test_some_missing_images_are_a_note(folder: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "id": 900, "image": "b.jpg"}]
    assert "1 of the first 2 images" in checked(path=write(folder / "rows.jsonl", rows))["notes"][0]


def test_boxes_in_another_unit_than_the_recipe_says_are_a_problem(folder: Path) -> None:
    rows = [{"image": "a.jpg", "phrase": f"cup {k}", "boxes": [[0.1, 0.2, 0.3, 0.4]]} for k in range(9)]
    path = write(folder / "rows.jsonl", rows)
    with pytest.raises(RecipeErrors, match=r"sources\.t\.boxes_are.*fraction"):
        checked(path=path, task="rec", fields={})
    assert checked(path=path, task="rec", fields={}, boxes_are="fraction")["rows"] == 9


def test_a_table_of_conversations_is_read_as_such(folder: Path) -> None:
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup."}]
    path = write(folder / "rows.jsonl", [{"id": k, "image": "a.jpg", "conversations": talk} for k in range(3)])
    row = checked(path=path, task="instruction", fields={})
    read = {"conversations": ["instruction", "response"], "image": ["images"], "id": ["thread", "row"]}
    assert (row["rows"], row["columns"]["read"]) == (3, read)


def test_columns_inside_columns_and_those_kept_for_where_are_read(folder: Path) -> None:
    rows = [{"image": "a.jpg", "qa": {"q": f"What is {k}?", "a": "cup"}, "part": "x", "note": "n"} for k in range(3)]
    path = write(folder / "rows.jsonl", rows)
    fields = {"question": "qa.q", "answer": "qa.a"}
    row = checked(path=path, fields=fields, keep=["part"], where="part = 'x'")
    assert (row["rows"], row["notes"]) == (3, [])
    read = {"image": ["images"], "qa.q": ["question"], "qa.a": ["answer"]}
    assert row["columns"] == {"read": read, "kept": ["part"], "ignored": {"note": "harmless"}, "unknown": {}}


def test_images_in_the_cells_of_a_large_table_are_not_missed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "part").mkdir()
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="
    write(folder / "part" / "rows.jsonl", [{**row, "image": pixel} for row in ROWS])
    assert checked(path="part/rows.jsonl", image_root=".")["all_rows"]
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    row = checked(path="part/rows.jsonl", image_root=".")
    assert (row["all_rows"], row["notes"]) == (False, [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"where": "note = 'x'", "keep": ["note"]}, None),
        ({"where": "note > 3", "keep": ["note"]}, "cannot compare string with numeric"),
        ({"where": "CAST(answer AS INT) > 3"}, "conversion from `str` to `i32` failed"),
    ],
)
def test_a_condition_is_tried_on_the_rows(folder: Path, options: dict[str, Any], problem: str | None) -> None:
    path = write(folder / "rows.jsonl", ROWS)
    if problem is None:
        assert checked(path=path, **options)["notes"] == []
        return
    with pytest.raises(RecipeErrors, match=problem) as caught:
        checked(path=path, **options)
    assert [error.where for error in caught.value.errors] == ["sources.t.where"]


@pytest.mark.parametrize("reference", ["x.jpg/" * 1000, "a\0b.jpg"])
def test_a_reference_that_no_file_could_have_is_a_note(folder: Path, reference: str) -> None:
    path = write(folder / "rows.jsonl", [{**ROWS[0], "image": reference}, ROWS[1]])
    (note,) = checked(path=path)["notes"]
    assert "1 of the first 2 images are not there" in note or "unparsable_row" in note


@pytest.mark.parametrize("has_sizes", [True, False])
def test_boxes_in_thousandths_are_found_where_sizes_are_known(folder: Path, has_sizes: bool) -> None:
    Image.new("RGB", (640, 480)).save(folder / "b.jpg")
    sides = {"width": 640, "height": 480} if has_sizes else {}
    rows = [
        {"image": "b.jpg", "phrase": f"cup {k}", "boxes": [[100, 200, 700 + k, 900 + k]], **sides} for k in range(9)
    ]
    path = write(folder / "rows.jsonl", rows)
    with pytest.raises(RecipeErrors, match=r"sources\.t\.boxes_are: .*look like thousandths"):
        checked(path=path, task="rec", fields={})
    assert checked(path=path, task="rec", fields={}, boxes_are="thousandths")["rows"] == 9
    rows = [{**row, "boxes": [[100, 200, 300, 400]]} for row in rows]
    assert checked(path=write(folder / "rows.jsonl", rows), task="rec", fields={})["notes"] == []


def test_rows_without_what_their_task_needs_are_broken_as_in_a_build(tmp_path):
    for name, text in (("a", "A bus."), ("b", None), ("c", "A cat.")):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.png")
        if text:
            (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "alone.txt").write_text("Nothing.")
    sources = {"s": {"format": "image_folder", "path": str(tmp_path), "task": "caption"}}
    with pytest.raises(RecipeErrors, match=r"2 of 4 turns are broken, such as alone\.txt: no_image"):
        check(from_tree({"name": "x", "sources": sources}))
    sources["s"]["where"] = "row != 'alone.txt' AND row != 'b.png'"
    assert check(from_tree({"name": "x", "sources": sources}))[0]["rows"] == 4


def test_what_is_said_of_rows_is_said_before_a_build(folder: Path) -> None:
    rows = [{"id": k, "image": "a.jpg", "question": "Which is <image>?", "answer": "cup"} for k in range(3)]
    row = checked(path=write(folder / "rows.jsonl", rows), fields={})
    assert row["notes"] == [
        "t: 'vqa_open' places no images, so marks such as <image> in its words are text: 3 of 3 turns"
    ]
    places = {"choices": ["red", "blue", "all of the above"], "answer": 0}
    row = checked(path=write(folder / "mc.jsonl", [{**r, **places} for r in rows]), task="vqa_mc", fields={})
    assert 't: options such as "all of the above" stay behind the others: 3 of 3 turns' in row["notes"]


def test_files_of_a_folder_that_are_passed_over_are_said_before_a_build(folder: Path) -> None:
    (folder / "data").mkdir()
    write(folder / "data" / "rows.jsonl", ROWS)
    (folder / "data" / "LICENSE").write_text("as you like")
    row = checked(path="data", image_root=".")
    assert row["notes"] == ["t passed over 1 files of its folder, which are not of its format: LICENSE"]


def test_a_source_of_which_nothing_is_left_is_a_problem_whatever_it_may_lose(folder: Path) -> None:
    rows = [{**row, "label": None} for row in ROWS]
    with pytest.raises(RecipeErrors, match="nothing is left of any source: t: 500 of 500 turns are broken, such as 0"):
        checked(path=write(folder / "rows.jsonl", rows), max_reject_rate=1)
    with pytest.raises(RecipeErrors, match="not one of 500 turns passes its `where`"):
        checked(path=write(folder / "rows.jsonl", ROWS), where="question = 'nothing'")


def test_images_of_rows_that_a_condition_leaves_out_are_not_missed(folder: Path) -> None:
    rows = [{**ROWS[k], "image": "a.jpg" if k < 2 else "gone.jpg"} for k in range(9)]
    row = checked(path=write(folder / "rows.jsonl", rows), where="row IN ('0', '1')")
    assert row["notes"] == []
