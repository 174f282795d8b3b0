"""Nothing is spent that was not reserved, and no process forgets what another spent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import StoreError
from vldata.llm import ledger as llm_ledger
from vldata.llm.budget import Budget, BudgetLimits, Spending, open_budget, read_ledger
from vldata.llm.prices import (
    IMAGE_TOKENS,
    Price,
    Size,
    Usage,
    max_output_tokens,
    size_of,
    to_usd,
    usage_of,
)
from vldata.llm.request import Request, image_part

PRICE = Price(input_usd_per_mtok=2.5, output_usd_per_mtok=10, cached_input_usd_per_mtok=1.25, batch_factor=0.5)


def test_an_answer_costs_its_tokens_at_their_prices() -> None:
    assert PRICE.cost_usd(Usage(1_000_000, 100_000)) == 3.5
    assert PRICE.cost_usd(Usage(1_000_000, 100_000, cached_tokens=400_000)) == 3.0
    assert PRICE.cost_usd(Usage(1_000_000, 100_000), is_batch=True) == 1.75


def test_a_batch_without_a_factor_has_no_known_price() -> None:
    price = Price(input_usd_per_mtok=1, output_usd_per_mtok=1)
    assert price.cost_usd(Usage(1, 1), is_batch=True) is None
    assert price.ceiling_usd(Size(1, 1, 1), is_batch=True) is None


@given(st.text(max_size=200), st.integers(0, 4), st.sampled_from(["low", "high"]))
def test_no_text_has_more_tokens_than_its_ceiling(text: str, images: int, detail: str) -> None:
    content = [{"type": "text", "text": text.encode("utf-8", "ignore").decode()}]
    content += [image_part("0" * 32, detail=detail)] * images
    size = size_of(Request("e", "m", ({"role": "user", "content": content},), {"max_tokens": 7}))
    tokens_at_worst = len(text.encode("utf-8", "ignore")) + 7 + images * IMAGE_TOKENS  # a token a byte, 7 for the role
    assert size.input_ceiling >= tokens_at_worst
    assert size.output_ceiling == 7 and size.input_expected <= size.input_ceiling


def test_a_price_list_says_how_many_tokens_an_image_takes() -> None:
    request = Request("e", "m", ({"role": "user", "content": [image_part("0" * 32)]},))
    price = Price(input_usd_per_mtok=1, output_usd_per_mtok=1, image_tokens=1_000)
    assert size_of(request).input_ceiling - size_of(request, price).input_ceiling == IMAGE_TOKENS - 1_000


def test_without_a_largest_answer_there_is_no_ceiling() -> None:
    size = size_of(Request("e", "m", ({"role": "user", "content": "?"},)), PRICE)
    assert (size.output_ceiling, size.ceiling, PRICE.ceiling_usd(size)) == (None, None, None)
    assert max_output_tokens({"max_tokens": 5, "max_completion_tokens": 9}) == 9
    assert max_output_tokens({"max_tokens": True}) is None
    assert max_output_tokens({"max_tokens": 0}) is None


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 1},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
    ],
)
def test_a_usage_that_cannot_be_is_none(usage: object) -> None:
    assert usage_of({"usage": usage}) is None


def test_usage_is_read_with_what_was_cached() -> None:
    details = {"cached_tokens": 4}
    reply = {"usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": details}}
    assert usage_of(reply) == Usage(9, 2, 4)
    reply["usage"]["prompt_tokens_details"] = None  # type: ignore[assignment]
    assert usage_of(reply) == Usage(9, 2, 0)


@given(
    st.integers(0, 10**13),
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**4), st.floats(0, 1), st.booleans()), max_size=30),
)
def test_spent_and_reserved_never_pass_a_limit(cap: int, attempts: list[tuple[int, int, float, bool]]) -> None:
    budget = Budget(BudgetLimits(max_usd=to_usd(cap), max_tokens=10**5, max_requests=20))
    kept = []
    for pico, tokens, share, settles in attempts:
        reserved = budget.reserve(pico, tokens)
        assert budget.spent.usd + to_usd(budget._reserved_pico) <= to_usd(cap) * (1 + 1e-12)
        assert budget.spent.requests + budget.num_reserved <= 20
        if reserved is None:
            assert budget.lacking(pico, tokens)
        elif settles:
            budget.settle(reserved, int(pico * share), int(tokens * share))
        else:
            kept.append((reserved, pico))
    for reserved, _ in kept:
        budget.settle(reserved, None, None)
    assert budget.num_reserved == 0 and budget._reserved_pico == 0
    assert budget.spent.in_doubt_pico == sum(pico for _, pico in kept)
    assert budget.spent.pico <= cap and budget.spent.tokens <= 10**5


def test_what_a_server_did_not_confirm_is_spent_in_full_and_in_doubt() -> None:
    budget = Budget(BudgetLimits(max_usd=1.0))
    one, other = budget.reserve(600, 50), budget.reserve(300, 20)
    assert one and other
    budget.settle(one, None, None)
    budget.settle(other, 100, 7)
    assert budget.spent == Spending(pico=700, in_doubt_pico=600, tokens=57, requests=2)


def test_an_attempt_of_unknown_price_is_counted_as_such_and_not_as_free() -> None:
    budget = Budget(BudgetLimits())
    kept = budget.reserve(None, None)
    assert kept
    budget.settle(kept, None, 12)
    assert budget.spent == Spending(tokens=12, requests=1, unpriced=1)


def test_an_attempt_that_no_limit_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown price"):
        Budget(BudgetLimits(max_usd=1.0)).reserve(None, 5)
    with pytest.raises(ValueError, match="unknown length"):
        Budget(BudgetLimits(max_tokens=10)).reserve(5, None)


def test_a_reservation_given_back_leaves_nothing() -> None:
    budget = Budget(BudgetLimits(max_requests=1))
    kept = budget.reserve(5, 5)
    assert kept and budget.reserve(5, 5) is None
    budget.release(kept)
    assert budget.spent == Spending() and budget.reserve(5, 5)


def test_a_ledger_carries_what_was_spent_to_the_next_run(tmp_path: Path) -> None:
    ledger = tmp_path / "deep" / "ledger"
    for run in range(3):
        with open_budget(BudgetLimits(max_requests=5), ledger) as budget:
            assert budget.spent.requests == run * 2
            for _ in range(2):
                if kept := budget.reserve(10, 3):
                    budget.settle(kept, 4, 2)
            assert budget.spent.requests == min(5, run * 2 + 2)
    with open_budget(BudgetLimits(max_requests=5), ledger) as budget:
        assert budget.spent == Spending(pico=20, tokens=10, requests=5)
        assert budget.lacking(10, 3) == "max_requests"


def test_a_reservation_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    code = f"""
import os, signal
from pathlib import Path
from vldata.llm.budget import BudgetLimits, open_budget
with open_budget(BudgetLimits(), Path({str(ledger)!r})) as budget:
    first, second = budget.reserve(1000, 10), budget.reserve(500, 5)
    budget.settle(first, 200, 4)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert read_ledger(ledger) == Spending(pico=700, in_doubt_pico=500, tokens=9, requests=2)
    with open_budget(BudgetLimits(max_usd=to_usd(1000)), ledger) as budget:
        assert budget.reserve(301, 1) is None
        assert budget.reserve(300, 1)


def test_a_line_cut_off_anywhere_never_makes_it_look_as_if_less_was_spent(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with open_budget(BudgetLimits(), ledger) as budget:
        kept = budget.reserve(1000, 10)
        assert kept
        after_reserve = ledger.stat().st_size
        budget.settle(kept, 200, 4)
    whole = ledger.read_bytes()
    for size in range(after_reserve, len(whole)):
        ledger.write_bytes(whole[:size])
        assert read_ledger(ledger).pico == 1000
    ledger.write_bytes(whole)
    assert read_ledger(ledger).pico == 200


def test_a_ledgers_name_is_on_the_disk_before_anything_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(llm_ledger, "flush", flushed.append)
    with open_budget(BudgetLimits(), tmp_path / "ledger"):
        assert flushed == [tmp_path]


def test_a_damaged_ledger_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.write_text('{"carried": {"pico": 5}}\nrubbish\n')
    with pytest.raises(StoreError, match=r"ledger:2: is damaged"), open_budget(BudgetLimits(), ledger):
        pass
    assert "rubbish" in ledger.read_text()


def test_two_processes_do_not_draw_on_one_ledger(tmp_path: Path) -> None:
    with (
        open_budget(BudgetLimits(), tmp_path / "ledger"),
        pytest.raises(StoreError, match=f"process {os.getpid()} is using it"),
        open_budget(BudgetLimits(), tmp_path / "ledger"),
    ):
        pass


def test_an_error_inside_is_not_taken_for_one_of_the_ledger(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_budget(BudgetLimits(), tmp_path / "ledger"):
        (tmp_path / "nothing").read_text()


def test_a_full_disk_is_reported_and_nothing_is_reserved() -> None:
    handle = os.open("/dev/full", os.O_WRONLY)
    try:
        budget = Budget(BudgetLimits(max_usd=1.0), handle=handle, path=Path("/dev/full"))
        with pytest.raises(StoreError, match="no space left"):
            budget.reserve(5, 5)
        assert (budget.num_reserved, budget._reserved_pico) == (0, 0)
    finally:
        os.close(handle)
