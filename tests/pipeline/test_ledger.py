"""Nothing is lost in silence: rows in = rows out + filtered + rejected + not chosen, or there is no build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from vldata.curate.cut import Cut
from vldata.curate.exclude import ExclusionList
from vldata.errors import BuildError
from vldata.mixture.quotas import Quota
from vldata.pipeline.build import Built
from vldata.pipeline.candidates import REFUSED
from vldata.pipeline.choose import ChosenSamples
from vldata.pipeline.ledger import LEDGER, ledger_of, refuse_too_many_rejects, staged
from vldata.recipe.models import Entry, Settings
from vldata.sources.shapes import Shapes
from vldata.tasks.caption import Caption

ENTRY = Entry("captions", Shapes(), Caption(), Settings())


def dropped(**reasons: str) -> pl.DataFrame:
    """Row -> reason, as a curation step drops it."""
    return pl.DataFrame(list(reasons.items()), schema={"row": pl.String, "reason": pl.String}, orient="row")


def chosen(rows: str, looked_at: pl.DataFrame | None = None, rest: pl.DataFrame | None = None) -> ChosenSamples:
    """One turn for each letter, the refused ones and those that were not needed."""
    found = dropped() if looked_at is None else looked_at
    return ChosenSamples(
        samples=pl.DataFrame(),
        turns=pl.DataFrame({"row": list(rows)}, schema={"row": pl.String}),
        shares={},
        quota=Quota(0, 0.0, 0.0),
        available=0,
        refused=found.select(pl.col(c) if c in found.columns else pl.lit(None, t).alias(c) for c, t in REFUSED.items()),
        rest=dropped() if rest is None else rest,
    )


BEFORE = staged(dropped(a="excluded", b="empty_text"), "captions", "filter")
LOOKED_AT = dropped(c="image_missing")
REST = dropped(d="beyond_count", e="split_full")


def test_a_dropped_row_is_in_the_ledger_with_its_stage_and_what_its_reason_counts_as() -> None:
    ledger = ledger_of(ENTRY, BEFORE, chosen("fgh", LOOKED_AT, REST), rows_in=8)
    assert dict(ledger.schema) == LEDGER
    assert ledger.rows() == [
        ("captions", "a", "filter", "filtered", "excluded", None),
        ("captions", "b", "filter", "rejected", "empty_text", None),
        ("captions", "c", "look", "rejected", "image_missing", None),
        ("captions", "d", "choose", "not_chosen", "beyond_count", None),
        ("captions", "e", "choose", "not_chosen", "split_full", None),
    ]


def test_a_detail_reaches_the_ledger() -> None:
    said = dropped(a="excluded").with_columns(detail=pl.lit("captions/a"))
    assert staged(said, "captions", "exclude")["detail"].to_list() == ["captions/a"]


def test_a_reason_outside_the_closed_list_is_refused() -> None:
    with pytest.raises(pl.exceptions.InvalidOperationError):
        staged(dropped(a="because"), "captions", "filter")


def test_a_source_without_rows_has_an_empty_ledger() -> None:
    assert ledger_of(ENTRY, BEFORE[:0], chosen(""), rows_in=0).rows() == []


@pytest.mark.parametrize(
    ("before", "what_was_chosen", "said"),
    [
        (BEFORE, chosen("fg", LOOKED_AT, REST), "8 turns read, but 2 chosen + 5 in the ledger"),
        (BEFORE[:1], chosen("fgh", LOOKED_AT, REST), "8 turns read, but 3 chosen + 4 in the ledger"),
        (BEFORE, chosen("fgh", None, REST), "8 turns read, but 3 chosen + 4 in the ledger"),
        (BEFORE, chosen("fgh", LOOKED_AT, REST[:1]), "8 turns read, but 3 chosen + 4 in the ledger"),
        (BEFORE[:0], chosen(""), "8 turns read, but 0 chosen + 0 in the ledger"),
    ],
)
def test_a_row_that_is_lost_is_noticed_wherever_it_is_lost(
    before: pl.DataFrame, what_was_chosen: ChosenSamples, said: str
) -> None:
    with pytest.raises(RuntimeError, match=r"sources\.captions: " + said.replace("+", r"\+")):
        ledger_of(ENTRY, before, what_was_chosen, rows_in=8)


@pytest.mark.parametrize(
    ("before", "what_was_chosen"),
    [
        pytest.param(BEFORE, chosen("ffgh", LOOKED_AT, REST), id="chosen twice"),
        pytest.param(pl.concat([BEFORE, BEFORE[:1]]), chosen("fgh", LOOKED_AT, REST), id="dropped twice"),
        pytest.param(BEFORE, chosen("fgh", dropped(c="image_missing", a="image_missing"), REST), id="dropped by two"),
        pytest.param(BEFORE, chosen("fgh", LOOKED_AT, pl.concat([REST, REST[:1]])), id="left over twice"),
        pytest.param(BEFORE, chosen("afgh", LOOKED_AT, REST), id="chosen and filtered"),
        pytest.param(BEFORE, chosen("cfgh", LOOKED_AT, REST), id="chosen and rejected"),
        pytest.param(BEFORE, chosen("dfgh", LOOKED_AT, REST), id="chosen and left over"),
    ],
)
def test_a_row_that_is_doubled_is_noticed_wherever_it_is_doubled(
    before: pl.DataFrame, what_was_chosen: ChosenSamples
) -> None:
    with pytest.raises(RuntimeError, match="8 turns read, but"):
        ledger_of(ENTRY, before, what_was_chosen, rows_in=8)


def test_a_row_dropped_twice_in_the_place_of_a_lost_one_is_noticed() -> None:
    twice = dropped(c="image_missing", a="image_missing")
    with pytest.raises(RuntimeError, match=r"8 turns read, but 2 chosen \+ 6 in the ledger \(7 distinct\)"):
        ledger_of(ENTRY, BEFORE, chosen("fg", twice, REST), rows_in=8)


@pytest.mark.parametrize("rows", ["ffg", "afg"], ids=["chosen twice", "chosen and filtered"])
def test_a_row_chosen_in_the_place_of_a_lost_one_is_noticed(rows: str) -> None:
    with pytest.raises(RuntimeError):
        ledger_of(ENTRY, BEFORE, chosen(rows, LOOKED_AT, REST), rows_in=8)


# Too many rejects


def ledger(filtered: int = 0, rejected: int = 0, not_chosen: int = 0) -> pl.DataFrame:
    reasons = ["excluded"] * filtered + ["image_missing"] * rejected + ["beyond_count"] * not_chosen
    rows = dropped(**{f"r{n}": reason for n, reason in enumerate(reasons)})
    return staged(rows, "captions", "look")


def allowing(rate: float) -> Entry:
    return Entry("captions", Shapes(), Caption(), Settings(max_reject_rate=rate))


@pytest.mark.parametrize(
    ("rate", "counts", "rows_in", "said"),
    [
        (0.01, {"rejected": 1}, 100, None),
        (0.01, {"rejected": 2}, 100, "2 of 100 turns are broken (2.0%; max_reject_rate is 1.0%)"),
        (0.01, {"rejected": 10}, 1_000, None),
        (0.01, {"rejected": 11}, 1_000, "11 of 1,000 turns are broken (1.1%; max_reject_rate is 1.0%)"),
        # those that were not needed were not looked at: 1 of 100, 2 of 100
        (0.01, {"rejected": 1, "not_chosen": 900}, 1_000, None),
        (0.01, {"rejected": 2, "not_chosen": 900}, 1_000, "2 of 100 turns are broken (2.0%"),
        # those that were filtered are
        (0.01, {"rejected": 10, "filtered": 900}, 1_000, None),
        (0.01, {"rejected": 11, "filtered": 900}, 1_000, "11 of 1,000 turns are broken"),
        (0.0, {"rejected": 1}, 1_000_000, "1 of 1,000,000 turns are broken"),
        (0.0, {"filtered": 5}, 5, None),
        (0.5, {"rejected": 2}, 4, None),
        (0.5, {"rejected": 3}, 4, "3 of 4 turns are broken (75.0%; max_reject_rate is 50.0%)"),
        (1.0, {"rejected": 4}, 4, None),
        # nothing was taken of it, and so nothing broken
        (0.01, {"rejected": 4, "not_chosen": 16}, 20, None),
        (0.01, {"rejected": 4, "not_chosen": 15}, 20, "4 of 5 turns are broken"),
        (0.01, {}, 0, None),
    ],
)
def test_the_rate_of_rejects_is_over_the_turns_that_were_looked_at(
    rate: float, counts: dict[str, int], rows_in: int, said: str | None
) -> None:
    problem = refuse_too_many_rejects(allowing(rate), ledger(**counts), rows_in)
    if said is None:
        assert problem is None
    else:
        assert isinstance(problem, BuildError)
        assert problem.where == "sources.captions"
        assert problem.problem.startswith(said)


def test_too_many_rejects_are_reported_with_their_reasons_the_most_frequent_first_and_one_example_each() -> None:
    rows = dropped(a="image_missing", b="empty_text", c="image_missing", d="beyond_count", e="excluded")
    error = staged(rows.with_columns(detail=pl.lit("x" * 200)), "captions", "look")
    problem = refuse_too_many_rejects(allowing(0.5), error, 6)
    assert problem is not None
    assert problem.problem == "\n".join(
        [
            "3 of 5 turns are broken (60.0%; max_reject_rate is 50.0%)",
            "            2  image_missing: the image file does not exist",
            "            1  empty_text: a text that the task needs is empty",
            "  for example",
            f"    a: image_missing ({'x' * 160})",
            f"    b: empty_text ({'x' * 160})",
        ]
    )
    assert "set sources.captions.max_reject_rate: 0.6" in problem.fix


@pytest.mark.parametrize(
    ("rejected", "rows_in", "proposed"),
    [(1, 300, "0.01"), (1, 90, "0.02"), (2, 3, "0.67"), (333, 1_000, "0.34"), (4, 4, "1")],
)
def test_the_rate_that_is_proposed_is_enough(rejected: int, rows_in: int, proposed: str) -> None:
    problem = refuse_too_many_rejects(allowing(0.0), ledger(rejected=rejected), rows_in)
    assert problem is not None and problem.fix.endswith(f"max_reject_rate: {proposed}")
    assert refuse_too_many_rejects(allowing(float(proposed)), ledger(rejected=rejected), rows_in) is None


def test_a_rate_that_is_met_exactly_is_no_more_than_allowed() -> None:
    assert refuse_too_many_rejects(allowing(0.29), ledger(rejected=29), 100) is None


# A step of a real build that breaks the invariant


@pytest.fixture
def captions(small: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A recipe of one source, with an exclusion list: a step that takes rows out."""
    (tmp_path / "takedown.txt").write_text("")
    return {
        **small,
        "sources": {"captions": small["sources"]["captions"]},
        "exclude": str(tmp_path / "takedown.txt"),
    }


def loses_one(self: ExclusionList, source: str, turns: pl.DataFrame) -> Cut:
    return Cut(turns[1:], dropped().with_columns(detail=pl.lit(None, pl.String)))


def doubles_one(self: ExclusionList, source: str, turns: pl.DataFrame) -> Cut:
    return Cut(pl.concat([turns, turns[:1]]), dropped().with_columns(detail=pl.lit(None, pl.String)))


@pytest.mark.parametrize("limit", [None, 5], ids=["all", "limit 5"])
@pytest.mark.parametrize("step", [loses_one, doubles_one])
def test_a_step_that_loses_or_doubles_a_row_stops_the_build(
    run: Callable[..., Built],
    captions: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Callable[..., Cut],
    limit: int | None,
) -> None:
    monkeypatch.setattr(ExclusionList, "rows", step)
    with pytest.raises(RuntimeError, match=r"sources\.captions: \d+ turns read, but \d+ chosen \+ \d+ in the ledger"):
        run(captions, limit=limit)
    assert not (tmp_path / "out").exists()


def test_the_same_build_with_sound_steps_goes_through(run: Callable[..., Built], captions: dict[str, Any]) -> None:
    assert run(captions).manifest["sources"]["captions"]["rows_out"] > 5
