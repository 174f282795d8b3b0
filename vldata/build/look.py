"""Looking at finished builds: `vldata preview`, `vldata diff`, `vldata why`. They need nothing but the build folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from vldata.build.assemble import MANIFEST, read_manifest
from vldata.errors import BuildError

_SHOWN = ("id", "image_sizes", "messages", "source", "task", "split", "turns")


def manifest_of(build: Path) -> dict[str, Any]:
    """The manifest of a build folder.

    Raises:
        BuildError: It is not one.
    """
    manifest = read_manifest(build)
    if manifest is None and (build / MANIFEST).is_file():
        raise BuildError(str(build), "its manifest.json is damaged", "build the recipe again into a new folder")
    if manifest is None:
        raise BuildError(
            str(build), "this is not a build folder (it has no manifest.json)", "name the --out of a `vldata build`"
        )
    return manifest


def block_table(build: Path, block: dict[str, Any], columns: tuple[str, ...] | None = None) -> pa.Table:
    """The rows of one block, mapped into memory.

    Raises:
        BuildError: The file is missing or no Arrow stream.
    """
    try:
        with pa.memory_map(str(build / block["file"])) as source:
            table = pa.ipc.open_stream(source).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise BuildError(
            str(build / block["file"]), f"cannot be read ({error})", "run `vldata verify`, then build again"
        ) from None
    return table.select(list(columns)) if columns else table


def items(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """What stands in the lists, one after another; `pyarrow`'s own ``flatten`` copies it, pictures and all."""
    chunks = []
    for chunk in lists.chunks:
        ends = chunk.offsets
        low, high = ends[0].as_py(), ends[len(chunk)].as_py()
        chunks.append(chunk.values.slice(low, high - low))
    return pa.chunked_array(chunks, lists.type.value_type)


def samples(build: Path, *, source: str | None = None, rows: int = 2) -> Iterator[dict[str, Any]]:
    """The first samples of each source, in the order of the build, without their pictures' bytes.

    Raises:
        BuildError: Not a build, or it has no such source.
    """
    manifest = manifest_of(build)
    names = sorted(manifest["sources"])
    if source is not None and source not in names:
        raise BuildError(f"--source {source}", "the build has no such source", f"it has: {', '.join(names)}")
    wanted = dict.fromkeys([source] if source else names, rows)
    for block in manifest["blocks"]:
        if not any(n for name, n in wanted.items() if block["source"] in (None, name)):
            continue
        table = block_table(build, block, _SHOWN)
        for name, left in list(wanted.items()):
            mine = table.filter(pc.equal(table["source"], name)).slice(0, left) if left else table.slice(0, 0)
            wanted[name] -= mine.num_rows
            yield from mine.to_pylist()


def differences(a: Path, b: Path) -> dict[str, Any]:
    """Two builds compared, by blocks and then by samples of the blocks that they do not share.

    A sample is the same when its id, messages, sizes, boxes and pictures are.
    """
    one, two = manifest_of(a), manifest_of(b)
    keys = [[block["key"] for block in manifest["blocks"]] for manifest in (one, two)]
    names = sorted({*one["sources"], *two["sources"]})
    shared = set(keys[0]) & set(keys[1])
    rows = []
    if keys[0] != keys[1]:
        hashes = [_sample_hashes(folder, manifest, shared) for folder, manifest in ((a, one), (b, two))]
        for name in names:
            in_a, in_b = ({k for k, bl in _distinct(m).items() if bl["source"] in (None, name)} for m in (one, two))
            of_a, of_b = (h.get(name, {}) for h in hashes)
            same = sum(1 for i, h in of_a.items() if of_b.get(i) == h)
            both = of_a.keys() & of_b.keys()
            shared_rows = (
                sum(_distinct(one)[k]["rows"] for k in in_a & in_b) if None not in {one["blocks"][0]["source"]} else 0
            )
            rows.append(
                {
                    "source": name,
                    "shared_blocks": len(in_a & in_b),
                    "only_a_blocks": len(in_a - in_b),
                    "only_b_blocks": len(in_b - in_a),
                    "same_samples": same + shared_rows,
                    "changed_samples": len(both) - same,
                    "only_a_samples": len(of_a.keys() - of_b.keys()),
                    "only_b_samples": len(of_b.keys() - of_a.keys()),
                }
            )
    recipe = sorted(_recipe_differences(one["recipe"], two["recipe"], ""), key=lambda d: d["key"])
    return {"same": keys[0] == keys[1], "sources": rows, "recipe": recipe}


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
        known = ", ".join(sorted(manifest["sources"]))
        raise BuildError(row_id, f"the build has no source {source!r}", f"write source/row; sources: {known}")
    found = []
    for block in manifest["blocks"]:
        if block["source"] not in (None, source):
            continue
        table = block_table(build, block, ("id", "source", "split", "turns"))
        turns = pc.struct_field(table["turns"].combine_chunks().flatten(), "row")
        if not pc.any(pc.equal(turns, row)).as_py():
            continue
        for sample in table.to_pylist():
            if sample["source"] == source and row in [turn["row"] for turn in sample["turns"]]:
                place = f"{block['file']}, sample {sample['id']}"
                found.append(
                    {"row": row_id, "outcome": "in the dataset", "where": place, "what": f"split {sample['split']}"}
                )
    ledger = (
        pl.scan_parquet(build / "ledger.parquet")
        .filter((pl.col("source") == source) & (pl.col("row") == row))
        .collect()
    )
    for line in ledger.iter_rows(named=True):
        what = f"{line['reason']}" + (f": {line['detail']}" if line["detail"] else "")
        found.append(
            {
                "row": row_id,
                "outcome": line["outcome"].replace("_", " "),
                "where": f"stage {line['stage']}",
                "what": what,
            }
        )
    if not found:
        examples = (
            pl.scan_parquet(build / "ledger.parquet")
            .filter(pl.col("source") == source)
            .head(3)
            .collect()["row"]
            .to_list()
        )
        fix = (
            f"rows of this source look like {', '.join(examples)}" if examples else "see the ids with `vldata preview`"
        )
        raise BuildError(row_id, "no such row was read", fix)
    return found


def _distinct(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {block["key"]: block for block in manifest["blocks"]}


def _sample_hashes(build: Path, manifest: dict[str, Any], skip: set[str]) -> dict[str, dict[str, str]]:
    """Source to sample id to a hash of the sample, over the blocks that are not skipped."""
    hashes: dict[str, dict[str, str]] = {}
    for key, block in _distinct(manifest).items():
        if key in skip:
            continue
        for row in block_table(build, block).to_pylist():
            for image in row["images"]:
                image["bytes"] = blake3(image["bytes"]).hexdigest(length=16) if image["bytes"] else None
            hashes.setdefault(row["source"], {})[row["id"]] = blake3(repr(row).encode()).hexdigest(length=16)
    return hashes


def _recipe_differences(a: Any, b: Any, key: str) -> Iterator[dict[str, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            yield from _recipe_differences(a.get(name), b.get(name), f"{key}.{name}" if key else name)
    elif a != b:
        yield {"key": key, "a": a, "b": b}
