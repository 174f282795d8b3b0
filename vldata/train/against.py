"""Two runs that answered the same questions, compared answer by answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from vldata.errors import BuildError
from vldata.train.metrics import paired

Item = Mapping[str, Any]
"""A line of ``<scores>.items.jsonl``."""


def read_items(scores: Path) -> list[Item]:
    """The answers behind a file of scores.

    Args:
        scores: What `vldata eval` wrote; its answers lie beside it.

    Raises:
        BuildError: There are none, or a line is none.
    """
    file = scores.with_suffix(".items.jsonl")
    if not file.is_file():
        raise BuildError(
            str(scores), f"there is no {file.name} beside it", "give the --out of an earlier `vldata eval`"
        )
    items: list[Item] = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            item = orjson.loads(line)
            _key(item), [float(value) for value in item["scores"].values()]
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            raise BuildError(f"{file}:{number}", "the line is no answer", "evaluate that run again") from None
        items.append(item)
    return items


def against(items: Sequence[Item], before: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """For each task the mean difference of its measure over the answers that both have.

    Args:
        items: Of this run.
        before: Of the run that it is compared with.

    Returns:
        ``<task>.{metric, difference, ci_low, ci_high, n, only_here, only_there}``; the interval is paired, 95 %, and
        draws answers of one sample together. It covers these two runs and not what other seeds would give. A task
        without a common answer has a difference of None.
    """
    had = {_key(item): item for item in before}
    by_task = {}
    for task in sorted({str(item["task"]) for item in items}):
        own = [item for item in items if item["task"] == task]
        metric = next(iter(own[0]["scores"]))
        common = [item for item in own if metric in had.get(_key(item), {}).get("scores", {})]
        theirs = sum(item["task"] == task for item in before)
        row: dict[str, Any] = {"metric": metric, "difference": None, "ci_low": None, "ci_high": None}
        if common:
            now = [float(item["scores"][metric]) for item in common]
            then = [float(had[_key(item)]["scores"][metric]) for item in common]
            gain = paired(now, then, [str(item["id"]) for item in common])
            row |= {"difference": gain.value, "ci_low": gain.low, "ci_high": gain.high}
        by_task[task] = {
            **row,
            "n": len(common),
            "only_here": len(own) - len(common),
            "only_there": theirs - len(common),
        }
    return by_task


def _key(item: Item) -> tuple[str, str, str, int]:
    return str(item["source"]), str(item["task"]), str(item["id"]), int(item["turn"])
