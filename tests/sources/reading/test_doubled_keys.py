"""An object that says two things under one key is told, wherever it stands in a file."""

import gzip
import json

import pytest

from vldata.errors import SourceError
from vldata.sources.coco_captions import CocoCaptions
from vldata.sources.reading import doubled_keys
from vldata.sources.reading.doubled_keys import doubled_key, doubled_keys_of, num_keys
from vldata.sources.table import Table
from vldata.sources.webdataset import WebDataset, write_tar

DOUBLED = '{"id": 9001, "image": "b.jpg", "caption": "one", "caption": "two"}'


def rows(num):
    more = ["", ', "lang": "en"', ', "score": 0.5']
    return [f'{{"id": {k}, "image": "a.jpg", "caption": "row {k}"{more[(k // 1000) % 3]}}}' for k in range(num)]


@pytest.fixture(autouse=True)
def few_bytes_are_searched(monkeypatch):
    monkeypatch.setattr(doubled_keys, "_SEARCHED_BYTES", 1000)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.json"])
@pytest.mark.parametrize("spaces", [": ", ":", " : "])
def test_a_row_far_down_is_refused(tmp_path, name, spaces):
    lines = [line.replace(": ", spaces) for line in rows(1200)]
    text = "\n".join([*lines, DOUBLED.replace(": ", spaces), *lines]) + "\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    with pytest.raises(SourceError, match="'caption' twice, with 'one' and 'two'") as caught:
        Table(path=str(tmp_path / name)).turns("caption")
    assert caught.value.where.endswith(":1201")


@pytest.mark.parametrize("talk", [False, True])
def test_a_row_far_down_in_a_list_is_refused_whether_or_not_rows_hold_objects(tmp_path, talk):
    said = '[{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A \\"thing\\": 2.50"}]'
    objects = [f'{{"id": "{k}", "image": "a.jpg", "conversations": {said}}}' for k in range(300)] if talk else rows(300)
    doubled = objects[0].replace('"image": "a.jpg"', '"image": "a.jpg", "image": "b.jpg"')
    task = "instruction" if talk else "caption"
    path = tmp_path / "t.json"
    path.write_text(f"[{', '.join(objects)}]")
    assert Table(path=str(path)).turns(task)["problem"].null_count() == 300
    path.write_text(f"[{', '.join([*objects, doubled])}]")
    with pytest.raises(SourceError, match=r"'image' twice, with 'a\.jpg' and 'b\.jpg'"):
        Table(path=str(path)).turns(task)


def test_rows_of_a_document_that_is_opened_in_parts_have_a_reason(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg", "width": 2, "height": 2}]
    captions = [f'{{"id": {k}, "image_id": 1, "caption": "row {k}"}}' for k in range(100)]
    captions.append('{"id": 100, "image_id": 1, "caption": "one", "caption": "two"}')
    path = tmp_path / "t.json"
    path.write_text(f'{{"images": {json.dumps(images)}, "annotations": [{", ".join(captions)}]}}')
    turns = CocoCaptions(path=str(path)).turns("caption")
    assert turns["problem"].to_list() == [*[None] * 100, "unparsable_row"]
    assert turns["detail"][100] == "an object has the key 'caption' twice, with 'one' and 'two'"


@pytest.mark.parametrize("form", ['{{"annotations": [{}], "annotations": [], "images": []}}', '{{"a": [{}], "a": []}}'])
def test_a_part_that_stands_twice_is_refused(tmp_path, form):
    path = tmp_path / "t.json"
    path.write_text(form.format(", ".join(rows(100))))
    with pytest.raises(SourceError, match=r"'(a|annotations)' twice"):
        CocoCaptions(path=str(path)).turns("caption")


def test_one_id_of_many_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "t.json"
    each = [f'"{k % 100}": {{"image": "a.jpg", "caption": "row {k}"}}' for k in range(108)]
    path.write_text(f"{{{', '.join(each)}}}")
    with pytest.raises(SourceError, match="the key '0' twice"):
        Table(path=str(path)).turns("caption")


def test_json_in_a_shard_is_looked_at_too(tmp_path):
    write_tar(tmp_path / "t.tar", [("1.json", DOUBLED.encode()), ("2.json", b'{"caption": "x"}')])
    turns = WebDataset(path=str(tmp_path / "t.tar")).turns("caption")
    assert turns["problem"].to_list() == ["unparsable_row", None]
    assert "'caption' twice" in turns["detail"][0]


def test_texts_that_look_like_keys_and_equal_values_are_no_trouble():
    assert doubled_key('{"a": "\\"a\\": \\"b\\":", "b": 1, "b": 1}') is None
    assert doubled_keys_of(['{"a": 1}', '{"a": "\\"b\\": 2"}', '{"a": 1, "a": 2}', "no JSON", ""]).keys() == {2}
    assert doubled_keys_of([]) == {}


@pytest.mark.parametrize("text", [b"", b'"', b'":', b'{"a":1,"b" :2,"c":"x\\":y"}', b'x":' * 9, b'":":', b':"":'])
def test_keys_are_counted_as_python_counts_them(text):
    for start in range(len(text) + 1):
        assert num_keys(text[start:]) == text[start:].count(b'":')
