"""`vldata ablate` and `vldata ablate plan`, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from vldata.cli.ablate import _show, _show_plan, ablate_app
from vldata.cli.main import app
from vldata.errors import VldataError

Tree = dict[str, Any]
Ask = Callable[..., str]


@pytest.fixture
def file(tree: Tree, command: Callable[..., Tree], tmp_path: Path) -> Path:
    axes = {"drop": ["captions"], "total": [120]}
    data = {"name": "typed", "base": tree, "held": "counts", "seeds": 3, "axes": axes, "train": command()}
    (tmp_path / "typed.yaml").write_text(yaml.safe_dump(data))
    return tmp_path / "typed.yaml"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("commands") / "store")


def ask(*words: object, code: int = 0) -> str:
    """What a command prints."""
    result = CliRunner().invoke(app, ["ablate", *map(str, words)], catch_exceptions=True)
    if isinstance(result.exception, VldataError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_the_plan_lists_variants_and_what_they_share(file: Path, store: str) -> None:
    text = ask("plan", file, "--store", store, "--workers", 1)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["drop-captions"][0] == "90" and rows["drop-captions"][1] == "0"
    assert rows["total-120"][:3] == ["same", "as", "base"]
    assert "trainings" in text and "the base alone" in text
    table = json.loads(ask("plan", file, "--store", store, "--workers", 1, "--json"))
    assert [one["name"] for one in table["variants"]] == ["base", "drop-captions", "total-120"]
    assert table["seconds_per_training"] is None and table["steps"] is None  # a command says nothing of its cost


@pytest.mark.parametrize(
    ("train", "cost"),
    [
        ({}, (600, 600 * 1024)),
        ({"steps": 40, "set": ["pack_tokens=512", "stages.0.packs_per_step=2"]}, (40, 40 * 2 * 512)),
        ({"preset": "s222"}, (None, None)),  # an epoch of data whose length is not known yet
    ],
)
def test_the_plan_says_what_the_bundled_trainer_will_read(
    tree: Tree, store: str, tmp_path: Path, train: Tree, cost: tuple[int | None, int | None]
) -> None:
    (tmp_path / "a.yaml").write_text(
        yaml.safe_dump({"name": "a", "base": tree, "axes": {"total": [60]}, "train": train})
    )
    table = json.loads(ask("plan", tmp_path / "a.yaml", "--store", store, "--workers", 1, "--json"))
    assert (table["steps"], table["tokens_per_training"]) == cost


def test_it_runs_and_shows_a_table(file: Path, store: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = ask(file, "--out", out, "--store", store, "--workers", 1)
    worse = next(line for line in text.splitlines() if line.startswith("drop-captions") and " caption " in line)
    assert worse.rstrip().endswith("worse")
    assert "total-120: the same data as base, run once" in text
    assert "the base against itself" in text
    again = json.loads(ask("--out", out, file, "--store", store, "--workers", 1, "--json"))
    assert again == json.loads((out / "results.json").read_text())
    planned = json.loads(ask("plan", file, "--out", out, "--store", store, "--workers", 1, "--json"))
    assert planned["finished"] == 9 and planned["seconds_per_training"] > 0


def test_failures_and_what_is_missing_are_shown(
    tree: Tree, command: Callable[..., Tree], store: str, tmp_path: Path
) -> None:
    train = command("fail=drop-captions/0")
    data = {"name": "f", "base": tree, "held": "counts", "axes": {"drop": ["captions"]}, "train": train}
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(data))
    words = ("--store", store, "--seeds", 1, "--workers", 1)
    text = ask(tmp_path / "f.yaml", "--out", tmp_path / "out", *words, code=2)
    assert "failed: drop-captions, seed 0, train: reading the data\nout of memory\nexit code 1" in text
    assert "missing: drop-captions, caption, rec, vqa_open: every training failed" in text


def test_what_data_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    harm = "a \x1b[2J\u202e b"
    text = {
        "name": "x",
        "seeds": [0],
        "base_seeds": [0],
        "comparisons": [],
        "noise": [],
        "variants": [],
        "failed": [{"variant": harm, "seed": 0, "stage": "train", "error": harm}],
        "missing": [{"variant": "v", "task": harm, "why": harm}],
        "notes": [harm],
    }
    _show(text, Path("out"))
    _show_plan({**text, "trainings": 1, "failed": [{"variant": harm, "error": harm}]})
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u202e" not in said
    assert said.count("a \\x1b[2J\\u202e b") == 8


def test_the_plan_refuses_an_unreadable_command(file: Path, store: str) -> None:
    with pytest.raises(VldataError, match=r"train\.command"):
        ask("plan", file, "--store", store, "--workers", 1, "--set", "train.command=train {buidl}")


def test_no_more_trainings_are_done_than_there_are(file: Path, store: str, tmp_path: Path) -> None:
    for number in range(22):
        cell = tmp_path / "out" / "cells" / str(number)
        cell.mkdir(parents=True)
        (cell / "done.json").write_text('{"seconds": {"train": 60}}')
    text = ask("plan", file, "--out", tmp_path / "out", "--store", store, "--workers", 1)
    assert "9 are done, 60 s each: about 0 min left" in text


def test_the_file_can_be_changed_from_the_command_line(file: Path, store: str) -> None:
    words = ("plan", file, "--store", store, "--workers", 1, "--json", "--variant", "drop-boxes")
    table = json.loads(ask(*words, "--set", "axes.drop=[boxes]", "--set", "seeds=4", "--set", "axes.total=null"))
    assert [one["name"] for one in table["variants"]] == ["base", "drop-boxes"]
    assert table["seeds"] == 4


def test_an_error_names_the_place_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("name: x\nbase: quickstart\naxes: {totl: [3]}\n")
    with pytest.raises(VldataError, match=r"axes\.totl: unknown key\n  fix: did you mean 'total'"):
        ask("plan", tmp_path / "x.yaml")


def test_the_schema_is_for_editors() -> None:
    assert {"base", "axes", "held", "train"} <= set(json.loads(ask("schema"))["properties"])


def test_options_that_commands_share_are_each_one_s_own() -> None:
    tune = get_command(app).commands["tune"].params  # type: ignore[attr-defined]
    shared = ["--out", "--store", "--workers", "--set"]
    assert [one.opts[0] for one in tune] == ["file", *shared, "--runs", "--jobs", "--json"]
    run = get_command(ablate_app).commands["run"].params  # type: ignore[attr-defined]
    own = ["--seeds", "--variant", "--jobs", "--builds-only", "--json"]
    assert [one.opts[0] for one in run] == ["file", *shared, *own]
    assert [one.name for one in run if one.required] == ["file", "out"]


def test_its_help_names_both_spellings() -> None:
    text = ask("--help")
    assert "plan" in text and "run" in text


@pytest.mark.parametrize(
    ("data", "where"), [({"evaluate": {"split": "vall"}}, "evaluate.split"), ({"data_seeds": 2}, "data_seeds")]
)
def test_the_plan_refuses_what_a_run_would(tree: Tree, store: str, tmp_path: Path, data: Tree, where: str) -> None:
    ablation = {"name": "a", "base": tree, "seeds": 3, "axes": {"total": [60]}, "train": {"command": "true"}, **data}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(ablation))
    with pytest.raises(VldataError) as text:
        ask("plan", tmp_path / "a.yaml", "--store", store, "--workers", 1)
    assert text.value.where == where
