"""Take out of a store what nobody needs: everything in it can be made again, so only age and builds decide.

A build registers its folder, and the blocks that a registered folder still names are kept; all else goes once it is old
enough. Files that belong together (of one key, or in one folder) go or stay together. Running builds hold `in_use`, and
collecting does not wait for them: it refuses.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vldata.errors import StoreError, VldataError
from vldata.store.keys import key_of
from vldata.store.lock import exclusive, shared
from vldata.store.names import Folder, KeySubject
from vldata.store.store import RESERVED, Store, flush
from vldata.store.trouble import as_store_errors


@dataclass
class KindUsage:
    """What happened to one kind of objects; in a dry run, what would have.

    Args:
        removed: Files.
        freed_bytes: Bytes that the disk got back: a file that a build folder holds by a hard link frees nothing.
        kept: Files.
        kept_bytes: Their sizes.
    """

    removed: int = 0
    freed_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0


@contextmanager
def in_use(store: Store) -> Iterator[None]:
    """Keep collections away while a build runs; any number of builds may.

    Raises:
        StoreError: The store is being collected right now, and waiting for its lock failed.
    """
    with shared(_lock(store)):
        yield


def register(store: Store, out: Path) -> None:
    """Remember a build folder, whose blocks are then kept for as long as it exists.

    Raises:
        StoreError: It cannot be written down.
    """
    absolute = os.path.abspath(out)  # noqa: PTH100 - the path as the user knows it
    root = store.root / Folder.ROOTS / f"{key_of(KeySubject.BUILD_FOLDER, absolute)}.json"
    if root.exists():
        return
    with as_store_errors(root):
        temporary = root.with_name(f".{root.name}-{os.getpid()}")
        temporary.write_text(json.dumps({"out": absolute}))
        flush(temporary)
        temporary.replace(root)


def collect(
    store: Store, block_keys: Callable[[Path], Iterable[str] | None], *, keep_days: float, dry_run: bool = False
) -> dict[str, KindUsage]:
    """Remove objects that no live build names and that are older than ``keep_days``.

    Args:
        block_keys: The keys of the blocks that a build folder names, None when it is no build any more; raises
            VldataError when that cannot be known.
        keep_days: 0 removes everything that is not needed.
        dry_run: Remove nothing.

    Returns:
        Kind of objects to what became of them, sorted by name.

    Raises:
        StoreError: A build is running, or the blocks of a registered folder cannot be known and would be lost.
    """
    with exclusive(_lock(store), wait=False):
        live = _live_keys(store, block_keys, dry_run=dry_run)
        oldest = time.time() - keep_days * 86_400
        with as_store_errors(store.root):
            folders = sorted(p for p in store.root.iterdir() if p.is_dir() and p.name not in RESERVED)
            return {
                p.name: _collect_kind(p, live if p.name == Folder.BLOCKS else set(), oldest, dry_run=dry_run)
                for p in folders
            }


def _lock(store: Store) -> Path:
    return store.root / Folder.LOCKS / "collect"


def _live_keys(store: Store, block_keys: Callable[[Path], Iterable[str] | None], *, dry_run: bool) -> set[str]:
    """The keys of all registered builds; folders that are no builds any more are forgotten."""
    live: set[str] = set()
    with as_store_errors(store.root / Folder.ROOTS):
        roots = sorted((store.root / Folder.ROOTS).glob("*.json"))
    for root in roots:
        with as_store_errors(root):
            out = Path(json.loads(root.read_text())["out"])
        try:
            keys = block_keys(out)
        except VldataError as error:
            raise StoreError(
                error.where,
                f"{error.problem}, so the blocks that this build needs are unknown",
                "repair or remove that build folder, then collect again",
            ) from None
        if keys is not None:
            live.update(keys)
        elif not dry_run:
            root.unlink()
    return live


def _collect_kind(folder: Path, live: set[str], oldest: float, *, dry_run: bool) -> KindUsage:
    kind = KindUsage()
    for key, paths in sorted(_units(folder).items()):
        files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        states = [file.stat() for file in files]
        if key in live or max((state.st_mtime for state in states), default=0.0) > oldest:
            kind.kept += len(files)
            kind.kept_bytes += sum(state.st_size for state in states)
            continue
        kind.removed += len(files)
        kind.freed_bytes += sum(state.st_size for state in states if state.st_nlink == 1)
        if not dry_run:
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    return kind


def _units(folder: Path) -> dict[str, list[Path]]:
    """The files and folders of one kind, by key."""
    units: dict[str, list[Path]] = {}
    for child in folder.iterdir():
        is_shelf = child.is_dir() and len(child.name) == 2  # <kind>/<key[:2]>/, see `Store.path`
        for path in child.iterdir() if is_shelf else [child]:
            units.setdefault(path.name.partition(".")[0], []).append(path)
    return units
