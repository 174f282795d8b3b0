"""What a file says is what its turns have, or somebody is told: for every format, with its own stand-in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tests.contract.fuzz import read_damaged
from tests.contract.native import (
    FORMATS,
    JSON,
    VERBATIM,
    NativeFile,
    is_sound,
    one_of_each_kind,
    opened,
    said,
    standin,
    tasks_of_standin,
    texts_below,
)
from vldata.errors import SourceError
from vldata.images.references import ImageReader
from vldata.sources import source_class
from vldata.sources.base import Source
from vldata.tasks import task_class

DIALOGUES = {"instruction", "text_instruction"}
PAIRS = [(name, task) for name in FORMATS for task in tasks_of_standin(source_class(name))]
STRANGE = "weight_of_loss"
NOT_LEARNT = {
    "coco_captions": ["info", "images.*"],
    "coco_instances": ["info", "images.*", "categories.*"],
    "gqa": ["*.types"],
    "okvqa": ["annotations.*.answers.*"],
    "refcoco": ["images.*", "categories.*"],
    "visual_genome": ["image_data.json *"],
    "vqav2": ["annotations.*.answers.*"],
}
"""Objects of photographs, classes and annotators: what they have besides changes nothing of what is learnt."""
WITH_OBJECTS = (*JSON, ".p")


def objects_of(
    name: str, folder: Path, suffixes: tuple[str, ...] = WITH_OBJECTS
) -> Iterator[tuple[Source, NativeFile, str, dict[str, Any]]]:
    """An object of each kind in each of a format's files, to be changed; each time the others are as they were."""
    source = standin(name, folder)
    for path in source.files():
        kinds = one_of_each_kind(opened(path).document) if path.suffix in suffixes else {}
        for kind in sorted(kinds):
            native = opened(path)
            before = path.read_bytes()
            yield (
                source,
                native,
                kind if path == source.files()[0] else f"{path.name} {kind}",
                one_of_each_kind(native.document)[kind],
            )
            path.write_bytes(before)


@pytest.mark.parametrize("name", FORMATS)
def test_a_key_that_a_format_does_not_know_is_named_and_can_be_ignored(name: str, tmp_path: Path) -> None:
    missed = []
    for source, native, kind, part in objects_of(name, tmp_path):
        task = task_of(part, source_class(name))
        if {kind, kind.rpartition(" ")[2]} & {*NOT_LEARNT.get(name, ())}:
            continue
        sound = source.turns(task)
        part[STRANGE] = [0.5]
        native.write()
        turns = source.turns(task)
        found = turns.filter(pl.col("problem") == "unknown_key") if "problem" in turns.columns else turns.clear()
        others = turns.filter(is_sound(turns))
        ignoring = source.model_copy(update={"ignore": [STRANGE]})
        is_right = found.height and STRANGE in found["detail"][0] and set(said(others)) <= set(said(sound))
        is_right = is_right and said(ignoring.turns(task)) == said(sound)
        if not is_right:
            missed.append((kind, found.height))
    assert missed == []


def task_of(part: dict[str, Any], adapter: type[Source]) -> str:
    """The task that an object's row is for: rows of LLaVA without an image are for another one than those with one."""
    is_text = "conversations" in part and "image" not in part
    return "text_instruction" if is_text and "text_instruction" in adapter.tasks else adapter.tasks[0]


def read_otherwise(source: Source, native: NativeFile, task: str) -> pl.DataFrame | None:
    """The turns of a changed file; None where the file as a whole is refused."""
    native.write()
    try:
        return source.turns(task)
    except SourceError:
        return None


OF_LINES = {"flickr8k", "multi30k", "screen_annotation"}
OF_TABLES = {"image_folder", "table", "tfrecord", "url_table", "webdataset"}
OF_OBJECTS = [name for name in FORMATS if name not in OF_LINES | OF_TABLES]
"""Formats whose stand-in is JSON; `vldata.sources.reading.tables` has tests of its own for tables of every kind."""


@pytest.mark.parametrize("written", ["2.50", "0.10", "12345678901234567890123", "9007199254740993"])
@pytest.mark.parametrize("name", OF_OBJECTS)
def test_a_number_where_a_text_is_stays_as_it_is_written(name: str, written: str, tmp_path: Path) -> None:
    """What is read of it is what would be read of the text; or the row is named."""
    task, wrong = source_class(name).tasks[0], []
    for source, native, kind, part in objects_of(name, tmp_path, JSON):
        for holder, key in texts_below(part):
            before = holder[key]
            holder[key] = written
            as_text = read_otherwise(source, native, task)
            holder[key] = VERBATIM + written
            as_number = read_otherwise(source, native, task)
            holder[key] = before
            if as_text is None or as_number is None:
                continue
            assert as_text.height == as_number.height, (kind, key)
            each = zip(said(as_text), said(as_number), is_sound(as_number), strict=True)
            wrong += [(kind, key, text, number) for text, number, sound in each if sound and text != number]
    assert wrong == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_with_one_unfit_value_keeps_its_id(name: str, tmp_path: Path) -> None:
    """Unless the id stood in the value; where turns cannot be counted, what their ids have in common."""
    task, lost = source_class(name).tasks[0], []
    for source, native, kind, part in objects_of(name, tmp_path):
        sound = source.turns(task)
        if "row" not in sound.columns or sound["row"].null_count():
            return  # a format without ids of its own
        for key, value in list(part.items()):
            inside = set(texts_in(value))
            ids = {row for row in sound["row"].to_list() if not {row, *row.split("/")} & inside}
            for unfit in ({"a": 1}, [[]], None):
                part[key] = unfit
                turns = read_otherwise(source, native, task)
                part[key] = value
                if turns is None:
                    continue
                there = {row for row in turns["row"].to_list() if row is not None}
                there |= {row.split("/")[0] for row in there}
                gone = sorted(row for row in ids if not {row, row.split("/")[0]} & there)
                lost += [(kind, key, unfit, gone)] if gone else []
    assert lost == []


def texts_in(value: Any) -> Iterator[str]:
    """Every single value inside a JSON value, as text."""
    if isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)
    else:
        yield str(value)


ONE_CORPUS = ("multi30k", "refcoco")
"""Formats whose ``path`` is the folder of one corpus, with one file of each kind."""


@pytest.mark.parametrize(("name", "task"), [pair for pair in PAIRS if pair[0] not in ONE_CORPUS])
def test_two_files_with_the_same_ids_are_read_apart(name: str, task: str, tmp_path: Path) -> None:
    """Each row says what it says when its file is read alone, and none is lost."""
    alone = [standin(name, tmp_path / part, seed=seed) for part, seed in (("a", 3), ("b", 4))]
    for path in alone[1].files():
        native = opened(path)
        native.document = with_other_images(native.document)
        native.write()
    expected = [turn for source in alone for turn in said_without_folders(source.turns(task))]
    first, path = str(tmp_path / "a"), alone[0].path
    together = {"path": str(tmp_path) if path == first else path.replace(first, str(tmp_path / "*"), 1)}
    roots = {"image_root": str(tmp_path)} if alone[0].image_root else {}
    both = alone[0].model_copy(update=together | roots)
    assert len(both.files()) == 2 * len(alone[0].files())
    assert sorted(said_without_folders(both.turns(task))) == sorted(expected)


def with_other_images(part: Any) -> Any:
    """A document whose images, where it names them, have other names."""
    if isinstance(part, dict):
        return {key: with_other_images(value) for key, value in part.items()}
    if isinstance(part, list):
        return [with_other_images(value) for value in part]
    is_image = isinstance(part, str) and part.endswith((".jpg", ".png")) and "://" not in part
    return f"{Path(part).parent / 'other_'}{Path(part).name}".removeprefix("./") if is_image else part


def said_without_folders(turns: pl.DataFrame) -> list[str]:
    """`said` with the names of images alone: their folders follow from where a file lies."""
    if "images" in turns.columns:
        turns = turns.with_columns(pl.col("images").list.eval(pl.element().str.split("/").list.last()))
    return said(turns)


NAMING_MARKS = {"image_mark_in_text", "broken_conversation", "unparsable_row"}
"""Of a row whose texts hold a mark; a role with one is no role, and its row unparsable."""
MARKS = ["<img>x.jpg</img>", "<|image_pad|>", "<image_1>"]


def is_broken(turns: pl.DataFrame) -> pl.Series:
    """Which turns have a problem but that they are for another task."""
    return turns.select(pl.col("problem").fill_null("not_for_task") != "not_for_task").to_series()


@pytest.mark.parametrize("name", OF_OBJECTS)
def test_a_mark_of_another_corpus_is_text_or_its_row_is_named(name: str, tmp_path: Path) -> None:
    """In a dialogue, where images have places, the row is rejected; elsewhere the words stay as they are."""
    task, reached, wrong = source_class(name).tasks[0], 0, []
    for source, native, kind, part in objects_of(name, tmp_path):
        for holder, key in texts_below(part):
            before = holder[key]
            for mark in MARKS:
                holder[key] = f"{before} {mark}"
                turns = read_otherwise(source, native, task)
                holder[key] = before
                if turns is None:
                    continue
                texts = [
                    name for name, dtype in task_class(task).columns.items() if dtype == pl.String and name in turns
                ]
                has_it = turns.select(pl.any_horizontal(pl.col(texts).str.contains(mark, literal=True))).to_series()
                is_named = is_broken(turns) if task in DIALOGUES else pl.Series([False])
                found = turns.filter(has_it.fill_null(False) | is_named)
                reached += found.height
                problems = set(found["problem"].to_list()) if "problem" in found.columns else {None}
                wanted = NAMING_MARKS if task in DIALOGUES else {None, "not_for_task"}
                wrong += [(kind, key, mark, problems)] if found.height and not problems & wanted else []
    assert wrong == []
    assert reached


@pytest.mark.parametrize("name", [name for name in OF_OBJECTS if name not in ("alpaca", "sharegpt")])
def test_an_absolute_path_below_image_root_is_inside_it(name: str, tmp_path: Path) -> None:
    task = source_class(name).tasks[0]
    source = standin(name, tmp_path, rows=4, images=True)
    reader = ImageReader(source.image_root)
    for path in source.files():
        native = opened(path)
        native.document = with_absolute_images(native.document, Path(source.image_root or "."))
        native.write()
    turns = source.turns(task)
    refs = turns.filter(is_sound(turns))["images"].explode().drop_nulls().unique()
    if not any(ref.startswith("/") for ref in refs):
        pytest.skip("this format names its images by number, or by parts of a path")
    facts = [size_of(reader.read(ref)) for ref in refs]
    assert len(facts) == refs.len()


def with_absolute_images(part: Any, root: Path) -> Any:
    """A document in which each path that leads to an image below ``root`` is absolute."""
    if isinstance(part, dict):
        return {key: with_absolute_images(value, root) for key, value in part.items()}
    if isinstance(part, list):
        return [with_absolute_images(value, root) for value in part]
    return str(root / part) if isinstance(part, str) and part and (root / part).is_file() else part


def size_of(image_bytes: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(image_bytes)) as image:
        return image.size


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_rows_cost_themselves_and_no_others(name: str, seed: int) -> None:
    """`tests.contract.fuzz` reads as many as one likes."""
    assert read_damaged(name, seed)
