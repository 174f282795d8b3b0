"""`vldata why`: where a row of a source is, in the dataset or in the ledger."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.compute as pc

from vldata.dataset.manifest import manifest_of
from vldata.dataset.open import block_table
from vldata.errors import BuildError


def whereabouts(build: Path, row_id: str) -> list[dict[str, str]]:
    """Where a row is: in which sample and file, or in the ledger with stage and reason.

    Args:
        build: A build folder.
        row_id: ``source/row``; also the id of a sample.

    Raises:
        BuildError: The build never saw such a row; names close ones.
    """
    manifest = manifest_of(build)
    source, _, row = row_id.partition("/")
    if source not in manifest["sources"]:
        names = ", ".join(sorted(manifest["sources"]))
        raise BuildError(row_id, f"the build has no source {source!r}", f"write source/row; sources: {names}")
    places = []
    for block in manifest["blocks"]:
        if block["source"] not in (None, source):
            continue
        table = block_table(build, block, ("id", "source", "split", "turns"))
        turns = pc.struct_field(table["turns"].combine_chunks().flatten(), "row")
        if not pc.any(pc.equal(turns, row)).as_py():
            continue
        for sample in table.to_pylist():
            if sample["source"] == source and row in [turn["row"] for turn in sample["turns"]]:
                place, what = f"{block['file']}, sample {sample['id']}", f"split {sample['split']}"
                places.append({"row": row_id, "outcome": "in the dataset", "where": place, "what": what})
    ledger = pl.scan_parquet(build / "ledger.parquet").filter(pl.col("source") == source)
    for line in ledger.filter(pl.col("row") == row).collect().iter_rows(named=True):
        what = f"{line['reason']}" + (f": {line['detail']}" if line["detail"] else "")
        outcome, stage = line["outcome"].replace("_", " "), f"stage {line['stage']}"
        places.append({"row": row_id, "outcome": outcome, "where": stage, "what": what})
    if not places:
        examples = ", ".join(ledger.head(3).collect()["row"].to_list())
        fix = f"rows of this source look like {examples}" if examples else "see the ids with `vldata preview`"
        raise BuildError(row_id, "no such row was read", fix)
    return places
