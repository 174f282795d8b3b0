"""A plan kept in the store is the plan that was worked out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.tables import finished
from vldata.pipeline.plan_record import Block, Plan, SourceReport, recall, remember
from vldata.pipeline.row_shards import Shard
from vldata.pipeline.write_blocks import SourceImages
from vldata.store.blocks import write_block
from vldata.store.store import Store

REPORT = SourceReport(
    rows_in=9,
    rows_out=5,
    filtered=3,
    rejected=1,
    not_chosen=0,
    repeats=2,
    requested_share=0.5,
    epochs=1.4,
    achieved={"samples": 7, "images": 6, "turns": 7, "answer_chars": 40},
    short=0,
    reasons={"where": 3, "no_image": 1},
    task="vqa_open",
    format="table",
    licence="CC0",
    templates="vqa_open.jinja@1",
)
LEDGER = pl.DataFrame({"row": ["a", "b"], "reason": ["where", "no_image"]})


@pytest.fixture
def plan(store: Store) -> Plan:
    block = Block("aa", "src", "train", 2, 20, 1000)
    return Plan(
        "plan",
        [block, Block("bb", None, "val", 1, 10, 0), block],
        {"src": REPORT},
        store.path("plans", "plan", ".ledger.parquet"),
        {"src": {"/data/rows.jsonl": "d1"}},
        {"src": "vqa_open.jinja@1"},
        {"src": SourceImages("/data", 336, decode=True), "text": SourceImages(None, None)},
        {"bb": Shard("bb", "val", [("p1", 4), ("p2", 0)], 10)},
        ["src runs short"],
    )


def test_a_remembered_plan_and_its_ledger_are_what_they_were(store: Store, plan: Plan) -> None:
    remember(plan, LEDGER, store)
    assert recall("plan", store) == plan
    assert pl.read_parquet(plan.ledger).equals(LEDGER)


def test_another_key_is_not_remembered(store: Store, plan: Plan) -> None:
    remember(plan, LEDGER, store)
    assert recall("other", store) is None


def test_blocks_that_were_written_while_planning_are_nothing_new_later(store: Store, plan: Plan) -> None:
    remember(replace(plan, num_new_blocks=2), LEDGER, store)
    assert recall("plan", store) == plan


def test_the_plan_says_that_its_ledger_is_there(store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: pl.DataFrame, path: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fails)
    with pytest.raises(OSError, match="no space left"):
        remember(plan, LEDGER, store)
    assert recall("plan", store) is None


def test_a_missing_block_is_named_once(store: Store, plan: Plan) -> None:
    assert [block.key for block in plan.missing(store)] == ["aa", "bb"]
    write_block(finished("xy"), "aa", store)
    assert [block.key for block in plan.missing(store)] == ["bb"]


def test_the_names_on_disk_stay(store: Store, plan: Plan) -> None:
    remember(plan, LEDGER, store)
    kept = json.loads(store.path("plans", "plan", ".json").read_text())
    names = "key blocks sources ledger inputs templates pictures shards notes num_new_blocks"
    assert set(kept) == set(names.split())
