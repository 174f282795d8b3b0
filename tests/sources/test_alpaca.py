import polars as pl
import pytest

from vldata.sources.alpaca import Alpaca
from vldata.sources.standins import write_json, write_json_lines

ANIMALS = {"instruction": "Which is a mammal?", "input": "dog, turtle", "output": "The dog."}


def read(tmp_path, *rows):
    write_json(tmp_path / "alpaca_data.json", list(rows))
    return Alpaca(path=str(tmp_path / "alpaca_data.json")).turns("text_instruction")


def test_the_input_stands_below_the_instruction(tmp_path):
    turns = read(tmp_path, ANIMALS, {**ANIMALS, "input": ""}, {"instruction": "Sing.", "output": "La."})
    assert turns["instruction"].to_list() == ["Which is a mammal?\ndog, turtle", "Which is a mammal?", "Sing."]
    assert turns["response"].to_list() == ["The dog.", "The dog.", "La."]
    assert turns["images"].to_list() == [[], [], []]
    assert turns["row"].null_count() == turns["problem"].null_count() == 3


def test_rows_that_cannot_be_used_say_why(tmp_path):
    turns = read(
        tmp_path,
        {**ANIMALS, "output": ""},
        {**ANIMALS, "output": " \n"},
        {"instruction": "Sing."},
        {**ANIMALS, "instruction": [3]},
        {**ANIMALS, "history": []},
        {**ANIMALS, "input": "<image>"},
        "text",
    )
    assert turns["problem"].to_list() == [
        "empty_text",
        "empty_text",
        "missing_value",
        "unparsable_row",
        None,
        "image_count_mismatch",
        "unparsable_row",
    ]


def test_a_history_and_the_row_are_one_conversation(tmp_path):
    turns = read(tmp_path, ANIMALS, {**ANIMALS, "id": "h", "system": "Be brief.", "history": [["Hello.", "Hi."]]})
    assert turns.select("row", "thread", "position", "instruction", "response", "system").rows() == [
        (None, None, None, "Which is a mammal?\ndog, turtle", "The dog.", None),
        ("h/0", "h", 0, "Hello.", "Hi.", "Be brief."),
        ("h/1", "h", 1, "Which is a mammal?\ndog, turtle", "The dog.", "Be brief."),
    ]
    assert turns["problem"].null_count() == 3


@pytest.mark.parametrize("history", [["Hello.", "Hi."], [["Hello."]], "Hello.", [["Hello.", None]]])
def test_a_history_of_another_form_costs_its_row(tmp_path, history):
    assert "unparsable_row" in read(tmp_path, {**ANIMALS, "history": history})["problem"].to_list()


def test_images_and_keys_that_nobody_reads_are_told(tmp_path):
    rows = [
        {**ANIMALS, "images": ["a.jpg"]},
        {**ANIMALS, "rejected": "The turtle."},
        {**ANIMALS, "response": "The dog."},
    ]
    turns = read(tmp_path, *rows, {**ANIMALS, "text": "Below is an instruction ..."}, {**ANIMALS, "rejected": ""})
    assert turns.sort("problem", nulls_last=False)["problem"].to_list() == [
        None, None, None, "not_for_task", "unknown_key",
    ]  # fmt: skip
    assert any("ignore: [rejected]" in detail for detail in turns["detail"].drop_nulls())
    ignoring = Alpaca(path=str(tmp_path), ignore=["rejected"]).turns("text_instruction")
    assert ignoring["problem"].drop_nulls().to_list() == ["not_for_task"]


def test_the_first_release_s_parquet_is_read(tmp_path):
    pl.DataFrame([{**ANIMALS, "text": "Below is ..."}, {**ANIMALS, "input": "", "text": "x"}]).write_parquet(
        tmp_path / "train.parquet"
    )
    turns = Alpaca(path=str(tmp_path)).turns("text_instruction")
    assert turns["instruction"].to_list() == ["Which is a mammal?\ndog, turtle", "Which is a mammal?"]
    assert turns["problem"].null_count() == 2


def test_a_system_text_is_kept_and_an_empty_one_is_none(tmp_path):
    turns = read(tmp_path, {**ANIMALS, "system": "Be brief."}, {**ANIMALS, "system": ""})
    assert turns["system"].to_list() == ["Be brief.", None]


def test_seed_tasks_give_a_turn_for_each_of_their_instances(tmp_path):
    task = {"id": "seed_task_0", "instruction": "Add.", "is_classification": False}
    instances = [{"input": "1 2", "output": "3"}, {"input": "", "output": "0"}, "no object"]
    write_json_lines(tmp_path / "seed.jsonl.gz", [{**task, "instances": instances}])
    turns = Alpaca(path=str(tmp_path)).turns("text_instruction")
    assert turns.select("row", "instruction", "response", "problem").rows() == [
        ("seed_task_0/0", "Add.\n1 2", "3", None),
        ("seed_task_0/1", "Add.", "0", None),
        (None, None, None, "unparsable_row"),
    ]


@pytest.mark.parametrize(
    ("name", "rows", "problems"),
    [
        ("alpaca_small.json.gz", 2000, {}),
        ("alpaca_data_1k.json", 1000, {"image_count_mismatch": 1}),
        ("code_alpaca_2k.json", 2017, {"empty_text": 2}),
        ("new_codealpaca.json.gz", 4535, {}),
        ("gsm_8k_train.json.gz", 7473, {}),
        ("self_instruct_seed_tasks.jsonl", 175, {}),
    ],
)
def test_all_of_the_real_files_are_read(shared_data, name, rows, problems):
    turns = Alpaca(path=str(shared_data / "alpaca" / name)).turns("text_instruction")
    assert turns.height == rows
    assert dict(turns["problem"].drop_nulls().value_counts().rows()) == problems
