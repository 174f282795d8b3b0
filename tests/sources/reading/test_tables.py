import gzip
import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.sources.reading.json import json_document, json_rows
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.tables import details_of, open_frame

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def read(path, *names):
    table, notes = open_frame(path).read(names)
    assert table.columns == [PLACE, *names]
    assert table[PLACE].to_list() == list(range(table.height))
    return table.drop(PLACE).to_dicts(), notes


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def ipc(path, table, opened):
    with pa.OSFile(str(path), "wb") as sink, opened(sink, table.schema) as writer:
        writer.write_table(table)


def written(folder, form):
    path = folder / {"json_lines_as_json": "t.json", "columns": "t.json", "stream": "t.arrow"}.get(form, f"t.{form}")
    table = pa.Table.from_pylist(ROWS)
    match form:
        case "parquet":
            pq.write_table(table, path)
        case "arrow":
            ipc(path, table, pa.ipc.new_file)
        case "stream":
            ipc(path, table, pa.ipc.new_stream)
        case "jsonl" | "json_lines_as_json":
            path.write_text(lines(ROWS))
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines(ROWS).encode()))
        case "json":
            path.write_text(json.dumps(ROWS, indent=1))
        case "json.gz":
            path.write_bytes(gzip.compress(json.dumps(ROWS).encode()))
        case "columns":
            path.write_text(json.dumps({"a": [1, 2], "b": ["x", None]}))
    return path


FORMS = ["parquet", "arrow", "stream", "jsonl", "jsonl.gz", "json", "json.gz", "json_lines_as_json", "columns"]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_are_read_from_every_form(tmp_path, form):
    path = written(tmp_path, form)
    assert set(open_frame(path).columns) == {"a", "b"}
    assert read(path, "a", "b") == (ROWS, {})
    assert read(path, "b") == ([{"b": "x"}, {"b": None}], {})
    assert open_frame(path).read(())[0].to_dicts() == [{PLACE: 0}, {PLACE: 1}]


@pytest.mark.parametrize(("name", "text"), [("t.csv", "a,b\n1,x\n2,\n"), ("t.tsv", "a\tb\n1\tx\n2\t\n")])
def test_csv_and_tsv_are_text_throughout(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read(tmp_path / name, "a", "b") == ([{"a": "1", "b": "x"}, {"a": "2", "b": None}], {})


def test_a_csv_row_that_is_too_long_is_noted_and_the_others_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,x\n2,y,z\n3\n"4","u\nv"\n')
    rows, notes = read(path, "a", "b")
    assert rows == [{"a": "1", "b": "x"}, {"a": None, "b": None}, {"a": "3", "b": None}, {"a": "4", "b": "u\nv"}]
    assert notes == {1: "line 3: 3 values for 2 columns"}


@pytest.mark.parametrize("line", ["{broken", '"text"', "3", "null"])
def test_a_line_that_is_no_object_is_noted_and_the_others_are_read(tmp_path, line):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n' + line + '\n\n{"a": 2}\n')
    rows, notes = read(path, "a")
    assert rows == [{"a": 1}, {"a": None}, {"a": 2}]
    assert list(notes) == [1]


def test_a_mess_in_a_column_that_nobody_wants_does_not_matter(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "b": [1]}\n{"a": 2, "b": {"c": 1}}\n')
    assert read(path, "a") == ([{"a": 1}, {"a": 2}], {})
    assert read(path, "a", "b") == (
        [{"a": 1, "b": [1]}, {"a": 2, "b": None}],
        {1: "'b' is {'c': 1}, elsewhere a list"},
    )
    path.write_text('{"a": 1, "b": [1]}\n{"a": 2, "b": [{"c": 1}]}\n')
    with pytest.raises(SourceError, match="the column 'b' holds values of several kinds"):
        read(path, "b")


def test_rows_that_are_lists_have_numbered_columns(tmp_path):
    path = tmp_path / "questions.json"
    path.write_text('[["what?", "blue", 0], ["where?", "here"]]')
    rows, notes = read(path, "column_1", "column_3")
    assert rows == [{"column_1": "what?", "column_3": 0}, {"column_1": "where?", "column_3": None}]
    assert notes == {}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("t.json", '{"a": [1, 2], "b": [1]}', "values are not lists of one length"),
        ("t.json", '{"a": 1}', "values are not lists of one length"),
        ("t.json", "[1, 2]", "no row can be read"),
        ("t.json", '"text"', "not a list of rows"),
        ("t.json", '[{"a": 1}', "not JSON"),
        ("t.jsonl", '{"a": 1}\n{"a": ', "breaks off"),
        ("t.csv", "", "not readable as .csv"),
        ("t.parquet", "PAR1", "not readable as .parquet"),
        ("t.arrow", "ARROW1", "neither an Arrow file nor an Arrow stream"),
        ("t.arrow", "", "neither an Arrow file nor an Arrow stream"),
        ("t.xlsx", "", "does not tell how this table is written"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path, name, text, problem):
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=problem) as caught:
        open_frame(tmp_path / name).read(("a",))
    assert name in caught.value.where


def test_a_csv_that_is_not_utf_8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,x\n2,\xe9\n")
    with pytest.raises(SourceError, match=r"t\.csv:3: byte 0xe9"):
        open_frame(path).read(("b",))


def test_a_name_with_stars_is_a_name(tmp_path):
    path = tmp_path / "t[1].parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    assert read(path, "a") == ([{"a": 1}], {})


def image_table():
    shown = {"bytes": b"x" * 50, "path": None}
    return pa.table(
        {
            "one": pa.array([shown, None, {"bytes": b"y", "path": "p.png"}], IMAGE),
            "many": pa.array([[shown, None, shown], None, []], pa.list_(IMAGE)),
            "raw": pa.array([b"x", None, b"z"]),
            "raws": pa.array([[b"x"], [None, b"y"], None], pa.list_(pa.binary())),
            "bare": pa.array([{"bytes": b"x"}, None, {"bytes": b"y"}], pa.struct([("bytes", pa.binary())])),
            "pair": pa.array([[shown, shown], [None, shown], None], pa.list_(IMAGE, 2)),
            "path": pa.array(["a.jpg", None, "b.jpg"]),
            "file": pa.array([{"path": "a"}] * 3, pa.struct([("path", pa.string())])),
        }
    )


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_column_of_images_tells_which_are_there(tmp_path, form):
    path = tmp_path / f"t.{form}"
    if form == "parquet":
        pq.write_table(image_table(), path, row_group_size=2)
    else:
        ipc(path, image_table(), pa.ipc.new_stream)
    frame = open_frame(path)
    assert frame.images("one").to_list() == [[0], [], [0]]
    assert frame.images("many").to_list() == [[0, 2], [], []]
    assert frame.images("raw").to_list() == [[0], [], [0]]
    assert frame.images("raws").to_list() == [[0], [1], []]
    assert frame.images("bare").to_list() == [[0], [], [0]]
    assert frame.images("pair").to_list() == [[0, 1], [1], []]
    assert frame.images("path") is None
    assert frame.images("file") is None


def test_details_stand_at_the_places_of_their_rows():
    places = pl.Series([4, 1, 1, 0], dtype=pl.UInt32)
    assert details_of(places, {1: "bad"}).to_list() == [None, "bad", "bad", None]
    assert details_of(places, {}).to_list() == [None] * 4


values = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=2), values), min_size=2))
def test_json_rows_are_the_same_as_a_list_and_as_lines(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "list.json").write_text(json.dumps(rows, indent=2))
    (folder / "lines.json").write_text(lines(rows))
    (folder / "lines.jsonl").write_text(lines(rows))
    assert (
        json_rows(folder / "list.json") == json_rows(folder / "lines.json") == json_rows(folder / "lines.jsonl") == rows
    )


def test_one_line_of_json_is_a_document_and_not_lines(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}]\n')
    (tmp_path / "b.json").write_text('{"a": [1]}\n')
    assert json_document(tmp_path / "a.json") == [{"a": 1}]
    assert json_document(tmp_path / "b.json") == {"a": [1]}
    with pytest.raises(SourceError, match="not a list of rows"):
        json_rows(tmp_path / "b.json")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
@pytest.mark.parametrize(
    ("values", "misfit", "said"),
    [
        ('"[x]" ["y"]', 1, "'a' is ['y'], elsewhere a single value"),
        ('"x" {"y": 1}', 1, "'a' is {'y': 1}, elsewhere a single value"),
        ('["x"] 5 ["y"]', 1, "'a' is 5, elsewhere a list"),
        ('["x"] [["y"]]', 1, "with a list or an object where others have text"),
        ('{"k":"x"} {"k":["y"]}', 1, "with a list or an object where others have text"),
        ("[1.5] [NaN]", 1, "which is no JSON"),
        ("1.5 -Infinity", 1, "which is no JSON"),
    ],
)
def test_a_value_of_another_kind_costs_its_row_and_never_becomes_text(tmp_path, name, values, misfit, said):
    path = tmp_path / name
    rows = [f'{{"a": {value}, "b": {k}}}' for k, value in enumerate(values.replace(": ", ":").split(" "))]
    path.write_text("\n".join(rows) + "\n" if name == "t.jsonl" else f"[{', '.join(rows)}]")
    found, notes = read(path, "a", "b")
    assert [row["b"] for row in found] == list(range(len(rows)))
    assert [k for k, row in enumerate(found) if row["a"] is None or row["a"] == {"k": None}] == [misfit]
    assert list(notes) == [misfit]
    assert said in notes[misfit]


def test_texts_that_look_like_json_are_texts(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": "[1, 2]", "b": ["{x}"]}\n{"a": "x", "b": []}\n')
    assert read(path, "a", "b") == ([{"a": "[1, 2]", "b": ["{x}"]}, {"a": "x", "b": []}], {})


def test_a_csv_in_utf_16_is_refused_with_its_encoding(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(SourceError, match="iconv -f UTF-16 -t UTF-8"):
        open_frame(path)
