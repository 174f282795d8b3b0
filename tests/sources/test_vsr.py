import pytest

from vldata.errors import SourceError
from vldata.sources.standins import write_json_lines
from vldata.sources.vsr import Vsr

CAT = {
    "image": "000000085637.jpg",
    "image_link": "http://images.cocodataset.org/train2017/000000085637.jpg",
    "caption": "The cat is on top of the suitcase.",
    "label": 1,
    "relation": "on top of",
    "vote_true_validator_id": "[2, 6]",
    "reference_frame": None,
}


def written(tmp_path, rows, name="train.jsonl"):
    write_json_lines(tmp_path / name, rows)
    return str(tmp_path / name)


def test_a_line_is_a_statement_and_whether_it_holds(tmp_path):
    path = written(tmp_path, [CAT, {**CAT, "label": 0, "caption": " The suitcase contains the cat. "}])
    first, second = Vsr(path=path).turns("true_false").to_dicts()
    assert first == {
        "statement": "The cat is on top of the suitcase.",
        "answer": True,
        "images": ["000000085637.jpg"],
        "urls": ["http://images.cocodataset.org/train2017/000000085637.jpg"],
        "problem": None,
        "detail": None,
    }
    assert (second["statement"], second["answer"]) == ("The suitcase contains the cat.", False)


def test_a_photograph_may_be_looked_for_in_the_folder_of_its_link(tmp_path):
    path = written(tmp_path, [CAT, {**CAT, "image_link": None}])
    turns = Vsr(path=path, image_name="{folder}/{image}").turns("true_false")
    assert turns["images"].to_list() == [["train2017/000000085637.jpg"], []]


def test_a_line_that_cannot_be_used_stays_as_a_row_that_says_why(tmp_path):
    path = written(tmp_path, [CAT, {**CAT, "label": 2}, {**CAT, "caption": None}])
    with open(path, "a") as file:  # noqa: PTH123
        file.write('{"image": \n"text"\n')
    turns = Vsr(path=path).turns("true_false")
    assert turns["problem"].to_list() == [None, "unparsable_row", "missing_value", "unparsable_row", "unparsable_row"]
    assert turns["detail"][1] == "'label' is 2, not true, false, 0 or 1"


def test_a_folder_gives_the_lines_of_all_its_files(tmp_path):
    written(tmp_path, [CAT], "random/train.jsonl")
    written(tmp_path, [CAT], "random/dev.jsonl.gz")
    assert Vsr(path=str(tmp_path)).turns("true_false").height == 2


def test_a_file_that_ends_within_a_line_is_refused(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"image": "a.jpg", "caption": "The c')
    with pytest.raises(SourceError, match=r"train\.jsonl:1: the last line breaks off"):
        Vsr(path=str(path)).turns("true_false")


@pytest.mark.parametrize(
    ("split", "rows", "true", "images"), [("train", 7_680, 3_876, 4_968), ("dev", 1_097, 564, 1_017)]
)
def test_the_real_files_give_every_statement(shared_data, split, rows, true, images):
    path = shared_data / "vsr" / "data" / "splits" / "random" / f"{split}.jsonl"
    turns = Vsr(path=str(path), image_name="{folder}/{image}").turns("true_false")
    assert turns.height == rows
    assert turns["problem"].null_count() == rows
    assert turns["answer"].sum() == true
    assert turns["images"].explode().n_unique() == images
    assert turns["images"].explode().str.contains(r"^(train|val)2017/\d{12}\.jpg$").all()
    assert not turns.select("statement", "images").is_duplicated().any()
