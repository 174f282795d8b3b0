"""Which of a question's choices is right, as tables say it: by its words, its letter, or its number from 0 or 1.

"2" of [3, 2, 0, 1] is the choice at 1, at 2, or at 1 again, so what a source means is taken only from all of its rows
together: the one reading that fits every row, or what the recipe says.
"""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.rows import note, shown

AnswerForm = Literal["text", "letter", "index0", "index1"]
"""The choice's own words; A, (b) or C.; its number, the first choice being 0; the first being 1."""

FORMS: tuple[AnswerForm, ...] = get_args(AnswerForm)
FROM_ONE = "the right choices were counted from 1, as no other reading fits all rows (`answer_is: index1`)"

_NUMBERS = {"index0", "index1"}


def with_right_choice(turns: pl.DataFrame, answer_is: AnswerForm | None, *, has_gaps: bool = False) -> pl.DataFrame:
    """The turns with ``answer`` as the number of the right choice, the first being 0.

    Args:
        turns: ``choices``; ``answer`` as text; ``is_number``, whether the table holds it as a number, which counts from
            0 where nothing speaks against it; ``problem`` and ``detail``.
        answer_is: None: what fits all rows.
        has_gaps: A choice that is null counts when the answer is a letter or a number, and is none afterwards.

    Raises:
        SourceError: Several readings fit all rows and differ, or none does.
    """
    read = turns.select("choices", "answer", **_readings(turns))
    usable = turns["problem"].is_null() & turns["answer"].is_not_null() & (turns["choices"].list.len() > 0)
    form = answer_is or _form(read.filter(usable.fill_null(False)), bool(turns["is_number"].all()))
    turns = turns.with_columns(read[form].alias("said"))
    wrong = pl.col("answer").is_not_null() & pl.col("choices").is_not_null() & pl.col("said").is_null()
    what = {"text": "none of the choices", "letter": "no letter"}.get(form, "no whole number")
    turns = note(turns, wrong, "unparsable_row", pl.format("'answer' is {}, {}", _quoted("answer"), pl.lit(what)))
    if form == "index1" and answer_is is None:
        turns = turns.with_columns(remark=pl.lit(FROM_ONE))
    if has_gaps:
        before = pl.col("choices").list.head(pl.col("said").clip(0)).list.eval(pl.element().is_null()).list.sum()
        is_gap = pl.col("choices").list.get(pl.col("said").clip(0), null_on_oob=True).is_null()
        is_gap &= pl.col("said").is_between(0, pl.col("choices").list.len().cast(pl.Int64) - 1)
        turns = note(turns, is_gap, "unparsable_row", pl.format("'answer' is {}, an empty choice", _quoted("answer")))
        turns = turns.with_columns(said=pl.col("said") - before, choices=pl.col("choices").list.drop_nulls())
    return turns.drop("answer", "is_number").rename({"said": "answer"})


def _readings(turns: pl.DataFrame) -> dict[str, pl.Series]:
    """The choice that each form makes of the answers, perhaps outside the choices; null where it makes none."""
    words = turns["answer"].str.strip_chars()
    letter = words.str.extract(r"^\(?([A-Za-z])[).:]?$", 1).str.to_uppercase()
    letters = pl.Series([chr(65 + k) for k in range(26)])
    numbers = words.str.extract(r"^([+-]?\d{1,18})$", 1).cast(pl.Int64, strict=False)
    rows = turns.select("choices", words=words).with_row_index("place")
    each = rows.filter(pl.col("choices").list.len() > 0).explode("choices")
    each = each.with_columns(k=pl.int_range(pl.len(), dtype=pl.Int64).over("place"))
    same = each.filter(pl.col("choices").str.strip_chars() == pl.col("words"))
    first = same.group_by("place").agg(pl.col("k").min())
    return {
        "text": rows.join(first, on="place", how="left", maintain_order="left")["k"],
        "letter": letter.replace_strict(letters, pl.Series(range(26)), default=None, return_dtype=pl.Int64),
        "index0": numbers,
        "index1": numbers - 1,
    }


def _form(read: pl.DataFrame, is_number: bool) -> AnswerForm:
    count = pl.col("choices").list.len().cast(pl.Int64)
    fits = read.select((pl.col(form).is_between(0, count - 1)).fill_null(False).sum() for form in FORMS).row(0)
    fitting = [form for form, num in zip(FORMS, fits, strict=True) if num == read.height]
    if is_number and _NUMBERS.issuperset(fitting) and fitting != ["index1"]:
        return "index0"
    if not fitting:
        told = ", ".join(f"{form} {num:,}" for form, num in zip(FORMS, fits, strict=True))
        problem = f"the answers say the right choice in no one way: of {read.height:,} rows fit as {told}"
        raise SourceError("answer_is", problem, f"say which is meant ({', '.join(FORMS)}): the rest is rejected by row")
    one = fitting[0]
    other = next((form for form in fitting if not read[form].equals(read[one])), None)
    if other is None:
        return one
    row = read.filter(pl.col(one) != pl.col(other)).row(0, named=True)
    problem = (
        f"the answers can be read as {' or '.join(fitting)}: {row['answer']!r} of {shown(row['choices'])} is "
        f"{row['choices'][row[one]]!r} as {one} and {row['choices'][row[other]]!r} as {other}"
    )
    raise SourceError("answer_is", problem, f"say which is meant: {' or '.join(f'`answer_is: {f}`' for f in fitting)}")


def _quoted(column: str) -> pl.Expr:
    return pl.format("'{}'", pl.col(column).str.slice(0, 60))
