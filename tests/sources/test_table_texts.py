"""Plain text as tables: lines, files, archives, expressions that make columns of texts, and rows that make one turn."""

import gzip
import io
import json
import tarfile

import polars as pl
import pytest
from pydantic import ValidationError

from vldata.errors import SourceError
from vldata.schema.turns import META
from vldata.sources.reading.choices import LABELS_OFF, LABELS_STAY
from vldata.sources.table import Table

BOXES = {"extract": {"line": r"(?<x0>\d+),(?<y0>\d+),(?<x1>\d+),(?<y1>\d+),(?<words>.*)"}, "text": "lines"}
LEFT = pl.element().struct.field("x0")
REGIONS = {"boxes": ["x0", "y0", "x1", "y1"], "phrases": ["words"], "images": "file_stem || '.jpg'"}


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = text.encode(encoding)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return str(path)


def test_every_line_is_a_row_with_its_number_and_blank_ones_are_none(tmp_path):
    path = write(tmp_path / "train.de.gz", "Ein Bus.\r\n\n  \nEin\u2028Hund.\n")
    turns = Table(path=path, text="lines", fields={"caption": "line", "images": "number || '.jpg'"}).turns("caption")
    assert turns.select("caption", "images").rows() == [("Ein Bus.", ["1.jpg"]), ("Ein\u2028Hund.", ["4.jpg"])]


def test_parallel_files_are_joined_by_the_number_of_the_line(tmp_path):
    path = write(tmp_path / "train.en", "A bus.\nA dog.\nA cat.\n")
    join = {"path": write(tmp_path / "train_images.txt", "a.jpg\n\nc.jpg\n"), "text": "lines", "on": "number"}
    source = Table(path=path, text="lines", join={**join, "keep": {"image": "line"}}, fields={"caption": "line"})
    assert source.turns("caption")["images"].to_list() == [["a.jpg"], [], ["c.jpg"]]


def test_a_column_may_have_the_name_of_a_joined_one_that_is_called_otherwise(tmp_path):
    path = write(tmp_path / "q.jsonl", '{"id": 1, "text": "What?", "image": "a.jpg"}\n')
    join = {"path": write(tmp_path / "a.jsonl", '{"id": 1, "text": "A bus."}\n'), "on": "id"}
    fields = {"question": "text", "answer": "said"}
    turns = Table(path=path, join={**join, "keep": {"said": "text"}}, fields=fields).turns("vqa_open")
    assert turns.select("question", "answer").rows() == [("What?", "A bus.")]
    with pytest.raises(SourceError, match="both have a column 'text'"):
        Table(path=path, join={**join, "keep": "text"}, fields={"question": "text", "answer": "text"}).turns("vqa_open")


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_whole_files_are_rows_with_their_names(tmp_path, form):
    texts = {"01/a.eng": "<D>a bus;\na dog;</D>", "02/b.eng": "<D>a cat</D>"}
    for name, text in texts.items():
        write(tmp_path / "all" / name, text)
    path = str(tmp_path / "all")
    if form == "archive":
        path = str(tmp_path / "all.tgz")
        with tarfile.open(path, "w:gz") as archive:
            for name, text in texts.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
    fields = {"caption": "STRING_TO_ARRAY(said, ';\n')", "images": "file_stem || '.jpg'", "row": "file_stem"}
    options = {"text": "files", "extract": {"text": "<D>(?<said>.*?);?</D>"}, "fields": fields}
    turns = Table(path=path, **options).turns("caption")
    assert turns.select("row", "images", "caption").rows() == [
        ("01/a/0", ["01/a.jpg"], "a bus"),
        ("01/a/1", ["01/a.jpg"], "a dog"),
        ("02/b/0", ["02/b.jpg"], "a cat"),
    ]


def test_an_archive_that_ends_too_early_is_refused(tmp_path):
    path = tmp_path / "all.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 100_000
        archive.addfile(member, io.BytesIO(bytes(range(250)) * 400))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match="not readable as a tar archive"):
        Table(path=str(path), text="files", fields={"caption": "text"}).turns("caption")


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".csv.gz"])
def test_texts_in_other_encodings_are_read_as_it_is_named_and_refused_with_its_likely_name(tmp_path, suffix):
    form = {"text": "lines", "columns": None} if suffix == ".txt" else {"columns": ["line"]}
    path = write(tmp_path / f"t{suffix}", "ein hübscher Hund\neine Kuh\n", "iso-8859-1")
    options = {**form, "fields": {"caption": "line", "images": "'a.jpg'"}}
    turns = Table(path=path, encoding="latin1", **options).turns("caption")
    assert turns["caption"].to_list() == ["ein hübscher Hund", "eine Kuh"]
    with pytest.raises(SourceError, match="is not utf-8") as caught:
        Table(path=path, **options).turns("caption")
    assert "encoding: ISO-8859-1" in caught.value.fix


def test_a_csv_in_utf_16_keeps_its_quoted_fields(tmp_path):
    path = write(tmp_path / "t.csv", 'image,caption\na.jpg,"a bus, and ein Hündchen"\n', "utf-16")
    turns = Table(path=path, encoding="utf-16").turns("caption")
    assert turns["caption"].to_list() == ["a bus, and ein Hündchen"]


def test_an_unknown_encoding_and_a_bad_expression_are_errors_of_the_recipe():
    with pytest.raises(ValidationError, match="no encoding is called 'latin-0'"):
        Table(path="t.csv", encoding="latin-0")
    with pytest.raises(ValidationError, match="has no named group"):
        Table(path="t.csv", extract={"line": "(.*)"})
    with pytest.raises(ValidationError, match="is no regular expression"):
        Table(path="t.csv", extract={"line": "(?<a>"})


@pytest.mark.parametrize("options", [{"at": "a"}, {"columns": ["a"]}, {"explode": "a"}, {"join": {"at": "a"}}])
def test_options_of_tables_are_refused_beside_text(options):
    if "join" in options:
        options = {"join": {"path": "t.txt", "on": "a", "keep": "b", "text": "lines", **options["join"]}}
    else:
        options = {"text": "files", **options}
    with pytest.raises(ValidationError, match="reads plain text"):
        Table(path="t.txt", **options)


def test_an_expression_over_a_list_is_refused(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"image": "a.jpg", "caption": ["A bus."]}\n')
    with pytest.raises(SourceError, match="not text"):
        Table(path=path, extract={"caption": "(?<said>.*)"}, fields={"caption": "said"}).turns("caption")


def test_a_text_that_does_not_fit_the_expression_as_a_whole_costs_its_row(tmp_path):
    path = write(tmp_path / "a.txt", "0,0,9,9,five, six\n0,0,x,9,seven\n1,1,2,2,8\n")
    turns = Table(path=path, **BOXES, fields=REGIONS).turns("ocr")
    assert turns["problem"].to_list() == [None, "unparsable_row", None]
    assert turns["boxes"][0].struct.field("phrase").to_list() == ["five, six"]
    assert turns["detail"][1] == "'line' is '0,0,x,9,seven', which does not fit its `extract`"


@pytest.mark.parametrize(
    ("extract", "said"),
    [
        ({"lien": "(?<a>.*)"}, "no column 'lien'"),
        ({"line": "(?<number>.*)"}, "names a column that is there already"),
    ],
)
def test_expressions_that_do_not_fit_the_table_are_errors(tmp_path, extract, said):
    path = write(tmp_path / "a.txt", "one\n")
    with pytest.raises(SourceError, match=said.replace("(", r"\(")):
        Table(path=path, text="lines", extract=extract, fields={"caption": "line"}).turns("caption")


def test_rows_that_agree_in_columns_are_one_turn_with_all_their_boxes(tmp_path):
    for name, text in (("a", "0,0,9,9,one\n5,5,8,8,two, three\n"), ("b", "1,1,2,2,four\n")):
        write(tmp_path / "box" / f"{name}.txt", text)
    turns = Table(path=str(tmp_path / "box"), **BOXES, gather="file_stem", fields=REGIONS).turns("ocr")
    assert turns.select("row", "images", "problem").rows() == [("a", ["a.jpg"], None), ("b", ["b.jpg"], None)]
    words = [boxes.struct.field("phrase").to_list() for boxes in turns["boxes"]]
    assert words == [["one", "two, three"], ["four"]]


def test_rows_of_several_keys_in_any_order(tmp_path):
    rows = "a,cat,0\nb,cat,1\na,dog,2\na,cat,3\n"
    path = write(tmp_path / "t.csv", rows)
    fields = {"images": "image || '.jpg'", "phrase": "name", "boxes": ["x", "x", "x", "x"]}
    options = {"columns": ["image", "name", "x"], "box_order": "xywh", "fields": fields}
    turns = Table(path=path, gather=["image", "name"], **options).turns("rec")
    found = turns.select("row", "phrase", left="boxes").with_columns(left=turns["boxes"].list.eval(LEFT))
    assert found.rows() == [("a/cat", "cat", [0.0, 3.0]), ("b/cat", "cat", [1.0]), ("a/dog", "dog", [2.0])]
    assert Table(path=path, gather=["image", "name"], take={"first": 1}, **options).turns("rec")[
        "problem"
    ].to_list() == [None, "not_taken", "not_taken"]


def test_a_turn_one_of_whose_rows_is_broken_or_says_something_else_is_no_turn(tmp_path):
    path = write(tmp_path / "t.csv", "image,name,x\na,cat,0\na,cat,?\nb,cat,1\nb,dog,1\nc,cat,2\n,cat,3\n,cat,4\n")
    fields = {"images": "image || '.jpg'", "phrase": "name", "boxes": ["x", "x", "x", "x"]}
    turns = Table(path=path, gather="image", box_order="xywh", fields=fields).turns("rec")
    assert turns["problem"].to_list() == ["unparsable_row", "unparsable_row", None, None, None]
    assert turns["detail"][1] == "'phrase' is not the same in all rows that `gather` puts together"
    assert turns["row"].to_list()[2] == "c"


def test_answers_of_annotators_are_gathered_and_a_task_without_lists_cannot_be(tmp_path):
    path = write(tmp_path / "t.csv", "image,question,said\na,What?,bus\na,What?,a bus\n")
    fields = {"answers": "said", "answer": "'bus'", "images": "image"}
    turns = Table(path=path, gather=["image", "question"], fields=fields).turns("vqa_open")
    assert turns["answers"].to_list() == [["bus", "a bus"]]
    with pytest.raises(SourceError, match="nothing here is a list"):
        Table(path=path, gather="image", fields={"caption": "said"}).turns("caption")
    with pytest.raises(SourceError, match="no column 'imag'"):
        Table(path=path, gather="imag", fields={"caption": "said"}).turns("caption")


def test_keys_of_numbers_are_written_as_whole_ones_and_lists_are_none(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"image": "a", "k": 1.0, "l": [1], "b": [0, 0, 1, 1]}\n' * 2)
    fields = {"boxes": "b", "phrase": "'x'"}
    turns = Table(path=path, gather="k", fields=fields).turns("rec")
    assert turns["row"].to_list() == ["1"] and turns["boxes"].list.len().to_list() == [2]
    with pytest.raises(SourceError, match="'l' is List"):
        Table(path=path, gather="l", fields=fields).turns("rec")


@pytest.mark.parametrize("rows", ["1,2\n1,2\n", "1,2,A bus,and a cat\n1,2,A dog\n"])
def test_a_file_of_other_columns_than_are_named_is_refused_with_their_number(tmp_path, rows):
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(SourceError, match=r"its first line has \d values, and `columns` names 3") as caught:
        Table(path=path, columns=["i", "j", "caption"]).turns("caption")
    assert caught.value.where == f"{path}:1"


@pytest.mark.parametrize("form", ["{0: person, 1: no, 10: 'on'}", "[person, no, 'on']"])
def test_names_of_classes_are_read_from_yaml_as_they_are_written(tmp_path, form):
    names = {"path": write(tmp_path / "data.yaml", f"train: x\nnames: {form}\n"), "at": "names"}
    path = write(tmp_path / "t.csv", f"image,k\na.jpg,0\nb.jpg,1\nc.jpg,{10 if ':' in form else 2}\n")
    join = {**names, "on": {"k": "key"}, "keep": {"name": "value"}}
    turns = Table(path=path, join=join, fields={"caption": "name"}).turns("caption")
    assert turns["caption"].to_list() == ["person", "no", "on"]


def test_an_object_of_single_values_has_a_row_for_each_key(tmp_path):
    path = write(tmp_path / "captions.json", '{"setting": {}, "captions": {"7": "A bus.", "a/8": null}}')
    fields = {"images": "key || '.png'", "caption": "value"}
    turns = Table(path=path, at="captions", fields=fields).turns("caption")
    assert turns.select("row", "images", "caption").rows() == [
        ("7", ["7.png"], "A bus."),
        ("a/8", ["a/8.png"], None),
    ]


def test_of_a_folder_with_a_row_a_file_one_may_lack_what_others_have(tmp_path):
    for name, text in (("a", '{"q": "What?", "answer": "A bus."}'), ("b", '{"q": "Who?"}')):
        write(tmp_path / f"{name}.json", text)
    fields = {"question": "q", "images": "file_stem || '.jpg'"}
    turns = Table(path=str(tmp_path), fields=fields).turns("vqa_open")
    assert turns.select("row", "question", "answer").rows() == [("a", "What?", "A bus."), ("b", "Who?", None)]
    with pytest.raises(SourceError, match="no column 'answer'"):
        Table(path=str(tmp_path / "b.json"), at=".", fields=fields).turns("vqa_open")


def test_a_suffix_that_says_nothing_is_refused_with_a_way_out(tmp_path):
    with pytest.raises(SourceError) as caught:
        Table(path=write(tmp_path / "t.eng", "a"), fields={"caption": "line"}).turns("caption")
    assert "text: lines" in caught.value.fix


def choices(folder, rows, **options):
    path = folder / "t.jsonl"
    lines = [{"image": "a.jpg", "question": "What?", "choices": of, "answer": answer} for of, answer in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Table(path=str(path), **options).turns("vqa_mc")


@pytest.mark.parametrize("label", ["{A}. ", "({a}) ", "{A}) ", "{A})", "{n}. ", "({n}) ", "{a}: "])
def test_labels_that_all_options_have_in_order_are_taken_off(tmp_path, label):
    marks = [label.format(A="ABC"[k], a="abc"[k], n=k + 1) for k in range(3)]
    words = ["cat", "dog", "owl"]
    labelled = [mark + word for mark, word in zip(marks, words, strict=True)]
    letters = [str(k + 1) if "{n}" in label else "ABC"[k] for k in range(3)]
    for answers in (labelled, words, letters, [mark.strip() for mark in marks], [labelled[0], words[1], letters[2]]):
        turns = choices(tmp_path, [(labelled, answer) for answer in answers])
        assert turns["choices"].to_list() == [words] * 3
        assert turns["answer"].to_list() == [0, 1, 2]
        assert turns["remark"].unique().to_list() == [LABELS_OFF.format(marks[0].strip())]


@pytest.mark.parametrize(
    "options",
    [
        ["A. cat", "C. dog"],
        ["A. cat", "(b) dog"],
        ["A. cat", "dog"],
        ["B. cat", "A. dog"],
        ["A.", "B."],
        ["1.5", "2.5"],
        ["a.m.", "b.c."],
        ["(A. cat", "(B. dog"],
    ],
)
def test_labels_that_are_mixed_or_not_in_order_stay(tmp_path, options):
    turns = choices(tmp_path, [(options, options[1])])
    assert (turns["choices"].to_list(), turns["answer"].to_list()) == ([options], [1])
    assert ("remark" in turns.columns) == (options == ["B. cat", "A. dog"])


def test_a_letter_is_the_option_that_bears_it_where_labels_are_not_in_order(tmp_path):
    options = ["B. cat", "A. dog", "C. owl"]
    turns = choices(tmp_path, [(options, "A"), (["cat", "dog"], "B"), (["2) cat", "1) dog"], "A")])
    assert turns["answer"].to_list() == [1, 1, 0]
    assert turns["remark"].to_list()[:2] == [LABELS_STAY.format("B."), None]
    turns = choices(tmp_path, [(["A. cat", "A. dog", "C. owl"], "A"), (options, "C")], answer_is="letter")
    assert turns["answer"].to_list() == [None, 2]
    assert turns["problem"].to_list() == ["unparsable_row", None]
    turns = choices(tmp_path, [(["G. Orwell", "A. Camus"], "A"), (["A. Gide", "no one"], "B")])
    assert turns["answer"].to_list() == [0, 1]
    assert "remark" not in turns.columns


def test_labels_are_taken_off_beside_columns_of_which_some_are_empty(tmp_path):
    path = tmp_path / "t.jsonl"
    row = {"image": "a.jpg", "question": "What?", "a": "A. cat", "b": "B. dog", "c": None, "answer": "B"}
    path.write_text(json.dumps(row))
    turns = Table(path=str(path), fields={"choices": ["a", "b", "c"]}).turns("vqa_mc")
    assert (turns["choices"].to_list(), turns["answer"].to_list()) == ([["cat", "dog"]], [1])


def test_an_answer_that_is_one_option_and_another_ones_label_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="can be read as text or letter"):
        choices(tmp_path, [(["A. B", "B. A"], "A")])


def test_what_is_kept_of_gathered_rows_is_of_all_of_them(tmp_path):
    rows = "a,cat,0,en\nb,cat,1,de\na,cat,2,en\nc,cat,,\n"
    path = write(tmp_path / "t.csv", rows)
    fields = {"images": "image || '.jpg'", "phrase": "name", "boxes": ["x0", "x0", "x0", "x0"]}
    options = {"columns": ["image", "name", "x", "lang"], "extract": {"x": r"(?<x0>\d*)"}, "box_order": "xywh"}
    source = Table(path=path, gather="image", keep=["x", "lang"], meta=True, **options, fields=fields)
    turns = source.turns("rec")
    assert turns["x"].to_list() == [["0", "2"], ["1"], [None]]
    assert turns["lang"].to_list() == ["en", "de", None]
    assert [json.loads(text)["x"] for text in source.read("rec")[META]] == [["0", "2"], ["1"], [None]]


def test_conversations_are_not_gathered(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"id": "a", "messages": [{"role": "user", "content": "Hi"}]}\n')
    with pytest.raises(SourceError, match="a row is a whole conversation here"):
        Table(path=path, gather="id").turns("text_instruction")


def test_one_phrase_a_row_where_a_list_is_needed_is_told_how_to_be_one(tmp_path):
    path = write(tmp_path / "t.csv", "image,word\na.png,one\n")
    with pytest.raises(SourceError) as raised:
        Table(path=path, fields={"phrases": "word", "boxes": "word"}).turns("ocr")
    assert raised.value.fix == "if each row has one, say `phrases: [word]`"
