"""`vldata synth`: the commands that ask models, and look at what they said."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from vldata.options import JsonOption, RecipeArg, SetOption, StandinOption, StoreOption, at_home, print_json

synth_app = typer.Typer(no_args_is_help=True, help="Make conversations with a model: plan, run, look, retry.")

AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers", help="Where answers are kept for ever ($VLDATA_ANSWERS, else .vldata/answers).", callback=at_home
    ),
]
SourceOption = Annotated[list[str] | None, typer.Option("--source", help="Only this synthetic source; repeatable.")]
EndpointOption = Annotated[
    str | None, typer.Option("--endpoint", help="URL to use in place of the configured ones, up to and with /v1.")
]
MaxUsdOption = Annotated[float | None, typer.Option("--max-usd", min=0, help="Spend at most so much in this run.")]
ConcurrencyOption = Annotated[int, typer.Option("--concurrency", min=1, max=1024, help="Requests under way at once.")]


@synth_app.command("plan")
def synth_plan(
    recipe: RecipeArg,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a run would ask, why, and what that would cost. Sends nothing."""
    from vldata.build.synth_run import Options, plan
    from vldata.recipe.load import load
    from vldata.terminal import say, table

    options = Options(names=source or (), standin=standin)
    rows = plan(load(recipe, set_ or []), store=store, answers=answers, options=options)
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
        for why, count in row["why_new"].items():
            say(f"{row['source']}: {count:,} new: {why}")
        if row["to_send"]:
            tokens = row["tokens"]
            most = "no limit" if tokens["max"] is None else f"at most {tokens['max']:,} in all"
            about = f"about {tokens['prompt']:,} + {tokens['answers']:,} tokens, {most} ({tokens['basis']})"
            say(f"{row['source']}: {about}")
            if row["cost_usd"]["expected"] is None:
                say(f"{row['source']}: the price of {row['model']!r} is unknown: add it to your configuration")
    say(f"next: vldata synth run {recipe}" if any(row["to_send"] for row in rows) else "nothing to ask")


@synth_app.command("run")
def synth_run(
    recipe: RecipeArg,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    endpoint: EndpointOption = None,
    max_usd: MaxUsdOption = None,
    concurrency: ConcurrencyOption = 64,
    as_json: JsonOption = False,
) -> None:
    """Ask for every answer that is wanting. What comes is kept at once; run it again to go on."""
    _run(recipe, store, answers, source, set_, standin, endpoint, max_usd, concurrency, as_json, retry=False)


@synth_app.command("retry")
def synth_retry(
    recipe: RecipeArg,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    endpoint: EndpointOption = None,
    max_usd: MaxUsdOption = None,
    concurrency: ConcurrencyOption = 64,
    as_json: JsonOption = False,
) -> None:
    """Ask again also for what the endpoint refused for good, such as by its content policy."""
    _run(recipe, store, answers, source, set_, standin, endpoint, max_usd, concurrency, as_json, retry=True)


@synth_app.command("status")
def synth_status(
    recipe: RecipeArg,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is there: draws kept, wanting and dropped, why, and what it cost."""
    from vldata.build.synth_run import Options, status
    from vldata.recipe.load import load

    options = Options(names=source or (), standin=standin)
    rows = status(load(recipe, set_ or []), store=store, answers=answers, options=options)
    if as_json:
        print_json(rows)
        return
    _state_table(rows)


@synth_app.command("show")
def synth_show(
    recipe: RecipeArg,
    only: Annotated[
        str | None, typer.Option("--only", help="'kept', a reason such as 'leak', or the row of a sample.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many of each source.")] = 3,
    store: StoreOption = None,
    answers: AnswersOption = None,
    source: SourceOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show prompts, replies, the turns read from them, and the verdicts."""
    from vldata.build.synth_run import Options, show
    from vldata.recipe.load import load
    from vldata.terminal import heading, say, visible

    options = Options(names=source or (), standin=standin)
    rows = show(load(recipe, set_ or []), store=store, answers=answers, options=options, only=only, limit=limit)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        heading(f"{row['source']}  {row['row']}  {row['verdict']}" + (f": {row['detail']}" if row["detail"] else ""))
        if row["messages"]:
            say("asked:")
            say(visible(_content(row["messages"][-1]["content"])))
        say("replied:")
        say(visible(row["reply"] or "(nothing yet)"))
        for number, turn in enumerate(row["turns"], start=1):
            say(f"turn {number} {'kept' if turn['kept'] else 'lost'}: {visible(turn['question'])}")
            say(f"  {visible(turn['answer'])}")
        for finding in row["findings"]:
            place = "reply" if finding["exchange"] is None else f"turn {finding['exchange'] + 1}"
            say(f"finding: {place}: {finding['reason']} ({finding['policy']}) {visible(finding['detail'])}")
        say()
    if not rows:
        say("nothing to show")


def _run(
    recipe: Path,
    store: Path | None,
    answers: Path | None,
    source: list[str] | None,
    set_: list[str] | None,
    standin: int | None,
    endpoint: str | None,
    max_usd: float | None,
    concurrency: int,
    as_json: bool,
    *,
    retry: bool,
) -> None:
    from vldata.build.synth_run import Options, run, spent_of
    from vldata.recipe.load import load
    from vldata.terminal import fail, live, say

    options = Options(endpoint=endpoint, max_usd=max_usd, concurrency=concurrency, names=source or (), standin=standin)
    panel = _Panel()
    with live(panel.lines, quiet=as_json):
        rows = run(
            load(recipe, set_ or []),
            store=store,
            answers=answers,
            options=options,
            retry=retry,
            watch=panel.watch,
            begin=panel.begin,
        )
    stopped = next((row["stopped"] for row in rows if row["stopped"]), None)
    if as_json:
        print_json(rows)
    else:
        _state_table(rows)
        for row in rows:
            failed = ", ".join(f"{name} {count:,}" for name, count in row["failed"].items())
            given_up = f"; given up: {failed}" if failed else ""
            say(f"{row['source']}: {row['answered']:,} answered for {spent_of(row)}{given_up}")
    if stopped is not None:
        from vldata.synth.endpoint import EndpointError

        fail(EndpointError(stopped["where"], stopped["problem"], stopped["fix"]))
        raise typer.Exit(130 if stopped["reason"] == "interrupted" else 2)
    if not as_json:
        say(f"next: vldata synth status {recipe}   or   vldata build {recipe} --out OUT")


class _Counts:
    """What the panel tells of one source."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.started = name, total, time.monotonic()
        self.seen: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.tokens, self.usd = 0, 0.0

    def add(self, event: Any) -> None:
        self.seen[event.kind] += 1
        if event.kind == "failed" and event.fault:
            self.faults[event.fault] += 1
        if event.usage is not None:
            self.tokens += event.usage.tokens
        self.usd += event.cost_usd or 0.0

    def line(self) -> str:
        asked = self.seen["answered"] + self.seen["failed"]
        done = asked + self.seen["hit"]
        rate = asked / max(1e-9, time.monotonic() - self.started)
        left = f", {max(0, self.total - done) / rate:,.0f} s left" if asked else ""
        failed = "".join(f", {count:,} {fault}" for fault, count in self.faults.items())
        return (
            f"{self.name}: {done:,} of {self.total:,} done ({self.seen['hit']:,} known), {self.seen['retry']:,} retries"
            f"{failed}; {rate:,.1f}/s{left}; {self.tokens:,} tokens, {self.usd:.4f} USD"
        )


class _Panel:
    """Lines that live while requests are under way, one a source."""

    def __init__(self) -> None:
        self.counts: dict[str, _Counts] = {}

    def begin(self, name: str, total: int) -> None:
        self.counts[name] = _Counts(name, total)

    def watch(self, name: str, event: Any) -> None:
        self.counts[name].add(event)

    def lines(self) -> str:
        return "\n".join(counts.line() for counts in self.counts.values())


def _state_table(rows: list[dict[str, Any]]) -> None:
    from vldata.terminal import say, table

    columns = ("source", "samples", "draws", "kept", "turns", "wanting", "dropped", "cost USD")
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
        for reason, count in row["dropped"].items():
            say(f"{row['source']}: {count:,} dropped: {reason}")
        for reason, count in row["marked"].items():
            say(f"{row['source']}: {count:,} kept with a mark: {reason}")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:,.4f} USD"


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or f"[image {part.get('hash', '')}]" for part in content)
