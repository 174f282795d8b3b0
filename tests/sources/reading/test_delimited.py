"""Quotation marks in CSV files: no row lies inside another."""

import polars as pl
import pytest

from vldata.errors import SourceError
from vldata.sources.table import Table


def captions(folder, text):
    (folder / "t.csv").write_text(text)
    turns = Table(path=str(folder / "t.csv"), fields={"images": "image"}).turns("caption")
    return turns.filter(pl.col("problem").is_null())["caption"].to_list()


@pytest.mark.parametrize(
    "rows",
    [
        '1.jpg,"hello there\n2.jpg,world"\n3.jpg,end\n',
        '1.jpg,"a\n2.jpg,b\n3.jpg,c"\n',
        '17,"hello there\n18,world"\n19,end\n',
        'COCO_17,"hello there\nCOCO_18,world"\nCOCO_19,end\n',
        'ab12cd34,"hello there\nff00ff00,world"\nabababab,end\n',
        '"1.jpg,hello there\n2.jpg,world"\n3.jpg,end\n',
    ],
)
def test_a_row_of_two_columns_that_holds_others_is_an_error(tmp_path, rows):
    with pytest.raises(SourceError, match="whole lines"):
        captions(tmp_path, f"image,caption\n{rows}")


@pytest.mark.parametrize("text", ["one\ntwo, three", "one\n2, three", "one\nand more", "a.b\nc.d, e"])
def test_lines_of_a_field_that_are_no_rows_stay_in_it(tmp_path, text):
    assert captions(tmp_path, f'image,caption\n1.jpg,"{text}"\n2.jpg,end\n') == [text, "end"]


def read(folder, text, name="t.csv", **options):
    (folder / name).write_text(text)
    return Table(path=str(folder / name), fields={"images": "image"}, **options).turns("caption")


@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_a_csv_with_another_separator_is_read_with_it_and_that_is_told(tmp_path, separator):
    lines = ["image{} caption ", '1.jpg{}"a; b | c"', "2.jpg{}an end, really"]
    turns = read(tmp_path, "\n".join(line.format(separator) for line in lines))
    assert turns["caption"].to_list() == ["a; b | c", "an end, really"]
    assert turns["images"].to_list() == [["1.jpg"], ["2.jpg"]]
    assert turns["remark"].unique().to_list() == [
        f"a table was read with {separator!r} between its fields, as its first line has no ','"
    ]
    assert "remark" not in read(tmp_path, "image,caption\n1.jpg,a; b\n").columns


def test_a_tsv_with_commas_is_read_with_them_and_so_is_one_without_a_header(tmp_path):
    assert read(tmp_path, "image,caption\n1.jpg,a\n", "t.tsv")["caption"].to_list() == ["a"]
    turns = read(tmp_path, "1.jpg;a\n2.jpg;b\n", columns=["image", "caption"])
    assert turns["caption"].to_list() == ["a", "b"]


@pytest.mark.parametrize("text", ["a;b\n1.jpg;2;3\n", "a;b|c\n1;2|3\n", "a;b\n1\n"])
def test_no_other_separator_is_taken_where_not_exactly_one_parts_all_rows_alike(tmp_path, text):
    with pytest.raises(SourceError, match="no column"):
        read(tmp_path, text)


BLANKS = "\nimage,caption\n1.jpg,a\n\n2.jpg,b\n,\n3.jpg,c\n\n"


@pytest.mark.parametrize("more", ["", "4.jpg,d,e\n"])
def test_blank_lines_have_one_reason_whoever_reads_them(tmp_path, more):
    turns = read(tmp_path, BLANKS + more)
    assert turns["caption"].to_list()[:6] == ["a", None, "b", None, "c", None]
    assert turns["problem"].to_list()[:6] == [None, "blank_line", None, "blank_line", None, "blank_line"]
    assert turns["problem"].to_list()[6:] == ["unparsable_row"] * bool(more)


def test_blank_lines_of_conversations_and_of_joined_files_are_none_of_their_rows(tmp_path):
    (tmp_path / "t.csv").write_text("id,instruction,output\n1,Why?,So.\n\n2,How?,Thus.\n")
    turns = Table(path=str(tmp_path / "t.csv")).turns("text_instruction")
    assert sorted(turns["problem"].to_list(), key=str) == [None, None, "blank_line"]
    (tmp_path / "more.csv").write_text("name,caption\n1.jpg,a\n\n")
    join = {"path": str(tmp_path / "more.csv"), "on": {"image": "name"}, "keep": ["caption"]}
    (tmp_path / "u.csv").write_text("image\n1.jpg\n")
    turns = Table(path=str(tmp_path / "u.csv"), fields={"images": "image"}, join=join).turns("caption")
    assert turns["caption"].to_list() == ["a"]


def test_columns_with_one_name_are_told_apart_and_none_is_taken_for_the_other(tmp_path):
    text = "image,caption,caption\n1.jpg,a,b\n2.jpg,c,d\n"
    with pytest.raises(SourceError, match="no column 'caption'") as caught:
        read(tmp_path, text)
    assert "caption (1), caption (2)" in caught.value.fix
    (tmp_path / "t.csv").write_text(text + "3.jpg,e,f,g\n")
    fields = {"images": "image", "caption": "caption (2)"}
    for more, found in (("", ["b", "d"]), ("3.jpg,e,f,g\n", ["b", "d", None])):
        (tmp_path / "t.csv").write_text(text + more)
        assert Table(path=str(tmp_path / "t.csv"), fields=fields).turns("caption")["caption"].to_list() == found
    assert read(tmp_path, "image,caption,,\n1.jpg,a,,\n")["caption"].to_list() == ["a"]


@pytest.mark.parametrize("more", ["", "3.jpg,d,e\n"])
def test_a_header_among_the_rows_is_none_of_them(tmp_path, more):
    turns = read(tmp_path, f"image,caption\n1.jpg,a\nimage,caption\n2.jpg,b\n{more}")
    assert turns["problem"].to_list()[:3] == [None, "unparsable_row", None]
    assert turns["detail"][1] == "its line is the header once more"
    assert read(tmp_path, "image,caption\n1.jpg,a\n", columns=["image", "caption"])["problem"].null_count() == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("image,caption\r1.jpg,a\r2.jpg,b\r", "carriage return alone"), ("sep=;\nimage;caption\n1.jpg;a\n", "for Excel")],
)
def test_a_file_that_no_reader_splits_into_rows_is_told_as_what_it_is(tmp_path, text, said):
    with pytest.raises(SourceError, match=said):
        read(tmp_path, text)


def test_lists_of_a_file_with_a_broken_row_are_exploded_all_the_same(tmp_path):
    text = 'id,image,q\n1,1.jpg,"[""a"", ""b""]"\n2,2.jpg,c,more\n\nid,image,q\n3,3.jpg,"[\'d\']"\n'
    turns = []
    for whole in (text, text.replace(",more", "")):
        (tmp_path / "t.csv").write_text(whole)
        turns.append(Table(path=str(tmp_path / "t.csv"), explode="q", fields={"caption": "q"}).turns("caption"))
    for each, said in zip(turns, ("4 values for 3 columns", "'q' is 'c', not a list"), strict=True):
        assert each["caption"].to_list() == ["a", "b", None, None, None, "d"]
        assert each["problem"].to_list() == [None, None, "unparsable_row", "blank_line", "unparsable_row", None]
        assert said in each["detail"][2]
        assert each["row"].to_list()[:2] == ["1/0", "1/1"] and each["row"][5] == "3/0"


def test_a_list_written_as_text_is_no_caption_and_no_answer_among_plain_ones(tmp_path):
    turns = read(tmp_path, 'image,caption\n1.jpg,"[\'a b\', \'c\']"\n2.jpg,plain\n3.jpg,[laughs]\n4.jpg,"""a"", b"\n')
    assert turns["problem"].to_list() == ["unparsable_row", None, None, None]
    assert turns["caption"].to_list()[1:] == ["plain", "[laughs]", '"a", b']
    (tmp_path / "t.csv").write_text("image,question,answers\n1.jpg,Q?,\"['a' 'b']\"\n2.jpg,Q?,\"a, b\"\n")
    turns = Table(path=str(tmp_path / "t.csv")).turns("vqa_open")
    assert turns.select("answer", "problem").rows()[1] == ("a, b", None)
    assert turns["problem"][0] == "unparsable_row"
