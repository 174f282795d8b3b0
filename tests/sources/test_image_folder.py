"""Folders of images: what lies beside an image is said of it, and nothing that lies there is lost in silence."""

import json

import polars as pl
import pytest

import vldata
from vldata.errors import SourceError
from vldata.images.references import ImageReader
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene
from vldata.sources.image_folder import ImageFolder

JPEG = encoded(scene(0, seed=1, side_px=96))


def put(folder, **files):
    """Files by their names, in which ``__`` is a folder's end and ``_`` the suffix's dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG if content is None else content if isinstance(content, bytes) else content.encode())


def turns_of(folder, task="caption", **options):
    turns = ImageFolder(path=str(folder), **options).turns(task)
    return turns.sort("row") if "row" in turns.columns else turns


def captions_of(folder, **options):
    turns = turns_of(folder, **options)
    return dict(zip(turns["row"], turns["caption"], strict=True))


def test_the_text_or_json_of_an_image_is_its_caption_and_its_id_is_its_path(tmp_path):
    put(tmp_path, a_jpg=None, a_txt="of a\n", x__b_JPG=None, x__b_caption="of b", x__c_png=None)
    put(tmp_path, x__c_json='{"caption": "of c", "size": {"score": 2.50}}', d_jpg=None, d_jpg_txt="of d")
    turns = turns_of(tmp_path)
    assert turns["row"].to_list() == ["a.jpg", "d.jpg", "x/b.JPG", "x/c.png"]
    assert turns["images"].to_list() == [["a.jpg"], ["d.jpg"], ["x/b.JPG"], ["x/c.png"]]
    assert turns["caption"].to_list() == ["of a", "of d", "of b", "of c"]
    assert captions_of(tmp_path, fields={"caption": "json.size.score"})["x/c.png"] == "2.50"
    assert captions_of(tmp_path, fields={"caption": "label"}) == {
        "a.jpg": None, "d.jpg": None, "x/b.JPG": "x", "x/c.png": "x"
    }  # fmt: skip


def test_a_text_and_json_that_differ_are_no_caption_until_one_is_named_and_an_empty_text_is_no_gap(tmp_path):
    put(
        tmp_path,
        a_jpg=None,
        a_txt="text",
        a_json='{"caption": "json"}',
        b_jpg=None,
        b_txt="",
        b_json='{"caption": "j"}',
        c_jpg=None,
        c_txt="same\n",
        c_json='{"caption": " same"}',
    )
    assert captions_of(tmp_path) == {"a.jpg": None, "b.jpg": "", "c.jpg": "same"}
    refused = turns_of(tmp_path).filter(pl.col("problem").is_not_null())
    assert refused.select("row", "problem").rows() == [("a.jpg", "unparsable_row")]
    assert all(said in refused["detail"][0] for said in ("'text'", "'json'"))
    assert captions_of(tmp_path, fields={"caption": "txt"}) == {"a.jpg": "text", "b.jpg": "", "c.jpg": "same"}
    assert captions_of(tmp_path, fields={"caption": "json.caption"})["a.jpg"] == "json"


def test_a_table_and_a_text_beside_an_image_that_differ_are_no_caption(tmp_path):
    put(tmp_path, a_jpg=None, a_txt="one", b_jpg=None, b_txt="same")
    (tmp_path / "metadata.csv").write_text("file_name,caption\na.jpg,other\nb.jpg,same\n")
    turns = turns_of(tmp_path)
    assert turns.select("row", "problem").rows() == [("a.jpg", "unparsable_row"), ("b.jpg", None)]
    assert turns["detail"][0] == "its caption is 'other' in the table, and 'one' beside it"
    assert captions_of(tmp_path, fields={"caption": "txt"}) == {"a.jpg": "one", "b.jpg": "same"}


@pytest.mark.parametrize(
    ("suffix", "content", "said"),
    [
        ("txt", "é".encode("latin-1"), "byte 0xe9 of a.txt is not UTF-8"),
        ("txt", "é".encode("utf-16"), "a.txt is UTF-16, not UTF-8"),
        ("txt", "é".encode("utf-32"), "a.txt is UTF-32, not UTF-8"),
        ("json", b"", "a.json is empty"),
        ("json", b'{"caption": "cut', "a.json is no JSON"),
        ("json", b'["a list"]', "a.json holds ['a list'], no object"),
        ("json", b'{"image": "other.jpg", "caption": "x"}', "'other.jpg'"),
        ("json", b'{"images": ["a.jpg", "b.jpg"], "caption": "x"}', "its JSON names 2 images"),
    ],
)
def test_a_text_that_cannot_be_read_costs_its_image_and_says_why(tmp_path, suffix, content, said):
    put(tmp_path, **{"a_jpg": None, f"a_{suffix}": content, "b_jpg": None, "b_txt": b"\xef\xbb\xbfwith a mark"})
    turns = turns_of(tmp_path)
    assert turns["problem"].to_list() == ["unparsable_row", None]
    assert said in turns["detail"][0]
    assert turns["caption"][1] == "with a mark"


def test_what_has_no_partner_is_a_row_and_other_files_are_named(tmp_path):
    put(tmp_path, in__a_jpg=None, in__a_txt="a", in__b_jpg=None, in__lone_txt="?", in__list_json="[1]", in__e_jpg=None)
    put(tmp_path, in__e_txt="", in__weights_npz="x", in__README_txt="about", in__b_d__c_npz="x")
    put(tmp_path / "in" / "__MACOSX", a_jpg=None)
    recipe = tmp_path / "recipe.yaml"
    source = f"{{format: image_folder, path: {tmp_path}/in, task: caption, max_reject_rate: 1}}"
    recipe.write_text(f"name: r\nsources:\n  s: {source}\n")
    built = vldata.build(vldata.load(recipe), tmp_path / "out", store=tmp_path / "store", workers=1)
    ledger = pl.read_parquet(tmp_path / "out" / "ledger.parquet")
    assert dict(zip(ledger["row"], ledger["reason"], strict=True)) == {
        "b.jpg": "missing_value", "e.jpg": "empty_text", "lone.txt": "no_image", "list.json": "unparsable_row"
    }  # fmt: skip
    assert any("weights.npz" in note and "README.txt" in note for note in built.plan.notes)


def test_images_of_one_name_share_a_text_and_the_plan_says_so(tmp_path):
    put(tmp_path, a_jpg=None, a_png=None, a_txt="both", b_jpg=None, b_txt="one")
    turns = turns_of(tmp_path)
    assert turns["caption"].to_list() == ["both", "both", "one"]
    assert turns["remark"].is_not_null().to_list() == [True, True, False]


def test_an_image_more_or_less_is_another_source_to_the_store(tmp_path):
    put(tmp_path, a_jpg=None, b_jpg=None)
    before = ImageFolder(path=str(tmp_path)).model_dump()
    (tmp_path / "b.jpg").rename(tmp_path / "c.jpg")
    assert ImageFolder(path=str(tmp_path)).model_dump() != before


def test_conversations_beside_their_images_are_conversations(tmp_path):
    talk = {
        "image": "a.jpg",
        "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A"}],
    }
    put(tmp_path, x__a_jpg=None, x__a_json=json.dumps(talk), x__b_jpg=None)
    put(tmp_path, x__b_json=json.dumps({**talk, "image": "b.jpg", "loss": 1}))
    turns = turns_of(tmp_path, "instruction")
    assert turns["images"].to_list() == [["x/a.jpg"], ["x/b.jpg"]]
    assert turns["problem"].to_list() == [None, "unknown_key"]
    assert turns["response"][0] == "A"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "tsv"])
def test_a_table_of_images_says_more_of_them_and_what_it_leaves_out_is_there_all_the_same(tmp_path, form):
    put(tmp_path, train__x__a_jpg=None, train__b_jpg=None, train__b_txt="of b", c_jpg=None, c_txt="of c")
    table = pl.DataFrame(
        {"file_name": ["x/a.jpg", "gone.jpg"], "text": ["of a", "of none"], "score": [9007199254740993, 1]}
    )
    path = tmp_path / "train" / f"metadata.{form}"
    if form == "parquet":
        table.write_parquet(path)
    elif form == "jsonl":
        table.write_ndjson(path)
    else:
        table.write_csv(path, separator="," if form == "csv" else "\t")
    assert captions_of(tmp_path) == {
        "train/x/a.jpg": "of a", "train/gone.jpg": "of none", "train/b.jpg": "of b", "c.jpg": "of c"
    }  # fmt: skip
    assert captions_of(tmp_path, fields={"caption": "score"})["train/x/a.jpg"] == "9007199254740993"
    assert dict(turns_of(tmp_path).select("row", "images").iter_rows())["train/x/a.jpg"] == ["train/x/a.jpg"]
    assert ImageFolder(path=str(tmp_path)).files()[0] == path


def test_a_table_may_name_several_images_or_have_lists(tmp_path):
    row = {"file_names": ["b.jpg", "a.jpg"], "objects": {"box": [[1, 2, 3, 4]], "what": ["x"]}}
    put(tmp_path, a_jpg=None, b_jpg=None, metadata_jsonl=json.dumps(row))
    fields = {"boxes": "objects.box", "phrase": "objects.what"}
    turns = turns_of(tmp_path, "rec", explode=["objects.box", "objects.what"], fields=fields)
    assert turns["row"].to_list() == ["a.jpg", "b.jpg/0"]
    assert turns["images"].to_list() == [["a.jpg"], ["b.jpg", "a.jpg"]]
    assert turns["phrase"].to_list() == [None, "x"]
    assert turns["problem"].to_list() == ["nothing_to_explode", None]
    put(tmp_path, metadata_csv="left_file_name,right_file_name,text\na.jpg,b.jpg,two\n")
    (tmp_path / "metadata.jsonl").unlink()
    assert turns_of(tmp_path)["images"].to_list() == [["a.jpg", "b.jpg"], ["b.jpg"]]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a_txt": "no image"}, "holds no image"),
        ({"a_jpg": None, "metadata_csv": "image,text\na.jpg,x\n"}, "no column 'file_name'"),
        ({"metadata_csv": "file_name\na.jpg\n", "metadata_jsonl": '{"file_name": "a.jpg"}'}, "several tables"),
        ({"a_jpg": None}, "needs it"),
    ],
)
def test_a_folder_that_says_nothing_is_an_error(tmp_path, files, said):
    put(tmp_path, **files)
    with pytest.raises(SourceError, match=said):
        turns_of(tmp_path)


def test_references_are_seen_from_image_root(tmp_path):
    put(tmp_path, in__x__a_jpg=None, in__x__a_txt="a")
    source = ImageFolder(path=str(tmp_path / "in"), image_root=str(tmp_path))
    turns = source.turns("caption")
    assert turns["row"].to_list() == ["x/a.jpg"]
    assert ImageReader(source.image_root).read(turns["images"][0][0]) == JPEG
    with pytest.raises(SourceError, match="outside image_root"):
        ImageFolder(path=str(tmp_path / "in"), image_root=str(tmp_path / "in" / "x")).turns("caption")


def test_what_is_said_of_an_image_reaches_the_plan(tmp_path):
    put(tmp_path, a_jpg=None, a_png=None, a_txt="of both", b_jpg=None, b_txt="of b")
    turns = ImageFolder(path=str(tmp_path)).read("caption").sort("row")
    assert turns["remark"].to_list() == [*["another image has its name, but for the suffix"] * 2, None]


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        ("*/train", {"x/train/a.jpg": "of a", "y/train/c.JPG": "of c"}),
        ("**/train", {"x/train/a.jpg": "of a", "y/train/c.JPG": "of c"}),
        ("x/*", {"x/train/a.jpg": "of a", "x/test/b.jpg": "of b"}),
        ("x/*/*.jpg", {"x/train/a.jpg": "of a", "x/test/b.jpg": "of b"}),
        ("{x,y}/train/*.{jpg,JPG}", {"x/train/a.jpg": "of a", "y/train/c.JPG": "of c"}),
    ],
)
def test_a_pattern_names_images_or_folders_of_them(tmp_path, pattern, rows):
    put(
        tmp_path,
        x__train__a_jpg=None,
        x__train__a_txt="of a",
        x__test__b_jpg=None,
        x__test__b_json='{"caption": "of b"}',
    )
    put(tmp_path, y__train__c_JPG=None, y__train__c_jpg_txt="nobody's", y__train__c_txt="of c")
    (tmp_path / "y" / "train" / "c.jpg.txt").unlink()
    before = "x/" if pattern.startswith("x/") else ""
    found = captions_of(tmp_path / pattern)
    assert {before + row: said for row, said in found.items()} == rows
    reader = ImageReader(ImageFolder(path=str(tmp_path / pattern)).image_root)
    assert all(reader.read(ref) == JPEG for (ref,) in turns_of(tmp_path / pattern)["images"])


def test_a_pattern_that_names_nothing_or_leaves_out_a_table_of_its_images_is_an_error(tmp_path):
    put(tmp_path, x__a_jpg=None, x__metadata_csv="file_name,text\na.jpg,of a\n")
    with pytest.raises(SourceError, match="the pattern names no image"):
        turns_of(tmp_path / "*" / "*.png")
    with pytest.raises(SourceError, match=r"it names images, and not x/metadata\.csv"):
        turns_of(tmp_path / "*" / "*.jpg")
    assert captions_of(tmp_path / "*") == {"x/a.jpg": "of a"}


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(tmp_path):
    put(tmp_path / "set[1]", a_jpg=None, a_txt="of a")
    put(tmp_path / "set1", b_jpg=None, b_txt="of b")
    assert captions_of(tmp_path / "set[1]") == {"a.jpg": "of a"}
