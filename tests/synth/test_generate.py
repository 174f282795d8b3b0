"""The loop around sending, without sending: answers in a dict, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from vldata.llm.records import Answer, Attempt, Failure
from vldata.llm.request import Request, image_part
from vldata.synth.draws import NOT_BEST, NOT_GENERATED, Draw, Outcome
from vldata.synth.generate import first_requests, load_kinds, replay
from vldata.synth.inputs import Inputs, Region
from vldata.synth.kind import SynthKind
from vldata.synth.models import Synth
from vldata.synth.review import TurnReview, shown_texts

GOOD = (
    "Question:\nWhat lies on the red blanket {n}?\n===\nAnswer:\nA grey cat lies on it, stretched out in the sun {n}."
    "\n===\nQuestion:\nIs the cat asleep?\n===\nAnswer:\nYes, its eyes are closed and its paws hang down."
)


@dataclass
class Generated:
    """All outcomes, held."""

    outcomes: list[Outcome]

    @property
    def draws(self) -> tuple[Draw, ...]:
        return tuple(draw for outcome in self.outcomes for draw in outcome.draws)

    @property
    def judging(self) -> tuple[Request, ...]:
        return tuple(request for outcome in self.outcomes for request in outcome.judging)

    @property
    def pending(self) -> list[Request]:
        return [request for outcome in self.outcomes for request in outcome.pending]


def generate(
    samples: list[Inputs], kind: SynthKind, spec: Synth, known: StoredAnswers, judge: SynthKind | None = None
) -> Generated:
    return Generated(replay(samples, kind, spec, known, judge, fold=list))


class StoredAnswers:
    """Answers and failures by key."""

    def __init__(self) -> None:
        self.replies: dict[str, Answer] = {}
        self.failures: dict[str, Failure] = {}

    def get(self, asked: Request | str) -> Answer | None:
        return self.replies.get(asked if isinstance(asked, str) else asked.key)

    def failure(self, key: str) -> Failure | None:
        return self.failures.get(key)

    def say(self, request: Request, text: str, finish: str = "stop") -> None:
        reply = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
        attempt = Attempt(at=0.0, status=200, cost_usd=0.0)
        self.replies[request.key] = Answer(request.key, request, reply, (attempt,), 0.0, None, 0.0)


def sample(number: int, **more: Any) -> Inputs:
    return Inputs(
        row=f"{number}.jpg",
        captions=(f"A grey cat sleeps on a red blanket {number}.", "A cat in the sun."),
        boxes=(Region("cat", 0.1, 0.2, 0.5, 0.6), Region("blanket", 0.0, 0.1, 0.9, 0.9)),
        images=(image_part(f"{number:032x}"),),
        **more,
    )


def spec(kind: str = "llava.conversation", **more: Any) -> Synth:
    return Synth.model_validate({"from": "coco", "kind": kind, "model": "m", **more})


def made(kind: str = "llava.conversation", **more: Any) -> tuple[Synth, SynthKind, SynthKind | None]:
    wanted = spec(kind, **more)
    return wanted, *load_kinds(wanted, "sources.chat.synth")


def test_what_has_no_answer_is_pending_and_says_so() -> None:
    wanted, kind, _ = made()
    samples = [sample(n) for n in range(3)]
    found = generate(samples, kind, wanted, StoredAnswers())
    assert [request.key for request in found.pending] == [r.key for r in first_requests(samples, kind, wanted)]
    assert {draw.problem for draw in found.draws} == {NOT_GENERATED}


def test_a_good_reply_becomes_exchanges_and_nothing_is_pending() -> None:
    wanted, kind, _ = made()
    known = StoredAnswers()
    samples = [sample(n) for n in range(2)]
    for n, request in enumerate(first_requests(samples, kind, wanted)):
        known.say(request, GOOD.format(n=n))
    found = generate(samples, kind, wanted, known)
    assert not list(found.pending)
    assert [draw.kept for draw in found.draws] == [(0, 1), (0, 1)]
    assert found.draws[1].exchanges[0].question == "What lies on the red blanket 1?"


@pytest.mark.parametrize("said", [GOOD.format(n=0), "I am sorry, but I can't help with that."])
def test_a_reply_that_a_person_has_reviewed_is_final(said: str) -> None:
    wanted, kind, _ = made(retry_max_tokens=4096)
    known = StoredAnswers()
    request = next(first_requests([sample(0)], kind, wanted))
    known.say(request, said, finish="length")
    before = generate([sample(0)], kind, wanted, known)
    assert before.pending
    exchanges, _ = kind.examine(known.replies[request.key].reply, sample(0))
    texts = shown_texts(exchanges[0]) if exchanges else ("Where?", "There.")
    review = TurnReview(request.key, 0, len(exchanges), *texts, "accepted")
    folded = replay([sample(0)], kind, wanted, known, None, {request.key: [review]}, fold=list)
    after = Generated(folded)
    assert not after.pending and not list(after.outcomes[0].reasks)
    assert after.draws[0].is_reviewed and bool(after.draws[0].kept) == bool(exchanges)


def test_a_reply_that_will_not_do_is_requested_again_at_most_max_reasks_times() -> None:
    wanted, kind, _ = made(max_reasks=2)
    known = StoredAnswers()
    asked = []
    while pending := list(generate([sample(0)], kind, wanted, known).pending):
        assert len(pending) == 1
        asked.append(pending[0])
        known.say(pending[0], "no form at all")
    assert len(asked) == 3
    assert len({request.key for request in asked}) == 3
    (draw,) = generate([sample(0)], kind, wanted, known).draws
    assert not draw.kept
    assert draw.problem == "reply_unparsable"
    assert [request.key for request in draw.requests] == [request.key for request in asked]


def test_the_answer_to_the_repeated_request_counts() -> None:
    wanted, kind, _ = made()
    known = StoredAnswers()
    (first,) = generate([sample(0)], kind, wanted, known).pending
    known.say(first, GOOD.format(n=0), finish="length")
    (second,) = generate([sample(0)], kind, wanted, known).pending
    known.say(second, GOOD.format(n=0))
    (draw,) = generate([sample(0)], kind, wanted, known).draws
    assert draw.kept == (0, 1)
    assert draw.answer is not None
    assert draw.answer.key == second.key


def test_a_sample_that_lacks_what_the_kind_needs_is_never_sent() -> None:
    wanted, kind, _ = made("llava.detail")
    found = generate([replace(sample(0), boxes=())], kind, wanted, StoredAnswers())
    assert not list(found.pending)
    assert (found.draws[0].problem, found.draws[0].detail) == ("missing_input", "boxes")


def test_a_refused_request_tells_the_class_of_its_failure() -> None:
    wanted, kind, _ = made()
    known = StoredAnswers()
    (request,) = first_requests([sample(0)], kind, wanted)
    known.failures[request.key] = Failure(request.key, request, (Attempt(at=0.0, status=400, error="policy"),))
    (draw,) = generate([sample(0)], kind, wanted, known).draws
    assert (draw.problem, draw.detail) == (NOT_GENERATED, "policy")


def test_one_answer_over_many_images_is_no_data() -> None:
    wanted, kind, _ = made()
    known = StoredAnswers()
    samples = [sample(n) for n in range(6)]
    for request in first_requests(samples, kind, wanted):
        known.say(request, GOOD.format(n="of several that lie there in the afternoon light near the window"))
    assert {draw.problem for draw in generate(samples, kind, wanted, known).draws} == {"same_answer_over_images"}
    lenient = spec(same_answers=None)
    assert all(draw.kept for draw in generate(samples, kind, lenient, known).draws)
    marked = generate(samples, kind, spec(same_answers="mark"), known).draws
    assert all(draw.kept and draw.findings for draw in marked)


@pytest.mark.parametrize("by", ["coverage", "agreement"])
def test_of_several_draws_the_best_is_kept(by: str) -> None:
    wanted, kind, _ = made("caption.filter")
    assert kind.settings.choose is not None
    choose = kind.settings.choose.model_copy(update={"by": by, "least": None})
    kind = replace(kind, settings=kind.settings.model_copy(update={"choose": choose, "draws": 3}), validators=())
    known = StoredAnswers()
    told = ["A grey cat sleeps on a red blanket in the sun.", "A grey cat sleeps on a red blanket.", "Some street."]
    for request, text in zip(first_requests([sample(0)], kind, wanted), told, strict=True):
        known.say(request, text)
    draws = generate([sample(0)], kind, wanted, known).draws
    assert sum(bool(draw.kept) for draw in draws) == 1
    assert [draw.problem for draw in draws if not draw.kept] == [NOT_BEST, NOT_BEST]
    assert not draws[2].kept


def test_a_judge_sees_both_orders_once_every_draw_is_there() -> None:
    wanted, kind, _ = made("caption.filter")
    assert kind.settings.choose is not None
    choose = kind.settings.choose.model_copy(update={"by": "judge", "least": None})
    kind = replace(kind, settings=kind.settings.model_copy(update={"choose": choose, "draws": 2}), validators=())
    judge = load_kinds(spec("judge"), "x")[0]
    known = StoredAnswers()
    first, second = first_requests([sample(0)], kind, wanted)
    known.say(first, "A cat.")
    assert not generate([sample(0)], kind, wanted, known, judge).judging
    known.say(second, "A grey cat sleeps on a red blanket.")
    found = generate([sample(0)], kind, wanted, known, judge)
    assert len(found.judging) == judge.settings.draws == 2
    assert {draw.problem for draw in found.draws} == {NOT_GENERATED}
