"""`vldata check`: all that is wrong with a recipe at once, and what a build would stop at, found in the first rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import recipe
from vldata.errors import RecipeErrors
from vldata.pipeline import first_rows
from vldata.pipeline.check import check, formats
from vldata.recipe.load import from_tree

ROWS = [{"id": k, "image": "a.jpg", "question": f"What is {k}?", "label": "cup", "note": "x"} for k in range(500)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").touch()
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
    assert row["columns"] == {
        "row": ["id"], "images": ["image"], "question": ["question"], "answer": ["label"], "": ["note"],
    }  # fmt: skip


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
    (folder / "captions_train.json").write_text(json.dumps({"images": [], "annotations": []}))
    tree = {"name": "t", "sources": {"t": {"format": "coco_captions", "path": "captions_train.json"}}}
    (row,) = check(from_tree(tree))
    assert row["rows"] is None
    assert "not opened" in row["notes"][0]


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


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Any]:
    """A source without a fault."""
    row = {"image": "a.jpg", "question": "What?", "answer": "cup", "choices": ["cup", "jar"], "right": 0}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n")
    (tmp_path / "a.jpg").touch()
    return {"task": "vqa_open", "path": str(tmp_path / "rows.jsonl"), "image_root": str(tmp_path)}


def problems(*sources: dict[str, Any], **head: Any) -> list[tuple[str, str]]:
    """Where each problem lies and what it is."""
    with pytest.raises(RecipeErrors) as caught:
        check(recipe({f"s{number}": source for number, source in enumerate(sources)}, **head))
    return [(error.where, error.problem) for error in caught.value.errors]


def test_a_sound_recipe_is_listed_source_by_source(source: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text((tmp_path / "rows.jsonl").read_text().replace("What", "Which"))
    several = {"task": "vqa_mc", "path": str(tmp_path / "*.jsonl"), "fields": {"answer": "right"}}
    rows = check(recipe({"one": source, "two": {**source, **several}}))
    assert [row.pop("template").partition("@")[0] for row in rows] == ["vqa_open.jinja", "vqa_mc.jinja"]
    read = {"images": ["image"], "question": ["question"]}
    one = {"source": "one", "task": "vqa_open", "files": 1, "rows": 1}
    two = {"source": "two", "task": "vqa_mc", "files": 2, "rows": 2}
    alike: dict[str, Any] = {"format": "table", "all_rows": True, "notes": []}
    assert rows == [
        {**one, **alike, "columns": {**read, "answer": ["answer"], "": ["choices", "right"]}},
        {**two, **alike, "columns": {**read, "choices": ["choices"], "answer": ["right"], "": ["answer"]}},
    ]


def test_every_problem_is_reported_at_once(source: dict[str, Any], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    found = problems({**source, "path": f"{gone}.jsonl", "where": "nonsense > 1"}, {**source, "image_root": gone})
    assert [where for where, _ in found] == [f"sources.s0: {gone}.jsonl", "sources.s0.where", "sources.s1.image_root"]
    assert found[2][1] == f"no such folder or archive: {gone}"


def test_a_template_that_cannot_be_used_is_named_with_the_rest(source: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "vqa_open.jinja").write_text("{% block user %}{{ colour }}{% endblock %}")
    broken = {**source, "templates": {"path": str(tmp_path)}, "image_root": str(tmp_path / "gone")}
    found = problems(broken)
    assert len(found) > 1
    assert "colour" in " ".join(problem for _, problem in found)
    assert found[-1][0] == "sources.s0.image_root"


def test_a_root_that_is_not_there_is_no_problem_where_missing_images_are_kept(
    source: dict[str, Any], tmp_path: Path
) -> None:
    kept = {**source, "image_root": str(tmp_path / "gone"), "images": {"missing": "keep"}}
    assert [row["source"] for row in check(recipe({"one": kept}, output={"images": "path"}))] == ["one"]


def test_the_exclusion_list_is_read(source: dict[str, Any], tmp_path: Path) -> None:
    ((where, _),) = problems(source, exclude=str(tmp_path / "gone.txt"))
    assert where == "exclude"


def test_where_is_compared_with_the_columns_of_the_task(source: dict[str, Any]) -> None:
    assert check(recipe({"one": {**source, "where": "ARRAY_LENGTH(images) > 0 AND question <> ''"}}))
    ((where, _),) = problems({**source, "where": "choices IS NULL"})  # a column of another task
    assert where == "sources.s0.where"


def test_formats_lists_what_a_recipe_may_name() -> None:
    listed = formats()
    assert list(listed) == ["sources", "tasks", "box formats", "strategies", "kinds of synth"]
    names = {kind: {row["name"] for row in rows} for kind, rows in listed.items()}
    assert {"table", "coco_captions", "shapes"} <= names["sources"]
    assert {"caption", "rec"} <= names["tasks"]
    assert "llava" in names["box formats"]
    assert {"proportional", "sqrt"} <= names["strategies"]
    assert all(row["about"].strip() for rows in listed.values() for row in rows)
    assert next(row for row in listed["sources"] if row["name"] == "coco_captions")["about"].endswith("(caption)")


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
    assert (row["rows"], row["columns"]) == (3, None)


def test_columns_inside_columns_and_those_kept_for_where_are_read(folder: Path) -> None:
    rows = [{"image": "a.jpg", "qa": {"q": f"What is {k}?", "a": "cup"}, "part": "x", "note": "n"} for k in range(3)]
    path = write(folder / "rows.jsonl", rows)
    fields = {"question": "qa.q", "answer": "qa.a"}
    row = checked(path=path, fields=fields, keep=["part"], where="part = 'x'")
    assert (row["rows"], row["notes"]) == (3, [])
    assert row["columns"] == {"images": ["image"], "question": ["qa.q"], "answer": ["qa.a"], "": ["note"]}


def test_images_in_the_cells_of_a_large_table_are_not_missed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "part").mkdir()
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="
    write(folder / "part" / "rows.jsonl", [{**row, "image": pixel} for row in ROWS])
    assert checked(path="part/rows.jsonl", image_root=".")["all_rows"]
    monkeypatch.setattr(first_rows, "WHOLE_BYTES", 0)
    row = checked(path="part/rows.jsonl", image_root=".")
    assert (row["all_rows"], row["notes"]) == (False, [])
