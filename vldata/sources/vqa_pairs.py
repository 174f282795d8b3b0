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
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import AfterValidator

from vldata.errors import SourceError
from vldata.shapes.language import Question, questions
from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.answer_types import ANSWERS, LABEL
from vldata.sources.reading.answers import AnswerRule, with_answer, without_blank_remarks
from vldata.sources.reading.files import open_json, plain
from vldata.sources.reading.image_names import checked_pattern, image_name, name_parts
from vldata.sources.reading.native_types import ID, TEXT, NativeType
from vldata.sources.reading.question_pairs import answer_files, belonging, paired
from vldata.sources.reading.rows import one_image, rows_under, turns_of, typed
from vldata.sources.standins import drawn, keys_for, scenes_for, write_json

ImageName = Annotated[str, AfterValidator(checked_pattern("id", "split"))]
_OWN = "multiple_choice_answer"


class VqaPairs(NativeRows):
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

    names: ClassVar[tuple[str, ...]] = ("*questions*.json",)
    rows_at: ClassVar[str] = "questions"
    native: ClassVar[Mapping[str, NativeType]] = {
        "question_id": ID.to("row"),
        "image_id": ID.to("images"),
        "question": TEXT,
    }

    annotations: str | None = None
    image_name: ImageName = "COCO_{split}2014_{id:012d}.jpg"
    answer: AnswerRule = "majority"

    def files(self) -> list[Path]:
        """The questions' files, then the answers'."""
        found = self.row_files()
        return [*found, *answer_files(found, self.annotations)]

    def turns(self, task: str) -> pl.DataFrame:
        """Every question with its answer; a question or an answer without the other is a ``missing_value``."""
        turns, rows = [], {}
        for path in self.row_files():
            document = open_json(path)
            alone = self._read_alone(document, path)
            if alone is None:
                asked = self.rows_of(document, path, task)
                name = image_name(self.image_name, id=pl.col("image_id"), split=pl.lit(self._split(document, path)))
                rows[path] = asked.with_columns(image=name)
            else:
                turns.append(alone)
        if rows:
            asks, says = ("question", "image"), (_OWN, "answers")
            both = belonging(rows, self._answers, self.annotations, asks=asks, answers=says)
            for pairs, left in (paired(*each, asks=asks, answers=says) for each in both):
                turns.append(_turns(with_answer(pairs, self.answer, key="question_id", given=_OWN)))
                lacking = dict.fromkeys(("question", "image", "answer", "remark"), pl.lit(None, pl.String))
                left = left.with_columns(question_id=pl.format("annotation/{}", "question_id"), **lacking)
                turns.append(_turns(left))
        return without_blank_remarks(pl.concat(turns, how="diagonal"))

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Questions about scenes, ten people agreeing on each answer, as the pair of files and ``train2014/``."""
        root = folder / "train2014"
        question_rows: list[dict[str, Any]] = []
        annotation_rows: list[dict[str, Any]] = []
        for scene, _ in drawn(scenes_for(rows, 10, seed), root, "COCO_train2014_{:012d}.jpg", images):
            image_id = scene.number + 1
            for question_id, question in enumerate(questions(scene)[:10], start=image_id * 1000):
                row = {"image_id": image_id, "question": question.question, "question_id": question_id}
                question_rows.append(row)
                annotation_rows.append(cls._standin_annotation(question, question_id, image_id))
        path = folder / f"{cls._stem}OpenEnded_mscoco_train2014_questions.json"
        head = {"task_type": "Open-Ended", "data_type": "mscoco", "data_subtype": "train2014"}
        write_json(path, {**head, "questions": question_rows[:rows]})
        annotated = {**head, "annotations": annotation_rows[:rows]}
        write_json(folder / f"{cls._stem}mscoco_train2014_annotations.json", annotated)
        return keys_for(path, root)

    _stem: ClassVar[str] = ""

    @classmethod
    def _standin_annotation(cls, question: Question, question_id: int, image_id: int) -> dict[str, Any]:
        raise NotImplementedError

    def _read_alone(self, document: Any, path: Path) -> pl.DataFrame | None:
        """The turns of a file that holds its own answers; None for one that needs the file of answers."""
        return self._lxmert(document) if isinstance(document, list) else None

    def _answers(self, path: Path) -> pl.DataFrame:
        fields = {"question_id": ID.to("answer"), "image_id": ID.to(), _OWN: TEXT.to("answer")}
        fields["answers"] = ANSWERS.to("answer", "answers")
        optional, ignored = {"image_id", _OWN, "answers"}, {"question_type", "answer_type", *self.ignore}
        rows = rows_under(open_json(path), "annotations", path)
        return typed(rows, fields, optional=optional, ignored=ignored, of="annotations", keep=self.keep)

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


def _turns(rows: pl.DataFrame) -> pl.DataFrame:
    return turns_of(rows, "question", "answer", "answers", row="question_id", images=one_image(pl.col("image")))
