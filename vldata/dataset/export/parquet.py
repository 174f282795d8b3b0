"""Parquet with a dataset card: what the Hugging Face hub shows and every table tool reads; reading it is the identity.

    data/train-00000-of-00003.parquet     every column as the build has it; a shard ends after 500 MB
    README.md                             the dataset card: which files are which split, sources, licences

``datasets.load_dataset("<folder>")`` opens it, images decoded. A block becomes a row group, and pages are cut where the
content says so, not at fixed sizes: of a build that changed a little, the hub's storage takes only what changed. Where
a build stores paths, so does the export: it is for the machine that it was made on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from vldata.dataset.export.outcome import Written
from vldata.dataset.open import BuildFolder
from vldata.schema.rows import META, arrow_schema

SHARD_BYTES = 500_000_000
"""A shard that has reached it is closed: about the size at which the `datasets` library cuts what it uploads."""


def write(
    build: BuildFolder, folder: Path, advance: Callable[[int], None], *, shard_bytes: int = SHARD_BYTES
) -> Written:
    """Write a build as Parquet.

    Args:
        shard_bytes: Size from which a shard is closed, at the end of a block.
    """
    rows = 0

    def watched(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in batches:
            yield batch
            rows += batch.num_rows
            advance(batch.num_rows)

    (folder / "data").mkdir()
    for split in build.splits:
        shards = list(_shards(watched(build.batches(split)), folder / "data", split, shard_bytes))
        for shard in shards:
            shard.rename(shard.with_name(f"{shard.stem}-of-{len(shards):05d}.parquet"))
    (folder / "README.md").write_text(card(build), encoding="utf-8")
    return Written(rows)


def _shards(batches: Iterator[pa.RecordBatch], folder: Path, split: str, shard_bytes: int) -> Iterator[Path]:
    from pyarrow.parquet import ParquetWriter

    for number, first in enumerate(batches):
        path = folder / f"{split}-{number:05d}.parquet"
        schema = arrow_schema(meta=META in first.schema.names)
        with (
            pa.OSFile(str(path), "wb") as file,
            ParquetWriter(file, schema, compression="zstd", use_content_defined_chunking=True) as writer,
        ):
            writer.write_batch(first)
            while file.tell() < shard_bytes and (batch := next(batches, None)) is not None:
                writer.write_batch(batch)
        yield path


def card(build: BuildFolder) -> str:
    """README.md: YAML front matter as the Hugging Face hub reads it, and the sources with their licences."""
    manifest = build.manifest
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in build.splits]
    front = {
        "pretty_name": manifest.get("name", "vldata build"),
        "task_categories": ["image-text-to-text"],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    about = manifest.get("recipe", {}).get("about") or "A vision-language dataset built with vldata."
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        f"# {front['pretty_name']}",
        "",
        about.strip(),
        "",
        f"{build.num_rows:,} samples. Each has `messages` (the form of chat templates), `images`, and in `turns` the",
        "source rows that it was made from.",
        "",
        *_sources(manifest.get("sources", {})),
    ]
    return "\n".join(lines)


def _sources(sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not sources:
        return []
    head = ["| source | format | task | samples | licence |", "|---|---|---|---:|---|"]
    rows = [
        f"| {_cell(name)} | {source['format']} | {source['task']} "
        f"| {source['achieved']['samples']:,} | {_cell(source['licence'])} |"
        for name, source in sources.items()
    ]
    return [*head, *rows, "", "The licence of every source binds its own rows.", ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
