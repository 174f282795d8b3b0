"""What a run would request, why it is new, and what it would cost. Nothing is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from vldata.generate.sources import AnswersSoFar, SynthSource
from vldata.llm.differences import differences
from vldata.llm.endpoint import EndpointSpec
from vldata.llm.prices import BYTES_PER_TOKEN, Price, Usage, size_of, usage_of
from vldata.llm.request import Request
from vldata.synth.draws import Outcome
from vldata.synth.generate import first_requests

_FEW = 20
"""Answers from which on their measured lengths are better than a guess."""


def planned_requests(
    source: SynthSource, answers: AnswersSoFar, endpoints: Mapping[str, EndpointSpec]
) -> dict[str, Any]:
    """What a run would send, as plain data; see `vldata.generate.session.SynthSession.plan`."""
    spec = source.spec
    price = endpoints[spec.endpoint].prices.get(spec.model) if spec.endpoint in endpoints else None
    planned = source.replay(answers, partial(_planned, price=price, answers=answers))
    return {
        "kind": source.kind.lineage,
        "model": spec.model,
        "endpoint": spec.endpoint,
        "samples": len(source.samples),
        "rejected": source.rejected,
        "requests": len({request.key for request in first_requests(source.samples.inputs, source.kind, spec)}),
        **planned,
    }


def _planned(outcomes: Iterator[Outcome], price: Price | None, answers: AnswersSoFar) -> dict[str, Any]:
    to_send = Sums(price)
    keys: set[bytes] = set()
    why: Counter[str] = Counter()
    example: Request | None = None
    hits = measured = output_tokens = 0
    for outcome in outcomes:
        for draw in outcome.draws:
            if draw.answer is not None:
                hits += 1
                if (usage := usage_of(draw.answer.reply)) is not None:
                    measured, output_tokens = measured + 1, output_tokens + usage.output_tokens
        for request in outcome.pending:
            key = bytes.fromhex(request.key)
            if key not in keys:
                keys.add(key)
                example = example or request
                why[_why_new(request, answers)] += 1
                to_send.add(request)
    return {
        "hits": hits,
        "to_send": len(keys),
        "why_new": dict(why),
        **to_send.row(measured, output_tokens),
        "example": example.to_json() if example else None,
    }


class Sums:
    """Tokens and cost of requests that are to be sent.

    Args:
        price: Of their model; None: unknown.
    """

    def __init__(self, price: Price | None) -> None:
        self._price = price
        self._prompt = 0
        self._tokens: int | None = 0
        self._usd: float | None = 0.0
        self._ceilings: Counter[int | None] = Counter()

    def add(self, request: Request) -> None:
        """One more."""
        size = size_of(request, self._price)
        self._prompt += size.input_expected
        self._ceilings[size.output_ceiling] += 1
        self._tokens = None if self._tokens is None or size.ceiling is None else self._tokens + size.ceiling
        usd = None if self._price is None else self._price.ceiling_usd(size)
        self._usd = None if self._usd is None or usd is None else self._usd + usd

    def row(self, measured: int, output_tokens: int) -> dict[str, Any]:
        """Tokens and cost as plain data.

        Args:
            measured: Answers whose length is known.
            output_tokens: Of all of these.
        """
        mean = output_tokens / measured if measured >= _FEW else None
        answers = round(
            sum(
                number * (min(mean, ceiling or mean) if mean is not None else (ceiling or 0) / 2)
                for ceiling, number in self._ceilings.items()
            )
        )
        tokens = {
            "prompt": self._prompt,
            "answers": answers,
            "max": self._tokens,
            "basis": f"answers measured on {measured:,}" if mean is not None else "answers guessed at half their limit",
            "bytes_per_token": BYTES_PER_TOKEN,
        }
        cost: dict[str, float | None] = {"low": None, "expected": None, "max": None}
        if self._price is not None:
            low, expected = (self._price.cost_usd(Usage(self._prompt, more)) for more in (0, answers))
            cost = {"low": low, "expected": expected, "max": self._usd}
        return {"tokens": tokens, "cost_usd": cost}


def _why_new(request: Request, answers: AnswersSoFar) -> str:
    """Why there is no answer yet."""
    like = answers.last_like(request)
    changed = [] if like is None else differences(like, request)
    return ", ".join(changed) + " changed" if changed else "never asked"
