"""Whole ablations with a command in place of a trainer: the table, what fails, what is missing, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ablation.conftest import compared, run, without_seconds  # type: ignore[import-not-found]

from vldata.ablation.load import Opened
from vldata.errors import BuildError

Make = Callable[..., Opened]
Tree = dict[str, Any]
AXES = {"drop": ["captions", "boxes"], "total": [120], "set": {"output.block_rows": [7]}}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """One store for all: what is tested is what comes after the blocks."""
    return {"store": tmp_path_factory.mktemp("ablation") / "store", "workers": 1}


def test_a_task_that_is_left_out_is_worse_and_nothing_else_is(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    table = run(opened(held="counts", seeds=3, axes=AXES, train=command()), tmp_path / "out", jobs=2, **options)
    verdicts = {
        name: {t: one["verdict"] for t, one in compared(table, name).items()}
        for name in ("drop-captions", "drop-boxes", "block_rows-7")
    }
    none = "no difference shown"
    assert verdicts == {
        "drop-captions": {"caption": "worse", "rec": none, "vqa_open": none},
        "drop-boxes": {"caption": none, "rec": "worse", "vqa_open": none},
        "block_rows-7": {"caption": none, "rec": none, "vqa_open": none},
    }
    assert {one["name"]: one["same_as"] for one in table["variants"]}["total-120"] == "base"
    assert not compared(table, "total-120")
    assert {one["verdict"] for one in table["noise"]} == {none}
    assert not table["failed"] and not table["missing"]
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == table
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "out" / "results.md").read_text().splitlines()]
    bold = {
        row[0]: [cell.startswith("**−") for cell in row[1:]] for row in rows if row[0].startswith(("drop", "base a"))
    }
    assert rows[0][0].startswith("caption") and [cell.split()[0] for cell in rows[0]] == ["caption", "rec", "vqa_open"]
    assert bold == {
        "drop-captions": [True, False, False],
        "drop-boxes": [False, True, False],
        "base against itself": [False, False, False],
    }


def test_no_difference_is_claimed_whose_interval_contains_zero(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    table = run(opened(held="counts", seeds=3, axes={"drop": "tasks"}, train=command()), tmp_path / "out", **options)
    for one in (*table["comparisons"], *table["noise"]):
        contains = one["ci_low"] <= 0 <= one["ci_high"]
        assert (one["verdict"] == "no difference shown") == contains
        assert one["ci_low"] <= one["difference"] <= one["ci_high"]


def test_every_variant_is_scored_on_the_same_and_photographs_are_counted_once(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    table = run(opened(held="total", seeds=3, axes={"drop": ["more"]}, train=command()), tmp_path / "out", **options)
    cells = [one for one in table["cells"] if one["task"] == "vqa_open"]
    assert {one["n"] for one in cells} == {compared(table, "drop-more")["vqa_open"]["items"]}
    assert len([one for one in cells if one["variant"] == "base"]) == len(table["base_seeds"]) == 6
    assert table["seeds"] == [0, 1, 2] and table["data_seeds"] == [3]


def test_a_command_that_ignores_its_seed_is_noted(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    for number, (words, is_noted) in enumerate(((("seedless",), True), ((), False))):
        table = run(opened(axes={"total": [60]}, seeds=3, train=command(*words)), tmp_path / str(number), **options)
        assert any("does the command use {seed}?" in note for note in table["notes"]) == is_noted


def test_a_second_run_trains_nothing_and_a_new_seed_only_itself(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    ablation = opened(axes={"total": [60]}, train=command())
    first = run(ablation, tmp_path / "out", seeds=3, **options)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").glob("*/done.json")}
    assert len(done) == 9
    assert run(ablation, tmp_path / "out", seeds=3, **options) == first
    run(ablation, tmp_path / "out", seeds=4, **options)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").glob("*/done.json")}
    assert len(after) == 12 and done.items() <= after.items()


def test_a_changed_script_is_trained_again(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    ablation = opened(axes={"total": [60]}, train=command())
    run(ablation, tmp_path / "out", seeds=1, **options)
    script = tmp_path / "trainer.py"
    script.write_text(script.read_text() + "\n# changed\n")
    run(ablation, tmp_path / "out", seeds=1, **options)
    assert len(list((tmp_path / "out" / "cells").glob("*/done.json"))) == 6


def test_a_failed_cell_is_shown_with_its_error_and_tried_again_next_time(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    axes = {"drop": ["captions", "boxes"]}
    failing = ["fail=drop-captions/1", *(f"fail=drop-boxes/{seed}" for seed in range(3))]
    ablation = opened(held="counts", seeds=3, axes=axes, train=command(*failing))
    table = run(ablation, tmp_path / "out", jobs=2, **options)
    failed = {(one["variant"], one["seed"]) for one in table["failed"]}
    assert failed == {("drop-captions", 1), ("drop-boxes", 0), ("drop-boxes", 1), ("drop-boxes", 2)}
    assert {one["stage"] for one in table["failed"]} == {"train"}
    assert all("out of memory" in one["error"] and "exit code 1" in one["error"] for one in table["failed"])
    missing = {(one["variant"], one["task"]): one["why"] for one in table["missing"]}
    assert missing["drop-captions", "rec"] == "2 of 3 trainings: seed 1 failed"
    assert missing["drop-boxes", "rec"] == "every training failed"
    pasted = (tmp_path / "out" / "results.md").read_text()
    assert "- drop-captions, rec: 2 of 3 trainings: seed 1 failed" in pasted and "- failed: drop-boxes, train" in pasted
    assert "| drop-boxes | – | – | – |" in pasted
    assert compared(table, "drop-captions")["rec"]["seeds"] == 2 and not compared(table, "drop-boxes")
    script = tmp_path / "trainer.py"
    script.write_text(script.read_text().replace('sys.exit("out of memory")', "pass"))
    repaired = run(ablation, tmp_path / "out", jobs=2, **options)
    assert not repaired["failed"] and not repaired["missing"]


def test_when_every_training_of_the_base_fails_nothing_is_compared(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    ablation = opened(seeds=1, axes={"total": [60]}, train=command("fail=base/0", "fail=base/1"))
    table = run(ablation, tmp_path / "out", **options)
    assert table["comparisons"] == [] and table["noise"] == []
    assert "nothing to compare" in table["missing"][0]["why"]


def test_a_variant_that_cannot_be_built_is_a_failed_one(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    table = run(opened(seeds=1, axes={"total": [100_000, 60]}, train=command()), tmp_path / "out", **options)
    assert [(one["variant"], one["stage"]) for one in table["failed"]] == [("total-100000", "build")]
    assert {one["variant"] for one in table["missing"]} == {"total-100000"}
    assert compared(table, "total-60")


@pytest.mark.parametrize(
    ("option", "said"), [("broken", "tasks"), ("none", "the command left no such file")], ids=["broken", "none"]
)
def test_a_metrics_file_that_is_none_is_a_failed_cell(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path, option: str, said: str
) -> None:
    train = command("broken") if option == "broken" else {"command": "true {build} {seed}"}
    table = run(opened(seeds=1, axes={"total": [60]}, train=train), tmp_path / "out", **options)
    assert len(table["failed"]) == 3
    assert all(one["stage"] == "evaluate" and said in one["error"] for one in table["failed"])


def test_without_single_answers_nothing_is_claimed(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    ablation = opened(held="counts", seeds=3, axes={"drop": ["captions"]}, train=command("no-items"))
    table = run(ablation, tmp_path / "out", **options)
    one = compared(table, "drop-captions")["caption"]
    assert one["difference"] < 0 and one["verdict"] == "no difference shown"
    assert one["ci_low"] is None and one["ci_high"] is None
    assert {m["task"] for m in table["missing"] if "scores.items.jsonl" in m["why"]} == {"caption", "rec", "vqa_open"}


def test_questions_in_other_words_are_of_the_same_rows(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    axes = {"templates": {"per": ["task_name"]}, "conversation": {"max_turns": [4]}}
    variants = {"both": {"templates.per": "task_name", "total": 60}}
    ablation = opened(seeds=3, axes=axes, variants=variants, train=command(), evaluate={"words": "own"})
    table = run(ablation, tmp_path / "out", **options)
    requests = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").glob("*/cell.json")]
    assert {one["variant"]: one["questions"] for one in requests} == {
        "base": "builds/base",
        "max_turns-4": "builds/base",
        "per-task_name": "builds/per-task_name",
        "both": "builds/per-task_name",
    }
    items = {one["task"]: one["items"] for one in table["noise"]}
    assert {(one["task"], one["items"]) for one in table["comparisons"]} == set(items.items())
    assert not table["missing"]


def test_questions_may_come_from_a_recipe_of_their_own(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path, tree: Tree
) -> None:
    questions = {**tree, "name": "q", "mixture": {"total": 40}, "splits": {"test": 0.5}}
    for number, source in enumerate(questions["sources"].values()):
        source["world_seed"] = 50 + number
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(questions))
    ablation = opened(seeds=1, axes={"total": [60]}, train=command(), evaluate={"recipe": "q.yaml"})
    run(ablation, tmp_path / "out", **options)
    requests = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").glob("*/cell.json")]
    assert {(one["questions"], one["split"]) for one in requests} == {("held_out/questions", "test")}


def test_questions_about_images_that_are_trained_on_are_noted(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path, tree: Tree
) -> None:
    sources = {name: {**tree["sources"][name], "world_seed": n} for n, name in ((0, "captions"), (9, "questions"))}
    questions = {**tree, "name": "q", "sources": sources, "mixture": {"total": 40}}
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(questions))
    requests = {"recipe": "q.yaml", "split": "train"}
    axes = {"drop": ["captions", "boxes"]}
    ablation = opened(held="counts", seeds=1, axes=axes, train=command(), evaluate=requests)
    table = run(ablation, tmp_path / "out", **options)
    (note,) = [note for note in table["notes"] if "of the questions" in note]
    names = {part.split()[0] for part in note.partition(": ")[2].split(", ")}
    assert names == {"base", "drop-boxes"}  # the questions are of the world of the captions
    clean = run(opened(seeds=1, axes={"total": [60]}, train=command()), tmp_path / "clean", **options)
    assert not [note for note in clean["notes"] if "of the questions" in note]


def test_a_variant_that_would_train_on_the_questions_is_a_failed_one(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    """Splits go by the images' bytes: the same scenes at another size are split again."""
    axes = {"set": {"sources.captions.side_px": [128]}, "total": [60]}
    table = run(opened(seeds=1, axes=axes, train=command()), tmp_path / "out", **options)
    ((name, error),) = [(one["variant"], one["error"]) for one in table["failed"]]
    assert name == "side_px-128" and "of the questions' rows" in error and "evaluate" in error
    assert not compared(table, "side_px-128") and compared(table, "total-60")


def test_texts_of_the_questions_that_are_trained_on_are_noted(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path, tree: Tree
) -> None:
    sums = {"format": "shapes", "task": "text_instruction", "scenes": 60, "world_seed": 5}
    tree["sources"] = {"captions": tree["sources"]["captions"], "sums": sums}
    tree["mixture"] = {"total": 80, "sources": {"captions": 1, "sums": 1}}
    questions = {"name": "q", "sources": {"sums": sums}, "mixture": {"total": 30}}
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(questions))
    requests = {"recipe": "q.yaml", "split": "train"}
    table = run(opened(seeds=1, axes={"total": [60]}, train=command(), evaluate=requests), tmp_path / "out", **options)
    assert any(note.startswith("trained on texts of the questions") for note in table["notes"])


def test_another_score_is_compared_without_training_again(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    """The scripted trainer's ``nll`` is 1 - chance, so with a minus it has the accuracy's direction."""
    shape: Tree = {"held": "counts", "seeds": 3, "axes": {"drop": ["captions"]}, "train": command()}
    first = run(opened(**shape), tmp_path / "out", **options)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").glob("*/done.json")}
    table = run(opened(**shape, evaluate={"metric": "-nll"}), tmp_path / "out", **options)
    assert done == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").glob("*/done.json")}
    one = compared(table, "drop-captions")["caption"]
    assert (one["metric"], one["verdict"], one["items"]) == ("-nll", "worse", first["comparisons"][0]["items"])
    assert all(cell["value"] < 0 for cell in table["cells"])
    (damaged, *_) = (tmp_path / "out" / "cells").glob("*/scores.items.jsonl")
    whole = damaged.read_text()
    damaged.write_text(whole.replace('"nll"', '"other"'))
    table = run(opened(**shape, evaluate={"metric": "-nll"}), tmp_path / "out", **options)
    ((stage, error),) = [(one["stage"], one["error"]) for one in table["failed"]]
    assert stage == "evaluate" and "evaluate.metric: -nll: the answers have no such score" in error
    damaged.write_text(whole)
    with pytest.raises(BuildError, match="did you mean 'nll'"):
        run(opened(**shape, evaluate={"metric": "-nl"}), tmp_path / "out", **options)


def test_data_seeds_draw_other_rows_and_never_those_of_the_questions(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    from vldata.ablation.scores import photographs

    ablation = opened(seeds=2, data_seeds=2, axes={"total": [60]}, train=command())
    table = run(ablation, tmp_path / "out", **options)
    assert table["data_seeds"] == [3, 4, 5, 6]
    assert {(one["seed"], one["data_seed"]) for one in table["cells"] if one["variant"] == "total-60"} == {
        (0, 3),
        (1, 4),
    }
    builds = tmp_path / "out" / "builds"
    requests = set(photographs(builds / "base", "val").values())
    assert requests and not requests & set(photographs(builds / "base", "train").values())
    for seed in (4, 5, 6):
        assert not requests & set(photographs(builds / f"base@{seed}", "train").values())
    with pytest.raises(BuildError, match="write 1, or 2"):
        run(opened(seeds=2, data_seeds=3, axes={"total": [60]}, train=command()), tmp_path / "other", **options)


def test_only_some_variants_or_only_the_builds(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    ablation = opened(held="counts", seeds=1, axes={"drop": "sources"}, train=command())
    plan = run(ablation, tmp_path / "out", builds_only=True, **options)
    assert len(plan["variants"]) == 5 and not (tmp_path / "out" / "cells").exists()
    table = run(ablation, tmp_path / "out", chosen=["drop-more"], **options)
    assert [one["name"] for one in table["variants"]] == ["base", "drop-more"]
    with pytest.raises(BuildError, match="did you mean 'drop-more'"):
        run(ablation, tmp_path / "out", chosen=["drop-mor"], **options)


def test_what_cannot_run_is_refused_before_anything_is_built(
    opened: Make, command: Callable[..., Tree], options: Tree, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(BuildError, match="no ablation"):
        run(opened(axes={"total": [60]}, train=command()), tmp_path / "full", **options)
    for text in ("train {biuld}", "train '", "  "):
        with pytest.raises(BuildError, match=r"train\.command"):
            run(opened(axes={"total": [60]}, train={"command": text}), tmp_path / "out", **options)
    assert not (tmp_path / "out" / "builds").exists()


def test_killed_at_any_moment_it_resumes_and_the_table_is_the_same(
    tree: Tree, command: Callable[..., Tree], tmp_path: Path
) -> None:
    data = {"name": "k", "base": tree, "held": "counts", "seeds": 3, "axes": {"drop": ["captions"]}}
    (tmp_path / "k.yaml").write_text(yaml.safe_dump({**data, "train": command("slow")}))
    words = [sys.executable, "-c", "from vldata.cli.main import main; main()", "ablate", "k.yaml", "--workers", "1"]

    def start(out: str) -> subprocess.Popen[bytes]:
        store = ["--store", f"{out}-store", "--out", out, "--json"]
        here = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": here}
        return subprocess.Popen(
            [*words, *store], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def cells() -> int:
        return len(list((tmp_path / "killed" / "cells").glob("*/done.json")))

    for num_done, signals in (
        (0, os.killpg),
        (2, os.kill),
    ):  # with its processes, and without: they live on for a moment
        process = start("killed")
        while process.poll() is None and not (cells() >= num_done and (tmp_path / "killed" / "cells").exists()):
            time.sleep(0.02)
        assert process.poll() is None, "it was done before it could be killed"
        signals(process.pid, signal.SIGKILL)
        process.wait()
    done = cells()
    assert 2 <= done < 9
    assert start("killed").wait() == 0 and start("whole").wait() == 0
    killed, whole = (json.loads((tmp_path / out / "results.json").read_text()) for out in ("killed", "whole"))
    assert without_seconds(killed) == without_seconds(whole)
    logs = [(path / "log.txt").read_text() for path in (tmp_path / "killed" / "cells").iterdir()]
    assert len(logs) == 9 and sum(log.count("$ ") for log in logs) > 9  # some were begun twice, none is left out


def test_on_sigterm_it_ends_what_it_started_and_resumes_later(tree: Tree, tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    train = {"command": [sys.executable, "-S", str(script), "{seed}"]}
    data = {"name": "t", "base": tree, "seeds": 1, "axes": {"total": [60]}, "train": train}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(data))
    words = ["-c", "from vldata.cli.main import main; main()", "ablate", "t.yaml", "--workers", "1", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, *words, "--store", "store", "--out", "out"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
    )
    logs: list[Path] = []
    while process.poll() is None and sum("\n" in log.read_text().partition("\n")[2] for log in logs) < 2:
        time.sleep(0.05)
        logs = list((tmp_path / "out" / "cells").glob("*/log.txt"))
    process.terminate()
    text = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 130 and "run the command again to go on" in text and "Traceback" not in text
    for log in logs:
        assert not Path(f"/proc/{log.read_text().split()[-1]}").exists()
    assert not list((tmp_path / "out" / "cells").glob("*/failed.json"))
