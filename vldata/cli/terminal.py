"""What a person sees: progress bars on stderr, tables on stdout, errors as one block."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vldata.dataset.columns import column_lines
from vldata.errors import RecipeErrors, VldataError
from vldata.schema.reasons import FILTERED, REJECTED

_PIPED_WIDTH = 110
NOW_AND_THEN_S = 30.0
"""Between two looks at how far something is, where nobody watches it live."""

_out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


class Bars:
    """A `vldata.base.Progress` that draws one bar a stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        """A bar for the stage; it stays when it is full."""
        task = self._progress.add_task(name, total=total)
        return lambda done: self._progress.advance(task, done)


@contextmanager
def bars(*, quiet: bool) -> Iterator[Bars | None]:
    """Bars while something long runs; none when ``quiet`` or when nobody sees stderr."""
    if quiet or not _err.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}", style="cyan"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=_err, transient=False) as progress:
        yield Bars(progress)


@contextmanager
def live(text: Callable[[], str], *, quiet: bool) -> Iterator[None]:
    """Lines that are written again several times a second while something runs.

    Where stderr is a file they are added to it now and then as one, when they have changed; none when ``quiet``.
    """
    if quiet:
        yield
        return
    if not _err.is_terminal:
        with _now_and_then(text):
            yield
        return
    from rich.live import Live

    class Lines:
        def __rich__(self) -> Text:
            return Text(visible(text()))

    with Live(Lines(), console=_err, refresh_per_second=4):
        yield


@contextmanager
def _now_and_then(text: Callable[[], str]) -> Iterator[None]:
    over = threading.Event()

    def report() -> None:
        before = ""
        while not over.wait(NOW_AND_THEN_S):
            line = " | ".join(part.strip() for part in text().splitlines() if part.strip())
            if line != before:
                sys.stderr.write(visible(line) + "\n")
                sys.stderr.flush()
            before = line

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def say(text: str = "") -> None:
    """A line on stdout, as it is."""
    _out.print(Text.from_ansi(text) if "\x1b" in text else Text(text))


def heading(text: str) -> None:
    """A line that starts a part."""
    _out.print(f"[bold]{escape(text)}[/bold]")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """An aligned table; numbers to the right. Cells are inert text, control characters shown as escapes."""
    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        number = bool(rows) and all(
            isinstance(row[i], int | float) or str(row[i])[:1].isdigit() for row in rows if row[i] != ""
        )
        drawn.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(visible(_shown(cell))) for cell in row))
    _out.print(drawn)


def visible(text: str) -> str:
    """The text with control and direction-changing characters written out, so that data cannot steer a terminal."""
    return "".join(
        c if c == "\n" or (c.isprintable() and not 0x202A <= ord(c) <= 0x2069) else repr(c)[1:-1] for c in text
    )


def fail(error: VldataError) -> None:
    """An error as one block on stderr: where, what, fix."""
    errors = error.errors if isinstance(error, RecipeErrors) else (error,)
    for one in errors:
        _err.print(
            f"[bold red]error[/bold red] [bold]{escape(visible(one.where))}[/bold]: {escape(visible(one.problem))}"
        )
        _err.print(f"  [green]fix[/green]: {escape(visible(one.fix))}")
    if len(errors) > 1:
        _err.print(f"{len(errors)} problems")


def sources_table(sources: Mapping[str, Mapping[str, Any]], totals: Mapping[str, int]) -> None:
    """Tables of a plan or a build: shares requested and achieved in four units, where the turns went, and why."""
    rows: list[list[Any]] = []
    for name, source in sources.items():
        shares = [_share(source["achieved"][unit], totals[unit]) for unit in _UNITS]
        shares.insert(0, f"{source['requested_share']:.1%}")
        rows.append([name, source["task"], source["achieved"]["samples"], f"{source['epochs']:.2f}", *shares])
    rows.append(["all", "", totals["samples"], "", "", *(f"{totals[unit]:,}" for unit in _UNITS)])
    table(["source", "task", "samples", "epochs", "requested", "samples", "images", "turns", "chars"], rows)
    say()
    columns = ("rows_in", "rows_out", "filtered", "rejected", "not_chosen", "repeats")
    flow = [[name, *(source[column] for column in columns)] for name, source in sources.items()]
    flow.append(["all", *(sum(source[column] for source in sources.values()) for column in columns)])
    table(["turns of", "read", "used", "filtered", "rejected", "not chosen", "repeated"], flow)
    say("filtered: the recipe says so; rejected: broken; not chosen: fine, not needed; repeated: used again")
    counted = [(name, why, n) for name, source in sources.items() for why, n in source.get("reasons", {}).items()]
    counted.sort(key=lambda row: -row[2])
    if counted:
        say()
        shown = [[name, why, n, {**FILTERED, **REJECTED}.get(why, "")] for name, why, n in counted[:_MAX_REASONS]]
        table(["source", "reason", "turns", "what it means"], shown)
    if len(counted) > _MAX_REASONS:
        say(f"and {len(counted) - _MAX_REASONS} more reasons: see ledger.parquet")


def columns_table(columns: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Which native columns of each source feed which canonical ones, and what became of the others."""
    rows = []
    for source, summary in columns.items():
        for k, line in enumerate(column_lines(summary)):
            rest = len(line.native) - _MAX_COLUMNS
            names = ", ".join(line.native[:_MAX_COLUMNS]) + (f" and {rest} more" if rest > 0 else "")
            rows.append([source if k == 0 else "", names, line.fate])
    if rows:
        say()
        table(["columns of", "native", "feeds"], rows)
        say()


_MAX_COLUMNS = 12
_MAX_REASONS = 10
_UNITS = ("samples", "images", "turns", "answer_chars")


def _share(amount: int, total: int) -> str:
    return f"{amount / total:.1%}" if total else "0"


def _shown(cell: Any) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return "" if cell is None else str(cell)
