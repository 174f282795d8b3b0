"""A finished plan: its blocks, what became of every source, and how it is kept in the store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from vldata.pipeline.row_shards import Shard
from vldata.pipeline.write_blocks import SourceImages
from vldata.store.blocks import is_whole
from vldata.store.names import Folder
from vldata.store.store import Store

UNITS = ("samples", "images", "turns", "answer_chars")
"""What shares are reported in."""


@dataclass(frozen=True)
class Block:
    """One block of the build, as often as it stands in it.

    Args:
        source: None in the layout ``rows``, whose shards hold all sources.
    """

    key: str
    source: str | None
    split: str
    rows: int
    image_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class SourceReport:
    """What became of one source; counts in turns but for ``achieved``.

    Args:
        repeats: Turns that stand in the dataset again, in passes after the first.
        requested_share: Of the mixture's unit, 0 to 1.
        epochs: Passes over the usable samples.
        achieved: Unit to amount in the dataset, repeats counted.
        short: Requested units that could not be given.
        reasons: Why turns were filtered or rejected, to how many.
        columns: Native columns that are ``read`` (to the canonical ones they feed), ``kept`` for ``where``, ``ignored``
            (and why), and ``unknown`` (to the turns that they cost); None of a source without any.
    """

    rows_in: int
    rows_out: int
    filtered: int
    rejected: int
    not_chosen: int
    repeats: int
    requested_share: float
    epochs: float
    achieved: dict[str, int]
    short: int
    reasons: dict[str, int]
    task: str
    format: str
    licence: str
    templates: str
    language: str | None = None
    columns: dict[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """A build before it is made.

    Args:
        key: Hash of all that decides the build.
        blocks: In the order in which they will stand.
        shards: Layout ``rows``: which rows each block gathers.
        ledger: Parquet: every turn that is not in the dataset.
        inputs: Source name to the digests of its annotation files.
        notes: Remarks for the reader, such as a source that ran short.
        num_new_blocks: Blocks that were written while it was worked out, as stored paths need nothing more.
    """

    key: str
    blocks: list[Block]
    sources: dict[str, SourceReport]
    ledger: Path
    inputs: dict[str, dict[str, str]]
    templates: dict[str, str]
    images: dict[str, SourceImages]
    shards: dict[str, Shard] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    num_new_blocks: int = 0

    @property
    def totals(self) -> dict[str, int]:
        """What all sources give, by unit."""
        return {unit: sum(report.achieved[unit] for report in self.sources.values()) for unit in UNITS}

    @property
    def lock(self) -> dict[str, Any]:
        """What `--locked` compares."""
        inputs = {name: {Path(f).name: d for f, d in sorted(files.items())} for name, files in self.inputs.items()}
        return {"inputs": inputs, "templates": self.templates, "blocks": [block.key for block in self.blocks]}

    def missing(self, store: Store) -> list[Block]:
        """Distinct blocks that the store does not have."""
        distinct = {block.key: block for block in self.blocks}.values()
        return [block for block in distinct if not is_whole(block.key, store)]


def recall(key: str, store: Store) -> Plan | None:
    """The plan of that key, when it was worked out before."""
    try:
        fields = json.loads(store.path(Folder.PLANS, key, ".json").read_text())
    except FileNotFoundError:
        return None
    images = fields.pop("pictures")
    return Plan(
        **{
            **fields,
            "blocks": [Block(**block) for block in fields["blocks"]],
            "sources": {name: SourceReport(**report) for name, report in fields["sources"].items()},
            "ledger": store.path(Folder.PLANS, key, ".ledger.parquet"),
            "images": {name: SourceImages(**of_source) for name, of_source in images.items()},
            "shards": {k: Shard(**{**s, "rows": [(p, n) for p, n in s["rows"]]}) for k, s in fields["shards"].items()},
        }
    )


def remember(plan: Plan, ledger: pl.DataFrame, store: Store) -> None:
    """Keep a plan and its ledger; the plan last, since its presence says that the rest is there."""
    with store.write(Folder.PLANS, plan.key, ".ledger.parquet", replace=True) as path:
        ledger.write_parquet(path)
    with store.write(Folder.PLANS, plan.key, ".json", replace=True) as path:
        fields = asdict(replace(plan, num_new_blocks=0))
        fields["pictures"] = fields.pop("images")
        path.write_text(json.dumps(fields, default=str))
