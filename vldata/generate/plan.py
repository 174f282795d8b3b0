"""What a run would request, why it is new, and what it would cost. Nothing is sent.

An answer is found by its whole request, so what a change sends again follows from what stands in a request:

| change                                                       | what `vldata synth run` sends again                   |
|--------------------------------------------------------------|-------------------------------------------------------|
| a check, a parser, questions.txt, a version of vldata        | nothing: replies are read again; `--re-ask` on demand |
| the recipe's name                                            | nothing; its budgets stay, as they belong to the      |
|                                                              | answers' folder                                       |
| `seed`, the synthetic source's name                          | nothing; with `total`, what is new among the samples  |
|                                                              | (and a budget goes by the source's name)              |
| `total`, `until: kept`, samples that come or go              | what is new among the samples                         |
| a higher `max_tokens`, or its other name                     | only what was cut off                                 |
| a lower `max_tokens`                                         | what is longer than that, or of unknown length        |
| `retry_max_tokens`                                           | what was cut off, once                                |
| an endpoint's URL, key, prices, rate limits                  | nothing                                               |
| an endpoint's name                                           | all; with `alias: OLD` in the configuration, or       |
|                                                              | beside `endpoint`, nothing                            |
| model, another parameter, `detail`, `max_side_px`, a word of | all of this source                                    |
| its kind's messages; `judge_model`: what the judge is sent   |                                                       |
| a caption, box or text of a sample, an image's bytes         | that sample                                           |
| the name of a source in `from`                               | nothing, unless samples are named after its turns and |
|                                                              | the kind draws words by that name (asks.txt)          |
| a reply of an earlier source of a chain                      | what is made from that reply                          |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vldata.generate.chain import SourceSet
from vldata.generate.later import later_requests
from vldata.generate.sources import AnswersSoFar, SynthSource
from vldata.llm.differences import differences
from vldata.llm.endpoint_specs import EndpointSpec
from vldata.llm.limits import with_limit
from vldata.llm.prices import BYTES_PER_TOKEN, Price, Usage, size_of, usage_of
from vldata.llm.request import Request
from vldata.synth.draws import Outcome
from vldata.synth.generate import is_refused
from vldata.synth.models import Synth

_FEW = 20
"""Answers from which on their measured lengths are better than a guess."""


def planned_chain(
    sources: SourceSet, answers: AnswersSoFar, endpoints: Mapping[str, EndpointSpec]
) -> dict[str, dict[str, Any]]:
    """What a run would send for each source, also for those that the ones that are meant are made from."""
    known: dict[str, tuple[SynthSource, dict[str, Any]]] = {}
    for name, source in sources.at(answers, with_origins=True):
        row = planned_requests(source, answers, endpoints)
        origins = {origin: known[origin] for origin in sources.origins(name)}
        prices = endpoints[source.spec.endpoint].prices if source.spec.endpoint in endpoints else {}
        known[name] = source, {**row, "later": later_requests(source, origins, row, prices)}
    return {name: row for name, (_, row) in known.items()}


def planned_requests(
    source: SynthSource, answers: AnswersSoFar, endpoints: Mapping[str, EndpointSpec]
) -> dict[str, Any]:
    """What a run would send, as plain data; see `vldata.generate.session.SynthSession.plan`."""
    spec = source.spec
    prices = endpoints[spec.endpoint].prices if spec.endpoint in endpoints else {}
    planned = source.replay(answers, partial(_planned, spec=spec, prices=prices, answers=answers))
    return {
        "kind": source.kind.lineage,
        "model": spec.model,
        "endpoint": spec.endpoint,
        "rejected": source.rejected,
        "unusable": source.samples.unusable,
        **planned,
    }


@dataclass
class _Requests:
    """Distinct requests: how many, why, for how much."""

    sums: Sums
    why: Counter[str] = field(default_factory=Counter)
    example: Request | None = None

    def add(self, request: Request, why: str) -> None:
        self.example = self.example or request
        self.why[why] += 1
        self.sums.add(request)


def _planned(
    outcomes: Iterator[Outcome], spec: Synth, prices: Mapping[str, Price], answers: AnswersSoFar
) -> dict[str, Any]:
    new, again = _Requests(Sums(prices)), _Requests(Sums(prices))
    counts = Counter[str]()
    first, keys = set[bytes](), set[bytes]()
    measured = output_tokens = 0

    def is_new(request: Request) -> bool:
        key, before = bytes.fromhex(request.key), len(keys)
        keys.add(key)
        return len(keys) > before

    for outcome in outcomes:
        counts["samples"] += 1
        for draw in outcome.draws:
            first.update(bytes.fromhex(request.key) for request in draw.requests[:1])
            if draw.answer is not None:
                counts["hits"] += 1
                if (usage := usage_of(draw.answer.reply)) is not None:
                    measured, output_tokens = measured + 1, output_tokens + usage.output_tokens
            if draw.again is not None and is_new(draw.again):
                again.add(draw.again, draw.reask_reason)
        for request in filter(is_new, outcome.first_pending):
            if is_refused(answers, request.key):
                counts["refused"] += 1
            else:
                new.add(request, _why_new(request, answers))
                if spec.retry_max_tokens and (longer := with_limit(request, spec.retry_max_tokens)) is not None:
                    new.sums.may_follow(longer)
    return {
        "samples": counts["samples"],
        "requests": len(first),
        "hits": counts["hits"],
        "to_send": new.why.total(),
        "refused": counts["refused"],
        "why_new": dict(new.why),
        **new.sums.row(measured, output_tokens),
        "reasks": {"to_send": again.why.total(), "why": dict(again.why), **again.sums.row(measured, output_tokens)},
        "example": new.example.to_json() if new.example else None,
    }


class Sums:
    """Tokens and cost of requests that are to be sent.

    Args:
        prices: By model; one that is not there is unknown.
    """

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self._prompts: Counter[str] = Counter()
        self._tokens: int | None = 0
        self._usd: float | None = 0.0
        self._ceilings: Counter[tuple[str, int | None]] = Counter()

    def add(self, request: Request) -> None:
        """One more."""
        model, price = request.model, self._prices.get(request.model)
        size = size_of(request, price)
        self._prompts[model] += size.input_expected
        self._ceilings[model, size.output_ceiling] += 1
        self.may_follow(request)

    def may_follow(self, request: Request) -> None:
        """One that is sent at most, such as for a reply that is cut off: only the largest sums know it."""
        price = self._prices.get(request.model)
        size = size_of(request, price)
        self._tokens = None if self._tokens is None or size.ceiling is None else self._tokens + size.ceiling
        usd = None if price is None else price.ceiling_usd(size)
        self._usd = None if self._usd is None or usd is None else self._usd + usd

    def row(self, measured: int, output_tokens: int) -> dict[str, Any]:
        """Tokens and cost as plain data.

        Args:
            measured: Answers whose length is known.
            output_tokens: Of all of these.
        """
        mean = output_tokens / measured if measured >= _FEW else None
        answers: Counter[str] = Counter()
        for (model, ceiling), number in self._ceilings.items():
            answers[model] += round(number * (min(mean, ceiling or mean) if mean is not None else (ceiling or 0) / 2))
        tokens = {
            "prompt": self._prompts.total(),
            "answers": answers.total(),
            "max": self._tokens,
            "basis": f"answers measured on {measured:,}" if mean is not None else "answers guessed at half their limit",
            "bytes_per_token": BYTES_PER_TOKEN,
        }
        cost: dict[str, float | None] = {
            "low": self._usd_of(Counter()),
            "expected": self._usd_of(answers),
            "max": self._usd,
        }
        return {"tokens": tokens, "cost_usd": cost}

    def _usd_of(self, answers: Counter[str]) -> float | None:
        """The cost of the prompts and of answers of as many tokens, by model; None: a price is not known."""
        if any(model not in self._prices for model in self._prompts):
            return None
        usage = {model: Usage(tokens, answers[model]) for model, tokens in self._prompts.items()}
        return sum((self._prices[model].cost_usd(used) or 0.0 for model, used in usage.items()), 0.0)


def _why_new(request: Request, answers: AnswersSoFar) -> str:
    """Why there is no answer yet."""
    like = answers.last_like(request)
    changed = [] if like is None else differences(like, request)
    return ", ".join(changed) + " changed" if changed else "never asked"
