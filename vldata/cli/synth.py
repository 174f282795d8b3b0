"""`vldata synth`: the commands that send requests to models, and look at the replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vldata.base import sigterm_as_interrupt
from vldata.cli.options import (
    AnswersOption,
    JsonOption,
    RecipeArg,
    SetOption,
    StandinOption,
    StoreOption,
    dataclasses_as_options,
    print_json,
)
from vldata.cli.synth_panel import Panel
from vldata.cli.synth_words import (
    in_usd,
    report,
    say_draw,
    say_missing,
    say_reasks,
    say_rejected,
    say_said,
    state_table,
    sum_in_usd,
)

if TYPE_CHECKING:  # too much to load for a help page
    from vldata.generate.session import SynthSession

synth_app = typer.Typer(no_args_is_help=True, help="Make conversations with a model: plan, run, look, retry.")


ReaskOption = Annotated[
    bool, typer.Option("--re-ask", help="Also ask for a better reply where one does not pass its checks.")
]


@dataclass(frozen=True)
class SynthCommandOptions:
    """What every command of `vldata synth` takes; the fields are its options, in their order."""

    store: StoreOption = None
    answers: AnswersOption = None
    source: Annotated[list[str] | None, typer.Option("--source", help="Only this synthetic source; repeatable.")] = None
    set_: SetOption = None
    standin: StandinOption = None

    def session(self, recipe: Path, **more: Any) -> SynthSession:
        """The session for these options.

        Args:
            more: Of `vldata.generate.session.SynthOptions`.
        """
        from vldata.generate.session import SynthOptions, SynthSession
        from vldata.recipe.load import load

        options = SynthOptions(names=self.source or (), standin=self.standin, **more)
        return SynthSession(load(recipe, self.set_ or []), self.store, self.answers, options)


@dataclass(frozen=True)
class SendingOptions(SynthCommandOptions):
    """What the commands that send requests take too."""

    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="URL to use in place of the configured ones, up to and with /v1.")
    ] = None
    max_usd: Annotated[float | None, typer.Option("--max-usd", min=0, help="Spend at most N USD in this run.")] = None
    reask: ReaskOption = False
    canary: Annotated[
        bool, typer.Option("--canary/--no-canary", help="Stop when none of the first 20 replies is kept.")
    ] = True

    def session(self, recipe: Path, **more: Any) -> SynthSession:
        """The session for these options."""
        own = {name: getattr(self, name) for name in ("endpoint", "max_usd", "reask", "canary")}
        return super().session(recipe, **own, **more)


@synth_app.command("plan")
@dataclasses_as_options
def synth_plan(recipe: RecipeArg, options: SynthCommandOptions, as_json: JsonOption = False) -> None:
    """Say what a run would request, why, and what that would cost. Sends nothing."""
    from vldata.cli.terminal import say, table

    session = options.session(recipe)
    rows = session.plan()
    if as_json:
        print_json(rows)
        return
    columns = ("source", "model", "samples", "requests", "answered", "to send", "low", "expected", "max")
    table(
        columns,
        [
            [
                row["source"],
                row["model"],
                f"{row['samples']:,}",
                f"{row['requests']:,}",
                f"{row['hits']:,}",
                f"{row['to_send']:,}",
                *(in_usd(row["cost_usd"][part]) for part in ("low", "expected", "max")),
            ]
            for row in rows
        ],
    )
    say_missing(session)
    for row in rows:
        say_rejected(row)
        for why, count in row["why_new"].items():
            say(f"{row['source']}: {count:,} new: {why}")
        if row["refused"]:
            say(f"{row['source']}: {row['refused']:,} refused for good and not sent: vldata synth retry {recipe}")
        say_reasks(row, recipe)
        if row["to_send"]:
            tokens = row["tokens"]
            most = "no limit" if tokens["max"] is None else f"at most {tokens['max']:,} in all"
            about = f"about {tokens['prompt']:,} + {tokens['answers']:,} tokens, {most} ({tokens['basis']})"
            say(f"{row['source']}: {about}")
            if row["cost_usd"]["expected"] is None:
                say(f"{row['source']}: the price of {row['model']!r} is unknown: add it to your configuration")
        if (later := row["later"]) is not None:
            after = " and ".join(f"`{name}`" for name in later["after"])
            most = in_usd(later["cost_usd"][1])
            say(f"{row['source']}: 0 to {later['requests'][1]:,} more once {after} is answered, at most {most}")
    if len(rows) > 1:
        low, most = (sum_in_usd(rows, part) for part in (0, 1))
        say(f"in all: {low} to {most}")
    say(f"next: vldata synth run {recipe}" if any(row["to_send"] for row in rows) else "nothing to request")


def _sending_command(about: str, *, retry: bool) -> Callable[..., None]:
    """A command that sends: `run` and `retry` differ in one word."""

    def command(
        recipe: RecipeArg,
        options: SendingOptions,
        concurrency: Annotated[
            int, typer.Option("--concurrency", min=1, max=1024, help="Requests under way at once.")
        ] = 64,
        as_json: JsonOption = False,
    ) -> None:
        from vldata.cli.terminal import live

        panel = Panel()
        with sigterm_as_interrupt(), live(panel.lines, quiet=as_json):
            session = replace(options.session(recipe, concurrency=concurrency), watch=panel.watch)
            if not as_json:
                say_missing(session)
            rows = session.run(retry=retry, begin=panel.begin)
        report(recipe, rows, as_json=as_json)

    command.__doc__ = about
    return dataclasses_as_options(command)


synth_app.command("run")(
    _sending_command(
        "Request every answer that is pending. Answers are kept at once; run it again to resume.", retry=False
    )
)
synth_app.command("retry")(
    _sending_command("Send again also what the endpoint refused for good, such as by its content policy.", retry=True)
)


@synth_app.command("status")
@dataclasses_as_options
def synth_status(recipe: RecipeArg, options: SynthCommandOptions, as_json: JsonOption = False) -> None:
    """Say what is there: draws kept, pending and dropped, why, and what it cost."""
    from vldata.cli.terminal import say
    from vldata.generate.budgets import with_words

    session = options.session(recipe)
    rows = [with_words(session, row) for row in session.status()]
    if as_json:
        print_json(rows)
        return
    state_table(rows)
    for row in rows:
        say_said(row)
    missing = say_missing(session)
    for place in (place for place in rows[0]["damaged"] if place["file"] not in missing):
        what = f"the answer to request {place['key']}" if place["key"] else "a stretch of unknown content"
        say(f"damaged: {place['file']}, byte {place['offset']:,}: {what}")
    if rows[0]["damaged"]:
        say(f"fix: restore these files from a backup; or vldata synth run {recipe} requests, and pays for, them again")


@synth_app.command("show")
@dataclasses_as_options
def synth_show(
    recipe: RecipeArg,
    only: Annotated[
        str | None, typer.Option("--only", help="'kept', 'pending', a reason such as 'leak', or a sample's row.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most N of each source.")] = 3,
    options: SynthCommandOptions = SynthCommandOptions(),
    as_json: JsonOption = False,
) -> None:
    """Show prompts, replies, and the turns and findings of these, side by side."""
    from vldata.cli.terminal import say

    rows = options.session(recipe).show(only=only, limit=limit)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        say_draw(row)
    if not rows:
        say("nothing to show")
