"""What the system says when a disk will not have it -> what the user can do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vldata.errors import StoreError

_FIXES = {
    errno.ENOSPC: "free some space there (`vldata store gc`), or choose another disk with --store",
    errno.EDQUOT: "free some of your quota (`vldata store gc`), or choose another disk with --store",
    errno.EROFS: "the disk is read-only: choose another one with --store",
    errno.EACCES: "make it writable, or choose another folder with --store",
    errno.EPERM: "make it writable, or choose another folder with --store",
    errno.ENOTDIR: "a file stands where a folder should: choose another folder with --store",
    errno.EMFILE: "raise the number of open files: ulimit -n 4096",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the system's refusals into `StoreError`; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FIXES:
            raise
        where = str(error.filename or path)
        raise StoreError(where, (error.strerror or str(error)).lower(), _FIXES[error.errno]) from None
