"""Samples and the answers that are there -> exchanges, and the requests whose answers are still wanting.

Pure: nothing is sent here. The same answers give the same exchanges, whenever and in whatever order they came, so a
changed check or parser is only run again. Sending is a loop around this: ask for what is wanting until nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from vldata.memory import no_collector
from vldata.synth.best import agreement, best, coverage, judged, leads, pairs_to_judge
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kinds import Kind, load_kind
from vldata.synth.models import Synth
from vldata.synth.parse import ParseError
from vldata.synth.records import Answer, Failure
from vldata.synth.request import Request
from vldata.synth.validate import Answered, Finding, SameAnswers, text_of

NOT_GENERATED = "not_generated"
NOT_BEST = "not_best"
MISSING_INPUT = "missing_input"


class Known(Protocol):
    """The answers that are there."""

    def get(self, asked: Request | str) -> Answer | None:
        """The answer to a request."""
        ...

    def failure(self, key: str) -> Failure | None:
        """What became of a request that was given up."""
        ...


@dataclass(frozen=True)
class Draw:
    """One draw of one sample: everything that was asked for it, and what became of the last reply.

    Args:
        inputs: The sample.
        number: Which draw, from 0.
        requests: The first one and those that asked again; the last one is the one that counts.
        answer: To the last one; None: it is wanting.
        exchanges: What the last reply holds.
        findings: All that is wrong with it.
        kept: Places of the exchanges that become turns.
        problem: Why nothing does; None when something does.
        detail: What exactly.
    """

    inputs: Inputs
    number: int
    requests: tuple[Request, ...]
    answer: Answer | None = None
    exchanges: tuple[Exchange, ...] = ()
    findings: tuple[Finding, ...] = ()
    kept: tuple[int, ...] = ()
    problem: str | None = None
    detail: str | None = None

    @property
    def row(self) -> str:
        """Its name: the sample's, and the draw's number after the first."""
        return f"{self.inputs.row}#{self.number + 1}" if self.number else self.inputs.row

    @property
    def wanting(self) -> Request | None:
        """The request whose answer is not there yet."""
        return self.requests[-1] if self.requests and self.answer is None else None

    @property
    def text(self) -> str:
        """All that it answers."""
        return "\n".join(self.exchanges[place].answer for place in self.kept)


@dataclass(frozen=True)
class Generated:
    """What became of all samples.

    Args:
        draws: One for each draw of each sample, in the samples' order.
        judging: Requests to a judge whose answers are not there yet.
    """

    draws: tuple[Draw, ...]
    judging: tuple[Request, ...] = ()

    @property
    def wanting(self) -> Iterator[Request]:
        """What to ask next; answers may make more requests necessary."""
        yield from (request for draw in self.draws if (request := draw.wanting) is not None)
        yield from self.judging


def load_kinds(spec: Synth, where: str) -> tuple[Kind, Kind | None]:
    """The kind that a recipe asks for, and the one that judges for it.

    Args:
        spec: The recipe's.
        where: The place in the recipe, for errors.

    Raises:
        RecipeErrors: One of them cannot be used.
    """
    kind = load_kind(spec.kind, spec.prompts, where=f"{where}.kind")
    choose = kind.settings.choose
    judge = load_kind(choose.judge, where=f"{where}.kind") if choose is not None and choose.by == "judge" else None
    return kind, judge


def first_requests(samples: Iterable[Inputs], kind: Kind, spec: Synth) -> Iterator[Request]:
    """What is asked about every sample before any reply is known."""
    for inputs in samples:
        if not kind.missing(inputs):
            for number in range(kind.settings.draws):
                yield _request(inputs, kind, spec, number)


def wanted(
    samples: Iterable[Inputs], kind: Kind, spec: Synth, answers: Known, judge: Kind | None = None
) -> Iterator[Request]:
    """The requests whose answers are wanting, sample by sample: nothing is held, however many there are.

    Args: as `generate`, which says what becomes of the answers.
    """
    for inputs in samples:
        draws, judging = _of_sample(inputs, kind, spec, answers, judge)
        yield from (request for draw in draws if (request := draw.wanting) is not None)
        yield from judging


def generate(
    samples: Iterable[Inputs], kind: Kind, spec: Synth, answers: Known, judge: Kind | None = None
) -> Generated:
    """Read every answer that is there.

    Args:
        samples: What is known of each; ``row`` differs.
        kind: What is made of them.
        spec: The recipe's.
        answers: Open for reading.
        judge: The kind that chooses, where ``kind`` says that one does.
    """
    with no_collector():
        return _generate(samples, kind, spec, answers, judge)


def _generate(samples: Iterable[Inputs], kind: Kind, spec: Synth, answers: Known, judge: Kind | None) -> Generated:
    draws: list[Draw] = []
    judging: list[Request] = []
    for inputs in samples:
        of_sample, more = _of_sample(inputs, kind, spec, answers, judge)
        draws += of_sample
        judging += more
    if spec.same_answers is not None:
        draws = _without_same(draws, kind, SameAnswers(policy=spec.same_answers))
    return Generated(tuple(draws), tuple(judging))


def _of_sample(
    inputs: Inputs, kind: Kind, spec: Synth, answers: Known, judge: Kind | None
) -> tuple[list[Draw], list[Request]]:
    if lacks := kind.missing(inputs):
        return [Draw(inputs, 0, (), problem=MISSING_INPUT, detail=", ".join(lacks))], []
    draws = [_draw(inputs, number, kind, spec, answers) for number in range(kind.settings.draws)]
    return (draws, []) if kind.settings.choose is None else _chosen(inputs, draws, kind, spec, answers, judge)


def _request(inputs: Inputs, kind: Kind, spec: Synth, number: int) -> Request:
    return kind.write(inputs, model=spec.model, endpoint=spec.endpoint, parameters=spec.parameters, sample_index=number)


def _draw(inputs: Inputs, number: int, kind: Kind, spec: Synth, answers: Known) -> Draw:
    requests = [_request(inputs, kind, spec, number)]
    for again in range(spec.max_reasks + 1):
        answer = answers.get(requests[-1])
        if answer is None:
            failure = answers.failure(requests[-1].key)
            why = failure.attempts[-1].error if failure is not None and failure.attempts else None
            return Draw(inputs, number, tuple(requests), problem=NOT_GENERATED, detail=why)
        exchanges, findings = kind.examine(answer.reply, inputs, sample_index=number)
        decision = kind.decide(exchanges, findings, may_reask=again < spec.max_reasks)
        if decision.action == "reask":
            index = kind.settings.draws * (again + 1) + number
            requests.append(kind.reask(requests[-1], answer.reply, decision.reasons, sample_index=index))
            continue
        draw = Draw(inputs, number, tuple(requests), answer, tuple(exchanges), tuple(findings), decision.kept)
        return draw if decision.kept else _dropped(draw, decision.reasons)
    raise AssertionError("the last reply is kept or dropped")


def _dropped(draw: Draw, reasons: Sequence[str]) -> Draw:
    first = next((f for f in draw.findings if f.reason in reasons), None)
    problem = first.reason if first is not None else "no_exchange"
    return replace(draw, kept=(), problem=problem, detail=first.detail if first is not None else None)


def _chosen(
    inputs: Inputs, draws: list[Draw], kind: Kind, spec: Synth, answers: Known, judge: Kind | None
) -> tuple[list[Draw], list[Request]]:
    """The draws, of which one is kept at most, and the requests to a judge that are wanting."""
    choose = kind.settings.choose
    usable = [draw for draw in draws if draw.kept]
    if choose is None or not usable or any(draw.wanting is not None for draw in draws):
        return draws, []
    texts = [draw.text for draw in usable]
    scores: list[float | None]
    if choose.by == "coverage":
        scores = [coverage(text, inputs) for text in texts]
    elif choose.by == "agreement":
        scores = agreement(texts) if len(texts) > 1 else [1.0]
    else:
        assert judge is not None, "a kind that chooses by a judge is loaded with it"
        question = usable[0].exchanges[0].question
        found, wanting = _leads(pairs_to_judge(inputs, question, texts), judge, spec, answers)
        if wanting:
            waits = "the judge has not answered"
            return [replace(d, kept=(), problem=NOT_GENERATED, detail=waits) if d.kept else d for d in draws], wanting
        scores = found
    place = best(scores, least=choose.least)
    kept = []
    for draw in draws:
        if draw in usable and usable.index(draw) != place:
            score = scores[usable.index(draw)]
            said = "no score" if score is None else f"score {score:.3g}"
            draw = replace(draw, kept=(), problem=NOT_BEST, detail=said)
        kept.append(draw)
    return kept, []


def _leads(
    pairs: Sequence[Inputs], judge: Kind, spec: Synth, answers: Known
) -> tuple[list[float | None], list[Request]]:
    wanting: list[Request] = []
    judgements = []
    model = spec.judge_model or spec.model
    for pair in pairs:
        read: list[Sequence[Exchange] | None] = []
        for number in range(judge.settings.draws):
            request = judge.write(pair, model=model, endpoint=spec.endpoint, sample_index=number)
            answer = answers.get(request)
            if answer is None and answers.failure(request.key) is None:
                wanting.append(request)
            read.append(None if answer is None else _judged(judge, answer, pair, number))
        judgements.append(judged(read))
    return leads(judgements), wanting


def _judged(judge: Kind, answer: Answer, pair: Inputs, number: int) -> Sequence[Exchange] | None:
    try:
        return judge.read(text_of(answer.reply), pair, sample_index=number)
    except ParseError:  # missing, as a judgement that cannot be read says nothing about either answer
        return None


def _without_same(draws: list[Draw], kind: Kind, check: SameAnswers) -> list[Draw]:
    """Findings about answers that are given for many pictures, added to the draws that they are about."""
    samples = (
        Answered(draw.row, _picture(draw.inputs), [draw.exchanges[place] for place in draw.kept])
        for draw in draws
        if draw.kept
    )
    found: Mapping[str, list[Finding]] = check.check_all(samples)
    if not found:
        return draws
    checked = []
    for draw in draws:
        more = [f._replace(exchange=draw.kept[f.exchange or 0]) for f in found.get(draw.row, [])] if draw.kept else []
        if more:
            draw = replace(draw, findings=(*draw.findings, *more))
            lost = {f.exchange for f in more if f.policy == "drop"}
            left = tuple(place for place in draw.kept if place not in lost)
            is_lost = bool(lost) and (kind.settings.scope == "reply" or not left)
            draw = _dropped(draw, [f.reason for f in more]) if is_lost else replace(draw, kept=left)
        checked.append(draw)
    return checked


def _picture(inputs: Inputs) -> str:
    """What tells samples of different pictures apart; a text is its own."""
    return "+".join(str(part["hash"]) for part in inputs.images) or inputs.row
