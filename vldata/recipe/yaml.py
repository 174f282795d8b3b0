"""Recipe text -> plain data: safe YAML, string keys only, no key twice, no bombs, and the line of every value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from vldata.errors import RecipeError

MAX_BYTES = 4 * 1024 * 1024
MAX_VALUES = 200_000
"""Far above any real recipe; a few nested YAML aliases expand to more."""
MAX_DEPTH = 64
"""Levels of lists and maps inside one another; PyYAML composes them by recursion, and so would run out of stack."""

_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
"""YAML 1.2's numbers with an exponent: PyYAML, which reads YAML 1.1, takes 1e-9 and 1.0e9 for text."""

_TRAPS = {
    True: "YAML reads a bare on, yes or true as a boolean; write it in quotes",
    False: "YAML reads a bare off, no or false as a boolean; write it in quotes",
}


_OF_JOIN = re.compile(r"(^|\.)join(\[\d+\])?$")
"""Where a bare ``on`` is a key that a source has, and can mean nothing else."""


class _TooDeep(yaml.MarkedYAMLError):
    """More than `MAX_DEPTH` levels."""


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if parent is not None and self.depth > MAX_DEPTH:
            raise _TooDeep(problem="nested too deeply", problem_mark=parent.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `_Loader` would take for numbers."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse(text: str, name: str) -> Any:
    """The document as dicts, lists, strings, numbers, booleans and None.

    Args:
        text: YAML, one document.
        name: What to call it in errors.

    Raises:
        RecipeError: Not YAML, a key that is no string or stands twice, an unsafe tag, too many values or levels.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(name, f"the recipe has {len(text):,} characters", f"at most {MAX_BYTES:,} are read")
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        where = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        problem = f"not YAML: the character {ord(text[error.position]):#06x} is not for texts"
        raise RecipeError(where, problem, "remove it; in double quotes it can be written as an escape") from None
    try:
        node = loader.get_single_node()
        if node is None:
            raise RecipeError(name, "it is empty", "start from `vldata init`")
        _refuse_bombs(node, name)
        return _plain(node, loader, name, "")
    except _TooDeep as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = f"nested too deeply: more than {MAX_DEPTH} levels"
        raise RecipeError(f"{name}:{line}", problem, "write fewer lists and maps inside one another") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise RecipeError(where, f"not YAML: {problem}", "check the indentation, colons and quotes there") from None
    finally:
        loader.dispose()


def dump(data: Any) -> str:
    """Plain data as YAML that `parse` reads back; keys keep their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse_file(path: Path) -> Any:
    """`parse` a file.

    Raises:
        RecipeError: As `parse`, or no such file, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), f"not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise RecipeError(str(path), error.strerror or str(error), "check the path of the recipe") from None
    return parse(text, str(path))


def _refuse_bombs(root: yaml.Node, name: str) -> None:
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH:
            problem = f"nested too deeply: an alias inside itself, or more than {MAX_DEPTH} levels"
            raise RecipeError(name, problem, "write the values out")
        num_values = sizes.get(id(node))
        if num_values is None:
            children: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                children = node.value
            elif isinstance(node, yaml.MappingNode):
                children = [part for pair in node.value for part in pair]
            num_values = 1 + sum(size(child, depth + 1) for child in children)
            sizes[id(node)] = num_values
        return num_values

    total = size(root, 0)
    if total > MAX_VALUES:
        problem = f"its aliases expand to {total:,} values"
        raise RecipeError(name, problem, "write the values out, without aliases of aliases")


def _plain(node: yaml.Node, loader: yaml.SafeLoader, name: str, path: str) -> Any:
    if not node.tag.startswith("tag:yaml.org,2002:") or ":python/" in node.tag:
        where = f"{name}:{node.start_mark.line + 1}"
        raise RecipeError(where, f"not YAML: the tag {node.tag!r} makes objects", "write plain values")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, loader, name, f"{path}[{i}]") for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, loader, name, path)
    try:
        value = loader.construct_object(node, deep=True)
        if isinstance(value, str):
            value.encode()
        return value
    except UnicodeEncodeError as error:
        where = f"{name}:{node.start_mark.line + 1}"
        problem = f"not usable: {error.object[error.start]!a} is half a character"
        raise RecipeError(where, problem, "write the character itself") from None
    except ValueError as error:
        where = f"{name}:{node.start_mark.line + 1}"
        raise RecipeError(where, f"not usable: {str(error)[:100]}", "write it in quotes if it is text") from None


def _mapping(node: yaml.MappingNode, loader: yaml.SafeLoader, name: str, path: str) -> dict[str, Any]:
    loader.flatten_mapping(node)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        where = f"{name}:{key_node.start_mark.line + 1}"
        key = _plain(key_node, loader, name, path)
        if key is True and key_node.value == "on" and _OF_JOIN.search(path):
            key = "on"
        if not isinstance(key, str):
            hint = _TRAPS.get(key) if isinstance(key, bool) else None
            shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key)
            raise RecipeError(where, f"the key {shown!r} is not a string", hint or f'write it in quotes: "{shown}"')
        here = f"{path}.{key}" if path else key
        if key in mapping and not _merged(node, key_node):
            raise RecipeError(where, f"{here!r} stands twice", "keep one of them")
        mapping[key] = _plain(value_node, loader, name, here)
    return mapping


def _merged(node: yaml.MappingNode, key_node: yaml.Node) -> bool:
    """Whether the key overrides one that a merge (``<<``) brought in, which comes first and from another place."""
    first = next(k for k, _ in node.value if k.value == key_node.value)
    return bool(first.start_mark.index < node.start_mark.index)
