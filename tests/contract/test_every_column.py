"""What the summary of a source's columns says is true: for every format, with its own stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.contract.native import FORMATS, JSON, one_of_each_kind, opened, standin, tasks_of_standin, texts_below
from vldata.pipeline.index import read_with_columns
from vldata.schema.reasons import OUTCOMES
from vldata.sources import source_class

PAIRS = [(name, task) for name in FORMATS for task in tasks_of_standin(source_class(name))]
ABOUT_ROWS = {"position", "problem", "detail", "remark"}
"""Columns that say where an exchange stands, or what is wrong with a row: no native column feeds them."""


def read(name: str, task: str, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    turns, columns = read_with_columns(standin(name, folder), task)
    assert columns is not None
    return turns, columns


def filled(turns: pl.DataFrame) -> set[str]:
    """Columns that say anything in a sound row."""
    if "problem" in turns.columns:
        turns = turns.filter(pl.col("problem").is_null())
    lists = [column for column, dtype in turns.schema.items() if isinstance(dtype, pl.List)]
    turns = turns.with_columns(pl.when(pl.col(column).list.len() > 0).then(column) for column in lists)
    return {column for column in turns.columns if turns[column].null_count() < turns.height}


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_each_canonical_column_is_fed_by_a_native_one(name: str, task: str, tmp_path: Path) -> None:
    turns, columns = read(name, task, tmp_path)
    fed = {canonical for feeds in columns["read"].values() for canonical in feeds}
    assert filled(turns) - ABOUT_ROWS <= fed
    assert fed <= set(turns.columns)
    assert not {*columns["read"]} & {*columns["ignored"]}


def named(kind: str, key: str, names: set[str]) -> str | None:
    """The name under which the summary has a key of an object of some kind; None where it stands inside another's."""
    part = kind.rpartition(" ")[2]
    candidates = (f"{part.split('.')[0]}.{key}", f"{Path(kind.split()[0]).stem}.{key}", key)
    return next((name for name in candidates if name in names), None)


@pytest.mark.parametrize("name", FORMATS)
def test_a_native_column_changes_what_it_feeds_and_nothing_else(name: str, tmp_path: Path) -> None:
    """Its text is changed; which rows there are and what is wrong with them may follow from any column."""
    task, wrong = source_class(name).tasks[0], []
    source = standin(name, tmp_path)
    sound, columns = read_with_columns(source, task)
    assert columns is not None
    names = {*columns["read"], *columns["ignored"]}
    for path in (path for path in source.files() if path.suffix in JSON):
        before = path.read_bytes()
        for kind in one_of_each_kind(opened(path).document):
            path.write_bytes(before)
            native = opened(path)
            for holder, key in texts_below(one_of_each_kind(native.document)[kind]):
                own = named(kind if path == source.files()[0] else f"{path.name} {kind}", str(key), names)
                if own is None or isinstance(holder, list):
                    continue
                text = holder[key]
                holder[key] = f"{text} otherwise"
                native.write()
                holder[key] = text
                turns = source.turns(task)
                if turns.height != sound.height:
                    continue
                changed = {column for column in sound.columns if not turns[column].equals(sound[column])}
                stray = changed - {*columns["read"].get(own, ()), *ABOUT_ROWS}
                is_broken = "problem" in turns.columns and turns["problem"].is_in([*OUTCOMES]).sum() > (
                    sound["problem"].is_in([*OUTCOMES]).sum()
                )
                wrong += [(path.name, kind, own, stray)] if stray and not is_broken else []
        path.write_bytes(before)
    assert wrong == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_column_that_is_not_read_is_told_with_what_it_costs(name: str, tmp_path: Path) -> None:
    source = standin(name, tmp_path)
    path = source.files()[0]
    if path.suffix not in JSON:
        return
    native = opened(path)
    kinds = one_of_each_kind(native.document)
    top = next(kind for kind in kinds if not kind.startswith(("info", "images")) and "*" in kind)
    part, task = kinds[top], source_class(name).tasks[0]
    if "conversations" in part:
        task = "instruction" if "image" in part else "text_instruction"
    part["weight_of_loss"], part["annotator_id"] = 0.5, 17
    native.write()
    turns, columns = read_with_columns(source, task)
    assert columns is not None
    cost = turns.filter(pl.col("problem") == "unknown_key").height
    assert columns["unknown"] == {"weight_of_loss": cost}
    assert cost
    assert not any(key.endswith("weight_of_loss") for key in columns["ignored"])
    assert [why for key, why in columns["ignored"].items() if key.endswith("annotator_id")] == ["harmless"]
    ignoring = source.model_copy(update={"ignore": ["weight_of_loss"]})
    _, columns = read_with_columns(ignoring, task)
    assert columns is not None
    assert columns["unknown"] == {}
    assert [why for key, why in columns["ignored"].items() if key.endswith("weight_of_loss")] == ["recipe"]
