"""TFRecord files: every record is a row, in the ledger, or an error that names it."""

import gzip
import struct

import datasets
import numpy as np
import pytest

import vldata
from vldata.errors import SourceError
from vldata.images.references import ImageReader
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene
from vldata.sources.reading import tfrecords
from vldata.sources.table import Table
from vldata.sources.tfrecord import TfRecord, write_records

pytest.importorskip("google_crc32c", reason="google-crc32c, of the extra tfrecord, is not installed")

JPEGS = [encoded(scene(k, seed=1, side_px=96)) for k in range(3)]
PNG = encoded(scene(0, seed=1, side_px=96), suffix=".png")


def written(folder, *examples, name="00000.tfrecord"):
    write_records(folder / name, examples)
    return folder / name


def turns_of(path, task="caption", **options):
    return TfRecord(path=str(path), **options).turns(task)


def test_the_frame_of_a_record_is_tensorflows(tmp_path):
    """By the definition of the format: length, its masked CRC32C, data, their masked CRC32C."""
    assert tfrecords.masked_sum(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) % 2**32
    # Example {features {feature {key: "a" value {int64_list {value: [1, -1]}}}}}
    entry = b"\x0a\x01a\x12\x0f\x1a\x0d\x0a\x0b\x01" + b"\xff" * 9 + b"\x01"
    data = b"\x0a" + bytes([len(entry) + 2]) + b"\x0a" + bytes([len(entry)]) + entry
    path = written(tmp_path, {"a": [1, -1]})
    raw = path.read_bytes()
    assert raw[:8] == struct.pack("<Q", len(data)) and raw[12:-4] == data
    assert [record.data for record in tfrecords.records(path)] == [data]


def test_every_kind_of_feature_is_a_column(tmp_path):
    first = {"key": "a", "jpg": JPEGS[0], "txt": "of a", "url": "http://x/a", "n": 9007199254740993, "f": 0.1}
    rows = [
        {**first, "l": ["x", "y"]},
        {"key": "b", "jpg": JPEGS[1], "txt": "é", "n": -(2**63), "f": 3.0, "l": []},
    ]
    source = TfRecord(path=str(written(tmp_path, *rows)))
    turns = source.turns("caption")
    assert turns["row"].to_list() == ["00000/a", "00000/b"]
    assert turns["caption"].to_list() == ["of a", "é"]
    assert turns["urls"].to_list() == [["http://x/a"], []]
    reader = ImageReader(source.image_root)
    assert [reader.read(of[0]) for of in turns["images"]] == JPEGS[:2]
    texts = {name: turns_of(tmp_path, fields={"caption": name})["caption"].to_list() for name in ("n", "f")}
    assert texts == {"n": ["9007199254740993", "-9223372036854775808"], "f": ["0.1", "3"]}
    answers = turns_of(tmp_path, "vqa_open", fields={"question": "key", "answer": "txt", "answers": "l"})["answers"]
    assert answers.to_list() == [["x", "y"], []]


def test_numbers_one_by_one_are_read_as_those_that_are_packed(tmp_path, monkeypatch):
    """Writers of old protocol buffers do not pack them."""
    one = tfrecords.Span(0, memoryview(b"\x08\x05\x08\x06"))
    assert list(tfrecords._of_kind(3, one)) == [5, 6]
    two = tfrecords.Span(0, memoryview(b"\x0d" + struct.pack("<f", 0.5)))
    assert list(tfrecords._of_kind(2, two)) == [np.float32(0.5)]


@pytest.mark.parametrize(
    "name", ["a.tfrecord", "a.tfrecords", "a.tfrec", "a.tfrecord-00000-of-00002", "train-00000-of-00001"]
)
@pytest.mark.parametrize("adapter", [TfRecord, Table])
def test_the_names_that_such_files_have(tmp_path, name, adapter):
    path = written(tmp_path, {"image/encoded": JPEGS[0], "image/caption": ["one", "two"], "id": 7}, name=name)
    for where in (path, tmp_path / "*00000*" if "0000" in name else path):
        source = adapter(path=str(where))
        turns = source.turns("caption")
        assert turns.select("row", "caption").rows() == [("7/0", "one"), ("7/1", "two")]
        assert ImageReader(source.image_root).read(turns["images"][0][0]) == JPEGS[0]


def test_which_images_are_meant_is_told_or_asked_for(tmp_path):
    written(tmp_path, {"left": JPEGS[0], "right": PNG, "txt": "two"}, {"left": JPEGS[1], "txt": "one"})
    turns = turns_of(tmp_path)
    assert "left, right" in turns["detail"][0] and set(turns["problem"]) == {"unparsable_row"}
    turns = turns_of(tmp_path, fields={"images": ["right", "left"]})
    reader = ImageReader(str(tmp_path))
    assert [[reader.read(ref) for ref in of] for of in turns["images"]] == [[PNG, JPEGS[0]], [JPEGS[1]]]
    written(tmp_path, {"image": JPEGS[0], "mask": PNG, "txt": "x"})
    assert reader.read(turns_of(tmp_path)["images"][0][0]) == JPEGS[0]


def test_conversations_in_records_are_conversations(tmp_path):
    talk = '[{"from": "human", "value": "<image>\\nWhat?"}, {"from": "gpt", "value": "That."}]'
    written(tmp_path, {"id": "a", "image": JPEGS[0], "conversations": talk})
    turns = turns_of(tmp_path, "instruction")
    assert turns.select("thread", "response", "problem").row(0) == ("a", "That.", None)
    assert ImageReader(str(tmp_path)).read(turns["images"][0][0]) == JPEGS[0]


ROWS = [{"key": str(k), "jpg": JPEGS[k], "txt": f"of {k}"} for k in range(3)]


def test_a_file_that_ends_too_early_names_the_record(tmp_path):
    path = written(tmp_path, *ROWS)
    raw = path.read_bytes()
    (second, third) = (record.offset - 12 for record in list(tfrecords.records(path))[1:])
    for end, number in ((1, 0), (second - 1, 0), (second + 5, 1), (third - 2, 1), (third + 100, 2), (len(raw) - 1, 2)):
        path.write_bytes(raw[:end])
        with pytest.raises(SourceError, match=rf"00000.tfrecord, record {number}: the file ends inside it"):
            turns_of(tmp_path)


def test_a_broken_checksum_names_the_record(tmp_path):
    path = written(tmp_path, *ROWS)
    raw = path.read_bytes()
    start = list(tfrecords.records(path))[1].offset
    for at, said in ((start - 12, "length"), (start - 3, "length"), (start + 50, "data")):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(SourceError, match=rf"record 1: its {said}"):
            turns_of(tmp_path)
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(SourceError, match="unpack"):
        turns_of(tmp_path)


def test_what_is_no_example_and_what_is_no_text_are_rows_with_a_reason(tmp_path):
    path = written(tmp_path, *ROWS, {"key": "3", "jpg": b"", "txt": b"\xff\xfe"}, {"key": "4", "txt": ""})
    with path.open("ab") as file:
        for data in (b"\x0a\xff", b"hello", b"\x12\x00"):
            head = struct.pack("<Q", len(data))
            sums = [struct.pack("<I", tfrecords.masked_sum(part)) for part in (head, data)]
            file.write(head + sums[0] + data + sums[1])
    turns = turns_of(tmp_path)
    assert turns["problem"].to_list() == [None] * 3 + ["unparsable_row", None] + ["unparsable_row"] * 3
    assert turns["detail"][3] == "'txt' of record 3 is not UTF-8"
    assert "record 5 is no tf.train.Example" in turns["detail"][5]
    assert "SequenceExample" in turns["detail"][7]


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    written(tmp_path, *ROWS)
    monkeypatch.setitem(__import__("sys").modules, "google_crc32c", None)
    with pytest.raises(SourceError, match=r"vldata\[tfrecord\]"):
        turns_of(tmp_path)


def test_a_build_takes_the_images_from_the_file(tmp_path):
    written(tmp_path, *ROWS)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: r\nsources:\n  s: {{format: tfrecord, path: {tmp_path}, task: caption}}\n")
    vldata.build(vldata.load(recipe), tmp_path / "out", store=tmp_path / "store", workers=1)
    rows = datasets.load_from_disk(str(tmp_path / "out")).cast_column(
        "images", datasets.List(datasets.Image(decode=False))
    )
    assert sorted(row["images"][0]["bytes"] for row in rows) == sorted(JPEGS)
