import json

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.schema.turns import BOX, SIZE
from vldata.sources.reading.boxes import EDGE_PX, box_of
from vldata.sources.reading.files import open_json
from vldata.sources.reading.image_names import checked_pattern, image_name
from vldata.sources.reading.native_types import FLAG, ID, SIDE, TEXT, TEXTS, WHOLE, XYWH, shown
from vldata.sources.reading.rows import (
    files_named,
    image_sizes,
    list_of_rows,
    note,
    one_image,
    rows_by_id,
    rows_under,
    typed,
)

KINDS = {
    "TEXT": TEXT,
    "ID": ID,
    "WHOLE": WHOLE,
    "FLAG": FLAG,
    "SIDE": SIDE,
    "TEXTS": TEXTS,
    "XYWH": XYWH,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def problems(table):
    return table["problem"].to_list()


def test_rows_that_fit_become_columns_without_a_problem():
    table = typed([{"a": "x", "b": 1}, {"a": "ÿ", "b": -2}], {"a": TEXT, "b": WHOLE})
    assert table.to_dict(as_series=False) == {
        "a": ["x", "ÿ"],
        "b": [1, -2],
        "problem": [None, None],
        "detail": [None, None],
    }


def test_an_absent_or_null_field_is_a_missing_value_and_the_rows_around_it_keep_theirs():
    table = typed([{"a": "x"}, {}, {"a": None}, {"a": "y"}], {"a": TEXT})
    assert table["a"].to_list() == ["x", None, None, "y"]
    assert problems(table) == [None, "missing_value", "missing_value", None]
    assert table["detail"].to_list() == [None, "no 'a'", "no 'a'", None]


def test_an_optional_field_may_be_absent_but_not_of_another_kind():
    table = typed([{}, {"a": None}, {"a": [7]}, {"a": "y"}], {"a": TEXT}, optional={"a"})
    assert table["a"].to_list() == [None, None, None, "y"]
    assert problems(table) == [None, None, "unparsable_row", None]
    assert table["detail"][2] == "'a' is [7], not text"


def test_the_first_misfit_of_a_row_is_the_one_reported():
    table = typed([{"a": [1], "b": []}], {"a": TEXT, "b": TEXT})
    assert table["detail"].to_list() == ["'a' is [1], not text"]


def test_a_row_that_is_no_object_or_no_json_is_unparsable():
    table = typed([[1, 2], "text", None, ValueError("line 3 is not JSON"), {"a": "x"}], {"a": TEXT})
    assert problems(table) == ["unparsable_row"] * 4 + [None]
    assert table["detail"].to_list()[:4] == [
        "not an object: [1, 2]",
        "not an object: 'text'",
        "not an object: None",
        "line 3 is not JSON",
    ]


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (ID, 7, "7"),
        (ID, "007", "007"),
        (ID, 2.0, "2"),
        (ID, 12345678901234567890123, "12345678901234567890123"),
        (TEXT, 23.5, "23.5"),
        (TEXT, 3, "3"),
        (TEXTS, ["a", 2, 0.5], ["a", "2", "0.5"]),
        (SIDE, 80.0, 80),
        (SIDE, "80", 80),
        (SIDE, "80.0", 80),
        (WHOLE, 421.0, 421),
        (FLAG, 1, True),
        (FLAG, False, False),
        (SIDE, 640, 640),
        (WHOLE, 2**63 - 1, 2**63 - 1),
        (TEXTS, [], []),
        (TEXTS, ["a", ""], ["a", ""]),
        (XYWH, [1, 2.5, 3, 4], [1.0, 2.5, 3.0, 4.0]),
    ],
)
def test_each_kind_reads(kind, value, read):
    column = typed([{"a": value}], {"a": kind})["a"]
    assert column.to_list() == [read]
    assert column.dtype == kind.dtype


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (TEXT, True),
        (TEXT, "half of \ud83d"),
        (TEXT, ["a"]),
        (ID, True),
        (ID, "\udc00"),
        (TEXT, {"a": 1}),
        (WHOLE, 2**63),
        (WHOLE, 1.5),
        (SIDE, 80.5),
        (SIDE, "wide"),
        (SIDE, float("inf")),
        (WHOLE, True),
        (WHOLE, "1"),
        (FLAG, 2),
        (FLAG, "true"),
        (SIDE, 0),
        (SIDE, -3),
        (SIDE, 2**31),
        (TEXTS, "ab"),
        (TEXTS, ["a", [1]]),
        (TEXT, float("nan")),
        (TEXTS, ["a", None]),
        (TEXTS, ["\ud83d"]),
        (XYWH, [1, 2, 3]),
        (XYWH, [1, 2, 3, 4, 5]),
        (XYWH, [1, 2, 3, "4"]),
        (XYWH, [1, 2, 3, None]),
        (XYWH, [1, 2, 3, True]),
        (XYWH, [1, 2, 3, float("nan")]),
        (XYWH, [1, 2, 3, float("inf")]),
        (XYWH, [1, 2, 3, 10**400]),
    ],
)
def test_each_kind_refuses(kind, value):
    table = typed([{"a": value}, {"a": None}], {"a": kind})
    assert table["a"].to_list() == [None, None]
    assert problems(table) == ["unparsable_row", "missing_value"]
    assert kind.name in table["detail"][0]


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(JSON | st.fixed_dictionaries({"a": JSON}), max_size=6))
def test_any_json_keeps_its_rows_and_its_type_and_only_sound_rows_have_no_problem(kind, rows):
    table = typed(rows, {"a": KINDS[kind]})
    assert table.height == len(rows)
    assert table["a"].dtype == KINDS[kind].dtype
    assert (table["a"].is_null() == table["problem"].is_not_null()).all()
    assert (table["problem"].is_null() == table["detail"].is_null()).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optional", [(), ("a",)])
@given(rows=st.lists(JSON | st.fixed_dictionaries({"a": JSON}), max_size=6))
def test_rows_that_are_still_encoded_read_as_decoded_ones(kind, optional, rows):
    written = [json.dumps(row) for row in rows]
    encoded = [msgspec.Raw(text) for text in written]
    expected = typed([json.loads(text) for text in written], {"a": KINDS[kind]}, optional=optional)
    assert typed(encoded, {"a": KINDS[kind]}, optional=optional).equals(expected)


def test_an_encoded_row_that_is_no_json_is_one_unparsable_row():
    table = typed([msgspec.Raw(text) for text in ('{"a": "x"}', '{"a": tru}', "[]")], {"a": TEXT})
    assert table["a"].to_list() == ["x", None, None]
    assert problems(table) == [None, "unparsable_row", "unparsable_row"]


def test_more_encoded_rows_than_are_decoded_at_a_time_keep_their_order():
    table = typed([msgspec.Raw(f'{{"a": {n}, "b": null}}') for n in range(50_001)], {"a": WHOLE})
    assert table["a"].to_list() == list(range(50_001))


def test_no_rows_give_an_empty_table_of_the_same_columns():
    table = typed([], {"a": TEXTS, "b": XYWH, "c": ID})
    assert table.height == 0
    assert table.columns == ["a", "b", "c", "problem", "detail"]


def test_lists_of_many_rows_stay_with_their_rows():
    rows = [{"a": [str(n)] * (n % 3)} for n in range(100)]
    assert typed(rows, {"a": TEXTS})["a"].to_list() == [row["a"] for row in rows]


def test_a_noted_problem_does_not_cover_an_earlier_one():
    table = typed([{"a": "x"}, {}], {"a": TEXT})
    noted = note(table, pl.lit(True), "is_crowd", pl.lit("late"))
    assert problems(noted) == ["is_crowd", "missing_value"]
    assert noted["detail"].to_list() == ["late", "no 'a'"]


def test_a_document_of_another_shape_is_refused_with_what_it_is(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(SourceError, match="no list 'questions' in it, but an object with 'data', 'dataset_name'"):
        rows_under({"data": [], "dataset_name": ""}, "questions", path)
    with pytest.raises(SourceError, match="no list 'questions'"):
        rows_under({"questions": {}}, "questions", path)
    with pytest.raises(SourceError, match="no list 'questions' in it, but a list"):
        rows_under([], "questions", path)
    with pytest.raises(SourceError, match="not a list of rows, but an object with nothing"):
        list_of_rows({}, path)
    with pytest.raises(SourceError, match="not an object of rows, but 3"):
        rows_by_id(3, path)


def test_ids_that_utf8_cannot_write_are_escaped():
    ids, rows = rows_by_id(json.loads('{"a": 1, "\\ud83d": 2}'), None)
    assert ids.to_list() == ["a", "\\ud83d"]
    assert rows == [1, 2]


def test_a_folder_stands_for_the_files_of_its_format_gzipped_or_not(tmp_path):
    for name in ("captions_b.json", "sub/captions_a.json.gz", "instances_a.json", "captions_c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    found = files_named(str(tmp_path), "captions_*.json")
    assert [path.name for path in found] == ["captions_b.json", "captions_a.json.gz"]
    assert files_named(str(tmp_path / "instances_a.json"), "captions_*.json") == [tmp_path / "instances_a.json"]
    assert files_named(str(tmp_path / "*.txt"), "captions_*.json") == [tmp_path / "captions_c.txt"]
    with pytest.raises(SourceError, match=r"no file named vqa_\*\.json or \*\.tsv"):
        files_named(str(tmp_path), "vqa_*.json", "*.tsv")


def test_an_image_name_is_written_from_its_pattern():
    rows = pl.DataFrame({"id": ["9", "123456", None], "split": ["train", "val", "val"]})
    written = image_name("COCO_{split}2014_{id:05d}.jpg", id=pl.col("id"), split=pl.col("split"))
    assert rows.select(written).to_series().to_list() == ["COCO_train2014_00009.jpg", "COCO_val2014_123456.jpg", None]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{id.__class__}", "not known here"),
        ("{id[0]}", "not known here"),
        ("{name}.jpg", r"use \{id\}, \{split\}"),
        ("{}", "not known here"),
        ("{id:>9}", "only zero padding"),
        ("{id:0999999d}", "only zero padding"),
        ("{id!r}", "only zero padding"),
        ("{id", "expected '}'"),
    ],
)
def test_an_image_name_pattern_says_nothing_but_its_fields(pattern, said):
    with pytest.raises(ValueError, match=said):
        checked_pattern("id", "split")(pattern)


def test_a_pattern_may_hold_braces_and_be_without_a_field():
    rows = pl.DataFrame({"id": ["9"]})
    assert rows.select(image_name("{{a}}/{id}", id=pl.col("id"))).item() == "{a}/9"
    assert rows.select(image_name("one.jpg", id=pl.col("id"))).item() == "one.jpg"


def test_images_and_sizes_of_a_row_without_an_image_are_empty_and_null():
    rows = pl.DataFrame({"name": ["a.jpg", None], "width": [4, None], "height": [3, 3]})
    read = rows.select(images=one_image(pl.col("name")), image_sizes=image_sizes())
    assert read["images"].to_list() == [["a.jpg"], []]
    assert read["image_sizes"].to_list() == [[{"width": 4, "height": 3}], None]
    assert read["image_sizes"].dtype == pl.List(SIZE)


def boxes(*rows, width=100, height=50):
    table = pl.DataFrame(
        {"xywh": pl.Series(np.array(rows, dtype=float)), "phrase": "cat", "width": width, "height": height},
        schema_overrides={"width": pl.Int32, "height": pl.Int32},
    )
    return table.select(box=box_of("xywh", "phrase"))["box"]


def test_a_box_goes_from_corner_and_sides_to_two_corners():
    column = boxes([10, 20, 30.5, 5])
    assert column.to_list() == [{"x0": 10, "y0": 20, "x1": 40.5, "y1": 25, "image": 0, "phrase": "cat"}]
    assert column.dtype == BOX


def test_a_box_that_overshoots_by_a_rounding_error_ends_at_the_edge_and_no_other_does():
    close, far = EDGE_PX, 2 * EDGE_PX
    read = boxes([-close, -close, 100 + 2 * close, 50 + 2 * close], [-far, -far, 100 + 2 * far, 50 + 2 * far])
    corners = [tuple(box[c] for c in ("x0", "y0", "x1", "y1")) for box in read.to_list()]
    assert corners == [(0, 0, 100, 50), (-far, -far, 100 + far, 50 + far)]


def test_a_box_of_an_image_of_unknown_size_keeps_its_corners():
    assert boxes([10, 20, 300, 5], width=None, height=None).struct.field("x1").to_list() == [310]


def test_a_shown_value_is_short_whatever_it_holds():
    assert len(shown("x" * 10_000)) <= 70
    assert len(shown([["x" * 1000] * 1000] * 1000)) <= 3000
    assert shown("\ud83d") == "'\\ud83d'"


def test_a_number_is_the_text_that_the_file_writes_it_with(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"a": 2.50}, {"a": 1e6}, {"a": 3.0}, {"a": "x"}, {"a": [1]}]')
    table = typed(list_of_rows(open_json(path), path), {"a": TEXT})
    assert table["a"].to_list() == ["2.50", "1e6", "3.0", "x", None]
    assert table["detail"].to_list()[4] == "'a' is [1], not text"


@pytest.mark.parametrize("raw", [False, True])
def test_a_key_that_nobody_reads_costs_its_row_unless_it_is_empty_or_ignored(tmp_path, raw):
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, {"a": 2, "b": 7, "source": "x"}, {"a": 3, "mask": 0}, {"a": 4, "mask": [], "d": null}]')
    rows = list_of_rows(open_json(path), path) if raw else json.loads(path.read_text())
    table = typed(rows, {"a": ID}, ignored={"b"})
    assert table["a"].to_list() == ["1", "2", "3", "4"]
    assert table["problem"].to_list() == [None, None, "unknown_key", None]
    assert "ignore: [mask]" in table["detail"][2]
