import pytest

from vldata.errors import SourceError
from vldata.sources.aokvqa import AokVqa
from vldata.sources.standins import write_json

BAGS = {
    "split": "train",
    "image_id": 299207,
    "question_id": "22MexNkBPpdZGX6sxbxVBH",
    "question": "What is the man by the bags awaiting?",
    "choices": ["skateboarder", "train", "delivery", "cab"],
    "correct_choice_idx": 3,
    "direct_answers": ["ride", "ride", "bus", "taxi", "travelling", "traffic", "taxi", "cab", "cab", "his ride"],
    "difficult_direct_answer": False,
    "rationales": ["A train would not be on the street."],
}


def written(tmp_path, rows, name="aokvqa_v1p0_train.json"):
    write_json(tmp_path / name, rows)
    return str(tmp_path / name)


def test_a_question_is_a_choice_of_four(tmp_path):
    assert AokVqa(path=written(tmp_path, [BAGS])).turns("vqa_mc").to_dicts() == [
        {
            "question": BAGS["question"],
            "choices": BAGS["choices"],
            "answer": 3,
            "problem": None,
            "detail": None,
            "row": "22MexNkBPpdZGX6sxbxVBH",
            "images": ["train2017/000000299207.jpg"],
        }
    ]


def test_a_question_is_open_with_an_answer_that_most_people_gave(tmp_path):
    turns = AokVqa(path=written(tmp_path, [BAGS])).turns("vqa_open")
    assert turns["answer"].to_list() in (["ride"], ["taxi"], ["cab"])
    assert turns["answers"].to_list() == [BAGS["direct_answers"]]
    assert "choices" not in turns.columns


def test_a_test_row_has_no_answer_and_says_so(tmp_path):
    row = {key: BAGS[key] for key in ("image_id", "question_id", "question", "choices")} | {"split": "test"}
    path = written(tmp_path, [row])
    for task in ("vqa_mc", "vqa_open"):
        turns = AokVqa(path=path).turns(task)
        assert turns["problem"].to_list() == ["missing_value"]
        assert turns["answer"].to_list() == [None]


def test_rows_of_other_splits_are_filtered_and_kept_in_the_table(tmp_path):
    written(tmp_path, [BAGS])
    written(tmp_path, [{**BAGS, "split": "val", "question_id": "v"}], "aokvqa_v1p0_val.json")
    turns = AokVqa(path=str(tmp_path), split="val").turns("vqa_mc")
    assert turns["problem"].to_list() == ["other_split", None]
    assert turns["detail"].to_list() == ["a row of train", None]
    assert turns["images"].to_list()[1] == ["val2017/000000299207.jpg"]


def test_a_row_of_no_split_has_no_image_name_and_says_so(tmp_path):
    turns = AokVqa(path=written(tmp_path, [{**BAGS, "split": None}]), split="train").turns("vqa_mc")
    assert turns.select("problem", "detail").row(0) == ("missing_value", "no 'split'")
    assert turns["images"].to_list() == [[]]


@pytest.mark.parametrize("damage", [{"choices": ["a", ["b"]]}, {"correct_choice_idx": "3"}, {"image_id": [2]}])
def test_a_field_of_another_kind_makes_the_row_unparsable(tmp_path, damage):
    turns = AokVqa(path=written(tmp_path, [BAGS | damage])).turns("vqa_mc")
    assert turns["problem"].to_list() == ["unparsable_row"]
    assert next(iter(damage)) in turns["detail"][0]


def test_an_object_is_another_format(tmp_path):
    with pytest.raises(SourceError, match="not a list of rows, but an object with 'a'"):
        AokVqa(path=written(tmp_path, {"a": BAGS})).turns("vqa_mc")
