"""Explains how two requests differ, in the user's words: why `vldata synth plan` would send a request again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from vldata.llm.request import Json, Request, images_of
from vldata.store.keys import key_of


def differences(old: Request, new: Request) -> list[str]:
    """List what makes ``new`` another request than ``old``, in the user's words; empty when they are equal.

    The names are ``endpoint``, ``model``, ``system message``, ``few-shot 2`` (with "added" or "removed" where only one
    of the two has it), ``input`` (the last message's text), ``image``, ``image detail``, ``image max_side_px``,
    ``parameters.temperature`` and the like, ``response_format`` and ``sample_index``.
    """
    names = [name for name in ("endpoint", "model") if getattr(old, name) != getattr(new, name)]
    names += _message_differences(_roles(old.messages), _roles(new.messages))
    parameters = sorted({*old.parameters, *new.parameters})
    names += [
        f"parameters.{name}" for name in parameters if _differ(old.parameters.get(name), new.parameters.get(name))
    ]
    names += [name for name in ("response_format", "sample_index") if _differ(getattr(old, name), getattr(new, name))]
    return names


@dataclass(frozen=True)
class _Roles:
    """Messages by role, as `vldata.synth.kinds` writes them: system, pairs of few-shots, input."""

    system: list[Mapping[str, Json]]
    few_shots: list[list[Mapping[str, Json]]]
    input: Mapping[str, Json] | None


def _roles(messages: Sequence[Mapping[str, Json]]) -> _Roles:
    system = [message for message in messages if message["role"] in ("system", "developer")]
    rest = [message for message in messages if message["role"] not in ("system", "developer")]
    few_shots: list[list[Mapping[str, Json]]] = []
    for message in rest[:-1]:
        if message["role"] == "user" or not few_shots:
            few_shots.append([])
        few_shots[-1].append(message)
    return _Roles(system, few_shots, rest[-1] if rest else None)


def _message_differences(old: _Roles, new: _Roles) -> Iterator[str]:
    if _differ(old.system, new.system):
        yield "system message"
    for number, (before, after) in enumerate(zip_longest(old.few_shots, new.few_shots), start=1):
        if before is None:
            yield f"few-shot {number} added"
        elif after is None:
            yield f"few-shot {number} removed"
        elif _differ(before, after):
            yield f"few-shot {number}"
    yield from _input_differences(old.input or _EMPTY, new.input or _EMPTY)


_EMPTY: Mapping[str, Json] = {"role": "user", "content": ""}


def _input_differences(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    if _differ(_without_images(old), _without_images(new)):
        yield "input"
    before, after = list(images_of(old)), list(images_of(new))
    if [image["hash"] for image in before] != [image["hash"] for image in after]:
        yield "image"
        return
    for name in ("detail", "max_side_px"):
        if [image[name] for image in before] != [image[name] for image in after]:
            yield f"image {name}"


def _without_images(message: Mapping[str, Json]) -> dict[str, Json]:
    content = message["content"]
    if isinstance(content, list):  # the place of an image among the texts stays
        content = ["image" if part["type"] == "image" else part for part in content]
    return {**message, "content": content}


def _differ(one: Json, other: Json) -> bool:
    return key_of(one) != key_of(other)  # which distinguishes True from 1
