"""What every task promises, ours or a newcomer; only `IN_THEIR_OWN_WORDS` names any."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from vldata.codecs.base import Codec
from vldata.prompts.models import Templates
from vldata.prompts.render import render
from vldata.prompts.template import load
from vldata.schema.boxes import Box
from vldata.schema.keyed import string_keys
from vldata.schema.reasons import REJECTED
from vldata.schema.turns import COMMON, KEY
from vldata.tasks import TASKS, task_class
from vldata.tasks.base import Task

IN_THEIR_OWN_WORDS = {"instruction", "text_instruction"}
"""Tasks whose questions are written by the source, so that a template has nothing to vary."""

NUM_ROWS = 8


class Stars(Codec):
    name = "stars"

    def encode(self, boxes: Sequence[Box]) -> str:
        return "*" * len(boxes)


def example(task: Task) -> pl.DataFrame:
    """Rows made from nothing but the declared columns: each text is its column's name and the row's number."""

    def value(name: str, dtype: Any, row: int) -> Any:
        if isinstance(dtype, pl.List):
            return [
                value(f"{name} {i}", dtype.inner, row) for i in range(1 if isinstance(dtype.inner, pl.Struct) else 2)
            ]
        if isinstance(dtype, pl.Struct):
            fields = {field.name: value(field.name, field.dtype, row) for field in dtype.fields}
            phrase = f"{task.texts[0]} {row}" if task.texts else f"{name} {row}"
            return {**fields, "phrase": phrase, "x1": 9.0, "y1": 9.0}
        return {pl.String: f"{name} {row}", pl.Boolean: row % 2 == 0, pl.Int64: row % 2}.get(dtype, 0)

    columns = {name: [value(name, dtype, row) for row in range(NUM_ROWS)] for name, dtype in task.columns.items()}
    turns = pl.DataFrame(columns, schema=task.columns)
    return turns.with_columns(pl.Series(KEY, string_keys(map(str, range(NUM_ROWS))), dtype=pl.UInt64))


def prepared(task: Task) -> dict[str, list[Any]]:
    table = task.prepare(example(task), seed=1, salt="s")
    columns = {name: table[name].to_list() for name in table.columns if name != KEY}
    if task.needs_box:
        boxes = [[(box["phrase"], Box(0, 0, 0.5, 1)) for box in row] for row in columns["boxes"]]
        columns |= task.write_boxes(columns, boxes, Stars())
    return columns


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    return task_class(request.param)()


def test_it_is_called_what_its_class_says(task: Task) -> None:
    assert task_class(task.name) is type(task)


def test_it_says_what_it_is_in_one_line_and_shows_a_turn(task: Task) -> None:
    assert task.about and "\n" not in task.about and task.about[0].islower() and not task.about.endswith(".")
    assert task.__doc__ and "In: " in task.__doc__ and "Out: " in task.__doc__


def test_its_declarations_fit_together(task: Task) -> None:
    assert not task.columns.keys() & COMMON.keys()
    assert task.optional <= task.columns.keys()
    assert all(task.columns[name] == pl.String for name in task.texts)
    assert not task.optional & set(task.texts)
    assert task.answer_column is None or task.answer_column in task.columns
    assert task.needs_box == ("boxes" in task.columns)


def test_it_rejects_for_known_reasons_and_nothing_that_is_sound(task: Task) -> None:
    found = example(task).select(**task.rejects())
    assert set(found.columns) <= REJECTED.keys()
    assert all(dtype == pl.Boolean for dtype in found.dtypes)
    assert not any(found[name].any() for name in found.columns)


def test_its_checks_endure_nulls(task: Task) -> None:
    nulls = pl.DataFrame({name: [None] for name in task.columns}, schema=task.columns)
    found = nulls.select(**task.rejects())
    assert not any(found[name].any() for name in found.columns), "a null is missing_value, which others report"


def test_preparing_keeps_the_rows_and_their_order(task: Task) -> None:
    before = example(task)
    after = task.prepare(before, seed=1, salt="s")
    assert after[KEY].to_list() == before[KEY].to_list()
    assert set(before.columns) <= set(after.columns)
    assert after.equals(task.prepare(before, seed=1, salt="s"))
    assert before[3:4].pipe(task.prepare, seed=1, salt="s").equals(after[3:4])


def test_preparing_no_rows_gives_the_same_columns(task: Task) -> None:
    none = task.prepare(example(task)[:0], seed=1, salt="s")
    assert none.schema == task.prepare(example(task), seed=1, salt="s").schema


def test_templates_get_the_columns_that_they_may_name(task: Task) -> None:
    assert task.template_columns() == prepared(task).keys()


def test_its_helpers_travel_between_processes(task: Task) -> None:
    names = pickle.loads(pickle.dumps(task.template_names()))
    assert names.columns == task.template_columns()
    assert names.helpers.keys() == task.template_helpers().keys()


@pytest.mark.parametrize("per", ["task", "dataset", "instruction", "dataset_name", "task_name"])
@pytest.mark.parametrize("prompts", ["one", "many"])
def test_its_template_puts_every_row_into_words(task: Task, per: Any, prompts: Any) -> None:
    options = Templates(per=per, prompts=prompts, flip=0.5)
    template = load(task.name, task.template_names(), options)
    keys = np.linspace(0, 2**64 - 2**12, NUM_ROWS).astype(np.uint64)
    done = render(
        template,
        prepared(task),
        num_rows=NUM_ROWS,
        options=options,
        variant_keys=keys,
        flip_keys=keys[::-1].copy(),
        dataset="corpus",
    )
    assert done.failed == {}
    assert all(done.user) and all(done.assistant)
    assert len(set(done.assistant)) > 1, "the answer does not depend on the row"


def test_it_can_be_asked_in_five_ways(task: Task) -> None:
    if task.name in IN_THEIR_OWN_WORDS:
        pytest.skip("its questions are written by the source")
    assert len(load(task.name, task.template_names(), Templates()).file.wordings("user")) >= 5
