"""`vldata train` and `vldata eval` as a stranger meets them: JSON for scripts, and one clear error for each mishap."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from datasets import Dataset
from train.conftest import TINY

from vldata.cli import main as app

torch.set_num_threads(1)

Said = tuple[int, str, str]
"""Exit code, stdout, stderr with its lines joined."""


@pytest.fixture
def vldata(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr("sys.argv", ["vldata", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, " ".join(captured.err.split())

    return run


SETS = [part for change in TINY for part in ("--set", change)]


def row(number: int, **changed: Any) -> dict[str, Any]:
    question = {"role": "user", "content": [{"type": "text", "text": f"What is {number}?"}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": f"it is {number}"}]}
    return {"id": f"a/{number}", "messages": [question, answer], "source": "a", "task": "vqa_open", **changed}


def written(folder: Path, rows: int = 6, splits: tuple[str, ...] = ("train", "val"), **changed: Any) -> Path:
    """A build of text alone, or whatever is changed."""
    for split in splits:
        Dataset.from_list([row(n, **changed) for n in range(rows)]).save_to_disk(str(folder / split))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def test_train_and_eval_print_json_and_nothing_else(vldata: Callable[..., Said], tmp_path: Path) -> None:
    build, run = written(tmp_path / "build"), tmp_path / "run"
    code, out, _ = vldata("train", build, "--out", run, "--steps", 2, *SETS, "--device", "cpu", "--json")
    assert code == 0 and json.loads(out)["steps"] == 2
    code, out, _ = vldata("eval", run, build, "--out", tmp_path / "scores.json", "--device", "cpu", "--json")
    assert code == 0 and json.loads(out) == json.loads((tmp_path / "scores.json").read_text())
    assert {"metric", "value", "ci_low", "ci_high", "n", "blind"} <= json.loads(out)["tasks"]["vqa_open"].keys()
    code, out, err = vldata("train", build, "--out", run, "--steps", 3, *SETS, "--device", "cpu", "--json")
    assert code == 2 and out == "" and "another run: its config differs" in err


STAGES = ["--set", "stages=[{name: one, lr_decoder: 1e-3, steps: 2}, {name: two, lr_decoder: 1e-3, steps: 2}]"]


def test_stages_and_builds_meet_by_name(vldata: Callable[..., Said], tmp_path: Path) -> None:
    first, second = written(tmp_path / "a"), written(tmp_path / "b", rows=9)
    run = tmp_path / "run"
    code, out, _ = vldata("train", f"two={second}", f"one={first}", "--out", run, *SETS, *STAGES, "--json")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert code == 0 and json.loads(out)["steps"] == 4
    # a step is one pack, which holds all of a build so small
    assert [(line["stage"], line["samples"]) for line in lines] == [("one", 6)] * 2 + [("two", 9)] * 2
    assert json.loads((run / "run.json").read_text())["builds"] == {"one": str(first), "two": str(second)}


@pytest.mark.parametrize(
    ("builds", "problem"),
    [
        (["one={a}"], "no build for stage two"),
        (["one={a}", "too={a}"], "the run has no stage 'too'; its stages: one, two fix: did you mean 'two'?"),
        (["one={a}", "{a}"], "of several builds, this one says no stage"),
        (["one={a}", "one={a}", "two={a}"], "stage 'one' has a build already"),
    ],
)
def test_a_stage_without_a_build_and_a_build_without_a_stage(
    vldata: Callable[..., Said], tmp_path: Path, builds: list[str], problem: str
) -> None:
    a = written(tmp_path / "a")
    code, _, err = vldata("train", *(one.format(a=a) for one in builds), "--out", tmp_path / "run", *STAGES)
    assert code == 2 and problem in err and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--preset", "tinny"], "no preset named 'tinny' fix: did you mean 'tiny'?"),
        (["--set", "decoder.widht=64"], "decoder.widht: unknown key fix: did you mean 'width'?"),
        (["--set", "decoder.width"], "no value given"),
        (["--set", "decoder.width=["], "this is no YAML"),
        (["--set", "decoder.width=abc"], "'abc' is not a whole number"),
        (["--set", "decoder.heads=3"], "3 heads do not divide a width of 128"),
        (["--set", "decoder.heads=0", "--set", "vision.patch_px=0"], "decoder.heads: 0 is not a number of at least 1"),
        (
            ["--set", "decoder.heads=0", "--set", "vision.patch_px=0"],
            "vision.patch_px: 0 is not a number of",
        ),
        (["--set", "vision.heads=5"], "5 heads do not divide a width of 192"),
        (["--set", "vision.layer=-9"], "-9 is no hidden state of 1 blocks"),
        (["--set", "stages=[]"], "there is none, so nothing would learn"),
        (["--set", "stages.0.packs_per_step=0"], "stages.0.packs_per_step: 0 is not a number of at least 1"),
        (["--set", "stages.0.lora.targets=("], "is no regular expression"),
        (["--set", "projector={kind: pixel_shuffle, factor: 4}"], "a grid of 6x6 patches cannot be folded by 4"),
        (["--set", "shard=true"], "Muon steps with whole matrices"),
        (["--set", "anyres.grids=[2by2]"], "'2by2' is no grid"),
        (["--device", "gpu"], "'gpu' is not here"),
        (["--set", "vision_dir=/nowhere"], "/nowhere/config.json: no such file"),
        (["--set", "decoder_dir=/nowhere"], "/nowhere/config.json: no such file"),
    ],
)
def test_arguments_that_cannot_work(
    vldata: Callable[..., Said], tmp_path: Path, arguments: list[str], problem: str
) -> None:
    code, out, err = vldata("train", written(tmp_path / "b"), "--out", tmp_path / "run", "--steps", 1, *arguments)
    assert (code, out) == (2, "") and problem in err and "fix:" in err


def test_builds_that_cannot_be_trained_on(vldata: Callable[..., Said], tmp_path: Path) -> None:
    def error_of(build: Path, *more: object) -> str:
        code, _, err = vldata("train", build, "--out", tmp_path / "run", "--steps", 1, *SETS, *more)
        assert code == 2 and not (tmp_path / "run").exists()
        return err

    assert "there is neither a dataset_dict.json nor a state.json" in error_of(tmp_path / "nothing")
    assert "no rows in a split named train; its splits: val (6)" in error_of(written(tmp_path / "v", splits=("val",)))
    gone = written(tmp_path / "g", images=[{"bytes": None, "path": "/nowhere/1.jpg"}])
    for split in ("train", "val"):  # a place for each image
        rows = [row(n, images=[{"bytes": None, "path": f"/nowhere/{n}.jpg"}]) for n in range(6)]
        for one in rows:
            one["messages"][0]["content"].insert(0, {"type": "image", "text": None})
        shutil.rmtree(gone / split)
        Dataset.from_list(rows).save_to_disk(str(gone / split))
    assert "6 of 6 images are not where the build says: /nowhere/0.jpg, /nowhere/1.jpg" in error_of(gone)
    text = written(tmp_path / "t")
    assert "learns from images alone, and the build has none" in error_of(text, "--set", "stages.0.lr_decoder=0")


def test_run_folders_of_all_kinds(vldata: Callable[..., Said], tmp_path: Path) -> None:
    build, run = written(tmp_path / "build"), tmp_path / "run"
    train = ["train", build, "--out", run, "--steps", 2, *SETS, "--json"]
    # killed before its run.json was written
    run.mkdir()
    (run / "tokenizer.json").write_text("{")
    (run / ".writing-run.json").write_text("{")
    assert vldata(*train)[0] == 0
    assert not list(run.glob(".writing-*"))
    # trained on other data
    code, _, err = vldata("train", written(tmp_path / "other", rows=5), *train[2:])
    assert code == 2 and "another run: its data differs" in err
    # not to be read any more
    whole = (run / "run.json").read_bytes()
    (run / "run.json").write_bytes(b"{half")
    for command in (train, ["eval", run, build]):
        code, _, err = vldata(*command)
        assert code == 2 and "run.json: it cannot be read" in err
    (run / "run.json").write_bytes(whole)
    (run / "model.safetensors").write_bytes(b"\x00")
    code, _, err = vldata("eval", run, build)
    assert code == 2 and "model.safetensors: the weights cannot be read" in err
    # a file, a run that is none, a split that is none
    code, _, err = vldata("train", build, "--out", run / "run.json", *train[4:])
    assert code == 2 and "this is a file" in err
    code, _, err = vldata("eval", build, build)
    assert code == 2 and "this is no run" in err
    code, _, err = vldata("eval", run, written(tmp_path / "t", splits=("train",)))
    assert code == 2 and "it has no split val or validation or test; it has train" in err


def test_a_folder_that_is_being_trained_into_is_left_alone(vldata: Callable[..., Said], tmp_path: Path) -> None:
    from vldata.train.folder import RunFolder

    build, run = written(tmp_path / "build"), tmp_path / "run"
    train = ["train", build, "--out", run, "--steps", 2, *SETS, "--json"]
    assert vldata(*train)[0] == 0
    (run / "summary.json").unlink()
    with RunFolder(run).locked():
        code, _, err = vldata(*train)
    assert code == 2 and "another process trains into this folder" in err


def test_a_loss_that_is_no_number_ends_the_run(vldata: Callable[..., Said], tmp_path: Path) -> None:
    rates = ["--set", "stages.0.lr_decoder=1e20", "--set", "stages.0.clip=0", "--set", "stages.0.warmup=0"]
    code, _, err = vldata("train", written(tmp_path / "b"), "--out", tmp_path / "run", "--steps", 9, *SETS, *rates)
    assert code == 2 and "the loss is no finite number any more" in err
