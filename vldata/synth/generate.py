"""Samples and the answers that are there -> exchanges, and the requests that are still pending.

Pure: nothing is sent here. The same answers give the same exchanges, whenever and in whatever order they came, so a
changed check or parser is only run again. Sending is a loop around this: send what is pending until nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from vldata.llm.faults import FAULTS, Scope
from vldata.llm.limits import was_cut, with_limit
from vldata.llm.records import Answer, Failure
from vldata.llm.request import Prompt, Request
from vldata.synth.best import agreement, best, coverage, judged, leads, pairs_to_judge
from vldata.synth.draws import NOT_BEST, NOT_GENERATED, Draw, JudgeReply, Outcome
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind import SynthKind
from vldata.synth.kinds import load_kind
from vldata.synth.models import Synth
from vldata.synth.replies import ParseError
from vldata.synth.review import Reviews, reviewed
from vldata.synth.validate import Answered, Comparison, Finding, SameAnswers, text_of

Folded = TypeVar("Folded")
_NO_REVIEWS: Reviews = {}


class AnswerLookup(Protocol):
    """The answers that are there."""

    def get(self, request: Request | str, /) -> Answer | None:
        """The answer to a request."""
        ...

    def failure(self, key: str) -> Failure | None:
        """What became of a request that was given up."""
        ...


def load_kinds(spec: Synth, where: str) -> tuple[SynthKind, SynthKind | None]:
    """The kind that a recipe asks for, and the one that judges for it.

    Args:
        where: The place in the recipe, for errors.

    Raises:
        RecipeErrors: One of them cannot be used.
    """
    kind = load_kind(spec.kind, spec.prompts, where=f"{where}.kind").read_strictly(spec.strict)
    choose = kind.settings.choose
    judge = load_kind(choose.judge, where=f"{where}.kind") if choose is not None and choose.by == "judge" else None
    return kind, judge


@dataclass(frozen=True)
class _Source:
    """What all samples of a source share.

    Args:
        kind: What is made of them.
        prompt: Its words.
        reviews: What people said about replies.
        judge: The kind that chooses, and its words; None where none does.
    """

    kind: SynthKind
    spec: Synth
    answers: AnswerLookup
    prompt: Prompt
    reviews: Reviews
    judge: tuple[SynthKind, Prompt] | None = None


def _source(kind: SynthKind, spec: Synth, answers: AnswerLookup, judge: SynthKind | None, reviews: Reviews) -> _Source:
    prompt = kind.prompt(model=spec.model, endpoint=spec.key_endpoint, parameters=spec.parameters)
    if judge is None:
        return _Source(kind, spec, answers, prompt, reviews)
    judge_prompt = judge.prompt(model=spec.judge_model or spec.model, endpoint=spec.key_endpoint)
    return _Source(kind, spec, answers, prompt, reviews, (judge, judge_prompt))


def first_requests(samples: Iterable[Inputs], kind: SynthKind, spec: Synth) -> Iterator[Request]:
    """The requests about every sample before any reply is known."""
    prompt = kind.prompt(model=spec.model, endpoint=spec.key_endpoint, parameters=spec.parameters)
    for inputs in samples:
        if kind.why_unusable(inputs) is None:
            for number in range(kind.settings.draws):
                yield kind.write(inputs, prompt, sample_index=number)


def outcomes(
    samples: Iterable[Inputs],
    kind: SynthKind,
    spec: Synth,
    answers: AnswerLookup,
    judge: SynthKind | None = None,
    reviews: Reviews = _NO_REVIEWS,
    *,
    reask: bool = False,
) -> Iterator[Outcome]:
    """What becomes of every sample by itself, one after the other; nothing is held, however many there are.

    Args: as `replay`, which also compares the answers with each other.
        reask: Replies that do not pass their checks are going to be requested again.
    """
    return _outcomes(samples, _source(kind, spec, answers, judge, reviews), reask=reask)


def replay(
    samples: Iterable[Inputs],
    kind: SynthKind,
    spec: Synth,
    answers: AnswerLookup,
    judge: SynthKind | None = None,
    reviews: Reviews = _NO_REVIEWS,
    *,
    fold: Callable[[Iterator[Outcome]], Folded],
) -> Folded:
    """Read every answer that is there, sample by sample, and make something of it all; nothing is held meanwhile.

    Args:
        samples: What is known of each; ``row`` differs. They are gone through twice when an answer turns out to be
            given for many images, which only the last sample can show.
        kind: What is made of them.
        answers: Open for reading.
        judge: The kind that chooses, where ``kind`` says that one does.
        reviews: What people said about replies.
        fold: Goes through all outcomes. When it is called twice, the first result is forgotten.
    """
    again = partial(_outcomes, samples, _source(kind, spec, answers, judge, reviews))
    if spec.same_answers is None:
        return fold(again())
    compared = Comparison(SameAnswers(policy=spec.same_answers))
    result = fold(_compared(again(), compared))
    same = compared.findings()
    return result if not same else fold(_without_same(again(), kind, same))


def _outcomes(samples: Iterable[Inputs], source: _Source, *, reask: bool = False) -> Iterator[Outcome]:
    """Outcomes in the samples' order; with ``until``, those that are needed even if all that is pending is kept.

    So whatever came first, and however often a run was killed, the same samples are sent.
    """
    enough = source.spec.total if source.spec.until is not None else None
    num_hoped = 0
    for inputs in samples:
        outcome = _of_sample(inputs, source)
        yield outcome
        if enough is not None:
            sendable = outcome.pending if reask else outcome.first_pending
            num_hoped += outcome.is_kept or any(not is_refused(source.answers, request.key) for request in sendable)
            if num_hoped == enough:
                return


def is_refused(answers: AnswerLookup, key: str) -> bool:
    """Whether the endpoint refused a request itself, so that sending it again would not help."""
    failure = answers.failure(key)
    if failure is None or not failure.attempts:
        return False
    last = failure.attempts[-1].error
    return last is not None and last in FAULTS and last != "interrupted" and FAULTS[last].scope is Scope.ROW


def _compared(alone: Iterator[Outcome], comparison: Comparison) -> Iterator[Outcome]:
    for outcome in alone:
        for draw in outcome.draws:
            if draw.kept:
                said = [draw.exchanges[place] for place in draw.kept]
                comparison.add(Answered(draw.row, _image(draw.inputs), said))
        yield outcome


def _of_sample(inputs: Inputs, source: _Source) -> Outcome:
    if (unusable := source.kind.why_unusable(inputs)) is not None:
        problem, detail = unusable
        return Outcome([Draw(inputs, 0, (), problem=problem, detail=detail)], [])
    settings = source.kind.settings
    draws = [_draw(inputs, number, source) for number in range(settings.draws)]
    return Outcome(draws, []) if settings.choose is None else _chosen(inputs, draws, source)


def _draw(inputs: Inputs, number: int, source: _Source) -> Draw:
    """What became of a draw: its last reply counts, and one that does not pass its checks may be requested again."""
    kind, most = source.kind, source.spec.max_reasks
    request = kind.write(inputs, source.prompt, sample_index=number)
    sent: tuple[Request, ...] = ()
    settled: Draw | None = None
    for again in range(most + 1):
        requests, answer = _last_reply(request, source)
        if answer is None:
            if settled is not None:
                return settled._replace(again=requests[-1])
            why = _last_error(source.answers, requests[-1].key)
            return Draw(inputs, number, requests, problem=NOT_GENERATED, detail=why)
        sent += requests
        exchanges, findings = kind.examine(answer.reply, inputs, sample_index=number)
        reviews = source.reviews.get(answer.key, ())
        reask = kind.decide(exchanges, findings, may_reask=again < most and not reviews)
        decision = reask if reask.action != "reask" else kind.decide(exchanges, findings, may_reask=False)
        settled = Draw(inputs, number, sent, answer, tuple(exchanges), tuple(findings), decision.kept)
        settled = settled._replace(repairs=exchanges.repairs)
        settled = settled if decision.kept else _dropped(settled, decision.reasons)
        if reask.action != "reask":
            return reviewed(settled, reviews, whole=kind.settings.scope == "reply") if reviews else settled
        index = kind.settings.draws * (again + 1) + number
        request = kind.reask(request, answer.reply, reask.reasons, sample_index=index)
    raise AssertionError("the last reply is kept or dropped")


def _last_reply(request: Request, source: _Source) -> tuple[tuple[Request, ...], Answer | None]:
    """What was sent for a request, and the reply that counts: one that was cut off is requested with more tokens."""
    answer = source.answers.get(request)
    if answer is None:
        return (request,), None
    limit = None if answer.key in source.reviews else source.spec.retry_max_tokens
    longer = with_limit(request, limit) if limit is not None and was_cut(answer.reply) else None
    if longer is None:
        return (answer.request,), answer
    whole = source.answers.get(longer)
    if whole is not None:
        return (answer.request, whole.request), whole
    if is_refused(source.answers, longer.key):
        return (answer.request,), answer
    return (answer.request, longer), None


def _last_error(answers: AnswerLookup, key: str) -> str | None:
    failure = answers.failure(key)
    return failure.attempts[-1].error if failure is not None and failure.attempts else None


def _dropped(draw: Draw, reasons: Sequence[str]) -> Draw:
    first = next((f for f in draw.findings if f.reason in reasons), None)
    problem = first.reason if first is not None else "no_exchange"
    return draw._replace(kept=(), problem=problem, detail=first.detail if first is not None else None)


def _chosen(inputs: Inputs, draws: list[Draw], source: _Source) -> Outcome:
    """The draws, of which one is kept at most, and the pending requests to a judge."""
    choose = source.kind.settings.choose
    places = [place for place, draw in enumerate(draws) if draw.kept]
    usable = [draws[place] for place in places]
    if choose is None or not usable or any(draw.pending is not None for draw in draws):
        return Outcome(draws, [])
    if any(draw.is_reviewed for draw in usable):  # a person has chosen, and no judge is paid to do it again
        first = next(draw for draw in usable if draw.is_reviewed)
        return Outcome(
            [_passed_over(d, "a person chose another") if d.kept and d is not first else d for d in draws], []
        )
    texts = [draw.text for draw in usable]
    scores: list[float | None]
    if choose.by == "coverage":
        scores = [coverage(text, inputs) for text in texts]
    elif choose.by == "agreement":
        scores = agreement(texts) if len(texts) > 1 else [1.0]
    else:
        question = usable[0].exchanges[0].question
        scores, pending, replies = _leads(pairs_to_judge(inputs, question, texts), source)
        draws[0] = draws[0]._replace(judge_replies=replies)
        if pending:
            waits = "the judge has not answered"
            draws = [d._replace(kept=(), problem=NOT_GENERATED, detail=waits) if d.kept else d for d in draws]
            return Outcome(draws, pending)
    place = best(scores, least=choose.least)
    kept = []
    for number, draw in enumerate(draws):
        if number in places and places.index(number) != place:
            score = scores[places.index(number)]
            said = "no score" if score is None else f"score {score:.3g}"
            draw = _passed_over(draw, said)
        kept.append(draw)
    return Outcome(kept, [])


def _passed_over(draw: Draw, detail: str) -> Draw:
    return draw._replace(kept=(), problem=NOT_BEST, detail=detail)


def _leads(
    pairs: Sequence[Inputs], source: _Source
) -> tuple[list[float | None], list[Request], tuple[JudgeReply, ...]]:
    assert source.judge is not None, "a kind that chooses by a judge is loaded with it"
    judge, prompt = source.judge
    pending: list[Request] = []
    replies: list[JudgeReply] = []
    judgements = []
    for pair in pairs:
        read: list[Sequence[Exchange] | None] = []
        for number in range(judge.settings.draws):
            request = judge.write(pair, prompt, sample_index=number)
            answer = source.answers.get(request)
            if answer is None:
                if source.answers.failure(request.key) is None:
                    pending.append(request)
                read.append(None)
                continue
            exchanges, problem = _judged(judge, answer, pair, number)
            read.append(exchanges)
            replies.append(JudgeReply(pair.row, request, answer, *problem))
        judgements.append(judged(read))
    return leads(judgements), pending, tuple(replies)


def _judged(
    judge: SynthKind, answer: Answer, pair: Inputs, number: int
) -> tuple[Sequence[Exchange] | None, tuple[str | None, str | None]]:
    """What a judge's reply says, and why it cannot be read; it says nothing about either answer then."""
    try:
        return judge.read(text_of(answer.reply), pair, sample_index=number), (None, None)
    except ParseError as error:
        return None, (error.reason, error.detail)


def same_answers_of(draws: Iterable[Draw], spec: Synth) -> dict[str, list[Finding]]:
    """Findings about answers that are given for many images, by the draw's row."""
    if spec.same_answers is None:
        return {}
    compared = Comparison(SameAnswers(policy=spec.same_answers))
    for draw in draws:
        said = [draw.exchanges[place] for place in draw.kept]
        compared.add(Answered(draw.row, _image(draw.inputs), said))
    return compared.findings() if spec.same_answers == "drop" else {}


def _without_same(
    alone: Iterator[Outcome], kind: SynthKind, findings: Mapping[str, list[Finding]]
) -> Iterator[Outcome]:
    """Findings about answers that are given for many images, added to the draws that they are about."""
    for outcome in alone:
        yield outcome._replace(draws=[_with(draw, kind, findings.get(draw.row, [])) for draw in outcome.draws])


def _with(draw: Draw, kind: SynthKind, findings: Sequence[Finding]) -> Draw:
    if not draw.kept or not findings or draw.is_reviewed:
        return draw
    more = [finding._replace(exchange=draw.kept[finding.exchange or 0]) for finding in findings]
    draw = draw._replace(findings=(*draw.findings, *more))
    lost = {finding.exchange for finding in more if finding.policy == "drop"}
    left = tuple(place for place in draw.kept if place not in lost)
    is_lost = bool(lost) and (kind.settings.scope == "reply" or not left)
    return _dropped(draw, [finding.reason for finding in more]) if is_lost else draw._replace(kept=left)


def _image(inputs: Inputs) -> str:
    """What distinguishes samples of different images; a text is its own."""
    return "+".join(str(part["hash"]) for part in inputs.images) or inputs.row
