"""Rare types of Arrow and Parquet columns: read as what their writer saw, or said to be no text."""

import datetime

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vldata.errors import SourceError
from vldata.schema.turns import KEPT_PREFIX
from vldata.sources.table import Table

ROWS = {"id": [1, 2, 3], "image": ["a.jpg", "b.jpg", "c.jpg"], "question": ["How much?"] * 3}


def write(folder, form, table):
    path = folder / f"t.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)
    return str(path)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_half_floats_have_their_shortest_digits(tmp_path, form):
    table = pa.table({**ROWS, "answer": pa.array([0.1, 2, None], pa.float16())})
    assert Table(path=write(tmp_path, form, table)).turns("vqa_open")["answer"].to_list() == ["0.1", "2", None]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_an_extension_type_is_what_it_stores(tmp_path, form):
    stored = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["two", "three", None]))
    turns = Table(path=write(tmp_path, form, pa.table({**ROWS, "answer": stored}))).turns("vqa_open")
    assert turns["answer"].to_list() == ["two", "three", None]


def test_a_span_of_time_is_said_to_be_no_text(tmp_path):
    table = pa.table({**ROWS, "answer": pa.array([datetime.timedelta(1)] * 3)})
    with pytest.raises(SourceError, match=r"Duration.*not text"):
        Table(path=write(tmp_path, "parquet", table)).turns("vqa_open")


ROLE = datasets.ClassLabel(names=["user", "assistant"])
TALKS = datasets.Features(
    {
        "id": datasets.Value("string"),
        "image": datasets.Value("string"),
        "messages": [{"role": ROLE, "content": datasets.Value("string")}],
        "seen": [{"what": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"]))}],
    }
)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_classes_inside_lists_and_structs_have_names_wherever_these_are_read_whole(tmp_path, form):
    said = [{"role": 0, "content": "<image>What?"}, {"role": 1, "content": "That."}]
    row = {"id": "a", "image": "a.jpg", "messages": said, "seen": [{"what": [1, 0]}, {"what": [-1]}]}
    table = datasets.Dataset.from_list([row], features=TALKS).with_format("arrow")[:]
    turns = Table(path=write(tmp_path, form, table), keep=["seen"]).read("instruction")
    assert turns.select("instruction", "response", "problem").rows() == [("What?", "That.", None)]
    assert turns[KEPT_PREFIX + "seen"].to_list()[0] == [{"what": ["dog", "cat"]}, {"what": [None]}]
