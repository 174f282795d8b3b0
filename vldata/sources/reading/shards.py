"""What the names of a source's files say of these together: shards that are not there, splits side by side."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from glob import has_magic
from pathlib import Path

from vldata.paths import home

_SHARD = re.compile(r"(.*?)(\d+)-of-(\d+)(.*)")
_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "test", "test": "test", "testing": "test",
}  # fmt: skip
_MOST_SHOWN = 5


def notes_on_files(path: str, files: Sequence[Path]) -> list[str]:
    """What a reader of the plan should know of a source's files.

    Args:
        path: The file, folder or pattern that the recipe names.
    """
    whole = home(path)
    if len(files) < 1 or not (whole.is_dir() or has_magic(path)):
        return []
    folder = next(parent for parent in (whole, *whole.parents) if not has_magic(str(parent)))
    names = [file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name for file in files]
    return [*_shards(names), *_splits(names)]


def _shards(names: Sequence[str]) -> Iterator[str]:
    sets: defaultdict[tuple[str, str], dict[str, set[str]]] = defaultdict(dict)
    for name in names:
        if found := _SHARD.fullmatch(name):
            head, number, total, tail = found.groups()
            sets[head, tail].setdefault(total, set()).add(number)
    for (head, tail), totals in sets.items():
        if len(totals) > 1:
            each = ", ".join(f"{head}…-of-{total}{tail}" for total in sorted(totals))
            yield f"shards of {len(totals)} divisions of the same rows lie side by side: {each}"
        for total, numbers in totals.items():
            first = int(int(total) in {int(number) for number in numbers})
            width = len(min(numbers))
            asked = [str(number).zfill(width) for number in range(first, int(total) + first)]
            lacking = [number for number in asked if number not in numbers]
            if lacking:
                shown = ", ".join(lacking[:_MOST_SHOWN]) + (" …" if len(lacking) > _MOST_SHOWN else "")
                yield f"{len(lacking):,} of the {int(total):,} shards {head}…-of-{total}{tail} are not there: {shown}"


def _splits(names: Sequence[str]) -> Iterator[str]:
    counts: defaultdict[str, int] = defaultdict(int)
    for name in names:
        words = re.findall("[a-z]+", name.lower())
        split = next((_SPLITS[word] for word in words if word in _SPLITS), None)
        if split is not None:
            counts[split] += 1
    if len(counts) > 1:
        each = ", ".join(f"{split} ({num:,})" for split, num in sorted(counts.items()))
        yield f"it reads files of several splits, by their names: {each}; a pattern as `path` names those of one"
