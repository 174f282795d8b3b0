"""The README says what is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml
from readme_commands import commands

from vldata.cli.main import app
from vldata.llm.endpoint import load_endpoints
from vldata.recipe.load import from_tree

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_there_are_exactly_two_set_up_commands() -> None:
    first, second = commands()
    assert "vldata build quickstart" in first
    assert "pytest" in second


def test_the_recipes_and_the_configuration_in_it_load(tmp_path: Path) -> None:
    recipe, synthetic, endpoints = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert list(from_tree(yaml.safe_load(recipe)).entries) == ["captions", "scienceqa", "refs", "mine"]
    chat = from_tree({"name": "chat", **yaml.safe_load(synthetic)}).entries["chat"]
    assert chat.synth is not None
    (tmp_path / "config.yaml").write_text(endpoints)
    endpoint = load_endpoints({"VLDATA_CONFIG": str(tmp_path / "config.yaml")})["openai"]
    assert chat.synth.model in endpoint.prices


@pytest.mark.parametrize("line", re.findall(r"^\$ (vldata [^#\n]*)", README, flags=re.MULTILINE))
def test_every_command_in_it_is_one(line: str) -> None:
    words = shlex.split(line)
    command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_folder_it_names_exists() -> None:
    for name in re.findall(r"`((?:vldata|templates|recipes)/[\w/.-]*)`", README):
        assert (Path(__file__).parents[1] / name).exists(), name


def test_every_command_of_the_program_has_help() -> None:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.help, name
