from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from train.conftest import TINY

from vldata.train import collate, evaluate, kinds, questions, tokenizer
from vldata.train.config import TrainCfg
from vldata.train.data import Sample, Turn
from vldata.train.model import VLM
from vldata.train.overrides import config_of
from vldata.train.pack import Limits

torch.set_num_threads(1)

TURN = Turn("1", "user", 1.0, False)


def sample(question: str, answer: str, task: str = "vqa_open", turn: Turn = TURN) -> Sample:
    return Sample("a/1", (("user", (question,)), ("assistant", (answer,))), (turn,), "a", task, 0)


def questions_of(*samples: Sample) -> list[questions.Question]:
    form = tokenizer.from_texts([text for one in samples for _, said in one.messages for text in said if text])
    return questions.questions(samples, form)


@pytest.fixture(scope="module")
def scorer() -> evaluate.Scorer:
    """A model that knows nothing yet."""
    form = tokenizer.from_texts(["What color is it? red blue green A. B. C."])
    base: TrainCfg = config_of("tiny", TINY)
    config = base.replace(decoder=base.decoder.replace(vocab=form.size))
    torch.manual_seed(0)
    limits = Limits(config.pack_tokens, config.pack_images)
    return evaluate.Scorer(VLM(config).eval(), form, limits, config.tokens_per_image(), torch.device("cpu"))


def blank(count: int) -> list[collate.ImageViews]:
    return [collate.ImageViews(np.full((1, 3, 32, 32), 50 * place, np.uint8)) for place in range(count)]


def test_every_answer_is_scored_behind_the_true_ones_before_it() -> None:
    messages = (
        ("user", (None, "What?")),
        ("assistant", ("red",)),
        ("user", ("Where?",)),
        ("assistant", ("here",)),
    )
    form = tokenizer.from_texts(["What? red Where? here"])
    first, second = questions.questions([Sample("a/1", messages, (TURN, TURN), "a", "vqa_open", 1)], form)
    read = lambda ids: form.fast.decode(ids.tolist(), skip_special_tokens=False)  # noqa: E731
    assert read(first.prompt) == "<user><image>What?<end><assistant>"
    assert read(second.prompt) == "<user><image>What?<end><assistant>red<end><user>Where?<end><assistant>"
    assert (first.answer, second.answer, second.num_images) == ("red", "here", 1)
    assert read(second.answer_ids) == "here<end>"


def test_options_are_read_where_the_answer_is_one_of_their_marks() -> None:
    (with_options,) = questions_of(sample("How many?\nA. 3\nB. 2\nAnswer with the letter.", "B"))
    (prose,) = questions_of(sample("How many?\nA. 3\nB. 2", "two"))
    assert with_options.options == (("A", "3"), ("B", "2"))
    assert prose.options == ()


def test_a_flipped_turn_is_a_task_of_its_own() -> None:
    (one,) = questions_of(
        sample("What is in [0.10, 0.20, 0.30, 0.40]?", "cat", "rec", Turn("1", "flip_user", 1.0, True))
    )
    assert one.task == "rec_flipped" and not one.has_boxes


def test_the_codec_of_boxes_is_found_from_the_answers() -> None:
    result = kinds.box_codec(["[0.10, 0.20, 0.30, 0.40]", "[0.00, 0.00, 1.00, 1.00]"])
    assert result is not None and result.name == "llava"
    assert kinds.box_codec(["[0.10, 0.20, 0.30, 0.40]", "a cat"]) is None


def test_likelihoods_are_those_of_one_document_at_a_time(scorer: evaluate.Scorer) -> None:
    form = scorer.tokenizer
    texts = [("What?", "red"), ("Is it blue or green?", "blue"), ("A", "green green green")]
    prompts = [np.array([form.image_id, *form.encode(question)], np.int32) for question, _ in texts]
    pairs = [
        (p, np.array([*form.encode(said), form.end_id], np.int32)) for p, (_, said) in zip(prompts, texts, strict=True)
    ]
    together = scorer.likelihoods(pairs, [[pixels] for pixels in blank(3)])
    alone = [scorer.likelihoods([pair], [[pixels]])[0] for pair, pixels in zip(pairs, blank(3), strict=True)]
    for one, other, (_, answer) in zip(together, alone, pairs, strict=True):
        assert one.nll == pytest.approx(other.nll, abs=1e-4) and one.right == other.right
        assert one.tokens == len(answer)


def test_an_exact_answer_by_likelihood_is_what_greedy_decoding_says(
    scorer: evaluate.Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = scorer.tokenizer
    # an untrained model says bytes that would be joined when read again, so its tokens are compared
    monkeypatch.setattr(form, "decode", lambda ids: " ".join(map(str, ids)))
    prompts = [np.array([*form.encode(text)], np.int32) for text in ("What?", "A blue one", "B")]
    said = scorer.answers(prompts, [[], [], []], [4, 4, 4])
    greedy = [np.array([int(token) for token in text.split()], np.int32) for text in said]
    for prompt, ids in zip(prompts, greedy, strict=True):
        (seen,) = scorer.likelihoods([(prompt, ids)], [[]])
        assert seen.tokens == len(ids) and seen.is_exact


def test_no_question_scores_nothing(scorer: evaluate.Scorer) -> None:
    assert scorer.likelihoods([], []) == [] and scorer.answers([], [], []) == []


def scored(task: str, values: Sequence[float], number: int = 0) -> list[evaluate.Scored]:
    (question,) = questions_of(sample("x", "y", task))
    seen = kinds.Seen(1.0, 2, 1)
    return [evaluate.Scored(replace(question, sample=n), seen, None, {"accuracy": v}) for n, v in enumerate(values)]


def test_the_table_has_the_gain_of_seeing_with_a_paired_interval() -> None:
    samples = [replace(sample("x", "y"), id=str(n)) for n in range(40)]
    sees, blind = scored("vqa_mc", [1.0, 0.0] * 20), scored("vqa_mc", [0.0] * 40)
    row = evaluate.table(sees, blind, samples)["tasks"]["vqa_mc"]
    assert (row["metric"], row["value"], row["blind"], row["n"]) == ("accuracy", 0.5, 0.0, 40)
    assert row["ci_low"] < 0.5 < row["ci_high"] and row["gain"]["ci_low"] > 0.3
    assert evaluate.table(sees, blind, samples)["sources"]["a"]["vqa_mc"] == row


def test_a_box_that_cannot_be_read_counts_as_a_miss() -> None:
    (question,) = questions_of(sample("Where?", "[0.10, 0.20, 0.30, 0.40]", "rec", Turn("1", "user", 1.0, True)))
    kind = kinds.kinds_of([question])["rec"]
    seen = kinds.Seen(1.0, 2, 1)
    miss = kind.scores(question, seen, "[0.10, 0.20")
    hit = kind.scores(question, seen, "[0.10, 0.20, 0.30, 0.35]")
    assert (miss["accuracy_at_iou_0.5"], miss["parsed"], miss["mean_iou"]) == (0.0, 0.0, 0.0)
    assert (hit["accuracy_at_iou_0.5"], hit["parsed"]) == (1.0, 1.0) and hit["mean_iou"] == pytest.approx(0.75)
