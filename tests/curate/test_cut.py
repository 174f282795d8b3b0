"""Dividing a table: what stays, and why the rest does not."""

from __future__ import annotations

import polars as pl

from vldata.curate.cut import LEDGER, Drop, cut

TURNS = pl.DataFrame({"row": ["a", "b", "c"], "n": [1, 2, None]})


def test_the_first_ground_is_the_one_in_the_ledger_even_when_its_detail_is_null() -> None:
    kept, dropped = cut(
        TURNS,
        [
            Drop("where", pl.col("n") > 1, pl.lit(None)),
            Drop("excluded", pl.col("n") > 0, pl.format("n is {}", "n")),
        ],
    )
    assert kept["row"].to_list() == ["c"]
    assert dropped.rows() == [("a", "excluded", "n is 1"), ("b", "where", None)]
    assert dropped.schema == LEDGER


def test_an_unknown_condition_keeps_the_turn() -> None:
    kept, _ = cut(TURNS, [Drop("where", pl.col("n").is_null() & None, pl.lit(""))])
    assert kept.equals(TURNS)


def test_no_ground_drops_nothing() -> None:
    kept, dropped = cut(TURNS, [])
    assert kept.equals(TURNS)
    assert dropped.schema == LEDGER


def test_a_table_without_rows_passes() -> None:
    kept, dropped = cut(TURNS.clear(), [Drop("where", pl.lit(True), pl.lit("x"))])
    assert (kept.height, dropped.height) == (0, 0)
