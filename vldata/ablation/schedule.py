"""Cells run some at a time, watched by a board, and stopped in good order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from vldata.ablation.cells import Cell, Trainer, run_cell
from vldata.base import sigterm_as_interrupt


@dataclass
class Board:
    """Progress of the builds and the cells; every method may be called from any thread.

    Args:
        total: Cells to run; 0 before that is known.
        failed: Of those that are done.
        building: What the builds are at; empty before the first.
        running: Name to stage and start, by the clock of ``time.perf_counter``.
        seconds: What those that are done took.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    building: str = ""
    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def lines(self) -> list[str]:
        """What to show."""
        with self.lock:
            if not self.total:
                return [self.building] if self.building else []
            failed = f", {self.failed} failed" if self.failed else ""
            eta = ""
            if self.seconds and self.done < self.total:
                left = sum(self.seconds) / len(self.seconds) * (self.total - self.done) / max(1, len(self.running))
                eta = f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
            now = time.perf_counter()
            running = [f"  {name}: {stage}, {now - since:.0f} s" for name, (stage, since) in self.running.items()]
            return [f"trainings {self.done} of {self.total}{failed}{eta}", *running]

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        """A stage of a build begins (`vldata.base.Progress`)."""
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            self.building = f"{name} {done:,}" + (f" of {total:,}" if total is not None else "")

        advance(0)
        return advance

    def report(self, name: str, stage: str) -> None:
        """A cell is at this stage."""
        with self.lock:
            since = self.running.get(name, ("", time.perf_counter()))[1]
            self.running[name] = stage, since

    def ended(self, name: str, *, failed: bool) -> None:
        """A cell has ended."""
        with self.lock:
            since = self.running.pop(name, ("", time.perf_counter()))[1]
            self.seconds.append(time.perf_counter() - since)
            self.done += 1
            self.failed += failed


def run_cells(cells: Sequence[Cell], trainer: Trainer, folder: Path, jobs: int, board: Board) -> None:
    """Run the cells, ``jobs`` at a time; when this is interrupted they are stopped, and keep what they have."""
    once = {cell.key(trainer): cell for cell in reversed(cells)}
    todo = [cell for key, cell in reversed(once.items()) if not (folder / key / "done.json").is_file()]
    board.total = len(once)
    board.done = len(once) - len(todo)
    stopping = threading.Event()
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)

    def one(cell: Cell) -> None:
        if stopping.is_set():
            return
        name = f"{cell.variant}, seed {cell.seed}"
        board.report(name, "starts")
        slot = slots.get()
        try:
            failure = run_cell(
                cell, trainer, folder, slot=slot, stopping=stopping, report=lambda stage: board.report(name, stage)
            )
        finally:
            slots.put(slot)
        board.ended(name, failed=failure is not None)

    with sigterm_as_interrupt(), ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(one, cell) for cell in todo}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:  # also Ctrl-C: the children must be stopped before it is raised again
            stopping.set()
            raise
