"""A plan: all sources and their problems at once, exact reports, blocks in keyed order, found again by its key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import recipe
from vldata.errors import RecipeErrors, VldataError
from vldata.pipeline import plan as plan_module
from vldata.pipeline.plan import load_templates, plan
from vldata.pipeline.plan_record import Plan
from vldata.pipeline.session import Session, open_session
from vldata.prompts.template import Template
from vldata.recipe.models import Recipe

LETTERS = "abcdefghij"
FIELDS = {"row": "row", "instruction": "instruction", "response": "response"}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "store", 1) as opened:
        yield opened


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Ten instructions without images, whose answers have 2 characters."""
    rows = [{"row": name, "instruction": f"say {name}", "response": f"{name}."} for name in LETTERS]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def of(texts: Path, *names: str, source: Mapping[str, Any] | None = None, **head: Any) -> Recipe:
    """Sources of these names over the same texts."""
    table = {"task": "text_instruction", "path": str(texts), "fields": FIELDS, **(source or {})}
    return recipe({name: table for name in names}, **head)


def keys(planned: Plan) -> list[str]:
    return [block.key for block in planned.blocks]


def test_the_report_of_a_source_adds_up(session: Session, texts: Path) -> None:
    texts.write_text(texts.read_text() + '{"row": "empty", "instruction": "say", "response": ""}\n')
    source = {"where": "row <> 'a'", "max_reject_rate": 0.5}
    report = plan(of(texts, "src", source=source, mixture={"total": 4, "sources": {"src": 1}}), session).sources["src"]
    assert (report.rows_in, report.rows_out, report.filtered, report.rejected, report.not_chosen) == (11, 4, 1, 1, 5)
    assert report.achieved == {"samples": 4, "images": 0, "turns": 4, "answer_chars": 8}
    assert (report.requested_share, report.epochs, report.repeats, report.short) == (1.0, 0.444444, 0, 0)
    assert report.reasons == {"empty_text": 1, "where": 1}
    assert (report.task, report.format) == ("text_instruction", "table")
    assert report.templates.startswith("text_instruction.jinja@")


def test_the_ledger_has_every_turn_that_is_not_in_the_dataset(session: Session, texts: Path) -> None:
    whole = of(texts, "src", source={"where": "row <> 'a'"}, mixture={"total": 4, "sources": {"src": 1}})
    ledger = pl.read_parquet(plan(whole, session).ledger)
    assert ledger.group_by("stage", "outcome", "reason").len().sort("len").rows() == [
        ("where", "filtered", "where", 1),
        ("choose", "not_chosen", "beyond_count", 5),
    ]


def test_repeats_are_counted_and_noted(session: Session, texts: Path) -> None:
    mixture = {"total": 25, "max_epochs": 3, "sources": {"src": 1}}
    planned = plan(of(texts, "src", mixture=mixture, output={"block_rows": 2}), session)
    report = planned.sources["src"]
    assert (report.achieved["samples"], report.rows_out, report.repeats, report.epochs) == (25, 10, 15, 2.5)
    assert planned.notes == ["src runs short and is repeated: 2.50 epochs"]
    assert sum(block.rows for block in planned.blocks) == 25
    passes = [key for key, _ in groupby(keys(planned))]
    assert len(passes) > len(set(passes))  # a block stands elsewhere in every pass


NOTES: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, []),
    ({"where": "row = ''"}, {}, ["src gives nothing: all of its 10 turns are filtered or rejected (where 10)"]),
    ({}, {"splits": {"val": 0.001}}, ["the split 'val' is empty and left out"]),
]


@pytest.mark.parametrize(("source", "head", "notes"), NOTES)
def test_what_a_reader_should_know_is_a_note(
    session: Session, texts: Path, source: dict[str, Any], head: dict[str, Any], notes: list[str]
) -> None:
    planned = plan(of(texts, "src", source=source, **head), session)
    assert [note for note in planned.notes if not source or "left out" not in note] == notes


def test_a_file_without_rows_is_noted(session: Session, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("row,instruction,response\n")
    assert "src has no rows" in plan(of(empty, "src"), session).notes


def test_a_plan_is_found_again_by_its_key(session: Session, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan(of(texts, "src"), session)
    monkeypatch.setattr(plan_module, "screen", None)  # nothing may be worked out
    assert plan(of(texts, "src"), session) == replace(first, num_new_blocks=0)


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"seed": 8}),
    ({}, {"mixture": {"total": 5, "sources": {"src": 1}}}),
    ({}, {"splits": {"val": 0.5}}),
    ({"where": "row <> 'a'"}, {}),
    ({"conversation": {"max_turns": 2}}, {}),
    ({"image_root": "/elsewhere"}, {}),
]


@pytest.mark.parametrize(("source", "head"), CHANGES)
def test_whatever_decides_a_plan_is_in_its_key(
    session: Session, texts: Path, source: dict[str, Any], head: dict[str, Any]
) -> None:
    before = plan(of(texts, "src"), session)
    assert plan(of(texts, "src", source=source, **head), session).key != before.key
    assert plan(of(texts, "src"), session, limit=3).key != before.key


def test_a_changed_file_and_a_changed_template_are_another_plan(session: Session, texts: Path, tmp_path: Path) -> None:
    words = "{% block user %}{{ instruction }}{% endblock %}{% block assistant %}{{ response }}{% endblock %}"
    whole = of(texts, "src", source={"templates": {"path": str(tmp_path)}})
    (tmp_path / "text_instruction.jinja").write_text(words)
    before = plan(whole, session)
    (tmp_path / "text_instruction.jinja").write_text(words.replace("}}", "}}!"))
    session.templates.clear()
    other_words = plan(whole, session)
    texts.write_text(texts.read_text().replace("say a", "say ah"))
    other_rows = plan(whole, session)
    assert len({before.key, other_words.key, other_rows.key}) == 3
    assert keys(before) != keys(other_words) != keys(other_rows)
    assert before.inputs != other_rows.inputs


def test_the_order_of_blocks_is_that_of_no_recipe(session: Session, texts: Path) -> None:
    small = {"block_rows": 2}
    one = plan(of(texts, "x", "y", output=small), session)
    other = plan(of(texts, "y", "x", output=small), session)
    assert keys(one) == keys(other)
    assert [block.source for block in one.blocks] != sorted(block.source or "" for block in one.blocks)
    alone = plan(of(texts, "x", output=small), session)
    assert keys(alone) == [block.key for block in one.blocks if block.source == "x"]


def test_splits_stand_one_after_the_other(session: Session, texts: Path) -> None:
    planned = plan(of(texts, "x", output={"block_rows": 2}, splits={"val": 0.5}), session)
    splits = [block.split for block in planned.blocks]
    assert splits == sorted(splits)
    assert set(splits) == {"train", "val"}


def test_shards_of_the_layout_rows_hold_every_source(session: Session, texts: Path) -> None:
    planned = plan(of(texts, "x", "y", output={"layout": "rows", "block_rows": 15}), session)
    assert [(block.source, block.rows) for block in planned.blocks] == [(None, 15), (None, 5)]
    assert {key: len(shard.rows) for key, shard in planned.shards.items()} == dict(
        zip(keys(planned), (15, 5), strict=True)
    )


def test_a_session_that_is_not_shared_forgets_the_tables_of_a_plan(session: Session, texts: Path) -> None:
    plan(of(texts, "src"), session)
    assert not session.laid_out
    session.is_shared = True
    plan(of(texts, "src", seed=8), session)
    assert session.laid_out
    assert session.candidates.chosen


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"path": "/nowhere/x.jsonl"}, "/nowhere/x.jsonl"),
    ({"where": "colour = 'red'"}, "where"),
    ({"task": "vqa_mc"}, "choices"),
    ({"task": "instruction", "fields": {**FIELDS, "images": "row"}}, "broken"),
]


@pytest.mark.parametrize(("source", "word"), PROBLEMS)
def test_the_problems_of_all_sources_are_reported_together(
    session: Session, texts: Path, source: dict[str, Any], word: str
) -> None:
    with pytest.raises(RecipeErrors) as caught:
        plan(of(texts, "x", "y", source=source), session)
    assert [error.where.split(":")[0].split(".")[1] for error in caught.value.errors] == ["x", "y"]
    assert all(word in str(error) for error in caught.value.errors)
    with pytest.raises(VldataError) as alone:
        plan(of(texts, "x", source=source), session)
    assert not isinstance(alone.value, RecipeErrors)


def test_the_template_of_every_source_is_loaded_once_a_session(texts: Path) -> None:
    loaded: dict[str, Template] = {}
    first = load_templates(of(texts, "x", "y"), loaded)
    assert list(first) == ["x", "y"]
    again = load_templates(of(texts, "x", "y"), loaded)
    assert all(again[name] is first[name] for name in first)
    assert load_templates(of(texts, "x"), {})["x"].digest == first["x"].digest


def test_one_fault_of_a_template_that_two_sources_use_is_one_problem(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "text_instruction.jinja").write_text("{% block user %}{{ colour }}{% endblock %}")
    options = {"templates": {"path": str(tmp_path)}}
    counts = []
    for names in ("x", "xy"):
        with pytest.raises(RecipeErrors) as caught:
            load_templates(of(texts, *names, source=options), {})
        counts.append(len(caught.value.errors))
    assert counts[0] == counts[1]
