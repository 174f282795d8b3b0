"""Look after what was built: `vldata verify` and `vldata store gc`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vldata.dataset.manifest import block_keys, manifest_of
from vldata.errors import StoreError
from vldata.store.blocks import BLOCK, NOTE, file_digest
from vldata.store.gc import collect
from vldata.store.names import Folder
from vldata.store.store import default_store, is_store, open_store


def verify(build: Path, store: Path | None = None) -> list[dict[str, str]]:
    """Hash every block of a build, and drop from the store the ones whose bytes are not what they were.

    A hard link shares its bytes with the store, so a block that was damaged here is damaged there.

    Returns:
        ``file``, ``key`` and ``what`` of each damaged block; the next build makes these again, and only these.
    """
    manifest = manifest_of(build)
    folder = store or default_store()
    if store and not is_store(folder):
        raise StoreError(str(store), "it is not a store (it has no VERSION file)", "name the --store of your builds")
    damaged = []
    for block in manifest["blocks"]:
        file = build / block["file"]
        digest = file_digest(file) if file.is_file() else None
        if digest != block["digest"]:
            damaged.append((block, "missing" if digest is None else "its bytes differ"))
    if damaged and is_store(folder):
        opened = open_store(folder)
        for block, _ in damaged:
            path = opened.path(Folder.BLOCKS, block["key"], BLOCK)
            if path.is_file() and file_digest(path) != block["digest"]:
                opened.remove(Folder.BLOCKS, block["key"], NOTE)
                opened.remove(Folder.BLOCKS, block["key"], BLOCK)
    return [{"file": block["file"], "key": block["key"], "what": problem} for block, problem in damaged]


def collect_garbage(store: Path, *, keep_days: float, dry_run: bool) -> list[dict[str, Any]]:
    """Remove from the store what no live build names; see `vldata.store.gc.collect`."""
    kinds = collect(open_store(store), block_keys, keep_days=keep_days, dry_run=dry_run)
    return [
        {"kind": name, "removed": kind.removed, "kept": kind.kept, "bytes": kind.freed_bytes}
        for name, kind in kinds.items()
    ]
