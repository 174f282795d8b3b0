import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.schema.turns import BOX
from vldata.sources.reading.boxes import cast_boxes
from vldata.sources.reading.casts import Origin, cast
from vldata.sources.reading.fields import OPTIONAL, TASKS, evaluated, field_names, origin, origins
from vldata.sources.table import Table
from vldata.tasks import TASKS as REAL_TASKS
from vldata.tasks import task_class

COLUMNS = ("id", "image", "q", "answers", "meta", "a b")
TABLE = pl.DataFrame(
    {"q": ["What?", None], "answers": [["x", "y"], []], "meta": [{"n": 1}, {"n": 2}], "n": [3, 4], "a b": ["c", "d"]}
)


def test_a_table_knows_the_columns_that_the_tasks_declare():
    assert set(TASKS) == set(REAL_TASKS)
    for name, columns in TASKS.items():
        declared = task_class(name)
        assert columns == declared.columns
        assert {column for column in columns if column in OPTIONAL} == set(declared.optional)


def test_columns_are_taken_by_their_own_names_and_by_the_usual_others():
    found = origins({}, ("image", "id", "question", "answer", "extra"), "vqa_open")
    assert {name: o.text for name, o in found.items()} == {
        "row": "id",
        "images": "image",
        "question": "question",
        "answer": "answer",
    }
    both = origins({}, ("image", "images", "row", "id", "caption"), "caption")
    assert (both["images"].text, both["row"].text) == ("images", "row")


def test_the_recipe_s_word_wins_over_a_column_of_that_name():
    assert origins({"caption": "q"}, ("caption", "q"), "caption")["caption"].text == "q"


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("answers[1]", ["x", None]),
        ("q || '.png'", ["What?.png", None]),
        ("CAST(n AS VARCHAR) || '.jpg'", ["3.jpg", "4.jpg"]),
        ("meta.n", [1, 2]),
        ('"a b"', ["c", "d"]),
        ("a b", ["c", "d"]),  # a column's own name needs no quotes
        ("CASE WHEN n = 3 THEN 'yes' ELSE 'no' END", ["yes", "no"]),
        ("'constant'", ["constant", "constant"]),
        ("NULL", [None, None]),
        ("STRPOS('ABCD', 'C') - 1", [2, 2]),
        ("ROUND(n, 0)", [3, 4]),
        ("n IN (3, 5)", [True, False]),
        ("ARRAY_LENGTH(ARRAY_UNIQUE(answers))", [2, 0]),
    ],
)
def test_an_origin_is_a_column_or_one_expression(expression, values):
    assert evaluated(origin("answer", expression, TABLE.columns), TABLE).to_list() == values


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("nosuch", "'nosuch', which is no column"),
        ("q || nosuch", "'nosuch', which is no column"),
        ("q; q", "';'"),
        ("", "parse"),
        ("SELECT q FROM t", "."),
        ("read_csv('/etc/passwd')", "read_csv"),
        ("(SELECT * FROM read_csv('/etc/passwd'))", "."),
        ("q IN (SELECT q FROM t)", "."),
        ("UNNEST(answers)", "several rows of one"),
        ("MAX(q)", "looks at other rows"),
        ("COUNT(*)", "looks at other rows"),
        ("q || FIRST(q)", "looks at other rows"),
        ("n - SUM(n) OVER (PARTITION BY q)", "looks at other rows"),
        ("ROW_NUMBER() OVER (ORDER BY q)", "looks at other rows"),
    ],
)
def test_what_is_neither_is_refused_by_its_field(expression, problem):
    with pytest.raises(SourceError, match=problem) as caught:
        evaluated(origin("answer", expression, TABLE.columns), TABLE)
    assert caught.value.where == "fields.answer"


def test_a_missing_column_is_refused_with_the_nearest_and_all_others():
    with pytest.raises(SourceError) as caught:
        origins({"question": "q", "answer": "anwsers[1]"}, COLUMNS, "vqa_open")
    assert caught.value.problem == "'anwsers[1]' names 'anwsers', which is no column"
    assert caught.value.fix == "did you mean 'answers'? the table has id, image, q, answers, meta, a b"


def test_an_expression_that_fails_on_the_values_is_refused_by_its_field():
    with pytest.raises(SourceError, match="CAST") as caught:
        evaluated(origin("answer", "CAST(q AS INT)", TABLE.columns), TABLE)
    assert caught.value.where == "fields.answer"


def test_a_column_that_the_task_needs_and_nothing_gives_is_refused():
    with pytest.raises(SourceError, match="the task 'vqa_open' needs it") as caught:
        origins({"question": "q"}, ["id", "q", "meta"], "vqa_open")
    assert caught.value.where == "fields.answer"
    assert caught.value.fix == "name its origin; the table has id, q, meta"
    with pytest.raises(SourceError) as caught:
        origins({}, ["id", "image", "captions"], "caption")
    such = "such as `caption: captions`"
    assert caught.value.fix == f"name its origin, {such}; the table has id, image, captions"
    assert "answer" not in origins({"question": "q"}, COLUMNS, "vqa_open")  # one of `answers` is learnt


def test_a_field_of_another_task_is_refused():
    with pytest.raises(SourceError, match="the task 'caption' has no such column"):
        origins({"caption": "q", "choices": "answers"}, COLUMNS, "caption")


def test_problems_are_not_for_a_recipe_to_fill():
    assert not {"problem", "detail"} & set(field_names())
    assert {"row", "images", "question", "boxes", "phrases", "thread"} <= set(field_names())


def cast_as(name, values, dtype, of=None):
    return cast(Origin(name, "c", ("c",)), pl.Series("c", values, dtype=of), dtype)


TEXTS = pl.List(pl.String)


@pytest.mark.parametrize(
    ("name", "values", "dtype", "expected", "misfits"),
    [
        ("answer", ["a", None], pl.String, ["a", None], []),
        ("answer", [1, None], pl.String, ["1", None], []),
        ("answer", [True, None], pl.String, ["true", None], []),
        ("answer", ["a\0b", "c"], pl.String, ["a\0b", "c"], [0]),
        ("answer", [2, None], pl.Int64, [2, None], []),
        ("answer", ["2", " 3 ", "x", "", None], pl.Int64, [2, 3, None, None, None], [2, 3]),
        ("answer", [2.0, 2.5, None], pl.Int64, [2, 2, None], [1]),
        ("position", [0, 2**40, None], pl.Int32, [0, None, None], [1]),
        ("answer", [True, None], pl.Boolean, [True, None], []),
        ("answer", [1, 0, 2, None], pl.Boolean, [True, False, None, None], [2]),
        ("answer", [1.0, 0.0, 0.5], pl.Boolean, [True, False, None], [2]),
        ("answer", ["Yes", "no", "TRUE", "false", "1", "0", "maybe"], pl.Boolean, [True, False] * 3 + [None], [6]),
        ("choices", [["a", "b"], [], None], TEXTS, [["a", "b"], [], None], []),
        ("choices", [[1, 2], None], TEXTS, [["1", "2"], None], []),
        ("images", ["a.jpg", "", None], TEXTS, [["a.jpg"], [], []], []),
        ("images", [["a.jpg", None, " "], []], TEXTS, [["a.jpg"], []], []),
        ("images", [["a.jpg", None, "b.jpg"], ["", "b.jpg"]], TEXTS, [["a.jpg", "b.jpg"], ["b.jpg"]], [0, 1]),
        ("images", [7], TEXTS, [["7"]], []),
        ("answers", ["a", None], TEXTS, [["a"], []], []),
        ("answer", [None, None], pl.String, [None, None], []),
        ("answer", [None, None], pl.Int64, [None, None], []),
        ("answer", [None, None], pl.Boolean, [None, None], []),
        ("images", [None, None], TEXTS, [[], []], []),
        ("choices", [None, None], TEXTS, [None, None], []),
    ],
)
def test_values_become_the_canonical_type_and_those_that_cannot_are_reported(name, values, dtype, expected, misfits):
    done = cast_as(name, values, dtype)
    assert done.values.dtype == dtype
    assert done.misfits.arg_true().to_list() == misfits
    fits = [(got, want) for k, (got, want) in enumerate(zip(done.values, expected, strict=True)) if k not in misfits]
    assert [got.to_list() if isinstance(got, pl.Series) else got for got, _ in fits] == [want for _, want in fits]


def test_fixed_size_lists_and_categories_are_read():
    assert cast_as("choices", [["a", "b"]], TEXTS, pl.Array(pl.String, 2)).values.to_list() == [["a", "b"]]
    assert cast_as("answer", ["a"], pl.String, pl.Categorical).values.to_list() == ["a"]


@pytest.mark.parametrize(
    ("name", "values", "dtype"),
    [
        ("answer", [["a"]], pl.String),
        ("answer", [{"n": 1}], pl.String),
        ("answer", [b"a"], pl.String),
        ("answer", [["a"]], pl.Int64),
        ("answer", [True], pl.Int64),
        ("answer", [["a"]], pl.Boolean),
        ("choices", ["a"], TEXTS),
        ("images", [{"path": "a.jpg"}], TEXTS),
        ("images", [b"JFIF"], TEXTS),
        ("answers", [[{"text": "a"}]], TEXTS),
        ("image_sizes", [[3, 4]], pl.List(pl.Struct({"width": pl.Int32, "height": pl.Int32}))),
    ],
)
def test_a_column_that_can_never_fit_is_an_error_that_names_field_and_type(name, values, dtype):
    with pytest.raises(SourceError, match="'c' is ") as caught:
        cast_as(name, values, dtype)
    assert caught.value.where == f"fields.{name}"


def test_sizes_are_one_or_several():
    sizes = pl.List(pl.Struct({"width": pl.Int32, "height": pl.Int32}))
    one = {"height": 2, "width": 3, "depth": 4}
    assert cast_as("image_sizes", [one], sizes).values.to_list() == [[{"width": 3, "height": 2}]]
    assert cast_as("image_sizes", [[one, one]], sizes).values.to_list() == [[{"width": 3, "height": 2}] * 2]


def boxes_of(values, dtype=None, order="xyxy", phrases=None, phrase=None):
    series = pl.Series("c", values, dtype=dtype)
    said = None if phrases is None else pl.Series(phrases, dtype=TEXTS)
    called = None if phrase is None else pl.Series(phrase, dtype=pl.String)
    done = cast_boxes(Origin("boxes", "c", ("c",)), series, order=order, phrases=said, phrase=called)
    assert done.values.dtype == pl.List(BOX)
    return done.values.to_list(), done.misfits.arg_true().to_list()


def box(x0, y0, x1, y1, phrase=None, image=0):
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "image": image, "phrase": phrase}


def test_a_box_is_four_numbers_and_several_are_a_list_of_them():
    assert boxes_of([[1, 2, 3, 4], None]) == ([[box(1, 2, 3, 4)], None], [])
    many = [[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.5, 8.0]], [], None]
    assert boxes_of(many) == ([[box(1, 2, 3, 4), box(5, 6, 7.5, 8)], [], None], [])
    assert boxes_of([[1, 2, 3, 4]], pl.Array(pl.Int64, 4)) == ([[box(1, 2, 3, 4)]], [])
    assert boxes_of([[[1, 2, 3, 4]]], pl.List(pl.Array(pl.Float32, 4))) == ([[box(1, 2, 3, 4)]], [])


def test_a_corner_with_width_and_height_becomes_two_corners():
    assert boxes_of([[10, 20, 3, 4]], order="xywh") == ([[box(10, 20, 13, 24)]], [])
    assert boxes_of([[[10, 20, 3, 4]]], order="xywh") == ([[box(10, 20, 13, 24)]], [])


def test_boxes_may_be_structs_with_an_image_and_a_phrase():
    plain = {"x0": 1, "y0": 2, "x1": 3, "y1": 4}
    assert boxes_of([plain]) == ([[box(1, 2, 3, 4)]], [])
    rich = [[{**plain, "image": 1, "phrase": "dog"}, {**plain, "image": None, "phrase": None}]]
    assert boxes_of(rich, phrase=["it"]) == ([[box(1, 2, 3, 4, "dog", 1), box(1, 2, 3, 4, "it")]], [])


def test_phrases_lie_side_by_side_with_the_boxes_or_are_the_row_s():
    two = [[[1, 2, 3, 4], [5, 6, 7, 8]]]
    assert boxes_of(two, phrases=[["a", "b"]]) == ([[box(1, 2, 3, 4, "a"), box(5, 6, 7, 8, "b")]], [])
    assert boxes_of(two, phrase=["c"]) == ([[box(1, 2, 3, 4, "c"), box(5, 6, 7, 8, "c")]], [])
    assert boxes_of([[1, 2, 3, 4]], phrases=[["a"]]) == ([[box(1, 2, 3, 4, "a")]], [])


@pytest.mark.parametrize(
    ("values", "phrases"),
    [
        ([[1, 2, 3]], None),
        ([[1, 2, 3, 4, 5]], None),
        ([[1, 2, 3, None]], None),
        ([[[1, 2, 3, 4], [1, 2]]], None),
        ([[[1, 2, 3, 4], None]], None),
        ([[1.0, 2.0, float("nan"), 4.0]], None),
        ([[1.0, 2.0, float("inf"), 4.0]], None),
        ([{"x0": 1, "y0": 2, "x1": 3, "y1": None}], None),
        ([[[1, 2, 3, 4]]], [["a", "b"]]),
        ([[[1, 2, 3, 4], [1, 2, 3, 4]]], [["a"]]),
        ([[1, 2, 3, 4]], [[]]),
    ],
)
def test_a_box_of_other_numbers_is_a_misfit(values, phrases):
    assert boxes_of(values, phrases=phrases)[1] == [0]


@pytest.mark.parametrize("values", [["a dog"], [["a", "b", "c", "d"]], [[["1", "2"]]], [{"x": 1}], [[{"x": 1}]], [5]])
def test_boxes_of_another_type_are_an_error(values):
    with pytest.raises(SourceError, match="not boxes of 4 numbers"):
        boxes_of(values)


def test_no_boxes_at_all_are_null():
    assert boxes_of([None, None]) == ([None, None], [])
    assert boxes_of([[], []]) == ([[], []], [])
    assert boxes_of([], pl.List(pl.Int64)) == ([], [])


numbers = st.lists(st.integers(-9, 9) | st.none(), max_size=6)


@given(st.lists(st.none() | st.lists(numbers, max_size=3), max_size=6))
def test_every_row_of_boxes_is_either_whole_or_a_misfit(rows):
    values, misfits = boxes_of(rows, pl.List(pl.List(pl.Int64)))
    assert len(values) == len(rows)
    for k, (given_row, value) in enumerate(zip(rows, values, strict=True)):
        whole = all(len(numbers) == 4 and None not in numbers for numbers in given_row or [])
        points = len(given_row or []) > 1 and all(len(point) == 2 and None not in point for point in given_row)
        assert (k in misfits) == (not whole and not points)
        if points:
            xs, ys = zip(*given_row, strict=True)
            assert value == [box(min(xs), min(ys), max(xs), max(ys))]
        elif whole:
            assert value == (None if given_row is None else [box(*map(float, numbers)) for numbers in given_row])


def test_an_object_where_a_text_or_a_list_is_needed_says_its_parts(tmp_path):
    rows = [{"image": "a.jpg", "question": "What?", "options": {"A": "a cat", "B": "a dog"}, "answer": "B"}]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    fields = {"choices": "options"}
    with pytest.raises(SourceError) as caught:
        Table(path=str(tmp_path / "t.json"), fields=fields).turns("vqa_mc")
    assert caught.value.fix == "name its parts, such as `choices: [options.A, options.B]`"
    fields = {"choices": ["options.A", "options.B"]}
    turns = Table(path=str(tmp_path / "t.json"), fields=fields).turns("vqa_mc")
    assert turns.select("choices", "answer").rows() == [(["a cat", "a dog"], 1)]
