"""The README says what is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml
from readme_commands import commands

from vldata.app import app
from vldata.recipe.load import from_tree

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_there_are_exactly_two_set_up_commands() -> None:
    first, second = commands()
    assert "vldata build quickstart" in first
    assert "pytest" in second


def test_the_recipe_in_it_loads() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    recipe = from_tree(yaml.safe_load(text))
    assert list(recipe.entries) == ["captions", "scienceqa", "refs", "mine"]


@pytest.mark.parametrize("line", re.findall(r"^\$ (vldata [^#\n]*)", README, flags=re.MULTILINE))
def test_every_command_in_it_is_one(line: str) -> None:
    words = shlex.split(line)
    command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_folder_it_names_exists() -> None:
    for name in re.findall(r"`((?:vldata|templates|recipes)/[\w/.-]*)`", README):
        assert (Path(__file__).parents[1] / name).exists(), name


def test_every_command_of_the_program_has_help() -> None:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.help, name
