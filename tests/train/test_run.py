from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file
from train.conftest import TINY

from vldata.errors import BuildError
from vldata.train import run
from vldata.train.overrides import config_of

torch.set_num_threads(1)


def trained(build: Path, out: Path, *sets: str, steps: int | None = None, **options: Any) -> dict[str, Any]:
    return run.train(build, out, config_of("tiny", (*TINY, *sets), steps), device="cpu", **options)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in lines(out)]


class Interrupted(Exception):
    """As if the process had died between two steps."""


def dies_after(step: int) -> run.Progress:
    def tell(event: dict[str, Any]) -> None:
        if event.get("step") == step:
            raise Interrupted

    return tell


@pytest.fixture(scope="module")
def finished(small_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps."""
    out = tmp_path_factory.mktemp("finished") / "run"
    trained(small_build, out, steps=12)
    return out


def test_a_run_learns_and_says_what_it_did(finished: Path) -> None:
    assert [line["step"] for line in lines(finished)] == list(range(12))
    assert max(losses(finished)[-3:]) < losses(finished)[0] - 0.1
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["steps"] == 12 and summary["tokens"] == sum(line["tokens"] for line in lines(finished))
    assert summary["left_out"] == 0 and summary["device"] == "cpu"


def test_the_same_run_twice_is_the_same_to_the_bit(finished: Path, small_build: Path, tmp_path: Path) -> None:
    trained(small_build, tmp_path / "again", steps=12)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_a_run_that_died_resumes_to_the_same_bits(finished: Path, small_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        trained(small_build, out, steps=12, checkpoint_steps=3, progress=dies_after(7))
    assert not (out / "summary.json").exists() and len(lines(out)) == 8
    notes: list[Any] = []
    trained(small_build, out, steps=12, checkpoint_steps=3, progress=notes.append)
    assert {"note": "resumes from step 6 of train"} in notes
    assert losses(out) == losses(finished)
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


STAGES = (
    "stages=[{name: align, lr_projector: 1e-3, steps: 4}, "
    "{name: tune, lr_projector: 1e-3, lr_decoder: 1e-3, lora: {rank: 2, dropout: 0.1}, steps: 4}]",
)


def test_a_run_of_muon_resumes_to_the_same_bits(small_build: Path, tmp_path: Path) -> None:
    muon = "stages.0.optimizer=muon"
    trained(small_build, tmp_path / "whole", muon, steps=6)
    with pytest.raises(Interrupted):
        trained(small_build, tmp_path / "parts", muon, steps=6, checkpoint_steps=2, progress=dies_after(4))
    trained(small_build, tmp_path / "parts", muon, steps=6, checkpoint_steps=2)
    whole, parts = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_a_run_of_two_stages_with_lora_resumes_in_the_second(small_build: Path, tmp_path: Path) -> None:
    trained(small_build, tmp_path / "whole", *STAGES)

    def dies_in_the_second(event: dict[str, Any]) -> None:
        if event.get("stage") == "tune" and event["step"] == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        trained(small_build, tmp_path / "cut", *STAGES, checkpoint_steps=2, progress=dies_in_the_second)
    trained(small_build, tmp_path / "cut", *STAGES, checkpoint_steps=2)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    both = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert both[0] == both[1]


def test_frozen_parts_do_not_move_and_have_no_optimizer_state(small_build: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trained(small_build, tmp_path / "run", *STAGES, checkpoint_steps=2, progress=dies_after(3))
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    for name in ("model", "optimizer"):
        assert {key.split(".")[0] for key in load_file(saved / f"{name}.safetensors")} == {"projector"}


def test_a_finished_run_is_not_done_again(finished: Path, small_build: Path) -> None:
    before = (finished / "metrics.jsonl").stat().st_mtime_ns
    summary = trained(small_build, finished, steps=12)
    assert summary["steps"] == 12 and (finished / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(finished: Path, small_build: Path) -> None:
    with pytest.raises(BuildError, match="its config differs"):
        trained(small_build, finished, steps=13)


def test_a_folder_with_something_else_is_refused(small_build: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BuildError, match="holds no run"):
        trained(small_build, tmp_path, steps=1)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a model is made."""

    def refused(config: object) -> None:
        raise AssertionError("a model was made before the error was found")

    monkeypatch.setattr(run, "VLM", refused)


@pytest.mark.usefixtures("no_model")
def test_what_fits_in_no_pack_is_listed_before_the_first_step(small_build: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"\d+ of \d+ samples fit in no pack of 100 tokens and 16 images: \w+/"):
        trained(small_build, tmp_path / "run", "pack_tokens=100", steps=1)


def test_what_is_left_out_on_request_is_written_down(small_build: Path, tmp_path: Path) -> None:
    notes: list[Any] = []
    out = tmp_path / "run"
    summary = trained(small_build, out, "pack_tokens=100", steps=2, leave_out=True, progress=notes.append)
    listed = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    assert summary["left_out"] == len(listed) > 0 and all(one["tokens"] > 100 for one in listed)
    assert f"left out: {len(listed)} of " in notes[0]["note"]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        (("tokenizer=/nowhere",), r"there is no tokenizer\.json"),
        (("pack_images=0",), "fit in no pack"),
        (("stages.0.steps=0", "stages.0.lr_decoder=0", "stages.0.lr_vision=0", "pack_tokens=20"), "fit in no pack"),
    ],
)
def test_what_cannot_work_is_one_error_before_a_model_is_made(
    small_build: Path, tmp_path: Path, sets: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(BuildError, match=problem):
        trained(small_build, tmp_path / "run", *sets)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_model")
def test_a_folder_that_is_no_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="this is no build"):
        trained(tmp_path, tmp_path / "run", steps=1)


def test_a_gpu_that_is_not_there_is_one_error(small_build: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(BuildError, match="'cuda' is not here"):
        run.train(small_build, tmp_path / "run", config_of("tiny", TINY, 1), device="cuda")


def test_evaluation_gives_each_task_its_measure_and_the_blind_control(
    finished: Path, small_build: Path, tmp_path: Path
) -> None:
    result = run.evaluate(finished, small_build, tmp_path / "scores.json", device="cpu")
    measures = {task: row["metric"] for task, row in result["tasks"].items()}
    assert measures == {
        "caption": "cider_d",
        "rec": "accuracy_at_iou_0.5",
        "rec_flipped": "exact_match",
        "text_instruction": "token_accuracy",
        "true_false": "accuracy",
        "vqa_mc": "accuracy",
        "vqa_open": "vqa_accuracy",
    }
    assert json.loads((tmp_path / "scores.json").read_text()) == result
    for row in result["tasks"].values():
        assert row["ci_low"] <= row["value"] <= row["ci_high"] and row["n"] > 0
    items = [json.loads(line) for line in (tmp_path / "scores.items.jsonl").read_text().splitlines()]
    assert len(items) == sum(row["n"] for row in result["tasks"].values())
    text = [item for item in items if item["task"] == "text_instruction"]
    assert all(item["scores"] == item["blind"] for item in text)  # nothing to be blind to
    again = run.evaluate(finished, small_build, device="cpu", compare_with=tmp_path / "scores.json")["against"]["tasks"]
    assert {task: (row["difference"], row["n"]) for task, row in again.items()} == {
        task: (0, row["n"]) for task, row in result["tasks"].items()
    }


def test_an_unfinished_run_is_not_evaluated(small_build: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trained(small_build, tmp_path / "run", steps=3, progress=dies_after(1))
    with pytest.raises(BuildError, match="the run is not finished"):
        run.evaluate(tmp_path / "run", small_build, device="cpu")


def test_a_split_that_is_not_there_is_named(finished: Path, small_build: Path) -> None:
    with pytest.raises(BuildError, match="it has no split test; it has train, val"):
        run.evaluate(finished, small_build, split="test", device="cpu")


SCRIPT = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from vldata.train.overrides import config_of
from vldata.train.run import train
config = config_of("tiny", sys.argv[3].split(), int(sys.argv[4]))
print(train(Path(sys.argv[1]), Path(sys.argv[2]), config, device="cpu", checkpoint_steps=10_000).get("stopped"))
"""


def test_sigterm_saves_and_stops(small_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(small_build), str(out), " ".join(TINY), "5000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out / "metrics.jsonl").is_file() or len((out / "metrics.jsonl").read_bytes().splitlines()) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0].strip() == "True"
    (saved,) = (out / "checkpoints").iterdir()
    assert json.loads((saved / "state.json").read_text())["step"] == len(lines(out))
