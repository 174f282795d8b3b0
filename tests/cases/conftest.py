"""Small inputs in the forms in which trouble was reported with such files, built as a user builds them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import polars as pl
import pytest

import vldata
from vldata.errors import VldataError

INPUTS = Path(__file__).parent / "inputs"


class Case(NamedTuple):
    """What a build of one recipe gave.

    Args:
        texts: Sample id without the source's name -> its messages, ``role: text`` joined by ``|``, images as ``<IMG>``.
        samples: Sample id without the source's name -> the whole finished row.
        ledger: Row -> reason.
        details: Row -> detail of its ledger line.
        notes: What the build says of the whole.
        error: What the build said when it could not be; None of a build.
        out: The build's folder.
    """

    texts: dict[str, str]
    samples: dict[str, dict[str, Any]]
    ledger: dict[str, str]
    details: dict[str, str]
    notes: list[str]
    error: str | None
    out: Path


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Case]:
    """Build ``recipe`` of the input ``name`` in a copy of its folder."""

    def build(name: str, recipe: str = "recipe.yaml", prepare: Callable[[Path], object] | None = None) -> Case:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(INPUTS / name, folder)
        if prepare is not None:
            prepare(folder)
        monkeypatch.chdir(folder)
        out = folder / f"out-{recipe.removesuffix('.yaml')}"
        try:
            built = vldata.build(vldata.load(recipe), out, store=folder / "store", workers=1)
        except VldataError as error:
            return Case({}, {}, {}, {}, [], str(error), out)
        found = vldata.open_dataset(out)
        splits = found.values() if isinstance(found, datasets.DatasetDict) else [found]
        samples = {row["id"].partition("/")[2]: row for split in splits for row in split}
        ledger = pl.read_parquet(out / "ledger.parquet")
        reasons = dict(ledger.select("row", "reason").iter_rows())
        details = dict(ledger.select("row", "detail").iter_rows())
        return Case(
            {k: _text(row) for k, row in samples.items()}, samples, reasons, details, built.manifest["notes"], None, out
        )

    return build


def _text(row: dict[str, Any]) -> str:
    def said(content: Any) -> str:
        if isinstance(content, str):
            return content
        return "".join("<IMG>" if part["type"] == "image" else part["text"] for part in content)

    return " | ".join(f"{message['role']}: {said(message['content'])}" for message in row["messages"])
