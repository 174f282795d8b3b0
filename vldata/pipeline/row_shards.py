"""Layout ``rows``: the samples of all sources in one keyed order, cut into shards that gather rows from pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import polars as pl
import pyarrow as pa

from vldata.pipeline.block_cuts import MAX_BYTES
from vldata.schema.arrow import numbers
from vldata.schema.keyed import keyed, string_keys
from vldata.store.blocks import NOTE, PIECE, durable, write_stream
from vldata.store.keys import key_of
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store


@dataclass(frozen=True)
class Shard:
    """The rows of one block: (piece, row in it), in order."""

    key: str
    split: str
    rows: list[tuple[str, int]]
    image_bytes: int


@dataclass(frozen=True)
class Instance:
    """The first ``rows`` rows of a piece, in one pass."""

    piece: str
    rows: int
    number_of_pass: int


def row_shards(
    instances: Mapping[str, Sequence[Instance]], store: Store, *, seed: int, max_rows: int, versions: object
) -> list[Shard]:
    """Order the rows of each split by a keyed hash of their ids and pass, and cut them.

    Args:
        instances: Split to its pieces; a piece may stand there several times.
        max_rows: Most rows in a shard.
        versions: What else decides the blocks' bytes.
    """
    shards = []
    for split, of_split in instances.items():
        names, numbers, keys, sizes = [], [], [], []
        for instance in of_split:
            ids, image_bytes = _ids(store, instance.piece)
            salt = str(instance.number_of_pass)
            names += [instance.piece] * instance.rows
            numbers += list(range(instance.rows))
            keys.append(keyed(string_keys(ids[: instance.rows]), seed, "order", salt))
            sizes += image_bytes[: instance.rows]
        order = np.argsort(np.concatenate(keys), kind="stable") if keys else np.array([], dtype=np.int64)
        start, held = 0, 0
        for end, i in enumerate(order.tolist()):
            if end > start and (end - start >= max_rows or held + sizes[i] > MAX_BYTES):
                shards.append(_shard(split, order[start:end].tolist(), names, numbers, sizes, versions))
                start, held = end, 0
            held += sizes[i]
        if start < len(order):
            shards.append(_shard(split, order[start:].tolist(), names, numbers, sizes, versions))
    return shards


def gather(shard: Shard, store: Store) -> None:
    """Write the shard's rows as a piece, so that it becomes a block as every other piece does."""
    if store.has(Folder.PIECES, shard.key, NOTE):
        return
    order = sorted(range(len(shard.rows)), key=lambda i: shard.rows[i])
    tables, hashes, image_bytes = [], [], []
    for piece, group in groupby(order, key=lambda i: shard.rows[i][0]):
        wanted = [shard.rows[i][1] for i in group]
        note = json.loads(store.path(Folder.PIECES, piece, NOTE).read_text())
        with pa.memory_map(str(store.path(Folder.PIECES, piece, PIECE))) as source:
            table = pa.ipc.open_stream(source).read_all()
            counts = pl.Series(table.column("images").combine_chunks().value_lengths()).to_list()
            ends = np.cumsum([0, *counts]).tolist()
            hashes += [note["hashes"][ends[r] : ends[r + 1]] for r in wanted]
            image_bytes += [note["image_bytes"][r] for r in wanted]
            tables.append(pa.Table.from_batches(table.take(numbers(wanted)).to_batches()))
    place = {i: position for position, i in enumerate(order)}
    back = [place[i] for i in range(len(order))]
    table = pa.concat_tables(tables).take(numbers(back)).combine_chunks()
    with store.write(Folder.PIECES, shard.key, PIECE, durable=durable()) as path, path.open("wb") as file:
        write_stream(table, file)
    with store.write(Folder.PIECES, shard.key, NOTE, durable=durable()) as path:
        note = {"hashes": [h for i in back for h in hashes[i]], "image_bytes": [image_bytes[i] for i in back]}
        path.write_text(json.dumps(note))


def _ids(store: Store, piece: str) -> tuple[list[str], list[int]]:
    with pa.memory_map(str(store.path(Folder.PIECES, piece, PIECE))) as source:
        ids = pa.ipc.open_stream(source).read_all().column("id").to_pylist()
    return ids, json.loads(store.path(Folder.PIECES, piece, NOTE).read_text())["image_bytes"]


def _shard(
    split: str, order: list[int], names: list[str], numbers: list[int], sizes: list[int], versions: object
) -> Shard:
    rows = [(names[i], numbers[i]) for i in order]
    key = key_of({"what": KeySubject.SHARD, "rows": [[piece, number] for piece, number in rows], "versions": versions})
    return Shard(key, split, rows, sum(sizes[i] for i in order))
