import pytest

from vldata.errors import SourceError
from vldata.sources.gqa import Gqa
from vldata.sources.standins import write_json

SKY = {
    "imageId": "2354786",
    "question": "Is the sky dark?",
    "answer": "yes",
    "fullAnswer": "Yes, the sky is dark.",
    "isBalanced": True,
    "groups": {"global": None, "local": "06-sky_dark"},
}


def written(tmp_path, questions, name="train_balanced_questions.json"):
    write_json(tmp_path / name, questions)
    return str(tmp_path / name)


def test_a_question_is_a_turn_under_its_key(tmp_path):
    assert Gqa(path=written(tmp_path, {"02930152": SKY})).turns("vqa_open").to_dicts() == [
        {
            "row": "02930152",
            "question": "Is the sky dark?",
            "answer": "yes",
            "images": ["2354786.jpg"],
            "problem": None,
            "detail": None,
        }
    ]


def test_the_answer_may_be_the_sentence(tmp_path):
    path = written(tmp_path, {"1": SKY, "2": {**SKY, "fullAnswer": None}})
    turns = Gqa(path=path, answer="full").turns("vqa_open")
    assert turns["answer"].to_list() == ["Yes, the sky is dark.", None]
    assert turns["problem"].to_list() == [None, "missing_value"]


def test_the_three_fields_of_trimmed_copies_are_enough(tmp_path):
    path = written(tmp_path, {"1": {"imageId": "n1", "question": "Who?", "answer": "man"}})
    assert Gqa(path=path, image_name="images/{id}.png").turns("vqa_open")["images"].to_list() == [["images/n1.png"]]


def test_a_question_that_cannot_be_used_stays_as_a_row_that_says_why(tmp_path):
    path = written(tmp_path, {"1": {**SKY, "answer": ["yes"]}, "2": "text", "3": {**SKY, "imageId": None}})
    turns = Gqa(path=path).turns("vqa_open")
    assert turns["row"].to_list() == ["1", "2", "3"]
    assert turns["problem"].to_list() == ["unparsable_row", "unparsable_row", "missing_value"]
    assert turns["images"].to_list() == [["2354786.jpg"], [], []]


def test_a_folder_gives_the_questions_of_all_its_parts(tmp_path):
    for part in range(3):
        written(tmp_path, {str(part): SKY}, f"train_all_questions/train_all_questions_{part}.json")
    write_json(tmp_path / "sceneGraphs" / "train_sceneGraphs.json", {})
    assert Gqa(path=str(tmp_path)).turns("vqa_open")["row"].to_list() == ["0", "1", "2"]


def test_a_list_of_questions_is_another_format(tmp_path):
    with pytest.raises(SourceError, match="not an object of rows, but a list"):
        Gqa(path=written(tmp_path, [SKY])).turns("vqa_open")
