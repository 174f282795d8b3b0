"""Samples and the answers that are there -> exchanges, and the requests that are still pending.

Pure: nothing is sent here. The same answers give the same exchanges, whenever and in whatever order they came, so a
changed check or parser is only run again. Sending is a loop around this: send what is pending until nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from vldata.llm.records import Answer, Failure
from vldata.llm.request import Prompt, Request
from vldata.synth.best import agreement, best, coverage, judged, leads, pairs_to_judge
from vldata.synth.draws import MISSING_INPUT, NOT_BEST, NOT_GENERATED, Draw, Outcome
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind import SynthKind
from vldata.synth.kinds import load_kind
from vldata.synth.models import Synth
from vldata.synth.replies import ParseError
from vldata.synth.validate import Answered, Comparison, Finding, SameAnswers, text_of

Folded = TypeVar("Folded")


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
        judge: The kind that chooses, and its words; None where none does.
    """

    kind: SynthKind
    spec: Synth
    answers: AnswerLookup
    prompt: Prompt
    judge: tuple[SynthKind, Prompt] | None = None


def _source(kind: SynthKind, spec: Synth, answers: AnswerLookup, judge: SynthKind | None) -> _Source:
    prompt = kind.prompt(model=spec.model, endpoint=spec.endpoint, parameters=spec.parameters)
    if judge is None:
        return _Source(kind, spec, answers, prompt)
    return _Source(
        kind, spec, answers, prompt, (judge, judge.prompt(model=spec.judge_model or spec.model, endpoint=spec.endpoint))
    )


def first_requests(samples: Iterable[Inputs], kind: SynthKind, spec: Synth) -> Iterator[Request]:
    """The requests about every sample before any reply is known."""
    prompt = kind.prompt(model=spec.model, endpoint=spec.endpoint, parameters=spec.parameters)
    for inputs in samples:
        if not kind.missing(inputs):
            for number in range(kind.settings.draws):
                yield kind.write(inputs, prompt, sample_index=number)


def outcomes(
    samples: Iterable[Inputs], kind: SynthKind, spec: Synth, answers: AnswerLookup, judge: SynthKind | None = None
) -> Iterator[Outcome]:
    """What becomes of every sample by itself, one after the other; nothing is held, however many there are.

    Args: as `replay`, which also compares the answers with each other.
    """
    return _outcomes(samples, _source(kind, spec, answers, judge))


def replay(
    samples: Iterable[Inputs],
    kind: SynthKind,
    spec: Synth,
    answers: AnswerLookup,
    judge: SynthKind | None = None,
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
        fold: Goes through all outcomes. When it is called twice, the first result is forgotten.
    """
    again = partial(_outcomes, samples, _source(kind, spec, answers, judge))
    if spec.same_answers is None:
        return fold(again())
    compared = Comparison(SameAnswers(policy=spec.same_answers))
    result = fold(_compared(again(), compared))
    same = compared.findings()
    return result if not same else fold(_without_same(again(), kind, same))


def _outcomes(samples: Iterable[Inputs], source: _Source) -> Iterator[Outcome]:
    for inputs in samples:
        yield Outcome(*_of_sample(inputs, source))


def _compared(alone: Iterator[Outcome], comparison: Comparison) -> Iterator[Outcome]:
    for outcome in alone:
        for draw in outcome.draws:
            if draw.kept:
                said = [draw.exchanges[place] for place in draw.kept]
                comparison.add(Answered(draw.row, _image(draw.inputs), said))
        yield outcome


def _of_sample(inputs: Inputs, source: _Source) -> tuple[list[Draw], list[Request]]:
    if lacks := source.kind.missing(inputs):
        problem, detail = MISSING_INPUT, ", ".join(lacks)
        if inputs.rejected:
            problem, detail = inputs.rejected[0][0], f"{inputs.rejected[0][1]}; it lacks {detail}"
        return [Draw(inputs, 0, (), problem=problem, detail=detail)], []
    settings = source.kind.settings
    draws = [_draw(inputs, number, source) for number in range(settings.draws)]
    return (draws, []) if settings.choose is None else _chosen(inputs, draws, source)


def _draw(inputs: Inputs, number: int, source: _Source) -> Draw:
    kind, most = source.kind, source.spec.max_reasks
    request = kind.write(inputs, source.prompt, sample_index=number)
    requests: tuple[Request, ...] = (request,)
    for again in range(most + 1):
        answer = source.answers.get(request)
        if answer is None:
            failure = source.answers.failure(request.key)
            why = failure.attempts[-1].error if failure is not None and failure.attempts else None
            return Draw(inputs, number, requests, problem=NOT_GENERATED, detail=why)
        exchanges, findings = kind.examine(answer.reply, inputs, sample_index=number)
        decision = kind.decide(exchanges, findings, may_reask=again < most)
        if decision.action == "reask":
            index = kind.settings.draws * (again + 1) + number
            request = kind.reask(request, answer.reply, decision.reasons, sample_index=index)
            requests = (*requests, request)
            continue
        draw = Draw(inputs, number, requests, answer, tuple(exchanges), tuple(findings), decision.kept)
        draw = draw._replace(repairs=exchanges.repairs)
        return draw if decision.kept else _dropped(draw, decision.reasons)
    raise AssertionError("the last reply is kept or dropped")


def _dropped(draw: Draw, reasons: Sequence[str]) -> Draw:
    first = next((f for f in draw.findings if f.reason in reasons), None)
    problem = first.reason if first is not None else "no_exchange"
    return draw._replace(kept=(), problem=problem, detail=first.detail if first is not None else None)


def _chosen(inputs: Inputs, draws: list[Draw], source: _Source) -> tuple[list[Draw], list[Request]]:
    """The draws, of which one is kept at most, and the pending requests to a judge."""
    choose = source.kind.settings.choose
    usable = [draw for draw in draws if draw.kept]
    if choose is None or not usable or any(draw.pending is not None for draw in draws):
        return draws, []
    texts = [draw.text for draw in usable]
    scores: list[float | None]
    if choose.by == "coverage":
        scores = [coverage(text, inputs) for text in texts]
    elif choose.by == "agreement":
        scores = agreement(texts) if len(texts) > 1 else [1.0]
    else:
        question = usable[0].exchanges[0].question
        scores, pending = _leads(pairs_to_judge(inputs, question, texts), source)
        if pending:
            waits = "the judge has not answered"
            return [d._replace(kept=(), problem=NOT_GENERATED, detail=waits) if d.kept else d for d in draws], pending
    place = best(scores, least=choose.least)
    kept = []
    for draw in draws:
        if draw in usable and usable.index(draw) != place:
            score = scores[usable.index(draw)]
            said = "no score" if score is None else f"score {score:.3g}"
            draw = draw._replace(kept=(), problem=NOT_BEST, detail=said)
        kept.append(draw)
    return kept, []


def _leads(pairs: Sequence[Inputs], source: _Source) -> tuple[list[float | None], list[Request]]:
    assert source.judge is not None, "a kind that chooses by a judge is loaded with it"
    judge, prompt = source.judge
    pending: list[Request] = []
    judgements = []
    for pair in pairs:
        read: list[Sequence[Exchange] | None] = []
        for number in range(judge.settings.draws):
            request = judge.write(pair, prompt, sample_index=number)
            answer = source.answers.get(request)
            if answer is None and source.answers.failure(request.key) is None:
                pending.append(request)
            read.append(None if answer is None else _judged(judge, answer, pair, number))
        judgements.append(judged(read))
    return leads(judgements), pending


def _judged(judge: SynthKind, answer: Answer, pair: Inputs, number: int) -> Sequence[Exchange] | None:
    try:
        return judge.read(text_of(answer.reply), pair, sample_index=number)
    except ParseError:  # missing, as a judgement that cannot be read says nothing about either answer
        return None


def _without_same(
    alone: Iterator[Outcome], kind: SynthKind, findings: Mapping[str, list[Finding]]
) -> Iterator[Outcome]:
    """Findings about answers that are given for many images, added to the draws that they are about."""
    for outcome in alone:
        yield outcome._replace(draws=[_with(draw, kind, findings.get(draw.row, [])) for draw in outcome.draws])


def _with(draw: Draw, kind: SynthKind, findings: Sequence[Finding]) -> Draw:
    if not draw.kept or not findings:
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
