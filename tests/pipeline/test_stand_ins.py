"""--standin: any recipe, for any task, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vldata.errors import BuildError, SourceError
from vldata.pipeline.build import Built
from vldata.sources import source_class
from vldata.tasks import task_names

Run = Callable[..., Built]


@pytest.mark.parametrize("task", task_names())
def test_a_table_of_any_task_has_a_stand_in(run: Run, task: str) -> None:
    tree = {"name": "t", "sources": {"t": {"format": "table", "path": "nowhere.csv", "task": task}}}
    built = run(tree, standin=20)
    assert built.manifest["sources"]["t"]["rows_in"] >= 20
    assert built.manifest["sources"]["t"]["rejected"] == 0
    assert built.manifest["totals"]["turns"] >= 20


@pytest.mark.parametrize("task", source_class("llava").tasks)
def test_llava_has_images_or_none_as_the_task_asks(run: Run, task: str) -> None:
    tree = {"name": "t", "sources": {"t": {"format": "llava", "path": "nowhere.json", "task": task}}}
    totals = run(tree, standin=20).manifest["totals"]
    assert totals["samples"] > 0
    assert (totals["images"] > 0) == (task == "instruction")


def test_shares_stay_and_totals_shrink_to_what_there_is(run: Run) -> None:
    source = {"format": "coco_captions", "path": "nowhere.json"}
    tree = {
        "name": "t",
        "sources": {"a": source, "b": source},
        "mixture": {"total": 1_000_000, "max_epochs": 1, "sources": {"a": 1, "b": 3}},
    }
    achieved = {n: s["achieved"]["samples"] for n, s in run(tree, standin=30).manifest["sources"].items()}
    assert achieved == {"a": 10, "b": 30}


def test_counts_become_weights(run: Run) -> None:
    source = {"format": "coco_captions", "path": "nowhere.json"}
    tree = {
        "name": "t",
        "sources": {"a": source, "b": source},
        "mixture": {"sources": {"a": {"count": 20_000}, "b": {"count": 10_000}}},
    }
    achieved = {n: s["achieved"]["samples"] for n, s in run(tree, standin=30).manifest["sources"].items()}
    assert achieved == {"a": 30, "b": 15}


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        ("vqa_open", {"row": "id", "images": "file || '.jpg'", "question": "q", "answer": "answers[1]"}),
        ("vqa_open", {"answer": "answers[1]", "answers": "answers"}),
        ("vqa_open", {"answer": "lower(label)", "question": "TRIM(q)"}),
        ("vqa_open", {"answer": "COALESCE(a, b)"}),
        ("vqa_mc", {"choices": "options", "answer": "CAST(right AS INT)"}),
        ("vqa_mc", {"choices": "options", "answer": "right - 1"}),
        ("true_false", {"statement": "s", "answer": "label = 'yes'"}),
        ("rec", {"boxes": "bbox", "phrase": "ref.text"}),
        ("grounded_caption", {"boxes": "bbox", "phrases": "names", "caption": "text"}),
        ("instruction", {"images": "img", "instruction": "q", "response": "r"}),
    ],
)
def test_a_table_is_written_so_that_its_own_fields_read_it(run: Run, task: str, fields: dict[str, str]) -> None:
    source = {"format": "table", "path": "nowhere.csv", "task": task, "fields": fields}
    report = run({"name": "t", "sources": {"t": source}}, standin=20).manifest["sources"]["t"]
    assert report["rows_out"] >= 20
    assert report["rejected"] == 0


def test_boxes_of_a_stand_in_are_in_the_tables_own_unit(run: Run) -> None:
    source = {"format": "table", "path": "x.csv", "task": "rec", "fields": {"boxes": "b"}, "boxes_are": "fraction"}
    assert run({"name": "t", "sources": {"t": source}}, standin=20).manifest["sources"]["t"]["rejected"] == 0


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"answer": "upper(label)"}, "fields.answer"),
        ({"answer": "a +"}, "fields.answer"),
        ({"answer": "x", "question": "x"}, "fields"),
        ({"boxes": "bbox"}, "fields.boxes"),
    ],
)
def test_fields_that_no_stand_in_can_be_written_for_are_an_error(run: Run, fields: dict[str, str], place: str) -> None:
    source = {"format": "table", "path": "nowhere.csv", "task": "vqa_open", "fields": fields}
    with pytest.raises(SourceError, match=rf"sources\.t\.{place}"):
        run({"name": "t", "sources": {"t": source}}, standin=20)


def test_fields_are_held_against_the_files_that_are_there(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"image": "a.jpg", "question": "What?", "label": "cup"}\n')
    source = {"format": "table", "path": str(path), "task": "vqa_open", "fields": {"answer": "lable"}}
    with pytest.raises(SourceError, match="did you mean 'label'"):
        run({"name": "t", "sources": {"t": source}}, standin=20)


def test_a_source_without_a_sample_of_its_stand_in_is_named(run: Run) -> None:
    source = {"format": "coco_captions", "path": "nowhere.json"}
    tree = {"name": "t", "sources": {"a": source, "b": {**source, "where": "caption = 'nothing of the kind'"}}}
    with pytest.raises(BuildError, match=r"sources\.b.*no sample"):
        run(tree, standin=20)


@pytest.mark.parametrize(
    ("task", "keys"),
    [
        ("vqa_mc", {"fields": {"choices": ["a", "b", "c"], "answer": "right"}}),
        ("vqa_open", {"fields": {"question": "q", "row": "file_stem || '-' || id"}}),
        ("vqa_open", {"fields": {"question": "qas.q", "answer": "qas.a"}, "explode": "qas"}),
        ("vqa_open", {"fields": {"question": "qa.q", "answer": "qa.a"}}),
    ],
)
def test_a_table_in_another_form_has_a_stand_in(run: Run, task: str, keys: dict[str, object]) -> None:
    source = {"format": "table", "path": "nowhere.jsonl", "task": task, **keys}
    report = run({"name": "t", "sources": {"t": source}}, standin=20).manifest["sources"]["t"]
    assert report["rows_out"] >= 20
    assert report["rejected"] == 0


@pytest.mark.parametrize(
    ("keys", "untried"),
    [
        ({"fields": {"question": "qas.q", "answer": "qas.a"}, "explode": "qas"}, "`fields`, `explode`"),
        ({"take": {"first": 3}}, "`take`"),
        ({"fields": {"answer": "a"}, "columns": ["image", "question", "a"]}, "`columns`"),
    ],
)
def test_options_that_a_stand_in_does_not_try_are_told(run: Run, keys: dict[str, object], untried: str) -> None:
    source = {"format": "table", "path": "nowhere.csv", "task": "vqa_open", **keys}
    notes = run({"name": "t", "sources": {"t": source}}, standin=20).manifest["notes"]
    assert f"t: not tried by its stand-in, which is read without: {untried}" in notes


def test_fields_are_held_against_the_columns_that_the_recipe_names(run: Run) -> None:
    keys = {"fields": {"answer": "lable"}, "columns": ["image", "question", "label"]}
    source = {"format": "table", "path": "nowhere.csv", "task": "vqa_open", **keys}
    with pytest.raises(SourceError, match="did you mean 'label'"):
        run({"name": "t", "sources": {"t": source}}, standin=20)
