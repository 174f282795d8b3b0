"""What a worker does with a leaf: render it, name it, keep it. Importable by name, to run in any process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from blake3 import blake3

from vldata.pipeline.finished_rows import RENDER_VERSION, RenderSettings, render_leaf
from vldata.schema.rows import SCHEMA_VERSION
from vldata.store.blocks import BLOCK, NOTE, PIECE, durable, write_block, write_stream
from vldata.store.keys import key_of
from vldata.store.store import Store


@dataclass(frozen=True)
class RenderJob:
    """One leaf of a source's chosen samples.

    Args:
        samples: Arrow file of the source's chosen samples.
        turns: Arrow file of their turns.
        low: The leaf's first sample, a position in ``samples``.
        high: The position behind its last one.
        first_rank: Rank of the leaf's first sample.
        words: What to say.
        as_block: The rendered rows are the block: paths are stored, and sources stay apart.
        pixels: What is done to the images, part of the block's key.
    """

    samples: Path
    turns: Path
    low: int
    high: int
    first_rank: int
    words: RenderSettings
    as_block: bool
    pixels: Mapping[str, int | str | None]


@dataclass(frozen=True)
class Made:
    """A rendered leaf in the store.

    Args:
        key: Of the block that it becomes.
        first_rank: Rank of its first sample, which places it in the build.
        size_bytes: Of the rendered rows, without pictures.
        is_new_block: Whether it was written as a block just now.
    """

    key: str
    first_rank: int
    split: str
    rows: int
    num_images: int
    num_turns: int
    answer_chars: int
    text_chars: int
    image_bytes: int
    size_bytes: int
    is_new_block: bool = False


def render_job(job: RenderJob, store: Store) -> Made | dict[str, str]:
    """Render a leaf and keep it in the store; or the rows on which that failed, with the reason."""
    samples = _rows(job.samples, job.low, job.high - job.low)
    turns = _rows(job.turns, int(samples["first_turn"][0]), int(samples["num_turns"].sum()))
    piece = render_leaf(samples, turns, job.words)
    if isinstance(piece, dict):
        return piece
    sink = pa.BufferOutputStream()
    write_stream(piece.table, sink)
    data = sink.getvalue()
    key = key_of(
        {
            "what": "block",
            "versions": [SCHEMA_VERSION, RENDER_VERSION],
            "rows": blake3(data).hexdigest(length=16),
            "images": piece.hashes,
            "pixels": dict(job.pixels),
        }
    )
    is_new_block = job.as_block and not (store.has("blocks", key, BLOCK) and store.has("blocks", key, NOTE))
    if is_new_block:
        write_block(piece.table, key, store)
    elif not job.as_block and not store.has("pieces", key, NOTE):
        with store.write("pieces", key, PIECE, durable=durable()) as path:
            path.write_bytes(data)
        with store.write("pieces", key, NOTE, durable=durable()) as path:
            path.write_text(json.dumps({"hashes": piece.hashes, "image_bytes": samples["image_bytes"].to_list()}))
    return Made(
        key=key,
        first_rank=job.first_rank,
        split=str(samples["split"][0]),
        rows=samples.height,
        num_images=piece.num_images,
        num_turns=piece.num_turns,
        answer_chars=piece.answer_chars,
        text_chars=piece.text_chars,
        image_bytes=piece.image_bytes,
        size_bytes=len(data),
        is_new_block=is_new_block,
    )


def _rows(path: Path, start: int, num: int) -> pl.DataFrame:
    """Some rows of an Arrow file, mapped: Polars' own scan decodes the batches around them, 6 ms where this takes 1."""
    with pa.memory_map(str(path)) as source:
        found = pl.from_arrow(pa.ipc.open_file(source).read_all().slice(start, num))
    assert isinstance(found, pl.DataFrame)
    return found
