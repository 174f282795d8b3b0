"""How the answers of each task are scored: decided by what the answers are, so anybody's task is scored too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vldata.codecs import CODECS, codec
from vldata.codecs.base import Codec
from vldata.errors import CodecError
from vldata.train.metrics import iou, token_f1, vqa_accuracy
from vldata.train.questions import Question

IOU_HIT = 0.5
"""Overlap from which a box counts as right: the measure of RefCOCO and its successors."""


@dataclass(frozen=True)
class Seen:
    """What the model made of an answer when it was given.

    Args:
        nll: Negative log likelihood of the answer and its end, nats.
        tokens: Of both.
        right: Tokens that were the likeliest at their place.
    """

    nll: float
    tokens: int
    right: int

    @property
    def is_exact(self) -> bool:
        """Greedy decoding would give exactly this answer."""
        return self.right == self.tokens


@dataclass(frozen=True)
class Kind:
    """How the answers of one task are scored.

    Args:
        measure: Name of the score that counts.
        generates: Answers are needed as text.
        boxes: What reads a box, for ``accuracy_at_iou_0.5``.
    """

    measure: str
    generates: bool
    boxes: Codec | None = None

    def scores(self, q: Question, seen: Seen, said: str | None) -> dict[str, float]:
        """Name to value; the first is the measure. ``said`` is None where nothing was generated."""
        values: dict[str, float] = {}
        if self.measure == "vqa_accuracy":
            values["vqa_accuracy"] = vqa_accuracy(said or "", [q.answer])
        elif self.boxes is not None:
            overlap = _overlap(self.boxes, said or "", q.answer)
            values["accuracy_at_iou_0.5"] = float(overlap is not None and overlap >= IOU_HIT)
            values["mean_iou"] = overlap or 0.0
            values["parsed"] = float(overlap is not None)
        elif self.measure == "cider_d":
            values["cider_d"] = 0.0  # needs all answers: see `_add_cider`
            values["token_f1"] = token_f1(said or "", q.answer)
        else:
            values[self.measure] = (
                float(seen.is_exact) if self.measure != "token_accuracy" else seen.right / seen.tokens
            )
        values["exact_match"] = float(seen.is_exact)
        values["token_accuracy"] = seen.right / seen.tokens
        values["nll_per_token"] = seen.nll / seen.tokens
        return values


_LONG_WORDS = 4.0  # mean words of an answer from which an exact match says little


def kinds_of(questions: Sequence[Question]) -> dict[str, Kind]:
    """How each task is scored: by what its answers are, so that a task of somebody else's is scored too."""
    kinds = {}
    for task in {q.task for q in questions}:
        own = [q for q in questions if q.task == task]
        boxes = box_codec([q.answer for q in own]) if all(q.has_boxes for q in own) else None
        if boxes is not None:
            kinds[task] = Kind("accuracy_at_iou_0.5", generates=True, boxes=boxes)
        elif task == "caption":
            kinds[task] = Kind("cider_d", generates=True)
        elif task == "vqa_open":
            kinds[task] = Kind("vqa_accuracy", generates=True)
        elif task in ("vqa_mc", "true_false"):
            kinds[task] = Kind("accuracy", generates=False)
        else:
            is_long = np.mean([len(q.answer.split()) for q in own]) > _LONG_WORDS
            kinds[task] = Kind("token_accuracy" if is_long else "exact_match", generates=False)
    return kinds


def box_codec(answers: Sequence[str]) -> Codec | None:
    """The codec whose boxes these answers are: it reads one box from each and writes the same text again.

    Several may fit, as they do when they differ in nothing that stands here; then any gives the same overlaps.
    """
    for name in CODECS:
        candidate = codec(name)
        if all(_is_box(candidate, answer) for answer in answers):
            return candidate
    return None


def _is_box(candidate: Codec, answer: str) -> bool:
    try:
        boxes = candidate.decode(answer)
    except CodecError:
        return False
    return len(boxes) == 1 and candidate.encode(boxes) == answer


def _overlap(boxes: Codec, said: str, answer: str) -> float | None:
    """Overlap of the one box that was said with the true one; None when it cannot be read."""
    try:
        said_boxes = boxes.decode(said)
    except CodecError:
        return None
    return iou(said_boxes[0], boxes.decode(answer)[0]) if len(said_boxes) == 1 else None
