from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.sources.reading.answers import TIE, with_answer


def rows(answers, **more):
    table = {"id": [str(k) for k in range(len(answers))], "answers": answers, "problem": None, "detail": None}
    schema = {"answers": pl.List(pl.String), "problem": pl.String, "detail": pl.String}
    return pl.DataFrame({**table, **more}, schema_overrides=schema)


def learnt(answers, rule="majority", **more):
    return with_answer(rows(answers, **more), rule, key="id", given="own" if "own" in more else None)


@given(st.lists(st.lists(st.sampled_from(["a", "b", " b", "b ", "A", "", " ", "c"]), max_size=6), max_size=8))
def test_the_answer_is_one_of_the_most_frequent_never_blank_and_a_tie_is_told(answers):
    read = learnt(answers)
    for said, answer, problem, remark in zip(answers, read["answer"], read["problem"], read["remark"], strict=True):
        votes = Counter(word.strip() for word in said if word.strip())
        best = [word for word, n in votes.items() if n == max(votes.values())]
        assert (answer in best) if best else answer is None
        assert problem == (None if best else "missing_value")
        assert remark == (TIE if len(best) > 1 else None)


def test_a_tie_has_the_same_answer_whatever_the_order_and_the_other_rows():
    alone = [learnt([words])["answer"][0] for words in (["a", "b", "c"], ["c", "a", "b"], ["b ", " c", "a"])]
    assert len({*alone}) == 1
    assert learnt([["a", "b", "c"], ["x"], ["y", "z"]])["answer"][0] == alone[0]


def test_ties_of_many_questions_are_not_always_the_first_listed():
    read = learnt([["a", "b"]] * 400)["answer"].value_counts()
    assert dict(read.iter_rows())["a"] in range(150, 250)


def test_every_answer_is_a_turn_in_the_order_in_which_they_are_listed():
    read = learnt([["b", "a ", "b", ""], [], None, ["c"]], "all")
    assert read["id"].to_list() == ["0/0", "0/1", "1", "2", "3/0"]
    assert read["answer"].to_list() == ["b", "a", None, None, "c"]


def test_the_first_answer_is_the_first_that_is_not_blank():
    assert learnt([[" ", "b", "a", "a"]], "first")["answer"].to_list() == ["b"]


def test_a_given_answer_stands_in_where_nobody_answered_and_not_the_other_way_round():
    answers, own = [[], ["a"], ["a"]], [" x ", "a", ""]
    assert learnt(answers, own=own)["answer"].to_list() == ["x", "a", "a"]
    given = learnt(answers, "given", own=own)
    assert given["answer"].to_list() == ["x", "a", None]
    assert given["detail"].to_list() == [None, None, "no 'own'"]


@pytest.mark.parametrize(("num_differing", "is_told"), [(2, False), (3, True)])
def test_more_than_two_percent_of_given_answers_that_differ_are_told(num_differing, is_told):
    own = ["b"] * num_differing + ["a"] * (100 - num_differing)
    for rule in ("majority", "given"):
        assert learnt([["a", "a", "b"]] * 100, rule, own=own)["remark"].count() == num_differing * is_told


def test_one_of_a_tie_given_does_not_differ():
    assert learnt([["a", "b"]], "given", own=["b"])["remark"].to_list() == [None]


def test_scores_count_as_votes():
    table = rows([["a", "b"]], scores=[[0.3, 1.0]])
    assert with_answer(table, "majority", key="id", scores="scores")["answer"].to_list() == ["b"]


def test_given_answers_that_are_not_there_are_an_error():
    with pytest.raises(SourceError, match="use `answer: majority`"):
        learnt([["a"]], "given")
