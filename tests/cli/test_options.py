"""Options that several commands share, and the order in which help lists commands and options."""

from __future__ import annotations

import typer
from typer.main import get_command
from typer.testing import CliRunner

from vldata.cli.main import app
from vldata.cli.options import BuildOptions, JsonOption, RecipeArg, dataclasses_as_options

COMMANDS = "build plan check preview verify diff why formats schema standin init export report train eval tune"


def test_help_lists_commands_in_the_order_of_their_use() -> None:
    assert " ".join(get_command(app).commands) == f"{COMMANDS} store synth ablate"  # type: ignore[attr-defined]


def test_help_lists_the_fields_of_a_dataclass_where_it_stands_among_the_parameters() -> None:
    build = get_command(app).commands["build"]  # type: ignore[attr-defined]
    names = "recipe out store workers set_ standin limit answers locked page as_json help"
    assert " ".join(parameter.name for parameter in build.get_params(typer.Context(build))) == names


def test_a_dataclass_is_filled_from_its_options() -> None:
    given: list[object] = []

    def command(recipe: RecipeArg, options: BuildOptions, as_json: JsonOption = False) -> None:
        given.extend([str(recipe), options, as_json])

    small = typer.Typer()
    small.command()(dataclasses_as_options(command))
    words = ["r.yaml", "--workers", "3", "--set", "seed=1", "--set", "name=a", "--limit", "9", "--json"]
    assert CliRunner().invoke(small, words).exit_code == 0
    assert given == ["r.yaml", BuildOptions(workers=3, set_=["seed=1", "name=a"], limit=9), True]


def test_everything_but_the_recipe_s_keys_goes_to_the_build() -> None:
    how = BuildOptions(set_=["seed=1"], standin=20).how()
    assert how == {"store": None, "workers": None, "standin": 20, "limit": None, "answers": None}
