"""What stands in a build's page, and what it costs: no browser needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.conftest import HOSTILE
from vldata import build
from vldata.dataset.open import block_table, list_values
from vldata.dataset.split_leaks import find_leaks
from vldata.dataset.verify import verify
from vldata.errors import BuildError
from vldata.recipe.load import from_tree
from vldata.report import text
from vldata.report.build_facts import QUANTILES, read_facts, spread
from vldata.report.build_page import build_page, write_build_page
from vldata.report.gallery import MAX_SAMPLES, gallery
from vldata.report.write import write_report

CHECKOUT = Path(__file__).parents[2]


def test_the_same_build_gives_the_same_page_wherever_it_is_made(place) -> None:
    elsewhere = place.again("elsewhere", finish=write_build_page)
    assert (elsewhere.out / "report.html").read_bytes() == place.page.read_bytes()


def test_it_says_nothing_of_the_machine(place) -> None:
    page = place.page.read_text()
    assert str(place.folder) not in page
    assert not re.search(r"/(tmp|home|root|work)/", page)
    assert not re.search(r"20\d\d-\d\d-\d\d", page)


def test_an_unchanged_build_leaves_its_page_alone(place) -> None:
    before = place.page.stat()

    def refuse(folder: Path) -> None:
        raise AssertionError("an unchanged build has nothing to finish")

    again = build(from_tree(place.tree), place.built.out, store=place.folder / "store", workers=1, finish=refuse)
    assert again.unchanged
    assert (place.page.stat().st_mtime_ns, place.page.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_page_that_fails_leaves_no_build_behind(place) -> None:
    def fail(folder: Path) -> None:
        assert (folder / "manifest.json").is_file()
        raise BuildError("the page", "it fails", "fix it")

    with pytest.raises(BuildError, match="it fails"):
        place.again("failed", finish=fail)
    assert not (place.folder / "failed").exists()
    assert not list(place.folder.glob(".failed.*.new"))


def test_the_build_is_still_a_build(place) -> None:
    assert verify(place.built.out, place.folder / "store") == []
    dataset = datasets.load_from_disk(str(place.built.out))
    assert sum(len(split) for split in dataset.values()) == place.built.manifest["totals"]["samples"]


def test_native_columns_stand_on_it_with_what_they_feed_and_as_inert_text(place) -> None:
    page = place.page.read_text()
    section = page[page.index('<section id="columns"') : page.index('<section id="lengths"')]
    rows = re.findall(r'<td class="code">(.*?)</td><td.*?>(.*?)</td>', section)
    assert ("q", "question") in [tuple(re.sub("<.*?>", "", cell) for cell in row) for row in rows]
    assert "not read: the recipe names others" in section
    assert HOSTILE[1] not in section
    assert HOSTILE[1].replace("<", "&lt;").replace(">", "&gt;").split("&gt;")[0][:9] in section
    assert not {"words", "choices"} & {*re.findall(r'scope="rowgroup"[^>]*>(?:<bdi>)?(\w+)', section)}


def test_a_build_whose_manifest_has_no_columns_has_a_page(place, tmp_path) -> None:
    manifest = json.loads((place.built.out / "manifest.json").read_text())
    shutil.copytree(place.built.out, tmp_path / "older")
    for source in manifest["sources"].values():
        del source["columns"]
    (tmp_path / "older" / "manifest.json").write_text(json.dumps(manifest))
    assert "No source of this build has columns of its own." in build_page(tmp_path / "older")


def test_remaking_the_page_gives_the_same_bytes(place, tmp_path) -> None:
    assert write_report(place.built.out, out=tmp_path / "page.html").read_bytes() == place.page.read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_quantiles_count_repeats(place) -> None:
    facts = read_facts(place.built.out)
    epochs = {"words": 3}
    dataset = datasets.load_from_disk(str(place.built.out))
    lengths = [
        row["num_text_chars"]
        for split in dataset.values()
        for row in split.remove_columns("images")
        if row["source"] == "words"
    ]
    words = facts.chars["words"]
    assert words.num == len(lengths) > 30 * (epochs["words"] - 1)
    assert words.mean == pytest.approx(np.mean(lengths))
    assert list(words.quantiles) == pytest.approx([np.quantile(lengths, q, method="inverted_cdf") for q in QUANTILES])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 4)), min_size=1, max_size=40))
def test_a_spread_is_that_of_the_repeated_amounts(pairs) -> None:
    amounts, times = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    of_repeats, plain = spread(amounts, times), np.repeat(amounts, times)
    assert of_repeats.num == len(plain)
    assert (of_repeats.smallest, of_repeats.largest) == (plain.min(), plain.max())
    assert list(of_repeats.quantiles) == [np.quantile(plain, q, method="inverted_cdf") for q in QUANTILES]


def test_visual_tokens_are_those_of_the_sizes(place) -> None:
    """At 336 px an image is 576 tokens; at its own size, 640 x 360 is 23 x 13 cells of 28 px."""
    facts = read_facts(place.built.out)
    assert set(facts.tokens["llava1_5"]["texts"].quantiles) == {576.0}
    assert facts.tokens["qwen2_vl"]["texts"].median == 23 * 13
    assert "words" not in facts.tokens["qwen2_vl"]


def test_counts_are_the_manifest_s(place) -> None:
    facts, manifest = read_facts(place.built.out), place.built.manifest
    for name, source in manifest["sources"].items():
        assert sum(facts.splits[name].values()) == source["achieved"]["samples"]
        assert sum(wording.num for wording in facts.wordings if wording.source == name) == source["achieved"]["turns"]
    assert len({wording.variant for wording in facts.wordings if wording.source == "choices"}) > 1
    reasons = {(reason.source, reason.reason): reason.num for reason in facts.reasons}
    assert reasons == {(n, r): k for n, s in manifest["sources"].items() for r, k in s["reasons"].items()}
    assert all(reason.examples for reason in facts.reasons)


def test_no_image_of_the_build_is_in_two_splits_and_a_planted_one_is_reported(place) -> None:
    manifest = place.built.manifest
    blocks = [(block_table(place.built.out, block)["images"], block["split"]) for block in manifest["blocks"]]
    images_of = [(list_values(images), split) for images, split in blocks]
    honest = find_leaks(images_of)
    assert (honest.shared, honest.num_splits, honest.by) == (0, 2, "bytes")
    distinct = {image["bytes"] for images, split in images_of if split == "train" for image in images.to_pylist()}
    leaked = find_leaks([*images_of, *((images, "test") for images, split in images_of if split == "train")])
    assert leaked.shared == len(distinct) > 3


def test_the_gallery_shows_every_source_and_its_boxes(place) -> None:
    shown = gallery(place.built.out)
    assert set(shown) == set(place.tree["sources"])
    assert sum(map(len, shown.values())) <= MAX_SAMPLES
    assert len({sample.id for samples in shown.values() for sample in samples}) == sum(map(len, shown.values()))
    assert all(image.boxes for sample in shown["boxes"] for image in sample.images)
    assert all(image.data for samples in shown.values() for sample in samples for image in sample.images)


def test_it_stays_small(place) -> None:
    assert place.page.stat().st_size < 1_000_000


@given(st.text(max_size=200))
def test_inert_text_can_neither_open_a_tag_nor_turn_the_line(raw) -> None:
    shown = str(text.inert(raw))
    inside = re.sub(r'</?(bdi|span)( [a-z]+="[a-z]+")?>', "", shown)
    assert "<" not in inside and ">" not in inside
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x7f-\x9f]", shown)


def test_folders_of_a_machine_are_left_out() -> None:
    assert text.without_folders("cannot read /home/someone/data/x.jpg: gone") == "cannot read …/x.jpg: gone"
    assert text.without_folders("1/2 and/or https://a.b/c/d") == "1/2 and/or https://a.b/c/d"


@pytest.mark.parametrize(
    "output, sources",
    [
        ({"layout": "rows"}, {"a": {"task": "caption"}, "b": {"task": "rec"}}),
        ({"images": "path"}, {"a": {"task": "caption"}, "b": {"task": "rec"}}),
        ({}, {"a": {"task": "text_instruction"}}),
        ({}, {f"source-{n}-{'long' * 9}": {"task": "caption", "scenes": 3} for n in range(30)}),
        ({}, {"a": {"task": "caption"}, "none": {"task": "caption", "filters": {"min_chars": 10_000}}}),
    ],
    ids=["rows", "paths", "words only", "many sources", "an empty source"],
)
def test_builds_of_every_shape_have_a_page(tmp_path, output, sources) -> None:
    tree = {"name": "shape", "sources": {n: {"format": "shapes", "scenes": 12, **s} for n, s in sources.items()}}
    built = build(from_tree({**tree, "output": output}), tmp_path / "out", store=tmp_path / "store", workers=1)
    page = build_page(built.out)
    shown = gallery(built.out)
    assert {sample.source for samples in shown.values() for sample in samples} <= set(sources)
    assert all(samples for samples in shown.values())
    assert all(image.data for samples in shown.values() for sample in samples for image in sample.images)
    assert page.endswith("</html>\n") and len(page) < 2_000_000


def test_what_is_no_build_is_named(tmp_path) -> None:
    with pytest.raises(BuildError, match="no build, ablation or tuning"):
        write_report(tmp_path)
    with pytest.raises(BuildError, match="belongs to neither"):
        write_report(tmp_path, tmp_path)


def test_the_commands(place, tmp_path) -> None:
    (tmp_path / "recipe.json").write_text(
        json.dumps({"name": "few", "sources": {"a": {"format": "shapes", "scenes": 9}}})
    )

    def vldata(*arguments: str) -> str:
        command = [sys.executable, str(CHECKOUT / "cli.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    vldata("build", "recipe.json", "--out", "out", "--workers", "1", "--no-report")
    assert not (tmp_path / "out" / "report.html").exists()
    assert "unchanged" in vldata("build", "recipe.json", "--out", "out", "--workers", "1")
    first = (tmp_path / "out" / "report.html").read_bytes()
    printed = json.loads(vldata("report", "out", "--json"))
    assert printed == {"out": "out/report.html", "size_bytes": len(first)}
    assert (tmp_path / "out" / "report.html").read_bytes() == first


def test_plotting_is_loaded_only_for_a_page() -> None:
    code = "import sys, vldata.cli.main, vldata.pipeline.build; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0


def test_a_page_does_not_load_pandas(place, tmp_path) -> None:
    """`pyarrow` loads it for some conversions where it is installed, which takes longer than the page."""
    code = (
        "import sys, pathlib; from vldata.report.build_page import write_build_page; "
        f"write_build_page(pathlib.Path({str(place.built.out)!r}), pathlib.Path({str(tmp_path / 'page.html')!r})); "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0


def test_a_build_does_not_load_pandas(tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from vldata import build; from vldata.recipe.load import load; "
        f"here = Path({str(tmp_path)!r}); "
        "build(load('quickstart'), here / 'out', store=here / 'store', workers=1, limit=40); "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0


def test_two_pages_of_one_process_are_the_same(place) -> None:
    assert build_page(place.built.out) == build_page(place.built.out)
