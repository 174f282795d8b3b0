"""Content-addressed objects on disk: an object is there whole, or not at all.

    <root>/VERSION                          "vldata store 1"
    <root>/<kind>/<key[:2]>/<key><suffix>   a read-only file, never changed after it got this name
    <root>/tmp/<pid>-<random>               being written, locked by its writer; removed when the writer is dead
    <root>/locks/  <root>/roots/            see `vldata.store.lock` and `vldata.store.gc`

An object is written under a temporary name on the same file system, flushed to the disk, and then renamed, so readers
need no locks, and any number of processes may write the same key at once: the first wins and the rest are dropped.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vldata.errors import StoreError
from vldata.paths import absolute
from vldata.store.names import Folder
from vldata.store.trouble import FULL, READ_ONLY, as_store_errors, store_error

STORE_VERSION = 1
"""Raised when a store of an older version can no longer be read."""

VERSION = "VERSION"
RESERVED = frozenset({VERSION, Folder.TMP, Folder.LOCKS, Folder.ROOTS})
"""Names in a store's root that are not kinds of objects."""

_HEAD = "vldata store "
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]+")
_SUFFIX = re.compile(r"(\.[a-z0-9]+)*")
_NO_LOCKS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK})
_ONE_DAY_S = 24 * 3600.0


class Store:
    """An open store; made by `open_store`. It holds no files open and may be sent to other processes.

    Args:
        root: Its folder, absolute.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, key: str, suffix: str = "") -> Path:
        """Where an object is, or would be.

        Args:
            kind: What it is: ``blocks``, ``turns`` …; lower-case letters, digits and underscores.
            key: From `vldata.store.keys.key_of`.
            suffix: Such as ``.arrow``; may be empty.
        """
        if not _NAME.fullmatch(kind) or kind in RESERVED or not _KEY.fullmatch(key) or not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"not a name in a store: kind {kind!r}, key {key!r}, suffix {suffix!r}")
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def has(self, kind: str, key: str, suffix: str = "") -> bool:
        """Whether the object is there; if it is, it is whole."""
        return self.path(kind, key, suffix).exists()

    @contextmanager
    def write(
        self, kind: str, key: str, suffix: str = "", *, durable: bool = True, replace: bool = False
    ) -> Iterator[Path]:
        """Make an object: write a file at the path that this yields, and leave the block.

        When the block raises, nothing is kept. When the object turned up in the meantime, the new one is dropped.

        Args:
            durable: Wait until the disk has it. False is for what costs less to make again than to flush: after a
                power cut (not after a kill) such a file may be empty, so its reader must notice.
            replace: Put the new object in the place of an old one; for tables that grow, not for content.

        Raises:
            StoreError: The disk is full or cannot be written.
        """
        final = self.path(kind, key, suffix)
        with self._temporary(suffix) as temporary:
            try:
                yield temporary
            except OSError as error:
                if error.errno in FULL | READ_ONLY or self._is_ours(error):
                    raise store_error(error, final) from error
                raise  # an error of the block's own, such as an input that is missing
            with as_store_errors(final):
                if replace or not final.exists():
                    _publish(temporary, final, durable=durable)

    def remove(self, kind: str, key: str, suffix: str = "") -> None:
        """Remove an object, if it is there; files that were placed from it stay.

        Raises:
            StoreError: It cannot be removed.
        """
        path = self.path(kind, key, suffix)
        with as_store_errors(path):
            path.unlink(missing_ok=True)

    def clean(self) -> int:
        """Remove temporary files whose writers are dead, and return how many there were.

        A writer holds a lock on its file, which dies with it, so a live one is never robbed: not in another container
        that shares this folder, and not on another machine where the file system carries locks. Where it does not,
        files untouched for a day are taken to be dead.

        Raises:
            StoreError: The folder cannot be read.
        """
        removed = 0
        with as_store_errors(self.root / Folder.TMP):
            for path in sorted((self.root / Folder.TMP).iterdir()):
                removed += _remove_if_dead(path)
        return removed

    def _is_ours(self, error: OSError) -> bool:
        return isinstance(error.filename, str | os.PathLike) and Path(error.filename).is_relative_to(self.root)

    @contextmanager
    def _temporary(self, suffix: str) -> Iterator[Path]:
        with as_store_errors(self.root / Folder.TMP):
            path, handle = _locked_file(self.root / Folder.TMP, suffix)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store, making it if there is none, and remove what dead processes left in it.

    Raises:
        StoreError: It cannot be written, is of another version, or is a folder with other things in it.
    """
    root = Path(absolute(path))
    with as_store_errors(root):
        if root.exists() and not root.is_dir():
            raise StoreError(str(root), "is a file, not a folder", "choose another folder for the store")
        root.mkdir(parents=True, exist_ok=True)
        version = root / VERSION
        if not version.exists():
            strangers = [p.name for p in root.iterdir() if not p.name.startswith(".VERSION-")]
            if strangers and not version.exists():  # another process may just have made it
                problem = f"is not a store: it has no VERSION file and holds {sorted(strangers)[0]!r}"
                raise StoreError(str(root), problem, "choose an empty or a new folder for the store")
            _write_version(version)
        _check_version(version)
        for name in RESERVED - {VERSION}:
            (root / name).mkdir(exist_ok=True)
        if not os.access(root / Folder.TMP, os.W_OK):
            raise PermissionError(errno.EACCES, "the folder is not writable", str(root / Folder.TMP))
    store = Store(root)
    store.clean()
    return store


def _write_version(version: Path) -> None:
    temporary = version.with_name(f".VERSION-{os.getpid()}-{secrets.token_hex(4)}")
    temporary.write_text(f"{_HEAD}{STORE_VERSION}\n")
    temporary.replace(version)


def _check_version(version: Path) -> None:
    text = version.read_text(errors="replace").strip()
    number = text.removeprefix(_HEAD)
    if not text.startswith(_HEAD) or not number.isdecimal():
        problem = f"is not a store's: it says {text[:40]!r}"
        raise StoreError(str(version), problem, "choose another folder for the store")
    if int(number) != STORE_VERSION:
        age, fix = ("a newer", "upgrade vldata") if int(number) > STORE_VERSION else ("an older", "remove the folder")
        problem = f"has version {number}, made by {age} vldata; this one reads version {STORE_VERSION}"
        raise StoreError(str(version.parent), problem, f"{fix}, or choose another folder for the store")


def _locked_file(folder: Path, suffix: str) -> tuple[Path, int]:
    """A new file with our lock on it; the name's process id is for people, the lock is what counts."""
    while True:
        path = folder / f"{os.getpid()}-{secrets.token_hex(8)}{suffix}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)  # someone who cleans up was faster than our lock, and is about to remove it
            continue
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(handle)
                raise
        if os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # it was removed between our two calls


def _remove_if_dead(path: Path) -> bool:
    with suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            if path.stat().st_mtime > time.time() - _ONE_DAY_S:
                return False
        else:
            path.unlink()
            return True
        finally:
            os.close(handle)
        path.unlink()
        return True
    return False


def _publish(temporary: Path, final: Path, *, durable: bool) -> None:
    """Give a finished file its name. The file is flushed before the rename and the folder after it."""
    temporary.chmod(0o444)
    new_folders = [folder for folder in (final.parent, final.parent.parent) if not folder.exists()]
    final.parent.mkdir(parents=True, exist_ok=True)
    if durable:
        flush(temporary)
    temporary.replace(final)
    if durable:
        flush(final.parent)
        for folder in new_folders:
            flush(folder.parent)


def flush(path: Path) -> None:
    """Wait until the disk has a file's bytes, or a folder's names."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_store(folder: Path) -> bool:
    """Whether there is a store in the folder already."""
    return (folder / VERSION).is_file()


def default_store() -> Path:
    """``$VLDATA_STORE``, else ``.vldata/store`` in the working directory."""
    return Path(os.environ.get("VLDATA_STORE") or ".vldata/store")
