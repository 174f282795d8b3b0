import pytest

from vldata.errors import SourceError
from vldata.sources.standins import write_json
from vldata.sources.visual_genome import VisualGenome

CLOCK = {
    "region_id": 1382,
    "image_id": 1,
    "x": 421,
    "y": 57,
    "width": 82,
    "height": 139,
    "phrase": " the clock is green ",
}
URL = "https://cs.stanford.edu/people/rak248/VG_100K_2/1.jpg"
PHOTOGRAPH = {"image_id": 1, "width": 800, "height": 600, "url": URL, "coco_id": None, "flickr_id": None}


def read(tmp_path, described, task="rec", photographs=(PHOTOGRAPH,)):
    write_json(tmp_path / "region_descriptions.json", described)
    write_json(tmp_path / "image_data.json", list(photographs))
    return VisualGenome(path=str(tmp_path)).turns(task)


def test_a_region_is_a_phrase_with_a_box_on_the_photograph_that_the_url_names(tmp_path):
    for task in ("rec", "reg"):
        (turn,) = read(tmp_path, [{"id": 1, "regions": [CLOCK]}], task).to_dicts()
        assert (turn["row"], turn["phrase"]) == ("1382", "the clock is green")
        assert turn["images"] == ["VG_100K_2/1.jpg"]
        assert turn["image_sizes"] == [{"width": 800, "height": 600}]
        assert turn["urls"] == [URL]
        (box,) = turn["boxes"]
        assert [box[edge] for edge in ("x0", "y0", "x1", "y1")] == [421, 57, 503, 196]
        assert turn["problem"] is None


def test_a_phrase_is_a_caption_too(tmp_path):
    turns = read(tmp_path, [{"id": 1, "regions": [CLOCK, {**CLOCK, "region_id": 2}]}], "caption")
    assert turns["caption"].to_list() == ["the clock is green"] * 2
    assert "boxes" not in turns.columns


def test_rows_that_cannot_be_used_say_why(tmp_path):
    regions = [
        {**CLOCK, "region_id": 1, "x": None},
        {**CLOCK, "region_id": 2, "width": "wide"},
        {**CLOCK, "region_id": 3, "image_id": 99},
        {**CLOCK, "region_id": 4, "phrase": [5]},
        {**CLOCK, "region_id": 5, "x": -1},
    ]
    turns = read(tmp_path, [{"id": 1, "regions": regions}, {"id": 2}, 7])
    assert turns["problem"].to_list() == [
        "missing_value",
        "unparsable_row",
        "missing_value",
        "unparsable_row",
        None,
        "unparsable_row",
        "unparsable_row",
    ]
    assert turns["detail"][2] == "image_data.json has no image 99"
    assert turns["boxes"][0] is None


def test_the_photographs_file_is_needed_and_may_lie_elsewhere(tmp_path):
    read(tmp_path, [{"id": 1, "regions": [CLOCK]}])
    elsewhere = tmp_path / "meta" / "images.json"
    elsewhere.parent.mkdir()
    (tmp_path / "image_data.json").rename(elsewhere)
    path = str(tmp_path / "region_descriptions.json")
    with pytest.raises(SourceError, match=r"image_data\.json"):
        VisualGenome(path=path).turns("rec")
    source = VisualGenome(path=path, image_data=str(elsewhere))
    assert source.turns("rec")["problem"].to_list() == [None]
    assert [file.name for file in source.files()] == ["region_descriptions.json", "images.json"]
