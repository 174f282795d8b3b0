"""What a request may cost at most, and what an answer did cost.

A ceiling rests on three bounds, none of them an estimate:

- a token of a byte-level vocabulary holds at least one byte, so a text has at most as many tokens as bytes of UTF-8;
  the bytes are counted with the JSON around them, more than the few tokens that a chat format adds to a message;
- an answer has at most ``max_completion_tokens`` (or ``max_tokens``), which must be given for a ceiling to exist;
- an image has at most ``image_tokens`` of its model's price list, or `IMAGE_TOKENS`.

What no price list names has an unknown price, which is None and never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from vldata.llm.request import Request, canonical_json
from vldata.schema.spec import Spec

IMAGE_TOKENS = 48_169
"""The most that one image costs by OpenAI's vision guide in any model that counts tiles: ``gpt-4o-mini`` takes 2,833
tokens and 5,667 for each of at most 8 tiles (768 x 2,048 pixels in tiles of 512)."""

BYTES_PER_TOKEN = 4
"""English prose in the vocabularies of today's models; what OpenAI's own rate limits are said to count by."""

IMAGE_TOKENS_EXPECTED = 1_445
"""85 tokens and 170 for each of 8 tiles: the most an image takes in ``gpt-4o`` and its like."""

PICO = 10**12
"""Trillionths in a dollar: what is summed are whole ones, so reserving and giving back leaves exactly nothing."""

_Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Price(Spec):
    """What a model costs at an endpoint.

    Args:
        input_usd_per_mtok: US dollars for a million tokens of the prompt.
        output_usd_per_mtok: The same for the answer, hidden reasoning included.
        cached_input_usd_per_mtok: For tokens of the prompt that the server had in its cache; null: as others.
        batch_factor: What the Batch API costs, as a factor on all of these; null: it is not known.
        image_tokens: The most tokens that one image takes; null: `IMAGE_TOKENS`.
    """

    input_usd_per_mtok: _Usd
    output_usd_per_mtok: _Usd
    cached_input_usd_per_mtok: _Usd | None = None
    batch_factor: Annotated[float, Field(ge=0, le=1)] | None = None
    image_tokens: Annotated[int, Field(ge=1)] | None = None

    def cost_usd(self, usage: Usage, *, is_batch: bool = False) -> float | None:
        """What an answer cost; None for a batch whose factor is not known."""
        factor = self._factor(is_batch)
        if factor is None:
            return None
        cached = self.input_usd_per_mtok if self.cached_input_usd_per_mtok is None else self.cached_input_usd_per_mtok
        fresh = usage.input_tokens - usage.cached_tokens
        micro = fresh * self.input_usd_per_mtok + usage.cached_tokens * cached
        return (micro + usage.output_tokens * self.output_usd_per_mtok) * factor / 1e6

    def ceiling_usd(self, size: Size, *, is_batch: bool = False) -> float | None:
        """What a request costs at most; None when it declares no maximum output, or as for `cost_usd`."""
        factor = self._factor(is_batch)
        if factor is None or size.output_ceiling is None:
            return None
        dearest = max(self.input_usd_per_mtok, self.cached_input_usd_per_mtok or 0.0)
        return (size.input_ceiling * dearest + size.output_ceiling * self.output_usd_per_mtok) * factor / 1e6

    def _factor(self, is_batch: bool) -> float | None:
        return self.batch_factor if is_batch else 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, as the server counts them; ``cached_tokens`` are among ``input_tokens``."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Of prompt and answer."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Size:
    """How many tokens a request takes.

    Args:
        input_ceiling: The prompt, at most.
        input_expected: The prompt, as rate limits count it: for pacing, never for money.
        output_ceiling: The answer, at most; None when the request does not say.
    """

    input_ceiling: int
    input_expected: int
    output_ceiling: int | None

    @property
    def ceiling(self) -> int | None:
        """Prompt and answer, at most."""
        return None if self.output_ceiling is None else self.input_ceiling + self.output_ceiling

    @property
    def expected(self) -> int:
        """Prompt and answer, as rate limits count them."""
        return self.input_expected + (self.output_ceiling or 0)


def size_of(request: Request, price: Price | None = None) -> Size:
    """The tokens of a request.

    Args:
        request: Its text is bounded by its bytes, tool and answer formats included.
        price: Of its model, for ``image_tokens``.
    """
    text_bytes = len(canonical_json(request.messages))
    if request.response_format is not None:
        text_bytes += len(canonical_json(request.response_format))
    images = sum(1 for _ in request.image_parts)
    each = price.image_tokens if price is not None and price.image_tokens is not None else IMAGE_TOKENS
    return Size(
        input_ceiling=text_bytes + images * each,
        input_expected=math.ceil(text_bytes / BYTES_PER_TOKEN) + images * min(each, IMAGE_TOKENS_EXPECTED),
        output_ceiling=max_output_tokens(request.parameters),
    )


def max_output_tokens(parameters: Mapping[str, Any]) -> int | None:
    """The most tokens that an answer may have; None when the parameters do not bound it.

    Where both names are given the larger counts, as servers differ in which they obey.
    """
    given = [parameters.get(name) for name in ("max_completion_tokens", "max_tokens")]
    bounds = [value for value in given if isinstance(value, int) and not isinstance(value, bool) and value > 0]
    return max(bounds) if bounds else None


def usage_of(reply: Mapping[str, Any]) -> Usage | None:
    """The tokens that a reply reports; None when it reports none, or what cannot be."""
    usage = reply.get("usage")
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    given = (usage.get("prompt_tokens"), usage.get("completion_tokens"), 0 if cached is None else cached)
    counts = [count for count in given if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    if len(counts) < len(given):
        return None
    tokens = Usage(*counts)
    return tokens if tokens.cached_tokens <= tokens.input_tokens else None


def to_pico(usd: float) -> int:
    """Dollars as whole trillionths, rounded up."""
    return math.ceil(usd * PICO)


def to_usd(pico: int) -> float:
    """Whole trillionths as dollars."""
    return pico / PICO
