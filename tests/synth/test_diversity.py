"""How different the turns of a source are, and limits on how alike they may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.llm.request import image_part
from vldata.synth.diversity import OPENING, QUESTION, DiversityLimits, Variety, largest_count, opening
from vldata.synth.draws import Draw, Outcome
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.models import Diversity


def outcome(number: int, *questions: str, answer: str = "It is so.") -> Outcome:
    inputs = Inputs(row=f"r{number}", images=(image_part(f"{number:032x}"),))
    exchanges = tuple(Exchange(question, answer) for question in questions)
    return Outcome([Draw(inputs, 0, (), exchanges=exchanges, kept=tuple(range(len(exchanges))))], [])


def limited(outcomes: Sequence[Outcome], spec: Diversity) -> list[Outcome]:
    limits = DiversityLimits(spec, of_questions=True).measure(iter(outcomes))
    return list(limits.applied(iter(outcomes)))


def kept(outcomes: Sequence[Outcome]) -> list[str]:
    draws = [draw for each in outcomes for draw in each.draws]
    return [draw.exchanges[place].question for draw in draws for place in draw.kept]


def test_no_opening_has_more_than_its_share_and_the_first_ones_stay() -> None:
    outcomes = [outcome(n, f"What is number {n}?") for n in range(50)]
    outcomes += [outcome(50 + n, f"{n}th thing, does it move?") for n in range(50)]
    after = limited(outcomes, Diversity(max_share_of_an_opening=0.05))
    said = kept(after)
    counts = Counter(opening(question, 2) for question in said)
    assert max(counts.values()) <= 0.05 * len(said)
    assert [question for question in said if question.startswith("What")] == ["What is number 0?", "What is number 1?"]
    (lost,) = after[2].draws
    assert (lost.kept, lost.problem, lost.detail) == ((), OPENING, "50 turns begin with 'what is', 2 may")


def test_one_turn_is_taken_out_and_the_others_of_its_reply_stay() -> None:
    outcomes = [outcome(n, f"What is it, {n}?", f"Thing {n}: how does it look?") for n in range(30)]
    after = limited(outcomes, Diversity(max_share_of_an_opening=0.1))
    draws = [draw for each in after for draw in each.draws]
    assert draws[-1].kept == (1,) and draws[-1].problem is None
    assert [finding.exchange for finding in draws[-1].findings] == [0]


def test_a_limit_that_cannot_hold_takes_its_share_of_the_turns_there_were() -> None:
    outcomes = [outcome(n, f"What is it, {n}?" if n % 2 else f"How is it, {n}?") for n in range(100)]
    said = kept(limited(outcomes, Diversity(max_share_of_an_opening=0.05)))
    assert Counter(opening(question, 1) for question in said) == {"what": 5, "how": 5}


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.floats(0.01, 1))
def test_the_largest_count_holds_and_is_the_largest(counts: list[int], share: float) -> None:
    most = largest_count(counts, share)
    left = sum(min(count, most) for count in counts)
    if len(counts) * share >= 1:
        assert max(min(count, most) for count in counts) <= max(1, share * left + 1e-6)
    if max(counts) <= share * sum(counts):
        assert left == sum(counts)  # nothing is taken out where the limit holds


def test_nearly_the_same_question_is_kept_for_so_many_images_and_no_more() -> None:
    same = "What is the main subject of this image and how does it look in the light of the evening sun today?"
    outcomes = [outcome(n, same + (" Please." if n % 3 == 0 else "")) for n in range(10)]
    outcomes += [outcome(3, same), outcome(99, "Is there a dog to the left of the red car?")]
    after = limited(outcomes, Diversity(max_images_of_a_question=4, similarity=0.8))
    rows = [draw.inputs.row for each in after for draw in each.draws if draw.kept]
    assert rows == ["r0", "r1", "r2", "r3", "r3", "r99"]  # a second time over the same image is another matter
    assert {draw.problem for each in after for draw in each.draws if not draw.kept} == {QUESTION}


def test_a_source_within_its_limits_is_left_as_it_is() -> None:
    outcomes = [outcome(n, f"Thing {n} is what?") for n in range(40)]
    assert limited(outcomes, Diversity(max_share_of_an_opening=0.05, max_images_of_a_question=2)) == outcomes
    assert limited([], Diversity(max_share_of_an_opening=0.05, max_images_of_a_question=2)) == []


def test_the_same_outcomes_lose_the_same_turns_and_more_of_them_keep_the_first() -> None:
    outcomes = [outcome(n, f"What is it, {n}?") if n % 3 else outcome(n, f"Number {n}?") for n in range(300)]
    spec = Diversity(max_share_of_an_opening=0.02, opening_words=2)
    first, again = limited(outcomes, spec), limited(outcomes, spec)
    assert first == again
    fewer = [q for q in kept(limited(outcomes[:150], spec)) if q.startswith("What")]
    assert fewer == [q for q in kept(first) if q.startswith("What")][: len(fewer)]


def row_of(outcomes: Iterator[Outcome], *, of_questions: bool = True) -> dict[str, object]:
    variety = Variety(of_questions=of_questions)
    for draw in (draw for each in outcomes for draw in each.draws):
        variety.add(draw)
    return variety.row()


def test_numbers_of_a_source_by_hand() -> None:
    outcomes = [outcome(1, "What is it?", answer="A red cat sits."), outcome(2, "What is it?"), outcome(3, "Who runs?")]
    assert row_of(iter(outcomes)) == {
        "of": "questions",
        "turns": 3,
        "openings": 2,
        "top_openings": {"what is": 2, "who runs": 1},
        "distinct_1": 5 / 8,  # what is it who runs, of 3 + 3 + 2 words
        "distinct_2": 3 / 5,  # what is, is it, who runs
        "alike_over_images": 2 / 3,
        "words": {
            "question": {"p5": pytest.approx(2.1), "median": 3.0, "p95": 3.0, "mean": pytest.approx(8 / 3)},
            "answer": {"p5": 3.0, "median": 3.0, "p95": pytest.approx(3.9), "mean": pytest.approx(10 / 3)},
        },
    }


def test_numbers_of_nothing_are_missing_and_not_zero() -> None:
    row = row_of(iter([]))
    assert (row["turns"], row["distinct_1"], row["alike_over_images"], row["words"]) == (0, None, None, {})


def test_where_questions_are_not_generated_the_answers_are_compared() -> None:
    outcomes = [outcome(n, "Describe it.", answer=f"Word{n} is here.") for n in range(4)]
    row = row_of(iter(outcomes), of_questions=False)
    assert (row["of"], row["openings"]) == ("answers", 4)
