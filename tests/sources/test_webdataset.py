"""Tar shards: every sample is a row or in the ledger, and what vldata exports it reads."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import datasets
import polars as pl
import pytest
import yaml

import vldata
from vldata.dataset.export import export
from vldata.errors import SourceError
from vldata.images.references import ImageReader
from vldata.pipeline.index import read_with_columns
from vldata.schema.turns import META
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene
from vldata.sources.image_folder import ImageFolder
from vldata.sources.reading.files import braced
from vldata.sources.table import Table
from vldata.sources.webdataset import WebDataset, write_tar

JPEGS = [encoded(scene(k, seed=1, side_px=96)) for k in range(3)]


def shard(folder, *files, name="00000"):
    write_tar(
        folder / f"{name}.tar", [(file, data if isinstance(data, bytes) else data.encode()) for file, data in files]
    )


def turns_of(path, task="caption", **options):
    return WebDataset(path=str(path), **options).turns(task)


def problems_of(folder, *files, **options):
    shard(folder, *files)
    turns = turns_of(folder, **options)
    return dict(zip(turns["row"], turns["detail"], strict=True))


def test_a_shard_of_img2dataset_is_read_with_its_urls(tmp_path):
    about = {"url": "http://x/0.jpg", "caption": "of 0", "key": "000000000", "status": "success", "width": 96}
    files = [("000000000.jpg", JPEGS[0]), ("000000000.json", json.dumps(about)), ("000000000.txt", "of 0")]
    shard(tmp_path, *files)
    (tmp_path / "00000_stats.json").write_text("{}")
    turns = turns_of(tmp_path)
    assert turns.select("row", "images", "urls", "caption").row(0) == (
        "00000/000000000", ["00000.tar::000000000.jpg"], ["http://x/0.jpg"], "of 0"
    )  # fmt: skip
    assert turns_of(tmp_path, fields={"caption": "json.status"})["caption"][0] == "success"


def test_images_are_read_from_the_shard_itself(tmp_path):
    shard(tmp_path, ("./x/a.txt", "a"), ("x/b.JPG", JPEGS[1]), ("./x/a.jpg", JPEGS[0]), ("x/b.txt", "b"))
    source = WebDataset(path=str(tmp_path))
    turns, reader = source.turns("caption"), ImageReader(source.image_root)
    assert turns["row"].to_list() == ["00000/x/a", "00000/x/b"]
    assert [reader.read(of[0]) for of in turns["images"]] == JPEGS[:2]


def test_equal_keys_of_two_shards_are_two_samples_and_shards_may_differ_in_columns(tmp_path):
    shard(tmp_path, ("0.jpg", JPEGS[0]), ("0.txt", "one"), ("0.json", '{"score": 0.50}'), name="a/00000")
    shard(tmp_path, ("0.jpg", JPEGS[1]), ("0.txt", "two"), name="b/00000")
    shard(tmp_path, name="b/00001")
    turns = turns_of(tmp_path)
    assert dict(turns.select("row", "caption").iter_rows()) == {"a/00000/0": "one", "b/00000/0": "two"}
    assert turns_of(tmp_path, fields={"caption": "json.score"})["caption"].to_list() == ["0.50", None]


@pytest.mark.parametrize("adapter", [WebDataset, Table])
def test_braces_and_globs_name_shards(tmp_path, adapter):
    for k in range(3):
        shard(tmp_path, (f"{k}.jpg", JPEGS[k]), (f"{k}.txt", f"of {k}"), name=f"part-{k + 9:06d}")
    for path in ("part-{000009..000011}.tar", "part-0000{09,10,11}.tar", "*.tar"):
        turns = adapter(path=f"{tmp_path}/{path}").turns("caption")
        assert turns["row"].to_list() == ["part-000009/0", "part-000010/1", "part-000011/2"]
    with pytest.raises(SourceError, match="part-000012"):
        adapter(path=f"{tmp_path}/part-{{000009..000012}}.tar").turns("caption")


def test_a_range_in_braces_must_be_one():
    assert braced("a{08..11}b{x,y}") == [f"a{k}b{c}" for k in ("08", "09", "10", "11") for c in "xy"]
    assert braced("a{key}") == ["a{key}"]
    with pytest.raises(SourceError, match="range"):
        braced("a{3..1}")


def test_what_is_broken_or_belongs_to_no_sample_is_named(tmp_path):
    found = problems_of(
        tmp_path,
        ("ok.jpg", JPEGS[0]), ("ok.txt", b"\xef\xbb\xbfok"), ("wide.jpg", JPEGS[0]), ("wide.txt", "é".encode("utf-16")),
        ("cut.jpg", JPEGS[0]), ("cut.json", '{"caption": "x'), ("README", "no suffix"), (".hidden", "no name"),
        ("two.jpg", JPEGS[0]), ("two.JPG", JPEGS[1]), ("two.txt", "2"), ("empty.jpg", JPEGS[0]), ("empty.txt", ""),
        ("__MACOSX/._ok.jpg", "x"), ("._ok.txt", "x"), (".DS_Store", "x"), ("lone.txt", "no image"),
    )  # fmt: skip
    assert found.pop("00000/wide") == "wide.txt is UTF-16, not UTF-8"
    assert "cut.json is no JSON" in found.pop("00000/cut")
    assert found.pop("00000/two") == "two files of it are called .jpg"
    assert "no sample" in found.pop("00000/README") and "no sample" in found.pop("00000/.hidden")
    assert found == dict.fromkeys(["00000/ok", "00000/empty", "00000/lone"])


def test_a_member_that_stands_twice_is_not_read_as_either(tmp_path):
    assert problems_of(tmp_path, ("a.jpg", JPEGS[0]), ("a.txt", "x"), ("a.jpg", JPEGS[1])) == {
        "00000/a": "two files of it are called .jpg"
    }


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["1.jpg", "0.jpg"], ["0.jpg", "1.jpg"]),
        (["img10.png", *(f"img{k}.png" for k in range(1, 10))], [f"img{k}.png" for k in range(1, 11)]),
        (["jpg", "seg.png"], ".jpg, .seg.png"),
        (["0.jpg", "2.jpg"], "the numbers 0, 2"),
    ],
)
def test_several_images_have_an_order_or_are_refused(tmp_path, kinds, expected):
    shard(tmp_path, *((f"a.{kind}", JPEGS[0]) for kind in kinds), ("a.txt", "x"))
    turns = turns_of(tmp_path)
    if isinstance(expected, list):
        assert turns["images"][0].to_list() == [f"00000.tar::a.{kind}" for kind in expected]
    else:
        assert expected in turns["detail"][0]
        named = turns_of(tmp_path, fields={"images": kinds[0]})
        assert named["problem"].to_list() == [None]
        assert named["images"][0].to_list() == [f"00000.tar::a.{kinds[0]}"]


WHOLE = [("a.jpg", JPEGS[0]), ("a.txt", "a"), ("b.jpg", JPEGS[1]), ("b.txt", "b")]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_shard_that_was_cut_off_is_an_error(tmp_path, share, packed):
    shard(tmp_path, *WHOLE)
    path, raw = tmp_path / "00000.tar", (tmp_path / "00000.tar").read_bytes().rstrip(b"\0")
    path.write_bytes(raw[: int(share * len(raw))])
    if packed:
        path.rename(f"{path}.gz")
        Path(f"{path}.gz").write_bytes(gzip.compress(raw)[: int(share * len(raw) / 2)])
    with pytest.raises(SourceError, match=r"00000\.tar"):
        turns_of(tmp_path)


def test_a_shard_that_was_cut_between_two_files_is_an_error(tmp_path):
    shard(tmp_path, *WHOLE)
    path = tmp_path / "00000.tar"
    with tarfile.open(path) as tar:
        start = tar.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:start])
    with pytest.raises(SourceError, match="cut off"):
        turns_of(tmp_path)


@pytest.mark.parametrize("behind", [b"\x99" * 512, None])
def test_what_stands_behind_the_end_is_not_left_out_in_silence(tmp_path, behind):
    shard(tmp_path, *WHOLE)
    path = tmp_path / "00000.tar"
    path.write_bytes(path.read_bytes() + (behind or path.read_bytes()))
    with pytest.raises(SourceError, match="neither a member nor the end"):
        turns_of(tmp_path)


def test_a_packed_shard_is_read(tmp_path):
    shard(tmp_path, *WHOLE)
    plain = turns_of(tmp_path)
    (tmp_path / "00000.tar.gz").write_bytes(gzip.compress((tmp_path / "00000.tar").read_bytes()))
    (tmp_path / "00000.tar").unlink()
    source = WebDataset(path=str(tmp_path))
    turns = source.turns("caption")
    assert turns.drop("images").equals(plain.drop("images"))
    assert ImageReader(source.image_root).read(turns["images"][1][0]) == JPEGS[1]
    (tmp_path / "00000.tar.gz").rename(tmp_path / "00000.tar.zst")
    with pytest.raises(SourceError, match="unpack"):
        turns_of(tmp_path)


def test_a_link_is_the_file_that_it_leads_to(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in [("a.jpg", JPEGS[0]), ("a.txt", b"a")]:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
        for name, target in [("b.jpg", "a.jpg"), ("b.txt", "a.txt")]:
            header = tarfile.TarInfo(name)
            header.type, header.linkname = tarfile.LNKTYPE, target
            tar.addfile(header)
    (tmp_path / "00000.tar").write_bytes(out.getvalue())
    source = WebDataset(path=str(tmp_path))
    turns = source.turns("caption")
    assert turns["caption"].to_list() == ["a", "a"]
    assert ImageReader(source.image_root).read(turns["images"][1][0]) == JPEGS[0]


TALK = {"conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]}


@pytest.mark.parametrize("format", ["webdataset", "llava", "table"])
def test_conversations_in_a_shard_have_the_images_beside_them(tmp_path, format):
    shard(tmp_path, ("a.jpg", JPEGS[0]), ("a.json", json.dumps({"image": "old/name.jpg", **TALK})))
    shard(tmp_path, ("a.jpg", JPEGS[0]), ("a.json", json.dumps(TALK)), ("a.mask.npy", "x"), name="00001")
    adapter = vldata.sources.source_class(format)
    turns = adapter(path=f"{tmp_path}/*.tar").turns("instruction")
    assert turns["response"].to_list() == ["That.", None]
    assert turns["images"].to_list()[0] == ["00000.tar::a.jpg"]
    assert turns["problem"].to_list() == [None, "unknown_key"]


def messages_of(folder):
    rows = datasets.load_from_disk(str(folder)).cast_column("images", datasets.List(datasets.Image(decode=False)))
    weights = [[turn["weight"] for turn in row["turns"]] for row in rows]
    images = [[image["bytes"] for image in row["images"]] for row in rows]
    return sorted(map(json.dumps, rows["messages"])), sorted(map(str, weights)), sorted(images)


def built(folder, name, **sources):
    recipe = {
        "name": name,
        "defaults": {"conversation": {"max_turns": "all"}, "max_reject_rate": 1},
        "sources": sources,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    vldata.build(vldata.load(folder / f"{name}.yaml"), folder / name, store=folder / "store", workers=1)
    return folder / name


def test_an_export_is_read_back(tmp_path):
    for k, data in enumerate(JPEGS):
        (tmp_path / f"{k}.jpg").write_bytes(data)
    ask, tell = {"role": "user"}, {"role": "assistant"}
    several = [{**ask, "content": "<image> or <image>?"}, {**tell, "content": "1.", "weight": 2},
               {**ask, "content": "Why?"}, {**tell, "content": "So.", "weight": 0}, {**ask, "content": "Sure?"},
               {**tell, "content": "Yes"}]  # fmt: skip
    one = [{"role": "system", "content": "Be brief."}, {**ask, "content": "What?"}, {**tell, "content": "A thing."}]
    rows = [
        {"id": "a.b/1", "images": ["1.jpg", "0.jpg"], "messages": several},
        {"id": "2", "image": "2.jpg", "messages": one},
    ]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"id": "t", "messages": one}])))
    root = {"path": f"{tmp_path}/talks.jsonl", "image_root": str(tmp_path)}
    tasks = ("instruction", "text_instruction")
    first = built(tmp_path, "first", **{task: {"format": "llava", "task": task, **root} for task in tasks})
    export(first, tmp_path / "export", to="webdataset")
    back = {"format": "webdataset", "path": f"{tmp_path}/export"}
    again = built(tmp_path, "again", **{task: {"task": task, **back} for task in tasks})
    assert messages_of(again) == messages_of(first)
    assert len(messages_of(first)[0]) == 3
    assert set(pl.read_parquet(again / "ledger.parquet")["reason"]) == {"not_for_task"}


@pytest.mark.parametrize("option", [{"at": "data"}, {"columns": ["a"]}])
def test_an_option_that_says_nothing_of_a_shard_is_refused(tmp_path, option):
    shard(tmp_path, *WHOLE)
    with pytest.raises(SourceError, match=f"`{next(iter(option))}`"):
        turns_of(tmp_path, **option)


@pytest.mark.parametrize(
    ("name", "format"), [("a.tar", "webdataset"), ("a.jpg", "image_folder"), ("a.tfrec", "tfrecord")]
)
def test_a_table_that_is_a_folder_of_other_files_names_their_format(tmp_path, name, format):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=f"format: {format}"):
        Table(path=str(tmp_path)).turns("caption")


def test_kept_numbers_of_json_stand_as_it_writes_them(tmp_path):
    texts = ['{"caption": "x", "score": 1.50, "in": {"n": 12345678901234567890123}}', '{"caption": "y", "score": 2}']
    of_each = (((f"{k}.jpg", JPEGS[k]), (f"{k}.json", text.encode())) for k, text in enumerate(texts))
    files = [file for both in of_each for file in both]
    write_tar(tmp_path / "a.tar", files)
    for name, data in files:
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    keep = {"keep": ["score", "in.n"], "meta": True}
    for source in (
        WebDataset(path=str(tmp_path / "a.tar"), **keep),
        ImageFolder(path=str(tmp_path / "folder"), **keep),
    ):
        turns = source.read("caption").sort("caption")
        assert turns[META].to_list() == ['{"in.n":12345678901234567890123,"score":1.50}', '{"in.n":null,"score":2}']


def test_conversations_have_the_columns_of_joined_files_wherever_they_lie(tmp_path):
    said = [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A cup."}]
    text = json.dumps({"id": "c", "conversations": said})
    shard(tmp_path / "tars", ("0.jpg", JPEGS[0]), ("0.json", text))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "0.jpg").write_bytes(JPEGS[0])
    (tmp_path / "folder" / "0.json").write_text(text)
    (tmp_path / "joined.csv").write_text("k,says\nc,Be brief.\n")
    join = {"path": str(tmp_path / "joined.csv"), "on": {"id": "k"}, "keep": {"system": "says"}}
    shards, folder = tmp_path / "tars", tmp_path / "folder"
    for source in (WebDataset(path=str(shards), join=join), ImageFolder(path=str(folder), join=join)):
        turns, columns = read_with_columns(source, "instruction")
        assert turns["system"].to_list() == ["Be brief."]
        assert columns["read"]["system"] == ["system"]
