"""The commands as a user types them: what they print, and how they fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import pytest

from vldata.cli import terminal
from vldata.cli.main import main
from vldata.recipe.load import load
from vldata.recipe.start import write_start
from vldata.schema.reasons import FILTERED

CHECKOUT = Path(__file__).parents[2]
RECIPE = """
name: tiny
seed: 3
sources:
  a: {format: shapes, scenes: 20}
  b: {format: shapes, scenes: 20, task: vqa_mc}
"""


class Said(NamedTuple):
    returncode: str | int | None
    stdout: str
    stderr: str


def vldata(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    environment.pop("VLDATA_STORE", None)
    return subprocess.run(
        [sys.executable, str(CHECKOUT / "cli.py"), *arguments], cwd=cwd, capture_output=True, text=True, env=environment
    )


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Calls a command in this process, where none of its own is needed: one starts in a second."""

    def call(*arguments: str, cwd: Path) -> Said:
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.delenv("VLDATA_STORE", raising=False)
        monkeypatch.setattr(sys, "argv", ["vldata", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Said(ended.value.code, out, err)

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = vldata("build", "recipe.yaml", "--out", "out", "--workers", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_build_ends_with_a_table_and_what_to_do_next(place: Path) -> None:
    done = vldata("build", "recipe.yaml", "--out", "out", cwd=place)
    assert "unchanged, nothing to do" in done.stdout
    assert "next: vldata preview out" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert (place / ".vldata" / "store").is_dir()


def test_plan_counts_are_the_build_s(place: Path, called: Callable[..., Said]) -> None:
    planned = json.loads(called("plan", "recipe.yaml", "--json", cwd=place).stdout)
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    assert planned["totals"] == manifest["totals"]
    assert [block["key"] for block in planned["blocks"]] == [block["key"] for block in manifest["blocks"]]
    assert planned["num_missing"] == 0


def test_the_manifest_has_what_scripts_rely_on(place: Path) -> None:
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    assert {"seed", "recipe", "versions", "schema_version", "blocks", "sources"} <= manifest.keys()
    assert {"key", "digest", "source", "rows"} <= manifest["blocks"][0].keys()
    assert {
        "rows_in",
        "rows_out",
        "filtered",
        "rejected",
        "not_chosen",
        "repeats",
        "requested_share",
        "epochs",
        "achieved",
    } <= manifest["sources"]["a"].keys()
    assert manifest["sources"]["a"]["achieved"].keys() == {"samples", "images", "turns", "answer_chars"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("preview", "out"),
        ("verify", "out"),
        ("diff", "out", "out"),
        ("check", "recipe.yaml"),
        ("formats",),
        ("schema",),
        ("store", "gc", "--dry-run"),
    ],
)
def test_commands_that_only_look_succeed(place: Path, called: Callable[..., Said], arguments: tuple[str, ...]) -> None:
    done = called(*arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_why_finds_rows_in_the_dataset_and_in_the_ledger(place: Path, called: Callable[..., Said]) -> None:
    found = json.loads(called("why", "out", "a/0/c0", "--json", cwd=place).stdout)
    assert found[0]["outcome"] in ("in the dataset", "not chosen")
    lost = called("why", "out", "a/999/c0", cwd=place)
    assert lost.returncode == 2
    assert "no such row was read" in lost.stderr


def test_diff_says_what_changed(place: Path, called: Callable[..., Said]) -> None:
    called("build", "recipe.yaml", "--out", "other", "--set", "sources.b.scenes=25", cwd=place)
    found = json.loads(called("diff", "out", "other", "--json", cwd=place).stdout)
    assert not found["same"]
    assert found["recipe"] == [{"key": "sources.b.scenes", "a": 20, "b": 25}]
    changed = {row["source"]: row for row in found["sources"]}
    assert changed["a"]["only_a_blocks"] == changed["a"]["only_b_blocks"] == 0
    assert changed["b"]["only_b_samples"] > 0


@pytest.mark.parametrize(
    ("file", "name"), [("mine.yaml", "mine"), ("12.yaml", "12"), ("my data.yml", "my-data"), ("_.yaml", "mine")]
)
def test_init_names_the_recipe_after_its_file(tmp_path: Path, file: str, name: str) -> None:
    write_start(tmp_path / file)
    text = (tmp_path / file).read_text()
    assert load(tmp_path / file).head.name == name
    assert "forkme" not in text
    assert (
        len(
            {
                line.index("#")
                for line in text.splitlines()
                if line.startswith(("name:", "about:", "seed:")) and "#" in line
            }
        )
        == 1
    )


def test_init_writes_a_recipe_that_checks_and_never_overwrites(tmp_path: Path, called: Callable[..., Said]) -> None:
    assert called("init", "mine.yaml", cwd=tmp_path).returncode == 0
    assert called("check", "mine.yaml", cwd=tmp_path).returncode == 0
    again = called("init", "mine.yaml", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_ctrl_c_says_that_work_is_kept(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nsources: {a: {format: shapes, scenes: 5000}}\n")
    command = [sys.executable, str(CHECKOUT / "cli.py"), "build", "recipe.yaml", "--out", "out", "--workers", "2"]
    running = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    turns = tmp_path / ".vldata" / "store" / "turns"
    while not turns.is_dir() and running.poll() is None:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches every process
    _, said = running.communicate(timeout=60)
    assert "stopped; what was finished is kept, run the command again to go on\n" in said
    assert running.returncode == 130
    assert not (tmp_path / "out").exists()


def test_a_wrong_option_is_one_box_and_no_traceback(tmp_path: Path) -> None:
    done = vldata("build", "quickstart", "--ot", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert "Traceback" not in done.stderr


def test_defaults_in_help_are_seen(tmp_path: Path, called: Callable[..., Said]) -> None:
    words = called("build", "--help", cwd=tmp_path).stdout.replace("│", " ").split()
    shown = " ".join(words)
    assert "(one for each core)" in shown
    assert "($VLDATA_STORE, else .vldata/store)" in shown


def test_a_tilde_is_the_home_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place / "home"))
    done = vldata("build", "recipe.yaml", "--out=~/built", "--store=~/kept", "--workers", "1", cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "home" / "built" / "manifest.json").is_file()
    assert (place / "home" / "kept" / "VERSION").is_file()
    assert not (place / "~").exists()


def test_a_mistyped_store_is_refused_and_not_made(tmp_path: Path, called: Callable[..., Said]) -> None:
    done = called("store", "gc", "--store", "typo", cwd=tmp_path)
    assert done.returncode == 2
    assert "not a store" in done.stderr
    none = called("store", "gc", cwd=tmp_path)
    assert none.returncode == 0
    assert "there is no store" in none.stdout
    assert not list(tmp_path.iterdir())


def test_verify_neither_needs_nor_makes_a_store(place: Path, tmp_path: Path, called: Callable[..., Said]) -> None:
    done = called("verify", str(place / "out"), "--store", "typo", cwd=tmp_path)
    assert done.returncode == 2
    assert "not a store" in done.stderr
    assert called("verify", str(place / "out"), cwd=tmp_path).returncode == 0
    assert not list(tmp_path.iterdir())


def test_a_build_says_why_turns_were_lost(tmp_path: Path, called: Callable[..., Said]) -> None:
    short = RECIPE.replace("scenes: 20}", "scenes: 20, where: 'LENGTH(caption) < 40'}", 1)
    (tmp_path / "recipe.yaml").write_text(short)
    done = called("plan", "recipe.yaml", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert FILTERED["where"] in " ".join(done.stdout.split())
    assert "rejected: broken" in done.stdout


def test_standin_writes_a_corpus_and_says_how_to_read_it(tmp_path: Path, called: Callable[..., Said]) -> None:
    done = called("standin", "coco_captions", "corpus", "--rows", "12", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"format": "coco_captions"' in done.stdout
    unknown = called("standin", "coco_caption", "other", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "did you mean 'coco_captions'" in unknown.stderr


HEAVY = ("polars", "pyarrow", "numpy", "datasets", "pydantic", "PIL", "jinja2", "yaml", "torch", "openai")


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from vldata.cli.main import main
sys.argv = ["vldata", "--help"]
try:
    main()
finally:
    sys.stderr.write(" ".join(name for name in {HEAVY} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


FAULTS = {
    "unknown_key": (RECIPE + "sed: 1\n", "did you mean 'seed'"),
    "boolean_key": (RECIPE + "off: 1\n", "quotes"),
    "missing_file": ("name: x\nsources: {c: {format: coco_captions, path: nowhere.json}}\n", "no such file"),
    "empty_file": ("name: x\nsources: {c: {format: coco_captions, path: empty.json}}\n", "empty"),
    "truncated": ("name: x\nsources: {c: {format: coco_captions, path: cut.json}}\n", "not JSON"),
    "latin1": ("name: x\nsources: {c: {format: coco_captions, path: latin.json}}\n", "utf-8"),
    "bad_where": (RECIPE.replace("scenes: 20}", "scenes: 20, where: 'nope > 1'}", 1), "nope"),
    "where_reads_files": (
        RECIPE.replace("scenes: 20}", "scenes: 20, where: \"caption IN (SELECT * FROM read_csv('/etc/passwd'))\"}", 1),
        "subquery",
    ),
    "exclude_missing": (RECIPE + "exclude: nowhere.txt\n", "nowhere.txt"),
    "weight_for_a_ghost": (RECIPE + "mixture: {sources: {a: 1, b: 1, ghost: 1}}\n", "ghost"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_is_one_clear_error_without_a_traceback(
    tmp_path: Path, called: Callable[..., Said], name: str
) -> None:
    text, said = FAULTS[name]
    (tmp_path / "recipe.yaml").write_text(text)
    (tmp_path / "empty.json").touch()
    (tmp_path / "cut.json").write_text('{"images": [{"id": 1, "file_na')
    (tmp_path / "latin.json").write_bytes('{"images": [], "annotations": ["caf\xe9"]}'.encode("latin-1"))
    run = vldata if name == "missing_file" else called
    done = run("build", "recipe.yaml", "--out", "out", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert said.lower() in done.stderr.lower()
    assert "fix" in done.stderr
    assert not (tmp_path / "out").exists()


HOSTILE = [
    "{{ ''.__class__ }}",
    "{{ caption.__class__.__mro__ }}",
    "{% include '/etc/passwd' %}",
    "{% for i in range(10**9) %}x{% endfor %}",
    '{{ "{0.__class__}".format(caption) }}',
]


@pytest.mark.parametrize("body", HOSTILE)
def test_a_hostile_template_is_refused_before_anything_is_read(
    tmp_path: Path, called: Callable[..., Said], body: str
) -> None:
    (tmp_path / "words").mkdir()
    text = "{% block user %}" + body + "{% endblock %}{% block assistant %}{{ caption }}{% endblock %}"
    (tmp_path / "words" / "caption.jinja").write_text(text)
    (tmp_path / "recipe.yaml").write_text(RECIPE + "defaults: {templates: {path: words}}\n")
    done = called("check", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "caption.jinja" in done.stderr
    assert "Traceback" not in done.stderr


def test_who_reads_a_log_sees_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "NOW_AND_THEN_S", 0.01)
    first = ["trainings 1 of 2\n  base: train"] * 2
    lines, seen = chain(first, repeat("trainings \x1b[2J2 of 2")), threading.Event()

    def text() -> str:
        line = next(lines)
        if "2 of 2" in line:
            seen.set()
        return line

    with terminal.live(text, quiet=False):
        assert seen.wait(5)
    out, err = capsys.readouterr()
    assert err.splitlines() == ["trainings 1 of 2 | base: train", "trainings \\x1b[2J2 of 2"] and not out
    with terminal.live(lambda: pytest.fail("called"), quiet=True):
        pass
