"""`vldata synth`: the commands that send requests to models, and look at the replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from vldata.cli.signals import sigterm_as_interrupt
from vldata.cli.synth_panel import Panel

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
                *(_usd(row["cost_usd"][part]) for part in ("low", "expected", "max")),
            ]
            for row in rows
        ],
    )
    _say_missing(session)
    for row in rows:
        _say_rejected(row)
        for why, count in row["why_new"].items():
            say(f"{row['source']}: {count:,} new: {why}")
        if row["refused"]:
            say(f"{row['source']}: {row['refused']:,} refused for good and not sent: vldata synth retry {recipe}")
        _say_reasks(row, recipe)
        if row["to_send"]:
            tokens = row["tokens"]
            most = "no limit" if tokens["max"] is None else f"at most {tokens['max']:,} in all"
            about = f"about {tokens['prompt']:,} + {tokens['answers']:,} tokens, {most} ({tokens['basis']})"
            say(f"{row['source']}: {about}")
            if row["cost_usd"]["expected"] is None:
                say(f"{row['source']}: the price of {row['model']!r} is unknown: add it to your configuration")
        if (later := row["later"]) is not None:
            after = " and ".join(f"`{name}`" for name in later["after"])
            most = _usd(later["cost_usd"][1])
            say(f"{row['source']}: 0 to {later['requests'][1]:,} more once {after} is answered, at most {most}")
    if len(rows) > 1:
        low, most = (_sum_usd(rows, part) for part in (0, 1))
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
                _say_missing(session)
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
    from vldata.generate.budgets import with_words

    session = options.session(recipe)
    rows = [with_words(session, row) for row in session.status()]
    if as_json:
        print_json(rows)
        return
    _state_table(rows)
    for row in rows:
        _say_said(row)
    missing = _say_missing(session)
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
        _say_draw(row)
    if not rows:
        say("nothing to show")


def _say_draw(row: dict[str, Any]) -> None:
    """Prompt, reply, and what was read of it, side by side."""
    from vldata.cli.terminal import heading, say, table

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


def _report(recipe: Path, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """What a run did, why it stopped if it did, and that something was given up."""
    from vldata.cli.terminal import fail, say
    from vldata.llm.endpoint import EndpointError

    stopped = next((row["stopped"] for row in rows if row["stopped"]), None)
    if as_json:
        print_json(rows)
    else:
        _state_table(rows)
        for row in rows:
            failed = ", ".join(f"{name} {count:,}" for name, count in row["failed"].items())
            given_up = f"; given up: {failed}" if failed else ""
            say(f"{row['source']}: {row['answered']:,} answered for {_spent(row)}{given_up}")
            for url, counts in row["servers"].items() if len(row["servers"]) > 1 else ():
                attempts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
                say(f"{row['source']}: {url}: attempts {attempts}")
            _say_said(row)
            if row["reasks"]:
                fix = f"vldata synth run {recipe} --re-ask"
                say(f"{row['source']}: {row['reasks']:,} replies do not pass their checks; to ask again: {fix}")
            if row["example"]:
                _say_draw({"source": row["source"], **row["example"]})
    if stopped is not None:
        fail(EndpointError(stopped["where"], stopped["problem"], stopped["fix"].replace("RECIPE", str(recipe))))
        raise typer.Exit(130 if stopped["reason"] == "interrupted" else 2)
    if not as_json:
        say(f"next: vldata synth status {recipe}   or   vldata build {recipe} --out OUT")
    if any(_given_up(row) for row in rows):
        if not as_json:
            say(f"some rows were given up: `vldata synth status {recipe}` says why, and this ends with 2")
        raise typer.Exit(2)


def _given_up(row: dict[str, Any]) -> bool:
    """Whether rows were given up, by this run or, for good, by an earlier one."""
    return bool(row["failed"]) or bool(row["pending"].keys() - {"never_sent", "in_batch", "awaits_judge"})


def _state_table(rows: list[dict[str, Any]]) -> None:
    from vldata.cli.terminal import say, table
    from vldata.generate.pending import says

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
        for reason, count in row["pending"].items():
            say(f"{row['source']}: {count:,} pending: {reason}: {says(reason)}")
        for reason, count in row["dropped"].items():
            say(f"{row['source']}: {count:,} dropped: {reason}")
        for reason, count in row["marked"].items():
            say(f"{row['source']}: {count:,} kept with a mark: {reason}")
        if row["repaired"]:
            counts = ", ".join(f"{name} {count:,}" for name, count in row["repaired"].items())
            say(f"{row['source']}: repaired: {counts}")


def _say_said(row: dict[str, Any]) -> None:
    """One example of the server's own words for each class of fault."""
    from vldata.cli.terminal import say

    for name, words in row["said"].items():
        say(f"{row['source']}: {name}, for example: {words}")


def _say_missing(session: SynthSession) -> list[str]:
    """Files of the answer store that are gone."""
    from vldata.cli.terminal import say
    from vldata.generate.budgets import missing_files

    missing = missing_files(session)
    for name in missing:
        say(f"missing: {name}: restore it from a backup, or all answers in it are requested, and paid for, again")
    return missing


def _spent(row: dict[str, Any]) -> str:
    unknown = f" and {row['unpriced_requests']:,} requests of unknown price" if row["unpriced_requests"] else ""
    return f"{row['spent_usd']:.4f} USD{unknown}"


def _say_rejected(row: dict[str, Any]) -> None:
    from vldata.cli.terminal import say

    for reason, count in row["rejected"].items():
        say(f"{row['source']}: {count:,} turns that it is made from are rejected and not sent: {reason}")
    for reason, count in row["unusable"].items():
        say(f"{row['source']}: {count:,} samples are left out, and nothing is sent about them: {reason}")


def _say_reasks(row: dict[str, Any], recipe: Path) -> None:
    from vldata.cli.terminal import say

    again = row["reasks"]
    if again["to_send"]:
        why = ", ".join(f"{reason} {count:,}" for reason, count in again["why"].items())
        cost = _usd(again["cost_usd"]["expected"])
        say(f"{row['source']}: {again['to_send']:,} more with `vldata synth run {recipe} --re-ask`, {cost}: {why}")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:,.4f} USD"


def _sum_usd(rows: list[dict[str, Any]], part: int) -> str:
    """The lowest (0) or highest (1) cost of all sources, with what may follow."""
    costs = [row["cost_usd"]["max" if part else "low"] for row in rows]
    costs += [row["later"]["cost_usd"][part] for row in rows if row["later"] is not None]
    return "unknown" if None in costs else _usd(sum(costs))


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or f"[image {part.get('hash', '')}]" for part in content)
