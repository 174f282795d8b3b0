"""True or false: the statement, and the same as a question."""

from __future__ import annotations

import polars as pl

from vldata.tasks.true_false import TrueFalse


def test_the_question_is_added_and_the_statement_stays() -> None:
    turns = pl.DataFrame({"statement": ["The suitcase contains the cat.", "Dogs bark."], "answer": [True, False]})
    prepared = TrueFalse().prepare(turns, seed=0, salt="s")
    assert prepared.to_dict(as_series=False) == {
        "statement": ["The suitcase contains the cat.", "Dogs bark."],
        "answer": [True, False],
        "question": ["Does the suitcase contain the cat?", "Is the following statement true? Dogs bark."],
    }
