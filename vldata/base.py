"""What every layer may use: progress, amounts for people, the cyclic collector out of the way, SIGTERM."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM, which schedulers send a while before they kill, ends the block in good order, as Ctrl-C does.

    Only a process's main thread receives it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def no_collector() -> Iterator[None]:
    """Millions of new objects, no cycle among them: without the cyclic collector they are made in 60 % of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def size(num_bytes: float) -> str:
    """Bytes for people, in powers of 1000: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


class Progress(Protocol):
    """A watcher."""

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        """A stage begins; the returned function is called with the number of units just done."""
        ...


class Silent:
    """Nobody watches."""

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        """Ignore the stage."""
        return lambda done: None
