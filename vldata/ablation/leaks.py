"""Pictures that are asked about and trained on: such a score says what was remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from vldata.ablation.builds import Made
from vldata.ablation.cells import Questions
from vldata.build.leaks import find_leaks
from vldata.build.look import block_table, items

Pictures = list[tuple[pa.ChunkedArray, str]]


def leaks(builds: Mapping[str, Made], asked: Questions) -> dict[str, int]:
    """Build to how many of the pictures that are asked about it trains on, by their bytes; only those with any.

    Args:
        builds: Name to what is trained on, each its split ``train``.
        asked: The questions.
    """
    questions = _pictures([asked.made], asked.split, "asked")
    if not _shared(questions, builds.values()):
        return {}
    found = {name: _shared(questions, [made]) for name, made in builds.items()}
    return {name: number for name, number in found.items() if number}


def _shared(questions: Pictures, builds: Iterable[Made]) -> int:
    return find_leaks([*questions, *_pictures(builds, "train", "trained")]).shared


def _pictures(builds: Iterable[Made], split: str, label: str) -> Pictures:
    """The pictures of every distinct block of a split."""
    files = {
        block["key"]: (made.folder, block)
        for made in builds
        for block in made.manifest["blocks"]
        if block["split"] == split
    }
    return [(items(block_table(folder, block, ("images",))["images"]), label) for folder, block in files.values()]
