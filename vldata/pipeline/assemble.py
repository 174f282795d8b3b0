"""Blocks -> build folder: links and small text files, put in place as one.

data-00000-of-00012.arrow   links to blocks, per split in a folder of its own when there are splits
dataset_info.json, state.json, dataset_dict.json   what `datasets.load_from_disk` reads
manifest.json               what was built, from what, with which counts
recipe.lock.yaml            the recipe, with the digests of everything it read
ledger.parquet              every turn that is not in the dataset, and why
README.md                   the dataset card
report.html                 a page to look at, when whoever builds asks for one
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from blake3 import blake3

from vldata import __version__
from vldata.dataset.manifest import MANIFEST, read_manifest
from vldata.errors import BuildError
from vldata.pipeline.dataset_card import card
from vldata.pipeline.hf_dataset_files import write_hf_dataset_files
from vldata.pipeline.plan_record import UNITS, Block, Plan
from vldata.recipe import yaml
from vldata.recipe.models import Recipe
from vldata.schema.rows import SCHEMA_VERSION
from vldata.store.atomic import swap
from vldata.store.blocks import BLOCK, Note
from vldata.store.disk import require
from vldata.store.gc import register
from vldata.store.link import How, best_way, place
from vldata.store.names import Folder
from vldata.store.store import Store


def refuse_foreign(out: Path, store: Path) -> None:
    """Refuse an output folder that holds anything but an earlier build, or that shares a place with the store.

    Raises:
        BuildError: It is a file, a folder that vldata did not write, the working directory, or in the store's way.
    """
    where, real, real_store = f"--out {out}", out.resolve(), store.resolve()
    if real == real_store or real_store in real.parents or real in real_store.parents:
        raise BuildError(where, f"it and the store {store} would lie in each other", "name a folder beside the store")
    if real == Path.cwd() or real in Path.cwd().parents:
        raise BuildError(where, "it is the working directory or above it", "name a new folder, such as --out out/mine")
    if not out.exists():
        return
    if not out.is_dir():
        raise BuildError(where, "it is a file", "name a folder")
    if (out / MANIFEST).is_file() and read_manifest(out) is None:
        raise BuildError(where, "it is a build whose manifest.json is damaged", "remove the folder, and build again")
    if any(out.iterdir()) and read_manifest(out) is None:
        raise BuildError(where, "the folder holds something that is not a build", "name a new or empty folder")


def current(out: Path, planned: Plan) -> dict[str, Any] | None:
    """The manifest of ``out`` when it already holds exactly this plan, whole."""
    manifest = read_manifest(out)
    if manifest is None or manifest["plan"] != planned.key or manifest["ledger"] != _ledger_digest(planned):
        return None
    if [block["key"] for block in manifest["blocks"]] != [block.key for block in planned.blocks]:
        return None
    whole = all(_is_whole(out / block["file"], block["size_bytes"]) for block in manifest["blocks"])
    return manifest if whole else None


def _is_whole(file: Path, size_bytes: int) -> bool:
    return file.is_file() and file.stat().st_size == size_bytes


def assemble(
    out: Path,
    recipe: Recipe,
    planned: Plan,
    notes: Mapping[str, Note],
    store: Store,
    *,
    undecodable: int,
    limit: int | None,
    synth: Mapping[str, Any],
    finish: Callable[[Path], object] | None,
) -> dict[str, Any]:
    """Write the build folder beside ``out`` and put it in its place; its lock must be held.

    Args:
        undecodable: Images that were replaced.
        limit: As `vldata.pipeline.build.build`.
        synth: Of `vldata.generate.costs`; empty when no source is synthetic.
        finish: Adds to the folder before it is put in its place.

    Returns:
        The manifest.
    """
    _remove_unfinished(out)
    fresh = out.parent / f".{out.name}.{os.getpid()}.new"
    fresh.mkdir()
    try:
        way = best_way(store.root, out.parent)
        if way == "copy":
            require(out.parent, sum(notes[block.key].size_bytes for block in planned.blocks))
        files = _link_all(fresh, recipe, planned.blocks, store, way)
        manifest = _manifest(recipe, planned, notes, files, way, undecodable=undecodable, limit=limit)
        manifest |= {"synth": dict(synth)} if synth else {}
        write_hf_dataset_files(fresh, recipe, manifest["blocks"])
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        (fresh / "recipe.lock.yaml").write_text(_lock_text(recipe, planned.lock))
        shutil.copyfile(planned.ledger, fresh / "ledger.parquet")
        (fresh / "README.md").write_text(card(recipe, manifest))
        if finish is not None:
            finish(fresh)
        swap(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    register(store, out)
    return manifest


def _remove_unfinished(out: Path) -> None:
    """Remove what killed builds left beside ``out``; whoever assembles holds the lock of ``out``, so nobody uses it."""
    left = re.compile(re.escape(f".{out.name}.") + r"\d+\.(new|old)")
    for folder in out.parent.iterdir():
        if left.fullmatch(folder.name) and (folder.suffix == ".new" or out.exists()):
            shutil.rmtree(folder, ignore_errors=True)


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
        place(store.path(Folder.BLOCKS, block.key, BLOCK), fresh / file, way)
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
    totals = planned.totals
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
        "sources": {n: {**vars(r), "achieved_share": _shares(r.achieved, totals)} for n, r in planned.sources.items()},
        "notes": [
            *planned.notes,
            *([f"{undecodable} images could not be decoded and were replaced"] if undecodable else []),
        ],
        "inputs": planned.inputs,
        "templates": planned.templates,
        "limit": limit,
        "links": way,
        "ledger": _ledger_digest(planned),
        "recipe": recipe.raw,
        "blocks": blocks,
    }


def _shares(achieved: Mapping[str, int], totals: Mapping[str, int]) -> dict[str, float]:
    return {unit: achieved[unit] / totals[unit] if totals[unit] else 0.0 for unit in UNITS}


def _ledger_digest(planned: Plan) -> str:
    return blake3(planned.ledger.read_bytes()).hexdigest(length=16)


def _lock_text(recipe: Recipe, lock: Mapping[str, Any]) -> str:
    head = "# Written by vldata; `vldata build recipe.lock.yaml --out DIR --locked` builds this dataset or nothing.\n"
    return head + yaml.dump({**recipe.raw, "lock": lock})
