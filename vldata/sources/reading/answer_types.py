"""Fields that hold several people's answers, or answers with their scores."""

from __future__ import annotations

import msgspec
import polars as pl

from vldata.sources.reading.native_types import NativeType, listed, lists_of_texts


class _Answer(msgspec.Struct, gc=False):
    answer: str


ANSWERS = NativeType(
    "a list of objects with an `answer`",
    frozenset({list}),
    pl.List(pl.String),
    lambda values: lists_of_texts([[said["answer"] for said in value] for value in values]),
    list[_Answer],
    lambda values: listed([said.answer for value in values for said in value], [len(value) for value in values]),
)


def _labels(values: list[dict[str, float]]) -> pl.Series:
    """Answers with their scores, the highest first."""
    scored = [sorted(scores.items(), key=lambda pair: -pair[1]) for scores in values]
    words = lists_of_texts([[answer for answer, _ in pairs] for pairs in scored])
    scores = pl.Series([[float(score) for _, score in pairs] for pairs in scored], dtype=pl.List(pl.Float64))
    return pl.DataFrame({"answers": words, "scores": scores}).to_struct()


LABEL = NativeType(
    "an object of answers and their scores",
    frozenset({dict}),
    pl.Struct({"answers": pl.List(pl.String), "scores": pl.List(pl.Float64)}),
    _labels,
)
