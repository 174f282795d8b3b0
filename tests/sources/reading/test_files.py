import gzip
import json
from pathlib import Path

import pytest

from vldata.errors import SourceError
from vldata.sources.reading.files import expand, open_json, plain, read_json, read_json_lines, read_text
from vldata.sources.table import Table


def test_gzip_and_a_byte_order_mark_are_seen_through(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"a": 1}'))
    assert read_json(path) == {"a": 1}


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "one\u2028two\x85three"}\r\n\n{"a": 2}\n', encoding="utf-8")
    assert list(read_json_lines(path)) == [(1, {"a": "one\u2028two\x85three"}), (3, {"a": 2})]


def test_a_bad_line_among_good_ones_is_returned_with_its_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": \n' + "[" * 100_000 + '\n{"a": 3}\n')
    read = dict(read_json_lines(path))
    assert read[1] == {"a": 1}
    assert read[4] == {"a": 3}
    assert isinstance(read[2], ValueError)
    assert isinstance(read[3], ValueError)


def test_a_bad_last_line_without_an_end_means_that_the_file_is_cut_off(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    with pytest.raises(SourceError, match=r"a\.jsonl:2: the last line breaks off"):
        list(read_json_lines(path))
    path.write_text('{"a": 1}\n{"a": 2}')
    assert len(list(read_json_lines(path))) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ('{"a": [1, 2', "ends in the middle"),
        ('{"a": 1}\n{"a": 2}', "several documents"),
        ('[{"a": 1},\n{"a": 2},\n]', "take out the comma"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not usable JSON"),
    ],
)
def test_a_document_that_is_not_json_is_refused_with_its_cause(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=said):
        read_json(path)


def test_another_encoding_is_reported_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo \xe9\n")
    with pytest.raises(SourceError, match=r"a\.txt:2: byte 0xe9"):
        read_text(path)


def test_a_path_a_folder_and_a_glob_name_files_in_order(tmp_path):
    for name in ("b.json", "a.json.gz", "c.txt"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in expand(str(tmp_path), suffixes=(".json",))] == ["a.json.gz", "b.json"]
    assert [path.name for path in expand(str(tmp_path / "*.json"))] == ["b.json"]
    assert expand(str(tmp_path / "c.txt")) == [tmp_path / "c.txt"]


@pytest.mark.parametrize("name", ["nowhere.json", "*.csv", "empty"])
def test_nothing_there_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        expand(str(tmp_path / name))


def test_an_opened_document_is_decoded_part_by_part(tmp_path: Path) -> None:
    document = {"info": {"rows": [1]}, "rows": [{"text": 'a "quoted" ,{} é'}, {"text": "\u2028"}], "after": 1.5}
    path = tmp_path / "rows.json"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(document, indent=1).encode()))
    opened = open_json(path)
    assert list(opened) == list(document)
    assert {key: plain(part) for key, part in opened.items()} == document


@pytest.mark.parametrize("text", ['[NaN, {"a": 1}]', '{"a": "\\ud800"}', "3", '"a"'])
def test_what_only_the_slower_reader_reads_comes_decoded(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert repr(open_json(path)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ['{"rows": [{"a": 1}', '{"rows": [1, 2', '{"rows" [1]}', "", "[" * 100_000])
def test_a_document_that_is_none_is_said_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"rows\.json"):
        open_json(path)


@pytest.mark.parametrize("reader", [read_json, open_json])
@pytest.mark.parametrize(("encoding", "name"), [("utf-16", "UTF-16"), ("utf-32", "UTF-32"), ("latin-1", "ISO-8859-1")])
def test_the_way_out_of_another_encoding_is_named(tmp_path, encoding, name, reader):
    path = tmp_path / "a.json"
    path.write_bytes('{"a": "é"}'.encode(encoding))
    with pytest.raises(SourceError, match=f"iconv -f {name} -t UTF-8"):
        reader(path)


def test_what_is_hidden_in_a_folder_is_left_alone(tmp_path):
    for name in ("a.json", ".b.json", ".vldata/store/c.json", "d/.e/f.json", "d/g.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("[]")
    assert expand(str(tmp_path), suffixes=(".json",)) == [tmp_path / "a.json", tmp_path / "d" / "g.json"]


@pytest.mark.parametrize("path", ["", "  "])
def test_an_empty_path_is_not_the_working_directory(path):
    with pytest.raises(SourceError, match="it is empty"):
        expand(path)


def test_a_missing_file_is_named_once_and_its_packed_neighbour_offered(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(SourceError) as caught:
        expand(str(path))
    assert str(caught.value).count(str(path)) == 1
    (tmp_path / "a.json.gz").write_bytes(b"")
    with pytest.raises(SourceError, match=r"did you mean '.*a\.json\.gz'\?"):
        expand(str(path))


def test_links_in_a_circle_and_homes_of_nobody_are_missing_files(tmp_path):
    loop = tmp_path / "a.json"
    loop.symlink_to("a.json")
    with pytest.raises(SourceError, match="a symbolic link that leads to no file"):
        expand(str(loop))
    for name in (str(loop / "b.json"), "~no-such-user-here/a.json"):
        with pytest.raises(SourceError, match="no such file"):
            expand(name)


def test_a_pattern_leaves_hidden_files_alone_unless_it_says_the_dot(tmp_path):
    for name in ("a.json", ".b.json", "c/d.json", ".e/f.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("[]")
    assert expand(str(tmp_path / "*.json")) == [tmp_path / "a.json"]
    assert expand(str(tmp_path / "*" / "*.json")) == [tmp_path / "c" / "d.json"]
    assert expand(str(tmp_path / ".*.json")) == [tmp_path / ".b.json"]
    assert expand(str(tmp_path / ".e" / "*.json")) == [tmp_path / ".e" / "f.json"]


DOUBLED = '{"image": "a.jpg", "caption": "one", "caption": "two"}'


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.jsonl.gz"])
@pytest.mark.parametrize("form", ["{}\n{}\n", "[{}, {}]", '[{{"more": [{}, {}]}}]', "[{}, {}"])
def test_a_key_that_says_two_things_is_refused(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / name
    for row, said in ((DOUBLED, "the key 'caption' twice"), (DOUBLED.replace("two", "one"), None)):
        if said is None and form not in ("{}\\n{}\\n", "[{}, {}]"):
            continue
        text = form.format('{"image": "b.jpg", "caption": "x"}', row)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        if said is None:
            assert Table(path=str(path)).turns("caption").height
            continue
        with pytest.raises(SourceError, match=said):
            Table(path=str(path)).turns("caption")


def test_a_key_of_a_document_that_formats_open_in_parts_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"images": [{"id": 1, "id": 2}], "annotations": []}')
    with pytest.raises(SourceError, match="the key 'id' twice, with 1 and 2"):
        open_json(tmp_path / "t.json")
