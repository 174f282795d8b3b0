"""Errors of the operating system, in the user's words."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vldata.errors import StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
READ_ONLY = frozenset({errno.EROFS})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


def store_error(error: OSError, path: Path) -> StoreError:
    """What went wrong at ``path``, and what mends it."""
    what = error.strerror or str(error)
    if error.errno in FULL:
        free = ""
        with suppress(OSError):  # only to say more
            free = f", {in_words(shutil.disk_usage(existing(path)).free)} free"
        limit = " (quota)" if error.errno == errno.EDQUOT else ""
        return StoreError(
            str(path),
            f"no space left{limit}{free}",
            "free some space (`vldata store gc` removes what no build needs) and run again: finished work is kept",
        )
    if error.errno in READ_ONLY:
        return StoreError(str(path), "the file system is read-only", "choose another folder")
    if error.errno in FORBIDDEN:
        return StoreError(str(path), f"not permitted ({what})", f"chmod u+w {existing(path)}, or choose another folder")
    return StoreError(str(path), what, "check the disk and the folder, then run again: finished work is kept")


@contextmanager
def told_as_store_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` of the block into a `StoreError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise store_error(error, path) from error


def existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() fails on loops of links
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def in_words(size_bytes: int) -> str:
    """Bytes as a person reads them: "512 bytes", "1.5 MB", in powers of 1000."""
    size = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
