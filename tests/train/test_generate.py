"""Greedy answers: the cache says what the whole model would say."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tests.train.packs import DOCUMENTS, PLACE, document, model, packed
from vldata.train.generate import generate
from vldata.train.model import VLM

NO_STOP = -1


def slowly(vlm: VLM, prompt: dict[str, torch.Tensor], steps: int) -> list[int]:
    """The answer by running everything again for each token."""
    answer: list[int] = []
    for _ in range(steps):
        ids = torch.cat([prompt["ids"], torch.tensor(answer, dtype=torch.int64)])
        batch = packed([{**prompt, "ids": ids, "labels": ids, "weights": torch.ones(len(ids))}])
        answer.append(int((vlm(batch)[-1] @ vlm.head_weight.T).argmax()))
    return answer


def test_cached_answers_are_those_of_the_whole_model() -> None:
    vlm = model().eval()
    vlm.decoder.embed_tokens.weight.data[PLACE] = 0.0  # never the likeliest: said again, it would need an image
    result = generate(vlm, packed(DOCUMENTS), 6, NO_STOP)
    assert result == [slowly(vlm, prompt, 6) for prompt in DOCUMENTS]
    assert len({tuple(answer) for answer in result}) > 1


def test_an_answer_ends_before_its_stop_and_leaves_the_others_alone() -> None:
    vlm = model().eval()
    free = generate(vlm, packed(DOCUMENTS), 6, NO_STOP)
    stop = free[0][2]
    expected = [answer[: answer.index(stop)] if stop in answer else answer for answer in free]
    assert generate(vlm, packed(DOCUMENTS), 6, stop) == expected


def test_one_token_and_none() -> None:
    vlm = model().eval()
    prompt = document(6, 1, 9)
    assert generate(vlm, packed([prompt]), 1, NO_STOP) == [slowly(vlm, prompt, 1)]
    assert generate(vlm, packed([prompt]), 0, NO_STOP) == [[]]


def test_a_token_that_is_forbidden_is_never_said_and_the_next_likeliest_is() -> None:
    vlm = model().eval()
    prompt = document(6, 1, 9)
    (first,) = slowly(vlm, prompt, 1)
    logits = vlm(packed([prompt]))[-1] @ vlm.head_weight.T
    ((said,),) = generate(vlm, packed([prompt]), 1, NO_STOP, never=(first,))
    assert said == int(logits.topk(2).indices[1]) != first
    vlm.decoder.embed_tokens.weight.data[PLACE] = 50 * vlm(packed([prompt]))[-1].detach()  # by far the likeliest
    assert generate(vlm, packed([prompt]), 1, NO_STOP) == [[PLACE]]
    assert PLACE not in generate(vlm, packed([prompt]), 5, NO_STOP, never=(PLACE,))[0]
