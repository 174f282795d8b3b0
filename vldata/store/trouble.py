"""Errors of the operating system, in the user's words."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vldata.base import size
from vldata.errors import StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
READ_ONLY = frozenset({errno.EROFS})

_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_FIXES = {
    errno.ENOSPC: "free some space (`vldata store gc`) or choose another disk, then run again: finished work is kept",
    errno.EDQUOT: "free some of your quota (`vldata store gc`), then run again: finished work is kept",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENOTDIR: "a file stands where a folder should: choose another folder",
    errno.EMFILE: "raise the number of open files: ulimit -n 4096",
}
_OTHER = "check the disk and the folder, then run again: finished work is kept"


def store_error(error: OSError, path: Path) -> StoreError:
    """What went wrong at ``path``, and how to fix it."""
    what = (error.strerror or str(error)).lower()
    if error.errno in FULL:
        with suppress(OSError):  # only to say more
            what += f", {in_words(shutil.disk_usage(existing(path)).free)} free"
    if error.errno in _FORBIDDEN:
        fix = f"make it writable (chmod u+w {existing(path)}), or choose another folder"
    else:
        fix = _FIXES.get(error.errno or 0, _OTHER)
    return StoreError(str(path), what, fix)


@contextmanager
def as_store_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` of the block into a `StoreError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise store_error(error, path) from error


def existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def in_words(size_bytes: int) -> str:
    """Bytes as they stand in a sentence: "512 bytes", "1.5 MB"."""
    return f"{size_bytes} bytes" if size_bytes < 1000 else size(size_bytes)
