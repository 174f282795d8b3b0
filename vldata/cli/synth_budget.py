"""`vldata synth budget`: what was spent, what of it is in doubt and why, and the end of such doubts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vldata.cli.options import JsonOption, RecipeArg, dataclasses_as_options, print_json
from vldata.cli.synth import SynthCommandOptions

SettleOption = Annotated[
    float | None,
    typer.Option("--settle", min=0, help="USD that your provider billed for all that is in doubt; 0: nothing."),
]


def add_budget_command(synth_app: typer.Typer) -> None:
    """Add the command of this module to ``vldata synth``."""
    synth_app.command("budget")(dataclasses_as_options(budget))


def budget(
    recipe: RecipeArg, options: SynthCommandOptions, settle: SettleOption = None, as_json: JsonOption = False
) -> None:
    """Say what was spent, what of it is in doubt and why; --settle books what the provider really billed."""
    from vldata.cli.terminal import say, table
    from vldata.generate.budgets import budget_rows
    from vldata.generate.budgets import settle as book

    session = options.session(recipe)
    if settle is not None:
        book(session, settle)
    rows = budget_rows(session)
    if as_json:
        print_json(rows)
        return
    columns = ("source", "spent USD", "of these in doubt", "limit", "requests", "tokens")
    table(columns, [_cells(row) for row in rows])
    for row in rows:
        for doubt in row["doubts"]:
            of = f" of {doubt['requests']:,} requests" if doubt["requests"] else ""
            say(f"{row['source']}: {doubt['usd']:.4f} USD{of} in doubt: {doubt['why']}: {doubt['says']}")
        if row["unpriced_requests"]:
            say(f"{row['source']}: {row['unpriced_requests']:,} requests at a price that is not known are not counted")
    if any(doubt["why"] != "batches" for row in rows for doubt in row["doubts"]):
        say(f"look at your provider's bill, then: vldata synth budget {recipe} --settle USD")


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["source"],
        f"{row['spent_usd']:.4f}",
        f"{row['in_doubt_usd']:.4f}",
        "none" if row["max_usd"] is None else f"{row['max_usd']:.4f}",
        _of(row["requests"], row["max_requests"]),
        _of(row["tokens"], row["max_tokens"]),
    ]


def _of(number: int, limit: int | None) -> str:
    return f"{number:,}" if limit is None else f"{number:,} of {limit:,}"
