"""Locks between processes, by `flock`: the system gives them back when their holder dies, however it dies.

They hold on one machine and on network file systems that support `flock` (NFS from Linux 2.6.12 on).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vldata.errors import StoreError
from vldata.store.trouble import as_store_errors


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file ``path`` alone; it stays behind and is harmless.

    Two threads of one process exclude each other too. A thread that asks for a lock it holds already waits for ever.

    Args:
        path: Created with its folders.
        wait: False raises at once when the lock is held.

    Raises:
        StoreError: Held by another (with ``wait=False``), naming its process; or the file cannot be made or locked.
    """
    with _held(path, fcntl.LOCK_EX, wait):
        yield


@contextmanager
def shared(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file ``path`` together with other sharers, and against `exclusive` holders.

    Raises:
        StoreError: As `exclusive`.
    """
    with _held(path, fcntl.LOCK_SH, wait):
        yield


@contextmanager
def _held(path: Path, kind: int, wait: bool) -> Iterator[None]:
    with as_store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise _busy(path, handle) from None
            with as_store_errors(path):
                fcntl.flock(handle, kind)
        except OSError as error:
            with as_store_errors(path):
                raise error
        with as_store_errors(path):  # our number, for the message to whoever has to wait
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)  # gives the lock back


def _busy(path: Path, handle: int) -> StoreError:
    holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
    who = f"process {holder}" if holder.isdecimal() and _lives(int(holder)) else "another process"
    return StoreError(str(path), f"{who} is using it", "wait until it has ended, or end it")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:  # of several sharers the last to sign may be gone
        return False
    except PermissionError:
        return True
    return True
