"""Which of a question's choices is right, as tables say it: by its words, its letter, or its number from 0 or 1.

"2" of [3, 2, 0, 1] is the choice at 1, at 2, or at 1 again, so what a source means is taken only from all of its rows
together: the one reading that fits every row, or what the recipe says.
"""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.rows import note, with_remarks

AnswerForm = Literal["text", "letter", "index0", "index1"]
"""The choice's own words; A, (b) or C.; its number, the first choice being 0; the first being 1."""

FORMS: tuple[AnswerForm, ...] = get_args(AnswerForm)
FROM_ONE = "the right choices were counted from 1, as no other reading fits all rows (`answer_is: index1`)"

LABELS_STAY = "its options have labels such as {}, not in order, which stay beside those that templates write"

LABELS_OFF = "its options had labels such as {}, which were taken off, as templates write their own"

_NUMBERS = {"index0", "index1"}
_LABEL = r"^\s*(?<open>\(?)(?<mark>[A-Za-z]|[1-9][0-9]?)(?<close>[.):])(?<gap>\s*)(?<rest>\S(?s:.*))$"
_BORNE = {"place": pl.Int64, "k": pl.Int64, "number": pl.Int64, "label": pl.String, "is_digit": pl.Boolean}
_MAY_BE_LABELLED = r"^\s*\(?[Aa1][.):]"


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
    turns, labels, borne = _without_labels(turns)
    read = turns.select("choices", "answer", **_readings(turns, labels))
    if borne.height:
        turns = with_remarks(turns, [_said_of(borne, turns.height)])
        read = _by_own_labels(read, borne)
    usable = turns["problem"].is_null() & turns["answer"].is_not_null() & (turns["choices"].list.len() > 0)
    usable = usable.fill_null(False)
    are_counted = labels.filter(usable).list.first().str.starts_with("1").fill_null(False)
    from_one = bool(are_counted.all()) and are_counted.len() > 0
    form = answer_is or _form(read.filter(usable), bool(turns["is_number"].all()), from_one)
    turns = turns.with_columns(read[form].alias("said"))
    wrong = pl.col("answer").is_not_null() & pl.col("choices").is_not_null() & pl.col("said").is_null()
    what = {"text": "none of the choices", "letter": "no letter"}.get(form, "no whole number")
    turns = note(turns, wrong, "unparsable_row", pl.format("'answer' is {}, {}", _quoted("answer"), pl.lit(what)))
    if form == "index1" and answer_is is None and not from_one:
        turns = with_remarks(turns, [FROM_ONE])
    if has_gaps:
        before = pl.col("choices").list.head(pl.col("said").clip(0)).list.eval(pl.element().is_null()).list.sum()
        is_gap = pl.col("choices").list.get(pl.col("said").clip(0), null_on_oob=True).is_null()
        is_gap &= pl.col("said").is_between(0, pl.col("choices").list.len().cast(pl.Int64) - 1)
        turns = note(turns, is_gap, "unparsable_row", pl.format("'answer' is {}, an empty choice", _quoted("answer")))
        turns = turns.with_columns(said=pl.col("said") - before, choices=pl.col("choices").list.drop_nulls())
    return turns.drop("answer", "is_number").rename({"said": "answer"})


def _said_of(borne: pl.DataFrame, height: int) -> pl.Expr:
    first = borne.unique("place", keep="first", maintain_order=True)
    said = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    told = [LABELS_STAY.format(label) for label in first["label"].str.replace_all(r"\w", "B").to_list()]
    return pl.lit(said.scatter(first["place"].to_list(), told))


def _by_own_labels(read: pl.DataFrame, borne: pl.DataFrame) -> pl.DataFrame:
    """The readings in which a letter, or a number from 1, is the choice that bears it; null where that is not one."""
    alone = borne.filter(pl.struct("place", "number").is_unique())
    read = read.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))
    for form, digit in (("letter", False), ("index1", True)):
        own = alone.filter(pl.col("is_digit") == digit).select("place", pl.col("number").alias(form), "k")
        has = pl.col("place").is_in(borne.filter(pl.col("is_digit") == digit)["place"].unique().implode())
        read = read.join(own, on=["place", form], how="left", maintain_order="left")
        read = read.with_columns(pl.when(has).then("k").otherwise(form).alias(form)).drop("k")
    return read.drop("place")


def _without_labels(turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """The turns with the labels off the choices of each question where all have one of a kind, in order, with a remark.

    Returns:
        The turns; of each question the labels as they begin its choices ("A.", "(b)", "1)"), null where it has none or
        a choice is, and null for questions whose choices stay; and the labels of those that have as many, of one kind,
        in another order (``place, k, number, label, is_digit``).
    """
    places = pl.DataFrame({"place": pl.int_range(turns.height, eager=True)})
    nothing = pl.Series("labels", [None], dtype=pl.List(pl.String)).new_from_index(0, turns.height)
    none = pl.DataFrame(schema=_BORNE)
    if not turns["choices"].explode().str.contains(_MAY_BE_LABELLED).any():
        return turns, nothing, none
    has_one = pl.col("choices").list.eval(pl.element().str.contains(_MAY_BE_LABELLED)).list.any()
    rows = turns.select("choices").with_row_index("place").filter(has_one & (pl.col("choices").list.len() > 1))
    each = rows.explode("choices").with_columns(k=pl.int_range(pl.len(), dtype=pl.Int64).over("place"))
    part = pl.col("part").struct
    mark = part.field("mark")
    letter = mark.str.to_uppercase().replace_strict([chr(65 + k) for k in range(26)], range(26), default=None)
    is_digit, is_capital = mark.str.contains(r"^\d"), mark == mark.str.to_uppercase()
    each = each.with_columns(part=pl.col("choices").str.extract_groups(_LABEL)).with_columns(
        number=pl.coalesce(mark.cast(pl.Int64, strict=False) - 1, letter.cast(pl.Int64)),
        label=pl.concat_str(part.field("open"), mark, part.field("close")),
        style=pl.concat_str(
            part.field("open"),
            part.field("close"),
            pl.when(is_digit).then(pl.lit("1")).when(is_capital).then(pl.lit("A")).otherwise(pl.lit("a")),
        ),
        is_apart=(part.field("close") == ")") | (part.field("gap") != ""),
        is_closed=(part.field("open") == "") | (part.field("close") == ")"),
        bare=part.field("rest"),
    )
    is_apart = pl.col("is_apart") & pl.col("is_closed")
    fits = (pl.col("number") == pl.col("k")) & is_apart
    there = pl.col("choices").is_not_null()
    labelled = (
        each.group_by("place")
        .agg(
            "label",
            "bare",
            is_labelled=(fits.fill_null(False) | ~there).all() & (there.sum() > 1),
            styles=pl.col("style").filter(there).n_unique(),
            is_other=(is_apart & (pl.col("number") < pl.len())).fill_null(False).all(),
        )
        .with_columns(pl.col("place").cast(pl.Int64))
    )
    others = labelled.filter(pl.col("is_other") & ~pl.col("is_labelled") & (pl.col("styles") == 1))
    labelled = labelled.filter(pl.col("is_labelled") & (pl.col("styles") == 1))
    each = each.with_columns(pl.col("place").cast(pl.Int64), is_digit=is_digit)
    borne = each.filter(pl.col("place").is_in(others["place"].implode())).select(*_BORNE)
    found = places.join(labelled, on="place", how="left", maintain_order="left")
    turns = turns.with_columns(choices=pl.coalesce(found["bare"], "choices"))
    said = pl.format(LABELS_OFF, found["label"].list.drop_nulls().list.first())
    return with_remarks(turns, [said]) if labelled.height else turns, found["label"].alias("labels"), borne


def _readings(turns: pl.DataFrame, labels: pl.Series) -> dict[str, pl.Series]:
    """The choice that each form makes of the answers, perhaps outside the choices; null where it makes none.

    Args:
        labels: Those that stood before the choices: an answer may be one, or have one before its words.
    """
    words = turns["answer"].str.strip_chars()
    letter = words.str.extract(r"^\(?([A-Za-z])[).:]?$", 1).str.to_uppercase()
    letters = pl.Series([chr(65 + k) for k in range(26)])
    numbers = words.str.extract(r"^([+-]?\d{1,18})$", 1).cast(pl.Int64, strict=False)
    rows = turns.select("choices", words=words).with_row_index("place")
    each = rows.filter(pl.col("choices").list.len() > 0).explode("choices")
    each = each.with_columns(k=pl.int_range(pl.len(), dtype=pl.Int64).over("place"))
    same = each.filter(pl.col("choices").str.strip_chars() == pl.col("words"))
    first = same.group_by("place").agg(pl.col("k").min())
    text = rows.join(first, on="place", how="left", maintain_order="left")["k"]
    if labels.null_count() < labels.len():
        text = pl.select(pl.coalesce(text, _by_label(rows, each, labels))).to_series()
    return {
        "text": text,
        "letter": letter.replace_strict(letters, pl.Series(range(26)), default=None, return_dtype=pl.Int64),
        "index0": numbers,
        "index1": numbers - 1,
    }


def _by_label(rows: pl.DataFrame, each: pl.DataFrame, labels: pl.Series) -> pl.Series:
    """The choice whose label an answer is, or begins with before the choice's own words."""
    known = pl.DataFrame({"place": rows["place"], "label": labels}).filter(pl.col("label").is_not_null())
    known = known.explode("label").with_columns(at=pl.int_range(pl.len(), dtype=pl.Int64).over("place"))
    both = each.join(known, left_on=["place", "k"], right_on=["place", "at"], how="inner")
    bare, words = pl.col("label").str.strip_chars("().:"), pl.col("words")
    is_label = (words == pl.col("label")) | (
        words.str.strip_chars("().:").str.to_uppercase() == bare.str.to_uppercase()
    )
    is_whole = words.str.strip_prefix(pl.col("label")).str.strip_chars() == pl.col("choices").str.strip_chars()
    first = both.filter(is_label | is_whole).group_by("place").agg(pl.col("k").min())
    return rows.join(first, on="place", how="left", maintain_order="left")["k"]


def _form(read: pl.DataFrame, is_number: bool, from_one: bool) -> AnswerForm:
    count = pl.col("choices").list.len().cast(pl.Int64)
    fits = read.select((pl.col(form).is_between(0, count - 1)).fill_null(False).sum() for form in FORMS).row(0)
    fitting = [form for form, num in zip(FORMS, fits, strict=True) if num == read.height]
    if from_one and "index1" in fitting and "text" not in fitting:
        return "index1"  # as their labels are
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
