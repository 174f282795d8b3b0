"""Configs from YAML files and ``key=value`` changes; what is misspelt or mistyped is refused with its dotted path."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from vldata.errors import nearest
from vldata.train.config import TrainCfg, TrainError, to_dict


def from_dict(data: Mapping[str, Any], where: str = "config") -> TrainCfg:
    """A config from plain data; what is left out keeps its default.

    Raises:
        TrainError: An unknown key or a value of the wrong type, with its dotted path.
    """
    config: TrainCfg = _read(TrainCfg, data, where)
    return config


def from_file(path: Path) -> TrainCfg:
    """A config from a YAML or JSON file.

    Raises:
        TrainError: The file is missing, is no mapping, or says what a config cannot.
    """
    if not path.is_file():
        raise TrainError(str(path), "no such file", "give the path of a YAML file, or the name of a preset")
    return from_dict(_parsed(path.read_text(), str(path)), str(path))


def override(config: TrainCfg, changes: Sequence[str]) -> TrainCfg:
    """The config with ``dotted.key=value`` changes, values written as in YAML: ``stages.0.lr_projector=1e-3``.

    Raises:
        TrainError: A change without ``=``, an unknown key or a value of the wrong type.
    """
    data = to_dict(config)
    for change in changes:
        key, is_set, value = change.partition("=")
        if not is_set:
            raise TrainError(f"--set {change}", "no value given", f"write {key}=VALUE")
        *path, last = key.split(".")
        node: Any = data
        for name in path:
            node = _at(node, name, key)
        _at(node, last, key)
        node[int(last) if isinstance(node, list | tuple) else last] = _parsed(value, f"--set {change}")
    return from_dict(data, "--set")


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TrainError(where, f"this is no YAML ({' '.join(str(error).split())})", "quote it") from None


def _at(node: Any, name: str, key: str) -> Any:
    """One step of a dotted path."""
    if isinstance(node, list | tuple):
        if not name.isdigit() or int(name) >= len(node):
            raise TrainError(f"--set {key}", f"{name!r} is not one of {len(node)} places", "count from 0")
        return node[int(name)]
    if not isinstance(node, dict) or name not in node:
        raise TrainError(f"--set {key}", f"no key {name!r}", nearest(name, node if isinstance(node, dict) else ()))
    return node[name]


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value of the annotated kind, numbers written as text (YAML's 1e-3) included."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise TrainError(where, f"{value!r} is not a mapping", "write its keys below it")
        kinds = typing.get_type_hints(kind)
        for name in value:
            if name not in kinds:
                raise TrainError(f"{where}.{name}", f"no key {name!r}", nearest(str(name), kinds))
        return kind(**{name: _read(kinds[name], part, f"{where}.{name}") for name, part in value.items()})  # type: ignore[operator]
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise TrainError(where, f"{value!r} is not a list", "write a list")
        inner = typing.get_args(kind)[0]
        return tuple(_read(inner, part, f"{where}.{place}") for place, part in enumerate(value))
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise TrainError(where, f"{value!r} is none of its values", nearest(str(value), typing.get_args(kind)))
        return value
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            pass
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise TrainError(where, f"{value!r} is not of type {kind.__name__}", f"write a {kind.__name__}")
