"""The forms in which public tables hold their rows: nested lists, objects by id, one object a file, joined files."""

import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import vldata
import vldata.errors
from vldata.errors import SourceError
from vldata.schema.turns import META
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene
from vldata.sources.reading import json_tables
from vldata.sources.scienceqa import ScienceQa
from vldata.sources.standins import write_json, write_json_lines
from vldata.sources.table import Table
from vldata.sources.webdataset import WebDataset, write_tar

OK, NO = {"text": "ok", "at": [1, 2, 30, 40]}, {"text": "no", "at": [5, 6, 70, 80]}
SCREENS = [
    {"id": "a", "image": "a.jpg", "elements": [OK, NO]},
    {"id": "b/c", "image": "b.jpg", "elements": []},
    {"id": "d", "image": "d.jpg", "elements": None},
    {"id": "e", "image": "e.jpg", "elements": [{"text": 9007199254740993, "at": [0, 0, 2, 2]}]},
]  # fmt: skip
ELEMENTS = {"phrase": "elements.text", "boxes": "elements.at"}


def write(folder, form, rows, name="t"):
    path = folder / f"{name}.{form}"
    if form == "parquet":
        pl.DataFrame(rows, strict=False).write_parquet(path)
    elif form == "arrow":
        pl.DataFrame(rows, strict=False).write_ipc(path)
    else:
        (write_json if form == "json" else write_json_lines)(path, rows)
    return str(path)


def turns_of(path, task="vqa_open", **options):
    return Table(path=str(path), **options).turns(task)


def rows_and(turns, *columns):
    return turns.select("row", *columns, "problem").rows()


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "arrow"])
def test_items_of_a_list_are_rows_and_a_list_without_any_is_told(tmp_path, form):
    rows = SCREENS if form.startswith("json") else SCREENS[:3]
    turns = turns_of(write(tmp_path, form, rows), "rec", explode="elements", fields=ELEMENTS)
    assert rows_and(turns, "phrase")[:4] == [
        ("a/0", "ok", None),
        ("a/1", "no", None),
        ("b/c", None, "nothing_to_explode"),
        ("d", None, "nothing_to_explode"),
    ]
    assert [box["x1"] for box in turns["boxes"][1]] == [70]
    if len(rows) == 4:
        assert rows_and(turns, "phrase")[4:] == [("e/0", "9007199254740993", None)]


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet"])
def test_two_lists_go_side_by_side_and_must_be_of_one_length(tmp_path, form):
    rows = [
        {"id": "1", "q": ["a?", "b?"], "meta": {"a": ["x", "y"]}},
        {"id": "2", "q": ["c?"], "meta": {"a": ["z", "w"]}},
    ]
    fields = {"question": "q", "answer": "meta.a", "images": "'i.jpg'"}
    turns = turns_of(write(tmp_path, form, rows), explode=["q", "meta.a"], fields=fields)
    assert rows_and(turns, "question", "answer") == [
        ("1/0", "a?", "x", None),
        ("1/1", "b?", "y", None),
        ("2", None, None, "unparsable_row"),
    ]


def test_an_item_of_another_kind_costs_itself_alone_and_a_row_without_a_list_itself(tmp_path):
    rows = [{"id": 1, "e": [{"q": "a?"}, {"q": {"no": 1}}]}, {"id": 2, "e": "text"}, {"id": 3, "e": [{"q": "b?"}]}]
    turns = turns_of(write(tmp_path, "json", rows), explode="e", fields={"question": "e.q", "answer": "'yes'"})
    assert [(row, problem) for row, _, problem in rows_and(turns, "question")] == [
        ("1/0", None), ("1/1", "unparsable_row"), ("2", "unparsable_row"), ("3/0", None)
    ]  # fmt: skip


def test_rows_without_ids_are_named_by_their_place(tmp_path):
    path = write(tmp_path, "jsonl", [{"q": ["a?", "b?"]}, {"q": []}])
    turns = turns_of(path, explode="q", fields={"question": "q", "answer": "'yes'"})
    assert turns["row"].to_list() == ["t.jsonl/0/0", "t.jsonl/0/1", "t.jsonl/1"]


@pytest.mark.parametrize(("explode", "said"), [("elemnts", "did you mean 'elements'"), ("image", "not a list")])
def test_what_cannot_be_exploded_is_an_error(tmp_path, explode, said):
    with pytest.raises(SourceError, match=said):
        turns_of(write(tmp_path, "parquet", SCREENS[:1]), "rec", explode=explode, fields=ELEMENTS)


def test_the_image_of_an_item_is_its_own(tmp_path):
    images = [[{"bytes": encoded(scene(k, seed=1), suffix=".png"), "path": None} for k in range(2)], []]
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = {"id": ["1", "2"], "pics": pa.array(images, kind), "caption": ["c", "d"]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    turns = turns_of(tmp_path / "t.parquet", "caption", explode="pics", fields={"images": "pics"})
    assert turns.select("row", "images").rows() == [
        ("1/0", ["t.parquet::pics/0/0"]), ("1/1", ["t.parquet::pics/0/1"]), ("2", [])
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "arrow"])
def test_dotted_paths_and_a_name_with_a_dot_wins(tmp_path, form):
    rows = [{"id": "1", "m": {"q": "a?", "n": {"a": "x"}}, "m.n.a": "own", "image": "i.jpg"}]
    path = write(tmp_path, form, rows)
    (turn,) = turns_of(path, fields={"question": "m.q", "answer": "m.n.a || '!'"}).to_dicts()
    assert (turn["question"], turn["answer"]) == ("a?", "own!")


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_numbers_inside_objects_are_written_as_in_the_file(tmp_path, form):
    path = tmp_path / f"t.{form}"
    lines = ['{"id": 1, "m": {"a": 3}}', '{"id": 2, "m": {"a": 2.50}}', '{"id": 3, "m": {"a": 1e3}}']
    path.write_text("[" + ",".join(lines) + "]" if form == "json" else "\n".join(lines))
    assert turns_of(path, fields={"question": "'q?'", "answer": "m.a"})["answer"].to_list() == ["3", "2.50", "1e3"]


def test_a_dotted_path_that_leads_nowhere_names_the_nearest(tmp_path):
    with pytest.raises(SourceError, match=r"did you mean 'm\.question'"):
        turns_of(
            write(tmp_path, "json", [{"m": {"question": "a?"}}]), fields={"question": "m.qestion", "answer": "'a'"}
        )


def test_an_object_of_objects_has_its_keys_as_ids(tmp_path):
    rows = {
        "7": {"image": "a.jpg", "question": "a?", "answer": "x"},
        "08": {"image": "b.jpg", "question": "b?", "answer": "y"},
    }
    write_json(tmp_path / "top.json", rows)
    write_json(tmp_path / "deep.json", {"info": {}, "data": {"all": rows}})
    for options in ({"path": tmp_path / "top.json"}, {"path": tmp_path / "deep.json", "at": "data.all"}):
        assert rows_and(turns_of(**options), "question") == [("7", "a?", None), ("08", "b?", None)]
    write_json(tmp_path / "n.json", {"data": 3})
    with pytest.raises(SourceError, match="`at: data` leads to 3"):
        turns_of(tmp_path / "n.json", at="data")


def test_one_object_a_file_is_a_row_named_by_its_file(tmp_path):
    for name in ("a/1", "b/1"):
        write_json(tmp_path / f"{name}.json", {"question": f"{name}?", "answer": "x", "boxes": [[1, 2, 3, 4]]})
    turns = turns_of(tmp_path, fields={"images": "file_stem || '.jpg'"})
    assert rows_and(turns, "question", "images") == [
        ("a/1", "a/1?", ["a/1.jpg"], None), ("b/1", "b/1?", ["b/1.jpg"], None)
    ]  # fmt: skip
    alone = turns_of(tmp_path / "a" / "1.json", at=".", fields={"images": "file_name"})
    assert alone["images"].to_list() == [["1.json"]]


def test_each_caption_of_a_list_is_a_turn_however_the_list_is_written(tmp_path):
    lists = [["a dog", "a cat"], ["it's"], []]
    for form, captions in {
        "parquet": lists,
        "json": lists,
        "csv": ["['a dog', 'a cat']", '["it\'s"]', "[]"],
        "tsv": ["['a dog'  'a cat']", '["it\'s"]', "[]"],
    }.items():
        table = pl.DataFrame({"id": ["1", "2", "3"], "image": ["i.jpg"] * 3, "caption": captions})
        path = tmp_path / f"t.{form}"
        if form == "json":
            write_json(path, table.to_dicts())
        elif form == "parquet":
            table.write_parquet(path)
        else:
            table.write_csv(
                path, separator="\t" if form == "tsv" else ",", quote_style="never" if form == "tsv" else None
            )
        assert rows_and(turns_of(path, "caption"), "caption") == [
            ("1/0", "a dog", None), ("1/1", "a cat", None), ("2/0", "it's", None), ("3", None, "nothing_to_explode")
        ], form  # fmt: skip


def test_captions_of_which_one_stands_in_brackets_are_texts(tmp_path):
    path = write(tmp_path, "json", [{"image": "a.jpg", "caption": "['a']"}, {"image": "b.jpg", "caption": "a dog"}])
    assert turns_of(path, "caption")["caption"].to_list() == ["['a']", "a dog"]


def test_options_written_as_text_are_options(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,question,choices,answer\na.jpg,q?,\"['x', 'y']\",0\n")
    assert turns_of(path, "vqa_mc")["choices"].to_list() == [["x", "y"]]


def test_a_list_of_columns_is_a_list_without_what_is_empty(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "A,B,C,i,j,x,y,z,w,question,answer\none,2.50,,a.jpg,b.jpg,1,2,3.5,4,q?,0\none,,z,a.jpg,,1,2,u,4,q?,0\n"
    )
    fields = {"choices": ["A", "B", "C"], "images": ["i", "j"]}
    turns = turns_of(path, "vqa_mc", fields=fields)
    assert turns["choices"].to_list() == [["one", "2.50"], ["one", "z"]]
    assert turns["images"].to_list() == [["a.jpg", "b.jpg"], ["a.jpg"]]
    boxes = turns_of(path, "rec", fields={"phrase": "A", "boxes": ["x", "y", "z", "w"]})
    assert [[*box.values()][:4] for box in boxes["boxes"][0]] == [[1, 2, 3.5, 4]]
    assert boxes["problem"].to_list() == [None, "unparsable_row"]


def test_columns_of_embedded_images_are_in_order(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    png = {"bytes": encoded(scene(1, seed=1), suffix=".png"), "path": None}
    table = {
        "one": pa.array([png, png], kind),
        "two": pa.array([png, None], kind),
        "question": ["q?"] * 2,
        "answer": ["a"] * 2,
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    turns = turns_of(tmp_path / "t.parquet", fields={"images": ["one", "two"]})
    assert turns["images"].to_list() == [["t.parquet::one/0/0", "t.parquet::two/0/0"], ["t.parquet::one/1/0"]]


def test_a_list_of_columns_for_one_value_is_refused():
    with pytest.raises(ValidationError, match="'question' is one value"):
        Table(path="t.csv", fields={"question": ["a", "b"]})


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "csv"])
def test_another_file_gives_columns_by_key_and_nulls_where_it_has_no_row(tmp_path, form):
    write_json(
        tmp_path / "names.json",
        {"images": [{"id": 1, "file": "a.jpg"}, {"id": 2, "file": "b.jpg"}, {"id": 3, "file": "c"}]},
    )
    rows = [{"n": k, "image_id": i, "question": "q?", "answer": "x"} for k, i in enumerate([2, 1, 2, 9])]
    path = tmp_path / f"t.{form}"
    if form == "csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        write(tmp_path, form, rows)
    join = {"path": str(tmp_path / "names.json"), "at": "images", "on": {"image_id": "id"}, "keep": ["file"]}
    turns = turns_of(path, join=join, fields={"row": "n", "images": "file"})
    assert turns.select("row", "images").rows() == [
        ("0", ["b.jpg"]), ("1", ["a.jpg"]), ("2", ["b.jpg"]), ("3", [])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ([{"id": 1, "f": "a"}, {"id": 1, "f": "b"}], "several rows have the id '1'"),
        ([{"id": 1.5, "f": "a"}], "numbers with fractions"),
        ([{"id": 1, "g": "a"}], "no column 'f'"),
        ([{"id": 1, "f": "a", "question": "own"}], "both have a column 'question'"),
    ],
)
def test_a_join_that_is_not_sure_is_refused(tmp_path, right, said):
    write_json(tmp_path / "r.json", right)
    path = write(tmp_path, "json", [{"id": 1, "question": "q?", "answer": "x"}])
    keep = ["f", "question"] if "question" in right[0] else ["f"]
    with pytest.raises(SourceError, match=said):
        turns_of(path, join=[{"path": str(tmp_path / "r.json"), "on": "id", "keep": keep}])


def test_a_join_file_that_is_missing_is_named(tmp_path):
    path = write(tmp_path, "json", [{"id": 1, "question": "q?", "answer": "x"}])
    with pytest.raises(SourceError, match="no such file"):
        Table(path=path, join=[{"path": "gone.json", "on": "id", "keep": ["f"]}]).files()


@pytest.mark.parametrize(
    ("take", "taken"),
    [
        ({"first": "10%"}, ["0"]), ({"first": 2}, ["0", "1"]), ({"end": "33.3%"}, ["4", "5", "6"]), ({"end": 1}, ["6"]),
        ({"first": 9, "at_most": True}, list("0123456")), ({"first": "100%"}, list("0123456")),
    ],
)  # fmt: skip
def test_a_part_is_taken_of_the_records_before_their_lists_are_exploded(tmp_path, take, taken):
    path = write(tmp_path, "jsonl", [{"id": str(k), "q": ["a?", "b?"], "image": "i.jpg"} for k in range(7)])
    turns = turns_of(path, take=take, explode="q", fields={"question": "q", "answer": "'x'"})
    assert turns.filter(pl.col("problem").is_null())["row"].to_list() == [f"{k}/{i}" for k in taken for i in range(2)]
    left = turns.filter(pl.col("problem") == "not_taken")["row"].to_list()
    assert left == [k for k in "0123456" if k not in taken]


def test_a_random_tenth_lies_in_a_random_fifth(tmp_path):
    path = write(tmp_path, "json", [{"id": k, "question": "q?", "answer": "x"} for k in range(100)])
    tenth, fifth = (
        set(turns_of(path, take={"random": part}).filter(pl.col("problem").is_null())["row"]) for part in ("10%", "20%")
    )
    assert len(tenth) == 10 and len(fifth) == 20 and tenth < fifth
    assert tenth != {str(k) for k in range(10)}


@pytest.mark.parametrize(
    "take", [{"end": 0}, {"first": "0%"}, {"random": "101%"}, {"first": "ten"}, {}, {"first": 1, "end": 1}]
)
def test_a_part_that_is_none_is_refused(take):
    with pytest.raises(ValidationError):
        Table(path="t.json", take=take)


def test_more_than_there_is_is_refused_unless_it_may_be_less(tmp_path):
    path = write(tmp_path, "json", [{"question": "q?", "answer": "x"}])
    with pytest.raises(SourceError, match="2 of 1 records"):
        turns_of(path, take={"first": 2})


def test_kept_columns_go_along_with_the_turns(tmp_path):
    path = write(tmp_path, "json", [{"id": 1, "question": "q?", "answer": "x", "score": {"clip": 0.25}}])
    assert turns_of(path, keep="score.clip")["score.clip"].to_list() == [0.25]
    with pytest.raises(SourceError, match=r"did you mean 'score\.clip'"):
        turns_of(path, keep="score.clop")
    with pytest.raises(ValidationError, match="canonical"):
        Table(path=path, keep="question")


def test_classes_inside_objects_are_read_by_name(tmp_path):
    names = {"_type": "ClassLabel", "names": ["cup", "pan"]}
    features = {"objects": {"_type": "Sequence", "feature": {"category": names, "bbox": {"_type": "Sequence"}}}}
    objects = pa.array([{"category": [1, 0], "bbox": [[0, 0, 9, 9], [1, 1, 5, 5]]}])
    schema = pa.schema(
        [("objects", objects.type)], metadata={"huggingface": json.dumps({"info": {"features": features}})}
    )
    pq.write_table(pa.table([objects], schema=schema), tmp_path / "t.parquet")
    fields = {"boxes": "objects.bbox", "phrases": "objects.category"}
    turns = turns_of(tmp_path / "t.parquet", "ocr", fields=fields)
    assert [box["phrase"] for box in turns["boxes"][0]] == ["pan", "cup"]


def test_columns_that_say_what_is_learnt_are_not_passed_over(tmp_path):
    rows = [
        {"id": "a", "instruction": "q", "response": "r", "loss": 0},
        {"id": "b", "instruction": "q", "response": "r", "loss": 1, "rejected": "s"},
        {"id": "c", "instruction": "q", "response": "r", "loss": 1.0, "rejected": None},
    ]
    path = write(tmp_path, "json", rows)
    problems = turns_of(path, "text_instruction")["problem"].to_list()
    assert problems == ["unknown_key", "unknown_key", None]
    for options in ({"ignore": ["loss", "rejected"]}, {"ignore": ["loss"], "fields": {"response": "response"}}):
        assert turns_of(path, "text_instruction", **options)["problem"].to_list() == [None] * 3


VOTES = ["chair", "porch", "chair", "chair ", "porch", "chair"]


@pytest.mark.parametrize(
    "answers", [VOTES, [{"answer": vote, "answer_confidence": "yes"} for vote in VOTES], {"answer": VOTES}, str(VOTES)]
)
@pytest.mark.parametrize("form", ["json", "parquet"])
def test_of_several_people_s_answers_the_most_frequent_is_learnt(tmp_path, form, answers):
    rows = [{"id": "a", "question": "q?", "answers": answers}, {"id": "b", "question": "r?", "answers": None}]
    path = write(tmp_path, form, rows)
    assert rows_and(turns_of(path), "answer") == [("a", "chair", None), ("b", None, "missing_value")]
    assert turns_of(path)["answers"][0].to_list() == VOTES
    assert turns_of(path, answer="first")["answer"].to_list() == ["chair", None]
    each = turns_of(path, answer="all")
    assert rows_and(each, "answer")[:2] == [("a/0", "chair", None), ("a/1", "porch", None)]
    with pytest.raises(SourceError, match="no question has an answer of its own"):
        turns_of(path, answer="given")


def test_an_answer_beside_those_of_several_people_is_taken_and_told_where_they_differ(tmp_path):
    path = write(tmp_path, "json", [{"question": "q?", "answer": " porch", "answers": VOTES}])
    given = turns_of(path)
    assert given["answer"].to_list() == [" porch"]
    assert "not the answer that most people gave, and was taken" in given["remark"][0]
    assert turns_of(path, answer="majority")["answer"].to_list() == ["chair"]
    named = turns_of(path, fields={"answer": "answers[2]"})
    assert named["answer"].to_list() == ["porch"]


@pytest.mark.parametrize("answers", [["B", "C", "D", "A", "D"], [1, 2, 3, 0, 3]])
def test_a_letter_counts_the_columns_of_choices_also_the_empty_ones(tmp_path, answers):
    choices = [
        ["x", "y", None, None],
        ["x", None, "z", "w"],
        [None, "y", "z", "w"],
        ["", "y", "z", "w"],
        ["x", "y", " ", " "],
    ]
    rows = [
        {"question": "q?", **dict(zip("ABCD", given, strict=True)), "answer": answer}
        for given, answer in zip(choices, answers, strict=True)
    ]
    turns = turns_of(write(tmp_path, "json", rows), "vqa_mc", fields={"choices": list("ABCD")})
    right = [
        given[k] if problem is None else problem
        for given, k, problem in turns.select("choices", "answer", "problem").iter_rows()
    ]
    assert right == ["y", "z", "w", "unparsable_row", "unparsable_row"]
    assert turns["choices"].to_list()[:3] == [["x", "y"], ["x", "z", "w"], ["y", "z", "w"]]


@pytest.mark.parametrize(
    ("task", "options", "column", "found"),
    [
        ("vqa_open", {"fields": {"answer": "'a ' || kind"}}, "answer", ["a True", "a False"]),
        ("vqa_open", {"fields": {"answer": "kinds[1]"}}, "answer", ["False", "True"]),
        ("vqa_open", {"fields": {"answer": "kind"}, "keep": ["kind"]}, "answer", ["True", "False"]),
        ("vqa_open", {"fields": {"answer": "'x'"}, "keep": ["kind"]}, "kind", ["True", "False"]),
        ("true_false", {"fields": {"statement": "question", "answer": "kind"}}, "answer", [True, False]),
        ("vqa_mc", {"fields": {"choices": ["'False'", "'True'"], "answer": "kind"}}, "answer", [1, 0]),
    ],
)
@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_classes_have_names_wherever_they_are_read(tmp_path, form, task, options, column, found):
    kind = {"_type": "ClassLabel", "names": ["True", "False"]}
    features = {"kind": kind, "kinds": {"_type": "List", "feature": kind}}
    columns = {"question": ["q?", "r?"], "kind": [0, 1], "kinds": [[1, 0], [0, 1]]}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    if form == "parquet":
        pq.write_table(table, tmp_path / "t.parquet")
    else:
        with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as file:
            file.write_table(table)
    turns = turns_of(tmp_path / f"t.{form}", task, **options)
    assert turns[column].to_list() == found


@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize(
    ("options", "answers"),
    [
        ({"fields": {"answer": "'about ' || n"}}, ["about 3", "about 2.50", "about 9007199254740993"]),
        ({"fields": {"answer": "CONCAT(LEFT(question, 1), n)"}}, ["q3", "r2.50", "s9007199254740993"]),
        ({"fields": {"answer": "ns[1]"}}, ["1", "1.50", "7"]),
        ({"fields": {"answer": "n"}, "keep": ["n"]}, ["3", "2.50", "9007199254740993"]),
        ({"fields": {"answer": "CASE WHEN n > 2.75 THEN 'many' ELSE 'few' END"}}, ["many", "few", "many"]),
    ],
)
def test_numbers_are_written_as_the_file_writes_them_also_inside_a_text(tmp_path, form, options, answers):
    rows = [
        '{"question": "q?", "n": 3, "ns": [1, 2]}',
        '{"question": "r?", "n": 2.50, "ns": [1.50]}',
        '{"question": "s?", "n": 9007199254740993, "ns": [7, 8.0]}',
    ]
    path = tmp_path / f"t.{form}"
    path.write_text("\n".join(rows) if form == "jsonl" else f"[{', '.join(rows)}]")
    turns = turns_of(path, **options)
    assert turns["answer"].to_list() == answers
    if "keep" in options:
        assert turns["n"].to_list() == [3, 2.5, 9007199254740992]


def test_where_sees_kept_columns_and_the_dataset_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(k), "instruction": f"Say {k}.", "response": "No.", "m": {"score": k / 4}} for k in range(4)]
    write_json(tmp_path / "t.json", rows)
    recipe = {
        "format": "table",
        "path": "t.json",
        "task": "text_instruction",
        "keep": ["m.score"],
        "where": "m.score > 0.3",
    }
    (tmp_path / "r.yaml").write_text(json.dumps({"name": "kept", "seed": 1, "sources": {"s": recipe}}))
    vldata.build(vldata.load("r.yaml"), tmp_path / "out", store=tmp_path / "store", workers=1)
    found = vldata.open_dataset(tmp_path / "out")
    table = next(iter(found.values())) if hasattr(found, "values") else found
    assert sorted(row["id"] for row in table) == ["s/2", "s/3"]
    assert "m.score" not in table.column_names
    ledger = pl.read_parquet(tmp_path / "out" / "ledger.parquet")
    assert sorted(ledger.select("row", "reason").rows()) == [("0", "where"), ("1", "where")]


def test_a_folder_is_read_whatever_lies_beside_its_tables_and_that_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "d"
    write_json_lines(folder / "a.jsonl", [{"instruction": "Say.", "response": "No."}])
    for name in ("LICENSE", "README.md", "dataset_info.json", "license.json", "notes.txt", ".hidden.json"):
        (folder / name).write_text("{not json")
    recipe = {"format": "table", "path": "d", "task": "text_instruction"}
    (tmp_path / "r.yaml").write_text(json.dumps({"name": "folder", "seed": 1, "sources": {"s": recipe}}))
    built = vldata.build(vldata.load("r.yaml"), tmp_path / "out", store=tmp_path / "store", workers=1)
    (note,) = (note for note in built.manifest["notes"] if "passed over" in note)
    assert "5 files" in note and "LICENSE" in note and "hidden" not in note


def test_a_licence_beside_the_problems_of_a_folder_does_not_stop_it(tmp_path):
    ScienceQa.standin(tmp_path, rows=4, seed=1, images=False)
    (tmp_path / "LICENSE").write_text("CC BY-NC-SA")
    assert ScienceQa(path=str(tmp_path), image_root=str(tmp_path)).turns("vqa_mc").height == 4


@pytest.mark.parametrize(("last", "answers"), [('"3"', ["1", "2.50", "3"]), ("3.0", ["1", "2.50", "3.0"])])
def test_texts_that_look_like_numbers_are_read_without_an_object_a_row(tmp_path, monkeypatch, last, answers):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"question": "q?", "answer": {a}}}\n' for a in ('"1"', '"2.50"', last)))
    objects = []
    real = json_tables.json_document
    monkeypatch.setattr(json_tables, "json_document", lambda path: objects.append(path) or real(path))
    assert turns_of(path)["answer"].to_list() == answers
    assert bool(objects) == (last == "3.0")


def test_a_broken_row_of_the_other_file_is_an_error_and_conversations_keep_columns(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "image": "a.jpg", "question": "?", "answer": "x"}\n')
    (tmp_path / "b.jsonl").write_text('{"id": 1, "more": "y"}\n{broken\n{"id": 2, "more": "z"}\n')
    join = {"path": str(tmp_path / "b.jsonl"), "on": "id", "keep": ["more"]}
    with pytest.raises(SourceError, match="row 2 cannot be read"):
        Table(path=str(tmp_path / "a.jsonl"), join=join).turns("vqa_open")
    talk = (
        '{"id": 1, "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "score": 2}\n'
    )
    (tmp_path / "c.jsonl").write_text(talk)
    assert Table(path=str(tmp_path / "c.jsonl"), keep=["score"]).turns("text_instruction")["score"].to_list() == [2]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("has_head", [True, False])
def test_a_row_with_more_values_than_columns_is_no_shorter_row(tmp_path, suffix, has_head):
    """Also where some column is not asked for, of which Polars then reads no more than it needs."""
    names, mark = ["image", "url", "caption"], {".csv": ",", ".tsv": "\t"}[suffix]
    rows = [["a.jpg", "u", "A bus."], ["b.jpg", "u", "A bus", " and a cat."]]
    path = tmp_path / f"t{suffix}"
    path.write_text("".join(f"{mark.join(row)}\n" for row in ([names] * has_head + rows)), encoding="utf-8")
    turns = Table(path=str(path), columns=None if has_head else names).turns("caption")
    assert turns.select("caption", "problem").rows() == [("A bus.", None), (None, "unparsable_row")]
    assert turns["detail"][1] == f"line {2 + has_head}: 4 values for 3 columns"


def joined_build(tmp_path, monkeypatch, left, right, **options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    write_json(tmp_path / "t.json", left)
    write_json(tmp_path / "more" / "r.json", right)
    join = {"path": "${MORE}/r.json", "on": "id", "keep": ["f"]}
    source = {"format": "table", "path": "t.json", "task": "text_instruction", "join": join, "keep": "f", **options}
    (tmp_path / "r.yaml").write_text(json.dumps({"name": "joined", "seed": 1, "sources": {"s": source}}))
    return vldata.build(vldata.load("r.yaml"), tmp_path / "out", store=tmp_path / "store", workers=1)


def test_rows_without_a_partner_are_counted_on_both_sides(tmp_path, monkeypatch):
    left = [{"id": k, "instruction": f"Say {k}.", "response": "No."} for k in (1, 2, 3, None)]
    right = [{"id": k, "f": f"f{k}"} for k in ("1", "2", "7", "8", "9", None)]
    monkeypatch.setenv("MORE", "more")
    built = joined_build(tmp_path, monkeypatch, left, right, where="f = 'f2'")
    (note,) = (note for note in built.manifest["notes"] if "partner" in note)
    assert note == "s: 2 of 4 rows have no partner in more/r.json, and 4 of its 6 rows are no row's"
    assert built.manifest["sources"]["s"]["rows_out"] == 1
    assert "${MORE}" in (tmp_path / "out" / "recipe.lock.yaml").read_text()
    plan = vldata.plan(vldata.load("r.yaml"), store=tmp_path / "store", workers=1)
    assert note in plan["notes"]


def test_a_variable_in_a_join_that_is_not_set_is_an_error_and_so_is_one_elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("MORE", raising=False)
    with pytest.raises(vldata.errors.VldataError, match=r"MORE is not set"):
        joined_build(tmp_path, monkeypatch, [], [])
    recipe = (tmp_path / "r.yaml").read_text().replace('"keep": ["f"]', '"keep": ["f"], "at": "${MORE}"')
    (tmp_path / "r.yaml").write_text(recipe)
    with pytest.raises(vldata.errors.VldataError, match=r"only local paths may: path, image_root, join\.path"):
        vldata.load("r.yaml")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_joined_column_of_conversations_is_theirs(tmp_path, form):
    said = [{"from": "human", "value": "<image>\nHi"}, {"from": "gpt", "value": "Ho"}]
    talks = [{"id": str(k), "conversations": said} for k in (1, 2)]
    if form == "parquet":
        pl.DataFrame(talks).write_parquet(tmp_path / "t.parquet")
    else:
        write_json_lines(tmp_path / "t.jsonl", talks)
    write_json(tmp_path / "r.json", [{"n": 2, "image": "b.jpg"}, {"n": 1, "image": "a.jpg"}])
    join = {"path": str(tmp_path / "r.json"), "on": {"id": "n"}, "keep": ["image"]}
    turns = Table(path=str(tmp_path / f"t.{form}"), join=join).turns("instruction")
    assert turns["images"].to_list() == [["a.jpg"], ["b.jpg"]] and turns["problem"].null_count() == 2


def test_a_column_that_some_files_have_is_null_in_the_others(tmp_path):
    for name, more in (("a", {"score": 2}), ("b", {})):
        write_json(tmp_path / f"{name}.json", [{"id": name, "question": "q?", "answer": "x", **more}])
    assert turns_of(tmp_path, keep="score").sort("row")["score"].to_list() == [2, None]


def test_the_number_of_a_row_is_as_written_when_it_is_kept_too(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[{"n": 2.50, "question": "q?", "answer": "x"}, {"n": 1, "question": "q?", "answer": "x"}]')
    turns = turns_of(path, fields={"row": "n"}, keep="n")
    assert turns.select("row", "n").rows() == [("2.50", 2.5), ("1", 1.0)]


def test_a_joined_column_that_is_kept_is_as_its_file_writes_it(tmp_path):
    path = write(tmp_path, "json", [{"id": k, "question": "q?", "answer": "x"} for k in (1, 2, 3)])
    (tmp_path / "r.json").write_text('[{"n": "2", "s": 2.50}, {"n": "1", "s": 3}]')
    (tmp_path / "m.json").write_text('[{"s": 3, "deep": {"a": 1.0}}]')
    joins = [
        {"path": str(tmp_path / "r.json"), "on": {"id": "n"}, "keep": ["s"]},
        {"path": str(tmp_path / "m.json"), "on": "s", "keep": ["deep"]},
    ]
    with pytest.raises(SourceError, match="numbers with fractions"):
        Table(path=path, join=joins, keep=["deep"]).read("vqa_open")
    (tmp_path / "r.json").write_text('[{"n": "2", "s": 2, "t": 2.50}, {"n": "1", "s": 3, "t": 3}]')
    joins[0]["keep"] = ["s", "t"]
    turns = Table(path=path, join=joins, keep=["t", "deep"], meta=True).read("vqa_open").sort("row")
    assert turns[META].to_list() == [
        '{"deep":{"a":1.0},"t":3}', '{"deep":null,"t":2.50}', '{"deep":null,"t":null}'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"1.jpg": ["a", "b"], "2.jpg": ["c"]}, ["a", "b", "c"]),
        ({"1.jpg": ["a", "b"], "2.jpg": ["c", "d"]}, ["a", "b", "c", "d"]),
        ({"1.jpg": "a", "2.jpg": "b"}, ["a", "b"]),
        ({"1": ["a"], "2": ["b"]}, ["a", "b"]),
        ({"COCO_000000000012": "a"}, ["a"]),
    ],
)
def test_texts_or_lists_of_them_by_id_are_rows(tmp_path, document, found):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(document))
    fields = {"images": "key", "caption": "value"}
    turns = Table(path=str(path), fields=fields).turns("caption")
    assert turns["caption"].to_list() == found
    assert {*turns["images"].explode()} == {*document}
    assert turns["problem"].null_count() == turns.height
    path.write_text(json.dumps({"info": {}, "captions": document}))
    assert Table(path=str(path), fields=fields, at="captions").turns("caption")["caption"].to_list() == found


def test_an_object_of_columns_is_still_one(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"image": ["1.jpg", "2.jpg"], "caption": ["a", "b"]}))
    assert Table(path=str(path)).turns("caption")["caption"].to_list() == ["a", "b"]
    path.write_text(json.dumps({"image": "1.jpg", "caption": "a"}))
    with pytest.raises(SourceError, match="at: "):
        Table(path=str(path)).turns("caption")


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_lists_that_are_written_as_text_are_exploded(tmp_path, form):
    rows = [{"image": "a.jpg", "says": "['one', 'two']"}, {"image": "b.jpg", "says": ""}]
    path = tmp_path / f"t.{form}"
    if form in ("csv", "parquet"):
        getattr(pl.DataFrame(rows), f"write_{form}")(path)
    else:
        path.write_text(json.dumps(rows) if form == "json" else "".join(f"{json.dumps(row)}\n" for row in rows))
    turns = Table(path=str(path), explode="says", fields={"caption": "says"}).turns("caption")
    assert [*zip(turns["caption"], turns["problem"], strict=True)] == [
        ("one", None), ("two", None), (None, "nothing_to_explode")
    ]  # fmt: skip


def test_an_object_in_place_of_a_list_is_named_as_such(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"image": ["a.jpg"], "says": [{"en": "one", "de": "eins"}]}).write_parquet(path)
    with pytest.raises(SourceError, match=r"an object of en, de, not a list\n.*such as says\.en"):
        Table(path=str(path), explode="says", fields={"caption": "says"}).turns("caption")


def boxes_beside(folder, width, height, *, box=(10, 20, 60, 50), **more):
    rows = [{"image": f"{k}.jpg", "phrase": "cup", "boxes": [list(box)], "width": width, "height": height, **more}
            for k in range(3)]  # fmt: skip
    path = folder / "t.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    turns = Table(path=str(path)).turns("rec")
    return turns["image_sizes"].to_list() if "image_sizes" in turns.columns else None


@pytest.mark.parametrize("sides", [(200, 100), (200.0, 100.0), ("200", "100")])
def test_sides_beside_boxes_are_the_annotated_size(tmp_path, sides):
    assert boxes_beside(tmp_path, *sides) == [[{"width": 200, "height": 100}]] * 3


@pytest.mark.parametrize(
    ("sides", "more"),
    [
        ((50, 30), {}),
        ((0, 100), {}),
        ((-1, -1), {}),
        ((200.5, 100), {}),
        (("wide", "high"), {}),
        ((None, 100), {}),
        ((50, 31), {"x": 1}),
    ],
)
def test_sides_that_are_no_image_s_are_not_taken_for_it(tmp_path, sides, more):
    assert boxes_beside(tmp_path, *sides, **more) is None
    path = tmp_path / "u.jsonl"
    path.write_text(json.dumps({"image": "a.jpg", "phrase": "cup", "l": 1, "t": 2, "width": 50, "height": 30}))
    fields = {"boxes": ["l", "t", "width", "height"]}
    assert "image_sizes" not in Table(path=str(path), fields=fields, box_order="xywh").turns("rec").columns


@pytest.mark.parametrize("first", ["a", "b"])
def test_columns_that_one_file_of_many_lacks_do_not_depend_on_their_order(tmp_path, first):
    names = {"a": {"image": "a.png", "said": {"en": "x"}, "id": "7"}, "b": {"image": "b.png", "alt": "y"}}
    second = next(name for name in names if name != first)
    for place, name in enumerate((first, second)):
        (tmp_path / f"{place}.json").write_text(json.dumps(names[name]))
        data = json.dumps({**names[name], "id": name}).encode()
        write_tar(tmp_path / "shards" / f"{place}.tar", [(f"{name}.json", data), (f"{name}.jpg", b"")])
    fields = {"caption": "COALESCE(said.en, alt)"}
    turns = Table(path=str(tmp_path / "*.json"), fields=fields).turns("caption")
    ids = {"x": "7", "y": str([first, second].index("b"))}
    assert turns.sort("caption").select("caption", "row", "problem").rows() == [(k, v, None) for k, v in ids.items()]
    shards = WebDataset(path=str(tmp_path / "shards"), fields=fields).turns("caption").sort("caption")
    assert shards.select("caption", "problem").rows() == [("x", None), ("y", None)]
    with pytest.raises(SourceError, match="'nowhere', which is no column"):
        Table(path=str(tmp_path), fields={"caption": "nowhere"}).turns("caption")


def files(folder, **texts):
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return str(folder)


def test_a_column_that_fields_name_and_one_of_the_files_lacks_is_null_in_it_and_that_is_told(tmp_path):
    path = files(
        tmp_path, a__csv="id,image,text\n1,a.jpg,a cat\n", b__csv="id,image,text,alt\n2,b.jpg,,a dog\n3,c.jpg,x,\n"
    )
    turns = turns_of(path, "caption", fields={"caption": "COALESCE(alt, text)"})
    assert turns["caption"].to_list() == ["a cat", "a dog", "x"]
    assert turns["remark"].to_list() == ["its file has no column 'alt', which other files have", None, None]
    turns = turns_of(path, "caption", fields={"caption": "alt"})
    assert rows_and(turns, "caption") == [("1", None, None), ("2", "a dog", None), ("3", None, None)]
    with pytest.raises(SourceError, match="'atl', which is no column"):
        turns_of(path, "caption", fields={"caption": "atl"})


def test_an_error_of_one_file_of_a_folder_says_how_to_leave_it_out(tmp_path):
    path = files(tmp_path, a__csv="id,image,caption\n1,a.jpg,a cat\n", b__csv="id,image,Caption\n2,b.jpg,a dog\n")
    with pytest.raises(SourceError, match="no column 'caption'") as caught:
        turns_of(path, "caption")
    assert "b.csv" in caught.value.where
    assert "if the file is no part of the table" in caught.value.fix
    (tmp_path / "b.csv").unlink()
    files(tmp_path, classes__json='["cat", "dog"]')
    with pytest.raises(SourceError, match="no row can be read") as caught:
        turns_of(path, "caption")
    assert "if the file is no part of the table" in caught.value.fix


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
def test_an_option_that_says_nothing_of_a_file_is_refused(tmp_path, form):
    path = tmp_path / f"t.{form}"
    rows = pl.DataFrame({"image": ["a.jpg"], "caption": ["a"]})
    {"csv": rows.write_csv, "parquet": rows.write_parquet, "arrow": rows.write_ipc}[form](path)
    with pytest.raises(SourceError, match="`at` says nothing of such a file"):
        turns_of(path, "caption", at="data")
    if form != "csv":
        with pytest.raises(SourceError, match="`columns` says nothing of such a file"):
            turns_of(path, "caption", columns=["image", "caption"])


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_rows_that_are_lists_have_the_names_that_the_recipe_gives_them(tmp_path, form):
    path = write(tmp_path, form, [["a.jpg", "a cat"], ["b.jpg"], ["c.jpg", 2.5]])
    turns = turns_of(path, "caption", columns=["image", "caption"])
    assert turns.select("caption", "detail").rows() == [
        ("a cat", None), (None, "1 values, and `columns` names 2"), ("2.5", None),
    ]  # fmt: skip
    with pytest.raises(SourceError, match="names the items of lists"):
        turns_of(write(tmp_path, form, [{"image": "a.jpg"}], name="u"), "caption", columns=["image"])


def test_columns_and_data_of_pandas_are_read(tmp_path):
    path = tmp_path / "t.json"
    write_json(path, {"columns": ["image", "caption"], "index": [0], "data": [["a.jpg", "a cat"]]})
    assert turns_of(path, "caption", at="data", columns=["image", "caption"])["caption"].to_list() == ["a cat"]


def test_what_is_no_object_in_an_object_of_objects_keeps_its_key(tmp_path):
    path = tmp_path / "t.json"
    write_json(path, {"1": {"image": "a.jpg", "caption": "a"}, "2": None, "3": "x"})
    turns = turns_of(path, "caption")
    assert rows_and(turns, "detail") == [
        ("1", None, None),
        ("2", "not an object: None", "unparsable_row"),
        ("3", "not an object: 'x'", "unparsable_row"),
    ]
    write_json(path, {"a": {"image": "a.jpg"}, "b": {"image": "b.jpg"}, "version": "x"})
    with pytest.raises(SourceError, match="an object of objects, but 'version' is 'x'"):
        turns_of(path, "caption")


def test_a_key_that_holds_a_dot_is_found_by_it(tmp_path):
    write_json(tmp_path / "t.json", {"a.b": [{"image": "a.jpg", "caption": "a"}]})
    assert turns_of(tmp_path / "t.json", "caption", at="a.b")["caption"].to_list() == ["a"]


def test_photographs_by_their_ids_are_joined_by_their_file_names(tmp_path):
    coco = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "annotations": [{"id": 1, "image_id": 8, "caption": "b"}, {"id": 2, "image_id": 7, "caption": "a"}],
    }
    write_json(tmp_path / "t.json", coco)
    join = {"path": str(tmp_path / "t.json"), "at": "images", "on": {"image_id": "id"}, "keep": "file_name"}
    turns = turns_of(tmp_path / "t.json", "caption", at="annotations", join=join, fields={"images": "file_name"})
    assert rows_and(turns, "images", "caption") == [("1", ["b.jpg"], "b", None), ("2", ["a.jpg"], "a", None)]


def test_what_is_exploded_is_a_list_and_lies_in_no_other(tmp_path):
    path = write(tmp_path, "jsonl", [{"image": "a.jpg", "q": {"caption": "a"}}])
    with pytest.raises(SourceError, match="'q' is an object of caption, not a list"):
        turns_of(path, "caption", explode="q", fields={"caption": "q.caption"})
    with pytest.raises(ValidationError, match="lies inside another of them"):
        turns_of(path, "caption", explode=["q", "q.caption"])


TALK = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "That."}]


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "arrow"])
def test_conversations_under_a_name_of_their_own_are_read_as_such(tmp_path, form):
    rows = [{"uid": "x", "pic": "a.jpg", "dialog": TALK}, {"uid": "y", "pic": None, "dialog": TALK[:1]}]
    fields = {"row": "uid", "images": "pic", "messages": "dialog"}
    turns = turns_of(write(tmp_path, form, rows), "instruction", fields=fields)
    assert turns.select("row", "images", "instruction", "response", "problem").rows() == [
        ("x/0", ["a.jpg"], "What?", "That.", None),
        ("y/0", [], None, None, "unparsable_row"),
    ]
    with pytest.raises(SourceError, match="no column 'dialogs'"):
        turns_of(write(tmp_path, form, rows), "instruction", fields={"messages": "dialogs"})


def test_of_two_conversations_the_one_that_the_recipe_names_is_read_and_keys_are_no_less_strict(tmp_path):
    row = {"id": "x", "image": "a.jpg", "said": {"dialog": TALK}, "conversations": [*TALK, *TALK]}
    path = write(tmp_path, "jsonl", [row, {**row, "rejected": "no"}])
    turns = turns_of(path, "instruction", fields={"messages": "said.dialog"})
    assert turns.select("response", "problem").rows() == [("That.", None), (None, "unknown_key")]
    with pytest.raises(SourceError, match="no such column"):
        turns_of(path, "caption", fields={"messages": "said.dialog"})


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_lone_text_among_lists_of_texts_is_a_list_of_one(tmp_path, form):
    rows = [
        {"id": 1, "image": ["a.jpg", "b.jpg"], "caption": "a"},
        {"id": 2, "image": "c.jpg", "caption": "b"},
        {"id": 3, "image": ["d.jpg"], "caption": "c"},
        {"id": 4, "image": None, "caption": "d"},
    ]
    turns = turns_of(write(tmp_path, form, rows), "caption")
    assert turns["images"].to_list()[:3] == [["a.jpg", "b.jpg"], ["c.jpg"], ["d.jpg"]]
    assert turns["problem"].null_count() == 4
    rows[1]["image"] = 5
    assert turns_of(write(tmp_path, form, rows), "caption")["problem"][1] == "unparsable_row"
