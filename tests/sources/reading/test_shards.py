"""Names of files that say that one of them is not there, or that two are not of one set."""

import pytest

from vldata.sources.reading.shards import notes_on_files


def notes(folder, *names, pattern=""):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return notes_on_files(str(folder / pattern), [folder / name for name in names])


def test_shards_that_are_not_there_are_named(tmp_path):
    assert notes(tmp_path, "data/a-00000-of-00004.parquet", "data/a-00002-of-00004.parquet") == [
        "2 of the 4 shards data/a-…-of-00004.parquet are not there: 00001, 00003"
    ]
    assert notes(tmp_path, *(f"b-{k}-of-3.csv" for k in (1, 2, 3))) == []
    assert notes(tmp_path, "c-1-of-3.csv", "c-3-of-3.csv") == ["1 of the 3 shards c-…-of-3.csv are not there: 2"]
    assert notes(tmp_path, "d-0-of-1000.csv")[0].endswith("are not there: 1, 2, 3, 4, 5 …")


def test_shards_of_two_divisions_are_named(tmp_path):
    names = ("a-00000-of-00001.parquet", "a-00000-of-00002.parquet", "a-00001-of-00002.parquet")
    assert notes(tmp_path, *names) == [
        "shards of 2 divisions of the same rows lie side by side: a-…-of-00001.parquet, a-…-of-00002.parquet"
    ]


@pytest.mark.parametrize("names", [("train/a.csv", "test/a.csv"), ("a_train2017.json", "a_test2017.json")])
@pytest.mark.parametrize("pattern", ["", "**/*"])
def test_splits_side_by_side_are_named(tmp_path, names, pattern):
    (note,) = notes(tmp_path, *names, pattern=pattern)
    assert "several splits, by their names: test (1), train (1)" in note


def test_one_split_and_names_that_are_none_are_no_trouble(tmp_path):
    assert notes(tmp_path, "train/a.csv", "training/b.csv", "latest.csv", "trainee.csv") == []
    assert notes_on_files(str(tmp_path / "train" / "a.csv"), [tmp_path / "train" / "a.csv"]) == []
