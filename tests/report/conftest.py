"""A build whose texts mean harm and whose boxes are painted on the images, and a browser to look at its page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from vldata import build
from vldata.pipeline.build import Built
from vldata.recipe.load import from_tree
from vldata.report.build_page import write_build_page

BLUE = (20, 60, 235)
RLO = "\u202e"
HOSTILE = (
    "<script>document.title='hit'; alert(1)</script>",
    "<img src='https://example.com/x.png' onerror='alert(2)'>",
    "{{ 7 * 191 }} {% raw %} ${7*191}",
    f"a {RLO}desrever\u2066 text\x07 with\u200b odd ones",
    "</style></svg></bdi></article><h1>out</h1>",
    "مرحبا بالعالم",
)


def _save_image(path: Path, size: tuple[int, int], boxes: list[tuple[int, int, int, int]], turn: int = 1) -> None:
    """White, each box filled blue; stored turned when ``turn`` is an Exif orientation."""
    image = Image.new("RGB", size, "white")
    for x, y, w, h in boxes:
        ImageDraw.Draw(image).rectangle((x, y, x + w - 1, y + h - 1), fill=BLUE)
    exif = Image.Exif()
    if turn == 6:  # a viewer turns it a quarter to the right
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6
    image.save(path, quality=95, exif=exif)


def corpus(folder: Path) -> dict[str, Any]:
    """Sources over images with painted boxes, and over texts that mean harm."""
    image_folder = folder / "images"
    image_folder.mkdir(parents=True)
    shapes = {
        "wide.jpg": ((640, 360), [(40, 50, 200, 120)]),
        "tall.png": ((300, 500), [(100, 300, 150, 90)]),
        "turned.jpg": ((480, 320), [(300, 30, 100, 200)]),
        "small.png": ((64, 64), [(8, 40, 40, 16)]),
        "large.jpg": ((2000, 1500), [(1000, 100, 700, 900)]),
    }
    images, annotations = [], []
    for number, (name, (size, boxes)) in enumerate(shapes.items()):
        _save_image(image_folder / name, size, boxes, 6 if name == "turned.jpg" else 1)
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        for box in boxes:
            at = {"bbox": list(box), "category_id": number + 1, "iscrowd": 0, "area": box[2] * box[3]}
            annotations.append({"id": len(annotations), "image_id": number, **at})
    names = [{"id": i + 1, "name": text} for i, text in enumerate(HOSTILE)]
    coco = folder / "instances.json"
    coco.write_text(json.dumps({"images": images, "annotations": annotations, "categories": names}))
    rows = [
        {"id": f"row {i} {text}", "img": "wide.jpg", "q": text, "a": f"{text} again", HOSTILE[1]: i}
        for i, text in enumerate(HOSTILE)
    ]
    rows += [
        {"id": text, "img": f"{text[:9]}.png".replace("/", ""), "q": "is it there?", "a": "no"} for text in HOSTILE
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"row": "id", "images": "img", "question": "q", "answer": "a"}
    return {
        "boxes": {"format": "coco_instances", "path": str(coco), "image_root": str(image_folder), "task": "rec"},
        "shrunk": {
            "format": "coco_instances",
            "path": str(coco),
            "image_root": str(image_folder),
            "task": "reg",
            "images": {"max_side_px": 200},
        },
        "texts": {
            "format": "table",
            "path": str(folder / "rows.jsonl"),
            "image_root": str(image_folder),
            "task": "vqa_open",
            "fields": fields,
            "max_reject_rate": 1.0,
            "conversation": {"max_turns": 1},
        },
        "words": {"format": "shapes", "scenes": 30, "task": "text_instruction"},
        "choices": {"format": "shapes", "scenes": 30, "task": "vqa_mc", "templates": {"prompts": "many"}},
    }


@dataclass(frozen=True)
class Place:
    """A build with its page, and where all of it lies."""

    folder: Path
    tree: dict[str, Any]
    built: Built = field(repr=False)

    @property
    def page(self) -> Path:
        return self.built.out / "report.html"

    def again(self, out: str, **options: Any) -> Built:
        """Build the same into another folder, of another store."""
        return build(from_tree(self.tree), self.folder / out, store=self.folder / f"{out}-store", workers=1, **options)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("report")
    sources = corpus(folder / "corpus")
    tree = {
        "name": "hostile",
        "about": HOSTILE[0],
        "seed": 5,
        "sources": sources,
        "mixture": {"sources": {**{name: {"epochs": 1} for name in sources}, "words": {"epochs": 3}}},
        "splits": {"val": 0.3},
    }
    built = build(from_tree(tree), folder / "out", store=folder / "store", workers=1, finish=write_build_page)
    return Place(folder, tree, built)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; the tests that need it are skipped where there is none.

    Closed with its module: while it is open an event loop runs in this thread, and no other can.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    quiet = ["quic", "background-networking", "component-update", "sync", "gpu"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program,
            args=["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)],
        )
        yield opened
        opened.close()
