"""The limit of tokens of a request: what an answer that ended by itself does not depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vldata.llm.completions import ending_of
from vldata.llm.prices import max_output_tokens, usage_of
from vldata.llm.request import Request, canonical_json

LIMITS = ("max_completion_tokens", "max_tokens")
"""The two names of a limit; servers differ in which they know."""


def was_cut(reply: Mapping[str, Any]) -> bool:
    """Whether a reply ended at its limit of tokens and not by itself, by whatever name its server has for that."""
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    ended = first.get("finish_reason") if isinstance(first, Mapping) else None
    return ending_of(ended) == "length"


def differ_in_limit_alone(one: Request, other: Request) -> bool:
    """Whether two requests are the same but for their limits of tokens."""
    return _without_limit(one) == _without_limit(other)


def _without_limit(request: Request) -> bytes:
    parameters = {name: value for name, value in request.parameters.items() if name not in LIMITS}
    return canonical_json(request.to_json() | {"parameters": parameters})


def with_limit(request: Request, tokens: int) -> Request | None:
    """The same request with a higher limit, under the name that it uses; None when its own is as high."""
    own = max_output_tokens(request.parameters)
    if own is None or own >= tokens:
        return None
    named = {name: tokens for name in LIMITS if request.parameters.get(name) is not None}
    return replace(request, parameters={**request.parameters, **named})


def ended_within(reply: Mapping[str, Any], request: Request, answered: Request) -> bool:
    """Whether a reply to ``answered``, which has another limit, would be the same as one to ``request``."""
    if was_cut(reply):
        return False
    limit, before = max_output_tokens(request.parameters), max_output_tokens(answered.parameters)
    if limit is None or (before is not None and before <= limit):
        return True
    usage = usage_of(reply)
    return usage is not None and usage.output_tokens <= limit
