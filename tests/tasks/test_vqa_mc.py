"""Multiple choice: options move, and the answer with them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.schema.keyed import string_keys
from vldata.tasks.vqa_mc import VqaMc, letter_of, lettered


def turns(choices: list[list[str] | None], answers: list[int | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "key": string_keys(str(i) for i in range(len(choices))),
            "question": ["?"] * len(choices),
            "choices": choices,
            "answer": answers,
            "context": [None] * len(choices),
        },
        schema_overrides={"choices": pl.List(pl.String), "answer": pl.Int64, "context": pl.String},
    )


def right_options(table: pl.DataFrame) -> list[str]:
    return [choices[answer] for choices, answer in table.select("choices", "answer").iter_rows()]


@given(
    rows=st.lists(
        st.lists(st.text(max_size=3), min_size=1, max_size=6).flatmap(
            lambda options: st.tuples(st.just(options), st.integers(0, len(options) - 1))
        ),
        min_size=1,
        max_size=20,
    ),
    seed=st.integers(0, 2**63 - 1),
)
def test_the_letter_points_at_the_same_option_whatever_the_order(rows: list[tuple[list[str], int]], seed: int) -> None:
    before = turns([list(options) for options, _ in rows], [answer for _, answer in rows])
    after = VqaMc().prepare(before, seed=seed, salt="s")
    assert right_options(after) == right_options(before)
    assert [sorted(c) for c in after["choices"].to_list()] == [sorted(c) for c in before["choices"].to_list()]


def test_visiting_a_row_again_and_again_never_corrupts_its_label() -> None:
    table = turns([["a cat", "a dog", "a cow", "a hen"]] * 50, [1] * 50)
    for visit in range(5):
        table = VqaMc().prepare(table, seed=visit, salt="s")
        assert right_options(table) == ["a dog"] * 50


def test_preparing_leaves_its_input_alone() -> None:
    table = turns([["p", "q", "r"]] * 20, [2] * 20)
    copy = table.clone()
    VqaMc().prepare(table, seed=1, salt="s")
    assert table.equals(copy)


def test_a_row_has_the_same_order_in_any_company() -> None:
    table = turns([["p", "q", "r", "s"], ["t", "u"], [], ["v", "w", "x"]] * 10, [0] * 40)
    together = VqaMc().prepare(table, seed=3, salt="s")
    alone = VqaMc().prepare(table[17:18], seed=3, salt="s")
    assert together[17:18].equals(alone)


def test_the_order_depends_on_the_seed_and_the_source() -> None:
    table = turns([["p", "q", "r", "s", "t"]] * 10, [0] * 10)
    orders = {
        str(VqaMc().prepare(table, seed=seed, salt=salt)["choices"].to_list()) for seed in (1, 2) for salt in ("s", "t")
    }
    assert len(orders) == 4


def test_every_order_is_about_as_frequent() -> None:
    table = turns([["p", "q", "r"]] * 6000, [0] * 6000)
    counts = VqaMc().prepare(table, seed=0, salt="s").group_by("choices").len()["len"]
    assert len(counts) == 6
    assert counts.min() > 850 and counts.max() < 1150


PINNED = [["p", "r", "s", "q"], ["p", "r", "s", "q"], ["s", "q", "p", "r"]]


def test_the_order_is_pinned_for_ever() -> None:
    after = VqaMc().prepare(turns([["p", "q", "r", "s"]] * 3, [0, 1, 2]), seed=7, salt="aokvqa")
    assert after["choices"].to_list() == PINNED
    assert after["answer"].to_list() == [row.index("pqr"[i]) for i, row in enumerate(PINNED)]


def test_without_shuffle_nothing_moves() -> None:
    table = turns([["p", "q", "r"]] * 9, [2] * 9)
    assert VqaMc(shuffle=False).prepare(table, seed=1, salt="s").equals(table)


def test_no_options_and_no_answer_stay_as_they_are() -> None:
    after = VqaMc().prepare(turns([None, [], ["p", "q"], ["p", "q"]], [0, None, None, 9]), seed=1, salt="s")
    assert after["choices"].to_list()[:2] == [None, []]
    assert after["answer"].to_list() == [0, None, None, 9]


def test_an_empty_table_can_be_prepared() -> None:
    assert VqaMc().prepare(turns([], []), seed=1, salt="s").height == 0


@pytest.mark.parametrize(
    ("letters", "marks", "second"),
    [
        ("A.", ["A.", "B.", "C."], "B"),
        ("(A)", ["(A)", "(B)", "(C)"], "B"),
        ("1.", ["1.", "2.", "3."], "2"),
        ("a)", ["a)", "b)", "c)"], "b"),
    ],
)
def test_the_letter_of_an_option_is_in_its_mark(letters: str, marks: list[str], second: str) -> None:
    helpers = VqaMc(letters=letters).template_helpers()
    assert helpers["lettered"](["x", "y", "z"]) == list(zip(marks, "xyz", strict=True))
    assert helpers["letter_of"](1) == second


def test_the_27th_option_is_aa() -> None:
    assert [letter_of("A.", i) for i in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]
    assert lettered("(A)", ["x"] * 27)[-1] == ("(AA)", "x")


def test_an_option_before_the_first_does_not_exist() -> None:
    with pytest.raises(ValueError, match="option -1"):
        letter_of("A.", -1)


def test_broken_rows_are_distinguished() -> None:
    table = turns([["a", "b"], ["a"], ["a", "b"], ["a", "b"], ["a", " "], ["a", "b", "a "]], [1, 0, 2, -1, 0, 0])
    found = table.select(**VqaMc.rejects())
    assert found.to_dict(as_series=False) == {
        "too_few_choices": [False, True, False, False, False, False],
        "answer_out_of_range": [False, False, True, True, False, False],
        "empty_text": [False, False, False, False, True, False],
        "equal_choices": [False, False, False, False, False, True],
    }


def test_keys_next_to_each_other_do_not_share_an_order() -> None:
    table = turns([["p", "q", "r", "s"]] * 200, [0] * 200).with_columns(key=np.arange(200, dtype=np.uint64))
    assert len({tuple(row) for row in VqaMc().prepare(table, seed=0, salt="")["choices"].to_list()}) == 24
