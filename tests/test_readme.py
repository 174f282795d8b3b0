"""The README says what is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml
from PIL import Image
from readme_commands import commands

from vldata import build
from vldata.cli.main import app
from vldata.llm.endpoint_specs import load_endpoints
from vldata.recipe.load import from_tree, load
from vldata.recipe.models import Settings
from vldata.sources import format_names, source_class

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_there_are_exactly_two_set_up_commands() -> None:
    first, second = commands()
    assert "vldata build quickstart" in first
    assert "pytest" in second


def test_the_recipes_and_the_configuration_in_it_load(tmp_path: Path) -> None:
    recipe, _, synthetic, endpoints, chain = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert list(from_tree(yaml.safe_load(recipe)).entries) == ["captions", "scienceqa", "refs", "mine"]
    chat = from_tree({"name": "chat", **yaml.safe_load(synthetic)}).entries["chat"]
    assert chat.synth is not None
    (tmp_path / "config.yaml").write_text(endpoints)
    found = load_endpoints({"VLDATA_CONFIG": str(tmp_path / "config.yaml")})
    assert chat.synth.model in found["openai"].prices
    assert len(found["lab"].servers) == 2
    tree = yaml.safe_load(chain)
    tree["sources"]["photos"] = {"format": "shapes", "task": "caption", "scenes": 9}
    assert from_tree({"name": "chain", **tree}).entries["judged"].settings.where == "score >= 4"


def test_its_options_read_the_rows_that_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each source of the second recipe, the files in the comments before it are written and read with it."""
    _, options, *_ = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name, row in re.findall(r"# (\S+): (.*)", options):
        (tmp_path / name).write_text(f"{row}\n")
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "options.yaml").write_text(f"name: options\n{options}")
    recipe = load("options.yaml")
    turns = {name: entry.source.turns(entry.task.name).row(0, named=True) for name, entry in recipe.entries.items()}
    assert {name for name, turn in turns.items() if turn.get("problem")} == set()
    box = turns["screens"]["boxes"][0]
    assert (turns["screens"]["row"], turns["screens"]["phrase"]) == ("s1/0", "OK")
    assert [box[side] for side in ("x0", "y0", "x1", "y1")] == [10, 20, 40, 28]
    assert (turns["quiz"]["choices"], turns["quiz"]["answer"]) == (["2", "3"], 1)
    assert (turns["scored"]["caption"], turns["scored"]["score"], turns["scored"]["lang"]) == ("a red cup", 0.9, "en")
    assert (turns["chat"]["response"], turns["chat"]["images"]) == ("A cup.", ["a.png"])
    manifest = build(recipe, tmp_path / "out", store=tmp_path / "store", workers=1).manifest
    assert {name: source["rows_out"] for name, source in manifest["sources"].items()} == dict.fromkeys(turns, 1)


def test_every_option_in_its_table_is_one() -> None:
    named = {*re.findall(r"^\| `(\w+)` +\| ", README, flags=re.MULTILINE)}
    known = {*Settings.model_fields}.union(*(source_class(name).model_fields for name in format_names()))
    assert len(named) > 10
    assert named <= known


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
