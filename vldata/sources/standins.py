"""What the stand-in writers share: scenes, images under native names, and JSON with the same bytes every time."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vldata.shapes.draw import save
from vldata.shapes.scene import Px, Scene, scene


def keys_for(path: Path, image_root: Path | None = None) -> dict[str, Any]:
    """The recipe keys that read a stand-in back."""
    roots = {} if image_root is None else {"image_root": str(image_root.resolve())}
    return {"path": str(path.resolve()), **roots}


def written(path: Path, document: Any, image_root: Path | None = None) -> dict[str, Any]:
    """Write a stand-in's one file, JSON lines where its suffix says so; the keys that read it back."""
    (write_json_lines if path.suffix == ".jsonl" else write_json)(path, document)
    return keys_for(path, image_root)


def scenes_for(rows: int, per_scene: int | Callable[[Scene], int], seed: int, side_px: int = 224) -> Iterator[Scene]:
    """Scenes 0, 1, 2 … until ``rows`` rows are reached.

    Args:
        per_scene: Rows that a scene surely gives, or what counts those of one; 1 where the caller stops by itself.
        side_px: Side of the square images.
    """
    least, said = (1 if callable(per_scene) else per_scene), 0
    for number in range(-(-rows // least)):
        about = scene(number, seed=seed, side_px=side_px)
        yield about
        said += per_scene(about) if callable(per_scene) else 0
        if said >= rows:
            return


def drawn(
    scenes: Iterable[Scene], folder: Path, name: str, images: bool, *, first: int = 1
) -> Iterator[tuple[Scene, str]]:
    """Scenes, each with the name of its image, which is written below a folder unless ``images`` is false.

    Args:
        name: A format of the scene's number, in which scene 0 has the number ``first``.
    """
    for about in scenes:
        file = name.format(about.number + first)
        if images:
            draw(folder, file, about)
        yield about, file


def messages(exchanges: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Questions and answers as messages of LLaVA and ShareGPT."""
    return [
        {"from": who, "value": said} for pair in exchanges for who, said in zip(("human", "gpt"), pair, strict=True)
    ]


def coco_image(scene: Scene, name: str) -> dict[str, Any]:
    """The image of a scene as a row of COCO's ``images``."""
    return {"id": scene.number + 1, "file_name": name, "width": scene.width, "height": scene.height}


def xywh(box: Px) -> list[float]:
    """Left, top, width and height of a box."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def draw(folder: Path, name: str, scene: Scene) -> None:
    """Write the image of a scene as ``folder/name``, in the format of the name's suffix; makes the folders."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save(scene, path)


def write_json(path: Path, value: Any) -> None:
    """One compact JSON document; gzip when the name ends in ``.gz``."""
    _write(path, json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """One compact JSON document a line; gzip when the name ends in ``.gz``."""
    _write(path, "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = text.encode()
    path.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)
