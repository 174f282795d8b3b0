"""Wall time and peak memory of a command and everything it starts, and one aligned table for the results."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

Row = tuple[str, str, str, bool | None]
"""What, measured, target, and whether it is met; None where there is no target."""


class Run(NamedTuple):
    """One run of a command: seconds, and the largest sum of proportional set sizes of its processes, in MiB."""

    wall_s: float
    peak_mib: float
    stdout: str


def run(command: Sequence[str | int | Path], *, every_s: float = 0.2, environment: dict[str, str] | None = None) -> Run:
    """Run a command to its end; a failure is shown and raised."""
    started = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment)
    peak = 0.0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            tree = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(one.memory_full_info().pss for one in tree) / 2**20)
        except psutil.Error:
            pass  # a process ended while it was looked at
        time.sleep(every_s)
    wall = time.perf_counter() - started
    stdout = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{command[0]} … failed with {process.returncode}")
    return Run(wall, peak, stdout)


def show(title: str, rows: Sequence[Row]) -> bool:
    """Print the rows as an aligned table; whether every target was met."""
    table = Table("what", "measured", "target", "", title=title, box=None, title_justify="left")
    for what, measured, target, met in rows:
        table.add_row(what, measured, target, "" if met is None else "met" if met else "MISSED")
    Console(width=110).print(table)
    return all(met is not False for *_, met in rows)
