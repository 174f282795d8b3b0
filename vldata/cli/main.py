"""The commands: each parses, calls one function, prints, and sets the exit code.

Exit codes: 0 done, 1 a bug of vldata's (with a traceback), 2 something the user can fix.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vldata import __version__
from vldata.cli.ablate import ablate_app
from vldata.cli.build import build, check, plan
from vldata.cli.look import diff, export, preview, verify, why
from vldata.cli.report import report
from vldata.cli.start import formats, init, schema, standin
from vldata.cli.store import store_app
from vldata.cli.synth import synth_app
from vldata.cli.synth_batch import add_batch_commands
from vldata.cli.synth_budget import add_budget_command
from vldata.cli.synth_review import add_review_commands
from vldata.cli.train import add_train_commands
from vldata.cli.tune import tune
from vldata.errors import VldataError


class _Commands(TyperGroup):
    """Commands that Ctrl-C stops; Typer alone would leave without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stderr.write("stopped; what was finished is kept, run the command again to go on\n")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Build, ablate and rebuild the data that vision-language models are trained on.",
)
app.add_typer(store_app, name="store")
app.add_typer(synth_app, name="synth")
app.add_typer(ablate_app, name="ablate")


def main() -> None:
    """Run a command; what the user can fix is one block on stderr and exit code 2."""
    try:
        app(standalone_mode=True)
    except VldataError as error:
        from vldata.cli.terminal import fail

        fail(error)
        sys.exit(2)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"vldata {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# the help page lists commands in this order
for command in (build, plan, check, preview, verify, diff, why, formats, schema, standin, init, export, report):
    app.command()(command)
add_train_commands(app)
app.command()(tune)
add_batch_commands(synth_app)
add_review_commands(synth_app)
add_budget_command(synth_app)

if __name__ == "__main__":
    main()
