"""Build folders made by hand: what an export reads, without the pipeline that writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vldata.schema.rows import arrow_schema
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene

Row = dict[str, Any]
MakeBuild = Callable[[Mapping[str, Sequence[Sequence[Row]]]], Path]

SAID = [{"type": "text", "text": "a circle"}]


@pytest.fixture(scope="session")
def image() -> Callable[[int, str], bytes]:
    """The encoded image of a scene, by its number and suffix."""
    return lambda number, suffix: encoded(scene(number, seed=0, side_px=96), suffix=suffix)


@pytest.fixture
def jpeg(image: Callable[[int, str], bytes]) -> bytes:
    return image(0, ".jpg")


@pytest.fixture
def png(image: Callable[[int, str], bytes]) -> bytes:
    return image(1, ".png")


@pytest.fixture
def make_build(tmp_path: Path) -> MakeBuild:
    """Write a build folder from split -> blocks -> rows; columns that a row leaves out have plain values."""

    def make(splits: Mapping[str, Sequence[Sequence[Row]]]) -> Path:
        folder = tmp_path / "build"
        blocks = []
        for split, of_split in splits.items():
            (folder / split).mkdir(parents=True)
            for number, rows in enumerate(of_split):
                file = f"{split}/data-{number:05d}-of-{len(of_split):05d}.arrow"
                full = [{**plain(row["id"], row.get("images", ())), "split": split, **row} for row in rows]
                table = pa.Table.from_pylist(full, schema=arrow_schema()).combine_chunks()
                with pa.ipc.new_stream(str(folder / file), table.schema) as writer:
                    writer.write_table(table)
                unused = {"key": file, "digest": "0", "size_bytes": 1}
                blocks.append({"file": file, "split": split, "source": "hand", "rows": len(rows), **unused})
        source = {"format": "table", "task": "vqa_open", "licence": "MIT | CC0", "achieved": {"samples": 2}}
        manifest = {"name": "tiny", "plan": "0", "ledger": "0", "sources": {"hand": source}, "totals": {"samples": 2}}
        manifest["recipe"] = {"about": "Two rows."}
        (folder / "manifest.json").write_text(json.dumps({**manifest, "blocks": blocks}))
        return folder

    return make


@pytest.fixture
def talk() -> Callable[..., list[Row]]:
    """``talk("user", [None, "What is it?"], "assistant", ["a circle"])`` -> messages; None is an image."""

    def messages(*said: Any) -> list[Row]:
        pairs = zip(said[::2], said[1::2], strict=True)
        return [{"role": role, "content": [_part(text) for text in texts]} for role, texts in pairs]

    return messages


def _part(text: str | None) -> Row:
    return {"type": "image" if text is None else "text", "text": text}


def plain(sample_id: str, images: Sequence[Mapping[str, Any]]) -> Row:
    """A finished row with one question about its images."""
    content = [{"type": "image", "text": None} for _ in images] + [{"type": "text", "text": "What is it?"}]
    box = {"x0": 0.5, "y0": 1.0, "x1": 20.25, "y1": 30.0, "image": 0, "phrase": None}
    turn = {
        "row": "12",
        "template": "vqa_open.jinja@00",
        "variant": "user",
        "boxes": [box],
        "synthetic": None,
        "weight": 1.0,
    }
    return {
        "id": sample_id,
        "images": list(images),
        "image_sizes": [{"width": 64, "height": 64} for _ in images],
        "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": SAID}],
        "source": "hand",
        "task": "vqa_open",
        "turns": [turn],
        "num_text_chars": 19,
    }
