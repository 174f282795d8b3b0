"""The summary of native columns: what each reader says while it reads, and what it comes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from vldata.dataset.columns import ColumnLine, column_lines
from vldata.pipeline.index import read_with_columns
from vldata.sources.llava import Llava
from vldata.sources.reading.columns import listening, note_columns
from vldata.sources.reading.native_types import ID, TEXT
from vldata.sources.reading.rows import typed
from vldata.sources.table import Table


def columns_of(rows: list[Any], folder: Path, task: str = "vqa_open", **options: Any) -> dict[str, Any]:
    (folder / "rows.json").write_text(json.dumps(rows))
    _, columns = read_with_columns(Table(path=str(folder / "rows.json"), **options), task)
    assert columns is not None
    return columns


ROW = {"pic": "a.jpg", "question": "What?", "answer": "cup", "note": "n", "likes": 3, "clip_score": 0.5, "tool": "x"}


def test_of_a_table_what_the_recipe_names_is_read_and_the_rest_has_its_reason(tmp_path: Path) -> None:
    options = {"fields": {"images": "pic"}, "keep": ["clip_score"], "ignore": ["tool"]}
    assert columns_of([ROW, {**ROW, "later": 1}], tmp_path, **options) == {
        "read": {"pic": ["images"], "question": ["question"], "answer": ["answer"]},
        "kept": ["clip_score"],
        "ignored": {"note": "harmless", "likes": "unread", "tool": "recipe", "later": "unread"},
        "unknown": {},
    }


def test_an_expression_over_several_columns_is_fed_by_each(tmp_path: Path) -> None:
    fields = {"images": "pic", "question": "question || ' ' || note"}
    read = columns_of([ROW], tmp_path, fields=fields)["read"]
    assert read == {"pic": ["images"], "question": ["question"], "note": ["question"], "answer": ["answer"]}


def test_columns_of_a_second_file_are_those_of_the_source_too(tmp_path: Path) -> None:
    for name, row in (("a", ROW), ("b", {**ROW, "answers": ["cup", "mug"]})):
        (tmp_path / f"{name}.json").write_text(json.dumps([row]))
    _, columns = read_with_columns(Table(path=str(tmp_path / "*.json"), fields={"images": "pic"}), "vqa_open")
    assert columns is not None
    assert columns["read"]["answers"] == ["answers"]


def test_of_conversations_the_keys_of_all_rows_are_seen(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup."}]
    rows = [
        {"id": "a", "image": "a.jpg", "conversations": talk, "system_prompt": "Be brief."},
        {"id": "b", "image": "b.jpg", "conversations": talk, "model": "m"},
        {"id": "c", "image": "c.jpg", "conversations": talk, "rejected": "A dog."},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    _, columns = read_with_columns(Llava(path=str(tmp_path / "rows.json")), "instruction")
    assert columns == {
        "read": {
            "conversations": ["instruction", "response", "system"],
            "system_prompt": ["system"],
            "image": ["images"],
            "id": ["thread", "row"],
        },
        "kept": [],
        "ignored": {"model": "harmless"},
        "unknown": {"rejected": 1},
    }


def test_a_field_that_no_row_has_is_not_read() -> None:
    with listening() as seen:
        typed(
            [{"id": 1}, {"id": 2, "lang": "en"}],
            {"id": ID.to("row"), "caption": TEXT},
            optional={"caption"},
            ignored=(),
        )
    turns = pl.DataFrame({"row": ["1", "2"]})
    assert seen.summary(turns, ignore=[], kept=[]) == {
        "read": {"id": ["row"]}, "kept": [], "ignored": {"lang": "harmless"}, "unknown": {},
    }  # fmt: skip


def test_nobody_hears_what_is_said_after() -> None:
    with listening() as seen:
        pass
    note_columns({"caption": ("caption",)})
    assert seen.summary(pl.DataFrame({"caption": ["x"]}), ignore=[], kept=[]) is None


@pytest.mark.parametrize("key", ["it's", 'a "b"', "both ' and \"", "a\\b", "new\nline"])
def test_a_key_with_quotation_marks_is_counted_under_its_name(key: str, tmp_path: Path) -> None:
    detail = f"annotation 3: {key!r} is not read here"
    turns = pl.DataFrame({"problem": ["unknown_key", None], "detail": [detail, None]})
    with listening() as seen:
        note_columns({}, [key])
    summary = seen.summary(turns, ignore=[], kept=[])
    assert summary is not None
    assert (summary["unknown"], summary["ignored"]) == ({key: 1}, {})


def test_lines_put_columns_of_one_fate_together() -> None:
    columns = {
        "read": {"id": ["row"], "image_id": ["images"], "file": ["images"], "split": []},
        "kept": ["score"],
        "ignored": {"area": "harmless", "tools": "recipe", "likes": "unread", "height": "harmless"},
        "unknown": {"mask": 1200},
    }
    assert column_lines(columns) == [
        ColumnLine(("id",), "row", is_fed=True),
        ColumnLine(("image_id", "file"), "images", is_fed=True),
        ColumnLine(("split",), "(which rows)", is_fed=False),
        ColumnLine(("score",), "kept for `where`", is_fed=False),
        ColumnLine(("area", "height"), "ignored: changes nothing of what is learnt", is_fed=False),
        ColumnLine(("tools",), "ignored: the recipe says so", is_fed=False),
        ColumnLine(("likes",), "not read: the recipe names others", is_fed=False),
        ColumnLine(("mask",), "unknown: 1,200 turns rejected", is_fed=False, turns=1200),
    ]
    assert column_lines(None) == []


def test_objects_of_a_conversation_feed_its_boxes(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "<image>Find it."}, {"role": "assistant", "content": "<bbox>"}]
    row = {"id": "a", "images": ["a.png"], "messages": said, "objects": {"ref": [], "bbox": [[1, 2, 3, 4]]}}
    columns = columns_of([row], tmp_path, "instruction")
    assert columns["read"]["objects"] == ["boxes"] and columns["ignored"] == {}
