"""`vldata report`: the page of a build, of two builds side by side, or of an ablation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vldata.base import size
from vldata.cli.options import JsonOption, at_home, print_json
from vldata.errors import BuildError


def report(
    folder: Annotated[
        Path, typer.Argument(help="A build, an ablation, a tuning.", show_default=False, callback=at_home)
    ],
    other: Annotated[
        Path | None, typer.Argument(help="A build to compare it with.", show_default=False, callback=at_home)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file; report.html in the folder where none is named.", callback=at_home),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a page to look at: of a build, of two builds side by side, of an ablation or of a tuning."""
    from vldata.cli.terminal import say
    from vldata.report.write import write_report

    if other is not None and out is None:
        raise BuildError(
            "--out", "a page that compares two builds belongs to neither", "name a file: --out compare.html"
        )
    written = write_report(folder, other, out)
    num_bytes = written.stat().st_size
    if as_json:
        print_json({"out": str(written), "size_bytes": num_bytes})
    else:
        say(f"wrote {written} ({size(num_bytes)}); open it in a browser")
