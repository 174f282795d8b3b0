"""`vldata check`: all that is wrong with a recipe at once, and what a build would stop at, found in the first rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.pipeline.tables import recipe
from vldata.errors import RecipeErrors
from vldata.pipeline.check import check, formats


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Any]:
    """A source without a fault."""
    row = {"image": "a.jpg", "question": "What?", "answer": "cup", "choices": ["cup", "jar"], "right": 0}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n")
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    return {"task": "vqa_open", "path": str(tmp_path / "rows.jsonl"), "image_root": str(tmp_path)}


def problems(*sources: dict[str, Any], **head: Any) -> list[tuple[str, str]]:
    """Where each problem lies and what it is."""
    with pytest.raises(RecipeErrors) as caught:
        check(recipe({f"s{number}": source for number, source in enumerate(sources)}, **head))
    return [(error.where, error.problem) for error in caught.value.errors]


def columns(read: dict[str, list[str]], *unread: str) -> dict[str, Any]:
    return {"read": read, "kept": [], "ignored": dict.fromkeys(unread, "unread"), "unknown": {}}


def test_a_sound_recipe_is_listed_source_by_source(source: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text((tmp_path / "rows.jsonl").read_text().replace("What", "Which"))
    several = {"task": "vqa_mc", "path": str(tmp_path / "*.jsonl"), "fields": {"answer": "right"}}
    rows = check(recipe({"one": source, "two": {**source, **several}}))
    assert [row.pop("template").partition("@")[0] for row in rows] == ["vqa_open.jinja", "vqa_mc.jinja"]
    read = {"image": ["images"], "question": ["question"]}
    one = {"source": "one", "task": "vqa_open", "files": 1, "rows": 1}
    two = {"source": "two", "task": "vqa_mc", "files": 2, "rows": 2}
    alike: dict[str, Any] = {"format": "table", "all_rows": True, "notes": []}
    assert rows == [
        {**one, **alike, "columns": columns({**read, "answer": ["answer"]}, "choices", "right")},
        {**two, **alike, "columns": columns({**read, "choices": ["choices"], "right": ["answer"]}, "answer")},
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
