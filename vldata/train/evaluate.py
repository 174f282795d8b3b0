"""Answers of a held-out split, scored per task and per source, with a control that cannot see.

Most of it needs no generation. One packed forward pass over the split with its true answers gives the likelihood of
every answer and whether each of its tokens, its end included, was the likeliest: all of them is exactly what greedy
decoding would have to do to give that answer. Options are compared by the likelihood of each as the answer. Only
boxes, captions and open answers that were not hit exactly are generated.

Of an answer of a conversation, the true answers before it are given. The control sees each image's mean colour in place
of the image, so what it scores is what the words alone tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vldata.codecs import CODECS, codec
from vldata.codecs.base import Codec
from vldata.errors import CodecError
from vldata.train.batch import IGNORED, Batch
from vldata.train.collate import Pixels, joined
from vldata.train.data import Sample
from vldata.train.generate import generate
from vldata.train.loss import score
from vldata.train.metrics import cider_d, interval, iou, paired, token_f1, vqa_accuracy
from vldata.train.model import VLM
from vldata.train.pack import Limits, epoch_steps
from vldata.train.tokenizer import Ids, Tokenizer

IOU_HIT = 0.5
"""Overlap from which a box counts as right: the measure of RefCOCO and its successors."""

MAX_NEW_TOKENS = 64
"""Generated at most for one answer; the true answer's length, half again, when that is less."""

_MARK = re.compile(r"^\(?([A-Z]|\d{1,2})[.):]\)?\s+(\S.*)$")  # "A. red", "(B) blue", "3: green"


@dataclass(frozen=True)
class Question:
    """One answer that is asked for.

    Args:
        sample: Place of its sample among those evaluated.
        turn: Which of its answers, from 0.
        task: Its task; ``<task>_flipped`` when the template asks the other way round.
        source: Its source.
        prompt: Tokens up to where the answer begins, one for an image.
        answer: The true one.
        answer_ids: Its tokens and the one that ends it.
        num_images: Images of the prompt.
        options: Marks and texts of the options, when it has some and the answer is one of the marks.
        has_boxes: Boxes are known for it.
    """

    sample: int
    turn: int
    task: str
    source: str
    prompt: Ids
    answer: str
    answer_ids: Ids
    num_images: int
    options: tuple[tuple[str, str], ...]
    has_boxes: bool


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
class Scored:
    """One answer's scores.

    Args:
        question: What was asked.
        seen: The true answer's likelihood.
        said: What the model answers; None where nothing was generated.
        scores: Name to value; the first is the task's measure.
    """

    question: Question
    seen: Seen
    said: str | None
    scores: dict[str, float]


def questions(samples: Sequence[Sample], tokenizer: Tokenizer) -> list[Question]:
    """Every answer of the assistant's in order of samples and turns."""
    found = []
    for place, sample in enumerate(samples):
        turn = 0
        for number, (role, contents) in enumerate(sample.messages):
            if role != "assistant":
                continue
            known = sample.turns[turn]
            before = [
                (r, [c if c is None else tokenizer.encode(c) for c in said]) for r, said in sample.messages[:number]
            ]
            start, _ = tokenizer.conversation(before, [t.weight for t in sample.turns])
            prompt = np.concatenate([start, np.array(tokenizer.frames["assistant"].before, np.int32)])
            answer = "".join(content for content in contents if content is not None)
            asked = "\n".join(c for r, said in sample.messages[:number][-1:] for c in said if c is not None)
            options = _options(asked)
            is_flipped = known.variant.startswith("flip")
            found.append(
                Question(
                    sample=place,
                    turn=turn,
                    task=f"{sample.task}_flipped" if is_flipped else sample.task or "unnamed",
                    source=sample.source,
                    prompt=prompt,
                    answer=answer,
                    answer_ids=np.array([*tokenizer.encode(answer), tokenizer.end_id], np.int32),
                    num_images=int((prompt == tokenizer.image_id).sum()),
                    options=options if answer in {mark for mark, _ in options} else (),
                    has_boxes=known.has_boxes and not is_flipped,
                )
            )
            turn += 1
    return found


class Scorer:
    """Scores questions with one model; the pictures decide whether it sees.

    Args:
        model: In evaluation mode.
        tokenizer: The one that it was trained with.
        limits: Tokens and images of a forward pass.
        tokens_per_image: Visual tokens of an image.
        device: The model's.
    """

    def __init__(
        self, model: VLM, tokenizer: Tokenizer, limits: Limits, tokens_per_image: int, device: torch.device
    ) -> None:
        self.model, self.tokenizer, self.limits = model, tokenizer, limits
        self.tokens_per_image, self.device = tokens_per_image, device

    def score(self, asked: Sequence[Question], picture: Callable[[int, int], Pixels]) -> list[Scored]:
        """Every question's scores, in order.

        Args:
            asked: From `questions`.
            picture: An image's pixels by sample and place; see `vldata.train.collate.Pictures`.
        """
        images = [[picture(q.sample, place) for place in range(q.num_images)] for q in asked]
        seen = self.likelihoods([(q.prompt, q.answer_ids) for q in asked], images)
        kinds = _kinds(asked)
        said: dict[int, str] = {place: q.answer for place, q in enumerate(asked) if seen[place].is_exact}
        to_say = [place for place, q in enumerate(asked) if kinds[q.task].generates and place not in said]
        most = [min(MAX_NEW_TOKENS, len(asked[place].answer_ids) * 3 // 2 + 2) for place in to_say]
        answers = self.answers([asked[place].prompt for place in to_say], [images[place] for place in to_say], most)
        said.update(zip(to_say, answers, strict=True))
        chosen = self._choices(asked, images)
        scored = [
            Scored(q, seen[place], said.get(place), kinds[q.task].scores(q, seen[place], said.get(place)))
            for place, q in enumerate(asked)
        ]
        for place, (by_mark, by_text) in chosen.items():
            own = scored[place].scores
            own.update({"accuracy": float(by_mark), "accuracy_by_option": float(by_text)})
        _add_cider(scored)
        return scored

    def likelihoods(self, pairs: Sequence[tuple[Ids, Ids]], images: Sequence[Sequence[Pixels]]) -> list[Seen]:
        """How likely each answer is behind its prompt.

        Args:
            pairs: Prompt (one token an image) and answer.
            images: Of each.
        """
        found: dict[int, Seen] = {}
        for pack, batch in self._packed([(np.concatenate(pair), len(pair[0])) for pair in pairs], images):
            with self._autocast():
                hidden = self.model(batch)
            rows = batch.labels != IGNORED
            costs, best = score(hidden[rows], batch.labels[rows], self.model.head_weight)
            right = best == batch.labels[rows]
            sizes = [len(pairs[place][1]) for place in pack]
            for place, cost, hits in zip(pack, torch.split(costs, sizes), torch.split(right, sizes), strict=True):
                found[place] = Seen(float(cost.sum()), len(hits), int(hits.sum()))
        return [found[place] for place in range(len(pairs))]

    def answers(self, prompts: Sequence[Ids], images: Sequence[Sequence[Pixels]], most: Sequence[int]) -> list[str]:
        """Greedy answers; each of at most so many tokens."""
        said: dict[int, str] = {}
        for pack, batch in self._packed([(prompt, len(prompt)) for prompt in prompts], images):
            with self._autocast():
                tokens = generate(self.model, batch, max(most[place] for place in pack), self.tokenizer.end_id)
            said.update(
                (place, self.tokenizer.decode(ids[: most[place]])) for place, ids in zip(pack, tokens, strict=True)
            )
        return [said[place] for place in range(len(prompts))]

    def _choices(self, asked: Sequence[Question], images: Sequence[Sequence[Pixels]]) -> dict[int, tuple[bool, bool]]:
        """Of each question with options: is the right mark the likeliest mark, the right text the likeliest text?"""
        places = [place for place, q in enumerate(asked) if q.options]
        pairs, pictures = [], []
        for place in places:
            for option in asked[place].options:
                for text in option:
                    ids = np.array([*self.tokenizer.encode(text), self.tokenizer.end_id], np.int32)
                    pairs.append((asked[place].prompt, ids))
                    pictures.append(images[place])
        seen = iter(self.likelihoods(pairs, pictures))
        found = {}
        for place in places:
            q = asked[place]
            costs = [(next(seen), next(seen)) for _ in q.options]
            right = [mark for mark, _ in q.options].index(q.answer)
            by_mark = min(range(len(costs)), key=lambda n: costs[n][0].nll)
            by_text = min(range(len(costs)), key=lambda n: costs[n][1].nll / costs[n][1].tokens)
            found[place] = (by_mark == right, by_text == right)
        return found

    def _packed(
        self, documents: Sequence[tuple[Ids, int]], images: Sequence[Sequence[Pixels]]
    ) -> Iterator[tuple[list[int], Batch]]:
        """Documents (tokens, and from where they are learnt) in packs, with their places."""
        counts = np.array([len(pictures) for pictures in images], np.int64)
        lengths = np.array([len(ids) for ids, _ in documents], np.int64) + counts * (self.tokens_per_image - 1)
        limits = Limits(
            max(self.limits.tokens, int(lengths.max(initial=0))), max(self.limits.images, int(counts.max(initial=0)))
        )
        for packs in epoch_steps(lengths, counts, limits, 1, seed=0, epoch=0, fingerprint=""):
            for pack in packs:
                learnt = [
                    (
                        documents[place][0],
                        (np.arange(len(documents[place][0])) >= documents[place][1]).astype(np.float32),
                    )
                    for place in pack
                ]
                pictures = [pixels for place in pack for pixels in images[place]]
                names = [str(place) for place in pack]
                batch = joined(learnt, pictures, names, self.tokenizer.image_id, self.tokens_per_image)
                with torch.inference_mode():
                    yield list(pack), batch.to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def table(sees: Sequence[Scored], blind: Sequence[Scored], samples: Sequence[Sample]) -> dict[str, Any]:
    """Scores per task and per source, with intervals, the control and what seeing gains.

    Args:
        sees: Of every question.
        blind: Of the same questions, without images.
        samples: For their ids: answers of one sample are drawn together.
    """
    pairs = list(zip(sees, blind, strict=True))
    tasks = sorted({one.question.task for one in sees})
    sources = sorted({(one.question.source, one.question.task) for one in sees})
    found: dict[str, Any] = {
        "tasks": {task: _row([pair for pair in pairs if pair[0].question.task == task], samples) for task in tasks},
        "sources": {},
    }
    for source, task in sources:
        own = [pair for pair in pairs if (pair[0].question.source, pair[0].question.task) == (source, task)]
        found["sources"].setdefault(source, {})[task] = _row(own, samples)
    return found


def _row(pairs: Sequence[tuple[Scored, Scored]], samples: Sequence[Sample]) -> dict[str, Any]:
    groups = [samples[see.question.sample].id for see, _ in pairs]
    names = list(pairs[0][0].scores)
    values = {name: [see.scores[name] for see, _ in pairs if name in see.scores] for name in names}
    first = names[0]
    without = [hidden.scores[first] for _, hidden in pairs]
    seen, gain = interval(values[first], groups), paired(values[first], without, groups)
    return {
        "metric": first,
        "value": seen.value,
        "ci_low": seen.low,
        "ci_high": seen.high,
        "n": seen.n,
        "blind": float(np.mean(without)),
        "gain": {"value": gain.value, "ci_low": gain.low, "ci_high": gain.high},
        "also": {name: float(np.mean(values[name])) for name in names[1:]},
        "blind_also": {
            name: float(np.mean([hidden.scores[name] for _, hidden in pairs if name in hidden.scores]))
            for name in names[1:]
        },
    }


@dataclass(frozen=True)
class _Kind:
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
        found: dict[str, float] = {}
        if self.measure == "vqa_accuracy":
            found["vqa_accuracy"] = vqa_accuracy(said or "", [q.answer])
        elif self.boxes is not None:
            overlap = _overlap(self.boxes, said or "", q.answer)
            found["accuracy_at_iou_0.5"] = float(overlap is not None and overlap >= IOU_HIT)
            found["mean_iou"] = overlap or 0.0
            found["parsed"] = float(overlap is not None)
        elif self.measure == "cider_d":
            found["cider_d"] = 0.0  # needs all answers: see `_add_cider`
            found["token_f1"] = token_f1(said or "", q.answer)
        else:
            found[self.measure] = float(seen.is_exact) if self.measure != "token_accuracy" else seen.right / seen.tokens
        found["exact_match"] = float(seen.is_exact)
        found["token_accuracy"] = seen.right / seen.tokens
        found["nll_per_token"] = seen.nll / seen.tokens
        return found


_LONG_WORDS = 4.0  # mean words of an answer from which an exact match says little


def _kinds(asked: Sequence[Question]) -> dict[str, _Kind]:
    """How each task is scored: by what its answers are, so that a task of somebody else's is scored too."""
    found = {}
    for task in {q.task for q in asked}:
        own = [q for q in asked if q.task == task]
        boxes = box_codec([q.answer for q in own]) if all(q.has_boxes for q in own) else None
        if boxes is not None:
            found[task] = _Kind("accuracy_at_iou_0.5", generates=True, boxes=boxes)
        elif task == "caption":
            found[task] = _Kind("cider_d", generates=True)
        elif task == "vqa_open":
            found[task] = _Kind("vqa_accuracy", generates=True)
        elif task in ("vqa_mc", "true_false"):
            found[task] = _Kind("accuracy", generates=False)
        else:
            is_long = np.mean([len(q.answer.split()) for q in own]) > _LONG_WORDS
            found[task] = _Kind("token_accuracy" if is_long else "exact_match", generates=False)
    return found


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
        found = boxes.decode(said)
    except CodecError:
        return None
    return iou(found[0], boxes.decode(answer)[0]) if len(found) == 1 else None


def _add_cider(scored: Sequence[Scored]) -> None:
    """CIDEr-D weighs a word by how many of a task's references have it, so it is scored over all of them at once."""
    for task in {one.question.task for one in scored if "cider_d" in one.scores}:
        own = [one for one in scored if one.question.task == task]
        values = cider_d([one.said or "" for one in own], [[one.question.answer] for one in own])
        for one, value in zip(own, values, strict=True):
            one.scores["cider_d"] = value


def _options(asked: str) -> tuple[tuple[str, str], ...]:
    """Marks and texts of the options that stand in a question, a line each."""
    found = [match.groups() for line in asked.splitlines() if (match := _MARK.match(line.strip()))]
    return tuple((str(mark), str(text)) for mark, text in found)
