import polars as pl
import pytest

from vldata.errors import SourceError
from vldata.sources.coco_instances import CocoInstances
from vldata.sources.standins import write_json

IMAGES = [{"id": 9, "file_name": "000000000009.jpg", "width": 100, "height": 50}]
CATEGORIES = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog", "supercategory": "animal"}]


def annotation(number, category, bbox, **more):
    return {"id": number, "image_id": 9, "category_id": category, "bbox": bbox, "iscrowd": 0, **more}


def read(tmp_path, task, annotations, categories=CATEGORIES):
    path = tmp_path / "instances_val2017.json"
    write_json(path, {"images": IMAGES, "annotations": annotations, "categories": categories})
    return CocoInstances(path=str(path)).turns(task).to_dicts()


def corners(row):
    return [(box["x0"], box["y0"], box["x1"], box["y1"]) for box in row["boxes"]]


CATS_AND_DOG = [
    annotation(1, 17, [10, 20, 30, 5.5]),
    annotation(2, 18, [0, 0, 100, 50]),
    annotation(3, 17, [50, 0, 10, 10]),
]


def test_rec_gathers_the_boxes_of_a_category_in_a_photograph(tmp_path):
    cats, dog = read(tmp_path, "rec", CATS_AND_DOG)
    assert (cats["row"], cats["phrase"], corners(cats)) == ("9/17", "cat", [(10, 20, 40, 25.5), (50, 0, 60, 10)])
    assert (dog["row"], dog["phrase"], corners(dog)) == ("9/18", "dog", [(0, 0, 100, 50)])
    assert cats["images"] == ["000000000009.jpg"]
    assert cats["image_sizes"] == [{"width": 100, "height": 50}]
    assert {(box["image"], box["phrase"]) for box in cats["boxes"]} == {(0, "cat")}
    assert cats["problem"] is None


def test_reg_is_one_turn_a_box(tmp_path):
    rows = read(tmp_path, "reg", CATS_AND_DOG)
    assert [(row["row"], row["phrase"]) for row in rows] == [("1", "cat"), ("2", "dog"), ("3", "cat")]
    assert corners(rows[2]) == [(50, 0, 60, 10)]


def test_a_category_with_a_crowd_region_is_left_out_and_counted(tmp_path):
    crowd = annotation(4, 17, [0, 0, 90, 40], iscrowd=1)
    cats, dog = read(tmp_path, "rec", [*CATS_AND_DOG, crowd])
    assert (cats["problem"], cats["detail"]) == ("is_crowd", "1 of its regions are crowds")
    assert len(cats["boxes"]) == 2
    assert dog["problem"] is None
    assert [row["problem"] for row in read(tmp_path, "reg", [*CATS_AND_DOG, crowd])] == [None, None, None, "is_crowd"]


def test_one_unusable_box_spoils_its_category_in_rec_and_itself_alone_in_reg(tmp_path):
    broken = annotation(4, 17, [0, 0, 90])
    cats, dog = read(tmp_path, "rec", [*CATS_AND_DOG, broken])
    assert (cats["problem"], cats["detail"]) == (
        "unparsable_row",
        "annotation 4: 'bbox' is [0, 0, 90], not a list of 4 numbers",
    )
    assert dog["problem"] is None
    assert [row["problem"] for row in read(tmp_path, "reg", [*CATS_AND_DOG, broken])] == [None] * 3 + ["unparsable_row"]


def test_annotations_that_belong_nowhere_are_rows_of_their_own(tmp_path):
    strays = [
        annotation(5, None, [0, 0, 1, 1]),
        {"id": 6, "category_id": 17, "bbox": [0, 0, 1, 1]},
        "not an object",
        annotation(8, 99, [0, 0, 1, 1]),
        {**annotation(9, 17, [0, 0, 1, 1]), "image_id": 77},
    ]
    rec = read(tmp_path, "rec", strays)
    assert [(row["row"], row["problem"]) for row in rec] == [
        ("annotation/5", "missing_value"),
        ("annotation/6", "missing_value"),
        ("annotation/2", "unparsable_row"),
        ("9/99", "missing_value"),
        ("77/17", "missing_value"),
    ]
    assert rec[3]["detail"] == "annotation 8: category 99 has no name in the file's `categories`"
    assert rec[4]["detail"] == "annotation 9: image 77 is not among the file's `images`"
    assert len(read(tmp_path, "reg", strays)) == 5


def test_a_box_that_overshoots_by_rounding_ends_at_the_edge(tmp_path):
    (row,) = read(tmp_path, "reg", [annotation(1, 17, [90.01, 40.01, 10.01, 10.3])])
    assert corners(row) == [(90.01, 40.01, 100, 50)]


def test_a_file_without_categories_is_refused(tmp_path):
    write_json(tmp_path / "a.json", {"images": [], "annotations": []})
    with pytest.raises(SourceError, match="no list 'categories'"):
        CocoInstances(path=str(tmp_path / "a.json")).turns("rec")


@pytest.mark.parametrize(
    ("folder", "boxes", "crowds"), [("coco_mini", 739 + 624, 8 + 5), ("coco_tiny", 470 + 382, 5 + 5)]
)
def test_the_real_files_give_every_box_and_none_leaves_its_photograph(shared_data, folder, boxes, crowds):
    source = CocoInstances(path=str(shared_data / folder / "annotations"))
    reg = source.turns("reg")
    assert reg.height == boxes
    assert reg["problem"].to_list().count("is_crowd") == crowds
    assert reg["problem"].null_count() == boxes - crowds
    box, size = pl.col("boxes").list.first().struct, pl.col("image_sizes").list.first().struct
    inside = (
        (box.field("x0") >= 0)
        & (box.field("y0") >= 0)
        & (box.field("x1") <= size.field("width"))
        & (box.field("y1") <= size.field("height"))
    )
    assert reg.select(inside.all()).item()

    rec = source.turns("rec")
    sound = rec.filter(pl.col("problem").is_null())
    crowd = rec.filter(pl.col("problem") == "is_crowd")
    assert sound.height + crowd.height == rec.height
    assert sound["boxes"].list.len().sum() + crowd["boxes"].list.len().sum() == boxes - crowds
    assert sound["boxes"].list.len().min() >= 1
