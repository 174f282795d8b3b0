"""Where `vldata check` finds nothing to stop at, a build does not stop."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

import vldata
from tests.cases.conftest import INPUTS
from vldata.errors import VldataError
from vldata.pipeline.check import check

RECIPES = sorted(path.relative_to(INPUTS).as_posix() for path in INPUTS.glob("*/recipe*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_fine_for_check_is_built(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, file = recipe.partition("/")
    folder = tmp_path / name
    shutil.copytree(INPUTS / name, folder)
    monkeypatch.chdir(folder)
    for path in (path for path in folder.rglob("*.*") if path.suffix in (".json", ".jsonl", ".yaml")):
        path.write_bytes(path.read_bytes().replace(b"@ROOT@", str(folder).encode()))
    if name.startswith("26-"):
        (folder / "pics").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), "red").save(folder / "pics" / "a.jpg")
    try:
        check(vldata.load(file))
    except VldataError:
        return
    vldata.build(vldata.load(file), folder / "out", store=folder / "store", workers=1)
