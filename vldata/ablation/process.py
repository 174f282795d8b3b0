"""Processes of cells: run under a lock that they inherit, signalled to end, killed when they do not."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 10.0
"""What a process that was signalled to end may take before it is killed."""

_POLL_S = 0.1
_LAST_LINES, _LAST_CHARS = 6, 1200  # of a failed process's last words

Report = Callable[[str], None]
"""Is called with what a cell is doing."""


def to_its_end(
    words: Sequence[str], log: Path, environment: Mapping[str, str], lock: int, stopping: threading.Event
) -> str | None:
    """Run a process to its end, with all that it starts.

    Args:
        lock: A handle that it inherits, from `held`.
        stopping: When set it is signalled to end, and killed when it does not.

    Returns:
        Its last words when it failed; None when it did not.
    """
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(words)}\n".encode())
        file.flush()
        start = file.tell()
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(environment),
                pass_fds=(lock,),
                start_new_session=True,  # so that whatever it starts can be ended with it
            )
        except OSError as error:
            return f"{words[0]}: {error.strerror or error}"
        stopped_at = None
        while (code := _ended(process)) is None:
            if stopping.is_set() and stopped_at is None:
                stopped_at = time.monotonic()
                _signal(process, signal.SIGTERM)
            elif stopped_at is not None and time.monotonic() - stopped_at > PATIENCE_S:
                _signal(process, signal.SIGKILL)
    return None if code == 0 else _last_words(log, start, code)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _last_words(log: Path, start: int, code: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return "\n".join([*lines[-_LAST_LINES:], how])[-_LAST_CHARS:]


@contextmanager
def held(path: Path, report: Report, stopping: threading.Event) -> Iterator[int | None]:
    """A lock that the processes started under it hold too, by inheriting its handle; None when stopped first."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield handle if _locked(handle, report, stopping) else None
    finally:
        os.close(handle)


def _locked(handle: int, report: Report, stopping: threading.Event) -> bool:
    is_reported = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_reported:
                report("waits for the process of an earlier run to end")
                is_reported = True
            if stopping.wait(_POLL_S):
                return False
        else:
            return True
