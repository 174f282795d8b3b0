"""The main job: a recipe becomes a dataset, the same every time, and nothing is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest

from vldata import build
from vldata.errors import BuildError, RecipeError, VldataError
from vldata.pipeline.build import Built
from vldata.recipe.load import from_tree
from vldata.schema.rows import arrow_schema
from vldata.sources import source_class

Run = Callable[..., Built]
Tree = dict[str, Any]


FAILS_ON_YES = """{% block user %}{{ question }}{% if answer == "yes" %}{{ answers }}{% endif %}{% endblock %}
{% block assistant %}{{ answer }}{% endblock %}"""
"""`answers` is null in the shapes world, and printing a null is an error of that row."""


def digests(built: Built) -> list[str]:
    return [block["digest"] for block in built.manifest["blocks"]]


def by_source(built: Built) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for block in built.manifest["blocks"]:
        found.setdefault(block["source"], set()).add(block["digest"])
    return found


def test_datasets_opens_the_build_and_every_image_decodes(run: Run, small: Tree) -> None:
    built = run(small)
    loaded = datasets.load_from_disk(str(built.out))
    assert len(loaded) == built.manifest["totals"]["samples"] > 100
    assert loaded.features.arrow_schema.equals(arrow_schema())
    for row in loaded.select(range(0, len(loaded), 97)):
        for image, size in zip(row["images"], row["image_sizes"], strict=True):
            assert image.size == (size["width"], size["height"])
        assert row["messages"][-1]["role"] == "assistant"
        assert row["num_text_chars"] == sum(len(c["text"] or "") for m in row["messages"] for c in m["content"])


def test_streaming_reads_the_same_rows(run: Run, small: Tree) -> None:
    built = run(small)
    stream = datasets.load_dataset("arrow", data_files=str(built.out / "*.arrow"), streaming=True, split="train")
    assert [row["id"] for row in stream] == datasets.load_from_disk(str(built.out))["id"]


def test_a_conversation_shows_its_image_once_and_in_the_first_question(run: Run, small: Tree) -> None:
    table = datasets.load_from_disk(str(run(small).out)).remove_columns("images")
    conversations = [row for row in table if row["source"] == "vqa"]
    assert max(len(row["turns"]) for row in conversations) == 5
    for row in conversations:
        places = [(i, c["type"]) for i, m in enumerate(row["messages"]) for c in m["content"] if c["type"] == "image"]
        assert places == [(0, "image")]
        assert len(row["messages"]) == 2 * len(row["turns"])


def test_every_turn_is_in_the_dataset_or_in_the_ledger(run: Run, small: Tree) -> None:
    small["mixture"] = {"total": 90, "sources": {"captions": 1, "vqa": 1, "choices": 1, "refs": 1}}
    small["sources"]["captions"]["filters"] = {"max_words": 9}
    built = run(small)
    ledger = pl.read_parquet(built.out / "ledger.parquet")
    table = datasets.load_from_disk(str(built.out)).remove_columns("images")
    for name, source in built.manifest["sources"].items():
        out = {turn["row"] for row in table if row["source"] == name for turn in row["turns"]}
        of_source = ledger.filter(pl.col("source") == name)
        assert source["rows_in"] == len(out) + of_source.height
        assert source["rows_out"] == len(out)
        assert not out & set(of_source["row"])
        counts = dict(of_source.group_by("outcome").len().iter_rows())
        assert (source["filtered"], source["rejected"], source["not_chosen"]) == tuple(
            counts.get(outcome, 0) for outcome in ("filtered", "rejected", "not_chosen")
        )
    assert built.manifest["sources"]["captions"]["filtered"] > 0
    assert built.manifest["totals"]["samples"] == 90


def test_workers_and_the_order_of_sources_change_no_byte(run: Run, small: Tree, tmp_path: Path) -> None:
    one = run(small, "one", store=tmp_path / "s1", workers=1)
    turned = {**small, "sources": dict(reversed(small["sources"].items()))}
    two = run(turned, "two", store=tmp_path / "s2", workers=2)
    assert digests(one) == digests(two)
    assert json.loads((one.out / "state.json").read_text()) == json.loads((two.out / "state.json").read_text())


def test_another_seed_changes_the_choice(run: Run, small: Tree) -> None:
    small["mixture"] = {"total": 60}
    one = run(small, "one")
    assert digests(one) != digests(run({**small, "seed": 8}, "two"))


def test_a_second_build_does_nothing(run: Run, small: Tree) -> None:
    assert run(small).made > 0
    again = run(small)
    assert again.unchanged
    assert again.made == 0


def test_adding_a_source_leaves_the_others_as_they_were(run: Run, small: Tree) -> None:
    before = run(small, "before")
    small["sources"]["facts"] = {"format": "shapes", "scenes": 40, "task": "true_false"}
    after = run(small, "after")
    assert {name: found for name, found in by_source(after).items() if name != "facts"} == by_source(before)
    assert after.made == len(by_source(after)["facts"])


def test_changing_one_template_remakes_only_that_source(run: Run, small: Tree, tmp_path: Path) -> None:
    before = run(small, "before")
    (tmp_path / "words").mkdir()
    text = "{% block user %}Say what is here.{% endblock %}{% block assistant %}{{ caption }}{% endblock %}"
    (tmp_path / "words" / "caption.jinja").write_text(text)
    small["sources"]["captions"]["templates"] = {"path": str(tmp_path / "words")}
    after = run(small, "after")
    changed = {name for name, found in by_source(after).items() if found != by_source(before)[name]}
    assert changed == {"captions"}
    assert after.made == len(by_source(after)["captions"])


def test_a_smaller_build_is_inside_a_larger_one(run: Run, small: Tree) -> None:
    ids = []
    for total in (40, 80, 160):
        small["mixture"] = {"total": total, "sources": dict.fromkeys(small["sources"], 1)}
        ids.append(set(datasets.load_from_disk(str(run(small, f"t{total}").out))["id"]))
    assert [len(found) for found in ids] == [40, 80, 160]
    assert ids[0] < ids[1] < ids[2]


def test_repeats_link_the_same_blocks_and_share_ids(run: Run, small: Tree) -> None:
    small["sources"] = {"refs": small["sources"]["refs"]}
    small["mixture"] = {"max_epochs": 3, "sources": {"refs": {"epochs": 2.5}}}
    built = run(small)
    source = built.manifest["sources"]["refs"]
    table = datasets.load_from_disk(str(built.out)).remove_columns("images")
    counts = pl.Series(table["id"]).value_counts()["count"]
    assert source["epochs"] == pytest.approx(2.5, abs=0.01)
    assert set(counts.to_list()) == {2, 3}
    assert len(table) == source["achieved"]["samples"]
    assert abs(len(table) - 2.5 * len(counts)) <= 0.5
    assert source["repeats"] == len(table) - len(counts)


def test_a_source_that_would_need_more_epochs_is_named(run: Run, small: Tree) -> None:
    small["mixture"] = {"total": 5_000, "max_epochs": 2, "sources": dict.fromkeys(small["sources"], 1)}
    with pytest.raises(RecipeError, match="captions") as caught:
        run(small)
    assert "max_epochs" in str(caught.value)


def test_splits_share_no_photograph_and_add_up(run: Run, small: Tree) -> None:
    small["splits"] = {"val": 0.2}
    small["mixture"] = {"total": 100, "sources": dict.fromkeys(small["sources"], 1)}
    built = run(small)
    loaded = datasets.load_from_disk(str(built.out))
    assert set(loaded) == {"train", "val"}
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 80, "val": 20}
    images = {
        split: {
            image["path"]
            for row in rows.cast_column("images", [datasets.Image(decode=False)])
            for image in row["images"]
        }
        for split, rows in loaded.items()
    }
    assert images["val"]
    assert not images["train"] & images["val"]


def test_rows_layout_holds_the_same_samples_in_one_mixed_order(run: Run, small: Tree) -> None:
    blocks = datasets.load_from_disk(str(run(small, "blocks").out))
    small["output"] = {"layout": "rows", "block_rows": 100}
    built = run(small, "rows")
    rows = datasets.load_from_disk(str(built.out))
    assert sorted(rows["id"]) == sorted(blocks["id"])
    assert len(set(rows.select(range(20))["source"])) > 1
    assert [block["rows"] for block in built.manifest["blocks"]][:-1] == [100] * (len(built.manifest["blocks"]) - 1)
    one = {row["id"]: row for row in blocks.select(range(5)).cast_column("images", [datasets.Image(decode=False)])}
    for row in rows.cast_column("images", [datasets.Image(decode=False)]):
        if row["id"] in one:
            assert row == one[row["id"]]


def test_paths_instead_of_bytes(run: Run, small: Tree) -> None:
    small["output"] = {"images": "path"}
    built = run(small)
    table = datasets.load_from_disk(str(built.out)).cast_column("images", [datasets.Image(decode=False)])
    for row in table:
        for image in row["images"]:
            assert image["bytes"] is None
            assert Path(image["path"]).is_file()


def test_excluded_rows_are_in_the_ledger_and_not_in_the_dataset(run: Run, small: Tree, tmp_path: Path) -> None:
    first = datasets.load_from_disk(str(run(small, "before").out))["id"][0]
    (tmp_path / "takedown.txt").write_text(f"# asked on a Monday\n{first}\n")
    built = run({**small, "exclude": str(tmp_path / "takedown.txt")}, "after")
    assert first not in datasets.load_from_disk(str(built.out))["id"]
    ledger = pl.read_parquet(built.out / "ledger.parquet").filter(pl.col("reason") == "excluded")
    assert [f"{s}/{r}" for s, r in ledger.select("source", "row").iter_rows()] == [first]


def test_a_failing_row_is_rejected_alone(run: Run, small: Tree, tmp_path: Path) -> None:
    small["sources"] = {"vqa": {"format": "shapes", "scenes": 40, "task": "vqa_open", "max_reject_rate": 0.9}}
    clean = run(small, "clean").manifest["sources"]["vqa"]["rows_out"]
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vqa_open.jinja").write_text(FAILS_ON_YES)
    small["sources"]["vqa"]["templates"] = {"path": str(tmp_path / "words")}
    source = run(small, "failing").manifest["sources"]["vqa"]
    assert 0 < source["rejected"] < source["rows_in"]
    assert source["rows_out"] + source["rejected"] == clean
    ledger = pl.read_parquet(tmp_path / "failing" / "ledger.parquet")
    assert set(ledger["reason"]) == {"template_error"}


def test_too_many_rejects_stop_the_build_with_examples(run: Run, small: Tree, tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vqa_open.jinja").write_text(FAILS_ON_YES)
    small["sources"]["vqa"]["templates"] = {"path": str(tmp_path / "words")}
    with pytest.raises(BuildError, match="max_reject_rate") as caught:
        run(small)
    assert "template_error" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_is_refused_and_an_earlier_build_replaced(run: Run, small: Tree, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(BuildError, match="not a build"):
        run(small)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"
    before = run(small, "again")
    after = run({**small, "seed": 99, "mixture": {"total": 50}}, "again")
    assert digests(before) != digests(after)
    assert len(datasets.load_from_disk(str(after.out))) == 50
    assert sorted(p.name for p in tmp_path.iterdir() if ".new" in p.name or ".old" in p.name) == []


def test_limit_takes_fewer_in_the_same_proportions(run: Run, small: Tree) -> None:
    small["mixture"] = {"sources": {"captions": 1, "vqa": 2, "choices": 3, "refs": 4}}
    built = run(small, limit=50)
    assert {n: s["achieved"]["samples"] for n, s in built.manifest["sources"].items()} == {
        "captions": 5,
        "vqa": 10,
        "choices": 15,
        "refs": 20,
    }


def test_the_lock_builds_the_same_or_nothing(run: Run, small: Tree, tmp_path: Path) -> None:
    from vldata import build
    from vldata.recipe.lock import load_with_lock

    built = run(small)
    recipe, lock = load_with_lock(built.out / "recipe.lock.yaml")
    again = build(recipe, tmp_path / "again", store=tmp_path / "other", workers=1, locked=lock)
    assert digests(again) == digests(built)
    recipe, lock = load_with_lock(built.out / "recipe.lock.yaml", ["seed=8"])
    with pytest.raises(BuildError, match="not the locked build"):
        build(recipe, tmp_path / "third", store=tmp_path / "other", workers=1, locked=lock)


def test_an_empty_split_of_a_small_trial_is_a_note(run: Run, small: Tree) -> None:
    small["splits"] = {"val": 0.001}
    built = run(small, limit=12)
    assert set(datasets.load_from_disk(str(built.out))) == {"train"}
    assert any("'val' is empty" in note for note in built.manifest["notes"])


def test_a_source_that_gives_nothing_is_noted_and_a_build_of_nothing_refused(run: Run, small: Tree) -> None:
    small["sources"]["captions"]["where"] = "caption = 'never'"
    built = run(small, "some")
    assert any(note.startswith("captions gives nothing") and "where" in note for note in built.manifest["notes"])
    small["sources"] = {"captions": small["sources"]["captions"]}
    with pytest.raises(BuildError, match="nothing is left of any source: captions gives nothing"):
        run(small, "none")


def test_more_units_never_mean_fewer_for_a_split(run: Run, small: Tree) -> None:
    small["sources"] = {"refs": small["sources"]["refs"]}
    small["splits"] = {"val": 0.1}
    have = run(small, "all").manifest["totals"]["samples"]
    before = {"train": 0, "val": 0}
    for total in (have // 2, have - 2, have - 1, have, have + 1, 2 * have - 1, 2 * have):
        small["mixture"] = {"total": total, "max_epochs": 3}
        splits = run(small, "out").manifest["splits"]
        assert sum(splits.values()) == total
        assert all(splits[split] >= before[split] for split in splits)
        before = splits


def test_out_and_store_may_not_lie_in_each_other(run: Run, small: Tree, tmp_path: Path) -> None:
    for out, store in (("s/out", "s"), ("o", "o/store"), ("same", "same")):
        with pytest.raises(BuildError, match="lie in each other"):
            run(small, out, store=tmp_path / store)
    (tmp_path / "file").write_text("x")
    with pytest.raises(VldataError, match="file"):
        run(small, "file/out")
    with pytest.raises(VldataError, match="name"):
        run(small, "n" * 300)


def test_a_truncated_block_is_noticed_by_the_next_build(run: Run, small: Tree) -> None:
    built = run(small)
    victim = built.out / built.manifest["blocks"][0]["file"]
    victim.chmod(0o644)
    with victim.open("r+b") as file:
        file.truncate(100)
    again = run(small)
    assert again.made == 1
    assert digests(again) == digests(built)


@pytest.mark.parametrize("file", ["../precious.txt", "/etc/passwd", "data-1.arrow", "a/b/data-00000-of-00001.arrow"])
def test_a_manifest_that_names_other_files_is_no_manifest(run: Run, small: Tree, tmp_path: Path, file: str) -> None:
    from vldata.dataset.verify import verify

    built = run(small)
    (tmp_path / "precious.txt").write_text("years of work")
    manifest = json.loads((built.out / "manifest.json").read_text())
    manifest["blocks"][0]["file"] = file
    (built.out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match=r"manifest\.json is damaged"):
        verify(built.out, tmp_path / "store")
    assert (tmp_path / "precious.txt").exists()
    with pytest.raises(BuildError, match="damaged"):
        run(small)


def test_licence_and_language_are_what_the_recipe_says_of_a_source(run: Run) -> None:
    source = {"format": "coco_captions", "path": "nowhere.json"}
    told = {**source, "licence": "CC0", "language": "de"}
    built = run({"name": "t", "sources": {"a": source, "b": told}}, standin=10)
    sources = built.manifest["sources"]
    assert (sources["b"]["licence"], sources["b"]["language"]) == ("CC0", "de")
    assert (sources["a"]["licence"], sources["a"]["language"]) == (source_class("coco_captions").licence, None)
    card = (built.out / "README.md").read_text()
    assert "| CC0 |" in card
    assert "language:\n- de\n" in card


def test_the_manifest_says_which_native_columns_feed_which_whoever_reads_them(tmp_path: Path) -> None:
    sources = {
        "captions": {"format": "coco_captions", "path": "x"},
        "chat": {"format": "llava", "path": "x"},
        "drawn": {"format": "shapes", "scenes": 5},
    }
    recipe = from_tree({"name": "columns", "sources": sources})
    columns = []
    for workers in (1, 2):
        out, store = tmp_path / f"out{workers}", tmp_path / f"store{workers}"
        manifest = build(recipe, out, store=store, workers=workers, standin=12).manifest
        columns.append(json.dumps({name: source["columns"] for name, source in manifest["sources"].items()}))
    assert columns[0] == columns[1]
    found = json.loads(columns[0])
    assert found["captions"]["read"]["caption"] == ["caption"]
    assert found["chat"]["read"]["conversations"] == ["instruction", "response"]
    assert found["drawn"] is None
