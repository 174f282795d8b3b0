"""`vldata synth run`, killed again and again: nothing that was answered is requested twice, and the end is the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.kills import KILLS
from tests.llm.server import BillingServer, ReceivedRequest, answer
from vldata import build
from vldata.recipe.load import load

SAMPLES = 16 * KILLS  # more than are answered before the last kill
CONCURRENCY = 8
REPLY = (
    "Question:\nWhat is in picture {n}?\n===\nAnswer:\nSeveral plain shapes, as {n} tells.\n===\n"
    "Question:\nIs there a photograph of a dog?\n===\nAnswer:\nNo, there are only shapes {n}."
)
CLI = Path(__file__).parents[2] / "cli.py"


def slow(request: ReceivedRequest) -> Any:
    return answer(REPLY.format(n=request.digest[:8]), delay_s=0.05)


def quick(request: ReceivedRequest) -> Any:
    return answer(REPLY.format(n=request.digest[:8]))


def started(folder: Path, url: str, answers: str) -> subprocess.Popen[str]:
    command = ["synth", "run", "recipe.yaml", "--store", "store", "--answers", answers, "--endpoint", url]
    return subprocess.Popen(
        [sys.executable, str(CLI), *command, "--concurrency", str(CONCURRENCY), "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def table_of(folder: Path, answers: str, monkeypatch: Any) -> pl.DataFrame:
    monkeypatch.setenv("VLDATA_ANSWERS", str(folder / answers))
    built = build(load(folder / "recipe.yaml"), folder / f"out-{answers}", store=folder / "store", workers=1)
    assert not built.manifest["sources"]["chat"]["rejected"]
    return pl.concat(pl.read_ipc_stream(file) for file in sorted(built.out.rglob("data-*.arrow")))


@pytest.mark.timeout(60 * (KILLS + 2))
def test_kills_lose_nothing_that_was_paid_for(tmp_path: Path, monkeypatch: Any) -> None:
    chat = {"from": "captions", "kind": "llava.conversation", "model": "tiny", "total": SAMPLES}
    sources = {"captions": {"format": "shapes", "scenes": SAMPLES + 10, "side_px": 96}, "chat": {"synth": chat}}
    recipe = {"name": "chat", "sources": sources, "mixture": {"sources": {"captions": 0, "chat": 1}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "config.yaml").write_text("endpoints: {}\n")
    monkeypatch.setenv("VLDATA_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    random.seed(7)
    in_flight = 0
    with BillingServer(quick) as server:
        process = started(tmp_path, server.url, "undisturbed")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)[0]["kept"] == SAMPLES
        expected = table_of(tmp_path, "undisturbed", monkeypatch)
    with BillingServer(slow) as server:
        for _ in range(KILLS):
            process = started(tmp_path, server.url, "killed")
            before = len(server.received)
            wait_until = time.monotonic() + 30
            while len(server.received) == before and process.poll() is None and time.monotonic() < wait_until:
                time.sleep(0.005)
            time.sleep(random.uniform(0.0, 0.12))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
            in_flight += CONCURRENCY
        server.script = quick
        process = started(tmp_path, server.url, "killed")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        state = json.loads(out)[0]
        distinct = len({request.digest for request in server.received})
        assert distinct == SAMPLES
        assert distinct <= server.bill.requests <= distinct + in_flight
    assert (state["kept"], state["wanting"]) == (SAMPLES, 0)
    assert table_of(tmp_path, "killed", monkeypatch).equals(expected)
