"""`vldata synth`: the commands that send requests to models, and look at the replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vldata.cli.options import (
    JsonOption,
    RecipeArg,
    SetOption,
    StandinOption,
    StoreOption,
    at_home,
    dataclasses_as_options,
    print_json,
)
from vldata.cli.synth_panel import Panel

if TYPE_CHECKING:  # too much to load for a help page
    from vldata.generate.session import SynthSession

synth_app = typer.Typer(no_args_is_help=True, help="Make conversations with a model: plan, run, look, retry.")

AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers", help="Where answers are kept for ever ($VLDATA_ANSWERS, else .vldata/answers).", callback=at_home
    ),
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

    def session(self, recipe: Path, **more: Any) -> SynthSession:
        """The session for these options."""
        return super().session(recipe, endpoint=self.endpoint, max_usd=self.max_usd, **more)


@synth_app.command("plan")
@dataclasses_as_options
def synth_plan(recipe: RecipeArg, options: SynthCommandOptions, as_json: JsonOption = False) -> None:
    """Say what a run would request, why, and what that would cost. Sends nothing."""
    from vldata.cli.terminal import say, table

    rows = options.session(recipe).plan()
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
                *(_usd(row["cost_usd"][part]) for part in ("low", "expected", "max")),
            ]
            for row in rows
        ],
    )
    for row in rows:
        _say_rejected(row)
        for why, count in row["why_new"].items():
            say(f"{row['source']}: {count:,} new: {why}")
        if row["to_send"]:
            tokens = row["tokens"]
            most = "no limit" if tokens["max"] is None else f"at most {tokens['max']:,} in all"
            about = f"about {tokens['prompt']:,} + {tokens['answers']:,} tokens, {most} ({tokens['basis']})"
            say(f"{row['source']}: {about}")
            if row["cost_usd"]["expected"] is None:
                say(f"{row['source']}: the price of {row['model']!r} is unknown: add it to your configuration")
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
        with live(panel.lines, quiet=as_json):
            session = replace(options.session(recipe, concurrency=concurrency), watch=panel.watch)
            rows = session.run(retry=retry, begin=panel.begin)
        _report(recipe, rows, as_json=as_json)

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

    rows = options.session(recipe).status()
    if as_json:
        print_json(rows)
        return
    _state_table(rows)
    for place in rows[0]["damaged"]:
        what = f"the answer to request {place['key']}" if place["key"] else "a stretch of unknown content"
        say(f"damaged: {place['file']}, byte {place['offset']:,}: {what}")
    if rows[0]["damaged"]:
        say(f"fix: restore these files from a backup; or vldata synth run {recipe} requests, and pays for, them again")


@synth_app.command("show")
@dataclasses_as_options
def synth_show(
    recipe: RecipeArg,
    only: Annotated[
        str | None, typer.Option("--only", help="'kept', a reason such as 'leak', or the row of a sample.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most N of each source.")] = 3,
    options: SynthCommandOptions = SynthCommandOptions(),
    as_json: JsonOption = False,
) -> None:
    """Show prompts, replies, and the turns and findings of these, side by side."""
    from vldata.cli.terminal import heading, say, table

    rows = options.session(recipe).show(only=only, limit=limit)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        heading(f"{row['source']}  {row['row']}  {row['verdict']}" + (f": {row['detail']}" if row["detail"] else ""))
        prompt = _content(row["messages"][-1]["content"]) if row["messages"] else "(nothing)"
        verdicts = []
        for number, turn in enumerate(row["turns"], start=1):
            verdicts.append(f"turn {number} {'kept' if turn['kept'] else 'lost'}: {turn['question']}")
            verdicts.append(f"  {turn['answer']}")
        for finding in row["findings"]:
            place = "reply" if finding["exchange"] is None else f"turn {finding['exchange'] + 1}"
            verdicts.append(f"finding: {place}: {finding['reason']} ({finding['policy']}) {finding['detail']}")
        cells = [f"user:\n{prompt}", f"assistant:\n{row['reply'] or '(nothing yet)'}", "\n".join(verdicts)]
        table(("prompt", "reply", "turns and findings"), [cells])
        say()
    if not rows:
        say("nothing to show")


def _report(recipe: Path, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """What a run did, and why it stopped if it did."""
    from vldata.cli.terminal import fail, say

    stopped = next((row["stopped"] for row in rows if row["stopped"]), None)
    if as_json:
        print_json(rows)
    else:
        _state_table(rows)
        for row in rows:
            failed = ", ".join(f"{name} {count:,}" for name, count in row["failed"].items())
            given_up = f"; given up: {failed}" if failed else ""
            say(f"{row['source']}: {row['answered']:,} answered for {_spent(row)}{given_up}")
    if stopped is not None:
        from vldata.llm.endpoint import EndpointError

        fail(EndpointError(stopped["where"], stopped["problem"], stopped["fix"]))
        raise typer.Exit(130 if stopped["reason"] == "interrupted" else 2)
    if not as_json:
        say(f"next: vldata synth status {recipe}   or   vldata build {recipe} --out OUT")


def _state_table(rows: list[dict[str, Any]]) -> None:
    from vldata.cli.terminal import say, table

    columns = ("source", "samples", "draws", "kept", "turns", "pending", "dropped", "cost USD")
    table(
        columns,
        [
            [
                row["source"],
                *(f"{row[name]:,}" for name in ("samples", "draws", "kept", "turns", "wanting")),
                f"{sum(row['dropped'].values()):,}",
                f"{row['cost_usd']:.4f}" + ("+?" if row["unpriced_attempts"] else ""),
            ]
            for row in rows
        ],
    )
    for row in rows:
        _say_rejected(row)
        for reason, count in row["dropped"].items():
            say(f"{row['source']}: {count:,} dropped: {reason}")
        for reason, count in row["marked"].items():
            say(f"{row['source']}: {count:,} kept with a mark: {reason}")
        if row["repaired"]:
            counts = ", ".join(f"{name} {count:,}" for name, count in row["repaired"].items())
            say(f"{row['source']}: repaired: {counts}")


def _spent(row: dict[str, Any]) -> str:
    unknown = f" and {row['unpriced_requests']:,} requests of unknown price" if row["unpriced_requests"] else ""
    return f"{row['spent_usd']:.4f} USD{unknown}"


def _say_rejected(row: dict[str, Any]) -> None:
    from vldata.cli.terminal import say

    for reason, count in row["rejected"].items():
        say(f"{row['source']}: {count:,} turns that it is made from are rejected and not sent: {reason}")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:,.4f} USD"


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or f"[image {part.get('hash', '')}]" for part in content)
