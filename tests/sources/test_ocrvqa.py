import pytest
from pydantic import ValidationError

from vldata.errors import SourceError
from vldata.sources.ocrvqa import OcrVqa
from vldata.sources.standins import write_json

CALENDAR = {
    "imageURL": "http://ecx.images-amazon.com/images/I/61Y5cOdHJbL.jpg",
    "questions": ["Who wrote this book?", "Is this a sociopolitical book?"],
    "answers": ["Sandra Boynton", "No"],
    "title": "Mom's Family Wall Calendar 2016",
    "authorName": "Sandra Boynton",
    "genre": "Calendars",
    "split": 1,
}


def read(tmp_path, books, **options):
    write_json(tmp_path / "dataset.json", books)
    return OcrVqa(path=str(tmp_path / "dataset.json"), **options).turns("vqa_open")


def test_a_book_gives_a_turn_a_question(tmp_path):
    first, second = read(tmp_path, {"761183272": CALENDAR}).to_dicts()
    assert first == {
        "row": "761183272/0",
        "question": "Who wrote this book?",
        "answer": "Sandra Boynton",
        "images": ["761183272.jpg"],
        "urls": ["http://ecx.images-amazon.com/images/I/61Y5cOdHJbL.jpg"],
        "problem": None,
        "detail": None,
    }
    assert (second["row"], second["answer"]) == ("761183272/1", "No")


def test_a_cover_is_named_after_its_key_and_the_suffix_of_its_url(tmp_path):
    books = {
        "a": {**CALENDAR, "imageURL": "http://x.org/i/1.gif"},
        "b": {**CALENDAR, "imageURL": "http://x.org/i/noname"},
        "c": {**CALENDAR, "imageURL": None},
    }
    assert read(tmp_path, books)["images"].to_list()[::2] == [["a.gif"], ["b.jpg"], ["c.jpg"]]
    assert read(tmp_path, books, image_name="{id}.jpg")["images"].to_list()[0] == ["a.jpg"]


def test_a_book_with_more_questions_than_answers_is_one_row_that_says_so(tmp_path):
    books = {"a": {**CALENDAR, "answers": ["only one"]}, "b": {**CALENDAR, "questions": [], "answers": []}, "c": 3}
    rows = read(tmp_path, books).to_dicts()
    assert [(row["row"], row["problem"], row["detail"]) for row in rows] == [
        ("a", "unparsable_row", "2 questions, 1 answers"),
        ("b", "missing_value", "no question"),
        ("c", "unparsable_row", "not an object: 3"),
    ]
    assert [row["question"] for row in rows] == [None, None, None]


def test_books_of_other_splits_are_filtered_question_by_question(tmp_path):
    books = {"a": CALENDAR, "b": {**CALENDAR, "split": 2}, "c": {**CALENDAR, "split": None}}
    turns = read(tmp_path, books, split="val")
    assert turns["problem"].to_list() == ["other_split", "other_split", None, None, "other_split", "other_split"]
    assert turns["detail"].to_list()[::2] == ["a book of split 1", None, "a book of split ?"]
    assert read(tmp_path, books)["problem"].null_count() == 6


def test_a_split_has_a_name_and_not_a_number(tmp_path):
    with pytest.raises(ValidationError, match="train"):
        OcrVqa(path="x", split=1)


def test_a_list_of_books_is_another_format(tmp_path):
    with pytest.raises(SourceError, match="not an object of rows, but a list"):
        read(tmp_path, [CALENDAR])
