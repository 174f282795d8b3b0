"""Arguments and options that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from vldata.paths import home


def at_home(path: Path | None) -> Path | None:
    """The path with a leading ``~`` as the home folder, which no shell does in ``--out=~/x``, nor a script."""
    return path and home(path)


# In help, square brackets would be markup.
RecipeArg = Annotated[
    Path, typer.Argument(help="A recipe file, or the name of a bundled one.", show_default=False, callback=at_home)
]
BuildArg = Annotated[Path, typer.Argument(help="A build folder.", show_default=False, callback=at_home)]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write.", show_default=False, callback=at_home)]
StoreOption = Annotated[
    Path | None,
    typer.Option("--store", help="Where blocks are kept ($VLDATA_STORE, else .vldata/store).", callback=at_home),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Processes (one for each core).")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="key.path=value, wins over the recipe.")]
StandinOption = Annotated[
    int | None, typer.Option("--standin", min=1, help="Replace sources by stand-ins of so many turns.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many samples in all, same proportions.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def print_json(value: Any) -> None:
    """For scripts: the one thing on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each dataclass among its parameters replaced by the options that are its fields.

    Commands that share options say them once, as such a class; Typer reads the signature that is written here.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        of = signature(groups[name]).parameters if name in groups else {name: parameter}
        types = get_type_hints(groups[name], include_extras=True) if name in groups else hints
        parameters += [one.replace(annotation=types[key], kind=Parameter.KEYWORD_ONLY) for key, one in of.items()]

    def call(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{one.name: values.pop(one.name) for one in fields(group)})
        command(**values)

    call.__doc__, call.__name__ = command.__doc__, command.__name__
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return call
