"""The columns of turns, step by step, are those that the table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import box, columns_of, entry, facts_of
from vldata.mixture.models import Mixture
from vldata.pipeline.choose import Pool, choose
from vldata.pipeline.index import IndexedTurns, keyed_turns
from vldata.pipeline.screen import ScreenedTurns, ScreenJob, grouped, screen
from vldata.schema.turns import COLUMNS_AFTER, COMMON, DERIVED
from vldata.store.store import open_store

TURNS: dict[str, dict[str, Any]] = {
    "vqa_open": {"question": "what?", "answer": "a cat"},
    "rec": {"phrase": "a cat", "boxes": [box(0, 0, 10, 10)]},
}


@pytest.mark.parametrize("task", TURNS)
def test_every_step_has_the_columns_of_the_table(tmp_path: Path, task: str) -> None:
    source, own = entry(task), columns_of(task)

    def types_after(step: str, **more: Any) -> dict[str, Any]:
        return {name: {**COMMON, **DERIVED}[name] for name in COLUMNS_AFTER[step].split()} | more

    given = pl.DataFrame(
        [{"images": ["a.jpg"], **TURNS[task]}], schema={"images": pl.List(pl.String), **own}, strict=False
    )
    turns = keyed_turns(given, source.task, where="here")
    assert dict(turns.schema) == types_after("index", **own)

    turns.write_parquet(tmp_path / "turns.parquet")
    job = ScreenJob(source, IndexedTurns("key", tmp_path / "turns.parquet", {}, 1), group=False)
    screened = screen(job, store=open_store(tmp_path / "store"), seed=7)
    assert isinstance(screened, ScreenedTurns)
    left = pl.read_ipc(screened.turns)
    assert dict(left.schema) == types_after("screen", **own)

    samples = grouped(left, source)
    assert dict(samples.schema) == types_after("group", **own)

    pool = Pool(source, samples, lambda refs: facts_of(refs), 7, {"train": 1.0}, frozenset(), "samples")
    for amount in (1, 0):
        chosen = choose({"src": pool}, Mixture.model_validate({"total": 1, "sources": {"src": 1}}), amount)["src"]
        assert chosen.turns.height == amount
        assert dict(chosen.turns.schema) == types_after("choose, with boxes" if "boxes" in own else "choose", **own)
        assert dict(chosen.samples.schema) == types_after("choose, samples")
