"""What vldata writes it reads: a build, exported in every form and built from that again, says the same.

A form that `vldata.dataset.export.FORMS` lists and `HOW_TO_READ` does not is an error of these tests.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
import yaml
from PIL import Image

import vldata
from vldata.dataset.export import FORMS, export
from vldata.dataset.export.outcome import NOT_EXPORTED
from vldata.sources import SOURCES, source_class

BUILD = "the build folder"
SPLITS = ("train", "val")

HOW_TO_READ: dict[str, Callable[[Path, str], str]] = {
    BUILD: lambda folder, split: f"{folder}/{split}",
    "parquet": lambda folder, split: f"{folder}/data/{split}-*.parquet",
    "llava": lambda folder, split: f"{folder}/{split}.json",
    "sharegpt": lambda folder, split: f"{folder}/{split}.json",
    "webdataset": lambda folder, split: f"{folder}/{split}-*.tar",
}
"""The path of a split of a form."""

NOT_SAID: dict[str, Counter[str]] = {
    "llava": Counter(answer_masked=1, answer_weighted=1, reserved_word_in_text=1),
    "sharegpt": Counter(answer_masked=1, answer_weighted=1, reserved_word_in_text=1),
}
"""Rows that a form cannot say, by the reason in its `NOT_EXPORTED`."""

NOT_READ = {"image_count_mismatch": 1}
"""Turns of what a form says that are refused: in a dialogue ``<image>`` is a place, here one is a word."""

READERS = {"webdataset": ("webdataset",)}
"""Formats that read a form, where these are not those of any table of conversations."""

NO_READER = pytest.mark.skipif("webdataset" not in SOURCES, reason="tar shards are not a source's format yet")
READABLE = [pytest.param(form, marks=NO_READER if form == "webdataset" else ()) for form in (BUILD, *FORMS)]
DOORS = [
    pytest.param(form, reader, marks=NO_READER if form == "webdataset" else ())
    for form in (BUILD, *FORMS)
    for reader in READERS.get(form, ("llava", "table"))
]

Said = tuple[str, tuple[float, ...], tuple[bytes, ...]]


def said_in(folder: Path) -> Counter[Said]:
    """The samples of a build: messages, weights of the answers and the bytes of the images, whatever their order."""
    rows = (row for split in SPLITS for row in _rows(folder, split))
    return Counter(
        (json.dumps(row["messages"]), tuple(turn["weight"] for turn in row["turns"]), _images(row)) for row in rows
    )


def _rows(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    found = datasets.load_from_disk(str(folder))
    found = found[split] if isinstance(found, datasets.DatasetDict) else found if split == SPLITS[0] else []
    yield from found.cast_column("images", datasets.List(datasets.Image(decode=False))) if len(found) else ()


def _images(row: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(image["bytes"] or Path(image["path"]).read_bytes() for image in row["images"])


def picture(kind: str, mode: str, shade: int) -> bytes:
    out = io.BytesIO()
    turned = Image.Exif()
    turned[0x0112] = 6
    shape = Image.linear_gradient("L").resize((40 + shade, 30)).convert(mode)
    shape.save(out, kind, **({"exif": turned} if kind == "JPEG" else {}))
    return out.getvalue()


NAMES = ["a.jpg", "b.png", "c.png", "d.webp"]


@pytest.fixture(scope="module")
def natives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and conversations with every kind of message that a finished row may have, and their images."""
    folder = tmp_path_factory.mktemp("natives")
    for shade, (name, (kind, mode)) in enumerate(
        zip(NAMES, [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "I;16"), ("WEBP", "RGB")], strict=True)
    ):
        (folder / name).write_bytes(picture(kind, mode, shade))
    box = {"x0": 3, "y0": 4, "x1": 20, "y1": 25, "image": 0, "phrase": None}
    tables = {
        "caption": [{"id": f"c/{k}", "image": n, "caption": f"A  wash,\n no. {k} “é”."} for k, n in enumerate(NAMES)],
        "vqa": [{"id": k, "image": NAMES[k // 3], "question": f"What is {k}?", "answer": f"{k}.50"} for k in range(9)],
        "word": [{"id": "w", "image": "b.png", "question": "What does <image> show?", "answer": "an image"}],
        "mc": [{"id": k, "image": n, "question": "Which?", "choices": ["x", "y", "1"], "answer": "y"}
               for k, n in enumerate(NAMES)],
        "rec": [{"id": "r", "image": "c.png", "phrase": "the darker half", "boxes": [box]}],
        "grounded": [{"id": "g", "image": "b.png", "caption": "grey on black",
                      "boxes": [{**box, "phrase": "grey"}, {**box, "phrase": "black"}]}],
    }  # fmt: skip
    ask, tell = {"role": "user"}, {"role": "assistant"}
    tables["talks"] = [
        {"id": "several", "images": ["a.jpg", "b.png"], "messages": [
            {"role": "system", "content": "Be brief.\nPlease."}, {**ask, "content": "First <image> and"},
            {**tell, "content": "One."}, {**ask, "content": "then <image> what?"}, {**tell, "content": "Two."}]},
        {"id": "same twice", "images": ["d.webp", "d.webp"], "messages": [
            {**ask, "content": "<image><image>"}, {**tell, "content": "The same."}]},
        {"id": "zero", "image": "b.png", "messages": [
            {**ask, "content": "<image>\nWhat?"}, {**tell, "content": "Wrong.", "weight": 0},
            {**ask, "content": "Sure?"}, {**tell, "content": "- Right\n    1. indented"}]},
        {"id": "half", "image": "c.png", "messages": [
            {**ask, "content": "<image>\nWhat?"}, {**tell, "content": "Perhaps.", "weight": 0.5}]},
        {"id": "no words", "image": "a.jpg", "messages": [
            {**ask, "content": "<image>"}, {**tell, "content": "A caption."}]},
        {"id": "text", "messages": [
            {"role": "system", "content": "Talk."}, {**ask, "content": "Hi"}, {**tell, "content": "Ho"},
            {**ask, "content": "[1]"}, {**tell, "content": "{}"}]},
        {"id": "text without system", "messages": [{**ask, "content": "Hi\n\nyou"}, {**tell, "content": "null"}]},
    ]  # fmt: skip
    for name, rows in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def build(folder: Path, name: str, sources: dict[str, Any], **head: Any) -> Path:
    settings = {"max_reject_rate": 1, "conversation": {"max_turns": "all"}}
    recipe = {"name": name, "defaults": settings, "sources": sources, **head}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    vldata.build(vldata.load(folder / f"{name}.yaml"), folder / name, store=folder / "store", workers=1)
    return folder / name


@pytest.fixture(scope="module", params=["embed", "path"])
def first(request: pytest.FixtureRequest, natives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of two splits in which one source stands twice."""
    tasks = {"caption": "caption", "vqa": "vqa_open", "word": "vqa_open", "mc": "vqa_mc", "rec": "rec",
             "grounded": "grounded_caption"}  # fmt: skip
    sources = {
        name: {"format": "table", "task": task, "path": f"{natives}/{name}.jsonl"} for name, task in tasks.items()
    }
    for task in ("instruction", "text_instruction"):
        sources[task] = {
            "format": "llava", "task": task, "path": f"{natives}/talks.jsonl", "image_root": str(natives)
        }  # fmt: skip
    mixture = {"sources": {name: {"epochs": 2 if name == "vqa" else 1} for name in sources}}
    folder = tmp_path_factory.mktemp("first")
    return build(folder, "first", sources, splits={"val": 0.3}, mixture=mixture, output={"images": request.param})


@pytest.mark.parametrize(("form", "reader"), DOORS)
def test_what_an_export_says_is_what_is_built_of_it(form: str, reader: str, first: Path, tmp_path: Path) -> None:
    """Every sample but those that the export names as what it cannot say, and those that the ledger names."""
    exported, unsaid = first, Counter[str]()
    if form != BUILD:
        exported = tmp_path / "export"
        export(first, exported, to=form)
        unsaid = Counter(line["reason"] for line in _lines(exported / NOT_EXPORTED))
    assert unsaid == NOT_SAID.get(form, Counter())
    is_path = vldata.load(first.parent / "first.yaml").head.output.images == "path"
    root = {"image_root": "/" if is_path else str(exported)}  # a build that stores paths has absolute ones
    sources = {
        f"{split}_{task}": {"format": reader, "task": task, "path": HOW_TO_READ[form](exported, split), **root}
        for split in SPLITS
        for task in ("instruction", "text_instruction")
    }
    again = build(tmp_path, "again", sources)
    refused = pl.read_parquet(again / "ledger.parquet").filter(pl.col("reason") != "not_for_task")
    lost = said_in(first) - said_in(again)
    assert said_in(again) <= said_in(first)
    assert Counter(refused["reason"]) == (Counter() if form in NOT_SAID else NOT_READ)
    assert lost.total() == unsaid.total() + refused.height


@pytest.mark.parametrize("form", [form for form in READABLE if form.values[0] not in NOT_SAID])
def test_boxes_as_data_are_read_back(form: str, natives: Path, tmp_path: Path) -> None:
    tasks = {"rec": "rec", "grounded": "grounded_caption", "vqa": "vqa_open"}
    sources = {n: {"format": "table", "task": task, "path": f"{natives}/{n}.jsonl"} for n, task in tasks.items()}
    exported = first = build(tmp_path, "first", sources, splits={"val": 0.3})
    if form != BUILD:
        exported = tmp_path / "export"
        export(first, exported, to=form)
    keys = {"format": READERS.get(form, ("llava",))[0], "task": "instruction", "image_root": str(exported)}
    again = build(tmp_path, "again", {s: {**keys, "path": HOW_TO_READ[form](exported, s)} for s in SPLITS})
    assert _boxes_in(again) == _boxes_in(first)
    assert sum(len(boxes) for _, boxes in _boxes_in(first)) == 3


def _boxes_in(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """The words and boxes of every sample that has boxes."""
    rows = (row for split in SPLITS for row in _rows(folder, split))
    found = ((json.dumps(row["messages"]), [box for turn in row["turns"] for box in turn["boxes"]]) for row in rows)
    return sorted((pair for pair in found if pair[1]), key=str)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.mark.parametrize("form", READABLE[1:])
def test_an_export_is_read_by_the_name_of_its_folder(form: str, first: Path, tmp_path: Path) -> None:
    exported = tmp_path / "export"
    written = export(first, exported, to=form)
    source = source_class(READERS.get(form, ("llava",))[0])(path=str(exported), image_root=str(exported))
    turns = [source.turns(task) for task in ("instruction", "text_instruction")]
    threads = {thread for of in turns for thread in of.filter(pl.col("problem").is_null())["thread"].to_list()}
    assert len(threads) == written["rows"] - (0 if form in NOT_SAID else 1)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("form", READABLE)
def test_the_place_of_a_lone_image_is_that_of_the_recipe(form: str, place: str, natives: Path, tmp_path: Path) -> None:
    """LLaVA puts it at either end at random, so it says nothing: a recipe that says the same builds the same."""
    native = {"format": "table", "task": "vqa_open", "path": f"{natives}/vqa.jsonl"}
    where = {"conversation": {"max_turns": "all", "image_position": place}}
    made = build(tmp_path, "made", {"vqa": {**native, **where}})
    exported = tmp_path / "export"
    if form != BUILD:
        export(made, exported, to=form)
    path, root = (str(made), str(made)) if form == BUILD else (HOW_TO_READ[form](exported, "train"), str(exported))
    source = {"format": READERS.get(form, ("llava",))[0], "task": "instruction", "path": path, "image_root": root}
    again = build(tmp_path, "again", {"talk": {**source, **where}})
    assert said_in(again) == said_in(made)
