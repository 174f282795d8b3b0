"""Native columns that a recipe keeps, through a build: for ``where``, and for the column ``meta``."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from datasets import load_dataset, load_from_disk

import vldata
from vldata.dataset.diff import differences
from vldata.dataset.export import export
from vldata.dataset.export.webdataset import read
from vldata.dataset.preview import samples
from vldata.dataset.verify import verify
from vldata.dataset.why import whereabouts
from vldata.errors import SourceError, VldataError
from vldata.report.write import write_report
from vldata.schema.turns import KEPT_PREFIX, META
from vldata.sources import source_class
from vldata.sources.alpaca import Alpaca
from vldata.sources.coco_captions import CocoCaptions
from vldata.sources.coco_instances import CocoInstances
from vldata.sources.llava import Llava
from vldata.sources.sharegpt import ShareGpt
from vldata.sources.standins import write_json
from vldata.sources.url_table import UrlTable


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build a recipe in `tmp_path`; the build."""
    monkeypatch.chdir(tmp_path)

    def built(recipe, name="out"):
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"name": "kept", "seed": 1, **recipe}))
        loaded = vldata.load(f"{name}.yaml")
        return vldata.build(loaded, tmp_path / name, store=tmp_path / "store", workers=1)

    return built


def captions(folder, rows=10):
    """A stand-in with a score a caption, a place a photograph, and the recipe's keys."""
    keys = CocoCaptions.standin(folder, rows=rows, seed=1)
    document = json.loads(Path(keys["path"]).read_text())
    for k, row in enumerate(document["annotations"]):
        row["clip"] = {"score": k + 0.5}
    for row in document["images"]:
        row["place"] = f"p{row['id']}"
    text = json.dumps(document).replace(".5}", ".50}")
    Path(keys["path"]).write_text(text)
    return {"format": "coco_captions", "task": "caption", "ignore": ["clip"], **keys}


def talks(folder):
    keys = Llava.standin(folder, rows=4, seed=1)
    rows = json.loads(Path(keys["path"]).read_text())
    Path(keys["path"]).write_text(json.dumps([{**row, "origin": ["a", 9007199254740993]} for row in rows]))
    return {"format": "llava", "task": "instruction", **keys}


def rows_of(folder):
    return list(load_from_disk(str(folder)))


@pytest.mark.parametrize("output", [{}, {"layout": "rows"}, {"images": "path"}])
def test_meta_is_a_column_of_all_rows_of_a_build_that_asks_for_it(tmp_path, build, output):
    sources = {
        "c": captions(tmp_path / "c")
        | {"keep": ["place", "clip.score"], "meta": True, "where": "clip.score > 3 AND place <> 'p2'"},
        "t": talks(tmp_path / "t") | {"keep": "origin", "meta": True},
        "plain": captions(tmp_path / "d"),
    }
    build({"sources": sources, "output": output})
    rows = rows_of(tmp_path / "out")
    metas = {row["id"]: row["meta"] for row in rows}
    of = {name: [text for key, text in metas.items() if key.startswith(f"{name}/")] for name in sources}
    assert sorted(of["c"]) == ['{"clip.score":3.50,"place":"p1"}', '{"clip.score":4.50,"place":"p1"}']
    assert set(of["t"]) == {'{"origin":["a",9007199254740993]}'}
    assert set(of["plain"]) == {None} and len(of["plain"]) == 10


def test_the_turns_of_an_image_that_differ_have_an_object_each(tmp_path, build):
    source = captions(tmp_path / "c", rows=5) | {"keep": "clip.score", "meta": True}
    build({"sources": {"c": source | {"conversation": {"max_turns": "all"}}}})
    metas = [json.loads(row["meta"]) for row in rows_of(tmp_path / "out")]
    assert all(len(meta) == len(row["turns"]) for meta, row in zip(metas, rows_of(tmp_path / "out"), strict=True))
    assert sorted(one["clip.score"] for meta in metas for one in meta) == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_kept_columns_alone_leave_the_dataset_what_it_was(tmp_path, build):
    source = captions(tmp_path / "c")
    build({"sources": {"c": source}}, "plain")
    build({"sources": {"c": source | {"keep": ["place"]}}}, "kept")
    files = [sorted(path.name for path in (tmp_path / name).glob("*.arrow")) for name in ("plain", "kept")]
    digests = [
        [b["digest"] for b in json.loads((tmp_path / n / "manifest.json").read_text())["blocks"]]
        for n in ("plain", "kept")
    ]
    assert digests[0] == digests[1] and files[0]
    assert "meta" not in rows_of(tmp_path / "kept")[0]


@pytest.mark.parametrize("form", ["parquet", "llava", "sharegpt", "webdataset"])
def test_every_export_has_it_and_is_read_back(tmp_path, build, form):
    sources = {"t": talks(tmp_path / "t") | {"keep": "origin", "meta": True}, "plain": talks(tmp_path / "u")}
    build({"sources": sources})
    export(tmp_path / "out", tmp_path / "export", to=form)
    if form == "parquet":
        found = {row["id"]: row["meta"] for row in load_dataset(str(tmp_path / "export"), split="train")}
    elif form == "webdataset":
        found = {row["id"]: row["meta"] for row in read(tmp_path / "export")}
    else:
        found = {row["id"]: row["meta"] for row in json.loads((tmp_path / "export" / "train.json").read_text())}
    assert found == {row["id"]: row["meta"] for row in rows_of(tmp_path / "out")}
    assert {*found.values()} == {None, '{"origin":["a",9007199254740993]}'}
    if form in ("llava", "sharegpt"):
        back = {"format": "llava", "task": "instruction", "path": str(tmp_path / "export" / "train.json")}
        build({"sources": {"b": back | {"image_root": str(tmp_path / "export")}}}, "again")
        assert len(rows_of(tmp_path / "again")) == len(found)


def test_where_says_which_columns_there_are(tmp_path, build):
    source = captions(tmp_path / "c") | {"keep": ["place"], "where": "plase = 'p1'"}
    with pytest.raises(VldataError, match=r"did you mean 'place'.* native columns: place \(kept\)"):
        build({"sources": {"c": source}})
    with pytest.raises(VldataError, match=r"native columns: none"):
        build({"sources": {"c": {**captions(tmp_path / "d"), "where": "score > 1"}}}, "none")


def test_a_native_column_may_have_the_name_of_one_that_a_build_adds(tmp_path, build):
    source = captions(tmp_path / "c")
    text = Path(source["path"]).read_text().replace('"clip"', '"rank": 7, "key": "k", "split": "s", "clip"')
    Path(source["path"]).write_text(text)
    build(
        {
            "sources": {
                "c": source | {"keep": ["rank", "key", "split"], "where": "rank = 7 AND key = 'k' AND split = 's'"}
            }
        }
    )
    assert len(rows_of(tmp_path / "out")) == 10


def test_a_stand_in_is_built_without_what_it_has_not_and_that_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = {"format": "coco_captions", "task": "caption", "path": "none.json", "keep": ["clip"], "meta": True}
    recipe = {"name": "kept", "seed": 1, "sources": {"c": source | {"where": "clip > 0.3"}}}
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    built = vldata.build(vldata.load("r.yaml"), tmp_path / "out", store=tmp_path / "store", workers=1, standin=20)
    assert any("left out" in note for note in built.manifest["notes"])


def test_values_of_several_kinds_are_text_as_the_file_writes_them(tmp_path):
    rows = [{"id": k, "instruction": f"Say {k}.", "output": "No.", "v": v} for k, v in enumerate([1, "x", None])]
    write_json(tmp_path / "a.json", rows)
    text = (tmp_path / "a.json").read_text().replace('"v":1}', '"v":1.50}')
    (tmp_path / "a.json").write_text(text)
    source = Alpaca(path=str(tmp_path / "a.json"), keep="v")
    assert source.read("text_instruction")[f"{KEPT_PREFIX}v"].to_list() == ["1.50", "x", None]


@pytest.mark.parametrize(
    ("values", "typed", "texts"),
    [
        ([1, 1.5], [1.0, 1.5], ["1", "1.5"]),
        ([True, 1], ["true", "1"], ["true", "1"]),
        ([1, [1]], ["1", "[1]"], ["1", "[1]"]),
        ([{"a": 1}, "x"], ['{"a":1}', "x"], ['{"a":1}', '"x"']),
        ([{}, {}], ["{}", "{}"], ["{}", "{}"]),
        ([12345678901234567890123, 1], ["12345678901234567890123", "1"], ["12345678901234567890123", "1"]),
        (["a\n\u2028", None], ["a\n\u2028", None], ['"a\\n\\u2028"', "null"]),
        ([[1.5, "a"], []], [["1.5", "a"], []], ['[1.5,"a"]', "[]"]),
    ],
)
@pytest.mark.parametrize("form", ["coco_captions", "sharegpt", "table"])
def test_values_of_any_kind_are_kept(tmp_path, form, values, typed, texts):
    said = [{"from": "human", "value": "q?"}, {"from": "gpt", "value": "a"}]
    rows = [{"id": k, "image_id": 1, "image": "a.jpg", "caption": "c", "v": {"w": v}} for k, v in enumerate(values)]
    document = rows
    if form == "coco_captions":
        document = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": rows}
    if form == "sharegpt":
        document = [{"id": row["id"], "conversations": said, "v": row["v"]} for row in rows]
    (tmp_path / "t.json").write_text(json.dumps(document, indent=1))
    source = source_class(form)(path=str(tmp_path / "t.json"), keep="v.w", meta=True)
    turns = source.read("text_instruction" if form == "sharegpt" else "caption").sort("row")
    assert turns[f"{KEPT_PREFIX}v.w"].to_list() == typed
    assert turns[META].to_list() == [f'{{"v.w":{text}}}' for text in texts]
    turns.select(f"{KEPT_PREFIX}v.w").write_parquet(tmp_path / "t.parquet")


def test_columns_of_parquet_are_kept_in_types_that_json_has_and_bytes_are_refused(tmp_path):
    columns = {"day": [date(2020, 1, 2)], "price": [Decimal("0.90")], "wait": [timedelta(seconds=1)], "data": [b"x"]}
    table = pl.DataFrame({"id": ["1"], "url": ["http://a"], "text": ["A."], **columns})
    table.with_columns(kind=pl.Series(["k"], dtype=pl.Categorical)).write_parquet(tmp_path / "t.parquet")
    source = UrlTable(path=str(tmp_path / "t.parquet"), keep=["day", "price", "wait", "kind"], meta=True)
    text = '{"day":"2020-01-02","kind":"k","price":0.90,"wait":1000000}'
    assert source.read("caption")[META].to_list() == [text]
    with pytest.raises(SourceError, match="'data' is Binary"):
        UrlTable(path=str(tmp_path / "t.parquet"), keep=["data"]).read("caption")


def test_boxes_of_one_turn_have_a_list_of_their_values(tmp_path):
    keys = CocoInstances.standin(tmp_path, rows=6, seed=1, images=False)
    document = json.loads(Path(keys["path"]).read_text())
    for row in document["annotations"]:
        row["score"] = row["id"]
    write_json(Path(keys["path"]), document)
    source = CocoInstances(**keys, keep=["score", "supercategory", "file_name", "id"])
    turns = source.read("rec")
    assert turns[f"{KEPT_PREFIX}score"].list.len().to_list() == turns["boxes"].list.len().to_list()
    assert turns[f"{KEPT_PREFIX}score"].explode().sort().to_list() == [row["id"] for row in document["annotations"]]
    assert turns[f"{KEPT_PREFIX}file_name"].to_list() == turns["images"].list.first().to_list()
    assert {*turns[f"{KEPT_PREFIX}supercategory"]} == {"shape"}
    one_by_one = source.read("reg")
    assert one_by_one[f"{KEPT_PREFIX}id"].cast(pl.String).to_list() == one_by_one["row"].to_list()


def test_a_key_that_says_what_is_learnt_is_not_ignored_because_it_is_kept(tmp_path):
    said = [{"from": "human", "value": "q?"}, {"from": "gpt", "value": "a", "loss_mask": 0}]
    write_json(tmp_path / "t.json", [{"id": 1, "conversations": said, "rejected": "no", "punsafe": 0.1}])
    rejected = ShareGpt(path=str(tmp_path / "t.json"), keep=["rejected", "punsafe"]).read("text_instruction")
    assert rejected["problem"].to_list() == ["unknown_key"] and "rejected" in rejected["detail"][0]
    write_json(tmp_path / "t.json", [{"id": 1, "conversations": said, "punsafe": 0.1}])
    masked = ShareGpt(path=str(tmp_path / "t.json"), keep=["punsafe"]).read("text_instruction")
    assert masked["problem"].to_list() == ["not_for_task"]


def test_every_reader_of_builds_reads_one_with_meta(tmp_path, build):
    source = talks(tmp_path / "t") | {"keep": "origin", "meta": True}
    build({"sources": {"t": source}})
    build({"sources": {"t": talks(tmp_path / "u")}}, "plain")
    assert verify(tmp_path / "out") == []
    assert next(iter(samples(tmp_path / "out")))
    assert differences(tmp_path / "plain", tmp_path / "out")
    assert write_report(tmp_path / "out").is_file()
    assert whereabouts(tmp_path / "out", rows_of(tmp_path / "out")[0]["id"])
