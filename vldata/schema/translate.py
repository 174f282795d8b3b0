"""Pydantic's findings in the user's words: the path as typed, what was written there, and what to write instead."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from vldata.errors import RecipeError, VldataError, nearest

Model = TypeVar("Model", bound=BaseModel)

_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text (in quotes where it looks like something else)",
    "none_required": "null",
    "greater_than_equal": "a number of at least {ge}",
    "greater_than": "a number above {gt}",
    "less_than_equal": "a number of at most {le}",
    "less_than": "a number below {lt}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "literal_error": "{expected}",
}
"""What should have stood there, by the type of Pydantic's error; ``{}`` is filled from its context."""

_LISTS = ("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type")
_MAPS = ("dict_type", "mapping_type", "model_type", "model_attributes_type")


def _translated(error: ValidationError, model: type[BaseModel], data: Any, where: str) -> list[RecipeError]:
    """One error for each place, however many branches of a union complain about it.

    Args:
        data: What was validated: has the keys that the user typed, not the names that Pydantic adds to a path.
    """
    places: dict[str, list[Any]] = {}
    for item in error.errors(include_url=False):
        missing = item["loc"][-1:] if item["type"] == "missing" else ()
        typed = (*_typed(data, item["loc"][: len(item["loc"]) - len(missing)]), *missing)
        places.setdefault(dotted(where, typed), []).append((typed, item))
    return [_problem(path, model, items) for path, items in places.items()]


def validated(model: type[Model], data: Any, where: str, problems: list[VldataError]) -> Model | None:
    """The data as a model; what is wrong with it is added to ``problems`` in the user's words, and None returned."""
    own = _flags_for_numbers(model, data, where)
    try:
        valid = model.model_validate(data)
    except ValidationError as error:
        places = {problem.where for problem in own}
        own += [problem for problem in _translated(error, model, data, where) if problem.where not in places]
    problems.extend(own)
    return None if own else valid


def _flags_for_numbers(model: type[BaseModel], data: Any, where: str) -> list[RecipeError]:
    """Every true or false that stands where only a number may: Pydantic would take it for 1 or 0."""
    problems = []
    for typed, kinds, value in _values((model,), data, ()):
        if isinstance(value, bool) and bool not in kinds and {int, float} & set(kinds):
            wanted = "a number" if float in kinds else "a whole number"
            problem = f"{str(value).lower()} is not {wanted}"
            problems.append(RecipeError(dotted(where, typed), problem, f"write {wanted}"))
    return problems


def dotted(where: str, loc: Sequence[str | int]) -> str:
    """A place in the recipe as users know it: ``dedup_across[0].by``."""
    path = where
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path or "recipe"


def _problem(path: str, model: type[BaseModel], items: Sequence[tuple[tuple[str | int, ...], Any]]) -> RecipeError:
    typed, item = items[0]
    if item["type"] == "extra_forbidden":
        return RecipeError(path, "unknown key", nearest(str(typed[-1]), _keys(_kinds_at(model, typed[:-1]))))
    if item["type"] == "missing":
        return RecipeError(path, "missing", f"add {typed[-1]}: …")
    shown = repr(item["input"])
    shown = shown if len(shown) <= 80 else shown[:77] + "…"
    if item["type"] in ("value_error", "assertion_error"):
        message, _, advice = item["msg"].partition(", ")[2].partition("; ")
        problem = message if shown in message or isinstance(item["input"], dict) else f"{shown}: {message}"
        return RecipeError(path, problem, advice or "change one of the values that it names")
    kinds = _kinds_at(model, typed)
    wanted = list(dict.fromkeys(_wanted(item, typed, kinds) for _, item in items))
    said = " or ".join(wanted)
    literals = [kind for _, other in items if other["type"] == "literal_error" for kind in _literals(kinds)]
    guess = nearest(str(item["input"]), {str(literal) for literal in literals})
    fix = guess if guess.startswith("did you mean") else f"write {said}"
    kind = " or ".join(re.split(", such as| \\(", each)[0] for each in wanted)
    return RecipeError(path, f"{shown} is not {kind}", fix)


def _wanted(item: Any, typed: Sequence[str | int], kinds: Sequence[Any]) -> str:
    key = f"{typed[-1]}: " if typed and isinstance(typed[-1], str) else ""
    if item["type"] in _LISTS:
        return f"a list, such as {key}[…]"
    if item["type"] in _MAPS:
        keys = _keys(kinds)
        names = f" (its keys: {', '.join(keys)})" if keys else ""
        return f"a map, such as {key}{{{keys[0] if keys else 'name'}: …}}{names}"
    form = _WANTED.get(item["type"])
    return form.format(**item.get("ctx", {})) if form else f"what this key takes ({item['msg']})"


def _children(data: Any) -> dict[Any, Any]:
    """The values of a map or a list by key or index; of anything else none."""
    return data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, list) else {}


def _typed(data: Any, loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """The parts of a path that are in the data: the others are Pydantic's names for the branches of a union."""
    typed: list[str | int] = []
    for part in loc:
        children = _children(data)
        if part in children:
            data = children[part]
            typed.append(part)
    return tuple(typed)


def _values(
    kinds: Sequence[Any], data: Any, loc: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Sequence[Any], Any]]:
    """Every leaf of the data with its place and the kinds that it may be."""
    if not isinstance(data, dict | list):
        yield loc, kinds, data
    for part, value in _children(data).items():
        yield from _values(_inside(kinds, part), value, (*loc, part))


def _kinds_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[Any]:
    kinds: list[Any] = [model]
    for part in loc:
        kinds = _inside(kinds, part)
    return kinds


def _inside(kinds: Sequence[Any], part: str | int) -> list[Any]:
    """What may stand under a key or an index of one of these kinds."""
    inside: list[Any] = []
    for kind in kinds:
        arguments = get_args(kind)
        if isinstance(part, int):
            inside += _elements([kind])
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            annotation = kind.model_fields[part].annotation
            is_forward = isinstance(annotation, ForwardRef)  # of a model that holds itself
            inside += _branches(get_type_hints(kind)[part] if is_forward else annotation)
        elif get_origin(kind) is dict:
            inside += _branches(arguments[1])
    return inside


def _elements(kinds: Sequence[Any]) -> list[Any]:
    lists = [kind for kind in kinds if get_origin(kind) in (list, tuple, set, frozenset)]
    return [branch for kind in lists for branch in _branches(get_args(kind)[0])]


def _branches(annotation: Any) -> list[Any]:
    """The members of a union, bare of what `Annotated` adds."""
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [branch for member in get_args(annotation) for branch in _branches(member)]
    return [annotation]


def _keys(kinds: Sequence[Any]) -> list[str]:
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [key for model in models for key in model.model_fields]


def _literals(kinds: Sequence[Any]) -> list[Any]:
    return [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
