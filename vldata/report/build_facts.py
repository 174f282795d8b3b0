"""What a page says about a build, read from its folder: tables and numbers, no HTML.

Only the columns that are needed are read; of the images no more than their lengths, and a few bytes of those that
could be the same. Samples that stand in a build several times count as often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from vldata.dataset.manifest import manifest_of
from vldata.dataset.open import block_table, list_values
from vldata.dataset.split_leaks import Leaks, find_leaks
from vldata.images.visual_tokens import visual_tokens
from vldata.schema.reasons import FILTERED, REJECTED

TOKEN_POLICIES = {
    "llava1_5": "each image 24 × 24 patches of 14 px (336 px, as LLaVA-1.5)",
    "qwen2_vl": "each image at its own size, one token for 28 × 28 px (as Qwen2-VL)",
}
"""Policies of `vldata.images.visual_tokens` that visual tokens are shown for, and what they do."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DUPLICATES = ("duplicate", "near_duplicate", "duplicate_across")
LEAKS = ("image_in_two_splits", "excluded")
_EXAMPLES = 3


@dataclass(frozen=True)
class Spread:
    """How some amounts are spread."""

    quantiles: tuple[float, ...]
    mean: float
    smallest: float
    largest: float
    num: int

    @property
    def median(self) -> float:
        """The middle one."""
        return self.quantiles[2]


@dataclass(frozen=True)
class Reason:
    """Why turns of a source are not in the dataset.

    Args:
        examples: ``row`` and ``detail`` of the first ones in the ledger.
    """

    source: str
    outcome: str
    reason: str
    means: str
    num: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wording:
    """How many turns of a source have the words of one variant of a template."""

    source: str
    template: str
    variant: str
    num: int
    share: float


@dataclass(frozen=True)
class PageFacts:
    """All that a build's page says, but for the gallery.

    Args:
        chars: Source to characters of text a sample.
        tokens: Policy to source to visual tokens a sample with images.
        turns: Source to turns a sample.
        splits: Source to split to samples.
        tasks: Task to source to samples.
    """

    manifest: Mapping[str, Any]
    chars: Mapping[str, Spread]
    tokens: Mapping[str, Mapping[str, Spread]]
    turns: Mapping[str, Spread]
    splits: Mapping[str, Mapping[str, int]]
    tasks: Mapping[str, Mapping[str, int]]
    reasons: tuple[Reason, ...]
    wordings: tuple[Wording, ...]
    leaks: Leaks


def read_facts(build: Path) -> PageFacts:
    """Read a build folder.

    Raises:
        BuildError: It is not one, or one of its files cannot be read.
    """
    manifest = manifest_of(build)
    blocks, times = _distinct(build, manifest)
    whole = pa.concat_tables(block.drop_columns(["images"]) for block in blocks)
    names = list(manifest["sources"])
    rows = _rows(whole, np.repeat(times, [block.num_rows for block in blocks]))
    return PageFacts(
        manifest=manifest,
        chars=_spreads(rows, "chars", names),
        tokens=_tokens(rows, _sizes(whole), names),
        turns=_spreads(rows, "turns", names),
        splits=_counted(rows, "source", "split"),
        tasks=_counted(rows, "task", "source"),
        reasons=_reasons(build, names),
        wordings=_wordings(rows, whole, names),
        leaks=find_leaks([(list_values(block["images"]), block["split"][0].as_py()) for block in blocks]),
    )


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Hash of the blocks' bytes in their order; a plan's key also names the folders that it read."""
    return blake3("\n".join(block["digest"] for block in manifest["blocks"]).encode()).hexdigest(length=16)


def _distinct(build: Path, manifest: Mapping[str, Any]) -> tuple[list[pa.Table], list[int]]:
    """Every distinct block, none of them empty, and how often it stands in the build."""
    times: dict[str, int] = {}
    for block in manifest["blocks"]:
        times[block["key"]] = times.get(block["key"], 0) + 1
    files = {block["key"]: block for block in manifest["blocks"]}
    return [block_table(build, block) for block in files.values()], list(times.values())


def _rows(whole: pa.Table, times: npt.NDArray[np.int64]) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(whole.select(["source", "split", "task"])))
    return frame.with_columns(
        chars=_whole_numbers(whole["num_text_chars"]),
        turns=_whole_numbers(pc.list_value_length(whole["turns"])),
        images=_whole_numbers(pc.list_value_length(whole["image_sizes"])),
        times=pl.Series(times, dtype=pl.Int64),
    )


def _sizes(whole: pa.Table) -> pl.DataFrame:
    """Width and height of every image; 0 where they are not known."""
    flat = list_values(whole["image_sizes"])
    sides = {side: _whole_numbers(pc.struct_field(flat, side)).fill_null(0) for side in ("width", "height")}
    return pl.DataFrame(sides)


def _whole_numbers(column: pa.ChunkedArray) -> pl.Series:
    """As Polars has them; `pyarrow`'s own ``to_numpy`` would load pandas, which takes longer than the page."""
    return pl.Series(pl.from_arrow(column), dtype=pl.Int64)


def _spreads(rows: pl.DataFrame, column: str, names: Sequence[str]) -> dict[str, Spread]:
    """By source, in the order of the recipe; sources without rows are left out."""
    groups = rows.select("source", column, "times").partition_by("source", as_dict=True)
    by_name = {name: groups[name,] for name in names if (name,) in groups}
    return {name: spread(group[column].to_numpy(), group["times"].to_numpy()) for name, group in by_name.items()}


def spread(amounts: npt.NDArray[np.int64], times: npt.NDArray[np.int64]) -> Spread:
    """Quantiles and bounds of amounts, each counted as often as ``times`` says.

    Args:
        amounts: Shape (n,), at least one.
        times: Shape (n,), each at least 1.
    """
    order = np.argsort(amounts, kind="stable")
    sorted_, ends = amounts[order], np.cumsum(times[order])
    total = int(ends[-1])
    at = np.searchsorted(ends, np.ceil(np.array(QUANTILES) * total).clip(1), side="left")
    return Spread(
        quantiles=tuple(float(x) for x in sorted_[at]),
        mean=float((amounts * times).sum() / total),
        smallest=float(sorted_[0]),
        largest=float(sorted_[-1]),
        num=total,
    )


def _tokens(rows: pl.DataFrame, sizes: pl.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Spread]]:
    """Visual tokens a sample, over the samples with images whose sizes are all known."""
    counts = rows["images"].to_numpy()
    with_images = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[with_images]
    width, height = (sizes[side].to_numpy() for side in ("width", "height"))
    many = np.repeat(counts > 1, counts)
    distinct, which = np.unique((width << 33) | (height << 1) | many, return_inverse=True)
    has_size = (width > 0) & (height > 0)
    owners = rows.select("source", "times")[with_images]
    by_policy: dict[str, dict[str, Spread]] = {}
    for policy in TOKEN_POLICIES:
        tokens = [_tokens_of(policy, int(one)) for one in distinct]
        if not len(with_images):
            by_policy[policy] = {}
            continue
        sums = np.add.reduceat(np.array(tokens, np.int64)[which], starts)
        whole = np.logical_and.reduceat(has_size, starts)
        by_sample = owners.with_columns(tokens=pl.Series(sums, dtype=pl.Int64)).filter(pl.Series(whole))
        by_policy[policy] = _spreads(by_sample, "tokens", names)
    return by_policy


def _tokens_of(policy: str, packed: int) -> int:
    """Tokens of an image given as width, height, and whether it is one of several; 0 when its size is not known."""
    width, height, many = packed >> 33, (packed >> 1) & 0xFFFFFFFF, packed & 1
    return visual_tokens(policy, width, height, num_images=1 + many) if width and height else 0


def _counted(rows: pl.DataFrame, outer: str, inner: str) -> dict[str, dict[str, int]]:
    counted: dict[str, dict[str, int]] = {}
    grouped = rows.group_by(outer, inner).agg(pl.col("times").sum()).sort(outer, inner)
    for first, second, num in grouped.iter_rows():
        counted.setdefault(first, {})[second] = num
    return counted


def _reasons(build: Path, names: Sequence[str]) -> tuple[Reason, ...]:
    """Counts from the manifest, examples from the ledger; the most frequent first."""
    ledger = (
        pl.scan_parquet(build / "ledger.parquet")
        .filter(pl.col("outcome") != "not_chosen")
        .group_by("source", "reason", maintain_order=True)
        .agg(pl.col("outcome").first(), pl.struct("row", "detail").head(_EXAMPLES), num=pl.len())
        .collect()
    )
    reasons = [
        Reason(
            source=line["source"],
            outcome=line["outcome"],
            reason=line["reason"],
            means={**FILTERED, **REJECTED}.get(line["reason"], ""),
            num=line["num"],
            examples=tuple((example["row"], example["detail"] or "") for example in line["row"]),
        )
        for line in ledger.iter_rows(named=True)
    ]
    return tuple(sorted(reasons, key=lambda r: (r.outcome != "rejected", -r.num, names.index(r.source), r.reason)))


def _wordings(rows: pl.DataFrame, whole: pa.Table, names: Sequence[str]) -> tuple[Wording, ...]:
    flat = list_values(whole["turns"])
    columns = [pc.struct_field(flat, name) for name in ("template", "variant")]
    turns = pl.DataFrame(pl.from_arrow(pa.table(columns, names=["template", "variant"])))
    owners = pl.Series(np.repeat(np.arange(rows.height), rows["turns"].to_numpy()), dtype=pl.UInt32)
    turns = turns.with_columns(rows["source"].gather(owners), rows["times"].gather(owners))
    counted = turns.group_by("source", "template", "variant").agg(num=pl.col("times").sum())
    counted = counted.with_columns(share=pl.col("num") / pl.col("num").sum().over("source"))
    wordings = [Wording(**line) for line in counted.iter_rows(named=True)]
    return tuple(sorted(wordings, key=lambda w: (names.index(w.source), -w.num, w.template, w.variant)))
