"""What the commands of `vldata synth` say to people: draws side by side, states, costs, and how a run ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vldata.cli.options import print_json

if TYPE_CHECKING:  # too much to load for a help page
    from vldata.generate.session import SynthSession


def say_draw(row: dict[str, Any]) -> None:
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


def report(recipe: Path, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """What a run did, why it stopped if it did, and that something was given up."""
    from vldata.cli.terminal import fail, say
    from vldata.llm.endpoint import EndpointError

    stopped = next((row["stopped"] for row in rows if row["stopped"]), None)
    if as_json:
        print_json(rows)
    else:
        state_table(rows)
        for row in rows:
            failed = ", ".join(f"{name} {count:,}" for name, count in row["failed"].items())
            given_up = f"; given up: {failed}" if failed else ""
            say(f"{row['source']}: {row['answered']:,} answered for {_spent(row)}{given_up}")
            for url, counts in row["servers"].items() if len(row["servers"]) > 1 else ():
                attempts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
                say(f"{row['source']}: {url}: attempts {attempts}")
            say_said(row)
            if row["reasks"]:
                fix = f"vldata synth run {recipe} --re-ask"
                say(f"{row['source']}: {row['reasks']:,} replies do not pass their checks; to ask again: {fix}")
            if row["example"]:
                say_draw({"source": row["source"], **row["example"]})
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


def state_table(rows: list[dict[str, Any]]) -> None:
    """A line of numbers for each source, and every reason below it."""
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
        say_rejected(row)
        for reason, count in row["pending"].items():
            say(f"{row['source']}: {count:,} pending: {reason}: {says(reason)}")
        for reason, count in row["dropped"].items():
            say(f"{row['source']}: {count:,} dropped: {reason}")
        for reason, count in row["marked"].items():
            say(f"{row['source']}: {count:,} kept with a mark: {reason}")
        if row["repaired"]:
            counts = ", ".join(f"{name} {count:,}" for name, count in row["repaired"].items())
            say(f"{row['source']}: repaired: {counts}")


def say_said(row: dict[str, Any]) -> None:
    """One example of the server's own words for each class of fault."""
    from vldata.cli.terminal import say

    for name, words in row["said"].items():
        say(f"{row['source']}: {name}, for example: {words}")


def say_missing(session: SynthSession) -> list[str]:
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


def say_rejected(row: dict[str, Any]) -> None:
    """What a source is not made from, and why."""
    from vldata.cli.terminal import say

    for reason, count in row["rejected"].items():
        say(f"{row['source']}: {count:,} turns that it is made from are rejected and not sent: {reason}")
    for reason, count in row["unusable"].items():
        say(f"{row['source']}: {count:,} samples are left out, and nothing is sent about them: {reason}")


def say_reasks(row: dict[str, Any], recipe: Path) -> None:
    """What `--re-ask` would send on top."""
    from vldata.cli.terminal import say

    again = row["reasks"]
    if again["to_send"]:
        why = ", ".join(f"{reason} {count:,}" for reason, count in again["why"].items())
        cost = in_usd(again["cost_usd"]["expected"])
        say(f"{row['source']}: {again['to_send']:,} more with `vldata synth run {recipe} --re-ask`, {cost}: {why}")


def in_usd(amount: float | None) -> str:
    """An amount for people; None: unknown."""
    return "unknown" if amount is None else f"{amount:,.4f} USD"


def sum_in_usd(rows: list[dict[str, Any]], part: int) -> str:
    """The lowest (0) or highest (1) cost of all sources, with what may follow."""
    costs = [row["cost_usd"]["max" if part else "low"] for row in rows]
    costs += [row["later"]["cost_usd"][part] for row in rows if row["later"] is not None]
    return "unknown" if None in costs else in_usd(sum(costs))


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or f"[image {part.get('hash', '')}]" for part in content)
