"""A folder put in the place of another in one step."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from vldata.store.trouble import as_store_errors

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def swap(fresh: Path, target: Path) -> None:
    """Make ``fresh`` be ``target``; what was there is removed.

    Where the system can exchange two names at once there is no moment without ``target``; elsewhere there is a short
    one.

    Raises:
        StoreError: The folder cannot be written.
    """
    with as_store_errors(target):
        if not target.exists():
            fresh.rename(target)
            return
        if _exchange(fresh, target):
            shutil.rmtree(fresh)
            return
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old)


def _exchange(a: Path, b: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    return bool(libc.renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0)
