"""Locks between processes, which the system lets go of when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vldata.errors import StoreError
from vldata.store.failures import explained


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file; waits until nobody else does."""
    with _locked(path, fcntl.LOCK_EX):
        yield


@contextmanager
def try_exclusive(path: Path, problem: str) -> Iterator[None]:
    """Hold the lock file, or refuse at once.

    Raises:
        StoreError: Somebody else holds it; says ``problem`` and who.
    """
    try:
        with _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield
    except BlockingIOError:
        holder = path.read_text().strip() or "unknown"
        raise StoreError(str(path), f"{problem} (process {holder})", "wait for it, or write to another folder") from None


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, how)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
