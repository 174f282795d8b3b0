from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench.verdicts import WORLDS, Ablation, World, ablations, rates
from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.ablation import statistics
from vldata.ablation.statistics import DEFAULT_SEEDS, MIN_SEEDS, VariantScores, base_seeds, compare_all, joined, noise

BY_NAME = {world.name: world for world in WORLDS}


def scores(values: object, clusters: object = None) -> VariantScores:
    array = np.array(values, np.float64)
    return VariantScores(array, np.arange(array.shape[1]) if clusters is None else np.array(clusters))


def drawn(runs: int, items: int, seed: int = 0, shift: float = 0.0, sd: float = 0.01) -> VariantScores:
    """Items of different difficulty, the same for every seed; runs that differ a little."""
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    hard = np.random.Generator(np.random.PCG64(0)).normal(size=items)
    values = hard + sd * (rng.normal(size=(runs, 1)) + rng.normal(size=(runs, items))) + shift
    return scores(values, np.arange(items) // 2)


STUDENT = {  # two-sided tail -> degrees of freedom -> quantile, as printed tables of Student's t have them
    0.5: {1: 1.000, 2: 0.816, 5: 0.727, 10: 0.700, 30: 0.683, 120: 0.677},
    0.10: {1: 6.314, 2: 2.920, 5: 2.015, 10: 1.812, 30: 1.697, 120: 1.658},
    0.05: {1: 12.706, 2: 4.303, 5: 2.571, 10: 2.228, 30: 2.042, 120: 1.980},
    0.01: {1: 63.657, 2: 9.925, 5: 4.032, 10: 3.169, 30: 2.750, 120: 2.617},
    0.001: {1: 636.619, 2: 31.599, 5: 6.869, 10: 4.587, 30: 3.646, 120: 3.373},
}


@pytest.mark.parametrize("tail", STUDENT)
def test_student_quantiles_and_tails_are_those_of_the_tables(tail: float) -> None:
    df, quantiles = (np.array([*column], np.float64) for column in zip(*STUDENT[tail].items(), strict=True))
    assert statistics._student_quantile(tail, df) == pytest.approx(quantiles, abs=0.00051)
    assert statistics._student_tail(quantiles, df) == pytest.approx(tail, rel=0.002)


@pytest.mark.parametrize("df", [1.0, 2.0, 3.0])
def test_student_tails_are_exact_where_they_have_a_closed_form(df: float) -> None:
    t = np.array([0.0, 0.1, 1.0, 3.0, 30.0, 1e4])
    angle = np.arctan(t / np.sqrt(df))
    inside = {1.0: 2 / np.pi * angle, 2.0: np.sin(angle), 3.0: 2 / np.pi * (angle + np.sin(angle) * np.cos(angle))}
    tails = statistics._student_tail(t, np.full(6, df))
    assert tails == pytest.approx(1 - inside[df], rel=1e-9, abs=1e-13)
    assert statistics._student_quantile(float(tails[3]), np.array([df])) == pytest.approx([3.0], rel=1e-9)


#: Hours of sleep gained with two drugs by the same ten patients: the data of Student's paper of 1908.
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)


def test_two_arms_with_spread_between_runs_alone_are_a_t_test() -> None:
    a, b = (scores([[value + hard for hard in (0, 1, 0, 1)] for value in runs]) for runs in SLEEP)
    compared = compare_all({"t": a}, {"v": {"t": b}})["v", "t"]
    assert compared.difference == pytest.approx(1.58)  # of two groups of equal spread: t = 1.8608 with 18 degrees
    assert compared.p_value == pytest.approx(0.07919, abs=5e-6)  # spreads that agree as far as chance would have it
    assert (compared.ci_low, compared.ci_high) == pytest.approx((-0.203874, 3.363874), abs=1e-6)


def test_spread_over_photographs_alone_is_a_paired_t_test_over_them() -> None:
    first, second = (scores(np.tile(np.repeat(drug, 2), (3, 1)), np.arange(20) // 2) for drug in SLEEP)
    compared = compare_all({"t": first}, {"v": {"t": second}})["v", "t"]
    assert compared.p_value == pytest.approx(0.002833, abs=5e-7)  # of pairs: t = 4.0621 with 9 degrees of freedom
    assert (compared.ci_low, compared.ci_high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert compared.items == 20 and compared.seeds == 3


def test_what_differs_from_item_to_item_in_each_run_is_counted_once() -> None:
    # every run draws its own errors for every item: over runs and over items this is the same spread, seen twice
    rng = np.random.Generator(np.random.PCG64(5))
    arms = [scores(rng.normal(size=(200, 400))) for _ in range(2)]
    compared = compare_all({"t": arms[0]}, {"v": {"t": arms[1]}})["v", "t"]
    once = 1.96 * np.sqrt(2 / 200 / 400)
    assert (compared.ci_high - compared.ci_low) / 2 == pytest.approx(once, rel=0.15)


def test_intervals_widen_with_the_number_of_comparisons() -> None:
    base = {f"task{t}": drawn(4, 40, seed=t) for t in range(4)}
    variants = {f"v{v}": {f"task{t}": drawn(4, 40, seed=10 + 4 * v + t) for t in range(4)} for v in range(8)}
    alone = compare_all(base, {"v0": {"task0": variants["v0"]["task0"]}})["v0", "task0"]
    among = compare_all(base, variants)["v0", "task0"]
    assert among.difference == alone.difference
    assert among.ci_high - among.ci_low > 1.1 * (alone.ci_high - alone.ci_low)


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(2, 30),
    st.floats(-0.1, 0.1),
    st.floats(0.5, 0.99),
)
def test_a_verdict_is_given_exactly_when_the_interval_leaves_zero_out(
    seed: int, variants: int, runs: int, items: int, shift: float, level: float
) -> None:
    base = {"a": drawn(runs + 1, items, seed), "b": drawn(runs, items, seed + 1)}
    of = {f"v{v}": {t: drawn(runs, items, seed + 7 * v + 2, shift * v) for t in ("a", "b")} for v in range(variants)}
    for compared in compare_all(base, of, level=level).values():
        assert compared.ci_low <= compared.difference <= compared.ci_high
        assert (compared.verdict == "better") == (compared.ci_low > 0)
        assert (compared.verdict == "worse") == (compared.ci_high < 0)
        assert (compared.verdict == "no difference shown") == (compared.p_value > 1 - level)
        assert 0 <= compared.p_value <= 1


def test_order_of_tasks_variants_runs_and_items_decides_nothing() -> None:
    base = {t: drawn(4, 30, seed=i) for i, t in enumerate("ab")}
    variants = {v: {t: drawn(3, 30, seed=9 + 2 * i + (t == "b")) for t in "ab"} for i, v in enumerate("xyz")}
    order = np.random.Generator(np.random.PCG64(0)).permutation(30)

    def shuffled(one: VariantScores) -> VariantScores:
        return VariantScores(one.values[::-1][:, order], one.clusters[order])

    again = compare_all(
        {t: shuffled(base[t]) for t in "ba"}, {v: {t: shuffled(variants[v][t]) for t in "ba"} for v in "zyx"}
    )
    for key, compared in compare_all(base, variants).items():
        assert (again[key].verdict, again[key].seeds) == (compared.verdict, compared.seeds)
        ends = [(one.difference, one.ci_low, one.ci_high, one.p_value) for one in (again[key], compared)]
        assert ends[0] == pytest.approx(ends[1], rel=1e-9, abs=1e-12)


def test_base_against_itself_shows_nothing_and_its_band_holds_single_runs() -> None:
    one, two = drawn(40, 50, seed=1, sd=0.3), drawn(40, 50, seed=2, sd=0.3)
    compared = noise({"t": one}, {"t": two})["t"]
    assert compared.verdict == "no difference shown"
    assert compared.sd == pytest.approx(0.3, rel=0.2)
    apart = np.abs(one.values.mean(axis=1)[:, None] - two.values.mean(axis=1)[None])
    assert (apart < compared.band).mean() == pytest.approx(0.95, abs=0.05)


def test_one_run_of_everything_says_nothing() -> None:
    compared = compare_all({"t": drawn(1, 50)}, {"v": {"t": drawn(1, 50, seed=3, shift=5.0)}})["v", "t"]
    assert compared.verdict == "no difference shown" and compared.p_value == 1.0
    assert (compared.ci_low, compared.ci_high) == (-np.inf, np.inf)
    assert noise({"t": drawn(1, 50)}, {"t": drawn(1, 50, seed=3)})["t"].band == np.inf


def test_one_run_of_a_variant_borrows_the_spread_of_the_others() -> None:
    base = {"t": drawn(6, 50)}
    variants = {"one": {"t": drawn(1, 50, seed=3, shift=5.0)}, "six": {"t": drawn(6, 50, seed=4)}}
    compared = compare_all(base, variants)
    assert compared["one", "t"].verdict == "better" and compared["six", "t"].verdict == "no difference shown"
    width = {name: compared[name, "t"].ci_high - compared[name, "t"].ci_low for name in variants}
    assert width["one"] > 1.5 * width["six"]


def test_items_of_one_photograph_say_nothing() -> None:
    base, variant = drawn(3, 10), drawn(3, 10, seed=2, shift=5.0)
    same = np.zeros(10, np.int64)
    compared = compare_all({"t": VariantScores(base.values, same)}, {"v": {"t": VariantScores(variant.values, same)}})[
        "v", "t"
    ]
    assert compared.verdict == "no difference shown" and compared.ci_high == np.inf


def test_values_that_never_differ() -> None:
    all_right, none_right = scores(np.ones((3, 5))), scores(np.zeros((3, 5)))
    same = compare_all({"t": all_right}, {"v": {"t": all_right}})["v", "t"]
    assert (same.difference, same.p_value) == (0, 1)
    assert (same.ci_low, same.ci_high) == pytest.approx((0, 0), abs=1e-8)
    assert same.verdict == "no difference shown"
    other = compare_all({"t": all_right}, {"v": {"t": none_right}})["v", "t"]
    assert (other.difference, other.verdict, other.p_value) == (-1, "worse", 0)


def test_an_interval_of_exactly_zero_shows_no_difference() -> None:
    none_right = scores(np.zeros((3, 5)))
    compared = compare_all({"t": none_right}, {"v": {"t": none_right}})["v", "t"]
    assert (compared.difference, compared.ci_low, compared.ci_high, compared.p_value) == (0, 0, 0, 1)
    assert compared.verdict == "no difference shown"


@pytest.mark.parametrize(
    ("difference", "half", "verdict"),
    [
        (0.5, 0.25, "better"),
        (0.5, 0.5, "no difference shown"),  # 0 to 1: zero is the lower end
        (0.0, 0.0, "no difference shown"),
        (0.0, 0.5, "no difference shown"),
        (-0.5, 0.5, "no difference shown"),  # -1 to 0: zero is the upper end
        (-0.5, 0.25, "worse"),
        (0.5, np.inf, "no difference shown"),
    ],
)
def test_an_interval_whose_end_is_zero_shows_no_difference(difference: float, half: float, verdict: str) -> None:
    compared = statistics._comparison(difference, half, 0.05, drawn(3, 10))
    assert (compared.ci_low, compared.ci_high, compared.verdict) == (difference - half, difference + half, verdict)


@pytest.mark.parametrize("value", [0.7, 1e-3, 123.456, 0.0])
def test_the_same_numbers_over_more_runs_are_no_difference(value: float) -> None:
    one = np.array([value, value / 3, 0.1, value * 7])
    compared = compare_all({"t": scores(np.tile(one, (24, 1)))}, {"v": {"t": scores(np.tile(one, (7, 1)))}})["v", "t"]
    assert compared.verdict == "no difference shown"
    assert (
        compare_all({"t": scores(np.tile(one, (24, 1)))}, {"v": {"t": scores(np.tile(one, (7, 1)) + 0.01)}})[
            "v", "t"
        ].verdict
        == "better"
    )


def test_tasks_of_one_side_only_are_left_out() -> None:
    base = {"a": drawn(3, 10), "b": drawn(3, 10)}
    assert list(compare_all(base, {"v": {"a": drawn(3, 10, seed=1), "c": drawn(3, 10)}, "w": {}})) == [("v", "a")]
    assert compare_all(base, {}) == {}


def test_other_items_are_refused() -> None:
    one, other = drawn(3, 10), drawn(3, 12)
    with pytest.raises(ValueError, match="'v' was not scored on the items of the base"):
        compare_all({"t": one}, {"v": {"t": other}})
    with pytest.raises(ValueError, match="not scored on the items"):
        joined(one, other)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((0, 3)), np.zeros((2, 4)), np.array([[0.0, 1.0, np.nan]])])
def test_scores_that_are_none_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError):
        VariantScores(values, np.arange(3))


def test_joined_is_all_runs() -> None:
    one, other = drawn(3, 10), drawn(2, 10, seed=4)
    assert joined(one, other).values.tolist() == [*one.values.tolist(), *other.values.tolist()]


def test_base_has_more_runs_than_a_variant_and_two_halves() -> None:
    assert base_seeds(6, 8) == 24 and base_seeds(3, 20) == 18 and base_seeds(3, 1) == 6
    assert DEFAULT_SEEDS >= MIN_SEEDS == 3


@pytest.mark.parametrize(
    ("name", "most_false", "least_detected"),
    [("default", 0.1, 0.75), ("right or wrong", 0.1, 0.75), ("1 variant, 1 task", 0.1, 0.9)],
)
def test_simulated_ablations_are_judged_truly(name: str, most_false: float, least_detected: float) -> None:
    """The rates themselves come from 10,000 ablations (tests/bench/verdicts.py); fewer catch a broken interval."""
    world = replace(BY_NAME[name], items=60)
    rated = rates(world, 100, seed=3)
    assert rated.any_false <= most_false
    assert rated.detected >= least_detected and rated.detected_paired >= rated.detected
    assert rated.false_single > 0.1  # what single runs claim


def test_a_variant_out_of_all_proportion_hides_nothing_of_the_others() -> None:
    rated = rates(replace(BY_NAME["one variant ten times as unsteady"], items=60), 100, seed=5)
    assert rated.any_false <= 0.1
    assert rated.detected >= 0.7


def test_photographs_that_differ_are_not_called_a_difference() -> None:
    rated = rates(replace(BY_NAME["variants differ by photograph"], items=60, tasks=2), 120, seed=4)
    assert rated.any_false <= 0.09


def test_planted_differences_are_what_the_simulation_says() -> None:
    for is_binary in (False, True):
        world = World("many runs", seeds=400, base=2, variants=1, tasks=1, items=60, is_binary=is_binary)
        simulated: Ablation = next(ablations(world, 1, seed=1))
        still = simulated.variants["variant0"]["task0"].values.mean(axis=1)
        sd = float(still.std(ddof=1))
        moved = simulated.moved(2.0).values.mean()
        assert moved - still.mean() == pytest.approx(2 * sd, rel=0.2)
