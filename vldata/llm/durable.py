"""Flushing in groups: what was written reaches the disk soon, in the background, and no writer waits for it.

A write is safe from the death of its process at once, as the system has it; this is about power cuts and crashes of the
system itself.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from vldata.errors import StoreError
from vldata.store.trouble import store_error

FLUSH_WRITES = 64
"""Writes after which a flush begins: about what the default concurrency has in flight."""

FLUSH_S = 0.2
"""Seconds after which a write is flushed at the latest, plus the time that the disk takes."""


class Flusher:
    """Flushes one open file at a time, in a thread of its own, which begins with the first write.

    Errors of the background are raised by the next call and by every one after it: what the disk lost then is not
    known.

    Args:
        path: To name in errors.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._num_waiting = 0
        self._since_s = 0.0
        self._closing = False
        self._error: OSError | None = None
        self._changed = threading.Condition()
        self._flushing = threading.Lock()
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """To be called before writing.

        Raises:
            StoreError: An earlier flush failed.
        """
        if self._error is not None:
            error: StoreError = store_error(self._error, self._path)
            raise error from self._error

    def wrote(self) -> None:
        """Note one more write to the file."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vldata-answers", daemon=True)
                self._thread.start()
            if not self._num_waiting:
                self._since_s = time.monotonic()
            self._num_waiting += 1
            if self._num_waiting in (1, FLUSH_WRITES):
                self._changed.notify()

    def flush(self) -> None:
        """Wait until all that was written so far is on the disk.

        Raises:
            StoreError: It cannot be flushed.
        """
        with self._flushing:
            self._flush()
        self.check()

    def turn_to(self, handle: int) -> None:
        """Flush the file and continue with another one; -1: with none.

        Raises:
            StoreError: It cannot be flushed.
        """
        with self._flushing:
            self._flush()
            self._handle = handle
        self.check()

    def close(self) -> None:
        """Flush what waits and end the thread.

        Raises:
            StoreError: It cannot be flushed.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self.turn_to(-1)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._num_waiting or self._closing)
                left_s = self._since_s + FLUSH_S - time.monotonic()
                self._changed.wait_for(lambda: self._num_waiting >= FLUSH_WRITES or self._closing, timeout=left_s)
                if self._closing or self._error is not None:
                    return
            with self._flushing:
                self._flush()

    def _flush(self) -> None:
        with self._changed:
            num_waiting, self._num_waiting = self._num_waiting, 0
        if not num_waiting or self._handle < 0:
            return
        try:
            os.fsync(self._handle)
        except OSError as error:
            self._error = error
