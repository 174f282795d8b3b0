"""Questions in one file and their answers in another: which file has whose, and each question with its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from vldata.errors import SourceError
from vldata.paths import packed_or_not
from vldata.sources.reading.files import expand
from vldata.sources.reading.keep import BESIDE, merged, set_beside
from vldata.sources.reading.regions import with_problem_of
from vldata.sources.reading.rows import note

_ID, _IMAGE = "question_id", "image_id"


def answer_files(question_files: Sequence[Path], named: str | None) -> list[Path]:
    """The files of answers that a recipe names, or those beside the questions.

    Raises:
        SourceError: One of them is missing.
    """
    if named is not None:
        return expand(named)
    beside = [packed_or_not(file.with_name(_answers_name(file))) for file in question_files if _is_named(file)]
    for path in beside:
        if not path.is_file():
            problem, fix = "no such file of answers beside the questions", "name it with `annotations`"
            raise SourceError(str(path), problem, fix)
    return beside


def belonging(
    questions: Mapping[Path, pl.DataFrame],
    read: Callable[[Path], pl.DataFrame],
    named: str | None,
    *,
    asks: Sequence[str],
    answers: Sequence[str],
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Each file's questions with the answers that are its own.

    Args:
        questions: With their ids, in ``question_id``, as have answers.
        read: The answers of a file.
        named: As in `answer_files`.
        asks: Columns that say what a question is.
        answers: Columns that say what its answers are.

    Raises:
        SourceError: There are none; or it is open whose answers they are, and files differ about a question's id.
    """
    own = _own_files(list(questions), named)
    if own is not None:
        for path, file in own.items():
            yield questions[path], read(file)
        return
    answered = {path: read(path) for path in answer_files(list(questions), named)}
    _refuse_other_meanings(questions, asks)
    ids = pl.concat(table[_ID] for table in questions.values()).implode()
    requested = {path: table.filter(pl.col(_ID).is_in(ids)) for path, table in answered.items()}
    _refuse_other_meanings(requested, answers)
    yield pl.concat(questions.values()), pl.concat(answered.values())


def paired(
    questions: pl.DataFrame, annotations: pl.DataFrame, *, asks: Sequence[str], answers: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Each question with its answers, and the annotations that are no question's, with what is wrong.

    Args:
        questions: With ``question_id`` and ``image_id``, as have annotations.
        asks, answers: As in `belonging`.
    """
    ids = questions[_ID].drop_nulls().implode()
    annotations = set_beside(annotations).with_columns(
        is_first=pl.col(_ID).is_first_distinct(), has_question=pl.col(_ID).is_in(ids).fill_null(False)
    )
    used = pl.col("is_first") & pl.col("has_question")
    own = annotations.filter(used).select(_ID, _IMAGE, *answers, "problem", "detail", BESIDE, is_answered=True)
    pairs = merged(questions.join(own, on=_ID, how="left", maintain_order="left", suffix="_answer"))
    pairs = with_problem_of(pairs, "problem_answer", "detail_answer")
    pairs = note(pairs, pl.col("is_answered").is_null(), "missing_value", pl.lit("the question has no annotation"))
    asked = pairs[_ID].drop_nulls()
    if asked.n_unique() < asked.len():
        said = pl.lit("several questions and several annotations have this id: read their files apart")
        several = pl.col(_ID).is_duplicated() & _differ(annotations, answers)
        pairs = note(pairs, several, "unparsable_row", said)
        said = pl.lit("other questions have this id too, and which one its annotation answers is open")
        pairs = note(pairs, _differ(pairs, asks), "unparsable_row", said)
    is_other = (pl.col(_IMAGE) != pl.col(f"{_IMAGE}_answer")).fill_null(False)
    said = pl.format("its annotation is of image {}, and the question of {}", f"{_IMAGE}_answer", _IMAGE)
    pairs = note(pairs, is_other, "unparsable_row", said)
    left = merged(annotations.filter(~used))
    left = note(left, pl.col("has_question"), "unparsable_row", pl.lit("a second annotation of the same question"))
    return pairs, note(left, pl.lit(True), "missing_value", pl.lit("the annotation has no question"))


def _differ(rows: pl.DataFrame, columns: Sequence[str]) -> pl.Expr:
    """Whether a question's id is one of which these rows say different things."""
    meanings = rows.drop_nulls(_ID).group_by(_ID).agg(n=pl.struct(columns).n_unique())
    return pl.col(_ID).is_in(meanings.filter(pl.col("n") > 1)[_ID].implode()).fill_null(False)


def _own_files(question_files: list[Path], named: str | None) -> dict[Path, Path] | None:
    """The answers of each file of questions: beside it, or by their names; None where a recipe leaves it open.

    Raises:
        SourceError: A file has none.
    """
    found = answer_files(question_files, named)
    if named is None and len(found) < len(question_files):
        alone = next(file for file in question_files if not _is_named(file))
        raise SourceError(str(alone), "these questions have no file of answers", "name it with `annotations`")
    if named is None or len(question_files) == len(found) == 1:
        return dict(zip(question_files, found, strict=True))
    by_name = {path.name.removesuffix(".gz"): path for path in found}
    names = [_answers_name(path).removesuffix(".gz") for path in question_files]
    if len(found) == len(names) == len({*names}) and {*names} == by_name.keys():
        return {path: by_name[name] for path, name in zip(question_files, names, strict=True)}
    return None


def _is_named(questions: Path) -> bool:
    return "questions" in questions.name


def _answers_name(questions: Path) -> str:
    return questions.name.replace("OpenEnded_", "").replace("questions", "annotations")


def _refuse_other_meanings(tables: Mapping[Path, pl.DataFrame], columns: Sequence[str]) -> None:
    """Refuse files that say different things of one question's id.

    Raises:
        SourceError: They do; which id, and which files.
    """
    named = [table.select(_ID, *columns, file=pl.lit(str(path))) for path, table in tables.items()]
    rows = pl.concat(named).drop_nulls(_ID)
    rows = rows.filter(pl.col(_ID).is_duplicated())
    differ = rows.group_by(_ID, maintain_order=True).agg(
        files=pl.col("file").unique(maintain_order=True), meanings=pl.struct(columns).n_unique()
    )
    differ = differ.filter(pl.col("meanings") > 1, pl.col("files").list.len() > 1)
    if differ.height:
        number, files, _ = differ.row(0)
        problem = f"{files[1]} says something else of the question {number!r}"
        raise SourceError(files[0], problem, "make them two sources, or name the pairs so that they find each other")
