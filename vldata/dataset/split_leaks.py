"""Images that stand in more than one split, found by their bytes and not by what the build believes.

Two images with the same bytes have the same length and the same few bytes at the same places, so only those that
agree in these are hashed. A build that stores paths is compared by path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

_PROBED = 64
"""Bytes of each candidate that are looked at before any is hashed."""


@dataclass(frozen=True)
class Leaks:
    """How many images stand in more than one split.

    Args:
        num_images: Places of images that were compared, each distinct block once.
        num_splits: Splits that the build has.
        shared: Distinct images that stand in more than one split.
        by: ``bytes`` or ``path``.
    """

    num_images: int
    num_splits: int
    shared: int
    by: str


def find_leaks(blocks: Sequence[tuple[pa.ChunkedArray, str]]) -> Leaks:
    """Compare the images of all splits.

    Args:
        blocks: The image structs of each distinct block, with its split.
    """
    images = [(chunk, split) for flat, split in blocks for chunk in flat.chunks]
    num_splits, num = len({split for _, split in images}), sum(len(flat) for flat, _ in images)
    embedded = any(flat.field("bytes").null_count < len(flat) for flat, _ in images)
    by = "bytes" if embedded else "path"
    if num_splits < 2:
        return Leaks(num, num_splits, 0, by)
    shared = _same_bytes(images) if embedded else _same_paths(images)
    return Leaks(num, num_splits, shared, by)


def _same_paths(images: Sequence[tuple[pa.StructArray, str]]) -> int:
    series = [(pl.Series("path", pl.from_arrow(flat.field("path")), dtype=pl.String), split) for flat, split in images]
    paths = pl.concat([of_block.to_frame().with_columns(split=pl.lit(split)) for of_block, split in series])
    return paths.drop_nulls().group_by("path").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height


def _same_bytes(images: Sequence[tuple[pa.StructArray, str]]) -> int:
    nullable = [pl.Series(pl.from_arrow(pc.binary_length(flat.field("bytes")))) for flat, _ in images]
    lengths = [of_block.fill_null(0).to_numpy() for of_block in nullable]
    in_splits: dict[str, list[npt.NDArray[np.int32]]] = {}
    for (_, split), of_block in zip(images, lengths, strict=True):
        in_splits.setdefault(split, []).append(of_block)
    distinct = [np.unique(np.concatenate(of_split)) for of_split in in_splits.values()]
    values, counts = np.unique(np.concatenate(distinct), return_counts=True)
    twice = values[(counts > 1) & (values > 0)]
    parts: list[dict[str, npt.NDArray[np.generic]]] = []
    names = sorted(in_splits)
    for block, ((flat, split), of_block) in enumerate(zip(images, lengths, strict=True)):
        at = np.flatnonzero(np.isin(of_block, twice))
        if len(at):
            probes = _probe(flat.field("bytes"), at)
            same = {"block": np.full(len(at), block), "split": np.full(len(at), names.index(split))}
            parts.append({"at": at, "length": of_block[at], "probe": probes, **same})
    if not parts:
        return 0
    candidates = pl.DataFrame({name: np.concatenate([one[name] for one in parts]) for name in parts[0]})
    alike = candidates.filter(pl.col("split").n_unique().over("length", "probe") > 1)
    alike = alike.sort("length", "probe", "block", "at")
    shared = 0
    for _, group in groupby(alike.iter_rows(named=True), key=lambda row: (row["length"], row["probe"])):
        digests: dict[bytes, set[int]] = {}
        for row in group:
            data = images[row["block"]][0].field("bytes")[row["at"]].as_buffer()
            digests.setdefault(blake3(data).digest(), set()).add(row["split"])
        shared += sum(len(splits) > 1 for splits in digests.values())
    return shared


def _probe(column: pa.BinaryArray, at: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
    """A number that is the same for the same bytes: of some at the head, the middle and the end.

    Args:
        column: Encoded images.
        at: Which of them; none is empty.
    """
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8)
    starts, sizes = offsets[at], offsets[at + 1] - offsets[at]
    half, quarter = np.arange(_PROBED // 2), np.arange(_PROBED // 4)
    places = np.concatenate(
        [
            np.minimum(half, sizes[:, None] - 1),
            np.minimum(sizes[:, None] // 2 + quarter, sizes[:, None] - 1),
            np.maximum(sizes[:, None] - 1 - quarter, 0),
        ],
        axis=1,
    )
    words = np.ascontiguousarray(data[starts[:, None] + places]).view(np.uint64)
    weights = np.random.default_rng(0).integers(1, 2**63, words.shape[1], dtype=np.uint64) | np.uint64(1)
    mixed: npt.NDArray[np.uint64] = (words * weights).sum(axis=1, dtype=np.uint64)
    return mixed
