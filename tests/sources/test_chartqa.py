import pytest

from vldata.errors import SourceError
from vldata.sources.chartqa import ChartQa
from vldata.sources.standins import write_json

OVENS = {"imgname": "two_col_100060.png", "query": "What was the export value of ovens in 2010?", "label": "23.68"}


def written(tmp_path, rows, name="train/train_human.json"):
    write_json(tmp_path / name, rows)
    return str(tmp_path / name)


def test_a_row_is_a_question_about_a_chart_beside_its_file(tmp_path):
    assert ChartQa(path=written(tmp_path, [OVENS])).turns("vqa_open").to_dicts() == [
        {
            "problem": None,
            "detail": None,
            "question": "What was the export value of ovens in 2010?",
            "answer": "23.68",
            "images": ["png/two_col_100060.png"],
        }
    ]


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("", "train/png/two_col_100060.png"),
        ("train", "png/two_col_100060.png"),
        ("train/*_human.json", "png/two_col_100060.png"),
        ("*/*_human.json", "train/png/two_col_100060.png"),
        ("tr[a]in/train_human.json", "train/png/two_col_100060.png"),
    ],
)
def test_charts_are_named_from_the_folder_that_the_path_names(tmp_path, path, image):
    written(tmp_path, [OVENS])
    source = ChartQa(path=str(tmp_path / path))
    assert source.turns("vqa_open")["images"].to_list() == [[image]]


def test_a_folder_gives_human_and_augmented_questions_and_no_annotations_of_charts(tmp_path):
    written(tmp_path, [OVENS])
    written(tmp_path, [OVENS, OVENS], "val/val_augmented.json")
    written(tmp_path, {"models": []}, "val/annotations/two_col_100060.json")
    source = ChartQa(path=str(tmp_path))
    assert [path.name for path in source.files()] == ["train_human.json", "val_augmented.json"]
    assert source.turns("vqa_open").height == 3


def test_numbers_are_answers_too_and_other_things_are_not(tmp_path):
    rows = [{**OVENS, "label": label} for label in (3, 0.5, "[1, 2]", [1, 2], None)]
    turns = ChartQa(path=written(tmp_path, rows)).turns("vqa_open")
    assert turns["answer"].to_list() == ["3", "0.5", "[1, 2]", None, None]
    assert turns["problem"].to_list() == [None, None, None, "unparsable_row", "missing_value"]


def test_an_object_is_another_format(tmp_path):
    with pytest.raises(SourceError, match="not a list of rows, but an object with 'models'"):
        ChartQa(path=written(tmp_path, {"models": []})).turns("vqa_open")


def test_the_real_folder_gives_every_question_and_all_charts_are_there(shared_data):
    folder = shared_data / "chartqa_split"
    turns = ChartQa(path=str(folder)).turns("vqa_open")
    assert turns.height == 400
    assert turns["problem"].null_count() == 400
    charts = turns["images"].explode().unique().to_list()
    assert len(charts) == 260
    assert all((folder / chart).is_file() for chart in charts)


def test_a_real_glob_takes_some_of_the_files(shared_data):
    turns = ChartQa(path=str(shared_data / "chartqa_split" / "*" / "test_human_*.json")).turns("vqa_open")
    assert turns.height == 24 + 65 + 20 + 66
    assert all((shared_data / "chartqa_split" / chart).is_file() for chart in turns["images"].explode())
