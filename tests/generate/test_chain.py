"""Synthetic sources that are made from synthetic sources: caption -> QA -> judge -> filter."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.generate.places import Place
from tests.kills import KILLS
from tests.llm.server import ReceivedRequest, answer
from vldata import build
from vldata.errors import RecipeErrors
from vldata.recipe.load import from_tree

CLI = Path(__file__).parents[2] / "cli.py"
NUMBER = 12 * KILLS
CAPTION = "A drawing of plain coloured shapes of kind {n}: some lie on the left, others on the right, none above {n}."


def chain(scenes: int = NUMBER, **qa: Any) -> dict[str, Any]:
    caption = {"from": "scenes", "kind": "recaption", "model": "seer", "total": NUMBER, "same_answers": None}
    return {
        "name": "chain",
        "seed": 3,
        "defaults": {"max_reject_rate": 0.5},
        "sources": {
            "judged": {
                "synth": {"from": ["qa", "caption"], "kind": "qa.judge", "model": "sage", "same_answers": None},
                "where": "score >= 4",
            },
            "qa": {
                "synth": {
                    "from": "caption",
                    "kind": "llava.conversation",
                    "model": "talker",
                    "same_answers": None,
                    **qa,
                }
            },
            "scenes": {"format": "shapes", "scenes": scenes, "side_px": 96},
            "caption": {"synth": caption},
        },
        "mixture": {"sources": {"scenes": 0, "caption": 0, "qa": 0, "judged": 1}},
    }


def drawn(request: ReceivedRequest, low: int, high: int) -> int:
    """By the last message alone, so that it is the same whatever else is in the request."""
    text = json.dumps(request.body["messages"][-1])
    return low + int(hashlib.blake2b(text.encode(), digest_size=4).hexdigest(), 16) % (high - low + 1)


def said(request: ReceivedRequest, delay_s: float = 0.0) -> Any:
    n = drawn(request, 100_000, 999_999)
    if request.body["model"] == "seer":
        is_bad = n % 6 == 0
        text = "Sorry, I cannot see the image." if is_bad else CAPTION.format(n=n)
    elif request.body["model"] == "talker":
        text = (
            f"Question:\nWhat lies there, of kind {n}?\n===\nAnswer:\nSome plain shapes of kind {n} lie there.\n===\n"
            f"Question:\nIs there a dog beside the shapes {n}?\n===\nAnswer:\nNo, there is none beside {n}."
        )
    else:
        score = 3 + n % 3
        marks = dict.fromkeys(("correctness", "relevance", "visual_dependency", "formatting"), score)
        text = json.dumps({"reasons": f"as {n} says", "scores": marks})
    return answer(text, delay_s=delay_s)


@pytest.fixture
def place(shapes_place: Place) -> Place:
    shapes_place.server.script = said
    (shapes_place.folder / "config.yaml").write_text(
        "endpoints:\n  openai:\n    url: https://api.openai.com/v1\n    prices:\n"
        + "".join(
            f"      {model}: {{input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}}\n"
            for model in ("seer", "talker", "sage")
        )
    )
    return shapes_place


def built(place: Place, made: dict[str, Any], out: str = "out") -> Any:
    answers = place.where["answers"]
    return build(from_tree(made), place.folder / out, store=place.where["store"], workers=1, answers=answers)


def table(folder: Path) -> pl.DataFrame:
    return pl.concat(pl.read_ipc_stream(file) for file in sorted(folder.rglob("data-*.arrow")))


def test_one_run_does_the_whole_chain_and_the_filter_keeps_what_has_the_scores(place: Place) -> None:
    rows = {row["source"]: row for row in place.session(chain()).run()}
    assert list(rows) == ["caption", "qa", "judged"]
    captions = rows["caption"]["kept"]
    assert 0 < captions < NUMBER and rows["caption"]["dropped"] == {"refusal": NUMBER - captions}
    assert (rows["qa"]["samples"], rows["qa"]["turns"]) == (captions, 2 * captions)
    assert (rows["judged"]["samples"], rows["judged"]["kept"]) == (2 * captions, 2 * captions)
    assert place.num_paid == NUMBER + captions + 2 * captions
    manifest = built(place, chain()).manifest
    judged = manifest["sources"]["judged"]
    good = [
        n
        for request in place.server.received
        if request.body["model"] == "sage"
        if (n := drawn(request, 100_000, 999_999)) % 3
    ]
    assert judged["rows_out"] == len(good) and judged["reasons"]["where"] == 2 * captions - len(good) > 0
    assert all(manifest["synth"][name]["cost_usd"] > 0 for name in ("caption", "qa", "judged"))
    asked = [
        request.body["messages"][-1]["content"] for request in place.server.received if request.body["model"] == "sage"
    ]
    assert all(text.startswith("What is known about the image:\nA drawing of plain") for text in asked)
    assert place.session(chain()).run()[0]["requests"] == 0


def test_a_change_upstream_sends_only_what_it_changes(place: Place) -> None:
    place.session(chain()).run()
    before = place.num_paid
    more = chain()
    more["sources"]["caption"]["synth"]["total"] = NUMBER - 3
    assert sum(row["requests"] for row in place.session(more).run()) == 0
    hot = chain(parameters={"temperature": 0.1})
    rows = {row["source"]: row for row in place.session(hot).run()}
    captions = rows["caption"]["kept"]
    assert rows["caption"]["requests"] == 0 and rows["qa"]["requests"] == captions
    assert rows["judged"]["requests"] == 0, "the model says the same, so nothing new is judged"
    assert place.num_paid == before + captions


def test_a_source_alone_takes_what_is_there_of_those_before_it(place: Place) -> None:
    (row,) = place.session(chain(), names=("qa",)).run()
    assert (row["source"], row["samples"], place.num_paid) == ("qa", 0, 0)
    place.session(chain(), names=("caption",)).run()
    assert [row["source"] for row in place.session(chain(), names=("judged", "qa")).run()] == ["qa", "judged"]


def test_the_plan_knows_what_is_known_and_gives_a_range_for_the_rest(place: Place) -> None:
    caption, qa, judged = place.session(chain()).plan()
    assert (caption["to_send"], qa["to_send"], judged["to_send"]) == (NUMBER, 0, 0)
    assert caption["later"] is None
    assert qa["later"]["requests"] == [0, NUMBER]
    assert judged["later"]["requests"] == [0, 12 * NUMBER], "as many turns as the kind allows"
    first = place.command("plan", chain()).output
    assert f"qa: 0 to {NUMBER:,} more once `caption` is answered" in first and "in all:" in first
    place.session(chain(), names=("caption",)).run()
    caption, qa, judged = place.session(chain()).plan()
    captions = caption["hits"] - sum(place.status(chain(), names=("caption",))["dropped"].values())
    assert (qa["to_send"], qa["later"]) == (captions, None)
    assert judged["later"]["requests"] == [0, 12 * captions]
    spent = sum(row["spent_usd"] for row in place.session(chain()).run())
    assert qa["cost_usd"]["low"] < spent <= qa["cost_usd"]["max"] + judged["later"]["cost_usd"][1]
    assert [row["later"] for row in place.session(chain()).plan()] == [None] * 3


def test_batches_do_the_chain_too(place: Place) -> None:
    rows = place.session(chain()).export(place.folder / "files")
    assert [row["requests"] for row in rows] == [NUMBER, 0, 0]


@pytest.mark.parametrize("origin", ["judged", "qa"])
def test_a_chain_that_bites_its_tail_is_an_error(origin: str) -> None:
    made = chain()
    made["sources"]["caption"]["synth"]["from"] = [origin]
    with pytest.raises(RecipeErrors, match=r"synthetic itself, and made from 'caption'"):
        from_tree(made)


def test_it_can_be_tried_on_stand_ins(place: Place) -> None:
    tried = build(
        from_tree(chain()),
        place.folder / "tried",
        store=place.where["store"],
        workers=1,
        standin=20,
        answers=place.where["answers"],
    )
    assert tried.manifest["totals"]["samples"]


@pytest.mark.timeout(60 * (KILLS + 2))
def test_killed_again_and_again_it_is_what_an_undisturbed_run_makes(place: Place) -> None:
    (place.folder / "recipe.yaml").write_text(json.dumps(chain()))
    answers = ["--answers", "killed", "--store", "store", "--endpoint", place.server.url, "--concurrency", "4"]
    command = [sys.executable, str(CLI), "synth", "run", "recipe.yaml", *answers, "--json"]
    place.session(chain()).run()
    expected, num_paid = table(built(place, chain()).out), place.num_paid
    place.server.script = lambda request: said(request, delay_s=0.03)
    random.seed(5)
    kills = 0
    for _ in range(3 * KILLS):
        process = subprocess.Popen(command, cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        before, until = place.num_paid, time.monotonic() + 30
        while place.num_paid == before and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.4))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= KILLS, "it was done before it could be killed"
    place.server.script = said
    out = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    assert num_paid <= place.num_paid - num_paid <= num_paid + 4 * kills, "at most what was under way is paid twice"
    place.where["answers"] = place.folder / "killed"
    assert table(built(place, chain(), "other").out).equals(expected)
