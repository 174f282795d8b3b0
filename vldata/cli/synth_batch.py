"""`vldata synth export-batch`, `import-batch` and `batch`: at half the price, within a day."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vldata.cli.options import JsonOption, RecipeArg, SetOption, StandinOption, StoreOption, at_home, print_json
from vldata.cli.synth import AnswersOption, EndpointOption, MaxUsdOption, SourceOption

if TYPE_CHECKING:  # too much to load for a help page
    from vldata.llm.batch.route import State
    from vldata.recipe.models import Recipe

FolderArg = Annotated[Path, typer.Argument(help="A new folder to write.", show_default=False, callback=at_home)]
FilesArg = Annotated[
    list[Path], typer.Argument(help="Output files and error files of batches.", show_default=False, exists=True)
]
MaxLinesOption = Annotated[int, typer.Option("--max-lines", min=1, help="Most requests in one file.")]
MaxMegabytesOption = Annotated[int, typer.Option("--max-mb", min=1, help="Most megabytes of one file.")]
RetryOption = Annotated[bool, typer.Option("--retry", help="Also what the endpoint refused for good.")]

MAX_LINES = 50_000  # as in `vldata.llm.batch.lines`, which is too much to load for a help page
MAX_MEGABYTES = 200
EXIT_STOPPED = 2
EXIT_INTERRUPTED = 130

Stopped = dict[str, str] | None
"""Of `vldata.generate.run.told`."""


def add_batch_commands(synth_app: typer.Typer) -> None:
    """Add the commands of this module to ``vldata synth``."""
    synth_app.command("export-batch")(export_batch)
    synth_app.command("import-batch")(import_batch)
    synth_app.command("batch")(batch)


def export_batch(
    recipe: RecipeArg,
    folder: FolderArg,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    max_lines: MaxLinesOption = MAX_LINES,
    max_mb: MaxMegabytesOption = MAX_MEGABYTES,
    retry: RetryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write what is wanting as files for a Batch API. Sends nothing, and needs no key."""
    from vldata.cli.terminal import say
    from vldata.generate.batch_files import export_batch as run
    from vldata.generate.run import SynthOptions
    from vldata.recipe.load import load

    rows = run(
        load(recipe, set_ or []),
        folder,
        store=store,
        answers=answers,
        options=SynthOptions(names=source or (), standin=standin),
        max_lines=max_lines,
        max_bytes=max_mb * 10**6,
        retry=retry,
    )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        say(f"{row['source']}: {row['requests']:,} requests in {_counted(len(row['files']), 'file')}")
        for reason, count in row["left_out"].items():
            say(f"{row['source']}: {count:,} left out: {reason}")
    say(f"next: upload the files, then vldata synth import-batch {recipe} OUTPUT_FILE ERROR_FILE …")


def import_batch(
    recipe: RecipeArg,
    files: FilesArg,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the output and error files of batches back. Doing it twice changes nothing."""
    from vldata.cli.terminal import say, visible
    from vldata.generate.batch_files import import_batch as run
    from vldata.generate.run import SynthOptions
    from vldata.recipe.load import load

    options = SynthOptions(names=source or (), standin=standin)
    came = run(load(recipe, set_ or []), files, store=store, answers=answers, options=options)
    if as_json:
        print_json(came)
        return
    say(f"{came['answered']:,} answered, {came['already']:,} known before, {came['unfinished']:,} not finished")
    for name, count in came["failed"].items():
        say(f"{count:,} failed: {name}")
    if came["duplicates"]:
        say(f"{came['duplicates']:,} lines about a request that an earlier line was about: not used")
    if came["unknown"]:
        say(f"{came['unknown']:,} lines about requests that are not known here, such as {_quoted(came['unknown_ids'])}")
    for bad in came["bad_lines"][:20]:
        say(visible(f"{bad['file']}:{bad['line']}: {bad['problem']}"))
    say(f"next: vldata synth status {recipe}")


def batch(
    recipe: RecipeArg,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    endpoint: EndpointOption = None,
    max_usd: MaxUsdOption = None,
    max_lines: MaxLinesOption = MAX_LINES,
    max_mb: MaxMegabytesOption = MAX_MEGABYTES,
    max_open: Annotated[
        int | None, typer.Option("--max-open", min=1, help="Most batches that are open at once.")
    ] = None,
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
    """Send what is wanting through the Batch API, wait, and collect. End it when you like; run it again to go on."""
    from vldata.cli.terminal import say
    from vldata.generate.run import SynthOptions
    from vldata.recipe.load import load

    loaded = load(recipe, set_ or [])
    options = SynthOptions(endpoint=endpoint, max_usd=max_usd, names=source or (), standin=standin)
    common = {"answers": answers, "options": options}
    at_most = {"max_lines": max_lines, "max_bytes": max_mb * 10**6, "max_open": max_open}
    sending = {**common, **at_most, "store": store, "retry": retry}
    polling = {"poll_s": poll_s, "waiting": (lambda states: None) if as_json else _say_waiting}
    try:
        if cancel:
            stops = _cancel(loaded, {**common, **polling, "wait": wait}, as_json=as_json)
        elif wait:
            stops = _send_and_wait(loaded, {**sending, **polling, "forget": forget_lost}, recipe, as_json=as_json)
        else:
            stops = _send_and_leave(loaded, {**common, "forget": forget_lost}, sending, as_json=as_json)
    except KeyboardInterrupt:
        say("ended: batches go on at the endpoint, and the same command collects them")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _end(stops)


def _cancel(loaded: Recipe, how: dict[str, Any], *, as_json: bool) -> list[Stopped]:
    """End the open batches early. Like the next two it prints, and gives why it stopped."""
    from vldata.cli.terminal import say
    from vldata.generate.batch_cancel import cancel_batch

    ended = cancel_batch(loaded, **how)
    if as_json:
        print_json(ended)
    else:
        say(f"{_counted(ended['cancelled'], 'batch', 'batches')} asked to end, {ended['batches_ended']:,} ended")
        _say_total(ended)
    return [ended["stopped"]]


def _send_and_leave(
    loaded: Recipe, collecting: dict[str, Any], sending: dict[str, Any], *, as_json: bool
) -> list[Stopped]:
    """Take what is there before anything is sent: under a limit it makes room."""
    from vldata.cli.terminal import say
    from vldata.generate.batch import collect_batch, submit_batch

    came = collect_batch(loaded, **collecting)
    sent = submit_batch(loaded, **sending)
    if as_json:
        print_json({"collected": came, "submitted": sent})
    else:
        for row in came:
            say(f"{row['endpoint']}: {row['answered']:,} answered, {len(row['open']):,} batches open")
        for row in sent:
            say(f"{row['source']}: {row['requests']:,} requests in {row['batches']:,} new batches")
    return [row["stopped"] for row in (*came, *sent)]


def _send_and_wait(loaded: Recipe, how: dict[str, Any], recipe: Path, *, as_json: bool) -> list[Stopped]:
    """Until nothing is wanting and no batch is open; ``recipe`` is what the user called it."""
    from vldata.cli.terminal import say
    from vldata.generate.batch import run_batch

    total = run_batch(loaded, **how)
    if as_json:
        print_json(total)
    else:
        _say_total(total)
        if total["wanting"]:
            say(f"{total['wanting']:,} still wanting: vldata synth run {recipe}   or the same command again")
    return [total["stopped"]]


def _say_waiting(states: Sequence[State]) -> None:
    from vldata.cli.terminal import say

    done = sum(int(state.counts.get("completed") or 0) for state in states)
    requests = sum(state.num_requests for state in states)
    say(f"waiting: {_counted(len(states), 'batch', 'batches')}, {done:,} of {requests:,} requests done")


def _say_total(total: dict[str, Any]) -> None:
    """What came, what it cost, and what is still open."""
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
