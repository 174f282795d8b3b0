"""What was found out about the user's files, remembered by their status: a second look reads nothing.

A digest is an object keyed by (path, size, modification time, inode), so writers cannot disturb each other and nothing
is ever updated. A file changed less than two seconds ago is not remembered: a second change within the file system's
time step would leave no trace (git's index has the same rule).
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

import polars as pl
from blake3 import blake3

from vldata.errors import SourceError, StoreError
from vldata.paths import absolute
from vldata.store.keys import key_of
from vldata.store.lock import exclusive
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store

RACY_NS = 2_000_000_000
"""FAT's time step, the coarsest in use."""

_MMAP_BYTES = 1 << 20  # above it, hashing from a map with all cores pays for starting the threads
_DIGEST = re.compile(r"[0-9a-f]{32}")


def file_digest(store: Store, path: str | os.PathLike[str]) -> str:
    """BLAKE3 of a file's bytes, 128 bits as 32 hex characters; remembered while the file's status is the same.

    Raises:
        SourceError: The file is missing, unreadable, not a regular file, or changes while it is read.
        StoreError: The digest cannot be remembered.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - one path, one memory, wherever a link on it leads today
    before = _status(absolute)
    key = key_of(KeySubject.FILE_DIGEST, absolute, *before)
    remembered = store.path(Folder.DIGESTS, key)
    try:
        text = remembered.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        text = ""
    if _DIGEST.fullmatch(text):  # not so when a power cut left it empty
        return text
    looked_at_ns = time.time_ns()
    digest = _hashed(absolute, before[0])
    if _status(absolute) != before:
        raise SourceError(absolute, "the file changes while it is read", "wait until it is complete, then run again")
    if before[1] < looked_at_ns - RACY_NS:
        with store.write(Folder.DIGESTS, key, durable=False, replace=True) as temporary:
            temporary.write_text(digest, encoding="ascii")
    return digest


def load_facts(store: Store, root: str | os.PathLike[str] | None) -> pl.DataFrame | None:
    """The table of image facts saved for an ``image_root`` (None: the working directory); None when there is none.

    Raises:
        StoreError: The table is damaged.
    """
    path = store.path(Folder.FACTS, _facts_key(root), ".parquet")
    try:
        data = path.read_bytes()  # whole, as a later save puts another file in its place
    except FileNotFoundError:
        return None
    try:
        return pl.read_parquet(data)
    except pl.exceptions.PolarsError as error:
        raise StoreError(str(path), f"is damaged ({error})", f"rm -f {path}: images are then looked at again") from None


def save_facts(store: Store, root: str | os.PathLike[str] | None, facts: pl.DataFrame) -> None:
    """Merge rows into the table of an ``image_root``; a row replaces the one of the same ``ref``.

    Builds that save at the same time wait for each other and lose nothing. A saved table with other columns is of
    another version of vldata and is replaced as a whole.

    Args:
        facts: Any columns, among them ``ref``.

    Raises:
        StoreError: It cannot be saved, or what is there is damaged.
    """
    if facts.is_empty():
        return
    key = _facts_key(root)
    with exclusive(store.root / Folder.LOCKS / f"facts-{key}"):
        saved = load_facts(store, root)
        if saved is not None and saved.schema == facts.schema:
            facts = pl.concat([saved, facts]).unique("ref", keep="last", maintain_order=True)
            if facts.equals(saved):
                return
        with store.write(Folder.FACTS, key, ".parquet", replace=True) as temporary:
            facts.write_parquet(temporary)


def _facts_key(root: str | os.PathLike[str] | None) -> str:
    return key_of(KeySubject.FACTS, absolute(root))


def _status(path: str) -> tuple[int, int, int]:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(path, "is not a file", "name the file itself")
    return status.st_size, status.st_mtime_ns, status.st_ino


def _hashed(path: str, size_bytes: int) -> str:
    try:
        if size_bytes < _MMAP_BYTES:
            return blake3(Path(path).read_bytes()).hexdigest(length=16)
        return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest(length=16)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> SourceError:
    return SourceError(path, error.strerror or str(error), "check the path and its permissions")
