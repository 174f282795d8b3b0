"""What is requested, what is not, and what becomes of it: images, limits, re-asks, names and numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tests.generate.places import REPLY, Place, bad, good, tree
from tests.llm.server import ReceivedRequest, answer, failure
from vldata import build
from vldata.errors import BuildError, RecipeError, RecipeErrors
from vldata.recipe.load import from_tree

CLI = Path(__file__).parents[2] / "cli.py"


@pytest.fixture
def place(shapes_place: Place) -> Place:
    return shapes_place


def cut(request: ReceivedRequest) -> Any:
    """Cut off unless more than 1,000 tokens are allowed; every second request is short enough in any case."""
    is_long = int(request.digest, 16) % 2 and request.body["max_tokens"] < 1000

    def end(completion: dict[str, Any]) -> None:
        completion["choices"][0]["finish_reason"] = "length"

    return answer(REPLY.format(n=request.digest[:8]), change=end) if is_long else good(request)


# images


def photos(place: Place, root: str = "", broken: int = 0, missing: int = 0, number: int = 30) -> dict[str, Any]:
    """Captions of photographs, of which the first ones are broken, and the next are not there."""
    with (place.folder / "rows.jsonl").open("w") as rows:
        for n in range(number):
            path = place.folder / f"{n}.png"
            if n < broken:
                path.write_bytes(b"no image")
            elif n >= broken + missing:
                Image.new("RGB", (32, 32), (n, 0, 0)).save(path)
            rows.write(json.dumps({"id": n, "image": f"{n}.png", "text": f"A plain thing, number {n}."}) + "\n")
    table = {"format": "table", "path": str(place.folder / "rows.jsonl"), "fields": {"caption": "text"}}
    captions = {**table, "image_root": root or str(place.folder), "task": "caption"}
    return {"captions": captions}


def of_photos(place: Place, photographs: dict[str, Any], **synth: Any) -> dict[str, Any]:
    made = tree(**synth)
    return {**made, "defaults": {"max_reject_rate": 1.0}, "sources": {**made["sources"], **photographs}}


def test_nothing_is_sent_about_images_that_are_missing_or_broken(place: Place) -> None:
    made = of_photos(place, photos(place, broken=3, missing=5))
    planned = place.plan(made)
    assert (planned["samples"], planned["to_send"]) == (30, 22)
    assert planned["unusable"] == {"image_missing": 5, "image_unreadable": 3}
    ran = place.run(made)
    assert (place.num_paid, ran["kept"]) == (22, 22)
    assert ran["dropped"] == {"image_missing": 5, "image_unreadable": 3}
    assert "5 samples are left out, and nothing is sent about them: image_missing" in place.command("plan", made).output
    built = build(from_tree(made), place.folder / "out", store=place.where["store"], workers=1)
    ledger = pl.read_parquet(built.out / "ledger.parquet").filter(source="chat")
    assert dict(ledger.group_by("reason").len().rows()) == {"image_missing": 5, "image_unreadable": 3}


def test_total_counts_samples_that_can_be_used(place: Place) -> None:
    made = of_photos(place, photos(place, broken=10, missing=8), total=12)
    assert (place.plan(made)["to_send"], place.run(made)["kept"], place.num_paid) == (12, 12, 12)


def test_a_source_none_of_whose_images_is_there_is_an_error_that_names_its_root(place: Place) -> None:
    made = of_photos(place, photos(place, root=str(place.folder / "mistyped")))
    for call in (place.plan, place.run, place.status):
        with pytest.raises(RecipeError, match=r"sources\.captions\.image_root.*none of its 30 images is there"):
            call(made)
    assert place.num_paid == 0


def test_missing_images_that_are_to_be_kept_are_asked_about_where_the_kind_does_without_them(place: Place) -> None:
    made = of_photos(place, photos(place, missing=5))
    made["output"] = {"images": "path"}
    made["sources"]["chat"]["images"] = {"missing": "keep"}
    assert place.plan(made)["to_send"] == 30


# until N are kept


def every_third_fails(request: ReceivedRequest) -> Any:
    return bad(request) if int(request.digest, 16) % 3 == 0 else good(request)


def until_kept(total: int = 30, **synth: Any) -> dict[str, Any]:
    return {**tree(scenes=120, total=total, until="kept", max_reasks=0, **synth), "defaults": {"max_reject_rate": 1.0}}


def test_further_samples_are_sent_until_as_many_are_kept_and_no_more(place: Place) -> None:
    place.server.script = every_third_fails
    planned = place.plan(until_kept())
    assert (planned["to_send"], planned["later"]["requests"]) == (30, [0, 60])
    assert planned["later"]["cost_usd"][1] == pytest.approx(2 * planned["cost_usd"]["max"], rel=1e-6)
    ran = place.run(until_kept())
    assert (ran["kept"], ran["wanting"]) == (30, 0)
    assert place.num_paid == ran["samples"] == 30 + sum(ran["dropped"].values()) > 30
    assert place.run(until_kept())["requests"] == 0
    assert place.run(until_kept(total=20))["kept"] == 20
    assert place.num_paid == ran["samples"]


def test_interrupted_by_limits_again_and_again_it_sends_the_same_and_ends_the_same(place: Place) -> None:
    place.server.script = every_third_fails
    most = 0
    while (ran := place.run(until_kept(max_requests=(most := most + 7)), concurrency=3))["wanting"]:
        assert ran["stopped"]["reason"] == "max_requests"
    sent = {request.digest for request in place.server.received}
    first = turns(place, until_kept(), "one")
    place.where["answers"] = place.folder / "undisturbed"
    assert place.run(until_kept(), concurrency=64)["kept"] == 30
    assert {request.digest for request in place.server.received} == sent
    assert turns(place, until_kept(), "two").equals(first)


def turns(place: Place, made: dict[str, Any], out: str) -> pl.DataFrame:
    built = build(
        from_tree(made), place.folder / out, store=place.where["store"], workers=1, answers=place.where["answers"]
    )
    return pl.concat(pl.read_ipc_stream(file) for file in sorted(built.out.rglob("data-*.arrow")))


def test_it_is_bounded(place: Place) -> None:
    place.server.script = lambda request: good(request) if request.number == 1 else bad(request)
    assert (place.run(until_kept(total=10), concurrency=1)["samples"], place.num_paid) == (30, 30)
    assert place.run(until_kept(total=10, at_most=33), concurrency=1)["samples"] == 33
    with pytest.raises(RecipeErrors, match="needs `total`"):
        from_tree(tree(until="kept"))


# limits of tokens


@pytest.mark.parametrize("beside", [True, False])
def test_what_was_cut_off_alone_is_requested_with_more_tokens(place: Place, beside: bool) -> None:
    place.server.script = cut
    longer = {"parameters": {"retry_max_tokens": 4096}} if beside else {"retry_max_tokens": 4096}
    once, twice = (place.plan(made)["cost_usd"] for made in (tree(), tree(**longer)))
    assert twice["expected"] == once["expected"] and twice["max"] > once["max"] + 60 * 4096 * 2e-6
    ran = place.run(tree(**longer))
    limits = [request.body["max_tokens"] for request in place.server.received]
    assert all("retry_max_tokens" not in request.body for request in place.server.received)
    assert set(limits) == {300, 4096} and limits.count(300) == 60 and 10 < limits.count(4096) < 50
    assert (ran["kept"], ran["wanting"]) == (60, 0)
    assert place.run(tree(**longer))["requests"] == 0


def test_a_raised_limit_sends_only_what_was_cut_off_and_keeps_the_rest(place: Place) -> None:
    place.server.script = cut
    before = place.run(tree())
    num_cut = sum(before["dropped"].values())
    assert 10 < num_cut < 50
    raised = tree(parameters={"max_tokens": 1536})
    assert place.plan(raised)["to_send"] == num_cut
    assert (place.run(raised)["kept"], place.num_paid) == (60, 60 + num_cut)
    assert place.plan(tree())["to_send"] == 0


def test_a_longer_reply_that_the_endpoint_refuses_leaves_the_one_that_is_there(place: Place) -> None:
    def refused(request: ReceivedRequest) -> Any:
        return failure(400, "context_length_exceeded") if request.body["max_tokens"] > 1000 else cut(request)

    place.server.script = refused
    ran = place.run(tree(retry_max_tokens=4096))
    assert (ran["wanting"], ran["kept"] + sum(ran["dropped"].values())) == (0, 60) and ran["dropped"]


# what is requested again


def refusing(request: ReceivedRequest) -> Any:
    is_again = len(request.body["messages"]) > 2 and request.body["messages"][-2]["role"] == "assistant"
    is_again = is_again and "Sorry" in request.body["messages"][-2]["content"]
    return (
        answer("Sorry, but I would rather not.") if int(request.digest, 16) % 3 == 0 and not is_again else good(request)
    )


def test_replies_that_do_not_pass_are_counted_apart_and_requested_again_when_that_is_said(place: Place) -> None:
    place.server.script = refusing
    first = place.run(tree())
    again = sum(first["dropped"].values())
    assert (first["reasks"], first["wanting"], place.num_paid) == (again, 0, 60) and again > 5
    planned = place.plan(tree())
    assert (planned["to_send"], planned["reasks"]["to_send"]) == (0, again)
    assert sum(planned["reasks"]["why"].values()) == again and planned["reasks"]["cost_usd"]["expected"] > 0
    assert f"{again} more with `vldata synth run" in place.command("plan", tree()).output
    assert place.run(tree())["requests"] == 0
    assert (place.run(tree(), reask=True)["kept"], place.num_paid) == (60, 60 + again)
    assert place.run(tree(), reask=True)["requests"] == 0


# the table of what each change sends again


def own_kind(place: Place, old: str = "", new: str = "", file: str = "kind.yaml") -> str:
    folder = place.folder / "mine"
    folder.mkdir(exist_ok=True)
    for path in (Path(__file__).parents[2] / "templates" / "synth" / "llava.conversation").iterdir():
        text = path.read_text()
        assert path.name != file or old in text
        (folder / path.name).write_text(text.replace(old, new) if path.name == file and old else text)
    return str(folder)


def renamed(made: dict[str, Any], **head: Any) -> dict[str, Any]:
    return {**made, **head}


CHANGES: dict[str, tuple[Any, int]] = {
    "nothing": (lambda place: tree(total=30), 0),
    "a check": (lambda place: tree(total=30, kind=own_kind(place, "question: [5, 500]", "question: [5, 6]")), 0),
    "a parser": (lambda place: tree(total=30, kind=own_kind(place, "llava_blocks", "{llava_blocks: {}}")), 0),
    "seed, with all samples": (lambda place: renamed(tree(scenes=30), seed=4), 0),
    "recipe's name": (lambda place: renamed(tree(total=30), name="other"), 0),
    "source's name": (lambda place: with_source_renamed(tree(total=60, scenes=30)), 0),
    "alias": (lambda place: tree(total=30, endpoint="mine", alias="openai"), 0),
    "max_tokens": (lambda place: tree(total=30, parameters={"max_tokens": 900}), 0),
    "total": (lambda place: tree(total=40), 10),
    "endpoint": (lambda place: tree(total=30, endpoint="mine"), 30),
    "model": (lambda place: tree(total=30, model="other"), 30),
    "temperature": (lambda place: tree(total=30, parameters={"temperature": 0.1}), 30),
    "system message": (lambda place: tree(total=30, kind=own_kind(place, "You", "Thou", "system_message.txt")), 30),
}


def with_source_renamed(made: dict[str, Any]) -> dict[str, Any]:
    sources = {**made["sources"]}
    sources["talk"] = sources.pop("chat")
    return {**made, "sources": sources, "mixture": {"sources": {"captions": 0, "talk": 1}}}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_change_sends_again(place: Place, change: str) -> None:
    made, number = CHANGES[change]
    few = change in ("seed, with all samples", "source's name")
    place.run(tree(total=None if few else 30, scenes=30 if few else 60))
    before = place.num_paid
    assert place.plan(made(place))["to_send"] == number
    place.run(made(place))
    assert place.num_paid == before + number


def test_another_seed_sends_what_it_chooses_and_was_not_sent(place: Place) -> None:
    place.run(tree(total=30))
    other = renamed(tree(total=30), seed=4)
    planned = place.plan(other)
    assert 0 < planned["to_send"] == 30 - planned["hits"] < 30


def test_an_alias_in_the_configuration_finds_the_answers_of_the_old_name(place: Place) -> None:
    place.run(tree(total=30))
    (place.folder / "config.yaml").write_text("endpoints:\n  mine: {url: 'http://127.0.0.1:9/v1', alias: openai}\n")
    assert place.plan(tree(total=30, endpoint="mine"))["to_send"] == 0
    assert place.run(tree(total=31, endpoint="mine"))["answered"] == 1
    assert place.plan(tree(total=31))["to_send"] == 0


def test_a_budget_holds_when_the_recipe_is_renamed(place: Place) -> None:
    place.run(tree(max_requests=25))
    ran = place.run(renamed(tree(max_requests=25), name="other"))
    assert (ran["stopped"]["reason"], place.num_paid) == ("max_requests", 25)


# what is said at the end


def test_status_gives_the_reason_of_every_row_that_is_pending(place: Place) -> None:
    faults = {1: failure(400, "content_policy_violation", "no"), 2: failure(400, "context_length_exceeded", "long")}
    place.server.script = lambda request: faults.get(request.number) or good(request)
    ran = place.run(tree(max_requests=12), concurrency=1)
    assert ran["pending"] == {"never_sent": 48, "policy": 1, "too_long": 1}
    assert ran["wanting"] == sum(ran["pending"].values())
    said = place.command("status", tree())
    assert "48 pending: never_sent: not sent yet" in said.output
    assert "1 pending: policy: the provider's content policy refuses the request" in said.output
    (shown,) = place.session(tree()).show(only="too_long")
    assert shown["detail"] == "too_long"
    assert len(place.session(tree()).show(only="pending", limit=100)) == 50


def test_rows_that_were_given_up_end_the_command_with_2_until_they_are_answered(place: Place) -> None:
    fault = failure(400, "content_policy_violation", "no")
    place.server.script = lambda request: fault if request.number == 1 else good(request)
    assert [place.command(name, tree()).exit_code for name in ("run", "run", "retry", "run")] == [2, 2, 0, 0]


def test_a_build_takes_the_answers_of_the_folder_that_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from vldata.cli.main import app

    place.run(tree(total=12))
    monkeypatch.setenv("VLDATA_ANSWERS", str(place.folder / "elsewhere"))
    (place.folder / "recipe.yaml").write_text(json.dumps(tree(total=12)))
    words = ["build", str(place.folder / "recipe.yaml"), "--store", str(place.where["store"]), "--workers", "1"]
    out = ["--out", str(place.folder / "out"), "--no-report"]
    assert CliRunner().invoke(app, [*words, *out]).exit_code != 0
    said = CliRunner().invoke(app, [*words, *out, "--answers", str(place.where["answers"]), "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.output)["synth"]["chat"]["kept"] == 12
    with pytest.raises(BuildError, match="not_generated"):
        build(from_tree(tree(total=12)), place.folder / "other", store=place.where["store"], workers=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(place: Place, number: signal.Signals) -> None:
    place.server.script = lambda request: answer(REPLY.format(n=request.digest[:8]), delay_s=0.5)
    (place.folder / "recipe.yaml").write_text(json.dumps(tree(scenes=300)))
    where = ["--store", "store", "--answers", "answers", "--endpoint", place.server.url, "--concurrency", "8"]
    process = subprocess.Popen(
        [sys.executable, str(CLI), "synth", "run", "recipe.yaml", *where, "--json"],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while place.num_paid < 12 and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (row,) = json.loads(out)
    assert row["stopped"]["reason"] == "interrupted"
    assert row["answered"] == place.num_paid, "what was under way was waited for, and nothing more was sent"
