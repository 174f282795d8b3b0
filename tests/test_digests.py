"""The promise "same input, same bytes", as literals: block keys and digests of every bundled recipe.

A change that means to leave datasets alone leaves these alone. One that means to change them says so under "Breaking
for datasets" in the changelog, and writes ``golden/digests.json`` with ``python tests/test_digests.py``.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from vldata import build, bundled
from vldata.recipe.load import load
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene

GOLDEN = Path(__file__).parent / "golden" / "digests.json"
RECIPES = sorted(path.stem for path in bundled("recipes").glob("*.yaml"))
BUILDS: dict[str, dict[str, Any]] = {
    **{name: {"standin": 60} for name in RECIPES},
    "quickstart --limit 400": {"limit": 400},
}
DRAWN = {
    ".jpg": "e42b0a703b3b94a2",
    ".png": "fe80e11e811aa4fb",
}
"""A scene as the image library encodes it; where another version of it writes other bytes, all digests are others."""

Blocks = list[list[str]]


def blocks_of(name: str, folder: Path) -> Blocks:
    """The ``[split, source, key, digest]`` of every block of a build, in its order."""
    built = build(load(name.split()[0]), folder / "out", store=folder / "store", workers=1, **BUILDS[name])
    return [[block["split"], block["source"], block["key"], block["digest"]] for block in built.manifest["blocks"]]


@pytest.mark.parametrize("name", BUILDS)
def test_the_blocks_of_bundled_recipes_are_these(name: str, tmp_path: Path) -> None:
    drawn = {suffix: hashlib.sha256(encoded(scene(0, seed=0), suffix=suffix)).hexdigest()[:16] for suffix in DRAWN}
    if drawn != DRAWN:
        pytest.skip("this version of Pillow encodes images into other bytes than the one the literals were made with")
    assert blocks_of(name, tmp_path) == json.loads(GOLDEN.read_text())[name]


def test_there_are_literals_for_these_builds_and_no_other() -> None:
    assert json.loads(GOLDEN.read_text()).keys() == BUILDS.keys()


def write_golden() -> None:
    """Write the literals, a block a line."""
    texts = []
    for name in BUILDS:
        with tempfile.TemporaryDirectory() as folder:
            lines = ",\n".join(f"  {json.dumps(block)}" for block in blocks_of(name, Path(folder)))
        texts.append(f" {json.dumps(name)}: [\n{lines}\n ]")
    GOLDEN.write_text("{\n" + ",\n".join(texts) + "\n}\n")


if __name__ == "__main__":
    write_golden()
