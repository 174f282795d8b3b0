"""Answers of a held-out split, scored per task and per source, with a control that cannot see.

Most of it needs no generation. One packed forward pass over the split with its true answers gives the likelihood of
every answer and whether each of its tokens, its end included, was the likeliest: all of them is exactly what greedy
decoding would have to do to give that answer. Options are compared by the likelihood of each as the answer. Only
boxes, captions and open answers that were not hit exactly are generated.

Of an answer of a conversation, the true answers before it are given. The control sees each image's mean colour in place
of the image, so what it scores is what the words alone tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vldata.train.batch import IGNORED, Batch
from vldata.train.collate import ImageViews, joined
from vldata.train.data import Sample
from vldata.train.generate import generate
from vldata.train.kinds import Seen, kinds_of
from vldata.train.loss import score
from vldata.train.metrics import cider_d, interval, paired
from vldata.train.model import VLM
from vldata.train.pack import Limits, epoch_steps
from vldata.train.questions import Question
from vldata.train.tokenizer import Ids, Tokenizer

MAX_NEW_TOKENS = 64
"""Generated at most for one answer; the true answer's length, half again, when that is less."""


@dataclass(frozen=True)
class Scored:
    """One answer's scores.

    Args:
        seen: The true answer's likelihood.
        said: What the model answers; None where nothing was generated.
        scores: Name to value; the first is the task's measure.
    """

    question: Question
    seen: Seen
    said: str | None
    scores: dict[str, float]


class Scorer:
    """Scores questions with one model; the images decide whether it sees.

    Args:
        model: In evaluation mode.
        tokenizer: The one that it was trained with.
        limits: Tokens and images of a forward pass.
        tokens_per_view: Visual tokens of an image, or of each of its tiles.
    """

    def __init__(
        self, model: VLM, tokenizer: Tokenizer, limits: Limits, tokens_per_view: int, device: torch.device
    ) -> None:
        self.model, self.tokenizer, self.limits = model, tokenizer, limits
        self.tokens_per_view, self.device = tokens_per_view, device

    def score(self, questions: Sequence[Question], image: Callable[[int, int], ImageViews]) -> list[Scored]:
        """Every question's scores, in order.

        Args:
            image: By sample and place; see `vldata.train.collate.SplitImages`.
        """
        images = [[image(q.sample, place) for place in range(q.num_images)] for q in questions]
        seen = self.likelihoods([(q.prompt, q.answer_ids) for q in questions], images)
        kinds = kinds_of(questions)
        said: dict[int, str] = {place: q.answer for place, q in enumerate(questions) if seen[place].is_exact}
        to_say = [place for place, q in enumerate(questions) if kinds[q.task].generates and place not in said]
        most = [min(MAX_NEW_TOKENS, len(questions[place].answer_ids) * 3 // 2 + 2) for place in to_say]
        answers = self.answers([questions[place].prompt for place in to_say], [images[place] for place in to_say], most)
        said.update(zip(to_say, answers, strict=True))
        chosen = self._choices(questions, images)
        scored = [
            Scored(q, seen[place], said.get(place), kinds[q.task].scores(q, seen[place], said.get(place)))
            for place, q in enumerate(questions)
        ]
        for place, (by_mark, by_text) in chosen.items():
            own = scored[place].scores
            own.update({"accuracy": float(by_mark), "accuracy_by_option": float(by_text)})
        _add_cider(scored)
        return scored

    def likelihoods(self, pairs: Sequence[tuple[Ids, Ids]], images: Sequence[Sequence[ImageViews]]) -> list[Seen]:
        """How likely each answer is behind its prompt.

        Args:
            pairs: Prompt (one token an image) and answer.
        """
        by_place: dict[int, Seen] = {}
        for pack, batch in self._packed([(np.concatenate(pair), len(pair[0])) for pair in pairs], images):
            with self._autocast():
                hidden = self.model(batch)
            rows = batch.labels != IGNORED
            costs, best = score(hidden[rows], batch.labels[rows], self.model.head_weight)
            right = best == batch.labels[rows]
            sizes = [len(pairs[place][1]) for place in pack]
            for place, cost, hits in zip(pack, torch.split(costs, sizes), torch.split(right, sizes), strict=True):
                by_place[place] = Seen(float(cost.sum()), len(hits), int(hits.sum()))
        return [by_place[place] for place in range(len(pairs))]

    def answers(self, prompts: Sequence[Ids], images: Sequence[Sequence[ImageViews]], most: Sequence[int]) -> list[str]:
        """Greedy answers; each of at most ``most`` tokens."""
        said: dict[int, str] = {}
        for pack, batch in self._packed([(prompt, len(prompt)) for prompt in prompts], images):
            with self._autocast():
                longest, form = max(most[place] for place in pack), self.tokenizer
                tokens = generate(self.model, batch, longest, form.end_id, never=(form.image_id,))
            said.update(
                (place, self.tokenizer.decode(ids[: most[place]])) for place, ids in zip(pack, tokens, strict=True)
            )
        return [said[place] for place in range(len(prompts))]

    def _choices(
        self, questions: Sequence[Question], images: Sequence[Sequence[ImageViews]]
    ) -> dict[int, tuple[bool, bool]]:
        """Of each question with options: is the right mark the likeliest mark, the right text the likeliest text?"""
        places = [place for place, q in enumerate(questions) if q.options]
        pairs, shown = [], []
        for place in places:
            for option in questions[place].options:
                for text in option:
                    ids = np.array([*self.tokenizer.encode(text), self.tokenizer.end_id], np.int32)
                    pairs.append((questions[place].prompt, ids))
                    shown.append(images[place])
        seen = iter(self.likelihoods(pairs, shown))
        is_right = {}
        for place in places:
            q = questions[place]
            costs = [(next(seen), next(seen)) for _ in q.options]
            right = [mark for mark, _ in q.options].index(q.answer)
            by_mark = min(range(len(costs)), key=lambda n: costs[n][0].nll)
            by_text = min(range(len(costs)), key=lambda n: costs[n][1].nll / costs[n][1].tokens)
            is_right[place] = (by_mark == right, by_text == right)
        return is_right

    def _packed(
        self, documents: Sequence[tuple[Ids, int]], images: Sequence[Sequence[ImageViews]]
    ) -> Iterator[tuple[list[int], Batch]]:
        """Documents (tokens, and from where they are learnt) in packs, with their places."""
        counts = np.array([sum(len(one.views) for one in shown) for shown in images], np.int64)
        seen = [sum(one.tokens(self.tokens_per_view) - 1 for one in shown) for shown in images]
        lengths = np.array([len(ids) for ids, _ in documents], np.int64) + np.array(seen, np.int64)
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
                shown = [one for place in pack for one in images[place]]
                names = [str(place) for place in pack]
                batch = joined(learnt, shown, names, self.tokenizer.image_id, self.tokens_per_view)
                with torch.inference_mode():
                    yield list(pack), batch.to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def table(sees: Sequence[Scored], blind: Sequence[Scored], samples: Sequence[Sample]) -> dict[str, Any]:
    """Scores per task and per source, with intervals, the control and what seeing gains.

    Args:
        blind: Of the same questions, without images.
        samples: For their ids: answers of one sample are drawn together.
    """
    pairs = list(zip(sees, blind, strict=True))
    tasks = sorted({one.question.task for one in sees})
    sources = sorted({(one.question.source, one.question.task) for one in sees})
    scores: dict[str, Any] = {
        "tasks": {task: _row([pair for pair in pairs if pair[0].question.task == task], samples) for task in tasks},
        "sources": {},
    }
    for source, task in sources:
        own = [pair for pair in pairs if (pair[0].question.source, pair[0].question.task) == (source, task)]
        scores["sources"].setdefault(source, {})[task] = _row(own, samples)
    return scores


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


def _add_cider(scored: Sequence[Scored]) -> None:
    """CIDEr-D weighs a word by how many of a task's references have it, so it is scored over all of them at once."""
    for task in {one.question.task for one in scored if "cider_d" in one.scores}:
        own = [one for one in scored if one.question.task == task]
        values = cider_d([one.said or "" for one in own], [[one.question.answer] for one in own])
        for one, value in zip(own, values, strict=True):
            one.scores["cider_d"] = value
