"""Arguments and options that several commands share."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

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
AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers", help="Where answers are kept for ever ($VLDATA_ANSWERS, else .vldata/answers).", callback=at_home
    ),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Processes (one for each core).")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="key.path=value, wins over the recipe.")]
StandinOption = Annotated[int | None, typer.Option("--standin", min=1, help="Replace sources by stand-ins of N turns.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most N samples in all, same proportions.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@dataclass(frozen=True)
class BuildOptions:
    """What a recipe is built with, the recipe's own keys among it."""

    store: StoreOption = None
    workers: WorkersOption = None
    set_: SetOption = None
    standin: StandinOption = None
    limit: LimitOption = None
    answers: AnswersOption = None

    def how(self) -> dict[str, Any]:
        """All but the recipe's keys, as `vldata.build` and `vldata.plan` take it."""
        return {name: value for name, value in vars(self).items() if name != "set_"}


def dataclasses_as_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer, which sees each field of a parameter that is a dataclass as a parameter of its own."""
    parameters: list[inspect.Parameter] = []
    fields: dict[str, tuple[Any, list[str]]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        is_group = isinstance(kind, type) and is_dataclass(kind)
        own = list(inspect.signature(kind, eval_str=True).parameters.values()) if is_group else []
        if own:
            fields[parameter.name] = kind, [field.name for field in own]
        parameters += own or [parameter]

    @wraps(command)
    def run(**given: Any) -> None:
        for name, (make, names) in fields.items():
            given[name] = make(**{field: given.pop(field) for field in names})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def print_json(value: Any) -> None:
    """For scripts: the one thing on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
