import gzip
import json

import pytest

from vldata.shapes.scene import scene
from vldata.sources.standins import draw, scenes_for, write_json, write_json_lines


@pytest.mark.parametrize(("rows", "per_scene", "scenes"), [(0, 5, 0), (1, 5, 1), (10, 5, 2), (11, 5, 3), (3, 1, 3)])
def test_there_are_as_many_scenes_as_the_rows_need(rows, per_scene, scenes):
    assert [s.number for s in scenes_for(rows, per_scene, seed=1)] == list(range(scenes))


def test_scenes_are_those_of_the_seed_and_the_side():
    assert next(scenes_for(1, 1, seed=4, side_px=128)) == scene(0, seed=4, side_px=128)


def test_json_is_compact_utf8_and_ends_as_it_should(tmp_path):
    write_json(tmp_path / "sub" / "a.json", {"b": ["é", 1]})
    write_json_lines(tmp_path / "a.jsonl", iter([{"a": 1}, {"a": 2}]))
    assert (tmp_path / "sub" / "a.json").read_text(encoding="utf-8") == '{"b":["é",1]}'
    assert (tmp_path / "a.jsonl").read_text() == '{"a":1}\n{"a":2}\n'


def test_gzip_is_chosen_by_name_and_has_no_time_in_it(tmp_path):
    write_json(tmp_path / "a.json.gz", [1])
    packed = (tmp_path / "a.json.gz").read_bytes()
    assert json.loads(gzip.decompress(packed)) == [1]
    assert packed[4:8] == bytes(4)


def test_an_image_is_drawn_in_the_format_of_its_name(tmp_path):
    draw(tmp_path, "train/1.png", scene(1, seed=2))
    draw(tmp_path, "train/1.jpg", scene(1, seed=2))
    assert (tmp_path / "train" / "1.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "train" / "1.jpg").read_bytes()[:2] == b"\xff\xd8"
