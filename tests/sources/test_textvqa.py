from collections import Counter

import pytest

from vldata.errors import SourceError
from vldata.sources.reading.files import read_json
from vldata.sources.standins import write_json
from vldata.sources.textvqa import TextVqa

CAMERA = {
    "question_id": 34602,
    "question": "what is the brand of this camera?",
    "image_id": "003a8ae2ef43b901",
    "answers": ["nous les gosses", "dakota", "clos culombu", "dakota digital", "dakota"],
    "image_width": 1024,
    "image_height": 664,
    "flickr_original_url": "https://farm2.staticflickr.com/4/5_6_o.jpg",
    "set_name": "val",
}


def written(tmp_path, rows, name="TextVQA_0.5.1_val.json"):
    write_json(tmp_path / name, {"dataset_name": "textvqa", "data": rows})
    return str(tmp_path / name)


def test_a_native_row_is_a_turn_with_its_most_frequent_answer(tmp_path):
    assert TextVqa(path=written(tmp_path, [CAMERA])).turns("vqa_open").to_dicts() == [
        {
            "question": "what is the brand of this camera?",
            "answer": "dakota",
            "answers": CAMERA["answers"],
            "problem": None,
            "detail": None,
            "row": "34602",
            "images": ["003a8ae2ef43b901.jpg"],
            "image_sizes": [{"width": 1024, "height": 664}],
            "urls": ["https://farm2.staticflickr.com/4/5_6_o.jpg"],
        }
    ]


def test_rows_of_a_test_file_have_no_answer_and_say_so(tmp_path):
    bare = {key: CAMERA[key] for key in ("question_id", "question", "image_id")}
    turns = TextVqa(path=written(tmp_path, [bare])).turns("vqa_open")
    assert turns["problem"].to_list() == ["missing_value"]
    assert turns["image_sizes"].to_list() == [None]
    assert turns["urls"].to_list() == [[]]


def test_a_row_of_another_form_stays_as_a_row_that_says_why(tmp_path):
    turns = TextVqa(path=written(tmp_path, [{**CAMERA, "answers": [{"answer": "a"}]}, 5])).turns("vqa_open")
    assert turns["problem"].to_list() == ["unparsable_row", "unparsable_row"]
    assert turns.height == 2


def test_a_folder_gives_both_splits(tmp_path):
    written(tmp_path, [CAMERA], "TextVQA_0.5.1_train.json")
    written(tmp_path, [{**CAMERA, "question_id": 2}])
    write_json(tmp_path / "TextVQA_Rosetta_OCR_v0.2_val.jsonl", {})
    assert TextVqa(path=str(tmp_path)).turns("vqa_open")["row"].to_list() == ["34602", "2"]


def test_a_file_of_another_form_is_refused(tmp_path):
    write_json(tmp_path / "a.json", {"annotations": []})
    with pytest.raises(SourceError, match="no list 'data' in it, but an object with 'annotations'"):
        TextVqa(path=str(tmp_path / "a.json")).turns("vqa_open")


def test_the_pair_of_files_gives_the_most_frequent_answer_and_not_the_one_that_it_calls_its_own(tmp_path):
    answers = [{"answer": answer} for answer in ("nous les gosses", "dakota", "dakota")]
    annotation = {"question_id": 1, "multiple_choice_answer": "nous les gosses", "answers": answers}
    write_json(
        tmp_path / "val_questions.json", {"questions": [{"question_id": 1, "image_id": "a", "question": "brand?"}]}
    )
    write_json(tmp_path / "val_annotations.json", {"annotations": [annotation]})
    turns = TextVqa(path=str(tmp_path / "val_questions.json")).turns("vqa_open")
    assert turns["answer"].to_list() == ["dakota"]
    assert turns["images"].to_list() == [["a.jpg"]]


def test_the_real_pair_of_files_gives_every_question_with_its_most_frequent_answer(shared_data):
    questions = shared_data / "textvqa" / "val_questions_vqa_format.json.gz"
    turns = TextVqa(path=str(questions)).turns("vqa_open")
    assert turns.height == 5_000
    assert turns["problem"].null_count() == 5_000
    assert turns["row"].is_unique().all()
    assert turns["images"].explode().n_unique() == 3_166
    assert turns["answers"].list.len().unique().to_list() == [10]

    annotations = read_json(questions.with_name("val_annotations_vqa_format.json.gz"))["annotations"]
    answers = {str(a["question_id"]): [said["answer"] for said in a["answers"]] for a in annotations}
    for row, answer in turns.select("row", "answer").iter_rows():
        votes = Counter(word.strip() for word in answers[row])
        assert votes[answer] == max(votes.values())
    assert turns["answer"].to_list().count("unanswerable") == 105  # of 125 with as many votes as any


def test_the_real_training_questions_are_refused_since_their_annotations_are_not_there(shared_data):
    questions = shared_data / "textvqa" / "train_questions_vqa_format.json.gz"
    with pytest.raises(SourceError, match="train_annotations_vqa_format"):
        TextVqa(path=str(questions)).turns("vqa_open")


def test_real_questions_with_annotations_of_another_split_are_all_kept_as_problems(shared_data):
    folder = shared_data / "textvqa"
    source = TextVqa(
        path=str(folder / "train_questions_vqa_format.json.gz"),
        annotations=str(folder / "val_annotations_vqa_format.json.gz"),
    )
    turns = source.turns("vqa_open")
    assert turns.height == 34_602 + 5_000
    assert turns["problem"].to_list() == ["missing_value"] * 39_602
