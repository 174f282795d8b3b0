"""What the files of a kind say: its settings, its words and its examples. Checks of a reply see no more of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from vldata.schema.spec import Spec
from vldata.synth.inputs import Section


def _named_options(value: Any) -> Any:
    """``turns`` or ``{turns: {least: 3}}``, as (name, options)."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and len(value) == 1:
        name, options = next(iter(value.items()))
        return name, options if options is not None else {}
    return value


def _section(value: Any) -> Any:
    """``captions`` or ``{ocr: "Text in the image:"}``."""
    if isinstance(value, str):
        return Section(value)
    return Section(*next(iter(value.items()))) if isinstance(value, Mapping) and len(value) == 1 else value


class Choose(Spec):
    """How the best of several draws is found; see `vldata.synth.best`.

    Args:
        by: ``coverage`` of what is known about the image; ``agreement`` with the other draws; or a ``judge``.
        judge: The kind that judges, with ``by: judge``.
        least: A best one with a lower score is not kept either; null keeps it whatever its score.
    """

    by: Literal["coverage", "agreement", "judge"] = "coverage"
    judge: str = "judge"
    least: float | None = None


class SynthKindSettings(Spec):
    """What ``kind.yaml`` says.

    Args:
        about: One line for `vldata formats`.
        idea: Where the recipe of the data comes from.
        needs: What a sample must have: ``captions``, ``boxes``, ``ocr``, ``image``, or the name of a text.
        layout: The sections of the user's message.
        question: ``generated`` by the model, ``drawn`` from ``questions.txt``, ``none``, or the name of a text of the
            sample.
        answer: ``generated`` by the model, or the name of a text of the sample that the reply scores: the turn then has
            columns ``score_<criterion>``, and ``score``, their mean.
        task: What the exchanges become; null when they are no turns.
        parser: A name in `vldata.synth.replies.PARSERS` and its options.
        reply_schema: The JSON schema that is requested and checked; null for free text.
        parameters: Of the request, where the recipe does not say otherwise.
        draws: How many requests each sample gets.
        swap: Two texts that change places in every second draw, so that a judge's liking for the first one cancels
            out. The reply is about the first and the second one shown; what is read of it is about these two.
        choose: How the best draw is found; null keeps every draw.
        scope: What is lost by a finding about one exchange, with policy ``drop``: the whole ``reply`` or the
            ``exchange``.
        validators: Names in `vldata.synth.validate.VALIDATORS`, each with its options; they are run in this order,
            and then those of `vldata.synth.validate.ALWAYS` that are not named.
    """

    about: str
    idea: str = ""
    needs: tuple[str, ...] = ()
    layout: tuple[Annotated[Section, BeforeValidator(_section)], ...] = ()
    question: str = "generated"
    answer: str = "generated"
    task: str | None = "instruction"
    parser: Annotated[tuple[str, dict[str, Any]], BeforeValidator(_named_options)]
    reply_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] = {}
    draws: Annotated[int, Field(ge=1, le=64)] = 1
    swap: tuple[str, str] | None = None
    choose: Choose | None = None
    scope: Literal["reply", "exchange"] = "reply"
    validators: tuple[Annotated[tuple[str, dict[str, Any]], BeforeValidator(_named_options)], ...] = ()


class FewShot(NamedTuple):
    """An example in the prompt.

    Args:
        name: Its number: ``000``.
        caps: What the user's message says.
        answer: What the model replies.
    """

    name: str
    caps: str
    answer: str


@dataclass(frozen=True)
class KindFiles:
    """What the files of a kind say.

    Args:
        name: What recipes call it.
        settings: From ``kind.yaml``.
        system_message: "" when there is none.
        few_shots: In the order of their numbers.
        questions: To draw from.
        asks: To draw from.
        digests: File name -> 32 hex characters of what it says, for every file that takes part.
    """

    name: str
    settings: SynthKindSettings
    system_message: str = field(repr=False)
    few_shots: tuple[FewShot, ...] = field(repr=False)
    questions: tuple[str, ...] = field(repr=False)
    asks: tuple[str, ...] = field(repr=False)
    digests: Mapping[str, str] = field(repr=False)
