import pytest

from vldata.errors import SourceError
from vldata.sources.scienceqa import ScienceQa
from vldata.sources.standins import write_json

STATES = {
    "question": "Which of these states is farthest north?",
    "choices": ["West Virginia", "Louisiana", "Arizona", "Oklahoma"],
    "answer": 0,
    "hint": "",
    "image": "image.png",
    "split": "train",
    "task": "closed choice",
}


def read(tmp_path, problems, split=None, splits=None):
    write_json(tmp_path / "problems.json", problems)
    if splits is not None:
        write_json(tmp_path / "pid_splits.json", splits)
    return ScienceQa(path=str(tmp_path / "problems.json"), split=split).turns("vqa_mc")


def test_a_problem_is_a_turn_with_its_image_below_its_split_and_id(tmp_path):
    assert read(tmp_path, {"1": STATES}).to_dicts() == [
        {
            "row": "1",
            "question": STATES["question"],
            "choices": STATES["choices"],
            "answer": 0,
            "problem": None,
            "detail": None,
            "context": None,
            "images": ["train/1/image.png"],
        }
    ]


def test_a_problem_without_an_image_has_none_and_its_hint_is_the_context(tmp_path):
    turns = read(tmp_path, {"6": {**STATES, "image": None, "hint": "Read the passage."}})
    assert turns["images"].to_list() == [[]]
    assert turns["context"].to_list() == ["Read the passage."]
    assert turns["problem"].to_list() == [None]


@pytest.mark.parametrize("none", [None, ""])
def test_a_problem_without_an_image_is_not_for_those_who_want_images(tmp_path, none):
    write_json(tmp_path / "problems.json", {"1": STATES, "6": {**STATES, "image": none}})
    path = str(tmp_path / "problems.json")
    assert ScienceQa(path=path).turns("vqa_mc")["images"].list.len().to_list() == [1, 0]
    assert ScienceQa(path=path).turns("vqa_mc")["problem"].to_list() == [None, None]
    assert ScienceQa(path=path, text_only=False).turns("vqa_mc")["problem"].to_list() == [None, "not_for_task"]


def test_problems_of_other_splits_are_filtered(tmp_path):
    turns = read(tmp_path, {"1": STATES, "2": {**STATES, "split": "val"}, "3": {**STATES, "split": None}}, split="val")
    assert turns["problem"].to_list() == ["other_split", None, "missing_value"]
    assert turns["detail"].to_list() == ["a problem of train", None, "no 'split'"]


def test_a_split_of_the_list_beside_is_looked_up_there_and_images_stay_where_they_are(tmp_path):
    splits = {"train": ["1", "2"], "minitrain": [2, "77"]}
    turns = read(tmp_path, {"1": STATES, "2": STATES}, split="minitrain", splits=splits)
    assert turns["problem"].to_list() == ["other_split", None]
    assert turns["images"].to_list() == [["train/1/image.png"], ["train/2/image.png"]]


def test_the_list_of_splits_is_among_the_files_when_it_decides_anything(tmp_path):
    read(tmp_path, {"1": STATES}, splits={"minitrain": []})
    path = str(tmp_path / "problems.json")
    assert [file.name for file in ScienceQa(path=path, split="minitrain").files()] == [
        "problems.json",
        "pid_splits.json",
    ]
    assert [file.name for file in ScienceQa(path=path, split="val").files()] == ["problems.json"]
    assert [file.name for file in ScienceQa(path=path).files()] == ["problems.json"]


def test_a_split_that_nobody_knows_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(SourceError, match="needs a pid_splits"):
        read(tmp_path, {"1": STATES}, split="minitrian")
    with pytest.raises(SourceError, match="no split named 'minitrian'\n  fix: did you mean 'minitrain'"):
        read(tmp_path, {"1": STATES}, split="minitrian", splits={"minitrain": []})


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"choices": "a, b"}, "unparsable_row"),
        ({"answer": "A"}, "unparsable_row"),
        ({"question": None}, "missing_value"),
        ({"image": ["3"]}, "unparsable_row"),
    ],
)
def test_a_problem_that_cannot_be_used_stays_as_a_row(tmp_path, damage, problem):
    turns = read(tmp_path, {"1": STATES | damage})
    assert turns["row"].to_list() == ["1"]
    assert turns["problem"].to_list() == [problem]


def test_a_list_of_problems_is_another_format(tmp_path):
    with pytest.raises(SourceError, match="not an object of rows, but a list"):
        read(tmp_path, [STATES])


def test_the_real_problems_are_all_read_and_half_of_them_are_text_only(shared_data):
    turns = ScienceQa(path=str(shared_data / "scienceqa" / "problems.json.gz")).turns("vqa_mc")
    assert turns.height == 1_412
    assert turns["problem"].null_count() == 1_412
    assert (turns["images"].list.len() == 0).sum() == 700
    assert (turns["images"].list.len() == 1).sum() == 712
    assert turns["context"].null_count() == 703
    counts = turns["choices"].list.len().value_counts().sort("choices")
    assert counts.rows() == [(2, 743), (3, 348), (4, 304), (5, 17)]
    assert (turns["answer"] < turns["choices"].list.len()).all()


@pytest.mark.parametrize(("split", "problems"), [("train", 1_041), ("val", 371), ("trainval", 1_412), ("test", 0)])
def test_the_real_splits_hold_what_the_trimmed_file_has_of_them(shared_data, split, problems):
    turns = ScienceQa(path=str(shared_data / "scienceqa" / "problems.json.gz"), split=split).turns("vqa_mc")
    assert turns["problem"].null_count() == problems
    assert turns["problem"].to_list().count("other_split") == 1_412 - problems
