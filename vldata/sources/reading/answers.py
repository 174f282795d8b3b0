"""Several people's answers to a question -> the one that is learnt: one rule for every format that has several.

Answers are compared without the blanks around them, and one that is nothing but blanks is none. Of several that are
given equally often one is drawn by the question's id and the answer's own words: the same one whatever else is read,
and not always the one that a format lists first, which may be sorted.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from vldata.errors import SourceError
from vldata.schema.keyed import keyed, string_keys
from vldata.sources.reading.rows import note

AnswerRule = Literal["majority", "given", "all", "first"]
"""The most frequent answer; the one that the format itself calls right; a turn for each; the one listed first."""

TIE = "several answers are the most frequent ones, and one of them was drawn"
TOLD_ABOVE = 0.02
"""Share of questions whose given answer may differ from the majority's before that is reported."""

_EACH = pl.Schema({"place": pl.UInt32, "answer": pl.String, "votes": pl.Float64, "listed": pl.UInt32})


def with_answer(
    rows: pl.DataFrame, rule: AnswerRule, *, key: str, given: str | None = None, scores: str | None = None
) -> pl.DataFrame:
    """Add ``answer``, and ``remark``, which may say something of a row; one without answers is a ``missing_value``.

    Args:
        rows: ``answers``, lists of text, perhaps null; ``problem`` and ``detail``.
        rule: ``given`` needs a column of that name; where a row has no ``answers``, the given one is the majority's.
        key: The column of the questions' ids; ``all`` names the turns of one question ``<id>/<k>``.
        given: The column of the format's own answers, if it has them.
        scores: The column of the answers' scores, of as many numbers as there are answers; None counts each as one.

    Raises:
        SourceError: The given answers are requested, and there are none.
    """
    rows = rows.with_row_index("place")
    own = (_words(pl.col(given)) if given else pl.lit(None, pl.String)).alias("own")
    rows = rows.with_columns(own)
    if rule == "given" and rows.height and not rows["own"].count():
        problem = "no question has an answer of its own beside those of several people"
        raise SourceError("answer", problem, "use `answer: majority`, `first` or `all`")
    if rule in ("majority", "given"):
        open_ones = rows if scores or not given else _without_clear(rows)
        rows = _majority(rows, _distinct(open_ones, scores), rule, key, given)
    elif rule == "all":
        rows = _one_each(rows, _distinct(rows, scores), key)
    else:
        rows = _joined(rows, _distinct(rows, scores).sort("place", "listed").unique("place", keep="first"))
    if "remark" not in rows.columns:
        rows = rows.with_columns(remark=pl.lit(None, pl.String))
    missing = f"no {given!r}" if rule == "given" else "no answer"
    rows = note(rows, pl.col("answer").is_null(), "missing_value", pl.lit(missing))
    return rows.drop("place", "own")


def without_blank_remarks(turns: pl.DataFrame) -> pl.DataFrame:
    """Drop the column ``remark`` when it says nothing."""
    return turns.drop("remark") if turns["remark"].null_count() == turns.height else turns


def _words(column: pl.Expr) -> pl.Expr:
    """Texts without blanks around them; null for what is nothing else."""
    stripped = column.str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def _without_clear(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows but those of which more than half of the answers are the given one, word for word: most of them."""
    some = rows.lazy().filter(pl.col("answers").list.len() > 0).select("place", "own", "answers").collect()
    ends = some["answers"].list.len().to_numpy().cumsum(dtype=np.int64)
    same = some.lazy().explode("answers").select((pl.col("answers") == pl.col("own")).fill_null(False)).collect()
    so_far = np.concatenate([[0], same.to_series().to_numpy().cumsum(dtype=np.int64)])
    starts = np.concatenate([[0], ends[:-1]])
    is_clear = 2 * (so_far[ends] - so_far[starts]) > ends - starts
    return rows.filter(~pl.col("place").is_in(some["place"].filter(pl.Series(is_clear, dtype=pl.Boolean)).implode()))


def _distinct(rows: pl.DataFrame, scores: str | None) -> pl.DataFrame:
    """Every row's distinct answers: how often each was given, or its score, and where it was first listed."""
    some = rows.filter(pl.col("answers").list.len() > 0)
    if not some.height:
        return pl.DataFrame(schema=_EACH)
    columns = ["answers", *([scores] if scores else [])]
    each = some.select("place", *columns).explode(columns)
    each = each.with_columns(_words(pl.col("answers")).alias("answer")).with_row_index("listed").drop("answers")
    votes = pl.col(scores).sum() if scores else pl.len()
    counted = each.drop_nulls("answer").group_by("place", "answer").agg(votes=votes, listed=pl.col("listed").min())
    return counted.select(pl.col(name).cast(dtype) for name, dtype in _EACH.items())


def _joined(rows: pl.DataFrame, one_each: pl.DataFrame) -> pl.DataFrame:
    return rows.join(one_each.select("place", "answer"), on="place", how="left", maintain_order="left")


def _one_each(rows: pl.DataFrame, answers: pl.DataFrame, key: str) -> pl.DataFrame:
    listed = answers.sort("place", "listed").select("place", "answer", k=pl.int_range(pl.len()).over("place"))
    rows = rows.join(listed, on="place", how="left", maintain_order="left_right")
    return rows.with_columns(pl.when(pl.col("k").is_null()).then(key).otherwise(pl.format("{}/{}", key, "k"))).drop("k")


def _majority(rows: pl.DataFrame, answers: pl.DataFrame, rule: AnswerRule, key: str, given: str | None) -> pl.DataFrame:
    top = answers.group_by("place").agg(pl.col("votes").max().alias("top"))
    best = answers.join(top, on="place").filter(pl.col("votes") == pl.col("top"))
    best = best.with_columns(is_tie=pl.col("place").is_duplicated())
    tied = best.filter("is_tie").join(rows.select("place", key), on="place")
    drawn = tied.select(text=pl.format("{}\x1f{}", pl.col(key).fill_null(""), "answer"))["text"].to_list()
    ranks = pl.Series("rank", keyed(string_keys(drawn), 0, "answer"), dtype=pl.UInt64)
    tied = tied.with_columns(ranks).sort("place", "rank").unique("place", keep="first", maintain_order=True)
    best = pl.concat(
        [frame.select("place", "answer", "top", "is_tie") for frame in (best.filter(~pl.col("is_tie")), tied)]
    )
    rows = rows.join(best.select("place", "answer", "top", "is_tie"), on="place", how="left", maintain_order="left")
    own_votes = answers.select("place", "votes", own="answer")
    rows = rows.join(own_votes, on=["place", "own"], how="left", maintain_order="left")
    differs = pl.col("own").is_not_null() & (pl.col("votes").fill_null(0) < pl.col("top")).fill_null(False)
    is_told = differs.sum() > TOLD_ABOVE * pl.col("own").count()
    said = f"{given!r} is not the answer that most people gave"
    said += ", and was taken" if rule == "given" else ", which was taken (`answer: given` takes the other)"
    tie = pl.col("is_tie").fill_null(False) & pl.lit(rule == "majority")
    return rows.with_columns(
        remark=pl.when(differs & is_told).then(pl.lit(said)).when(tie).then(pl.lit(TIE)),
        answer=pl.col("own") if rule == "given" else pl.coalesce("answer", "own"),
    ).drop("top", "is_tie", "votes")
