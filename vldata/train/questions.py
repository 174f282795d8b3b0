"""The questions of a held-out split: every answer of the assistant's, and its options where it has some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vldata.train.data import Sample
from vldata.train.tokenizer import Ids, Tokenizer

_MARK = re.compile(r"^\(?([A-Z]|\d{1,2})[.):]\)?\s+(\S.*)$")  # "A. red", "(B) blue", "3: green"


@dataclass(frozen=True)
class Question:
    """One answer and what stands before it.

    Args:
        sample: Place of its sample among those evaluated.
        turn: Which of its answers, from 0.
        task: Its task; ``<task>_flipped`` when the template asks the other way round.
        prompt: Tokens up to where the answer begins, one for an image.
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


def questions(samples: Sequence[Sample], tokenizer: Tokenizer) -> list[Question]:
    """Every answer of the assistant's in order of samples and turns."""
    answers = []
    for place, sample in enumerate(samples):
        turn = 0
        for number, (role, contents) in enumerate(sample.messages):
            if role != "assistant":
                continue
            described = sample.turns[turn]
            before = [
                (r, [c if c is None else tokenizer.encode(c) for c in said]) for r, said in sample.messages[:number]
            ]
            start, _ = tokenizer.conversation(before, [t.weight for t in sample.turns])
            prompt = np.concatenate([start, np.array(tokenizer.frames["assistant"].before, np.int32)])
            answer = "".join(content for content in contents if content is not None)
            question = "\n".join(c for r, said in sample.messages[:number][-1:] for c in said if c is not None)
            options = _options(question)
            is_flipped = described.variant.startswith("flip")
            answers.append(
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
                    has_boxes=described.has_boxes and not is_flipped,
                )
            )
            turn += 1
    return answers


def _options(text: str) -> tuple[tuple[str, str], ...]:
    """Marks and texts of the options that stand in a question, a line each."""
    matches = [match.groups() for line in text.splitlines() if (match := _MARK.match(line.strip()))]
    return tuple((str(mark), str(text)) for mark, text in matches)
