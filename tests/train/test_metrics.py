from __future__ import annotations

import math

import pytest

pytest.importorskip("torch")

from vldata.schema.boxes import Box
from vldata.train import metrics


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("The Cat.", "cat"),
        ("a  dog, an apple", "dog apple"),
        ("Two", "2"),
        ("none", "0"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("3.", "3"),
        ("dont know", "don't know"),
        ("yes!", "yes"),
        ("on/off", "on off"),
        ("it is on / off", "it is on off"),
        ("T-shirt", "t shirt"),
        (" \n", ""),
    ],
)
def test_answers_are_normalised_as_in_vqas_evaluation(answer: str, normalised: str) -> None:
    assert metrics.vqa_normalised(answer) == normalised


def test_vqa_accuracy_averages_over_leaving_one_reference_out() -> None:
    references = ["red"] * 2 + ["blue"] * 8
    # without one of the two "red": 1/3; without any of the eight "blue": 2/3
    assert metrics.vqa_accuracy("Red.", references) == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)
    assert metrics.vqa_accuracy("blue", references) == 1.0
    assert metrics.vqa_accuracy("green", references) == 0.0


def test_vqa_accuracy_with_one_reference_is_a_match_or_none() -> None:
    assert metrics.vqa_accuracy("two", ["2"]) == 1.0
    assert metrics.vqa_accuracy("three", ["2"]) == 0.0


def test_iou_of_literal_boxes() -> None:
    assert metrics.iou(Box(0, 0, 0.5, 0.5), Box(0.25, 0, 0.75, 0.5)) == pytest.approx(1 / 3)
    assert metrics.iou(Box(0, 0, 1, 1), Box(0, 0, 1, 1)) == 1.0
    assert metrics.iou(Box(0, 0, 0.2, 0.2), Box(0.5, 0.5, 1, 1)) == 0.0
    assert metrics.iou(Box(0, 0, 0, 0), Box(0, 0, 0, 0)) == 0.0


def test_token_f1_counts_words_as_often_as_both_say_them() -> None:
    assert metrics.token_f1("a red red star", "The red star.") == pytest.approx(2 * 2 / 7)
    assert metrics.token_f1("", "star") == 0.0
    assert metrics.token_f1("", "") == 1.0


def test_cider_of_its_own_reference_is_ten_when_every_n_gram_is_rare() -> None:
    answers = ["a red star shines here", "two blue boats sail away"]
    assert metrics.cider_d(answers, [[text] for text in answers]) == pytest.approx([10.0, 10.0])


def test_cider_of_a_literal_pair() -> None:
    # two items, so a word of one reference weighs ln 2 and one of both weighs 0: "red star" against "red boat" shares
    # one of two unigrams (cosine 1/2) and no bigram; trigrams and longer ones there are none.
    scores = metrics.cider_d(["red star", "x"], [["red boat"], ["green tree"]])
    assert scores == pytest.approx([10 * (1 / 2) / 4, 0.0])


def test_cider_d_does_not_reward_repeating_a_word() -> None:
    # clipped: 1 * 1 over norms 3 * sqrt 2, and the answer is one word longer: exp(-1 / (2 * 36)); bigrams none shared
    (score, _) = metrics.cider_d(["red red red", "x"], [["red boat"], ["green tree"]])
    assert score == pytest.approx(10 * (1 / (3 * math.sqrt(2))) / 4 * math.exp(-1 / 72))


def test_an_interval_of_equal_values_has_no_width() -> None:
    assert metrics.interval([0.5] * 8, list("abcdefgh")) == (0.5, 0.5, 0.5, 8)


def test_an_interval_is_about_two_standard_errors_a_side() -> None:
    result = metrics.interval([0.0, 1.0] * 200, [str(n) for n in range(400)])
    assert result.value == 0.5
    assert result.high - result.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.1)


def test_items_of_one_sample_are_drawn_together() -> None:
    values = [0.0] * 50 + [1.0] * 50
    apart = metrics.interval(values, [str(n) for n in range(100)])
    together = metrics.interval(values, [str(n // 10) for n in range(100)])
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    values, groups = [0.1, 0.7, 0.3, 0.9], list("abcd")
    assert metrics.interval(values, groups, seed=3) == metrics.interval(values, groups, seed=3)
    assert metrics.interval(values, groups, seed=3) != metrics.interval(values, groups, seed=4)


def test_a_paired_interval_sees_a_small_constant_difference_in_wide_noise() -> None:
    noise = [float(n % 7) for n in range(70)]
    groups = [str(n) for n in range(70)]
    better = metrics.paired([value + 0.1 for value in noise], noise, groups)
    assert better.low == pytest.approx(0.1) and better.high == pytest.approx(0.1)
