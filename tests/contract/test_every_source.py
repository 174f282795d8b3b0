"""What every native format promises: a stand-in that reads back whole, and errors that a user can act on."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tests.contract.native import NEEDS, NOT_INSTALLED
from vldata.errors import SourceError
from vldata.images.references import ImageReader
from vldata.schema.turns import COMMON
from vldata.sources import SOURCES, source_class
from vldata.sources.base import Source
from vldata.tasks import TASKS, task_class

ROWS = 40


def tasks_of_standin(adapter: type[Source]) -> tuple[str, ...]:
    """What a stand-in can be read for: one of a table whose columns the recipe names fits one task only."""
    return adapter.tasks[:1] if "fields" in adapter.model_fields else adapter.tasks


FORMATS = sorted(set(SOURCES) - NOT_INSTALLED)
PAIRS = [(name, task) for name in FORMATS for task in tasks_of_standin(source_class(name))]
WITHOUT_FILES = {"shapes"}
IN_FILES = [name for name in FORMATS if name not in WITHOUT_FILES]
OURS = {"shapes", "table"}  # formats that no corpus elsewhere defines


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """A stand-in of each format: the recipe keys that read it."""
    return {name: source_class(name).standin(tmp_path_factory.mktemp(name), rows=ROWS, seed=3) for name in FORMATS}


def copied(keys: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The stand-in copied into ``folder``, which the test may damage, and the keys that read the copy."""
    original = Path(keys["path"])
    top = original if original.is_dir() else original.parent
    if "image_root" in keys:
        top = next(parent for parent in (top, *top.parents) if Path(keys["image_root"]).is_relative_to(parent))
    shutil.copytree(top, folder / "copy")
    moved = {}
    for key, value in keys.items():
        is_below = isinstance(value, str) and Path(value).is_absolute() and Path(value).is_relative_to(top)
        moved[key] = str(folder / "copy" / Path(value).relative_to(top)) if is_below else value
    return moved


def usable(turns: pl.DataFrame) -> pl.DataFrame:
    """The turns but for those that the corpus has for another task."""
    if "problem" not in turns.columns:
        return turns
    assert set(turns["problem"].drop_nulls()) <= {"not_for_task"}, turns.filter(
        pl.col("problem").is_not_null()
    ).to_dicts()
    return turns.filter(pl.col("problem").is_null())


def size_of(image_bytes: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(image_bytes)) as image:
        return image.size


def test_the_list_of_formats_is_sorted() -> None:
    assert list(SOURCES) == sorted(SOURCES)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_a_format_that_needs_a_library_is_tested_where_it_is_installed(name: str) -> None:
    if name in NOT_INSTALLED:
        pytest.skip(f"{NEEDS[name]} is not installed: none of the tests of every format has tested {name}")
    assert name in FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_tells_what_it_is(name: str) -> None:
    adapter = source_class(name)
    header = sys.modules[adapter.__module__].__doc__ or ""
    assert adapter.format == name
    assert adapter.about.strip()
    assert adapter.licence.strip()
    assert adapter.tasks
    assert set(adapter.tasks) <= set(TASKS)
    assert "Layout:" in header
    assert "https://" in header or name in OURS
    assert adapter.__doc__ != Source.__doc__


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_calls_a_path_is_one_of_its_options(name: str) -> None:
    adapter = source_class(name)
    assert set(adapter.paths) <= set(adapter.model_fields)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_stand_in_reads_back_in_canonical_columns(name: str, task: str, corpora: dict[str, dict[str, Any]]) -> None:
    turns = source_class(name)(**corpora[name]).turns(task)
    kind = task_class(task)
    declared = {**COMMON, **kind.columns}
    needed = set(kind.columns) - kind.optional
    sound = usable(turns)
    assert turns.height >= ROWS // 4
    assert sound.height >= ROWS or task != source_class(name).tasks[0]
    assert set(turns.columns) <= set(declared)
    assert needed <= set(turns.columns)
    assert {column: dtype for column, dtype in turns.schema.items() if dtype != declared[column]} == {}
    assert [column for column in needed if sound[column].null_count()] == []
    for column in (c for c in needed if kind.columns[c] == pl.String):
        assert sound.filter(pl.col(column).str.strip_chars() == "").to_dicts() == []


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_stand_in_has_no_id_twice(name: str, task: str, corpora: dict[str, dict[str, Any]]) -> None:
    turns = source_class(name)(**corpora[name]).turns(task)
    if "row" in turns.columns:
        assert turns["row"].drop_nulls().is_unique().all()


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_the_pictures_of_a_stand_in_exist_and_hold_its_boxes(
    name: str, task: str, corpora: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    source = source_class(name)(**corpora[name])
    turns = usable(source.turns(task))
    refs = turns["images"].explode().drop_nulls().unique().to_list() if "images" in turns.columns else []
    draws = source.images_key() is not None
    if draws:
        source.draw_images(tmp_path)
    reader = ImageReader(tmp_path if draws else source.image_root)
    sizes = {ref: size_of(reader.read(ref)) for ref in refs}
    assert sizes or not task_class(task).needs_image
    for turn in turns.iter_rows(named=True):
        if turn.get("image_sizes"):
            told = [(size["width"], size["height"]) for size in turn["image_sizes"] if size]
            assert told == [sizes[ref] for ref in turn["images"]][: len(told)]
        for box in turn.get("boxes") or ():
            wide, high = (1, 1) if source.box_unit == "fraction" else sizes[turn["images"][box["image"]]]
            assert 0 <= box["x0"] < box["x1"] <= wide
            assert 0 <= box["y0"] < box["y1"] <= high


@pytest.mark.parametrize("name", FORMATS)
def test_a_stand_in_is_decided_by_its_seed(name: str, tmp_path: Path) -> None:
    def written(folder: str, seed: int) -> dict[str, bytes]:
        (tmp_path / folder).mkdir()
        source = source_class(name)(**source_class(name).standin(tmp_path / folder, rows=12, seed=seed))
        files = sorted(path for path in (tmp_path / folder).rglob("*") if path.is_file())
        turns = source.turns(source.tasks[0]).write_ndjson().encode()
        return {"": turns, **{str(path.relative_to(tmp_path / folder)): path.read_bytes() for path in files}}

    first = written("a", 3)
    assert first == written("b", 3)
    assert first[""] != written("c", 4)[""]


@pytest.mark.parametrize("name", FORMATS)
def test_a_stand_in_without_pictures_has_the_same_turns(
    name: str, corpora: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    adapter = source_class(name)
    bare = adapter(**adapter.standin(tmp_path, rows=ROWS, seed=3, images=False)).turns(adapter.tasks[0])
    whole = adapter(**corpora[name]).turns(adapter.tasks[0])
    assert bare.equals(whole)


@pytest.mark.parametrize("name", IN_FILES)
def test_the_files_of_a_stand_in_are_named_in_a_stable_order(name: str, corpora: dict[str, dict[str, Any]]) -> None:
    source = source_class(name)(**corpora[name])
    assert source.files() == source_class(name)(**corpora[name]).files()
    assert all(path.is_file() for path in source.files())
    assert len(set(source.files())) == len(source.files()) > 0


@pytest.mark.parametrize("name", IN_FILES)
def test_files_that_are_missing_are_refused_by_name(
    name: str, corpora: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    source = source_class(name)(**{**corpora[name], "path": str(tmp_path / "nowhere.json")})
    with pytest.raises(SourceError, match="nowhere"):
        source.files()
    with pytest.raises(SourceError, match="nowhere"):
        source.turns(source.tasks[0])


@pytest.mark.parametrize("name", IN_FILES)
def test_an_empty_file_is_refused_by_name(name: str, corpora: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    source = source_class(name)(**copied(corpora[name], tmp_path))
    damaged = source.files()[0]
    damaged.write_bytes(b"")
    with pytest.raises(SourceError, match=re.escape(damaged.name)):
        source.turns(source.tasks[0])


@pytest.mark.parametrize("name", IN_FILES)
def test_a_gzip_file_that_ends_too_early_is_refused_by_name(
    name: str, corpora: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    source = source_class(name)(**copied(corpora[name], tmp_path))
    damaged = source.files()[0]
    packed = gzip.compress(damaged.read_bytes())
    damaged.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=re.escape(damaged.name)):
        source.turns(source.tasks[0])


@pytest.mark.parametrize("name", IN_FILES)
def test_a_json_file_that_ends_too_early_is_refused_by_name(
    name: str, corpora: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    source = source_class(name)(**copied(corpora[name], tmp_path))
    damaged = source.files()[0]
    if damaged.suffix not in (".json", ".jsonl"):
        return
    whole = damaged.read_bytes()
    cut = len(whole) // 2
    damaged.write_bytes(whole[: cut + (whole[cut - 1 : cut] == b"\n")])
    with pytest.raises(SourceError, match=re.escape(damaged.name)):
        source.turns(source.tasks[0])


OF_TABLES = [name for name in FORMATS if "fields" in source_class(name).model_fields]


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in OF_TABLES for task in source_class(name).tasks])
def test_a_stand_in_of_a_table_is_read_whole_for_each_task(name: str, task: str, tmp_path: Path) -> None:
    adapter = source_class(name)
    turns = adapter(**adapter.standin(tmp_path, rows=12, seed=3, task=task)).turns(task)
    sound = usable(turns).drop_nulls(sorted(set(task_class(task).columns) - task_class(task).optional))
    assert sound.height == turns.height >= 12
