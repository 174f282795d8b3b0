"""Where jobs run: here, or in processes of this machine. A job is independent and safe to run twice.

Workers are started by `spawn`, because Polars' threads do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from itertools import chain, islice
from types import ModuleType
from typing import Any, TypeVar

from vldata.errors import BuildError

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine:
    """Runs functions over jobs, with N workers; use as a context manager.

    Args:
        workers: 1 runs everything in this process.
        modules: What a worker loads while it waits for its first job.
    """

    def __init__(self, workers: int, modules: Sequence[str] = ()) -> None:
        self.workers = max(1, workers)
        self._modules = tuple(modules)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def start(self) -> None:
        """Start the workers now, while this process does something else."""
        if self.workers > 1 and self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_one_thread)
            with _without_main(), _interrupts_held():
                for _ in range(self.workers):
                    self._pool.submit(_load, self._modules)

    def run(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        """Each job with its result, as they come; few jobs wait at a time, so that memory stays flat."""
        waiting = iter(jobs)
        first = list(islice(waiting, 2))
        waiting = chain(first, waiting)
        if self.workers == 1 or len(first) < 2:
            for job in waiting:
                yield job, function(job)
            return
        self.start()
        assert self._pool is not None
        running: dict[Any, Job] = {}
        for job in waiting:
            with _reported_if_killed():
                running[self._pool.submit(function, job)] = job
            if len(running) < 2 * self.workers:
                continue
            yield from self._finished(running)
        while running:
            yield from self._finished(running)

    def _finished(self, running: dict[Any, Job]) -> Iterator[tuple[Job, Any]]:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            with _reported_if_killed():
                result = future.result()
            yield running.pop(future), result


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Workers that start here inherit a blocked Ctrl-C, which is for this process: it stops them. Here it waits."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _reported_if_killed() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        problem = "it was killed, most likely because the memory was full"
        raise BuildError("a worker", problem, "run again with --workers 1, which resumes where this stopped") from None


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the caller's script from the workers that start here.

    `spawn` runs the main script again in every worker, which a script without the ``__main__`` guard answers by
    starting the build once more. No job of ours needs anything from it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _WithoutPandas(MetaPathFinder):
    """pyarrow loads pandas as soon as it is there, 0.3 s in every worker, to look for series that no job ever has."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Refuse pandas; of everything else nothing is known here."""
        if fullname == "pandas":
            raise ModuleNotFoundError("workers do without pandas", name=fullname)


def _one_thread() -> None:
    """A worker is one core: its libraries must not start a thread for every core again."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    sys.meta_path.insert(0, _WithoutPandas())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent answers it for all


def _load(modules: Sequence[str]) -> None:
    for name in modules:
        import_module(name)
