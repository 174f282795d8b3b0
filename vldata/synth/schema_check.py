"""Whether plain JSON has the form that a schema asks for: the part of JSON Schema that strict structured output knows.

Some servers answer 200 and ignore ``response_format`` altogether, so what came back is checked here, whoever sent it.
Known are ``type``, ``enum``, ``properties``, ``required``, ``additionalProperties: false``, ``items``, ``minItems``,
``maxItems``, ``minLength``, ``maxLength``, ``pattern``, ``minimum`` and ``maximum``; a schema with anything else is
refused when its kind is loaded (`unknown_words`), as a rule that is not checked would be a rule in name only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_CHECKED_WORDS = frozenset(
    {"type", "enum", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "minLength"}
    | {"maxLength", "pattern", "minimum", "maximum", "description", "title"}
)


def violations(value: Any, schema: Schema, where: str = "the reply") -> Iterator[str]:
    """What in the value is not as the schema says, each with its place: ``the reply.steps[2].element is not …``."""
    wanted = schema.get("type")
    types = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if types and not any(_is(value, name) for name in types):
        yield f"{where} is not of type {' or '.join(types)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is none of {', '.join(map(repr, schema['enum']))}"
    if isinstance(value, dict):
        yield from _object(value, schema, where)
    elif isinstance(value, list):
        yield from _between(len(value), schema, "minItems", "maxItems", f"the number of parts of {where}")
        for place, member in enumerate(value):
            yield from violations(member, schema.get("items", {}), f"{where}[{place}]")
    elif isinstance(value, str):
        yield from _between(len(value), schema, "minLength", "maxLength", f"the length of {where}")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where} does not match {schema['pattern']!r}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _between(value, schema, "minimum", "maximum", where)


def unknown_words(schema: Any, where: str = "schema") -> Iterator[str]:
    """Every part of a schema that `violations` does not check, or that is no schema, with its place."""
    if not isinstance(schema, Mapping):
        yield f"{where} is not a map"
        return
    yield from (f"{where}.{word}" for word in sorted(set(schema) - _CHECKED_WORDS))
    wanted = schema.get("type", "object")
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not all(isinstance(name, str) and name in _TYPES for name in names):
        yield f"{where}.type"
    if schema.get("additionalProperties", False) is not False:
        yield f"{where}.additionalProperties"
    try:
        re.compile(schema.get("pattern", ""))
    except (re.error, TypeError):
        yield f"{where}.pattern"
    if "items" in schema:
        yield from unknown_words(schema["items"], f"{where}.items")
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        yield f"{where}.properties"
        return
    for name, inner in properties.items():
        yield from unknown_words(inner, f"{where}.properties.{name}")


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()  # JSON Schema: 1.0 is an integer
    return isinstance(value, _TYPES[name])


def _object(value: dict[str, Any], schema: Schema, where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f"{where} has no {name!r}" for name in schema.get("required", ()) if name not in value)
    for name, member in value.items():
        if name in properties:
            yield from violations(member, properties[name], f"{where}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{where} has {name!r}, which the schema does not have"


def _between(value: float, schema: Schema, low: str, high: str, what: str) -> Iterator[str]:
    if low in schema and value < schema[low]:
        yield f"{what} is {value:g}, less than {schema[low]:g}"
    if high in schema and value > schema[high]:
        yield f"{what} is {value:g}, more than {schema[high]:g}"
