"""Screening: which turns leave at which stage, why, and how the rest becomes samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.curate.table import rows_of, turns
from tests.pipeline.tables import ROOT, box, columns_of, entry, facts_of, recipe
from vldata.base import Silent
from vldata.curate.exclude import ExclusionList
from vldata.errors import RecipeError
from vldata.pipeline.image_facts import Lookup, place_of
from vldata.pipeline.index import IndexedTurns, keyed_turns
from vldata.pipeline.screen import CuratedSource, ScreenedTurns, ScreenJob, across_sources, screen
from vldata.pipeline.workers import Engine
from vldata.recipe.models import Entry
from vldata.sources import SOURCES, source_class
from vldata.store.store import Store
from vldata.tasks import task_class, task_names

Rows = list[dict[str, Any]]
Ledger = dict[str, tuple[str, str, str, str | None]]

FAULTS = {"row": pl.String, "reason": pl.String, "detail": pl.String}
QA = {"question": "what is it?", "answer": "a cat"}


@pytest.fixture
def indexed(tmp_path: Path) -> Callable[..., IndexedTurns]:
    """Turns as `index` leaves them; where not given, ``row`` counts from a and the image is 1.jpg."""

    def written(rows: Rows, task: str = "vqa_open", key: str = "turns") -> IndexedTurns:
        table = turns(rows, **columns_of(task)).drop("rank")
        path = tmp_path / f"{key}.parquet"
        table.write_parquet(path)
        return IndexedTurns(key, path, {}, table.height)

    return written


def screened(store: Store, one: Entry, found: IndexedTurns, *, group: bool = False, **options: Any) -> ScreenedTurns:
    faults = options.pop("faults", None)
    result = screen(ScreenJob(one, found, group, faults), store=store, seed=options.pop("seed", 7), **options)
    assert isinstance(result, ScreenedTurns)
    return result


def left(result: ScreenedTurns | CuratedSource) -> Ledger:
    """Row -> stage, outcome, reason and detail."""
    table = pl.read_parquet(result.ledger) if isinstance(result, ScreenedTurns) else result.ledger
    assert table["row"].is_unique().all()
    return {row["row"]: tuple(row[c] for c in ("stage", "outcome", "reason", "detail")) for row in table.to_dicts()}


def kept(result: ScreenedTurns) -> str:
    return rows_of(pl.read_ipc(result.turns))


def test_of_many_faults_the_first_stage_is_in_the_ledger(store: Store, indexed: Callable[..., IndexedTurns]) -> None:
    short: dict[str, Any] = {"question": "it?", "answer": "a cat", "answers": ["x"]}
    empty = {**short, "answer": " "}
    unasked = {**empty, "answers": None}
    rows: Rows = [
        {**unasked, "problem": "unparsable_row", "detail": "line 3", "thread": "t", "position": 0},
        unasked,
        unasked,
        unasked,
        empty,
        short,
        {**QA, "answers": ["x"]},
        {**QA, "answers": ["x"]},
        {"question": "how many are there?", "answer": "9", "answers": ["x"], "thread": "t", "position": 1},
        {"question": "what else is there?", "answer": "no", "answers": ["x"]},
    ]
    one = entry(where="ARRAY_LENGTH(answers) = 1", filters={"min_words": 4}, conversation={"dedup": {"by": ["answer"]}})
    result = screened(
        store,
        one,
        indexed(rows),
        faults=pl.DataFrame([("b", "template_error", "line 1: boom")], schema=FAULTS, orient="row"),
        exclude=ExclusionList(frozenset({"vqa/b", "vqa/c", "other/h"}), frozenset(), frozenset()),
    )
    assert kept(result) == "hj"
    assert left(result) == {
        "a": ("read", "rejected", "unparsable_row", "line 3"),
        "b": ("render", "rejected", "template_error", "line 1: boom"),
        "c": ("exclude", "filtered", "excluded", "vqa/c"),
        "d": ("where", "filtered", "where", "ARRAY_LENGTH(answers) = 1"),
        "e": ("check", "rejected", "empty_text", "answer"),
        "f": ("filter", "filtered", "text_too_short", "3 (min_words 4)"),
        "g": ("dedup", "filtered", "duplicate", "kept: h"),
        "i": ("thread", "rejected", "broken_conversation", "lost: a"),
    }
    assert pl.read_parquet(result.ledger).columns == ["source", "row", "stage", "outcome", "reason", "detail"]
    assert pl.read_parquet(result.ledger)["source"].unique().to_list() == ["vqa"]


BOXES = [box(0, 0, 1, 1, phrase="a cat")]
CHECKS: list[tuple[str, dict[str, Any], tuple[str, str | None] | None]] = [
    ("vqa_open", {**QA}, None),
    ("vqa_open", {**QA, "answers": None}, None),
    ("vqa_open", {**QA, "question": None, "image": None}, ("missing_value", "question")),
    ("vqa_open", {**QA, "answer": None}, ("missing_value", "answer")),
    ("vqa_open", {"question": " \n", "answer": None}, ("missing_value", "answer")),
    ("vqa_open", {"question": " \n", "answer": ""}, ("empty_text", "question")),
    ("vqa_open", {**QA, "image": None}, ("no_image", None)),
    ("text_instruction", {"image": None, "instruction": "hello", "response": "good day"}, None),
    ("rec", {"phrase": "a cat", "boxes": BOXES}, None),
    ("rec", {"phrase": "a cat", "boxes": []}, ("no_box", None)),
    ("rec", {"phrase": "a cat", "boxes": None}, ("missing_value", "boxes")),
    ("vqa_mc", {"question": "which?", "choices": ["a", "b"], "answer": 1}, None),
    ("vqa_mc", {"question": "which?", "choices": ["a", "b"], "answer": 2}, ("answer_out_of_range", None)),
    ("vqa_mc", {"question": "which?", "choices": ["a", "b"], "answer": -1}, ("answer_out_of_range", None)),
    ("vqa_mc", {"question": "which?", "choices": ["a"], "answer": 7}, ("too_few_choices", None)),
    ("vqa_mc", {"question": "which?", "choices": ["a", " "], "answer": 0}, ("empty_text", None)),
    ("vqa_mc", {"question": "which?", "choices": ["a", "b", "a "], "answer": 0}, ("equal_choices", None)),
    ("grounded_caption", {"caption": "a cat", "boxes": BOXES}, None),
    ("grounded_caption", {"caption": "a dog", "boxes": BOXES}, ("phrase_not_in_caption", None)),
    ("ocr", {"boxes": BOXES}, None),
    ("ocr", {"boxes": [box(0, 0, 1, 1)]}, ("missing_value", None)),
    ("ocr", {"boxes": [box(0, 0, 1, 1, phrase=" ")]}, ("empty_text", None)),
]


@pytest.mark.parametrize("task", sorted({task for task, _, _ in CHECKS}))
def test_what_a_turn_of_a_task_must_have(store: Store, indexed: Callable[..., IndexedTurns], task: str) -> None:
    cases = [(row, fault) for of, row, fault in CHECKS if of == task]
    result = screened(store, entry(task), indexed([row for row, _ in cases], task))
    expected = {chr(ord("a") + at): ("check", "rejected", *fault) for at, (_, fault) in enumerate(cases) if fault}
    assert left(result) == expected
    assert set(kept(result)) == {chr(ord("a") + at) for at, (_, fault) in enumerate(cases) if not fault}


def test_rows_without_an_image_are_broken_but_where_the_corpus_has_them_on_purpose(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    rows: Rows = [{"question": "which?", "choices": ["a", "b"], "answer": 1, "image": None}]
    table = indexed(rows, "vqa_mc")
    assert left(screened(store, entry("vqa_mc"), table)) == {"a": ("check", "rejected", "no_image", None)}
    assert kept(screened(store, entry("vqa_mc", format="scienceqa", path="problems.json"), table)) == "a"


def test_every_reason_that_a_check_may_give_is_in_the_table_above() -> None:
    declared = {reason for task in task_names() for reason in task_class(task).rejects()}
    checked = {fault[0] for _, _, fault in CHECKS if fault}
    assert checked == declared | {"missing_value", "empty_text", "no_image", "no_box"}


def test_a_url_on_the_exclusion_list_takes_its_turns(store: Store, indexed: Callable[..., IndexedTurns]) -> None:
    rows = [{**QA, "urls": ["http://a/1.jpg"]}, {**QA, "urls": ["http://a/2.jpg"]}, {**QA}]
    exclude = ExclusionList(frozenset(), frozenset(), frozenset({"http://a/2.jpg"}))
    result = screened(store, entry(), indexed(rows), exclude=exclude)
    assert left(result) == {"b": ("exclude", "filtered", "excluded", "http://a/2.jpg")}
    assert kept(result) == "ac"


def test_a_condition_that_cannot_be_used_is_returned_and_nothing_is_kept(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    job = ScreenJob(entry(where="questoin = 'x'"), indexed([QA]), group=True)
    error = screen(job, store=store, seed=7)
    assert isinstance(error, RecipeError)
    assert error.where == "sources.vqa.where"
    assert not (store.root / "screened").exists()


def exchange(thread: str, position: int, instruction: str = "what else is there?", **more: Any) -> dict[str, Any]:
    row = f"{thread}{position}"
    return {
        "row": row,
        "thread": thread,
        "position": position,
        "instruction": instruction,
        "response": f"it is {row}",
        **more,
    }


def test_what_is_left_of_a_conversation_is_filtered_or_broken_like_the_exchange_it_lost(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    rows = [
        exchange("f", 0),
        exchange("f", 1, "no"),  # too short, filtered
        exchange("r", 0),
        exchange("r", 1, problem="unparsable_row"),
        exchange("w", 0),
        exchange("w", 1),
        exchange("m", 0),
        exchange("m", 1, problem="unparsable_row"),
        exchange("m", 2, "no"),
        {**exchange("x", 0), "thread": None},
    ]
    result = screened(store, entry("instruction", filters={"min_words": 5}), indexed(rows, "instruction"))
    assert kept(result) == "w0w1x0"
    assert {row: fate for row, fate in left(result).items() if fate[0] == "thread"} == {
        "f0": ("thread", "filtered", "conversation_filtered", "lost: f1"),
        "r0": ("thread", "rejected", "broken_conversation", "lost: r1"),
        "m0": ("thread", "rejected", "broken_conversation", "lost: m1"),
    }


GROUPED = [
    {**QA, "row": "a", "image": "1.jpg"},
    {**QA, "row": "b", "image": "2.jpg"},
    {**QA, "row": "c", "image": "1.jpg"},
    {**QA, "row": "d", "image": "1.jpg"},
]


@pytest.mark.parametrize(
    ("conversation", "samples"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"max_turns": 2}, ["dc", "b", "a"]),
        ({"max_turns": "all"}, ["dca", "b"]),
        ({"max_turns": "all", "group_by": "none"}, ["d", "c", "b", "a"]),
    ],
)
def test_turns_become_samples_in_rank_order(
    store: Store, indexed: Callable[..., IndexedTurns], conversation: dict[str, Any], samples: list[str]
) -> None:
    result = screened(store, entry(conversation=conversation), indexed(GROUPED), group=True)
    assert result.is_grouped
    found = pl.read_ipc(result.turns)
    by_sample = found.group_by("sample", maintain_order=True).agg(pl.col("row").str.join(""), "place")
    assert by_sample["row"].to_list() == samples
    assert by_sample["sample"].is_sorted()
    assert all(places == list(range(len(places))) for places in by_sample["place"].to_list())
    assert found.filter(place=0)["rank"].to_list() == found.filter(place=0)["sample"].to_list()
    assert not {"problem", "detail", "urls"} & set(found.columns)


def test_turns_that_other_sources_may_take_are_not_grouped_yet(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    result = screened(store, entry(), indexed(GROUPED))
    assert not result.is_grouped
    assert "sample" not in pl.read_ipc_schema(result.turns)


def test_the_seed_and_the_name_of_the_source_decide_the_ranks(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    rows, one = indexed(GROUPED), entry()
    orders = [kept(screened(store, one, rows, group=True, seed=seed)) for seed in (7, 8)]
    orders.append(kept(screened(store, replace(one, name="other"), rows, group=True)))
    assert orders == ["dcba", "adbc", "dacb"]


def test_what_was_screened_before_is_found_again_without_its_turns(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    rows = indexed([*GROUPED, {"question": "", "answer": ""}])
    once = screened(store, entry(), rows, group=True)
    rows.path.unlink()
    assert screened(store, entry(), rows, group=True) == once
    once.ledger.unlink()
    with pytest.raises(FileNotFoundError):
        screened(store, entry(), rows, group=True)


def test_the_key_changes_with_all_that_screening_reads_and_with_no_words(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    rows, fault = indexed(GROUPED), pl.DataFrame([("a", "template_error", "x")], schema=FAULTS, orient="row")
    excluded = ExclusionList(frozenset({"vqa/a"}), frozenset(), frozenset())
    usual = screened(store, entry(), rows).key
    others = [
        screened(store, entry(), indexed(GROUPED, key="changed")),
        screened(store, entry(name="vqa2"), rows),
        screened(store, entry(), rows, seed=8),
        screened(store, entry(), rows, group=True),
        screened(store, entry(conversation={"max_turns": 5}), rows, group=True),
        screened(store, entry(), rows, faults=fault),
        screened(store, entry(), rows, faults=fault.with_columns(row=pl.lit("b"))),
        screened(store, entry(), rows, exclude=excluded),
        screened(store, entry(where="question <> 'x'"), rows),
        screened(store, entry(filters={"min_words": 1}), rows),
        screened(store, entry(conversation={"dedup": {}}), rows),
        screened(store, entry(conversation={"dedup": {"by": "answer"}}), rows),
    ]
    assert len({usual, *(one.key for one in others)}) == 1 + len(others)
    words = {"templates": {"prompts": "many"}, "box_format": "qwen_vl", "images": {"max_side_px": 9}}
    assert screened(store, entry(**words), rows).key == usual


def across(
    store: Store,
    rules: list[dict[str, Any]],
    tables: dict[str, tuple[ScreenedTurns, list[dict[str, Any]]]],
    **settings: Any,
) -> dict[str, CuratedSource]:
    """Compare sources whose images' facts are known."""
    roots = {name: {"task": "vqa_open", "image_root": f"{ROOT}/{name}", **settings} for name in tables}
    whole = recipe(roots, dedup_across=rules)
    facts = {place_of(whole.entries[name]): facts_of(images) for name, (_, images) in tables.items()}
    lookup = Lookup(whole, store, Silent(), Engine(1), seen=facts)
    return across_sources(whole, {name: one for name, (one, _) in tables.items()}, lookup)


def test_a_turn_about_the_same_photograph_stays_in_the_source_listed_first(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    same, other = {"question": "what?", "answer": "a cat"}, {"question": "who?", "answer": "me"}
    first = indexed([{**same, "image": "x/1.jpg"}, {**other, "image": "x/1.jpg"}], key="first")
    second = indexed(
        [
            {**same, "image": "copy.jpg"},  # the same bytes by another name
            {**other, "image": "1.jpg"},  # other bytes by the same name
            {**same, "image": "gone.jpg"},
            {"question": "", "answer": "", "image": "copy.jpg"},
        ],
        key="second",
    )
    tables = {
        "first": (screened(store, entry(name="first"), first), [{"ref": "x/1.jpg", "hash": "same"}]),
        "second": (
            screened(store, entry(name="second"), second),
            [{"ref": "copy.jpg", "hash": "same"}, "1.jpg", {"ref": "gone.jpg", "problem": "image_missing"}],
        ),
    }
    found = across(store, [{"sources": ["first", "second"]}], tables)
    assert set(rows_of(found["first"].turns)) == set("ab")
    assert set(rows_of(found["second"].turns)) == set("bc")
    assert left(found["second"]) == {
        "d": ("check", "rejected", "empty_text", "question"),
        "a": ("dedup_across", "filtered", "duplicate_across", "kept: first/a"),
    }
    assert all(one.turns["sample"].is_sorted() for one in found.values())
    turned = across(store, [{"sources": ["second", "first"]}], tables)
    assert left(turned["first"]) == {"a": ("dedup_across", "filtered", "duplicate_across", "kept: second/a")}


def test_sources_that_no_rule_names_pass_unchanged_and_unopened(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    rows = indexed([QA, {**QA, "image": "2.jpg"}])
    alone = screened(store, entry(name="alone"), rows, group=True)
    found = across(store, [], {"alone": (alone, [])})
    assert found["alone"].turns.equals(pl.read_ipc(alone.turns))
    assert found["alone"].ledger.is_empty()


def test_sources_that_were_compared_are_grouped_afterwards(store: Store, indexed: Callable[..., IndexedTurns]) -> None:
    rows = [{"question": q, "answer": "yes"} for q in ("is it red?", "is it big?")]
    ones = {
        name: (screened(store, entry(name=name), indexed(rows[:many], key=name)), ["1.jpg"])
        for name, many in (("small", 1), ("large", 2))
    }
    rule = {"sources": ["small", "large"]}
    found = across(store, [rule], ones, conversation={"max_turns": "all"})
    assert found["large"].turns.select("row", "place").rows() == [("b", 0)]


CHAIRS: Rows = [
    {"phrase": "the chair", "boxes": [box(0, 0, 1, 1)]},
    {"phrase": "The chair", "boxes": [box(5, 5, 9, 9)]},
    {"phrase": "a table", "boxes": [box(0, 0, 1, 1)]},
]


def test_a_phrase_that_two_things_bear_is_not_asked_for(store: Store, indexed: Callable[..., IndexedTurns]) -> None:
    result = screened(store, entry("rec"), indexed(CHAIRS, "rec"))
    said = '"the chair" has other boxes too on this image'
    assert left(result) == {row: ("check", "filtered", "ambiguous_phrase", said) for row in "ab"}
    assert kept(result) == "c"


def test_nor_where_the_other_one_left_for_another_reason(store: Store, indexed: Callable[..., IndexedTurns]) -> None:
    one = entry("rec", where="phrase = 'The chair'")
    broken = [{**CHAIRS[0], "problem": "is_crowd", "detail": "a crowd region"}, *CHAIRS[1:]]
    found = left(screened(store, one, indexed(broken, "rec")))
    assert {row: reason for row, (_, _, reason, _) in found.items()} == {
        "a": "is_crowd", "b": "ambiguous_phrase", "c": "where",
    }  # fmt: skip


def test_a_box_may_be_described_by_any_phrase_unless_it_is_turned_round(
    store: Store, indexed: Callable[..., IndexedTurns]
) -> None:
    assert not left(screened(store, entry("reg"), indexed(CHAIRS, "reg")))
    assert {*left(screened(store, entry("reg", templates={"flip": 0.5}), indexed(CHAIRS, "reg")))} == {"a", "b"}


@pytest.mark.parametrize("name", [name for name in SOURCES if "rec" in source_class(name).tasks])
def test_no_source_asks_for_one_box_of_a_phrase_that_two_bear(
    store: Store, tmp_path: Path, name: str, indexed: Callable[..., IndexedTurns]
) -> None:
    """Every stand-in, with all its phrases said a second time of other boxes."""
    source = source_class(name)
    options = source.standin(tmp_path / "standin", rows=12, seed=1, task="rec", images=False)
    found = keyed_turns(source(**options).turns("rec"), task_class("rec")(), where=name).drop("key")
    rows = found.to_dicts()
    again = [{**row, "row": f"again/{row['row']}", "boxes": [box(0, 0, 0.5, 0.5)]} for row in rows]
    result = screened(store, entry("rec"), indexed([*rows, *again], "rec"))
    assert not kept(result)
    assert {reason for _, _, reason, _ in left(result).values()} == {"ambiguous_phrase"}
