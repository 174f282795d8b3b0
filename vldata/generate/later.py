"""What a chain may still request: what is not known before the sources are answered that a source is made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vldata.generate.sources import SynthSource
from vldata.generate.turns import COLUMNS
from vldata.llm.prices import IMAGE_TOKENS, Price, Size, max_output_tokens, size_of
from vldata.synth.inputs import PARTS
from vldata.synth.kind import SynthKind
from vldata.synth.validate.reply import Turns

_MOST_TURNS = 20
"""Of a reply, where its kind does not say."""


def later_requests(
    source: SynthSource,
    origins: Mapping[str, tuple[SynthSource, Mapping[str, Any]]],
    planned: Mapping[str, Any],
    prices: Mapping[str, Price],
) -> dict[str, Any] | None:
    """How many requests may follow when the sources before a source are answered, and for how much at most.

    Args:
        origins: The synthetic sources that it is made from, directly, with what is planned of them.
        planned: What is planned of itself.

    Returns:
        None: nothing more can follow; else ``after``, the names; ``requests`` and ``cost_usd``, each lowest and
        highest. The highest cost takes a text of an earlier source for as long as its request allows, and is None
        where a price or a limit is not known.
    """
    pending = {name: _pending(row) for name, (_, row) in origins.items() if _pending(row)}
    own_texts = {*source.kind.settings.needs} - PARTS - {"image"}
    samples = 0
    for name, number in pending.items():
        kind = origins[name][0].kind
        samples += (
            0 if own_texts and not own_texts & _texts_of(kind) else number * (most_turns(kind) if own_texts else 1)
        )
    if (most := source.spec.samples_at_most) is not None:
        samples = min(samples, most - planned["samples"])
    number = samples * source.kind.settings.draws
    if not pending and source.spec.until is not None and planned["to_send"]:
        return _until_kept(source, planned)
    if number <= 0:
        return None
    tokens_before = [max_output_tokens(_parameters(origin)) for origin, _ in origins.values()]
    each = _most_usd(source, None if None in tokens_before else sum(filter(None, tokens_before)), prices)
    return {
        "after": sorted(pending),
        "requests": [0, number],
        "cost_usd": [0.0, None if each is None else number * each],
    }


def _until_kept(source: SynthSource, planned: Mapping[str, Any]) -> dict[str, Any] | None:
    """What may follow when replies of the source itself are not kept, each for as much as those that are sent now."""
    number = (len(source.samples) - planned["samples"]) * source.kind.settings.draws
    most = planned["cost_usd"]["max"]
    usd = None if most is None else number * most / planned["to_send"]
    return {"after": [source.entry.name], "requests": [0, number], "cost_usd": [0.0, usd]} if number > 0 else None


def most_turns(kind: SynthKind) -> int:
    """How many turns a reply may become."""
    if kind.settings.question != "generated":
        return 1
    return next((check.most for check in kind.validators if isinstance(check, Turns)), _MOST_TURNS)


def _pending(planned: Mapping[str, Any]) -> int:
    later = planned["later"]
    return int(planned["to_send"]) + (later["requests"][1] if later is not None else 0)


def _texts_of(kind: SynthKind) -> set[str]:
    """The names of the texts that its turns give to kinds that work on one turn each."""
    assert kind.settings.task is not None, "a source has a kind that makes turns"
    question, answer = COLUMNS[kind.settings.task]
    return {"text", "question", "answer"} if question and answer else {"text"}


def _parameters(source: SynthSource) -> dict[str, Any]:
    return {**source.kind.settings.parameters, **source.spec.parameters}


def _most_usd(source: SynthSource, tokens_before: int | None, prices: Mapping[str, Price]) -> float | None:
    price = prices.get(source.spec.model)
    if price is None or tokens_before is None:
        return None
    kind, spec = source.kind, source.spec
    prompt = kind.prompt(model=spec.model, endpoint=spec.key_endpoint, parameters=spec.parameters).request("")
    size = size_of(prompt, price)
    image = (price.image_tokens or IMAGE_TOKENS) if kind.needs_image else 0
    return price.ceiling_usd(Size(size.input_ceiling + tokens_before + image, size.input_expected, size.output_ceiling))
