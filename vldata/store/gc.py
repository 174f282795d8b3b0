"""Garbage: everything in the store can be made again, so only age and the builds that still exist decide what stays."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from vldata.store.keys import key_of
from vldata.store.store import Store

KINDS = ("blocks", "pieces", "rendered", "plans", "screened", "turns", "digests", "facts", "standins", "pictures")


@dataclass(frozen=True)
class Collected:
    """What became of one kind of object."""

    kind: str
    removed: int
    kept: int
    bytes: int


def register(store: Store, out: Path) -> None:
    """Remember a build folder: its blocks stay as long as it exists."""
    with store.write("roots", key_of(str(out.absolute())), ".json") as path:
        path.write_text(json.dumps({"out": str(out.absolute())}))


def needed(store: Store) -> set[str]:
    """Keys of all blocks that a build folder which still exists names."""
    keys: set[str] = set()
    for root in (store.root / "roots").rglob("*.json"):
        manifest = Path(json.loads(root.read_text())["out"]) / "manifest.json"
        if manifest.is_file():
            keys |= {block["key"] for block in json.loads(manifest.read_text())["blocks"]}
        else:
            root.unlink()
    return keys


def collect(store: Store, *, keep_days: float, dry_run: bool = False) -> list[Collected]:
    """Remove what is older than ``keep_days`` and what no live build needs.

    Args:
        store: The store.
        keep_days: Younger objects stay.
        dry_run: Only count.
    """
    live = needed(store)
    oldest = time.time() - keep_days * 86_400
    report = []
    for kind in KINDS:
        removed = kept = num_bytes = 0
        for path in sorted((store.root / kind).rglob("*")) if (store.root / kind).is_dir() else []:
            if not path.is_file() or path.suffix == ".lock":
                continue
            stat = path.stat()
            if (kind == "blocks" and path.name.partition(".")[0] in live) or stat.st_mtime > oldest:
                kept += 1
                continue
            removed += 1
            num_bytes += stat.st_size
            if not dry_run:
                path.unlink(missing_ok=True)
        report.append(Collected(kind, removed, kept, num_bytes))
    return report
