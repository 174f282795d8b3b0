"""Whether a disk has room: checked before the work and not in the middle of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from vldata.errors import StoreError
from vldata.store.trouble import as_store_errors, existing, in_words


def free_bytes(path: Path) -> int:
    """Bytes that an ordinary user may still write on the disk that holds ``path``, which need not exist yet.

    Raises:
        StoreError: The disk does not answer.
    """
    with as_store_errors(path):
        return shutil.disk_usage(existing(path)).free


def require(path: Path, needed_bytes: int) -> None:
    """Refuse to start what cannot end.

    Raises:
        StoreError: Fewer than ``needed_bytes`` are free; names both numbers.
    """
    free = free_bytes(path)
    if free < needed_bytes:
        problem = f"{in_words(needed_bytes)} are needed and {in_words(free)} are free"
        raise StoreError(str(path), problem, "free some space (`vldata store gc`), or choose a folder on another disk")
