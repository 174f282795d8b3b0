"""The store: ``<kind>/<first two digits>/<key><suffix>``, each file whole from the moment it has its name.

A file is written below ``tmp/``, flushed to the disk, and renamed; two writers of the same key write the same bytes, so the
later rename changes nothing. Everything can be made again, so everything may be deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vldata.errors import StoreError
from vldata.store.failures import explained

VERSION = "1"
NO_SYNC = "VLDATA_NO_SYNC"
"""Set to 1, files are not flushed to the disk before they get their names: faster, and unsafe when the power fails."""


@dataclass(frozen=True)
class Store:
    """An open store.

    Args:
        root: Its folder.
    """

    root: Path

    @property
    def tmp(self) -> Path:
        """Unfinished work of this process; what a dead process left there is removed when a store is opened."""
        folder = self.root / "tmp" / _process_name(os.getpid())
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def path(self, kind: str, key: str, suffix: str) -> Path:
        """Where an object is, or would be."""
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def has(self, kind: str, key: str, suffix: str) -> bool:
        """Whether the object is there, whole."""
        return self.path(kind, key, suffix).is_file()

    @contextmanager
    def write(self, kind: str, key: str, suffix: str) -> Iterator[Path]:
        """A path to write the object to; it gets its name, read-only, when the block ends without an error.

        Raises:
            StoreError: The disk is full, read-only or not ours.
        """
        final = self.path(kind, key, suffix)
        fresh = self.tmp / f"{kind}-{key}{suffix}"
        with explained(final):
            try:
                yield fresh
                sync = os.environ.get(NO_SYNC) != "1"
                if sync:
                    _sync(fresh)
                fresh.chmod(0o444)
                if not final.parent.is_dir():
                    final.parent.mkdir(parents=True, exist_ok=True)
                fresh.replace(final)
                if sync:
                    _sync(final.parent)
            finally:
                fresh.unlink(missing_ok=True)


def open_store(path: Path | str) -> Store:
    """Open a store, making it if there is none.

    Raises:
        StoreError: Not writable, made by a newer version, or a folder that is something else.
    """
    root = Path(path).expanduser().absolute()
    with explained(root):
        version = root / "VERSION"
        if root.exists() and not root.is_dir():
            raise StoreError(str(root), "the store is a file", "choose another folder with --store")
        root.mkdir(parents=True, exist_ok=True)
        if version.is_file():
            found = version.read_text().strip()
            if found != VERSION:
                raise StoreError(str(root), f"the store has version {found!r}, this is version {VERSION!r}", "use another one")
        elif any(child.name != "tmp" for child in root.iterdir()):
            raise StoreError(str(root), "the folder is not empty and not a store", "choose a new folder with --store")
        else:
            fresh = root / f".VERSION.{os.getpid()}"
            fresh.write_text(VERSION + "\n")
            fresh.replace(version)
        if not os.access(root, os.W_OK):
            raise StoreError(str(root), "the store is not writable", "make it writable, or choose another with --store")
        _remove_leftovers(root / "tmp")
    return Store(root)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _process_name(pid: int) -> str:
    """A name for a process that no later one with the same number has: its start time, where the system tells it."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = "0"
    return f"{pid}-{started}"


def _remove_leftovers(tmp: Path) -> None:
    import shutil

    if not tmp.is_dir():
        return
    for folder in tmp.iterdir():
        pid = folder.name.partition("-")[0]
        if not pid.isdigit() or not _is_alive(int(pid), folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int, name: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _process_name(pid) == name
