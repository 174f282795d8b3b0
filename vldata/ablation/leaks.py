"""Rows, images and texts that stand in the questions and in what is trained on: scores on them show what was memorised.

Every block is read once, in however many builds it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from vldata.ablation.builds import VariantBuild
from vldata.ablation.cells import Questions
from vldata.dataset.open import block_table, list_values
from vldata.dataset.split_leaks import find_leaks

Images = list[tuple[pa.ChunkedArray, str]]

_ROW = ("source", "row")


def same_images(builds: Mapping[str, VariantBuild], questions: Questions) -> dict[str, int]:
    """Build to how many of the questions' images it trains on, by their bytes; only those with any.

    Args:
        builds: Name to what is trained on, each its split ``train``.
    """
    images = _images([questions.build], questions.split, "questions")
    if not _shared(images, builds.values()):
        return {}
    counts = {name: _shared(images, [build]) for name, build in builds.items()}
    return {name: number for name, number in counts.items() if number}


def same_rows(builds: Mapping[str, VariantBuild], questions: Questions) -> dict[str, int]:
    """Build to how many of the questions' rows it trains on, by source and row, whatever their images' bytes.

    Only where the questions are held out of the same sources; another recipe's rows may have the same names.
    """
    columns = ("source", "turns")
    held_out = pl.concat([_rows(block) for block in _blocks([questions.build], questions.split, columns)]).unique()
    return _counted(builds, columns, lambda block: set(_rows(block).join(held_out, on=_ROW, how="semi").iter_rows()))


def same_texts(builds: Mapping[str, VariantBuild], questions: Questions) -> dict[str, int]:
    """Build to how many of the questions without an image it trains on, word for word."""
    columns = ("image_sizes", "messages")
    texts = {text for block in _blocks([questions.build], questions.split, columns) for text in _texts(block)}
    return _counted(builds, columns, lambda block: texts.intersection(_texts(block))) if texts else {}


def _rows(block: pa.Table) -> pl.DataFrame:
    turns = pl.DataFrame(pl.from_arrow(block)).explode("turns")
    return turns.select("source", row=pl.col("turns").struct.field("row"))


def _texts(block: pa.Table) -> list[str]:
    plain = pl.DataFrame(pl.from_arrow(block)).filter(pl.col("image_sizes").list.len() == 0)
    return [str(messages) for messages in plain["messages"].to_list()]


def _counted(
    builds: Mapping[str, VariantBuild], columns: tuple[str, ...], pick: Callable[[pa.Table], set[Any]]
) -> dict[str, int]:
    """Build to how many different things are picked from its blocks; only those with any."""
    picked: dict[str, set[Any]] = {}
    counts = {}
    for name, build in builds.items():
        own: set[Any] = set()
        for block in _distinct([build], "train"):
            key = block[1]["key"]
            if key not in picked:
                picked[key] = pick(block_table(*block, columns))
            own |= picked[key]
        counts[name] = len(own)
    return {name: number for name, number in counts.items() if number}


def _shared(questions: Images, builds: Iterable[VariantBuild]) -> int:
    return find_leaks([*questions, *_images(builds, "train", "trained")]).shared


def _images(builds: Iterable[VariantBuild], split: str, label: str) -> Images:
    return [(list_values(block["images"]), label) for block in _blocks(builds, split, ("images",))]


def _blocks(builds: Iterable[VariantBuild], split: str, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    return (block_table(folder, block, columns) for folder, block in _distinct(builds, split))


def _distinct(builds: Iterable[VariantBuild], split: str) -> list[tuple[Any, dict[str, Any]]]:
    """Folder and entry of every distinct block of a split."""
    every = ((build.folder, block) for build in builds for block in build.manifest["blocks"] if block["split"] == split)
    return list({block["key"]: (folder, block) for folder, block in every}.values())
