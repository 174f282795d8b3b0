"""Mixtures over sizes: counts that are exact, requested repeats, errors that name the source."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import RecipeError, RecipeErrors
from vldata.mixture.models import Mixture
from vldata.mixture.quotas import Quota, quotas

SIZES = {"a": 900, "b": 400, "c": 100}
TASKS = {"a": "vqa", "b": "vqa", "c": "caption"}


def units(raw: dict[str, Any], sizes: dict[str, int] = SIZES) -> dict[str, int]:
    tasks = {name: TASKS.get(name, "t") for name in sizes}
    return {name: quota.units for name, quota in quotas(Mixture.model_validate(raw), sizes, tasks).items()}


def test_without_a_mixture_everything_is_taken_once() -> None:
    assert units({}) == SIZES


def test_without_a_total_it_is_as_large_as_it_can_be_without_repeats() -> None:
    assert units({"strategy": "uniform"}) == {"a": 100, "b": 100, "c": 100}
    assert units({"sources": {"a": 2, "b": 1, "c": 1}}) == {"a": 200, "b": 100, "c": 100}
    assert units({"sources": {"a": 3, "b": 1, "c": 0}}) == {"a": 900, "b": 300, "c": 0}


def test_a_total_is_met_exactly() -> None:
    assert units({"total": 100, "sources": {"a": 1, "b": 1, "c": 1}}) == {"a": 34, "b": 33, "c": 33}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("proportional", {"a": 90, "b": 40, "c": 10}),
        ("uniform", {"a": 47, "b": 47, "c": 46}),
        ("uniform_tasks", {"a": 35, "b": 35, "c": 70}),
        ("sqrt", {"a": 70, "b": 47, "c": 23}),
        ({"temperature": 2}, {"a": 70, "b": 47, "c": 23}),
        ({"capped": 100}, {"a": 47, "b": 47, "c": 46}),
    ],
)
def test_a_strategy_shares_the_total(strategy: object, expected: dict[str, int]) -> None:
    assert units({"total": 140, "strategy": strategy}) == expected


def test_weights_multiply_down_the_groups() -> None:
    raw = {"total": 120, "sources": {"c": 1, "g": {"weight": 2, "sources": {"a": 3, "b": 1}}}}
    assert units(raw, {"a": 900, "b": 400, "c": 100}) == {"a": 60, "b": 20, "c": 40}


def test_a_group_counts_with_the_size_of_all_its_members() -> None:
    raw = {"total": 140, "sources": {"c": None, "g": {"strategy": "uniform", "sources": ["a", "b"]}}}
    assert units(raw) == {"a": 65, "b": 65, "c": 10}


def test_groups_nest_deeply() -> None:
    raw = {"total": 80, "sources": {"x": {"weight": 1, "sources": {"y": {"weight": 5, "sources": {"a": 1, "z": {
        "weight": 1, "sources": ["b"]}}}}}, "c": 1}}  # fmt: skip
    assert units(raw) == {"a": 20, "b": 20, "c": 40}


def test_uniform_tasks_counts_a_group_of_one_task_with_that_task() -> None:
    raw = {
        "total": 80,
        "strategy": "uniform_tasks",
        "sources": {"c": None, "a": None, "g": {"sources": ["b"]}},
    }
    assert units(raw) == {"a": 20, "b": 20, "c": 40}


def test_counts_are_taken_as_they_stand_and_a_groups_count_is_shared() -> None:
    raw = {"sources": {"c": {"count": 7}, "g": {"count": 20, "sources": {"a": 3, "b": 1}}}}
    assert units(raw) == {"a": 15, "b": 5, "c": 7}


def test_epochs_multiply_the_size_and_may_repeat_because_they_say_so() -> None:
    assert units({"sources": {"a": {"epochs": 0.5}, "b": {"epochs": 1}, "c": {"epochs": 2.5}}}) == {
        "a": 450,
        "b": 400,
        "c": 250,
    }
    assert units({"sources": {"g": {"epochs": 2, "sources": ["a", "b"]}, "c": {"epochs": 0}}}) == {
        "a": 1800,
        "b": 800,
        "c": 0,
    }


def test_half_a_unit_is_taken() -> None:
    assert units({"sources": {"a": {"epochs": 0.5}}}, {"a": 7}) == {"a": 4}


def test_a_quota_says_the_share_and_the_epochs() -> None:
    found = quotas(Mixture.model_validate({"sources": {"a": 3, "b": 1, "c": 0}}), SIZES, TASKS)
    assert found == {"a": Quota(900, 0.75, 1.0), "b": Quota(300, 0.25, 0.75), "c": Quota(0, 0.0, 0.0)}


def test_repeats_need_max_epochs_and_the_error_names_every_source_and_a_way_out() -> None:
    raw = {"total": 1400, "unit": "images", "strategy": "uniform"}
    with pytest.raises(RecipeErrors) as caught:
        units(raw)
    assert [(e.where, e.problem, e.fix) for e in caught.value.errors] == [
        (
            "mixture.sources.b",
            "'b' would give 467 images of 400: 1.17 passes, and max_epochs is 1",
            "set mixture.max_epochs: 1.17, or lower its share, or mixture.total to 300",
        ),
        (
            "mixture.sources.c",
            "'c' would give 466 images of 100: 4.66 passes, and max_epochs is 1",
            "set mixture.max_epochs: 4.66, or lower its share, or mixture.total to 300",
        ),
    ]
    assert units({**raw, "max_epochs": 4.66}) == {"a": 467, "b": 467, "c": 466}


def test_the_offered_total_works() -> None:
    assert units({"total": 300, "strategy": "uniform"}) == {"a": 100, "b": 100, "c": 100}


def test_a_count_beyond_the_source_needs_max_epochs_too() -> None:
    raw: dict[str, Any] = {"sources": {"a": {"count": 1}, "b": {"count": 1}, "c": {"count": 101}}}
    with pytest.raises(RecipeErrors, match=r"mixture\.sources\.c: 'c' would give 101 samples of 100: 1.01 passes"):
        units(raw)
    assert units({**raw, "max_epochs": 2})["c"] == 101


def test_max_epochs_limits_epochs_when_it_is_written() -> None:
    with pytest.raises(RecipeErrors, match="lower its epochs"):
        units({"max_epochs": 2, "sources": {"a": {"epochs": 1}, "b": {"epochs": 1}, "c": {"epochs": 3}}})


def test_a_limit_below_one_pass_is_kept_without_a_total() -> None:
    assert units({"max_epochs": 0.5}) == {"a": 450, "b": 200, "c": 50}


def test_an_emptied_source_gives_nothing_and_the_others_of_its_group_its_share() -> None:
    empty = {"a": 9, "b": 9, "c": 0}
    assert units({"sources": {"a": 1, "b": 1, "c": 2}}, empty) == empty
    assert units({"strategy": "uniform", "total": 10}, empty) == {"a": 5, "b": 5, "c": 0}
    grouped = {"total": 12, "sources": {"a": 2, "g": {"weight": 1, "sources": {"b": 1, "c": 3}}}}
    assert units(grouped, empty) == {"a": 8, "b": 4, "c": 0}
    assert units({"sources": {"a": {"epochs": 1}, "b": {"epochs": 1}, "c": {"epochs": 1}}}, empty) == empty


def test_a_count_of_an_empty_source_is_an_error_that_names_it() -> None:
    with pytest.raises(RecipeErrors, match=r"mixture\.sources\.c: 'c' has count 2 and nothing that could be taken"):
        units({"sources": {"a": {"count": 1}, "b": {"count": 1}, "c": {"count": 2}}}, {"a": 9, "b": 9, "c": 0})


def test_an_empty_source_is_no_trouble_where_size_or_a_0_decides() -> None:
    empty = {"a": 9, "b": 9, "c": 0}
    assert units({}, empty) == empty
    assert units({"strategy": "sqrt"}, empty) == empty
    assert units({"sources": {"a": 1, "b": 1, "c": 0}}, empty) == empty


def test_a_total_over_sources_that_are_all_empty_is_an_error() -> None:
    with pytest.raises(RecipeError, match="5 samples requested, and no source has any"):
        units({"total": 5}, {"a": 0})
    assert units({}, {"a": 0}) == {"a": 0}


def test_a_mixture_that_does_not_fit_the_sources_is_refused_with_all_its_problems() -> None:
    with pytest.raises(RecipeErrors) as caught:
        units({"sources": {"a": 1, "x": 1}})
    assert len(caught.value.errors) == 3


def test_weights_are_the_decimals_as_typed() -> None:
    assert units({"total": 6, "sources": {"a": 0.1, "b": 0.2, "c": 0.3}}) == {"a": 1, "b": 2, "c": 3}


def test_honeybees_thirteen_weights_over_39_give_whole_numbers() -> None:
    weights = dict(zip("abcdefghijklm", [3, 4, 4, 2, 1, 2, 4, 4, 4, 4, 2, 4, 1], strict=True))
    got = units({"total": 3900, "sources": weights}, dict.fromkeys(weights, 10_000))
    assert got == {name: 100 * weight for name, weight in weights.items()}


def test_shares_by_kind_of_45_45_10_are_met() -> None:
    raw = {"total": 1000, "sources": {"a": 45, "b": 45, "c": 10}}
    assert units(raw, dict.fromkeys("abc", 1000)) == {"a": 450, "b": 450, "c": 100}


_weights = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50), min_size=1)
_sizes = st.fixed_dictionaries({name: st.integers(1, 5000) for name in "abcdefgh"})


@given(_weights, _sizes, st.integers(1, 10_000))
def test_units_sum_to_the_total_and_each_is_within_one_of_its_share(
    weights: dict[str, int], sizes: dict[str, int], total: int
) -> None:
    here = {name: sizes[name] for name in weights}
    mixture = Mixture.model_validate({"total": total, "max_epochs": 1e9, "sources": weights})
    found = quotas(mixture, here, dict.fromkeys(here, "t"))
    assert sum(q.units for q in found.values()) == total
    assert all(abs(q.units - q.share * total) < 1 + 1e-6 for q in found.values())
    assert abs(sum(q.share for q in found.values()) - 1) < 1e-9


@given(_weights, _sizes)
def test_without_a_total_nothing_repeats_and_one_more_per_share_would(
    weights: dict[str, int], sizes: dict[str, int]
) -> None:
    here = {name: sizes[name] for name in weights}
    got = units({"sources": weights}, here)
    assert all(got[name] <= here[name] for name in here)
    whole = sum(weights.values())
    assert any((sum(got.values()) + 1) * weight > here[name] * whole for name, weight in weights.items())


@given(_weights, _sizes, st.randoms())
def test_reordering_the_recipe_changes_no_count(weights: dict[str, int], sizes: dict[str, int], random: Any) -> None:
    here = {name: sizes[name] for name in weights}
    names = list(weights)
    random.shuffle(names)
    raw = {"total": 1000, "max_epochs": 1e9}
    shuffled = units({**raw, "sources": {n: weights[n] for n in names}}, {n: here[n] for n in reversed(names)})
    assert shuffled == units({**raw, "sources": weights}, here)


@given(_sizes)
def test_a_group_of_one_is_the_source_itself(sizes: dict[str, int]) -> None:
    alone = units({"total": 50, "max_epochs": 1e9, "sources": dict.fromkeys(sizes, 1)}, sizes)
    grouped = {name.upper(): {"weight": 1, "sources": [name]} for name in sizes}
    assert units({"total": 50, "max_epochs": 1e9, "sources": grouped}, sizes) == alone
