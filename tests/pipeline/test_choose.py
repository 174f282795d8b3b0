"""The mixture's exact counts, met by prefixes of every source's rank order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import entry, facts_of
from vldata.errors import RecipeErrors
from vldata.mixture.models import Mixture
from vldata.pipeline.choose import CandidateCache, ChosenSamples, Pool, Share, choose
from vldata.schema.turns import COMMON, KEY

Look = Callable[[list[str]], pl.DataFrame]


class Looked:
    """Looks at images of which some are missing, and counts them."""

    def __init__(self, missing: set[str] | frozenset[str] = frozenset()) -> None:
        self.missing, self.num = missing, 0

    def __call__(self, refs: list[str]) -> pl.DataFrame:
        self.num += len(refs)
        return facts_of({"ref": r, "problem": "image_missing", "detail": "?"} if r in self.missing else r for r in refs)


def candidates(sizes: list[int], images: list[int] | None = None) -> pl.DataFrame:
    """Samples of that many turns and images each; turn ``3.0`` is the first of sample 3, image ``3.0`` its first."""
    turns = [(at, place) for at, size in enumerate(sizes) for place in range(size)]
    counts = images or [1] * len(sizes)
    table = pl.DataFrame(
        {
            "row": [f"{at}.{place}" for at, place in turns],
            "images": [[f"{at}.{n}" for n in range(counts[at])] for at, _ in turns],
            "sample": [at << 32 for at, _ in turns],
            "sample_row": [f"{at}.0" for at, _ in turns],
            "place": [place for _, place in turns],
            "question": "what?",
            KEY: range(len(turns)),
        },
        schema_overrides={"place": pl.Int32, "sample": pl.UInt64, KEY: pl.UInt64, "images": pl.List(pl.String)},
    )
    others = {
        name: dtype for name, dtype in COMMON.items() if name not in (*table.columns, "urls", "problem", "detail")
    }
    return table.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in others.items())


def pool(turns: pl.DataFrame | int, look: Look | None = None, *, name: str = "a", **options: Any) -> Pool:
    """A source; a number is that many samples of one turn and one image."""
    return Pool(
        entry=entry(name=name),
        turns=candidates([1] * turns) if isinstance(turns, int) else turns,
        look=look or Looked(),
        seed=7,
        **{"splits": {"train": 1.0}, "excluded_hashes": frozenset(), "unit": "samples", **options},
    )


def taken(one: ChosenSamples) -> list[int]:
    """The chosen samples, by number."""
    return one.samples["at"].to_list()


def mixture(**keys: Any) -> Mixture:
    return Mixture.model_validate(keys)


def test_weights_become_exact_counts_and_each_source_gives_its_first_samples() -> None:
    found = choose({"a": pool(100), "b": pool(100, name="b")}, mixture(total=50, sources={"a": 3, "b": 1.5}))
    assert taken(found["a"]) == list(range(33))  # 33.3
    assert taken(found["b"]) == list(range(17))  # 16.7
    assert found["a"].shares == {"train": Share(0, 33)}
    assert found["a"].quota.units == 33
    assert found["a"].quota.share == pytest.approx(2 / 3)
    assert found["a"].turns["row"].to_list() == [f"{at}.0" for at in range(33)]


SPLITS = {"train": 0.8, "val": 0.2}


def by_split(one: ChosenSamples) -> dict[str, list[int]]:
    return {split: one.samples.filter(split=split)["at"].to_list() for split in one.shares}


@pytest.mark.parametrize("splits", [{"train": 1.0}, SPLITS])
def test_five_percent_of_a_source_is_the_beginning_of_its_ten_percent(splits: dict[str, float]) -> None:
    def take(epochs: float) -> dict[str, list[int]]:
        broken = Looked({f"{at}.0" for at in range(0, 400, 7)})
        return by_split(
            choose({"a": pool(400, broken, splits=splits)}, mixture(sources={"a": {"epochs": epochs}}))["a"]
        )

    fewer, more, most = take(0.05), take(0.1), take(0.2)
    for split in splits:
        assert 0 < len(fewer[split]) < len(more[split]) < len(most[split])
        assert more[split][: len(fewer[split])] == fewer[split]
        assert most[split][: len(more[split])] == more[split]


def test_a_bad_sample_is_replaced_by_the_next_in_rank() -> None:
    one = choose({"a": pool(10, Looked({"2.0", "3.0", "8.0"}))}, mixture(sources={"a": {"count": 4}}))["a"]
    assert taken(one) == [0, 1, 4, 5]
    assert one.refused.rows() == [(f"{at}.0", at, "image_missing", f"{at}.0: ?") for at in (2, 3, 8)]
    assert one.rest.rows() == [(f"{at}.0", "beyond_count") for at in (6, 7, 9)]


def test_of_a_source_that_nobody_saw_the_end_of_only_bad_samples_before_the_last_chosen_one_are_reported() -> None:
    one = choose({"a": pool(5_000, Looked({"2.0", "3.0", "8.0"}))}, mixture(sources={"a": {"count": 4}}))["a"]
    assert taken(one) == [0, 1, 4, 5]
    assert one.refused["row"].to_list() == ["2.0", "3.0"]
    assert one.rest["row"].to_list() == [f"{at}.0" for at in range(6, 5_000)]


def test_an_image_on_the_exclusion_list_costs_its_whole_sample() -> None:
    some = pool(candidates([2, 2, 1]), excluded_hashes=frozenset({"#1.0"}))
    one = choose({"a": some}, mixture(sources={"a": {"count": 2}}))["a"]
    assert taken(one) == [0, 2]
    assert one.turns["row"].to_list() == ["0.0", "0.1", "2.0"]
    assert one.refused.select("row", "reason").rows() == [("1.0", "excluded"), ("1.1", "excluded")]


def test_a_source_with_too_few_good_samples_is_worked_out_again_with_its_true_number() -> None:
    def two() -> dict[str, Pool]:
        return {"a": pool(10, Looked({f"{at}.0" for at in (0, 3, 5, 9)})), "b": pool(10, name="b")}

    found = choose(two(), mixture(sources={"a": 1, "b": 1}))  # the most that repeats nothing: 6 and 6, not 10 and 10
    assert {name: taken(one) for name, one in found.items()} == {"a": [1, 2, 4, 6, 7, 8], "b": list(range(6))}
    assert found["a"].available == 6
    found = choose(two(), mixture(strategy="proportional", total=8))  # 6 to 10, not 10 to 10
    assert {name: len(taken(one)) for name, one in found.items()} == {"a": 3, "b": 5}
    with pytest.raises(RecipeErrors, match=r"'a' would give 7 samples of 6: 1\.17 passes"):
        choose(two(), mixture(sources={"a": 1, "b": 1}, total=14))


def test_a_source_is_repeated_whole_and_then_by_a_prefix() -> None:
    one = choose({"a": pool(8, Looked({"1.0"}))}, mixture(sources={"a": {"epochs": 2.5}}))["a"]
    assert one.quota.units == 18  # 2.5 passes over 7
    assert one.shares == {"train": Share(passes=2, prefix=4)}
    assert taken(one) == [0, 2, 3, 4, 5, 6, 7]
    assert one.rest.is_empty()
    exact = choose({"a": pool(4)}, mixture(sources={"a": {"epochs": 2}}))["a"]
    assert exact.shares == {"train": Share(passes=2, prefix=0)}


@pytest.mark.parametrize(
    ("unit", "units", "samples"),
    [("turns", 6, [0, 1, 2]), ("turns", 4, [0, 1]), ("images", 4, [0, 1]), ("images", 5, [0, 1, 2, 3])],
)
def test_other_units_are_met_as_nearly_as_whole_samples_can(unit: str, units: int, samples: list[int]) -> None:
    some = candidates([3, 1, 2, 4], images=[2, 2, 0, 1])
    one = choose({"a": pool(some, unit=unit)}, mixture(unit=unit, sources={"a": {"count": units}}))["a"]
    assert taken(one) == samples


def test_every_split_gets_its_share_and_the_ledger_says_whose_split_was_full() -> None:
    one = choose({"a": pool(5_000, splits=SPLITS)}, mixture(sources={"a": {"count": 20}}))["a"]
    assert {split: len(samples) for split, samples in by_split(one).items()} == {"train": 16, "val": 4}
    assert one.samples["split"].to_list() == ["train"] * 16 + ["val"] * 4
    assert all(ats == sorted(ats) for ats in by_split(one).values())
    last = max(taken(one))
    passed_over = [at for at in range(last) if at not in taken(one)]
    assert passed_over
    assert dict(one.rest.iter_rows()) == {
        **{f"{at}.0": "split_full" for at in passed_over},
        **{f"{at}.0": "beyond_count" for at in range(last + 1, 5_000)},
    }


def test_a_split_that_is_held_out_is_used_up_before_anything_repeats_and_never_repeats() -> None:
    have = Counter(choose({"a": pool(42, splits=SPLITS)}, mixture())["a"].samples["split"])
    assert have == {"train": 33, "val": 9}  # of 42, the share of val is 8

    def shares(units: int) -> dict[str, Share]:
        wanted = mixture(max_epochs=9, sources={"a": {"count": units}})
        return choose({"a": pool(42, splits=SPLITS)}, wanted)["a"].shares

    assert shares(41) == {"train": Share(1, 0), "val": Share(0, 8)}
    assert shares(42) == {"train": Share(1, 0), "val": Share(1, 0)}
    assert shares(43) == {"train": Share(1, 1), "val": Share(1, 0)}
    assert shares(42 + 2 * 33) == {"train": Share(3, 0), "val": Share(1, 0)}


def test_more_units_never_mean_fewer_for_a_split() -> None:
    cache = CandidateCache()

    def amounts(units: int) -> tuple[int, int]:
        some = pool(20, splits={"train": 0.6, "val": 0.4}, key="a", cache=cache)
        one = choose({"a": some}, mixture(max_epochs=9, sources={"a": {"count": units}}))["a"]
        have = Counter(one.samples["split"])
        train, val = (share.passes * have[split] + share.prefix for split, share in sorted(one.shares.items()))
        assert train + val == units
        return train, val

    found = [amounts(units) for units in range(1, 45)]
    assert all(before[0] <= after[0] and before[1] <= after[1] for before, after in pairwise(found))


def test_a_limit_takes_fewer_in_the_same_proportions() -> None:
    pools = {"a": pool(100), "b": pool(100, name="b")}
    wanted = mixture(total=80, sources={"a": 3, "b": 1})
    found = choose(pools, wanted, limit=20)
    assert {name: taken(one) for name, one in found.items()} == {"a": list(range(15)), "b": list(range(5))}
    assert (found["a"].quota.units, found["a"].quota.epochs) == (15, 0.15)
    assert {name: len(taken(one)) for name, one in choose(pools, wanted, limit=1000).items()} == {"a": 60, "b": 20}


def test_a_source_of_which_nothing_is_wanted_is_not_looked_at() -> None:
    look = Looked({"0.0"})
    found = choose({"a": pool(5, look), "b": pool(9, name="b")}, mixture(total=4, sources={"a": 0, "b": 1}))
    assert look.num == 0
    assert (taken(found["a"]), found["a"].turns.height, found["a"].shares) == ([], 0, {"train": Share(0, 0)})
    assert found["a"].rest.rows() == [(f"{at}.0", "beyond_count") for at in range(5)]
    assert found["a"].samples.columns == found["b"].samples.columns


def test_every_candidate_is_chosen_found_bad_or_left_over_and_none_is_two_of_these() -> None:
    some = pool(candidates([1, 3, 2, 1, 4, 2]), Looked({"1.0", "4.0"}), splits=SPLITS)
    one = choose({"a": some}, mixture(sources={"a": {"count": 2}}))["a"]
    rows = [*one.turns["row"], *one.refused["row"], *one.rest["row"]]
    assert sorted(rows) == sorted(some.turns["row"])


def test_a_large_source_is_looked_at_only_as_far_as_it_is_wanted_and_that_changes_nothing() -> None:
    broken = {f"{at}.0" for at in range(0, 6_000, 3)}
    near, far = Looked(broken), Looked(broken)
    wanted = mixture(sources={"a": {"count": 100}})
    one = choose({"a": pool(6_000, near)}, wanted)["a"]
    assert near.num == 4_096
    seen = pool(6_000, far)
    seen.look_at(6_000)
    other = choose({"a": seen}, wanted)["a"]
    assert far.num == 6_000
    assert one.samples.equals(other.samples)
    assert one.turns.equals(other.turns)
    most = choose({"a": pool(6_000, near)}, mixture(sources={"a": {"count": 3_500}}))["a"]
    assert taken(most)[:100] == taken(one)
    assert most.samples.height == 3_500


def test_what_was_found_of_the_same_candidates_is_known_to_the_next_build() -> None:
    cache, look = CandidateCache(), Looked({"1.0"})
    wanted = mixture(sources={"a": {"count": 3}})
    once = choose({"a": pool(8, look, key="k", cache=cache)}, wanted)["a"]
    again = choose({"a": pool(8, look, key="k", cache=cache)}, wanted)["a"]
    assert look.num == 8
    assert again.samples is once.samples
    assert again.key == once.key
    more = choose({"a": pool(8, look, key="k", cache=cache)}, mixture(sources={"a": {"count": 4}}))["a"]
    other = choose({"a": pool(8, look, key="other", cache=cache)}, wanted)["a"]
    assert look.num == 16
    assert len({once.key, more.key, other.key}) == 3
    assert taken(more) == [0, 2, 3, 4]
    assert choose({"a": pool(8)}, wanted)["a"].key is None
