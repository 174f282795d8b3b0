"""Files that a cell leaves, keys that decide whether it is run again, and arms that are put together from cells."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vldata.ablation.builds import VariantBuild
from vldata.ablation.cells import Cell, CellFailure, Questions, Trainer, run_cell
from vldata.ablation.file import Train
from vldata.ablation.results import NO_SPREAD, AblationOutcome, Training, results
from vldata.ablation.schedule import Board, run_cells
from vldata.ablation.scores import TaskScores, read_metric, read_scores
from vldata.ablation.variants import BASE, Variant
from vldata.cli.ablate import gpus_for
from vldata.errors import BuildError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a metrics file, and one of its items."""

    def make(scores: Any, items: list[dict[str, Any]] | None = None) -> Path:
        (tmp_path / "scores.json").write_text(scores if isinstance(scores, str) else json.dumps(scores))
        if items is not None:
            (tmp_path / "scores.items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        return tmp_path / "scores.json"

    return make


def test_the_least_that_a_command_may_write(write: Write) -> None:
    summary = read_scores(write({"tasks": {"rec": {"metric": "accuracy", "value": 0.5}}}))["rec"]
    assert (summary.metric, summary.value, summary.n, summary.items) == ("accuracy", 0.5, 0, {})
    assert math.isnan(summary.blind)


def test_answers_are_paired_by_source_and_row_or_else_by_sample_and_turn(write: Write) -> None:
    one = {"id": "a/7", "turn": 2, "task": "rec", "source": "a", "scores": {"acc": 1.0, "nll": 3.0}}
    items = [{**one, "row": "7/x"}, {**one, "row": "7/x", "scores": {"acc": 0.0, "nll": 1.0}}, one]
    summary = read_scores(write({"tasks": {"rec": {"metric": "acc", "value": 0.5}}}, items))["rec"]
    assert summary.items == {("a", "7/x", 0): 1.0, ("a", "7/x", 1): 0.0, ("a/7", "2", 0): 1.0}
    assert summary.n == 3 and summary.also["nll"] == pytest.approx(7 / 3)


def test_a_task_without_the_requested_score_is_named(write: Write) -> None:
    one = {"id": "a/7", "task": "rec", "source": "a", "row": "7"}
    items = [
        {**one, "scores": {"acc": 1.0, "nll": 3.0}, "blind": {"nll": 5.0}},
        {**one, "scores": {"acc": 0.0, "nll": 1.0}},
    ]
    other = {"id": "b/1", "task": "ocr", "scores": {"acc": 0.0}}
    path = write({"tasks": {t: {"metric": "acc", "value": 0.5} for t in ("rec", "ocr")}}, [*items, other])
    summary, lacking = read_metric(path, "-nll")
    assert lacking == ["ocr"] and summary.keys() == {"rec"}
    assert summary["rec"].items == {("a", "7", 0): -3.0, ("a", "7", 1): -1.0}
    assert (summary["rec"].metric, summary["rec"].value, summary["rec"].blind, summary["rec"].n) == (
        "-nll",
        -2.0,
        -5.0,
        2,
    )
    with pytest.raises(BuildError, match="no such score"):
        read_metric(write({"tasks": {"rec": {"metric": "acc", "value": 0.5}}}, []), "acc")


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ("{", "not JSON"),
        ({}, "tasks: field required"),
        ({"tasks": {}}, "tasks"),
        ({"tasks": {"rec": {"value": 0.5}}}, r"tasks\.rec\.metric: field required"),
        ('{"tasks": {"rec": {"metric": "m", "value": "high"}}}', r"tasks\.rec\.value"),
    ],
)
def test_a_metrics_file_of_another_form_is_refused_with_the_place(write: Write, scores: Any, said: str) -> None:
    with pytest.raises(BuildError, match=said):
        read_scores(write(scores))


def test_a_line_of_another_form_is_refused_with_its_number(write: Write) -> None:
    good = {"id": "a", "task": "rec", "scores": {"acc": 1.0}}
    path = write({"tasks": {"rec": {"metric": "acc", "value": 1}}}, [good, {**good, "scores": {}}])
    with pytest.raises(BuildError, match=r"scores\.items\.jsonl:2"):
        read_scores(path)


def build_in(folder: Path, digest: str = "d") -> VariantBuild:
    blocks = [{"key": "k", "digest": digest, "split": split, "size_bytes": 5} for split in ("train", "val")]
    return VariantBuild(folder, {"blocks": blocks, "totals": {"samples": 3}}, 1.0)


def cell(folder: Path, *, seed: int = 0, digest: str = "d", questions: str = "d", variant: str = "v") -> Cell:
    return Cell(variant, seed, 7, build_in(folder, digest), Questions(build_in(folder, questions), "val"))


def test_a_key_says_everything_that_decides_the_scores_and_nothing_else(tmp_path: Path) -> None:
    trainer = Trainer(Train(steps=3), "config")
    key = cell(tmp_path).key(trainer)
    assert cell(tmp_path / "elsewhere", variant="another").key(trainer) == key
    others = [
        cell(tmp_path, seed=1).key(trainer),
        cell(tmp_path, digest="e").key(trainer),
        cell(tmp_path, questions="e").key(trainer),
        cell(tmp_path).key(Trainer(Train(steps=4), "config")),
        cell(tmp_path).key(Trainer(Train(steps=3), "another config")),
    ]
    assert len({key, *others}) == 6


def test_the_bundled_trainer_gets_the_seed_and_the_split(tmp_path: Path) -> None:
    train = Train(preset="tiny", steps=3, set=["pack_tokens=512"], device="cpu", leave_out=True)
    (_, words), (_, questions) = Trainer(train, "c").steps(cell(tmp_path, seed=5), tmp_path / "out")
    text = " ".join(words)
    assert "--set pack_tokens=512 --set seed=5 --steps 3 --device cpu --leave-out" in text
    assert questions[questions.index("--split") + 1] == "val"
    with pytest.raises(ValueError, match="varies"):
        Train(set=["seed=3"])


def test_a_command_that_is_not_there_and_one_that_is_killed_are_failures(tmp_path: Path) -> None:
    none = run_cell(cell(tmp_path), Trainer(Train(command="no-such-program"), None), tmp_path / "a")
    assert none == CellFailure("train", "no-such-program: No such file or directory")
    killed = run_cell(cell(tmp_path), Trainer(Train(command=["sh", "-c", "kill -9 $$"]), None), tmp_path / "b")
    assert killed == CellFailure("train", "killed by signal 9")


def test_a_cell_that_is_stopped_ends_its_process_and_is_neither_done_nor_failed(tmp_path: Path) -> None:
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    assert run_cell(cell(tmp_path), Trainer(Train(command="sleep 60"), None), tmp_path, stopping=stopping) is None
    assert {path.name for path in tmp_path.glob("*/*")} == {"cell.json", "lock", "log.txt"}


def table(arms: dict[str, list[dict[str, TaskScores] | None]]) -> dict[str, Any]:
    """The table of some trainings."""
    variants = [Variant(name, {}, None, name) for name in arms]  # type: ignore[arg-type]
    trainings = {
        name: [Training(n, 7, one, None if one else CellFailure("train", "x")) for n, one in enumerate(of)]
        for name, of in arms.items()
    }
    about = {("a", str(row)): f"image {row}" for row in range(10)}
    summary = AblationOutcome(variants, {name: build_in(Path(name)) for name in arms}, trainings, about)
    return results(summary, name="t", held=None, seeds=[0], data_seeds=[7])


def scored(num: int, value: float = 0.5, metric: str = "acc", start: int = 0) -> dict[str, TaskScores]:
    items = {("a", str(row), 0): float(row % 2) for row in range(start, start + num)}
    return {"rec": TaskScores(metric, value, num, math.nan, items)}


def whys(summary: dict[str, Any]) -> dict[str, str]:
    return {one["variant"]: one["why"] for one in summary["missing"]}


def test_another_measure_or_other_answers_are_not_compared() -> None:
    base = [scored(10)] * 4
    summary = table({BASE: base, "other": [scored(10, metric="f1")] * 2, "few": [scored(10, start=7)] * 2})
    assert summary["comparisons"] == []
    assert whys(summary) == {
        "other": "it was scored by f1, the base by acc",
        "few": "seed 1 has 3 of 10 answers; left out",
    }


def test_answers_that_all_gave_are_compared() -> None:
    summary = table({BASE: [scored(10)] * 4, "most": [scored(9, start=1)] * 2})
    assert [one["items"] for one in summary["comparisons"]] == [9]
    assert [one["items"] for one in summary["noise"]] == [9]
    assert whys(summary) == {"most": "seed 1 has 9 of 10 answers; the others are not compared at all"}


def test_one_training_without_answers_is_left_out_alone() -> None:
    none = {"rec": TaskScores("acc", 0.5, 0, math.nan, {})}
    summary = table({BASE: [*[scored(10)] * 3, none], "v": [scored(10)] * 2, "few": [scored(10), scored(5)]})
    seen = {one["variant"]: (one["seeds"], one["items"]) for one in summary["comparisons"]}
    assert seen == {"v": (2, 10), "few": (1, 10)}
    assert whys(summary) == {
        BASE: "seed 3 has 0 of 10 answers; left out",
        "few": "seed 1 has 5 of 10 answers; left out",
    }


def test_what_a_reader_should_know_of_the_numbers_is_noted() -> None:
    strange = {"rec": TaskScores("acc", 0.5, 3, math.nan, {("b", str(row), 0): 1.0 for row in range(3)})}
    summary = table({BASE: [strange] * 4, "v": [strange] * 2})
    assert whys(summary) == {BASE: "3 of 3 answers are to no question; each counts as an image"}
    assert any(NO_SPREAD in note for note in summary["notes"])
    assert any("is said to be 0.5, and its answers' mean is 1" in note for note in summary["notes"])
    assert not [note for note in table({BASE: [scored(10)] * 4})["notes"] if "mean" in note or NO_SPREAD in note]


def test_the_metric_s_score_counts_wherever_it_stands(write: Write) -> None:
    item = {"id": "a/7", "task": "rec", "source": "a", "row": "7", "scores": {"nll": 3.0, "acc": 1.0}}
    path = write({"tasks": {"rec": {"metric": "acc", "value": 1.0}}}, [item])
    assert read_scores(path)["rec"].items == {("a", "7", 0): 1.0}
    with pytest.raises(BuildError, match=r"items\.jsonl:1: no score named 'f1'"):
        read_scores(write({"tasks": {"rec": {"metric": "f1", "value": 1.0}}}, [item]))


def test_scores_of_an_attempt_that_failed_are_not_those_of_the_next(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    text = json.dumps({"tasks": {"rec": {"metric": "m", "value": 1.0}}})
    script.write_text(
        "import pathlib, sys\nout, mark = map(pathlib.Path, sys.argv[1:])\n"
        f"if not mark.exists():\n    mark.touch()\n    (out / 'scores.json').write_text({text!r})\n    sys.exit(9)\n"
    )
    train = Train(command=[sys.executable, str(script), "{out}", str(tmp_path / "mark")])
    first = run_cell(cell(tmp_path), Trainer(train, None), tmp_path / "cells")
    assert first is not None and "exit code 9" in first.error
    second = run_cell(cell(tmp_path), Trainer(train, None), tmp_path / "cells")
    assert second is not None and "the command left no such file" in second.error


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_process_that_will_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.ablation.process.PATIENCE_S", 0.3)
    (tmp_path / "child.py").write_text(STUBBORN)
    words = ["sh", "-c", f"trap '' TERM; {sys.executable} -S {tmp_path / 'child.py'}; true"]
    stopping = threading.Event()
    threading.Timer(1.0, stopping.set).start()
    assert run_cell(cell(tmp_path), Trainer(Train(command=words), None), tmp_path / "c", stopping=stopping) is None
    (log,) = (tmp_path / "c").glob("*/log.txt")
    status = Path(f"/proc/{log.read_text().split()[-1]}/status")
    for _ in range(50):
        if not status.exists() or "zombie" in status.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("its child lives on")


def test_a_script_that_is_changed_meanwhile_is_a_failure(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text("")
    trainer = Trainer(Train(command=[sys.executable, str(script)]), None)
    key = trainer.key()
    script.write_text("# another")
    failure = run_cell(cell(tmp_path), trainer, tmp_path / "cells")
    assert failure is not None and "was changed while this ran" in failure.error and trainer.key() == key


def test_the_control_survives_the_failure_of_one_half() -> None:
    summary = table({BASE: [None, None, scored(10), scored(10)], "v": [scored(10)] * 2})
    assert summary["noise"] == [] and len(summary["comparisons"]) == 1
    assert whys(summary) == {BASE: "2 of 4 trainings: seed 0, 1 failed"}


def test_trainings_at_a_time_take_turns_on_the_gpus(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(
        "import json, os, pathlib, sys, time\n"
        "out = pathlib.Path(sys.argv[1])\n"
        "(out / 'gpu').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "time.sleep(0.5)\n"
        "(out / 'scores.json').write_text(json.dumps({'tasks': {'rec': {'metric': 'm', 'value': 1.0}}}))\n"
    )
    train = Train(command=[sys.executable, str(script), "{out}", "{seed}"])
    cells = [cell(tmp_path, seed=seed) for seed in range(4)]
    run_cells(cells, Trainer(train, None, gpus=("2", "5")), tmp_path / "cells", 2, Board())
    used = [path.read_text() for path in (tmp_path / "cells").glob("*/gpu")]
    assert sorted(used) == ["2", "2", "5", "5"]
    assert Trainer(train, None, gpus=("2",)).key() == Trainer(train, None).key()  # where it ran changes no score


def test_only_the_bundled_trainer_is_given_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert gpus_for(Train(), 2) == ["1", "3"]
    assert gpus_for(Train(), 1) == gpus_for(Train(device="cpu"), 2) == gpus_for(Train(command="train"), 2) == []
