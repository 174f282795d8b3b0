"""Looking after what was built: `vldata verify` and `vldata store gc`."""

from __future__ import annotations

from pathlib import Path

from vldata.dataset.manifest import manifest_of
from vldata.errors import StoreError
from vldata.store.blocks import BLOCK, NOTE, file_digest
from vldata.store.names import Folder
from vldata.store.store import default_store, is_store, open_store


def verify(build: Path, store: Path | None = None) -> list[dict[str, str]]:
    """Hash every block of a build, and drop from the store the ones whose bytes are not what they were.

    A hard link shares its bytes with the store, so a block that was damaged here is damaged there.

    Returns:
        ``file``, ``key`` and ``what`` of each damaged block; the next build makes these anew, and only these.
    """
    manifest = manifest_of(build)
    folder = store or default_store()
    if store and not is_store(folder):
        raise StoreError(str(store), "it is not a store (it has no VERSION file)", "name the --store of your builds")
    digests: dict[str, str | None] = {}
    damaged = []
    for block in manifest["blocks"]:
        file = build / block["file"]
        found = file_digest(file) if file.is_file() else None
        if found != block["digest"]:
            damaged.append(
                {"file": block["file"], "key": block["key"], "what": "missing" if found is None else "its bytes differ"}
            )
            digests[block["key"]] = found
    if not is_store(folder) or not digests:
        return damaged
    opened = open_store(folder)
    for key in digests:
        kept = opened.path(Folder.BLOCKS, key, BLOCK)
        digest = next(b["digest"] for b in manifest["blocks"] if b["key"] == key)
        if kept.is_file() and file_digest(kept) != digest:
            opened.remove(Folder.BLOCKS, key, NOTE)
            opened.remove(Folder.BLOCKS, key, BLOCK)
    return damaged
