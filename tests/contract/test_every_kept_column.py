"""``keep``: a native column of any format goes along as the file writes it, and changes nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.contract.native import FORMATS, JSON, VERBATIM, is_sound, kind_of, objects, opened, said, standin
from vldata.curate.where import where
from vldata.errors import SourceError
from vldata.pipeline.index import keyed_turns
from vldata.schema.turns import KEPT_PREFIX, META
from vldata.sources import source_class
from vldata.sources.base import Source
from vldata.tasks import task_class

OF_LINES = ("flickr8k", "multi30k")
"""Formats whose files have no columns."""
OF_TABLES = ("image_folder", "screen_annotation", "table", "tfrecord", "url_table", "webdataset")
OF_OBJECTS = [name for name in FORMATS if name not in (*OF_LINES, *OF_TABLES)]
NAME = "clip_quality"
"""A key that no format reads, and none may: it says nothing of what is learnt."""


def given_scores(source: Source) -> set[str]:
    """Write a score into every object of a source's files, each another one; the texts that stand there then."""
    scores: set[str] = set()
    for path in source.files():
        if path.suffix not in (*JSON, ".p"):
            continue
        native = opened(path)
        for number, (at, part) in enumerate(list(objects(native.document))):
            if "label" not in kind_of(at, native.document):  # answers by their scores are no records
                part["meta"] = {NAME: number + 0.5 if path.suffix == ".p" else f"{VERBATIM}{number}.50"}
                scores.add(f"{number}.5" if path.suffix == ".p" else f"{number}.50")
        native.write()
    return scores


PAIRS = [(name, task) for name in OF_OBJECTS for task in source_class(name).tasks]


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_value_inside_each_record_goes_along_with_its_turns(name: str, task: str, tmp_path: Path) -> None:
    source = standin(name, tmp_path)
    before = source.turns(task)
    scores = given_scores(source)
    keeping = source.model_validate(
        {**source.model_dump(exclude_computed_fields=True), "keep": f"meta.{NAME}", "meta": True}
    )
    turns = keeping.read(task)
    assert said(turns.select(before.columns)) == said(before)
    sound = turns.filter(is_sound(turns))
    values = sound[f"{KEPT_PREFIX}meta.{NAME}"]
    assert values.null_count() == 0 and values.n_unique() > 1
    for text in sound[META].to_list():
        json.loads(text)
        written = text.removeprefix(f'{{"meta.{NAME}":').removesuffix("}").strip("[]").split(",")
        assert {*written} <= scores


@pytest.mark.parametrize("name", [name for name in OF_OBJECTS if name != "coco_instances"])
def test_where_sees_a_native_column(name: str, tmp_path: Path) -> None:
    task = task_class(source_class(name).tasks[0])()
    source = standin(name, tmp_path)
    given_scores(source)
    keeping = source.model_copy(update={"keep": [f"meta.{NAME}"]})
    turns = keyed_turns(keeping.read(task.name).drop("remark", strict=False), task, where="s")
    values = turns[f"{KEPT_PREFIX}meta.{NAME}"]
    middle = values.median()
    cut = where(turns, f"meta.{NAME} > {middle}", "s.where")
    assert 0 < cut.kept.height < turns.height
    assert cut.kept.height == values.filter(values > middle).len()


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "table"])
def test_a_name_that_no_file_has_is_an_error(name: str, tmp_path: Path) -> None:
    source = standin(name, tmp_path)
    scores = given_scores(source)
    keeping = source.model_copy(update={"keep": ["clip_qualitty"]})
    with pytest.raises(SourceError, match="no column 'clip_qualitty' in any file") as error:
        keeping.read(source.tasks[0])
    if scores:
        assert "clip_quality" in error.value.fix


@pytest.mark.parametrize("name", FORMATS)
def test_a_canonical_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="canonical"):
        source_class(name)(path="x", keep="images")
    with pytest.raises(ValueError, match="no column is kept"):
        source_class(name)(path="x", meta=True)


def test_columns_of_tables_go_along_with_their_own_types(tmp_path: Path) -> None:
    own = {"url_table": "width", "screen_annotation": "lang", "tfrecord": "width", "webdataset": "status"}
    for name, column in own.items():
        source = standin(name, tmp_path / name)
        (path,) = source.files()
        if path.suffix == ".csv":
            head, *lines = path.read_text().splitlines()
            path.write_text("".join(f"{line}\n" for line in (f"{head},lang", *(f"{line},en" for line in lines))))
        turns = source.model_copy(update={"keep": [column]}).read(source.tasks[0])
        assert turns[KEPT_PREFIX + column].dtype == (pl.Int64 if column == "width" else pl.String)
        assert turns[KEPT_PREFIX + column].null_count() == 0
