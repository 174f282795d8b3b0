"""Room on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from vldata.errors import StoreError


def free_bytes(path: Path) -> int:
    """Bytes that may still be written below ``path``, which need not exist yet."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def require(path: Path, num_bytes: int) -> None:
    """Refuse to begin what cannot be finished.

    Raises:
        StoreError: Less than ``num_bytes`` are free; says both numbers.
    """
    free = free_bytes(path)
    if free < num_bytes:
        problem = f"{num_bytes / 1e9:.2f} GB to write, {free / 1e9:.2f} GB free"
        raise StoreError(str(path), problem, "free some space (`vldata store gc`), or choose another disk with --store")
