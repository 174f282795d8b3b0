import pytest

from vldata.errors import SourceError
from vldata.sources.coco_captions import CocoCaptions
from vldata.sources.standins import write_json

IMAGE = {
    "id": 179765,
    "file_name": "000000179765.jpg",
    "width": 640,
    "height": 480,
    "coco_url": "http://images.cocodataset.org/val2017/000000179765.jpg",
    "flickr_url": "http://farm3.staticflickr.com/2824/10213933686_z.jpg",
}


def read(tmp_path, annotations, images=(IMAGE,)):
    path = tmp_path / "captions_val2017.json"
    write_json(path, {"images": list(images), "annotations": annotations})
    return CocoCaptions(path=str(path)).turns("caption").to_dicts()


def test_a_caption_is_a_turn_with_its_photograph_and_where_that_came_from(tmp_path):
    rows = read(tmp_path, [{"id": 38, "image_id": 179765, "caption": "A black Honda motorcycle."}])
    assert rows == [
        {
            "row": "38",
            "images": ["000000179765.jpg"],
            "image_sizes": [{"width": 640, "height": 480}],
            "urls": [IMAGE["flickr_url"], IMAGE["coco_url"]],
            "caption": "A black Honda motorcycle.",
            "problem": None,
            "detail": None,
        }
    ]


def test_blanks_around_a_caption_and_line_breaks_inside_are_tidied(tmp_path):
    rows = read(tmp_path, [{"id": 1, "image_id": 179765, "caption": " A man, \n\n on a horse.\n"}])
    assert rows[0]["caption"] == "A man, on a horse."


def test_a_caption_that_cannot_be_used_stays_as_a_row_that_says_why(tmp_path):
    rows = read(
        tmp_path,
        [
            {"id": 1, "image_id": 7, "caption": "An image that is not listed."},
            {"id": 2, "image_id": 179765, "caption": None},
            {"id": 3, "image_id": 179765, "caption": ["a", "list"]},
            "not an object",
            {"id": 5, "image_id": 8, "caption": "An image without a name."},
            {"id": 6, "image_id": 179765, "caption": "A good one."},
        ],
        images=[IMAGE, {"id": 8, "width": 3, "height": 3}, {"file_name": "no id.jpg"}, 4],
    )
    assert [(row["row"], row["problem"], row["detail"]) for row in rows] == [
        ("1", "missing_value", "image 7 is not among the file's `images`"),
        ("2", "missing_value", "no 'caption'"),
        ("3", "unparsable_row", "'caption' is ['a', 'list'], not text"),
        (None, "unparsable_row", "not an object: 'not an object'"),
        ("5", "missing_value", "image 8 has no file_name"),
        ("6", None, None),
    ]


def test_a_photograph_listed_twice_gives_its_captions_once(tmp_path):
    rows = read(tmp_path, [{"id": 1, "image_id": 179765, "caption": "A."}], images=[IMAGE, IMAGE])
    assert len(rows) == 1


def test_a_photograph_of_unknown_size_has_no_size(tmp_path):
    image = {"id": 1, "file_name": "a.jpg", "width": 0, "height": 480}
    rows = read(tmp_path, [{"id": 1, "image_id": 1, "caption": "A."}], images=[image])
    assert rows[0]["image_sizes"] is None
    assert rows[0]["urls"] == []


def test_a_folder_gives_the_captions_of_all_its_files_and_leaves_instances_alone(tmp_path):
    for split, number in (("train", 1), ("val", 2)):
        annotation = {"id": number, "image_id": 179765, "caption": f"Of {split}."}
        document = {"images": [IMAGE], "annotations": [annotation]}
        write_json(tmp_path / "annotations" / f"captions_{split}2017.json.gz", document)
    write_json(tmp_path / "annotations" / "instances_val2017.json", {})
    source = CocoCaptions(path=str(tmp_path))
    assert [path.name for path in source.files()] == ["captions_train2017.json.gz", "captions_val2017.json.gz"]
    assert source.turns("caption")["caption"].to_list() == ["Of train.", "Of val."]


def test_a_file_that_is_not_cocos_is_refused(tmp_path):
    write_json(tmp_path / "a.json", {"questions": []})
    with pytest.raises(SourceError, match="no list 'annotations' in it, but an object with 'questions'"):
        CocoCaptions(path=str(tmp_path / "a.json")).turns("caption")


def test_the_real_file_gives_every_caption(shared_data):
    turns = CocoCaptions(path=str(shared_data / "coco_captions")).turns("caption")
    assert turns.height == 25_014
    assert turns["problem"].null_count() == 25_014
    assert turns["row"].is_unique().all()
    assert turns["images"].explode().n_unique() == 5_000
    assert turns["caption"].str.contains(r"^\s|\s$|\n").sum() == 0
    assert turns["caption"].str.len_chars().max() <= 247


def test_the_real_photographs_that_are_at_hand_are_the_ones_named(shared_data):
    turns = CocoCaptions(path=str(shared_data / "coco_mini" / "annotations")).turns("caption")
    assert turns.height == 400 + 395
    named = set(turns["images"].explode())
    at_hand = {
        path.name for split in ("train2017", "val2017") for path in (shared_data / "coco_mini" / split).iterdir()
    }
    assert len(named) == 80 + 79
    assert named <= at_hand
