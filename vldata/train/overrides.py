"""A run's config: a preset, ``key=value`` changes of it, and the shapes of the Hugging Face folders that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from vldata.errors import VldataError
from vldata.schema.translate import validated
from vldata.train.config import Cfg, TrainCfg, TrainError, TrainErrors
from vldata.train.hf_config import decoder_shape, vision_shape
from vldata.train.presets import preset as preset_of

_READOUT = ("layer", "post_norm")  # what a run does with an encoder, which no folder says
_PIXELS = ("pixel_mean", "pixel_std")  # those of the folder's family, unless they are changed


def config_of(preset: str, sets: Sequence[str], steps: int | None = None) -> TrainCfg:
    """A preset with changes.

    Args:
        preset: A name of `vldata.train.presets`.
        sets: ``dotted.key=value``, values written as in YAML: ``stages.0.lr_projector=1e-3``.
        steps: Of each stage, in place of the preset's; at least 1.

    Raises:
        TrainError: The preset or a change is none, or what they make is no model, or a folder holds none.
    """
    base = preset_of(preset).model_dump(mode="json")
    data = orjson.loads(orjson.dumps(base))
    for change in sets:
        _set(data, change)
    if folder := data["vision_dir"]:
        _take(data["vision"], vision_shape(Path(str(folder))), base["vision"], "vision")
    if folder := data["decoder_dir"]:
        _take(data["decoder"], decoder_shape(Path(str(folder))), base["decoder"], "decoder")
    config = from_dict(data, "")
    if steps is None:
        return config
    if steps < 1:
        raise TrainError("--steps", f"{steps} steps are none", "give at least 1")
    return config.replace(stages=tuple(stage.replace(steps=steps) for stage in config.stages))


def _set(data: dict[str, Any], change: str) -> None:
    """Put the value of ``dotted.key=value`` in its place; a key that no config has is found with all other problems."""
    key, is_set, value = change.partition("=")
    if not is_set:
        raise TrainError(f"--set {change}", "no value given", f"write {key}=VALUE")
    *path, last = key.split(".")
    node: Any = data
    for name in path:
        place = _place(node, name, key)
        node = node.setdefault(place, {}) if isinstance(node, dict) else node[place]
    try:
        node[_place(node, last, key)] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        problem = f"this is no YAML ({' '.join(str(error).split())})"
        raise TrainError(f"--set {change}", problem, "quote it") from None


def _place(node: Any, name: str, key: str) -> int | str:
    if isinstance(node, list):
        if not name.isdigit() or int(name) >= len(node):
            raise TrainError(f"--set {key}", f"{name!r} is not one of {len(node)} places", "count from 0")
        return int(name)
    if not isinstance(node, dict):
        raise TrainError(f"--set {key}", f"{node!r} holds no key {name!r}", "leave the key out")
    return name


def _take(given: Any, shape: Cfg, base: dict[str, Any], part: str) -> None:
    """Put a folder's shape in place of the preset's; a change that contradicts it is refused.

    Args:
        given: The part of the config, with changes; changed in place.
        shape: The folder's.
        base: The part in the preset.

    Raises:
        TrainErrors: Contradictions.
    """
    if not isinstance(given, dict):
        return  # refused with all other problems
    problems = []
    for name, value in shape.model_dump(mode="json").items():
        own = given.get(name, value)
        if name in _READOUT or (name in _PIXELS and own != base[name]):
            continue
        if own not in (value, base[name]):
            problem = f"{own!r} is not the {value!r} of the config.json in {part}_dir"
            problems.append(TrainError(f"{part}.{name}", problem, "leave it out: the folder gives the shape"))
        given[name] = value
    if problems:
        raise TrainErrors(problems)


def from_dict(data: Any, where: str) -> TrainCfg:
    """A config from plain data; what is left out keeps its default.

    Raises:
        TrainErrors: Everything that is wrong with it, each with its dotted path behind ``where``.
    """
    problems: list[VldataError] = []
    config = validated(TrainCfg, data, where, problems)
    if config is None:
        raise TrainErrors([TrainError(re.sub(r"\[(\d+)\]", r".\1", p.where), p.problem, p.fix) for p in problems])
    return config
