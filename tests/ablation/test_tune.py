"""Tuning, end to end with a command whose losses follow a known curve of what the build holds."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("sklearn")

from vldata import build
from vldata.ablation.cells import Trainer
from vldata.ablation.experiment import Experiment
from vldata.ablation.tune.file import MIN_RUNS, OpenedTune, load_tune
from vldata.ablation.tune.findings import refusal
from vldata.ablation.tune.fit import CANDIDATES, Error, error_of, fitted, refitted
from vldata.ablation.tune.mixtures import drawn, within
from vldata.ablation.tune.run import tune
from vldata.ablation.tune.runs import Best
from vldata.cli.main import app
from vldata.cli.tune import _show
from vldata.errors import BuildError, RecipeError, RecipeErrors
from vldata.recipe.load import load

# The loss of task a falls with a's rows and, a little, with b's; c is worth nothing to anybody.
CURVE = """
import hashlib, json, sys
build, out = sys.argv[1:3]
sources = json.load(open(build + "/manifest.json"))["sources"]
n = {name: source["achieved"]["samples"] for name, source in sources.items()}
noise = int(hashlib.sha256(repr(sorted(n.items())).encode()).hexdigest()[:8], 16) / 2**32 - 0.5
a = 1.0 + 6.0 * (n["a"] + 0.3 * n["b"] + 5) ** -0.5 + 0.004 * noise
b = 0.5 + 3.0 * (n["b"] + 5) ** -0.5 - 0.004 * noise
tasks = {"a": {"metric": "nll_per_token", "value": a}, "b": {"metric": "nll_per_token", "value": b}}
json.dump({"tasks": tasks}, open(out + "/scores.json", "w"))
"""

LUCK = CURVE.replace("a = 1.0", "a = 1.0 + 5 * noise #").replace("b = 0.5", "b = 0.5 - 2 * noise #")
BROKEN = CURVE.replace("noise = ", "1 / (n['c'] == 72); noise = ")  # but for the base's own mixture
LACKING = (
    CURVE
    + """
if n["a"] == 0:  # two of twenty runs
    scores = {"tasks": {"a": {"metric": "accuracy", "value": 0.5}, "b": tasks["b"]}}
    json.dump(scores, open(out + "/scores.json", "w"))
"""
)
BROKEN_AT_BEST = CURVE.replace("noise = ", "1 / (n['c'] > 20); noise = ")  # no mixture but the proposed has so few
TOTAL = 120


def loss_of(units: dict[str, float]) -> float:
    a = 1.0 + 6.0 * (units["a"] + 0.3 * units["b"] + 5) ** -0.5
    return (a + 0.5 + 3.0 * (units["b"] + 5) ** -0.5) / 2


def tuning(folder: Path, script: str, **changes: Any) -> Path:
    """A tuning file over three sources of text, with a base that nobody would choose."""
    sources = {
        name: {"format": "shapes", "task": "text_instruction", "scenes": 150, "world_seed": number}
        for number, name in enumerate("abc")
    }
    mixture = {
        "total": TOTAL,
        "sources": {"c": 3, "useful": {"weight": 2, "strategy": "uniform", "sources": ["a", "b"]}},
    }
    base = {"name": "base", "seed": 7, "sources": sources, "mixture": mixture, "splits": {"val": 0.1}}
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "trainer.py").write_text(script)
    requested = {
        "name": "weights",
        "base": "base.yaml",
        "runs": 20,
        "max_epochs": 1,
        "train": {"command": [sys.executable, "-S", str(folder / "trainer.py"), "{build}", "{out}"]},
        **changes,
    }
    (folder / "tune.yaml").write_text(yaml.safe_dump(requested))
    return folder / "tune.yaml"


@pytest.fixture(scope="module", autouse=True)
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One store for all, as all have the same sources."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLDATA_STORE", str(tmp_path_factory.mktemp("store")))
        yield


def tuned(folder: Path, file: Path | OpenedTune, runs: int | None = None) -> dict[str, Any]:
    requested = load_tune(file) if isinstance(file, Path) else file
    trainer = Trainer(requested.opened.ablation.train, None)
    return tune(requested, Experiment(folder / "out", trainer, workers=1), runs=runs)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished tuning under the curve."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, tuned(folder, tuning(folder, CURVE))


def test_the_proposed_mixture_is_near_the_curve_s_best(finished: tuple[Path, dict[str, Any]]) -> None:
    table = finished[1]
    grid = [(a, b) for a in range(0, TOTAL + 1, 2) for b in range(0, TOTAL + 1 - a, 2)]
    best = min(loss_of({"a": a, "b": b}) for a, b in grid)
    base, proposed = loss_of(table["runs"][0]["units"]), loss_of(table["proposed"]["units"])
    assert proposed - best < 0.1 * (base - best)
    assert table["proposed"]["shares"]["c"] < 0.1
    assert table["proposed"]["measured"] == pytest.approx(table["proposed"]["predicted"], abs=0.05)
    assert table["proposed"]["base_measured"] == pytest.approx(base, abs=0.003)


def test_the_error_is_measured_on_mixtures_that_were_not_fitted(finished: tuple[Path, dict[str, Any]]) -> None:
    table = finished[1]
    held = [run for run in table["runs"] if run["held_out"]]
    assert len(held) == table["held_out"]["mixtures"] == 5 and not table["runs"][0]["held_out"]
    off = [abs(run["predicted"] - run["measured"]) for run in held]
    assert table["held_out"]["mean_abs_error"] == pytest.approx(np.mean(off))
    fit = np.mean([run["measured"] for run in table["runs"] if not run["held_out"]])
    off_of_mean = np.mean([abs(fit - run["measured"]) for run in held])
    assert table["held_out"]["mean_abs_error_of_mean"] == pytest.approx(off_of_mean)
    assert table["held_out"]["mean_abs_error"] < 0.3 * off_of_mean
    assert table["held_out"]["rank_correlation"] > 0.8
    assert set(table["tasks"]) == {"a", "b"} and table["tasks"]["a"]["weight"] == 0.5


def test_mixtures_are_whole_units_within_the_bound(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, table = finished
    for run in table["runs"]:
        assert sum(run["units"].values()) == TOTAL
        samples = json.loads((folder / "out" / "builds" / run["name"] / "manifest.json").read_text())["sources"]
        assert {name: source["achieved"]["samples"] for name, source in samples.items()} == run["units"]
    for run in table["runs"][1:]:
        assert all(run["units"][name] <= one["available"] for name, one in table["sources"].items())


def test_the_written_recipe_builds_to_what_was_proposed(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, table = finished
    recipe = load(folder / "out" / table["recipe"])
    assert recipe.head.name == "base-tuned" and recipe.head.seed == 7
    built = build(recipe, tmp_path / "built", workers=1)
    samples = {name: source["achieved"]["samples"] for name, source in built.manifest["sources"].items()}
    assert samples == table["proposed"]["units"]


def test_again_runs_nothing_and_finds_the_same(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, table = finished
    done = {path: path.stat().st_mtime_ns for path in folder.glob("out/cells/*/done.json")}
    assert len(done) == 21
    command = ["tune", str(folder / "tune.yaml"), "--out", str(folder / "out"), "--workers", "1", "--json"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0 and json.loads(said.stdout) == table
    assert json.loads((folder / "out" / "tune.json").read_text()) == table
    assert {path: path.stat().st_mtime_ns for path in folder.glob("out/cells/*/done.json")} == done


def test_a_person_is_shown_what_is_proposed_or_why_nothing_is(
    finished: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    _show(finished[1], Path("out"))
    text = capsys.readouterr().out
    assert "proposed, for 120 samples" in text and "next: vldata build out/recipe.yaml" in text
    _show({**finished[1], "proposed": None, "recipe": None, "refused": "predictions are off"}, Path("out"))
    text = capsys.readouterr().out
    assert "nothing is proposed: predictions are off" in text and "next:" not in text


def test_what_was_measured_of_the_proposed_mixture_is_held_against_its_prediction(
    finished: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    proposed = finished[1]["proposed"] | {"predicted": 0.78, "measured": 1.03}
    _show({**finished[1], "proposed": proposed}, Path("out"))
    assert "1.0300, off by 0.25" in capsys.readouterr().out


@pytest.fixture
def copied(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """The finished tuning, to resume."""
    shutil.copytree(finished[0], tmp_path / "again")
    return tmp_path / "again", finished[1]


def test_fewer_runs_are_the_first_of_more(copied: tuple[Path, dict[str, Any]]) -> None:
    folder, table = copied
    before = set(folder.glob("out/cells/*/done.json"))
    fewer = tuned(folder, folder / "tune.yaml", runs=16)
    assert [run["units"] for run in fewer["runs"]] == [run["units"] for run in table["runs"][:16]]
    assert len(set(folder.glob("out/cells/*/done.json")) - before) <= 1  # what is proposed may be another mixture


def test_tasks_with_weights_are_what_is_minimised(copied: tuple[Path, dict[str, Any]]) -> None:
    folder, table = copied
    only_b = tuned(folder, load_tune(folder / "tune.yaml", ["tasks.b=1"]))
    assert only_b["tasks"].keys() == {"b"}
    assert [run["measured"] for run in only_b["runs"]] == [run["losses"]["b"] for run in table["runs"]]
    assert only_b["proposed"]["shares"]["b"] > table["proposed"]["shares"]["b"]


def test_no_recipe_where_the_mixture_decides_nothing(tmp_path: Path) -> None:
    file = tuning(tmp_path, LUCK, runs=16, evaluate={"recipe": "base.yaml", "split": "train"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "asked.json").write_text("{}")
    (tmp_path / "out" / "recipe.yaml").write_text("of an earlier look")
    table = tuned(tmp_path, file)
    assert table["proposed"] is None and table["recipe"] is None
    assert "held-out mixtures" in table["refused"]
    assert not (tmp_path / "out" / "recipe.yaml").exists()


def test_a_base_that_nothing_is_predicted_to_beat_stays(tmp_path: Path) -> None:
    file = tuning(tmp_path, CURVE)
    base = yaml.safe_load((tmp_path / "base.yaml").read_text())
    base["mixture"] = {"total": TOTAL, "sources": {"a": 9, "b": 10, "c": 1}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    table = tuned(tmp_path, file)
    assert table["held_out"]["mean_abs_error"] < 0.5 * table["held_out"]["mean_abs_error_of_mean"]
    assert table["proposed"] is None and table["recipe"] is None
    assert re.fullmatch(
        r"the best mixture is predicted to be 0\.\d{4} lower than the base, "
        r"and predictions are off by 0\.\d{4}: the base may stay",
        table["refused"],
    )
    assert not (tmp_path / "out" / "recipe.yaml").exists() and not (tmp_path / "out" / "builds" / "proposed").exists()


GOOD = Error(8, mean_abs=0.2275, mean_abs_of_mean=0.5, rank_correlation=0.9, chance=0.001)


@pytest.mark.parametrize(
    ("error", "gain", "text"),
    [
        (GOOD, 0.2276, None),
        (GOOD, 0.0007, "0.0007 lower than the base, and predictions are off by 0.2275: the base may stay"),
        (GOOD, 0.22749, "0.22749 lower than the base, and predictions are off by 0.22750"),
        (GOOD, -0.1, "the best mixture is predicted to be no lower than the base"),
        (
            Error(5, 0.01334, 0.01332, 0.1, 0.4),
            1,
            "0.01334 on 5 held-out mixtures, always saying the mean by 0.01332",
        ),
        (
            Error(5, 0.0133, 0.0133, 0.1, 0.4),
            1,
            "0.0133 on 5 held-out mixtures, no better than always saying the mean:",
        ),
        (
            Error(5, 0.0140, 0.0133, 0.1, 0.4),
            1,
            "0.0140 on 5 held-out mixtures, always saying the mean by 0.0133:",
        ),
        (Error(5, 0.0130, 0.0133, 0.1, 0.4), 1, "luck alone orders them as well with probability 0.40"),
    ],
)
def test_why_nothing_is_proposed_is_said_in_numbers_that_differ(error: Error, gain: float, text: str | None) -> None:
    refused = refusal(error, Best(np.array([1.0]), predicted=0.0, base_predicted=gain))
    assert refused is None if text is None else refused is not None and text in refused


def test_a_run_without_the_loss_is_a_failed_run_and_the_exit_code_says_so(tmp_path: Path) -> None:
    command = ["tune", str(tuning(tmp_path, LACKING)), "--out", str(tmp_path / "out"), "--workers", "1", "--json"]
    said = CliRunner().invoke(app, command)
    table = json.loads(said.stdout)
    failed = [run for run in table["runs"] if run["error"] is not None]
    assert said.exit_code == 2 and len(failed) == 2
    for run in failed:
        assert run["units"]["a"] == 0 and run["losses"] is None and run["measured"] is None
        assert (
            run["error"] == "evaluate: loss: nll_per_token: the answers of 'a' have no such score; use one of: accuracy"
        )
    assert table["proposed"] is not None and table["proposed"]["error"] is None


def test_a_proposed_mixture_whose_run_failed_decides_the_exit_code(tmp_path: Path) -> None:
    file = tuning(tmp_path, BROKEN_AT_BEST)
    said = CliRunner().invoke(app, ["tune", str(file), "--out", str(tmp_path / "out"), "--workers", "1"])
    assert said.exit_code == 2 and "failed: proposed, train:" in said.stdout
    assert said.stdout.count("failed:") == 1 and (tmp_path / "out" / "recipe.yaml").is_file()


def test_failed_runs_are_counted_and_too_many_are_the_end(tmp_path: Path) -> None:
    file = tuning(tmp_path, BROKEN, runs=16)
    with pytest.raises(BuildError, match=r"(?s)1 of 16 runs gave losses.*ZeroDivisionError"):
        tuned(tmp_path, file)


def test_a_score_that_nobody_gave_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"did you mean 'nll_per_token'"):
        tuned(tmp_path, tuning(tmp_path, CURVE, loss="nll_per_tokens"))


def test_a_task_without_questions_is_named(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    requested = load_tune(folder / "tune.yaml", ["tasks.bb=1"])
    with pytest.raises(RecipeError, match=r"tasks.bb: the held-out split has no questions of it"):
        tuned(folder, requested)


@pytest.mark.parametrize(
    ("key", "where"),
    [("runs=3", "runs"), ("concentraton=3", "concentraton"), ("held_out=0.9", "held_out"), ("base=none.yaml", "base")],
)
def test_a_file_that_cannot_be_is_refused_with_the_place(tmp_path: Path, key: str, where: str) -> None:
    file = tuning(tmp_path, CURVE)
    with pytest.raises((RecipeErrors, RecipeError)) as caught:
        load_tune(file, [key])
    assert caught.value.where == where


def test_a_bound_that_leaves_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"max_epochs: 0.2 passes over every source are fewer than 120 samples"):
        tuned(tmp_path, tuning(tmp_path, CURVE, max_epochs=0.2))
    with pytest.raises(BuildError, match=f"the least is {MIN_RUNS}"):
        tuned(tmp_path, tmp_path / "tune.yaml", runs=3)


def test_another_folder_is_not_touched(tmp_path: Path) -> None:
    file = tuning(tmp_path, CURVE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(BuildError, match="no tuning"):
        tuned(tmp_path, file)


def test_without_the_libraries_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vldata.cli.tune.find_spec", lambda name: None)
    table = CliRunner().invoke(app, ["tune", str(tuning(tmp_path, CURVE)), "--out", str(tmp_path / "out")])
    assert isinstance(table.exception, BuildError) and table.exception.fix == "pip install 'vldata[tune]'"


def test_draws_depend_on_their_number_and_source_alone() -> None:
    base = {"a": 0.5, "b": 0.3, "c": 0.2}
    caps = dict.fromkeys(base, 1.0)
    few = drawn(base, caps, 5, concentration=(8, 8), seed=1, purpose="mixture")
    more = drawn(base, caps, 50, concentration=(8, 8), seed=1, purpose="mixture")
    assert np.array_equal(few, more[:5])
    other_order = drawn(dict(reversed(base.items())), caps, 5, concentration=(8, 8), seed=1, purpose="mixture")
    assert np.allclose(few, other_order[:, ::-1])
    assert not np.allclose(few, drawn(base, caps, 5, concentration=(8, 8), seed=2, purpose="mixture"))


def test_draws_are_dirichlet_around_the_base() -> None:
    base = {"a": 0.5, "b": 0.3, "c": 0.2}
    table = drawn(base, dict.fromkeys(base, 1.0), 20_000, concentration=(8, 8), seed=0, purpose="x")
    shares = np.array(list(base.values()))
    assert table.mean(axis=0) == pytest.approx(shares, abs=0.01)
    assert table.std(axis=0) == pytest.approx(np.sqrt(shares * (1 - shares) / 9), rel=0.03)


@settings(max_examples=300)
@example([(1.0, 0.5), (5e-324, 1.0)])  # a share so small that a part of it is none
@example([(0.0, 1.0), (1.0, 0.25), (5e-324, 1.0)])
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=8).filter(
        lambda x: sum(c for _, c in x) >= 1
    )
)
def test_shares_within_caps_sum_to_one(pairs: list[tuple[float, float]]) -> None:
    raw, caps = np.array([pairs]).transpose(2, 0, 1)
    whole = raw.sum()
    shares = raw / whole if whole > 1e-6 else np.full(raw.shape, 1 / raw.shape[1])
    table = within(shares, caps[0])
    assert table.sum() == pytest.approx(1)
    assert (table <= caps[0] + 1e-12).all() and (table >= 0).all()
    untouched = shares <= caps[0]
    if untouched.all():
        assert table == pytest.approx(shares)


def test_caps_that_leave_something_to_nobody_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="caps sum to"):
        within(np.array([[0.5, 0.5]]), np.array([0.4, 0.4]))


@pytest.mark.parametrize("name", [name for name in CANDIDATES if name != "mean"])
def test_every_candidate_learns_a_curve_it_can_draw(name: str) -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    shares = rng.dirichlet([3, 3, 3], 60)
    losses = 1 + np.exp(-2 * shares[:, 0] - shares[:, 1])
    predict = refitted(name, shares[:40], losses[:40], 1000)
    off = np.abs(predict(shares[40:]) - losses[40:]).mean()
    assert off < 0.35 * np.abs(losses[:40].mean() - losses[40:]).mean()


def test_the_mean_is_taken_where_nothing_else_predicts() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    shares = rng.dirichlet([3, 3, 3], 24)
    model = fitted(shares, np.full(24, 2.0), 1000)
    assert model.predict(shares) == pytest.approx(np.full(24, 2.0))
    luck = fitted(shares, rng.normal(size=24), 1000)
    assert luck.errors[luck.name] == min(luck.errors.values())
    assert luck.errors["mean"] < 1.3 * luck.errors[luck.name]


def test_the_error_says_how_likely_luck_is() -> None:
    measured = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    good = error_of(measured + 0.1, measured, 3.5)
    assert good.is_better_than_mean and good.rank_correlation == 1 and good.chance == pytest.approx(1 / 720)
    same = error_of(np.full(6, 3.5), measured, 3.5)
    assert not same.is_better_than_mean and np.isnan(same.rank_correlation) and same.chance == 1
    assert not error_of(measured[::-1], measured, 3.5).is_better_than_mean
    assert not error_of(measured[:3], measured[:3], 2.5).is_better_than_mean  # three right guesses may be luck


def test_the_bundled_tuning_starts_from_a_lopsided_guess() -> None:
    requested = load_tune("ablations/small-world-weights")
    assert requested.opened.base.head.splits and requested.tune.runs >= MIN_RUNS and requested.tune.total is not None
    assert requested.opened.tree["mixture"]["sources"] == {"captions": 8, "questions": 1, "regions": 1}


@pytest.mark.parametrize(
    ("changes", "where", "text"),
    [
        ({"evaluate": {"metric": "-nll_per_token"}}, "evaluate", r"leave `evaluate\.metric` out"),
        ({"evaluate": {"words": "own"}}, "evaluate", r"in the base's words\n  fix: leave `evaluate\.words` out"),
        ({"concentration": [16, 2]}, "concentration", r"the least comes first\n  fix: write \[2, 16\]"),
    ],
)
def test_what_a_tuning_would_not_heed_is_refused(tmp_path: Path, changes: Any, where: str, text: str) -> None:
    with pytest.raises(RecipeErrors, match=text) as caught:
        load_tune(tuning(tmp_path, CURVE, **changes))
    assert caught.value.where == where


def test_a_concentration_may_be_the_same_for_all_mixtures(tmp_path: Path) -> None:
    assert load_tune(tuning(tmp_path, CURVE, concentration=[8, 8])).tune.concentration == [8, 8]
