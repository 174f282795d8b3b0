"""The files that a cell leaves: what it scored on each task, and each answer's score, in the form of `vldata eval`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import pyarrow as pa
from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vldata.errors import BuildError, nearest

Key = tuple[str, str, int]
"""A requested answer: its source, its native row (or its sample and turn), and which of them."""

ITEMS = ".items.jsonl"

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _TaskScore(BaseModel):
    model_config = ConfigDict(extra="ignore")

    metric: Annotated[str, Field(min_length=1)]
    value: Finite
    n: Annotated[int, Field(ge=0)] = 0
    blind: Finite | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    tasks: Annotated[dict[str, _TaskScore], Field(min_length=1)]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    turn: int = 0
    row: str | None = None
    source: str = ""
    task: str
    scores: Annotated[dict[str, Finite], Field(min_length=1)]
    blind: dict[str, Finite] = {}


@dataclass(frozen=True)
class TaskScores:
    """One task of one cell.

    Args:
        metric: The task's measure; higher is better.
        blind: The same without images; NaN where it is not known.
        items: Each answer's score; empty where there is no file of them.
        also: Other scores to their means over the answers, such as ``nll_per_token``.
    """

    metric: str
    value: float
    n: int
    blind: float
    items: Mapping[Key, float] = field(repr=False, default_factory=dict)
    also: Mapping[str, float] = field(default_factory=dict)


def read_scores(path: Path) -> dict[str, TaskScores]:
    """Task to what a cell scored.

    Args:
        path: ``scores.json``; ``scores.items.jsonl`` beside it is read where it is there.

    Raises:
        BuildError: The file is not there, or is not of this form.
    """
    totals = _totals(path)
    items, also = _items(path.with_suffix(ITEMS), {task: one.metric for task, one in totals.items()})
    return {
        task: TaskScores(
            metric=one.metric,
            value=one.value,
            n=one.n or len(items.get(task, {})),
            blind=math.nan if one.blind is None else one.blind,
            items=items.get(task, {}),
            also=also.get(task, {}),
        )
        for task, one in totals.items()
    }


def read_metric(path: Path, metric: str) -> tuple[dict[str, TaskScores], list[str]]:
    """The same by another score of the answers, and the tasks that have no such score.

    Args:
        path: As for `read_scores`; here the answers must be there.
        metric: A score's name; with a minus before it the score's sign is changed.

    Raises:
        BuildError: As `read_scores`; or no answer has such a score.
    """
    totals = _totals(path)
    name, sign = metric.removeprefix("-"), -1.0 if metric.startswith("-") else 1.0
    by_task: dict[str, TaskScores] = {}
    answers: dict[str, list[_Item]] = {}
    for item in _lines(path.with_suffix(ITEMS)):
        answers.setdefault(item.task, []).append(item)
    for task, of_task in answers.items():
        scored = [item for item in of_task if name in item.scores]
        if scored:
            items = dict(_keyed((item, sign * item.scores[name]) for item in scored))
            blind = [sign * item.blind[name] for item in scored if name in item.blind]
            means = [float(np.mean(values)) if values else math.nan for values in ([*items.values()], blind)]
            by_task[task] = TaskScores(metric, means[0], len(items), means[1], items)
    if not by_task:
        names = {score for of_task in answers.values() for item in of_task for score in item.scores}
        fix = nearest(name, names) if names else f"let the command write scores{ITEMS} too"
        raise BuildError(f"evaluate.metric: {metric}", "the answers have no such score", fix)
    return dict(sorted(by_task.items())), sorted(totals.keys() - by_task.keys())


def _totals(path: Path) -> dict[str, _TaskScore]:
    fix = 'write {"tasks": {"<task>": {"metric": "…", "value": 0.5}}}'
    try:
        file = _File.model_validate(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        raise BuildError(path.name, "the command left no such file", f"{fix} to {{out}}/{path.name}") from None
    except orjson.JSONDecodeError as error:
        raise BuildError(path.name, f"not JSON: {error}", fix) from None
    except ValidationError as error:
        raise BuildError(path.name, _first(error), fix) from None
    return dict(sorted(file.tasks.items()))


def _items(path: Path, metrics: Mapping[str, str]) -> tuple[dict[str, dict[Key, float]], dict[str, dict[str, float]]]:
    """Task to each answer's score by the task's metric, and to the means of all its scores."""
    others: dict[str, dict[str, list[float]]] = {}
    answers: dict[str, list[tuple[_Item, float]]] = {}
    for number, item in enumerate(_lines(path), start=1):
        metric = metrics.get(item.task, next(iter(item.scores)))
        if metric not in item.scores:
            problem = f"no score named {metric!r}, which scores.json says {item.task!r} is measured by"
            raise BuildError(f"{path.name}:{number}", problem, f"it has {', '.join(sorted(item.scores))}")
        answers.setdefault(item.task, []).append((item, item.scores[metric]))
        for name, value in item.scores.items():
            others.setdefault(item.task, {}).setdefault(name, []).append(value)
    items = {task: dict(_keyed(of_task)) for task, of_task in answers.items()}
    return items, {task: {name: float(np.mean(v)) for name, v in of.items()} for task, of in others.items()}


def _lines(path: Path) -> Iterator[_Item]:
    """The answers of a file, one a line; none where there is no file."""
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            yield _Item.model_validate(orjson.loads(line))
        except (orjson.JSONDecodeError, ValidationError) as error:
            what = _first(error) if isinstance(error, ValidationError) else f"not JSON: {error}"
            fix = 'write {"id": "…", "turn": 0, "task": "…", "scores": {"…": 0.5}} in every line'
            raise BuildError(f"{path.name}:{number}", what, fix) from None


def _keyed(answers: Iterable[tuple[_Item, float]]) -> Iterator[tuple[Key, float]]:
    """Each answer's score by its key; those of one source and row are counted."""
    places: Counter[tuple[str, str]] = Counter()
    for item, score in answers:
        about = (item.source, item.row) if item.row is not None else (item.id, str(item.turn))
        yield (*about, places[about]), score
        places[about] += 1


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}"


def photographs(folder: Path, split: str) -> dict[tuple[str, str], str]:
    """What each held-out answer is about: the first image's bytes, else its sample.

    Returns:
        (source, native row), and (sample's id, number of the turn) for files without rows, to a name; answers about one
        photograph share it.
    """
    names: dict[tuple[str, str], str] = {}
    for row in _rows(folder, split, ["id", "images", "source", "turns"]):
        image = row["images"][0] if row["images"] else None
        about = row["id"] if image is None else _identity(image)
        for number, turn in enumerate(row["turns"]):
            names[row["source"], turn["row"]] = about
            names[row["id"], str(number)] = about
    return names


def image_lines(folder: Path, split: str) -> Iterator[str]:
    """Lines of an exclusion list for everything that a split shows or says."""
    for row in _rows(folder, split, ["id", "images", "source", "turns"]):
        for image in row["images"]:
            yield _identity(image)
        for turn in row["turns"]:
            yield f"{row['source']}/{turn['row']}"


def _identity(image: Mapping[str, Any]) -> str:
    data = image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()
    return blake3(data).hexdigest(length=16)


def _rows(folder: Path, split: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    place = folder / split if (folder / split).is_dir() else folder
    for file in orjson.loads((place / "state.json").read_bytes())["_data_files"]:
        with pa.memory_map(str(place / file["filename"])) as source:
            for batch in pa.ipc.open_stream(source):
                yield from batch.select(columns).to_pylist()
