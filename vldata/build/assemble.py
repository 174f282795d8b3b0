"""Blocks -> build folder: links and small text files, put in place as one.

data-00000-of-00012.arrow   links to blocks, per split in a folder of its own when there are splits
dataset_info.json, state.json, dataset_dict.json   what `datasets.load_from_disk` reads
manifest.json               what was built, from what, with which counts
recipe.lock.yaml            the recipe, with the digests of everything it read
ledger.parquet              every turn that is not in the dataset, and why
README.md                   the dataset card
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from blake3 import blake3

from vldata import __version__
from vldata.build.card import card
from vldata.build.make import BLOCK, Note
from vldata.build.planned import UNITS, Block, Plan
from vldata.errors import BuildError
from vldata.recipe.models import Recipe
from vldata.schema.rows import SCHEMA_VERSION, features
from vldata.store.atomic import swap
from vldata.store.gc import register
from vldata.store.link import How, best_way, place
from vldata.store.store import Store

MANIFEST = "manifest.json"


def refuse_foreign(out: Path) -> None:
    """Refuse an output folder that holds anything but an earlier build.

    Raises:
        BuildError: It is a file, or a folder that vldata did not write.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise BuildError(f"--out {out}", "it is a file", "name a folder")
    if any(out.iterdir()) and read_manifest(out) is None:
        raise BuildError(f"--out {out}", "the folder holds something that is not a build", "name a new or empty folder")


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a build folder, or None when it is not one."""
    try:
        manifest = json.loads((out / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "blocks" in manifest and "plan" in manifest else None


def current(out: Path, planned: Plan) -> dict[str, Any] | None:
    """The manifest of ``out`` when it already holds exactly this plan, whole."""
    manifest = read_manifest(out)
    if manifest is None or manifest["plan"] != planned.key or manifest["ledger"] != _ledger_digest(planned):
        return None
    if [block["key"] for block in manifest["blocks"]] != [block.key for block in planned.blocks]:
        return None
    return manifest if all((out / block["file"]).is_file() for block in manifest["blocks"]) else None


def assemble(
    out: Path,
    recipe: Recipe,
    planned: Plan,
    notes: Mapping[str, Note],
    store: Store,
    *,
    undecodable: int,
    limit: int | None,
) -> dict[str, Any]:
    """Write the build folder beside ``out`` and put it in its place.

    Returns:
        The manifest.
    """
    fresh = out.parent / f".{out.name}.{os.getpid()}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        way = best_way(store.root, out.parent)
        files = _link_all(fresh, recipe, planned.blocks, store, way)
        manifest = _manifest(recipe, planned, notes, files, way, undecodable=undecodable, limit=limit)
        _write_for_datasets(fresh, recipe, planned, manifest["blocks"])
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        (fresh / "recipe.lock.yaml").write_text(_lock_text(recipe, manifest))
        shutil.copyfile(planned.ledger, fresh / "ledger.parquet")
        (fresh / "README.md").write_text(card(recipe, manifest))
        swap(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    register(store, out)
    return manifest


def _link_all(fresh: Path, recipe: Recipe, blocks: Sequence[Block], store: Store, way: How) -> list[str]:
    """The file of every block, in the order of the blocks."""
    many = len(recipe.split_shares) > 1
    totals: dict[str, int] = {}
    for block in blocks:
        totals[block.split] = totals.get(block.split, 0) + 1
    numbers = dict.fromkeys(totals, 0)
    files = []
    for block in blocks:
        name = f"data-{numbers[block.split]:05d}-of-{totals[block.split]:05d}.arrow"
        file = f"{block.split}/{name}" if many else name
        numbers[block.split] += 1
        (fresh / file).parent.mkdir(exist_ok=True)
        place(store.path("blocks", block.key, BLOCK), fresh / file, way)
        files.append(file)
    return files


def _manifest(
    recipe: Recipe,
    planned: Plan,
    notes: Mapping[str, Note],
    files: Sequence[str],
    way: str,
    *,
    undecodable: int,
    limit: int | None,
) -> dict[str, Any]:
    blocks = [
        {
            "key": block.key,
            "digest": notes[block.key].digest,
            "source": block.source,
            "split": block.split,
            "rows": block.rows,
            "size_bytes": notes[block.key].size_bytes,
            "file": file,
        }
        for block, file in zip(planned.blocks, files, strict=True)
    ]
    totals = {unit: sum(report.achieved[unit] for report in planned.sources.values()) for unit in UNITS}
    return {
        "name": recipe.head.name,
        "schema_version": SCHEMA_VERSION,
        "plan": planned.key,
        "seed": recipe.head.seed,
        "versions": {
            "vldata": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("datasets", "pyarrow", "polars", "pillow", "jinja2")},
        },
        "splits": {s: sum(b["rows"] for b in blocks if b["split"] == s) for s in recipe.split_shares},
        "totals": totals,
        "sources": {
            name: {**_plain(report), **_shares(report.achieved, totals)} for name, report in planned.sources.items()
        },
        "notes": [
            *planned.notes,
            *([f"{undecodable} pictures could not be decoded and were replaced"] if undecodable else []),
        ],
        "inputs": planned.inputs,
        "templates": planned.templates,
        "limit": limit,
        "links": way,
        "ledger": _ledger_digest(planned),
        "recipe": recipe.raw,
        "blocks": blocks,
    }


def _plain(report: Any) -> dict[str, Any]:
    return dict(vars(report))


def _shares(achieved: Mapping[str, int], totals: Mapping[str, int]) -> dict[str, Any]:
    return {"achieved_share": {unit: achieved[unit] / totals[unit] if totals[unit] else 0.0 for unit in UNITS}}


def _ledger_digest(planned: Plan) -> str:
    return blake3(planned.ledger.read_bytes()).hexdigest(length=16)


def _write_for_datasets(fresh: Path, recipe: Recipe, planned: Plan, blocks: Sequence[Mapping[str, Any]]) -> None:
    """`datasets` trusts the fingerprint: it must change whenever a row may have."""
    splits = list(recipe.split_shares)
    for split in splits:
        folder = fresh / split if len(splits) > 1 else fresh
        folder.mkdir(exist_ok=True)
        of_split = [block for block in blocks if block["split"] == split]
        if not of_split:
            raise BuildError(
                f"splits.{split}" if split in recipe.head.splits else "mixture",
                f"the split {split!r} of this build is empty",
                "take more samples, raise its share, or leave it out",
            )
        digests = "\n".join(block["digest"] for block in of_split)
        state: dict[str, Any] = {
            "_data_files": [{"filename": Path(block["file"]).name} for block in of_split],
            "_fingerprint": blake3(digests.encode()).hexdigest(length=8),
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
        (folder / "state.json").write_text(json.dumps(state, indent=1))
        info = {"description": recipe.head.about, "citation": "", "homepage": "", "license": "", "features": features()}
        (folder / "dataset_info.json").write_text(json.dumps(info, indent=1))
    if len(splits) > 1:
        (fresh / "dataset_dict.json").write_text(json.dumps({"splits": splits}))


def _lock_text(recipe: Recipe, manifest: Mapping[str, Any]) -> str:
    lock = {
        "inputs": {n: {Path(f).name: d for f, d in sorted(files.items())} for n, files in manifest["inputs"].items()},
        "templates": manifest["templates"],
        "blocks": [block["key"] for block in manifest["blocks"]],
    }
    head = "# Written by vldata; `vldata build recipe.lock.yaml --out DIR --locked` builds this dataset or nothing.\n"
    return head + yaml.safe_dump({**recipe.raw, "lock": lock}, sort_keys=False, allow_unicode=True)
