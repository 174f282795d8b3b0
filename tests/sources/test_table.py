import json
import logging

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from vldata.errors import SourceError
from vldata.images.references import ImageReader
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene
from vldata.sources.standins import write_json, write_json_lines
from vldata.sources.table import Table

QUESTION = {"image": "a.jpg", "question": "What?", "answer": "A bus."}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXTS = pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string()), ("source", pa.string())]))


def png(number):
    return {"bytes": encoded(scene(number, seed=1), suffix=".png"), "path": f"{number}.png"}


def rows_of(tmp_path, rows, task="vqa_open", **options):
    path = tmp_path / "t.json"
    write_json(path, rows)
    return Table(path=str(path), **options).turns(task)


def cauldron(folder, texts, images, **more):
    path = folder / "train-00000-of-00001.parquet"
    columns = {"images": pa.array(images, pa.list_(IMAGE)), "texts": pa.array(texts, TEXTS), **more}
    pq.write_table(pa.table(columns), path)
    return str(path)


def exchange(user, assistant="Yes."):
    return {"user": user, "assistant": assistant, "source": "VQAv2"}


def test_columns_of_canonical_names_need_no_fields(tmp_path):
    assert rows_of(tmp_path, [QUESTION]).to_dicts() == [
        {"images": ["a.jpg"], "question": "What?", "answer": "A bus.", "problem": None, "detail": None}
    ]


def test_columns_of_other_names_are_named_by_fields(tmp_path):
    fields = {"row": "n", "question": "q", "answer": "answers[1]", "answers": "answers", "images": "n || '.jpg'"}
    row = {"n": "7", "q": "What?", "answers": ["A bus.", "bus"], "problem": "a column of the table's own"}
    (turn,) = rows_of(tmp_path, [row], fields=fields).to_dicts()
    assert turn == {
        "row": "7",
        "images": ["7.jpg"],
        "question": "What?",
        "answer": "A bus.",
        "answers": ["A bus.", "bus"],
        "problem": None,
        "detail": None,
    }


def test_a_field_that_no_task_has_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ValidationError, match="no canonical column is named 'qestion'; did you mean 'question'"):
        Table(path="t.json", fields={"qestion": "q"})


def test_a_field_that_cannot_be_filled_is_refused_with_file_field_and_columns(tmp_path):
    with pytest.raises(SourceError, match="needs it, and the table has no column 'answer'") as caught:
        rows_of(tmp_path, [{"image": "a.jpg", "question": "What?"}])
    assert caught.value.where == f"{tmp_path}/t.json, fields.answer"
    assert caught.value.fix == "name its origin; the table has image, question"


def test_a_value_that_does_not_fit_costs_its_row(tmp_path):
    row = {"question": "Which?", "choices": ["a", "b"], "answer": "1", "image": "a.jpg"}
    rows = [row, {**row, "answer": "b"}, {**row, "answer": None}]
    turns = rows_of(tmp_path, rows, "vqa_mc", answer_is="index0")
    assert turns["answer"].to_list() == [1, None, None]
    assert turns.select("problem", "detail").rows() == [
        (None, None),
        ("unparsable_row", "'answer' is 'b', no whole number"),
        (None, None),
    ]


def chosen(tmp_path, answers, choices=("red", "green", "blue"), **options):
    rows = [{"question": "Which?", "choices": list(choices), "answer": a, "image": "a.jpg"} for a in answers]
    return rows_of(tmp_path, rows, "vqa_mc", **options)


@pytest.mark.parametrize(
    ("answers", "choices", "right"),
    [
        (["green", " blue"], ["red", "green", "blue"], [1, 2]),
        (["B", "(c)", "a."], ["red", "green", "blue"], [1, 2, 0]),
        (["B", "A"], ["A", "B", "C"], [1, 0]),  # its words and its letter: the same choice
        (["0", "2"], ["red", "green", "blue"], [0, 2]),
        (["1", "3"], ["red", "green", "blue"], [0, 2]),
        ([1, 2], ["red", "green", "blue"], [1, 2]),  # numbers count from 0
        ([1, 3], ["red", "green", "blue"], [0, 2]),
        ([1.0, 0.0], ["red", "green", "blue"], [1, 0]),
        ([30, 10], ["10", "20", "30"], [2, 0]),
    ],
)
def test_the_right_choice_is_read_in_the_one_way_that_fits_every_row(tmp_path, answers, choices, right):
    turns = chosen(tmp_path, answers, choices)
    assert turns["answer"].to_list() == right
    assert turns["problem"].null_count() == len(right)


@pytest.mark.parametrize(
    ("answers", "choices", "named"),
    [
        (["2"], ["3", "2", "0", "1"], "text or index0 or index1: '2' of"),
        ([2], [3, 2, 0, 1], "text or index0 or index1: '2' of"),
        (["1", "2"], ["red", "green", "blue"], "index0 or index1"),
        (["A", "B"], ["B", "A"], "text or letter"),
        (
            ["1", "green"],
            ["red", "green", "blue"],
            "in no one way: of 2 rows fit as text 1, letter 0, index0 1, index1 1",
        ),
    ],
)
def test_a_right_choice_that_can_be_read_in_several_ways_or_none_is_an_error(tmp_path, answers, choices, named):
    with pytest.raises(SourceError, match=named) as caught:
        chosen(tmp_path, answers, choices)
    assert caught.value.where == "answer_is" and "answer_is" in str(caught.value)


@pytest.mark.parametrize(
    ("answer_is", "right"), [("text", [1, None]), ("letter", [None, None]), ("index0", [2, 9]), ("index1", [1, 8])]
)
def test_what_the_recipe_says_of_answers_holds(tmp_path, answer_is, right):
    turns = chosen(tmp_path, ["2", "9"], ["3", "2", "0", "1"], answer_is=answer_is)
    assert turns["answer"].to_list() == right
    assert turns["problem"].to_list() == [None if number is not None else "unparsable_row" for number in right]


def test_choices_counted_from_one_are_told(tmp_path):
    assert "counted from 1" in chosen(tmp_path, [1, 3])["remark"][0]
    assert "remark" not in chosen(tmp_path, [1, 3], answer_is="index1").columns
    assert "remark" not in chosen(tmp_path, [0, 2]).columns


def test_all_files_of_a_table_decide_together(tmp_path):
    row = {"question": "Which?", "choices": ["red", "green"], "image": "a.jpg"}
    for name, answer in (("a", "1"), ("b", "0")):
        (tmp_path / f"{name}.json").write_text(json.dumps([{**row, "answer": answer}]))
    assert Table(path=str(tmp_path)).turns("vqa_mc")["answer"].to_list() == [1, 0]


def test_a_line_that_cannot_be_read_costs_its_row(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(QUESTION) + '\n{"image": "b.jpg", \n' + json.dumps(QUESTION) + "\n")
    turns = Table(path=str(path)).turns("vqa_open")
    assert turns["problem"].to_list() == [None, "unparsable_row", None]
    assert turns["question"].to_list() == ["What?", None, "What?"]


def test_half_a_surrogate_pair_costs_its_row(tmp_path):
    path = tmp_path / "t.jsonl"
    write_json_lines(path, [QUESTION])
    with path.open("a") as file:
        file.write('{"image": "a.jpg", "question": "What \\ud83d?", "answer": "x"}\n')
    assert Table(path=str(path)).turns("vqa_open")["problem"].to_list() == [None, "unparsable_row"]


def test_boxes_are_read_in_the_order_and_the_unit_that_the_recipe_says(tmp_path):
    row = {"image": "a.jpg", "phrase": "the bus", "boxes": [10, 20, 30, 40]}
    px = rows_of(tmp_path, [row, {**row, "boxes": [1, 2]}], "rec")
    assert px["boxes"].to_list()[0] == [{"x0": 10, "y0": 20, "x1": 30, "y1": 40, "image": 0, "phrase": "the bus"}]
    assert px["problem"].to_list() == [None, "unparsable_row"]
    assert px["detail"][1] == "'boxes' (boxes) is [1, 2], not 4 numbers a box, with a phrase for each"
    sized = rows_of(tmp_path, [row], "reg", box_order="xywh")
    assert [sized["boxes"][0][0][edge] for edge in ("x0", "y0", "x1", "y1")] == [10, 20, 40, 60]
    assert Table(path="t.json").box_unit == "px"
    assert Table(path="t.json", boxes_are="fraction").box_unit == "fraction"


def test_phrases_may_lie_beside_the_boxes(tmp_path):
    row = {
        "image": "a.jpg",
        "caption": "A dog and a cat.",
        "bboxes": [[0, 0, 1, 1], [1, 1, 2, 2]],
        "names": ["A dog", "a cat"],
    }
    fields = {"boxes": "bboxes", "phrases": "names"}
    turns = rows_of(tmp_path, [row, {**row, "names": ["A dog"]}], "grounded_caption", fields=fields)
    assert [box["phrase"] for box in turns["boxes"].to_list()[0]] == ["A dog", "a cat"]
    assert turns["problem"].to_list() == [None, "unparsable_row"]
    assert "phrases" not in turns.columns


def test_several_files_are_one_table_even_when_a_column_is_not_in_all(tmp_path):
    write_json(tmp_path / "a.json", [{**QUESTION, "id": 1}])
    write_json_lines(tmp_path / "b.jsonl.gz", [{**QUESTION, "context": "x"}])
    pl.DataFrame([QUESTION]).write_parquet(tmp_path / "c.parquet")
    pl.DataFrame([QUESTION]).write_csv(tmp_path / "d.csv")
    (tmp_path / "README.md").write_text("# not a table")
    turns = Table(path=str(tmp_path)).turns("vqa_open")
    assert turns["question"].to_list() == ["What?"] * 4
    assert turns["row"].to_list() == ["1", None, None, None]
    assert Table(path=str(tmp_path / "[ab].json*")).turns("vqa_open").height == 2


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("data/t.parquet", "data"),
        ("data/t.jsonl.gz", "data"),
        ("t.csv", "."),
        ("data", "data"),
        ("data/v1.0", "data/v1.0"),
        ("data/*.parquet", "data"),
        ("data/*/t.parquet", "data"),
        ("/data/part-[0-9]/t.parquet", "/data"),
    ],
)
def test_images_are_looked_for_beside_the_table_unless_the_recipe_says_where(path, root):
    assert Table(path=path).image_root == root
    assert Table(path=path, image_root="elsewhere").image_root == "elsewhere"


def test_moving_the_root_of_images_inside_a_table_changes_what_names_its_turns(tmp_path):
    def named(root):
        options = Table(path=str(tmp_path / "a" / "t.parquet"), image_root=root).model_dump()
        return {name: value for name, value in options.items() if name not in Table.paths}

    assert named(None)["below_root"] == "."
    assert named(str(tmp_path))["below_root"] == "a"
    assert named(None) == named(str(tmp_path / "a"))


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_images_inside_a_table_are_found_by_their_references(tmp_path, form):
    columns = {"image": pa.array([png(0), None, png(1)], IMAGE), "caption": ["one", "none", "two"]}
    table = pa.table(columns)
    path = tmp_path / "sub" / f"t.{form}"
    path.parent.mkdir()
    if form == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    beside = Table(path=str(path))
    assert beside.turns("caption")["images"].to_list() == [[f"t.{form}::image/0/0"], [], [f"t.{form}::image/2/0"]]
    above = Table(path=str(path), image_root=str(tmp_path))
    refs = above.turns("caption")["images"].to_list()
    assert refs == [[f"sub/t.{form}::image/0/0"], [], [f"sub/t.{form}::image/2/0"]]
    assert ImageReader(above.image_root).read(refs[2][0]) == png(1)["bytes"]
    with pytest.raises(SourceError, match="it holds images and lies outside image_root"):
        Table(path=str(path), image_root=str(tmp_path / "other")).turns("caption")


def test_each_file_s_images_are_numbered_by_themselves(tmp_path):
    for name in ("a", "b"):
        pq.write_table(pa.table({"image": pa.array([png(0)], IMAGE), "caption": [name]}), tmp_path / f"{name}.parquet")
    refs = Table(path=str(tmp_path)).turns("caption")["images"].to_list()
    assert refs == [["a.parquet::image/0/0"], ["b.parquet::image/0/0"]]


def test_images_in_bytes_cannot_be_made_by_an_expression(tmp_path):
    pq.write_table(pa.table({"image": pa.array([png(0)], IMAGE), "caption": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="not a list of texts") as caught:
        Table(path=str(tmp_path), fields={"images": "image.bytes"}).turns("caption")
    assert caught.value.where.endswith("fields.images")


def test_what_datasets_saved_is_read_without_its_cache_files(tmp_path, caplog):
    import datasets

    caplog.set_level(logging.ERROR)
    datasets.disable_progress_bars()
    kinds = {"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")}
    rows = {"image": [png(0), None], "question": ["What?", "Why?"], "answer": ["This.", "So."]}
    saved = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    saved.save_to_disk(str(tmp_path / "one"))
    (tmp_path / "one" / "cache-0123.arrow").write_bytes(b"left by datasets.map")
    source = Table(path=str(tmp_path / "one"))
    turns = source.turns("vqa_open")
    assert turns["question"].to_list() == ["What?", "Why?"]
    assert turns["images"].to_list() == [["data-00000-of-00001.arrow::image/0/0"], []]
    assert ImageReader(source.image_root).read(turns["images"][0][0]) == png(0)["bytes"]
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(SourceError, match="a folder of several splits") as caught:
        Table(path=str(tmp_path / "both")).files()
    assert caught.value.fix.endswith(f"{tmp_path}/both/train, {tmp_path}/both/test")
    assert Table(path=str(tmp_path / "both" / "test")).turns("vqa_open").height == 2


def test_a_state_that_names_files_elsewhere_does_not_leave_its_folder(tmp_path):
    write_json(tmp_path / "in" / "state.json", {"_data_files": [{"filename": "../out/t.arrow"}]})
    write_json(tmp_path / "out" / "t.arrow", {})
    with pytest.raises(SourceError, match="no such file"):
        Table(path=str(tmp_path / "in")).files()


def test_every_exchange_of_the_cauldron_is_a_turn_of_its_row_s_thread(tmp_path):
    texts = [[exchange("What?", "A bus."), exchange("Why?", "So.")], [exchange("<image>\nWhere?", "Here.")]]
    path = cauldron(tmp_path, texts, [[png(0), png(1)], [png(2)]])
    name = "train-00000-of-00001.parquet"
    turns = Table(path=path).turns("instruction")
    assert turns.select("row", "thread", "position", "instruction", "response").rows() == [
        (f"{name}/0/0", f"{name}/0", 0, "What?", "A bus."),
        (f"{name}/0/1", f"{name}/0", 1, "Why?", "So."),
        (f"{name}/1/0", f"{name}/1", 0, "Where?", "Here."),
    ]
    both = [f"{name}::images/0/0", f"{name}::images/0/1"]
    assert turns["images"].to_list() == [both, both, [f"{name}::images/1/0"]]
    assert turns["problem"].null_count() == 3


def test_rows_of_the_cauldron_without_images_are_for_text_instruction(tmp_path):
    texts = [[exchange("What?")], [exchange("How?"), exchange("Why?")], [], None]
    path = cauldron(tmp_path, texts, [[png(0)], [], [png(1)], None])
    about = Table(path=path).turns("instruction")
    without = Table(path=path).turns("text_instruction")
    assert about["problem"].to_list() == [None, "not_for_task", "not_for_task", None, "not_for_task"]
    assert without["problem"].to_list() == ["not_for_task", None, None, "not_for_task", None]
    assert about["instruction"].to_list() == ["What?", "How?", "Why?", None, None]
    assert about["row"].is_unique().all()


def test_a_native_id_names_the_rows_of_the_cauldron(tmp_path):
    path = cauldron(tmp_path, [[exchange("What?")]], [[png(0)]], id=pa.array([17]))
    assert Table(path=path).turns("instruction").select("row", "thread").rows() == [("17/0", "17")]


def test_mismatched_numbers_of_marks_spoil_a_conversation_of_the_cauldron(tmp_path):
    path = cauldron(tmp_path, [[exchange("<image> What?"), exchange("Why?")]], [[png(0), png(1)]])
    assert Table(path=path).turns("instruction")["problem"].to_list() == ["image_count_mismatch"] * 2


def test_texts_of_another_kind_are_refused(tmp_path):
    pl.DataFrame({"texts": [["What?"]]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(SourceError, match=r"not a list of \{user, assistant\}"):
        Table(path=str(tmp_path)).turns("instruction")


def test_a_plain_table_of_exchanges_needs_no_threads(tmp_path):
    rows = [
        {"instruction": "<image>\nWhat?", "response": "This.", "image": "a.jpg"},
        {"instruction": "<image> <image>", "response": "x", "image": "a.jpg"},
        {"instruction": "How?", "response": "So."},
    ]
    turns = rows_of(tmp_path, rows, "instruction")
    assert turns["instruction"].to_list() == ["What?", "<image> <image>", "How?"]
    assert turns["problem"].to_list() == [None, "image_count_mismatch", "not_for_task"]
    assert rows_of(tmp_path, rows, "text_instruction")["problem"].to_list() == ["not_for_task", "not_for_task", None]


def test_threads_of_a_plain_table_are_kept(tmp_path):
    rows = [
        {"instruction": "What?", "response": "This.", "image": "a.jpg", "talk": 1, "turn": 0},
        {"instruction": "Why <image>?", "response": "So.", "image": "a.jpg", "talk": 1, "turn": 1},
    ]
    turns = rows_of(tmp_path, rows, "instruction", fields={"thread": "talk", "position": "turn"})
    assert turns.select("thread", "position", "problem").rows() == [("1", 0, None), ("1", 1, None)]


POPE = {"row": "question_id", "question": "text", "answer": "label"}


def test_the_real_pope_is_read(shared_data):
    path = str(shared_data / "pope" / "output" / "coco" / "coco_pope_random.json.gz")
    turns = Table(path=path, fields=POPE).turns("vqa_open")
    assert turns.height == turns["problem"].null_count() == 3_000
    assert turns["answer"].value_counts().sort("answer").rows() == [("no", 1_500), ("yes", 1_500)]
    assert turns["images"].list.first().n_unique() == 500
    flags = Table(path=path, fields={"statement": "text", "answer": "label"}).turns("true_false")
    assert flags["answer"].sum() == 1_500


def test_the_real_screen_qa_is_read(shared_data):
    fields = {"images": "CAST(image_id AS VARCHAR) || '.jpg'", "answer": "ground_truth[1]", "answers": "ground_truth"}
    path = str(shared_data / "screen_qa" / "short_answers" / "validation.json.gz")
    turns = Table(path=path, fields=fields).turns("vqa_open")
    assert turns.height == turns["problem"].null_count() == 8_614
    assert turns["images"].list.first().n_unique() == 3_485
    assert turns["answer"].null_count() == 0
    assert turns.row(1, named=True)["answers"] == ["128 bits", "128-bit", "128-bit encryption", "128", "128 bit"]


def test_other_real_tables_are_read(shared_data):
    triples = {"question": "column_1", "answer": "column_2", "images": "CAST(column_3 AS VARCHAR) || '.png'"}
    shapes = Table(path=str(shared_data / "easy_vqa" / "train" / "questions.json"), fields=triples).turns("vqa_open")
    assert shapes.height == shapes["problem"].null_count() == 6_842
    boxes = {"row": "annotation_id", "phrase": "normal_caption", "boxes": "solution"}
    refs = Table(path=str(shared_data / "refcocos" / "results" / "refcocos_test.json"), fields=boxes).turns("rec")
    assert (refs.height, refs["boxes"].null_count(), refs["problem"].null_count()) == (393, 17, 393)
    owl = {"row": "question_id", "answer": "'unknown'"}
    web = Table(path=str(shared_data / "owleval" / "questions.jsonl"), fields=owl).turns("vqa_open")
    assert (web.height, web["images"].list.first().n_unique()) == (82, 50)
    receipts = {"caption": "query || ' ' || label", "images": "imgname"}
    charts = Table(path=str(shared_data / "chartqa_split" / "simple" / "*.json"), fields=receipts).turns("caption")
    assert charts.height == 281


def test_a_list_in_a_column_of_texts_costs_its_row(tmp_path):
    turns = rows_of(tmp_path, [QUESTION, {**QUESTION, "answer": ["a"]}])
    assert turns["problem"].to_list() == [None, "unparsable_row"]
    assert turns["detail"].to_list() == [None, "'answer' is ['a'], elsewhere a single value"]


def test_an_empty_path_is_refused():
    with pytest.raises(ValidationError, match="it is empty"):
        Table(path="")


def test_a_table_without_columns_is_said_to_be_empty(tmp_path):
    with pytest.raises(SourceError, match="the table is empty"):
        rows_of(tmp_path, [])


def test_an_image_that_is_missing_among_others_costs_its_row(tmp_path):
    rows = [
        {"instruction": "<image> or <image>?", "response": "x", "images": ["a.jpg", None, "b.jpg"]},
        {"instruction": "<image> or <image>?", "response": "x", "images": ["a.jpg", "b.jpg"]},
        {"instruction": "What?", "response": "x", "images": [None]},
    ]
    assert rows_of(tmp_path, rows, "instruction")["problem"].to_list() == ["unparsable_row", None, "not_for_task"]


def test_conversations_of_several_forms_in_one_file_are_read(tmp_path):
    said = [{"role": "user", "content": [{"type": "text", "text": "A?"}]}, {"role": "assistant", "content": "B."}]
    rows = [{"id": 1, "messages": said}, {"id": 2, "query": "C?", "response": "D."}, {"id": 3, "messages": "x"}]
    turns = rows_of(tmp_path, rows, "text_instruction")
    assert turns.select("row", "instruction", "response", "problem").rows() == [
        ("1/0", "A?", "B.", None),
        ("2/0", "C?", "D.", None),
        ("3/0", None, None, "unparsable_row"),
    ]


def test_equal_ids_of_two_files_are_two_conversations(tmp_path):
    for name in ("a", "b"):
        said = [{"from": "human", "value": f"{name}?"}, {"from": "gpt", "value": "x"}]
        write_json_lines(tmp_path / f"{name}.jsonl", [{"id": 1, "conversations": said}])
    turns = Table(path=str(tmp_path)).turns("text_instruction")
    assert sorted(turns["thread"]) == ["1", "1~2"]


@pytest.mark.parametrize("positions", [(0, 0), (0, 2)])
def test_a_thread_with_a_repeated_or_missing_position_is_refused_over_files_too(tmp_path, positions):
    for position in (*positions, None):
        row = {"thread": "t", "position": position} if position is not None else {"thread": "s", "position": 0}
        path = tmp_path / f"{position}-{len(list(tmp_path.iterdir()))}.jsonl"
        write_json_lines(path, [{**row, "instruction": "A?", "response": "x"}])
    turns = Table(path=str(tmp_path)).turns("text_instruction").sort("thread")
    assert turns["problem"].to_list() == [None, "broken_conversation", "broken_conversation"]
    assert turns["detail"][1] == f"the positions of its conversation are {positions[0]}, {positions[1]}"


def test_more_than_an_exchange_in_the_texts_of_the_cauldron_is_an_error_or_looked_at_row_by_row(tmp_path):
    rows = [
        {"id": k, "texts": [{"user": "A?", "assistant": "B.", "source": "s", "weight": w}]} for k, w in ((1, 0), (2, 1))
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="'weight', which may change what is learnt"):
        Table(path=str(tmp_path)).turns("text_instruction")
    assert Table(path=str(tmp_path), ignore=["weight"]).turns("text_instruction")["problem"].null_count() == 2
    texts = [{"user": "A?", "assistant": "B."}]
    pl.DataFrame({"id": [1, 2], "texts": [texts, texts], "tools": ["[1]", None]}).write_parquet(tmp_path / "t.parquet")
    assert Table(path=str(tmp_path)).turns("text_instruction")["problem"].to_list() == ["unknown_key", None]


def test_whole_numbers_beside_a_gap_are_whole_and_the_gap_is_no_answer(tmp_path):
    table = pl.DataFrame({"image": ["a.jpg"] * 4, "question": ["?"] * 4, "answer": [float("nan"), 3.0, 2.5, None]})
    table.write_parquet(tmp_path / "t.parquet")
    turns = Table(path=str(tmp_path / "t.parquet")).turns("vqa_open")
    assert turns["answer"].to_list() == [None, "3", "2.5", None]
