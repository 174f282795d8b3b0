"""What the stand-in writers share: scenes, images under native names, and JSON with the same bytes every time."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vldata.shapes.draw import save
from vldata.shapes.scene import Scene, scene


def keys_for(path: Path, image_root: Path | None = None) -> dict[str, Any]:
    """The recipe keys that read a stand-in back."""
    roots = {} if image_root is None else {"image_root": str(image_root.resolve())}
    return {"path": str(path.resolve()), **roots}


def scenes_for(rows: int, per_scene: int, seed: int, side_px: int = 224) -> Iterator[Scene]:
    """Scenes 0, 1, 2 … until ``rows`` rows are reached when each gives at least ``per_scene``.

    Args:
        per_scene: Rows that a scene surely gives; 1 where that varies and the caller stops by itself.
        side_px: Side of the square images.
    """
    return (scene(number, seed=seed, side_px=side_px) for number in range(-(-rows // per_scene)))


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
