from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.train import pack

LIMITS = pack.Limits(tokens=100, images=4)


def steps(tokens: list[int], images: list[int], **changed: object) -> list[tuple[pack.Pack, ...]]:
    given = {"seed": 0, "epoch": 0, "fingerprint": "f", **changed}
    return pack.epoch_steps(np.array(tokens), np.array(images), LIMITS, 2, **given)  # type: ignore[arg-type]


samples = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 4)), min_size=1, max_size=200)


@given(samples)
@settings(max_examples=50)
def test_every_sample_is_in_exactly_one_pack_and_no_pack_is_too_large(drawn: list[tuple[int, int]]) -> None:
    tokens, images = [t for t, _ in drawn], [i for _, i in drawn]
    packs = [p for step in steps(tokens, images) for p in step]
    assert sorted(index for p in packs for index in p) == list(range(len(drawn)))
    assert max(sum(tokens[index] for index in p) for p in packs) <= LIMITS.tokens
    assert max(sum(images[index] for index in p) for p in packs) <= LIMITS.images


def test_the_plan_of_a_literal_dataset_is_pinned() -> None:
    # a run that resumes with another version of the trainer must meet the same steps
    assert steps([60, 50, 40, 30, 20, 90, 10], [1, 1, 0, 2, 0, 4, 1]) == [((1,), (2, 0)), ((5,), (3, 4, 6))]


def test_seed_epoch_and_fingerprint_each_change_the_order() -> None:
    tokens, images = [10 + n % 40 for n in range(60)], [n % 3 for n in range(60)]
    base = steps(tokens, images)
    assert base == steps(tokens, images)
    for changed in ({"seed": 1}, {"epoch": 1}, {"fingerprint": "g"}):
        assert steps(tokens, images, **changed) != base


def test_samples_that_fit_in_no_pack_are_named() -> None:
    tokens, images = np.array([100, 101, 5, 5]), np.array([0, 0, 4, 5])
    assert pack.too_large(tokens, images, LIMITS) == [1, 3]


def test_what_is_left_out_by_name_is_in_no_pack() -> None:
    result = steps([100, 101, 5, 5], [0, 0, 4, 5], without=[1, 3])
    assert sorted(index for step in result for p in step for index in p) == [0, 2]


@pytest.mark.parametrize(
    ("median", "sigma", "text_only", "visual", "limits"),
    [
        (60, 1.4, 0.125, 16, pack.Limits(1024, 64)),  # conversations, at every preset's visual tokens and packs
        (60, 1.4, 0.125, 49, pack.Limits(16_384, 128)),
        (60, 1.4, 0.125, 196, pack.Limits(16_384, 96)),
        (60, 1.4, 0.125, 576, pack.Limits(16_384, 32)),
        (27, 0.35, 0.0, 196, pack.Limits(16_384, 96)),  # captions, all nearly as long as each other
        (27, 0.35, 0.0, 576, pack.Limits(16_384, 32)),
    ],
)
def test_packs_are_97_percent_full(
    median: float, sigma: float, text_only: float, visual: int, limits: pack.Limits
) -> None:
    rng = np.random.default_rng(0)
    images = (rng.random(20_000) >= text_only).astype(np.int64)
    words = np.clip(rng.lognormal(np.log(median), sigma, 20_000), 2, 900 if limits.tokens < 2000 else 1400)
    tokens = words.astype(np.int64) + 8 + images * visual
    result = pack.epoch_steps(tokens, images, limits, 4, seed=0, epoch=0, fingerprint="")
    assert tokens.sum() / (sum(map(len, result)) * limits.tokens) >= 0.97


@given(samples)
@settings(max_examples=50)
def test_a_sample_goes_into_the_fullest_pack_that_takes_it(drawn: list[tuple[int, int]]) -> None:
    packs: list[list[int]] = []
    for index, (tokens, images) in enumerate(drawn):
        fits = [
            (100 - sum(drawn[i][0] for i in p), place)
            for place, p in enumerate(packs)
            if sum(drawn[i][0] for i in p) + tokens <= 100 and sum(drawn[i][1] for i in p) + images <= 4
        ]
        if fits:
            packs[min(fits)[1]].append(index)
        else:
            packs.append([index])
    tokens, images = (np.array(column) for column in zip(*drawn, strict=True))
    assert pack._best_fit(np.arange(len(drawn)), tokens, images, LIMITS) == [tuple(p) for p in packs]


def test_a_pack_mixes_lengths_so_that_no_step_is_of_one_task() -> None:
    tokens = [10] * 100 + [30] * 100
    packs = [p for step in steps(tokens, [0] * 200) for p in step]
    mixed = sum(len({tokens[index] for index in p}) == 2 for p in packs)
    assert mixed > len(packs) / 2


def test_the_ranks_share_the_packs_by_cost() -> None:
    packs = [(0,), (1,), (2,), (3,)]
    assert pack.deal(packs, [5.0, 1.0, 1.0, 3.0], 2) == [[0], [1, 2, 3]]
    assert pack.deal(packs, [5.0, 1.0, 1.0, 3.0], 1) == [[0, 1, 2, 3]]


def test_a_rank_without_a_pack_gets_none() -> None:
    assert pack.deal([(0,)], [1.0], 3) == [[0], [], []]
