"""What the stages of a build pass to one another, written out in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from vldata.images.facts import FACTS
from vldata.pipeline.finished_rows import RenderSettings
from vldata.prompts.models import Templates
from vldata.prompts.template import Template, load
from vldata.recipe.load import from_tree
from vldata.recipe.models import Entry, Recipe
from vldata.schema.rows import arrow_schema
from vldata.schema.turns import KEY, SIZE
from vldata.store.blocks import NOTE, PIECE, write_stream
from vldata.store.store import Store
from vldata.tasks import task_class

ROOT = "/nowhere"


def recipe(sources: Mapping[str, Mapping[str, Any]], **head: Any) -> Recipe:
    """A recipe with seed 7 over tables that are never read; a source says at least its task."""
    table = {"format": "table", "path": f"{ROOT}/rows.jsonl", "image_root": ROOT}
    return from_tree({"name": "small", "seed": 7, "sources": {n: {**table, **s} for n, s in sources.items()}, **head})


def entry(task: str = "vqa_open", name: str = "vqa", **settings: Any) -> Entry:
    """The only source of such a recipe."""
    return recipe({name: {"task": task, **settings}}).entries[name]


def columns_of(task: str) -> dict[str, Any]:
    """The types of a task's own columns."""
    return dict(task_class(task).columns)


def facts_of(images: Iterable[str | Mapping[str, Any]]) -> pl.DataFrame:
    """Facts of images of 200 x 100 px and 10 bytes whose hash is ``#<ref>``; a mapping says what differs."""
    rows = []
    for image in images:
        given = {"ref": image} if isinstance(image, str) else dict(image)
        common = {"size_bytes": 10, "hash": f"#{given['ref']}", "width": 200, "height": 100, "format": "PNG"}
        nothing = dict.fromkeys(("size_bytes", "hash", "width", "height", "format")) if given.get("problem") else {}
        rows.append({**common, **nothing, **given})
    return pl.DataFrame(rows, schema=FACTS)


def box(x0: float, y0: float, x1: float, y1: float, image: int = 0, phrase: str | None = None) -> dict[str, Any]:
    """A box as turns have it."""
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "image": image, "phrase": phrase}


TEMPLATES = {
    "vqa_open": "{% block user %}{{ question }}{% endblock %}{% block assistant %}{{ answer }}{% endblock %}",
    "rec": "{% block user %}Where is {{ phrase }}?{% endblock %}{% block assistant %}{{ bbox }}{% endblock %}",
    "instruction": "{% block system %}{% if system is not none %}{{ system }}{% endif %}{% endblock %}"
    "{% block user %}{{ instruction }}{% endblock %}{% block assistant %}{{ response }}{% endblock %}",
}


def template(folder: Path, task: str, text: str | None = None) -> Template:
    """A template of our own, written into a folder; without a text, the task's columns and nothing else."""
    (folder / f"{task}.jinja").write_text(TEMPLATES[task] if text is None else text)
    return load(task, task_class(task)().template_names(), Templates(path=str(folder)))


def words(folder: Path, task: str = "vqa_open", text: str | None = None, **options: Any) -> RenderSettings:
    """What a source named ``src`` says, the images first."""
    usual: dict[str, Any] = {
        "source": "src",
        "dataset": "src",
        "task": task_class(task)(),
        "templates": Templates(),
        "box_format": "llava",
        "padded": False,
        "image_position": "before",
        "max_side_px": None,
        "image_prefix": "",
        "seed": 7,
    }
    return RenderSettings(template=template(folder, task, text), **(usual | options))


def leaf(*samples: Mapping[str, Any], task: str = "vqa_open") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Samples and their turns as choosing leaves them.

    Args:
        samples: ``turns``: each turn's columns, or the task's two texts; rows are ``0.0``, ``0.1``, ``1.0`` and so on.
            What is given differs from one image ``1.jpg`` of 200 x 100 px, 10 bytes and hash ``#1.jpg``, in ``train``.
        task: Whose columns the turns have.
    """
    own = columns_of(task)
    if "boxes" in own:
        own["fractions"] = own["boxes"]
    types = {"at": pl.Int64, "row": pl.String, KEY: pl.UInt64, "place": pl.Int32, "thread": pl.String}
    types |= {"weight": pl.Float32, "generator": pl.String, **own}
    turns: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for at, sample in enumerate(samples):
        images = sample.get("images", ["1.jpg"])
        for place, said in enumerate(sample["turns"]):
            columns = dict(zip(task_class(task).texts, said, strict=True)) if isinstance(said, tuple) else said
            turns.append({"at": at, "row": f"{at}.{place}", KEY: len(turns), "place": place, **columns})
        usual = {
            "at": at,
            "sample": at << 60,
            "images": images,
            "sizes": [{"width": 200, "height": 100}] * len(images),
            "hashes": [f"#{ref}" for ref in images],
            "image_bytes": 10 * len(images),
            "num_deep": 0,
            "split": "train",
            "num_turns": len(sample["turns"]),
            "sample_row": f"{at}.0",
        }
        rows.append(usual | {name: value for name, value in sample.items() if name != "turns"})
    names = pl.List(pl.String)
    schema = {"at": pl.Int64, "sample": pl.UInt64, "images": names, "sizes": pl.List(SIZE), "hashes": names}
    schema |= {
        "image_bytes": pl.Int64,
        "num_deep": pl.UInt32,
        "split": pl.String,
        "num_turns": pl.UInt32,
        "sample_row": pl.String,
    }
    filled = [dict.fromkeys(types) | turn for turn in turns]
    return pl.DataFrame(rows, schema=schema), pl.DataFrame(filled, schema=types)


def finished(ids: Iterable[str], images: int = 1, source: str = "src") -> pa.Table:
    """Finished rows without pixels, whose images are called ``<id>-0.jpg``, ``<id>-1.jpg`` and so on."""
    rows = [
        {
            "id": f"{source}/{name}",
            "images": [{"bytes": None, "path": f"{name}-{n}.jpg"} for n in range(images)],
            "image_sizes": [{"width": 4, "height": 3}] * images,
            "messages": [{"role": "user", "content": [{"type": "text", "text": f"what is {name}?"}]}],
            "source": source,
            "task": "vqa_open",
            "split": "train",
            "turns": [],
            "num_text_chars": 9,
        }
        for name in ids
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema())


def piece(store: Store, key: str, table: pa.Table, hashes: list[str | None], image_bytes: list[int] | int = 10) -> str:
    """Keep finished rows as a piece; returns its key."""
    sizes = image_bytes if isinstance(image_bytes, list) else [image_bytes] * table.num_rows
    with store.write("pieces", key, PIECE) as path, path.open("wb") as file:
        write_stream(table, file)
    with store.write("pieces", key, NOTE) as path:
        path.write_text(json.dumps({"hashes": hashes, "image_bytes": sizes}))
    return key


def rows_of_stream(path: Path) -> list[dict[str, Any]]:
    """The rows of a piece or a block, after checking that they are one batch of the one schema."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        batches = list(reader)
        assert len(batches) == 1
        assert reader.schema.equals(arrow_schema(), check_metadata=True)
        rows: list[dict[str, Any]] = batches[0].to_pylist()
    return rows
