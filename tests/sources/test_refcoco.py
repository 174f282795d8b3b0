import os
import pickle

import pytest

from vldata.errors import SourceError
from vldata.sources.refcoco import RefCoco
from vldata.sources.refcoco_mdetr import RefCocoMdetr
from vldata.sources.refcocos import RefCocoS
from vldata.sources.standins import write_json

IMAGE = {"id": 581857, "file_name": "COCO_train2014_000000581857.jpg", "width": 427, "height": 640}
BOX = [103.93, 299.99, 134.22, 177.42]


def sentence(number, text):
    return {"sent_id": number, "sent": text, "raw": text.upper(), "tokens": text.split()}


def ref(number, *sentences, ann_id=1719310, split="train", **more):
    head = {"ref_id": number, "ann_id": ann_id, "image_id": 581857, "category_id": 1, "split": split}
    return {**head, "file_name": "COCO_train2014_000000581857_16.jpg", "sentences": list(sentences), **more}


def corpus(tmp_path, refs, annotations=None, name="refs(unc).p"):
    if annotations is None:
        annotations = [{"id": 1719310, "image_id": 581857, "category_id": 1, "bbox": BOX, "iscrowd": 0}]
    (tmp_path / name).write_bytes(pickle.dumps(refs, protocol=2))
    write_json(tmp_path / "instances.json", {"images": [IMAGE], "annotations": annotations, "categories": []})
    return str(tmp_path)


LADY = ref(0, sentence(0, "the lady with the blue shirt"), sentence(1, "lady in back"))


def test_every_sentence_is_a_turn_with_the_corners_of_its_object(tmp_path):
    first, second = RefCoco(path=corpus(tmp_path, [LADY])).turns("rec").to_dicts()
    assert (first["row"], first["phrase"]) == ("0", "the lady with the blue shirt")
    assert (second["row"], second["phrase"]) == ("1", "lady in back")
    assert first["images"] == ["COCO_train2014_000000581857.jpg"]  # not the object's own file_name
    assert first["image_sizes"] == [{"width": 427, "height": 640}]
    (box,) = first["boxes"]
    assert [box[edge] for edge in ("x0", "y0", "x1", "y1")] == pytest.approx([103.93, 299.99, 238.15, 477.41])
    assert (box["image"], box["phrase"]) == (0, "the lady with the blue shirt")
    assert first["problem"] is None


def test_both_tasks_have_the_same_turns(tmp_path):
    source = RefCoco(path=corpus(tmp_path, [LADY]))
    assert source.turns("rec").equals(source.turns("reg"))


def test_other_splits_are_filtered_and_stay_in_the_count(tmp_path):
    refs = [LADY, ref(1, sentence(2, "man on right"), split="testA")]
    path = corpus(tmp_path, refs)
    assert RefCoco(path=path).turns("rec")["problem"].to_list() == [None, None, "other_split"]
    assert RefCoco(path=path, split="testA").turns("rec")["problem"].to_list() == ["other_split", "other_split", None]
    assert RefCoco(path=path, split=None).turns("rec")["problem"].null_count() == 3


def test_a_split_that_no_reference_has_is_refused_with_those_that_there_are(tmp_path):
    refs = [LADY, ref(1, sentence(2, "man on right"), split="testA")]
    with pytest.raises(SourceError, match="no reference is of the split 'testa'") as caught:
        RefCoco(path=corpus(tmp_path, refs), split="testa").turns("rec")
    assert caught.value.fix == "set `split` to one of: testA, train"


def test_every_broken_reference_stays_as_a_row_that_says_why(tmp_path):
    refs = [
        "no object",
        ref(1),
        ref(2, {"sent_id": 7, "sent": None}),
        ref(3, sentence(8, "unknown object"), ann_id=5),
        ref(4, sentence(9, "unknown photograph"), image_id=3),
        ref(5, sentence(10, "box of three numbers"), ann_id=2),
        ref(6, sentence(11, "a crowd"), ann_id=3),
    ]
    annotations = [
        {"id": 1719310, "image_id": 581857, "bbox": BOX, "iscrowd": 0},
        {"id": 2, "image_id": 581857, "bbox": [1, 2, 3]},
        {"id": 3, "image_id": 581857, "bbox": BOX, "iscrowd": 1},
    ]
    turns = RefCoco(path=corpus(tmp_path, refs, annotations), split=None).turns("rec")
    assert dict(zip(turns["row"], turns["problem"], strict=True)) == {
        None: "unparsable_row",
        "ref/1": "missing_value",
        "7": "missing_value",
        "8": "missing_value",
        "9": "missing_value",
        "10": "unparsable_row",
        "11": "is_crowd",
    }
    assert turns["detail"][3] == "annotation 5 is not among the file's `annotations`"
    assert turns["detail"][4] == "image 3 is not among the file's `images`"


def test_of_several_pickles_one_must_be_named(tmp_path):
    path = corpus(tmp_path, [LADY], name="refs(google).p")
    corpus(tmp_path, [ref(0, sentence(0, "by umd"))], name="refs(umd).p")
    with pytest.raises(SourceError, match=r"refs\(google\)\.p, refs\(umd\)\.p"):
        RefCoco(path=path).turns("rec")
    with pytest.raises(SourceError, match=r"no refs\(unc\)\.p"):
        RefCoco(path=path, split_by="unc").turns("rec")
    assert RefCoco(path=path, split_by="umd").turns("rec")["phrase"].to_list() == ["by umd"]
    assert RefCoco(path=f"{path}/refs(umd).p").turns("rec")["phrase"].to_list() == ["by umd"]


def test_a_corpus_without_its_instances_is_refused_by_name(tmp_path):
    path = corpus(tmp_path, [LADY])
    (tmp_path / "instances.json").unlink()
    with pytest.raises(SourceError, match=r"instances\.json"):
        RefCoco(path=path).files()


class Runs:
    def __reduce__(self):
        return os.mkdir, ("witness",)


def test_a_pickle_that_runs_something_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"refs\(unc\)\.p.*wants to load posix\.mkdir|nt\.mkdir"):
        RefCoco(path=corpus(tmp_path, [LADY, {"ref_id": Runs()}])).turns("rec")
    assert not (tmp_path / "witness").exists()


def phrase(number, caption, **more):
    return {**IMAGE, "id": number, "original_id": 581857, "caption": caption, **more}


def mdetr(tmp_path, phrases, annotations):
    path = tmp_path / "finetune_refcoco_train.json"
    write_json(path, {"info": [], "images": phrases, "annotations": annotations, "categories": []})
    return RefCocoMdetr(path=str(tmp_path)).turns("rec")


def test_the_mdetr_form_is_one_turn_a_phrase(tmp_path):
    annotations = [
        {"id": 0, "image_id": 1, "bbox": [0, 0, 10, 20]},
        {"id": 1, "image_id": 0, "bbox": BOX},
        {"id": 2, "image_id": 1, "bbox": [5, 5, 10, 20]},
    ]
    one, several = mdetr(tmp_path, [phrase(0, "the lady"), phrase(1, "both men")], annotations).to_dicts()
    assert (one["row"], one["phrase"], one["images"]) == ("0", "the lady", ["COCO_train2014_000000581857.jpg"])
    assert [(box["x0"], box["y1"], box["phrase"]) for box in one["boxes"]] == [
        (103.93, pytest.approx(477.41), "the lady")
    ]
    assert [(box["x0"], box["x1"]) for box in several["boxes"]] == [(0, 10), (5, 15)]
    assert one["problem"] is several["problem"] is None


def test_broken_rows_of_the_mdetr_form_say_why(tmp_path):
    annotations = [{"id": 0, "image_id": 1, "bbox": [0, 0, 10]}, {"id": 1, "image_id": 99, "bbox": BOX}]
    turns = mdetr(tmp_path, [phrase(0, "nothing"), phrase(1, "three numbers"), phrase(2, None)], annotations)
    assert turns.select("row", "problem").rows() == [
        ("0", "no_box"),
        ("1", "unparsable_row"),
        ("2", "missing_value"),
        ("annotation/1", "missing_value"),
    ]


def test_refcocos_has_corners_in_pixels_or_nothing_that_fits(tmp_path):
    row = {"annotation_id": "a", "image": "val2017/1.jpg", "width": 640, "height": 480, "normal_caption": "the monitor"}
    write_json(
        tmp_path / "refcocos_test.json", [{**row, "solution": [431, 134, 547.5, 248]}, {**row, "solution": None}, 5]
    )
    found, empty, broken = RefCocoS(path=str(tmp_path)).turns("rec").to_dicts()
    expected = {"x0": 431, "y0": 134, "x1": 547.5, "y1": 248, "image": 0, "phrase": "the monitor"}
    assert found["boxes"] == [expected]
    assert (found["row"], found["images"], found["image_sizes"]) == (
        "a",
        ["val2017/1.jpg"],
        [{"width": 640, "height": 480}],
    )
    assert (empty["problem"], empty["boxes"]) == ("not_for_task", None)
    assert broken["problem"] == "unparsable_row"


def test_all_of_the_real_refcocos_is_read(shared_data):
    turns = RefCocoS(path=str(shared_data / "refcocos")).turns("rec")
    assert turns.height == 393
    assert turns["problem"].value_counts(sort=True).rows() == [(None, 376), ("not_for_task", 17)]
    boxes = turns.filter(turns["problem"].is_null()).select("boxes", "image_sizes").rows()
    assert all(0 <= b["x0"] < b["x1"] <= s["width"] and 0 <= b["y0"] < b["y1"] <= s["height"] for (b,), (s,) in boxes)
