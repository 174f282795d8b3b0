"""Row ids and keys: native ones, hashes where there are none, and repeats kept apart by contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import entry
from vldata.errors import SourceError
from vldata.pipeline.index import IndexedTurns, index, keyed_turns
from vldata.recipe.load import from_tree
from vldata.schema.turns import KEY
from vldata.sources.reading.answers import TIE
from vldata.sources.standins import write_json
from vldata.store.store import open_store
from vldata.tasks import task_class

TASK = entry("vqa_open").task


def ids(*rows: tuple[str | None, str], **more: Any) -> dict[str, str]:
    """Question -> id of rows given as (native id, question)."""
    table = pl.DataFrame(rows, schema={"row": pl.String, "question": pl.String}, orient="row")
    turns = keyed_turns(table.with_columns(answer=pl.lit("yes"), **more), TASK, where="sources.vqa")
    assert turns["row"].n_unique() == turns[KEY].n_unique() == len(rows)
    return dict(turns.select("question", "row").iter_rows())


def test_native_ids_stay() -> None:
    assert ids(("a", "1?"), ("b", "2?")) == {"1?": "a", "2?": "b"}


def test_repeats_are_numbered_by_their_contents_and_not_by_their_place() -> None:
    numbered = {"1?": "a", "2?": "a~2", "3?": "a~3"}
    assert ids(("a", "1?"), ("a", "2?"), ("a", "3?")) == numbered
    assert ids(("a", "3?"), ("a", "1?"), ("a", "2?")) == numbered


def test_a_native_id_that_is_the_number_of_another_one_is_kept_apart_too() -> None:
    given = (("a", "1?"), ("a", "3?"), ("a~2", "2?"))
    assert ids(*given) == {"1?": "a", "2?": "a~2", "3?": "a~2~2"}
    assert ids(*reversed(given)) == ids(*given)


def test_a_row_without_an_id_is_named_by_its_contents_alone() -> None:
    alone = ids((None, "1?"))
    assert ids((None, "2?"), (None, "1?"))["1?"] == alone["1?"]
    assert alone != ids((None, "1?"), images=pl.lit(["a.jpg"]))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"question": ["q"], "answer": ["a"], "colour": ["red"]}, "a column 'colour' that 'vqa_open' does not know"),
        ({"question": ["q"]}, "no column 'answer', which 'vqa_open' needs"),
        ({"question": ["q"], "answer": ["a"], "problem": ["imagemissing"]}, "unknown reason 'imagemissing'"),
    ],
)
def test_columns_and_reasons_that_nobody_knows_are_refused(columns: dict[str, list[str]], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        keyed_turns(pl.DataFrame(columns), TASK, where="sources.vqa")


def test_what_a_source_says_of_its_turns_is_counted_and_remembered(tmp_path: Path) -> None:
    answers = [{"answer": word} for word in ("a", "b")]
    rows = [{"question_id": k, "image_id": k, "question": f"{k}?"} for k in range(3)]
    write_json(tmp_path / "questions.json", {"data_subtype": "train2014", "questions": rows})
    said = [{"question_id": k, "answers": answers[: 1 + k % 2]} for k in range(3)]
    write_json(tmp_path / "annotations.json", {"annotations": said})
    known = {"format": "okvqa", "path": str(tmp_path / "questions.json"), "image_root": str(tmp_path)}
    recipe = from_tree({"name": "r", "seed": 1, "sources": {"q": known}})
    store = open_store(tmp_path / "store")
    for _ in range(2):
        found = index(recipe.entries["q"], store)
        assert isinstance(found, IndexedTurns)
        assert found.remarks == {TIE: 1}
        assert KEY in pl.read_parquet_schema(found.path)


def test_a_blank_id_is_none() -> None:
    turns = pl.DataFrame({"row": ["", " ", "a"], "images": [["a.jpg"]] * 3, "caption": ["one", "two", "three"]})
    turns = turns.with_columns(problem=pl.lit(None, pl.String), detail=pl.lit(None, pl.String))
    rows = keyed_turns(turns, task_class("caption")(), where="sources.t")["row"].to_list()
    assert len({*rows}) == 3 and rows[2] == "a"
    assert all(len(row) == 16 for row in rows[:2])
