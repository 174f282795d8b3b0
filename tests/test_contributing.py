"""The source that CONTRIBUTING adds is one, and what it says beside it is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from PIL import Image

from tests.contract import test_every_column as columns
from tests.contract import test_every_door as door
from tests.contract import test_every_source as source
from tests.contract.fuzz import read_damaged
from vldata import build
from vldata.recipe.load import from_tree
from vldata.sources import SOURCES, source_class

GUIDE = (Path(__file__).parents[1] / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
ROW = {"questionId": 337, "question": "which date?", "image": "page.png", "answers": ["1/8/93", "Jan 8"], "docId": 2}


@pytest.fixture
def docvqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The example as a file, under the name that its line in ``SOURCES`` gives it."""
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "example_of_a_source.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(str(tmp_path / "added"))
    monkeypatch.delitem(sys.modules, "example_of_a_source", raising=False)
    ((name, attribute),) = re.findall(r'^    "(\w+)": "vldata\.sources\.\w+:(\w+)",$', GUIDE, flags=re.MULTILINE)
    monkeypatch.setitem(SOURCES, name, f"example_of_a_source:{attribute}")
    return str(name)


def test_the_example_holds_what_every_source_must(docvqa: str, tmp_path: Path) -> None:
    corpora = {docvqa: source_class(docvqa).standin(tmp_path / "corpus", rows=source.ROWS, seed=3)}
    source.test_a_format_tells_what_it_is(docvqa)
    source.test_a_stand_in_reads_back_in_canonical_columns(docvqa, "vqa_open", corpora)
    source.test_a_stand_in_has_no_id_twice(docvqa, "vqa_open", corpora)
    source.test_the_pictures_of_a_stand_in_exist_and_hold_its_boxes(docvqa, "vqa_open", corpora, tmp_path)
    source.test_a_stand_in_is_decided_by_its_seed(docvqa, tmp_path)
    source.test_an_empty_file_is_refused_by_name(docvqa, corpora, tmp_path / "damaged")


def test_the_example_reads_what_its_files_say(docvqa: str, tmp_path: Path) -> None:
    door.test_a_key_that_a_format_does_not_know_is_named_and_can_be_ignored(docvqa, tmp_path / "a")
    door.test_a_row_with_one_unfit_value_keeps_its_id(docvqa, tmp_path / "b")
    door.test_two_files_with_the_same_ids_are_read_apart(docvqa, "vqa_open", tmp_path / "c")
    assert read_damaged(docvqa, 1)


def test_the_columns_that_the_example_declares_are_those_that_it_feeds(docvqa: str, tmp_path: Path) -> None:
    columns.test_each_canonical_column_is_fed_by_a_native_one(docvqa, "vqa_open", tmp_path / "a")
    columns.test_a_native_column_changes_what_it_feeds_and_nothing_else(docvqa, tmp_path / "b")


def test_the_line_of_a_recipe_reads_the_same_as_the_example(
    docvqa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train_v1.0.json").write_text(json.dumps({"dataset_name": "docvqa", "data": [ROW]}))
    Image.new("RGB", (64, 48)).save("page.png")
    (line,) = re.findall(r"^    (doc: \{.*\})$", GUIDE, flags=re.MULTILINE)
    recipe = from_tree({"name": "doc", "sources": yaml.safe_load(line)})
    by_table = recipe.entries["doc"].source.turns("vqa_open")
    by_format = source_class(docvqa)(path="train_v1.0.json", image_root=".").turns("vqa_open")
    names = ["row", "question", "images"]
    assert by_table.select(names).equals(by_format.select(names))
    assert by_format["answer"].to_list() == ["1/8/93"]
    assert build(recipe, tmp_path / "out", store=tmp_path / "store", workers=1).manifest["totals"]["samples"] == 1
    assert isinstance(by_table["answer"].dtype, pl.String)


def test_the_example_is_as_short_as_the_guide_says_and_passes_the_linter(docvqa: str, tmp_path: Path) -> None:
    assert len(EXAMPLE.splitlines()) < 80
    ruff = [sys.executable, "-m", "ruff", "check", "--config", str(Path(__file__).parents[1] / "pyproject.toml")]
    file = tmp_path / "added" / "example_of_a_source.py"
    pytest.importorskip("ruff")
    done = subprocess.run([*ruff, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_file_that_the_guide_names_exists() -> None:
    root = Path(__file__).parents[1]
    named = {name for name in re.findall(r"`((?:vldata|tests|templates)/[\w/.]+\.\w+)`", GUIDE)} - {
        "vldata/sources/docvqa.py"
    }
    assert len(named) > 10
    assert [name for name in named if not (root / name).exists()] == []
