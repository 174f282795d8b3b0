"""Blocks become a folder: names, counts, fingerprints, and never in the place of something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import finished, recipe, rows_of_stream
from vldata.dataset.manifest import read_manifest
from vldata.errors import BuildError
from vldata.pipeline.assemble import assemble, current, refuse_foreign
from vldata.pipeline.plan_record import Block, Plan, SourceReport
from vldata.recipe.models import Recipe
from vldata.store.blocks import Note, write_block
from vldata.store.store import Store

BLOCKS = {"aa": "ab", "bb": "c", "cc": "de"}
"""Keys, and the rows that they hold."""


@pytest.fixture
def notes(store: Store) -> dict[str, Note]:
    return {key: write_block(finished(ids), key, store) for key, ids in BLOCKS.items()}


def report(samples: int, images: int = 0) -> SourceReport:
    return SourceReport(
        rows_in=9,
        rows_out=5,
        filtered=3,
        rejected=1,
        not_chosen=0,
        repeats=2,
        requested_share=0.5,
        epochs=1.4,
        achieved={"samples": samples, "images": images, "turns": samples, "answer_chars": 0},
        short=0,
        reasons={"where": 3, "no_image": 1},
        task="vqa_open",
        format="table",
        licence="CC0",
        templates="vqa_open.jinja@1",
    )


def planned(store: Store, blocks: Sequence[tuple[str, str]], **changes: Any) -> Plan:
    """A plan of blocks, as (key, split), all of the source src."""
    ledger = store.path("plans", "plan", ".ledger.parquet")
    if not ledger.exists():
        with store.write("plans", "plan", ".ledger.parquet") as path:
            pl.DataFrame({"row": ["a"]}).write_parquet(path)
    plan = Plan(
        key="plan",
        blocks=[Block(key, "src", split, len(BLOCKS[key]), 10, 1000) for key, split in blocks],
        sources={"src": report(3, 6), "other": report(1)},
        ledger=ledger,
        inputs={"src": {"/data/rows.jsonl": "d1", "/data/a.jsonl": "d0"}},
        templates={"src": "vqa_open.jinja@1"},
        images={},
        notes=["src has no rows"],
    )
    return replace(plan, **changes)


ONE = [("aa", "train"), ("bb", "train"), ("cc", "train")]
SPLIT = [("bb", "train"), ("aa", "val"), ("cc", "train")]
Built = Callable[..., dict[str, Any]]


@pytest.fixture
def built(tmp_path: Path, store: Store, notes: dict[str, Note]) -> Built:
    """Assemble blocks into ``tmp_path / out``."""

    def folder(blocks: Sequence[tuple[str, str]], out: str = "out", **options: Any) -> dict[str, Any]:
        whole = options.pop("recipe", None) or small(splits={"val": 0.2} if dict(blocks).get("aa") == "val" else {})
        plan = options.pop("plan", None) or planned(store, blocks)
        usual: dict[str, Any] = {"undecodable": 0, "limit": None, "synth": {}, "finish": None}
        return assemble(tmp_path / out, whole, plan, options.pop("notes", notes), store, **(usual | options))

    return folder


def small(**head: Any) -> Recipe:
    return recipe({"src": {"task": "vqa_open"}, "other": {"task": "vqa_open"}}, **head)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def ids(path: Path) -> str:
    return "".join(row["id"].removeprefix("src/") for row in rows_of_stream(path))


def state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return found


def test_blocks_are_linked_in_their_order_under_numbered_names(built: Built, tmp_path: Path) -> None:
    manifest = built(ONE)
    out = tmp_path / "out"
    files = [f"data-{n:05d}-of-00003.arrow" for n in range(3)]
    assert [block["file"] for block in manifest["blocks"]] == files
    assert [ids(out / file) for file in files] == ["ab", "c", "de"]
    texts = ["README.md", "dataset_info.json", "ledger.parquet", "manifest.json", "recipe.lock.yaml", "state.json"]
    assert names(out) == sorted([*files, *texts])


def test_splits_have_folders_of_their_own(built: Built, tmp_path: Path) -> None:
    manifest = built(SPLIT)
    out = tmp_path / "out"
    files = ["train/data-00000-of-00002.arrow", "val/data-00000-of-00001.arrow", "train/data-00001-of-00002.arrow"]
    assert [block["file"] for block in manifest["blocks"]] == files
    assert [ids(out / file) for file in files] == ["c", "ab", "de"]
    assert json.loads((out / "dataset_dict.json").read_text()) == {"splits": ["train", "val"]}
    assert manifest["splits"] == {"train": 3, "val": 2}
    for split, of_split in (("train", [files[0], files[2]]), ("val", [files[1]])):
        assert state(out / split)["_data_files"] == [{"filename": Path(file).name} for file in of_split]
        assert state(out / split)["_split"] == split
        assert (out / split / "dataset_info.json").is_file()
    assert not (out / "state.json").exists()


def test_a_split_without_blocks_has_no_folder(built: Built, tmp_path: Path) -> None:
    manifest = built([("aa", "train")], recipe=small(splits={"val": 0.2}))
    assert manifest["splits"] == {"train": 2, "val": 0}
    assert json.loads((tmp_path / "out" / "dataset_dict.json").read_text()) == {"splits": ["train"]}
    assert not (tmp_path / "out" / "val").exists()


def test_a_block_that_is_repeated_is_linked_as_often(built: Built, tmp_path: Path) -> None:
    manifest = built([("aa", "train"), ("cc", "train"), ("aa", "train")])
    files = [block["file"] for block in manifest["blocks"]]
    assert [ids(tmp_path / "out" / file) for file in files] == ["ab", "de", "ab"]
    assert manifest["splits"] == {"train": 6}
    assert len(set(files)) == 3


def test_what_the_manifest_says(built: Built, store: Store, notes: dict[str, Note], tmp_path: Path) -> None:
    manifest = built(ONE, undecodable=2, limit=50, synth={"src": {"cost": 1}})
    assert read_manifest(tmp_path / "out") == manifest
    assert manifest["blocks"][1] == {
        "key": "bb",
        "digest": notes["bb"].digest,
        "source": "src",
        "split": "train",
        "rows": 1,
        "size_bytes": notes["bb"].size_bytes,
        "file": "data-00001-of-00003.arrow",
    }
    assert manifest["totals"] == {"samples": 4, "images": 6, "turns": 4, "answer_chars": 0}
    source = manifest["sources"]["src"]
    assert source["achieved_share"] == {"samples": 0.75, "images": 1.0, "turns": 0.75, "answer_chars": 0.0}
    kept = {name: value for name, value in source.items() if name != "achieved_share"}
    assert kept == vars(report(3, 6))
    assert (manifest["plan"], manifest["seed"], manifest["limit"], manifest["name"]) == ("plan", 7, 50, "small")
    assert manifest["synth"] == {"src": {"cost": 1}}
    assert manifest["notes"] == ["src has no rows", "2 images could not be decoded and were replaced"]
    assert manifest["recipe"] == {**small().raw, "splits": {}}
    assert "synth" not in built(ONE)


def test_the_lock_names_files_without_the_folders_of_this_machine(built: Built, tmp_path: Path) -> None:
    built(ONE)
    text = (tmp_path / "out" / "recipe.lock.yaml").read_text()
    assert "rows.jsonl: d1" in text
    assert "/data/rows.jsonl" not in text
    assert text.index("a.jsonl: d0") < text.index("rows.jsonl: d1")


def test_the_fingerprint_changes_with_every_digest_and_with_their_order(
    built: Built, notes: dict[str, Note], tmp_path: Path
) -> None:
    def fingerprint(blocks: Sequence[tuple[str, str]] = ONE, **options: Any) -> str:
        built(blocks, **options)
        found: str = state(tmp_path / "out")["_fingerprint"]
        return found

    usual = fingerprint()
    changed = {**notes, "bb": replace(notes["bb"], digest="0" * 32)}
    others = [fingerprint(notes=changed), fingerprint(ONE[::-1]), fingerprint(ONE[:2]), fingerprint([*ONE, ONE[0]])]
    assert len({usual, *others}) == 1 + len(others)
    assert fingerprint(limit=9, undecodable=3) == usual  # the same rows in the same order
    assert len(usual) == 16


def test_each_split_has_the_fingerprint_of_its_own_blocks(built: Built, notes: dict[str, Note], tmp_path: Path) -> None:
    def fingerprints(**options: Any) -> list[str]:
        built(SPLIT, **options)
        return [state(tmp_path / "out" / split)["_fingerprint"] for split in ("train", "val")]

    before = fingerprints()
    after = fingerprints(notes={**notes, "aa": replace(notes["aa"], digest="0" * 32)})
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_build_replaces_the_one_before_as_a_whole(built: Built, tmp_path: Path) -> None:
    built(ONE)
    (tmp_path / "out" / "cache-1.arrow").write_bytes(b"of datasets.map")
    built([("cc", "train")])
    assert [name for name in names(tmp_path / "out") if name.endswith(".arrow")] == ["data-00000-of-00001.arrow"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_what_is_added_at_the_end_comes_with_the_folder_and_a_failure_leaves_what_was_there(
    built: Built, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def add(fresh: Path) -> None:
        assert not out.exists()
        assert read_manifest(fresh) is not None
        (fresh / "report.html").write_text("a page")

    def fail(fresh: Path) -> None:
        raise RuntimeError("the page cannot be drawn")

    built(ONE, finish=add)
    assert (out / "report.html").read_text() == "a page"
    before = names(out)
    with pytest.raises(RuntimeError, match="cannot be drawn"):
        built([("cc", "train")], finish=fail)
    assert names(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_a_folder_is_current_when_it_holds_exactly_the_plan_and_all_of_it(
    built: Built, store: Store, tmp_path: Path
) -> None:
    out, plan = tmp_path / "out", planned(store, ONE)
    assert current(out, plan) is None
    manifest = built(ONE)
    assert current(out, plan) == manifest
    assert current(out, planned(store, ONE, key="another")) is None
    assert current(out, planned(store, ONE[:2])) is None
    assert current(out, planned(store, ONE[::-1])) is None
    other = tmp_path / "other.parquet"
    pl.DataFrame({"row": ["b"]}).write_parquet(other)
    assert current(out, planned(store, ONE, ledger=other)) is None
    file = out / "data-00001-of-00003.arrow"
    whole = file.read_bytes()
    file.unlink()
    assert current(out, plan) is None
    file.write_bytes(whole[:-1])
    assert current(out, plan) is None
    file.write_bytes(whole)
    assert current(out, plan) == manifest


def refused(out: Path, store: Store) -> BuildError:
    with pytest.raises(BuildError) as caught:
        refuse_foreign(out, store.root)
    assert caught.value.where == f"--out {out}"
    return caught.value


def test_new_empty_and_built_folders_may_be_built_into(built: Built, store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    built(ONE)
    (tmp_path / "out" / "cache-1.arrow").write_bytes(b"of datasets.map")
    for name in ("new", "empty", "out"):
        refuse_foreign(tmp_path / name, store.root)


def test_a_folder_of_somebody_elses_is_refused(
    built: Built, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file", store).problem == "it is a file"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    assert refused(tmp_path / "thesis", store).problem == "the folder holds something that is not a build"
    (tmp_path / "thesis" / "manifest.json").write_text("{}")
    assert "manifest.json is damaged" in refused(tmp_path / "thesis", store).problem
    for out in (store.root, store.root / "blocks", tmp_path):
        assert "would lie in each other" in refused(out, store).problem
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    for out in (tmp_path / "here" / "below", tmp_path / "here", Path()):
        assert "working directory" in refused(out, store).problem


def drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["blocks"][0].pop(key)


def put(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["blocks"][0].update({key: value})


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("plan"),
        lambda manifest: manifest.update(plan=7),
        lambda manifest: manifest.update(blocks={}),
        lambda manifest: manifest.update(blocks=["aa"]),
        lambda manifest: manifest.update(sources=[]),
        *[drop(key) for key in ("key", "digest", "split", "file", "rows", "size_bytes")],
        put("rows", "two"),
        put("source", 7),
        *[put("file", file) for file in ("../data-00000-of-00003.arrow", "/x/data-00000-of-00003.arrow", "a.arrow")],
        put("file", "a/b/data-00000-of-00003.arrow"),
    ],
)
def test_what_does_not_have_the_form_of_a_manifest_is_none(
    built: Built, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    manifest = built(ONE)
    assert read_manifest(tmp_path / "out") is not None
    change(manifest)
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    assert read_manifest(tmp_path / "out") is None


def test_there_is_no_manifest_where_there_is_none_to_read(built: Built, tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "nothing") is None
    built(ONE)
    (tmp_path / "out" / "manifest.json").write_text("{")
    assert read_manifest(tmp_path / "out") is None
    shutil.rmtree(tmp_path / "out")
