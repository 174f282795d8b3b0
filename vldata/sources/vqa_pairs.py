"""VQAv2 and OK-VQA: a file of questions and a file of ten people's answers to each.

https://visualqa.org (annotations: CC BY 4.0) and https://okvqa.allenai.org (CC BY 4.0); photographs: COCO 2014, their
Flickr owners' terms.
Layout: ``path`` is a ``*questions*.json`` or a folder of them; the answers' file stands beside under the name that both
datasets give it (``v2_OpenEnded_mscoco_train2014_questions.json``, ``v2_mscoco_train2014_annotations.json``) or is
named by ``annotations``. ``image_root`` is the folder of the photographs.
A row of ``questions``: {"question_id": 458752000, "image_id": 458752, "question": "What is this photo taken looking
through?"}
A row of ``annotations``: {"question_id": 458752000, "image_id": 458752, "question_type": "what is this",
"answer_type": "other", "multiple_choice_answer": "net", "answers": [{"answer": "net", "answer_confidence": "maybe",
"answer_id": 1}, ...]}
Quirks: rows name an image by number only, the file's name follows from ``image_name``, and the split in it from the
file's ``data_subtype`` ("train2014"). OK-VQA has no ``multiple_choice_answer``; what others write in this form may call
so whatever answer is listed first, so it is learnt only with ``answer: given``.
LXMERT's own form (``train.json``, one list) is read too: {"sent": "What is the hairstyle of the blond called?",
"question_id": 516065, "label": {"pony tail": 1, "braid": 0.667}, "img_id": "COCO_train2014_000000051606"}; its most
frequent answer is the one with the highest score, and ``answers`` are the distinct ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import polars as pl
from pydantic import AfterValidator

from vldata.errors import SourceError
from vldata.paths import packed_or_not
from vldata.shapes.language import Question, questions
from vldata.shapes.scene import Scene
from vldata.sources.base import Keys, Source
from vldata.sources.reading.answers import AnswerRule, with_answer, without_blank_remarks
from vldata.sources.reading.files import expand, open_json, plain
from vldata.sources.reading.keep import BESIDE, KEPT, merged, set_beside
from vldata.sources.reading.rows import (
    ID,
    TEXT,
    NativeType,
    checked_pattern,
    files_named,
    image_name,
    listed,
    lists_of_texts,
    name_parts,
    note,
    one_image,
    rows_under,
    typed,
)
from vldata.sources.standins import draw, keys_for, scenes_for, write_json

ImageName = Annotated[str, AfterValidator(checked_pattern("id", "split"))]


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
_OWN = "multiple_choice_answer"


class VqaPairs(Source):
    """One turn a question; ``row`` is the question's id.

    Args:
        annotations: Answers, a file or glob; None looks beside the questions, with "annotations" for "questions" in the
            name and without "OpenEnded_".
        image_name: Photograph of a question: ``{id}`` is its image_id, ``{split}`` train, val or test.
        answer: What is learnt of several people's answers: the most frequent one, the file's own
            ``multiple_choice_answer``, every one in a turn of its own, or the one listed first.
    """

    tasks: ClassVar[tuple[str, ...]] = ("vqa_open",)
    version: ClassVar[int] = 4
    paths: ClassVar[tuple[str, ...]] = ("path", "annotations", "image_root")

    annotations: str | None = None
    image_name: ImageName = "COCO_{split}2014_{id:012d}.jpg"
    answer: AnswerRule = "majority"

    def files(self) -> list[Path]:
        """The questions' files, then the answers'."""
        question_files = self._question_files()
        return [*question_files, *self._annotation_files(question_files)]

    def turns(self, task: str) -> pl.DataFrame:
        """Every question with its answer; a question or an answer without the other is a ``missing_value``."""
        question_files = self._question_files()
        tables, open_questions = [], {}
        for path in question_files:
            document = open_json(path)
            table = self._read_alone(document, path)
            if table is None:
                open_questions[path] = self._read_questions(document, path)
            else:
                tables.append(table)
        if open_questions:
            tables += self._pairs(open_questions)
        return without_blank_remarks(pl.concat(tables, how="diagonal"))

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Questions about scenes, ten people agreeing on each answer, as the pair of files and ``train2014/``."""
        question_rows: list[dict[str, Any]] = []
        annotation_rows: list[dict[str, Any]] = []
        for scene, k, question in _scene_questions(rows, seed):
            image_id = scene.number + 1
            question_id = image_id * 1000 + k
            question_rows.append({"image_id": image_id, "question": question.question, "question_id": question_id})
            annotation_rows.append(cls._standin_annotation(question, question_id, image_id))
            if images and k == 0:
                draw(folder / "train2014", f"COCO_train2014_{image_id:012d}.jpg", scene)
        path = folder / f"{cls._stem}OpenEnded_mscoco_train2014_questions.json"
        head = {"task_type": "Open-Ended", "data_type": "mscoco", "data_subtype": "train2014"}
        write_json(path, {**head, "questions": question_rows})
        write_json(folder / f"{cls._stem}mscoco_train2014_annotations.json", {**head, "annotations": annotation_rows})
        return keys_for(path, folder / "train2014")

    _stem: ClassVar[str] = ""

    @classmethod
    def _standin_annotation(cls, question: Question, question_id: int, image_id: int) -> dict[str, Any]:
        raise NotImplementedError

    def _read_alone(self, document: Any, path: Path) -> pl.DataFrame | None:
        """The turns of a file that holds its own answers; None for one that needs the file of answers."""
        return self._lxmert(document) if isinstance(document, list) else None

    def _question_files(self) -> list[Path]:
        return files_named(self.path, "*questions*.json")

    def _annotation_files(self, question_files: list[Path]) -> list[Path]:
        if self.annotations is not None:
            return expand(self.annotations)
        beside = [packed_or_not(f.with_name(_answers_name(f.name))) for f in question_files if "questions" in f.name]
        for path in beside:
            if not path.is_file():
                raise SourceError(
                    str(path), "no such file of answers beside the questions", "name it with `annotations`"
                )
        return beside

    def _pairs(self, question_rows: Mapping[Path, pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The turns of each file of questions with the file of answers that is its own.

        Raises:
            SourceError: There is none; or it is open whose answers they are, and files differ about a question's id.
        """
        own = self._own_files(list(question_rows))
        if own is not None:
            for path, answers in own.items():
                yield self._paired(question_rows[path], self._answers(answers))
            return
        answer_rows = {path: self._answers(path) for path in self._annotation_files(list(question_rows))}
        _refuse_other_meanings(question_rows, ["question", "image"])
        ids = pl.concat(table["question_id"] for table in question_rows.values()).implode()
        _refuse_other_meanings(
            {path: table.filter(pl.col("question_id").is_in(ids)) for path, table in answer_rows.items()},
            [_OWN, "answers"],
        )
        yield self._paired(pl.concat(question_rows.values()), pl.concat(answer_rows.values()))

    def _own_files(self, question_files: list[Path]) -> dict[Path, Path] | None:
        """The answers of each file of questions: beside it, or by their names; None where `annotations` leaves it open.

        Raises:
            SourceError: A file has none.
        """
        answer_files = self._annotation_files(question_files)
        if self.annotations is None:
            if len(answer_files) < len(question_files):
                alone = next(path for path in question_files if not self._annotation_files([path]))
                problem, fix = "these questions have no file of answers", "name it with `annotations`"
                raise SourceError(str(alone), problem, fix)
            return dict(zip(question_files, answer_files, strict=True))
        if len(question_files) == len(answer_files) == 1:
            return {question_files[0]: answer_files[0]}
        by_name = {path.name.removesuffix(".gz"): path for path in answer_files}
        names = [_answers_name(path.name).removesuffix(".gz") for path in question_files]
        if len(answer_files) == len(names) == len({*names}) and {*names} == by_name.keys():
            return {path: by_name[name] for path, name in zip(question_files, names, strict=True)}
        return None

    def _read_questions(self, document: Any, path: Path) -> pl.DataFrame:
        fields = {"question_id": ID.to("row"), "image_id": ID.to("images"), "question": TEXT}
        rows = typed(rows_under(document, "questions", path), fields, ignored=self.ignore, keep=self.keep)
        name = image_name(self.image_name, id=pl.col("image_id"), split=pl.lit(self._split(document, path)))
        return rows.with_columns(image=name)

    def _answers(self, path: Path) -> pl.DataFrame:
        answers = ANSWERS.to("answer", "answers")
        fields = {"question_id": ID.to("answer"), _OWN: TEXT.to("answer"), "answers": answers, "image_id": ID.to()}
        ignored = {"question_type", "answer_type", *self.ignore}
        rows = rows_under(open_json(path), "annotations", path)
        optional = {_OWN, "answers", "image_id"}
        return set_beside(typed(rows, fields, optional=optional, ignored=ignored, of="annotations", keep=self.keep))

    def _paired(self, question_rows: pl.DataFrame, answer_rows: pl.DataFrame) -> pl.DataFrame:
        ids = question_rows["question_id"].drop_nulls().implode()
        answer_rows = answer_rows.with_columns(
            is_first=pl.col("question_id").is_first_distinct(),
            has_question=pl.col("question_id").is_in(ids).fill_null(False),
        )
        used = pl.col("is_first") & pl.col("has_question")
        pairs = question_rows.join(
            answer_rows.filter(used).select(
                "question_id", "image_id", _OWN, "answers", "problem", "detail", BESIDE, is_answered=True
            ),
            on="question_id",
            how="left",
            maintain_order="left",
            suffix="_answer",
        )
        pairs = merged(pairs).with_columns(
            problem=pl.coalesce("problem", "problem_answer"),
            detail=pl.when(pl.col("problem").is_null()).then("detail_answer").otherwise("detail"),
        )
        pairs = note(pairs, pl.col("is_answered").is_null(), "missing_value", pl.lit("the question has no annotation"))
        asked = pairs["question_id"].drop_nulls()
        if asked.n_unique() < asked.len():
            pairs = _apart(pairs, answer_rows)
        is_other = (pl.col("image_id") != pl.col("image_id_answer")).fill_null(False)
        said = pl.format("its annotation is of image {}, and the question of {}", "image_id_answer", "image_id")
        pairs = note(pairs, is_other, "unparsable_row", said)
        pairs = with_answer(pairs, self.answer, key="question_id", given=_OWN)
        left = merged(answer_rows.filter(~used)).with_columns(
            pl.lit(None, pl.String).alias(name) for name in ("question", "image", "answer", "remark")
        )
        left = note(left, pl.col("has_question"), "unparsable_row", pl.lit("a second annotation of the same question"))
        left = note(left, pl.lit(True), "missing_value", pl.lit("the annotation has no question"))
        return pl.concat([_turns(pairs), _turns(left).with_columns(row=pl.format("annotation/{}", "row"))])

    def _lxmert(self, document: list[Any]) -> pl.DataFrame:
        label = LABEL.to("answer", "answers")
        fields = {"question_id": ID.to("row"), "img_id": TEXT.to("images"), "sent": TEXT.to("question"), "label": label}
        ignored = {"class", "answer_type", "question_type", *self.ignore}
        rows = typed(document, fields, optional={"label"}, ignored=ignored, keep=self.keep)
        rows = rows.rename({"sent": "question"}).unnest("label").with_columns(image=pl.col("img_id") + ".jpg")
        return _turns(with_answer(rows, self.answer, key="question_id", scores="scores"))

    def _split(self, document: Any, path: Path) -> str | None:
        if not any(field == "split" for _, field, _ in name_parts(self.image_name, fields=("id", "split"))):
            return None
        for said in (plain(document.get("data_subtype")), path.name):
            if found := re.search(r"(train|val|test)", str(said)):
                return found[1]
        fix = f"write it into `image_name`: {self.image_name.replace('{split}', 'train')}"
        raise SourceError(str(path), "neither `data_subtype` nor the file's name tells the split", fix)


def _apart(pairs: pl.DataFrame, answer_rows: pl.DataFrame) -> pl.DataFrame:
    """The pairs, refused where questions share an id and differ, or have several annotations that do."""

    def differing(rows: pl.DataFrame, *columns: str) -> pl.Expr:
        each = rows.drop_nulls("question_id").group_by("question_id").agg(n=pl.struct(columns).n_unique())
        return pl.col("question_id").is_in(each.filter(pl.col("n") > 1)["question_id"].implode()).fill_null(False)

    said = "several questions and several annotations have this id: read their files apart"
    several = pl.col("question_id").is_duplicated() & differing(answer_rows, _OWN, "answers")
    pairs = note(pairs, several, "unparsable_row", pl.lit(said))
    said = "other questions have this id too, and which one its annotation answers is open"
    return note(pairs, differing(pairs, "question", "image"), "unparsable_row", pl.lit(said))


class VqaV2(VqaPairs):
    """VQAv2: 1.1 million questions about 200,000 photographs of COCO."""

    format: ClassVar[str] = "vqav2"
    about: ClassVar[str] = "VQAv2: questions and annotations of ten people each"
    licence: ClassVar[str] = "annotations CC BY 4.0; photographs under their Flickr owners' terms"
    _stem: ClassVar[str] = "v2_"

    @classmethod
    def _standin_annotation(cls, question: Question, question_id: int, image_id: int) -> dict[str, Any]:
        kind = "yes/no" if question.answer in ("yes", "no") else "number" if question.answer.isdigit() else "other"
        return {
            "question_type": question.question.partition(" ")[0].lower(),
            "multiple_choice_answer": question.answer,
            "answers": ten_answers(question.answer),
            "image_id": image_id,
            "answer_type": kind,
            "question_id": question_id,
        }


class OkVqa(VqaPairs):
    """OK-VQA: 14,055 questions whose answers need knowledge from outside the photograph."""

    format: ClassVar[str] = "okvqa"
    about: ClassVar[str] = "OK-VQA: questions and annotations, or LXMERT's train.json"
    licence: ClassVar[str] = "annotations CC BY 4.0; photographs under their Flickr owners' terms"

    @classmethod
    def _standin_annotation(cls, question: Question, question_id: int, image_id: int) -> dict[str, Any]:
        return {
            "image_id": image_id,
            "answer_type": "other",
            "question_type": "one",
            "question_id": question_id,
            "answers": ten_answers(question.answer),
            "confidence": 3,
        }


@cache
def ten_answers(answer: str) -> list[dict[str, Any]]:
    """A stand-in's ten people, who agree; one list for all questions with this answer."""
    return [{"answer": answer, "answer_confidence": "yes", "answer_id": k + 1} for k in range(10)]


def _scene_questions(rows: int, seed: int) -> Iterator[tuple[Scene, int, Question]]:
    """(scene, place, question) of ``rows`` questions, ten a scene."""
    every = ((scene, k, q) for scene in scenes_for(rows, 10, seed) for k, q in enumerate(questions(scene)[:10]))
    return islice(every, rows)


def _answers_name(name: str) -> str:
    return name.replace("OpenEnded_", "").replace("questions", "annotations")


def _refuse_other_meanings(tables: Mapping[Path, pl.DataFrame], columns: Sequence[str]) -> None:
    """Refuse files that say different things of one question's id.

    Raises:
        SourceError: They do; which id, and which files.
    """
    named = [table.select("question_id", *columns, file=pl.lit(str(path))) for path, table in tables.items()]
    rows = pl.concat(named).drop_nulls("question_id")
    rows = rows.filter(pl.col("question_id").is_duplicated())
    differ = rows.group_by("question_id", maintain_order=True).agg(
        files=pl.col("file").unique(maintain_order=True), meanings=pl.struct(columns).n_unique()
    )
    differ = differ.filter(pl.col("meanings") > 1, pl.col("files").list.len() > 1)
    if differ.height:
        number, files, _ = differ.row(0)
        problem = f"{files[1]} says something else of the question {number!r}"
        raise SourceError(files[0], problem, "make them two sources, or name the pairs so that they find each other")


def _turns(rows: pl.DataFrame) -> pl.DataFrame:
    images = one_image(pl.col("image"))
    columns = ("question", "answer", "answers", "problem", "detail", "remark")
    return rows.select(*columns, KEPT, row="question_id", images=images)
