import gzip

import pytest
from pydantic import ValidationError

from vldata.errors import SourceError
from vldata.sources.multi30k import Multi30k


def corpus(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(tmp_path)


TASK1 = {
    "task1/image_splits/train.txt": "1.jpg\n2.jpg\n",
    "task1/raw/train.en.gz": "Two men.\nA dog.\n",
    "task1/raw/train.de": "Zwei Männer.\r\n\r\n",
}
TASK2 = {
    "task2/image_splits/train_images.txt": "3.jpg#7\n4.jpg\n",
    **{f"task2/raw/train.{k}.en": f"first {k}\nsecond {k}\n" for k in range(1, 6)},
}


def test_line_n_belongs_to_photograph_n(tmp_path):
    turns = Multi30k(path=corpus(tmp_path, **TASK1)).turns("caption")
    assert turns.select("row", "images", "caption").rows() == [
        ("1.jpg#en", ["1.jpg"], "Two men."),
        ("2.jpg#en", ["2.jpg"], "A dog."),
    ]


def test_an_empty_line_keeps_its_place(tmp_path):
    turns = Multi30k(path=corpus(tmp_path, **TASK1), language="de").turns("caption")
    assert turns.select("row", "caption").rows() == [("1.jpg#de", "Zwei Männer."), ("2.jpg#de", "")]


def test_one_of_task_2_s_files_or_all_five(tmp_path):
    path = corpus(tmp_path, **TASK2)
    third = Multi30k(path=path, task2=3).turns("caption")
    assert third.select("row", "images", "caption").rows() == [
        ("3.jpg#3.en", ["3.jpg"], "first 3"),
        ("4.jpg#3.en", ["4.jpg"], "second 3"),
    ]
    every = Multi30k(path=path, task2="all")
    assert every.turns("caption")["caption"].to_list()[::2] == [f"first {k}" for k in range(1, 6)]
    assert len(every.files()) == 6


def test_files_that_do_not_match_are_refused_with_both_counts(tmp_path):
    path = corpus(tmp_path, **{**TASK1, "task1/raw/train.en.gz": "Two men.\nA dog.\nA cat.\n"})
    with pytest.raises(SourceError, match=r"3 lines, but train\.txt names 2 photographs"):
        Multi30k(path=path).turns("caption")


@pytest.mark.parametrize("option", [{"language": "fr"}, {"split": "val"}, {"task2": 2}])
def test_a_file_that_is_missing_is_refused_by_name(tmp_path, option):
    with pytest.raises(SourceError, match=r"no such file, nor with \.gz"):
        Multi30k(path=corpus(tmp_path, **TASK1), **option).turns("caption")


@pytest.mark.parametrize("option", [{"task2": 6}, {"task2": "some"}, {"split": "../../etc"}, {"language": "e/n"}])
def test_options_that_mean_nothing_are_refused(option):
    with pytest.raises(ValidationError):
        Multi30k(path=".", **option)


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, 29_000),
        ({"language": "de"}, 29_000),
        ({"split": "val"}, 1_014),
        ({"task2": 5}, 29_000),
        ({"task2": "all", "split": "val"}, 5_070),
    ],
)
def test_all_of_the_real_lines_are_read(shared_data, options, rows):
    turns = Multi30k(path=str(shared_data / "multi30k" / "data"), **options).turns("caption")
    assert turns.height == rows
    assert turns["row"].is_unique().all()
    assert turns["caption"].str.len_chars().min() > 0
