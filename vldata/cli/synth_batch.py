"""`vldata synth export-batch`, `import-batch` and `batch`: at half the price, within a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vldata.base import sigterm_as_interrupt
from vldata.cli.options import JsonOption, RecipeArg, at_home, dataclasses_as_options, print_json
from vldata.cli.synth import ReaskOption, SendingOptions, SynthCommandOptions

if TYPE_CHECKING:  # too much to load for a help page
    from vldata.llm.batch.lines import BatchLimits
    from vldata.llm.batch.route import State

FolderArg = Annotated[Path, typer.Argument(help="A new folder to write.", show_default=False, callback=at_home)]
FilesArg = Annotated[
    list[Path], typer.Argument(help="Output files and error files of batches.", show_default=False, exists=True)
]
RetryOption = Annotated[bool, typer.Option("--retry", help="Also what the endpoint refused for good.")]

EXIT_STOPPED = 2
EXIT_INTERRUPTED = 130

Stopped = dict[str, str] | None
"""Of `vldata.generate.run.stop_row`."""


@dataclass(frozen=True)
class FileOptions:
    """How large one file of requests may be; the defaults are those of `vldata.llm.batch.lines`, which loads slowly."""

    max_lines: Annotated[int, typer.Option("--max-lines", min=1, help="Most requests in one file.")] = 50_000
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, help="Most megabytes of one file.")] = 200

    def limits(self, **more: Any) -> BatchLimits:
        """The same as the session takes it."""
        from vldata.llm.batch.lines import BatchLimits

        return BatchLimits(self.max_lines, self.max_mb * 10**6, **more)


@dataclass(frozen=True)
class BatchOptions(FileOptions):
    """The same, and how many batches are open."""

    max_open: Annotated[int | None, typer.Option("--max-open", min=1, help="Most batches that are open at once.")] = (
        None
    )

    def limits(self, **more: Any) -> BatchLimits:
        """The same as the session takes it."""
        return super().limits(max_open=self.max_open, **more)


def add_batch_commands(synth_app: typer.Typer) -> None:
    """Add the commands of this module to ``vldata synth``."""
    for name, command in (("export-batch", export_batch), ("import-batch", import_batch), ("batch", batch)):
        synth_app.command(name)(dataclasses_as_options(command))


def export_batch(
    recipe: RecipeArg,
    folder: FolderArg,
    options: SynthCommandOptions,
    files: FileOptions,
    retry: RetryOption = False,
    reask: ReaskOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write what is pending as files for a Batch API. Sends nothing, and needs no key."""
    from vldata.cli.terminal import say

    rows = options.session(recipe, reask=reask).export(folder, files.limits(), retry=retry)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        say(f"{row['source']}: {row['requests']:,} requests in {_counted(len(row['files']), 'file')}")
        for reason, count in row["left_out"].items():
            say(f"{row['source']}: {count:,} left out: {reason}")
    say(f"next: upload the files, then vldata synth import-batch {recipe} OUTPUT_FILE ERROR_FILE …")


def import_batch(recipe: RecipeArg, files: FilesArg, options: SynthCommandOptions, as_json: JsonOption = False) -> None:
    """Take the output and error files of batches back. Doing it twice changes nothing."""
    from vldata.cli.terminal import say, visible

    row = options.session(recipe).import_(files)
    if as_json:
        print_json(row)
        return
    say(f"{row['answered']:,} answered, {row['already']:,} known before, {row['unfinished']:,} not finished")
    for name, count in row["failed"].items():
        say(f"{count:,} failed: {name}")
    if row["duplicates"]:
        say(f"{row['duplicates']:,} lines about a request that an earlier line was about: not used")
    if row["unknown"]:
        say(f"{row['unknown']:,} lines about requests that are not known here, such as {_quoted(row['unknown_ids'])}")
    for line in row["bad_lines"][:20]:
        say(visible(f"{line['file']}:{line['line']}: {line['problem']}"))
    say(f"next: vldata synth status {recipe}")


def batch(
    recipe: RecipeArg,
    options: SendingOptions,
    sizes: BatchOptions,
    poll_s: Annotated[float, typer.Option("--poll", min=0.01, help="Seconds between two looks.")] = 60.0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answers.")] = True,
    forget_lost: Annotated[
        bool, typer.Option("--forget-lost", help="Give up batches that the endpoint does not know any more.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End the recipe's open batches early, and settle them; sends nothing.")
    ] = False,
    retry: RetryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send what is pending through the Batch API, wait, and collect. End it when you like; run it again to resume."""
    from vldata.cli.terminal import say
    from vldata.generate.batch import Polling

    session = options.session(recipe)
    polling = Polling(poll_s, before_wait=(lambda states: None) if as_json else _say_waiting)
    try:
        with sigterm_as_interrupt():
            if cancel:
                row = session.cancel(polling, wait=wait)
                stops = _say_cancelled(row, as_json=as_json)
            elif wait:
                row = session.run_batch(sizes.limits(), polling, retry=retry, forget=forget_lost)
                stops = _say_ended(row, recipe, as_json=as_json)
            else:  # takes what is there before anything is sent: under a limit it makes room
                collected = session.collect(forget=forget_lost)
                submitted = session.submit(sizes.limits(), retry=retry)
                stops = _say_submitted(collected, submitted, as_json=as_json)
    except KeyboardInterrupt:
        say("ended: batches run on at the endpoint, and the same command collects them")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _end(stops)
    if not cancel and wait and row["failed"]:  # given up
        raise typer.Exit(EXIT_STOPPED)


def _say_cancelled(row: dict[str, Any], *, as_json: bool) -> list[Stopped]:
    """Print what was cancelled; like the next two it gives why it stopped."""
    from vldata.cli.terminal import say

    if as_json:
        print_json(row)
    else:
        say(f"cancelling {_counted(row['cancelled'], 'batch', 'batches')}; {row['batches_ended']:,} ended")
        _say_total(row)
    return [row["stopped"]]


def _say_submitted(collected: list[dict[str, Any]], submitted: list[dict[str, Any]], *, as_json: bool) -> list[Stopped]:
    from vldata.cli.terminal import say

    if as_json:
        print_json({"collected": collected, "submitted": submitted})
    else:
        for row in collected:
            say(f"{row['endpoint']}: {row['answered']:,} answered, {len(row['open']):,} batches open")
        for row in submitted:
            say(f"{row['source']}: {row['requests']:,} requests in {row['batches']:,} new batches")
    return [row["stopped"] for row in (*collected, *submitted)]


def _say_ended(row: dict[str, Any], recipe: Path, *, as_json: bool) -> list[Stopped]:
    from vldata.cli.terminal import say

    if as_json:
        print_json(row)
    else:
        _say_total(row)
        if row["wanting"]:
            say(f"{row['wanting']:,} still pending: vldata synth run {recipe}   or the same command again")
    return [row["stopped"]]


def _say_waiting(states: Sequence[State]) -> None:
    from vldata.cli.terminal import say

    done = sum(int(state.counts.get("completed") or 0) for state in states)
    requests = sum(state.num_requests for state in states)
    say(f"waiting: {_counted(len(states), 'batch', 'batches')}, {done:,} of {requests:,} requests done")


def _say_total(total: dict[str, Any]) -> None:
    """What was answered, what it cost, and what is still open."""
    from vldata.cli.terminal import say

    failed = ", ".join(f"{name} {count:,}" for name, count in total["failed"].items())
    say(f"{total['answered']:,} answered for {total['spent_usd']:.4f} USD" + (f"; failed: {failed}" if failed else ""))
    for problem in total["problems"][:20]:
        say(problem)
    for state in total["open"]:
        say(f"open: {state['num_requests']:,} requests, {state['status']}")


def _end(stops: Sequence[Stopped]) -> None:
    """Say why it stopped, if it did."""
    stopped = next((stop for stop in stops if stop), None)
    if stopped is not None:
        from vldata.cli.terminal import fail
        from vldata.llm.endpoint import EndpointError

        fail(EndpointError(stopped["where"], stopped["problem"], stopped["fix"]))
        raise typer.Exit(EXIT_STOPPED)


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:3])
