"""From a recipe with a synthetic source to a build, over a server that bills."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.llm.server import BillingServer, ReceivedRequest, answer, failure
from vldata import build
from vldata.cli.main import app
from vldata.errors import BuildError, RecipeErrors
from vldata.generate.session import SynthOptions, SynthSession
from vldata.pipeline.build import Built
from vldata.recipe.load import from_tree
from vldata.recipe.models import Recipe
from vldata.synth.kinds import kind_names, load_kind

REPLY = (
    "Question:\nWhat is in picture {n}?\n===\nAnswer:\nSeveral plain shapes, as {n} tells.\n===\n"
    "Question:\nIs there a photograph of a dog?\n===\nAnswer:\nNo, there are only shapes {n}."
)


def recipe(scenes: int = 40, total: int | None = 12, **synth: Any) -> Recipe:
    return from_tree(
        {
            "name": "chat",
            "seed": 3,
            "sources": {
                "captions": {"format": "shapes", "scenes": scenes},
                "boxes": {"format": "shapes", "scenes": scenes, "task": "rec"},
                "chat": {
                    "synth": {
                        "from": ["captions", "boxes"],
                        "kind": "llava.conversation",
                        "model": "tiny",
                        "total": total,
                        "parameters": {"max_tokens": 300},
                        **synth,
                    }
                },
            },
            "mixture": {"sources": {"captions": 1, "boxes": 0, "chat": 1}},
        }
    )


def reply(request: ReceivedRequest) -> Any:
    return answer(REPLY.format(n=request.digest[:8]))


class Place:
    """A store, an answer store and a server."""

    def __init__(self, folder: Path, server: BillingServer) -> None:
        self.folder, self.server = folder, server
        self.where = {"store": folder / "store", "answers": folder / "answers"}

    def session(self, recipe: Recipe, **options: Any) -> SynthSession:
        return SynthSession(recipe, **self.where, options=SynthOptions(endpoint=self.server.url, **options))

    def run(self, recipe: Recipe, **options: Any) -> dict[str, Any]:
        (row,) = self.session(recipe, **options).run()
        return row

    def build(self, recipe: Recipe, out: str = "out", **options: Any) -> Built:
        return build(recipe, self.folder / out, store=self.where["store"], workers=1, **options)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("VLDATA_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("VLDATA_CONFIG", str(tmp_path / "config.yaml"))
    (tmp_path / "config.yaml").write_text(
        "endpoints:\n  openai:\n    url: https://api.openai.com/v1\n    prices:\n"
        "      tiny: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}\n"
    )
    with BillingServer(reply) as server:
        yield Place(tmp_path, server)


def test_answers_become_turns_that_name_their_request(place: Place) -> None:
    ran = place.run(recipe())
    assert (ran["answered"], ran["kept"], ran["turns"], ran["wanting"]) == (12, 12, 24, 0)
    built = place.build(recipe())
    rows = [row for row in datasets.load_from_disk(str(built.out)) if row["source"] == "chat"]
    assert len(rows) == 12
    assert [m["role"] for m in rows[0]["messages"]] == ["user", "assistant"] * 2
    assert len(rows[0]["images"]) == 1
    kind, _, key = rows[0]["turns"][0]["synthetic"].partition(" ")
    assert kind.startswith("llava.conversation@")
    (shown,) = place.session(recipe()).show(only=rows[0]["turns"][0]["row"].rpartition("/")[0], limit=1)
    assert shown["request"] == key
    assert shown["turns"][0]["answer"] == rows[0]["messages"][1]["content"][0]["text"]
    assert all(
        turn["synthetic"] is None
        for row in datasets.load_from_disk(str(built.out))
        if row["source"] == "captions"
        for turn in row["turns"]
    )


def test_nothing_is_requested_twice_and_a_build_sends_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run(recipe())
    assert place.server.bill.requests == 12
    assert place.run(recipe())["answered"] == 0
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a build opened a connection"))
    first = place.build(recipe())
    second = place.build(recipe())
    assert not first.unchanged
    assert second.unchanged
    assert place.server.bill.requests == 12


def test_more_samples_ask_only_for_the_new_ones_and_keep_the_old(place: Place) -> None:
    place.run(recipe(total=12))
    (row,) = place.session(recipe(total=20)).plan()
    assert (row["hits"], row["to_send"], row["why_new"]) == (12, 8, {"never asked": 8})
    place.run(recipe(total=20))
    assert place.server.bill.requests == 20
    assert place.run(recipe(total=12))["kept"] == 12


def test_a_changed_few_shot_asks_again_and_says_why_and_a_changed_check_does_not(place: Place) -> None:
    kind = place.folder / "mine"
    kind.mkdir()
    bundled = Path(__file__).parents[2] / "templates" / "synth" / "llava.conversation"
    for file in bundled.iterdir():
        (kind / file.name).write_text(file.read_text())
    mine = recipe(kind=str(kind))
    place.run(mine)
    (kind / "kind.yaml").write_text((kind / "kind.yaml").read_text().replace("question: [5, 500]", "question: [5, 10]"))
    (row,) = place.session(mine).plan()
    assert row["hits"] >= 12
    (kind / "kind.yaml").write_text((bundled / "kind.yaml").read_text())
    (kind / "000_conv.txt").write_text((kind / "000_conv.txt").read_text() + " It is quiet.")
    (row,) = place.session(mine).plan()
    assert row["to_send"] == 12
    assert row["why_new"] == {"few-shot 1 changed": 12}


def test_the_plan_says_the_price_before_anything_is_sent(place: Place) -> None:
    (row,) = place.session(recipe()).plan()
    cost = row["cost_usd"]
    assert 0 < cost["low"] < cost["expected"] < cost["max"]
    (unknown,) = place.session(recipe(model="dear")).plan()
    assert unknown["cost_usd"] == {"low": None, "expected": None, "max": None}
    assert place.server.bill.requests == 0


def test_a_budget_stops_the_run_and_the_next_one_resumes(place: Place) -> None:
    stopped = place.run(recipe(max_requests=5))
    assert stopped["stopped"]["reason"] == "max_requests"
    assert (place.server.bill.requests, stopped["wanting"]) == (5, 7)
    again = place.run(recipe(max_requests=5))
    assert again["answered"] == 0
    assert place.run(recipe(max_requests=50))["wanting"] == 0
    assert place.server.bill.requests == 12


def test_what_has_no_answer_stops_a_build_and_stands_in_the_ledger_when_that_is_allowed(place: Place) -> None:
    place.run(recipe(max_requests=5))
    with pytest.raises(BuildError, match="not_generated"):
        place.build(recipe())
    tree = recipe().raw
    tree["sources"]["chat"]["max_reject_rate"] = 1.0
    built = place.build(from_tree(tree))
    ledger = pl.read_parquet(built.out / "ledger.parquet").filter(source="chat", reason="not_generated")
    assert ledger.height == 7
    source = built.manifest["sources"]["chat"]
    assert source["rows_in"] == source["rows_out"] + source["filtered"] + source["rejected"] + source["not_chosen"]


def test_a_reply_that_fails_its_checks_is_filtered_and_never_data(place: Place) -> None:
    place.server.script = lambda request: (
        answer("I'm sorry, I cannot see the image.") if request.number % 3 else reply(request)
    )
    ran = place.run(recipe(max_reasks=0))
    assert ran["kept"] + sum(ran["dropped"].values()) == 12
    assert set(ran["dropped"]) == {"refusal"}
    built = place.build(recipe(max_reasks=0))
    assert "sorry" not in "".join(
        part["text"] or ""
        for row in datasets.load_from_disk(str(built.out))
        for message in row["messages"]
        for part in message["content"]
    )
    assert built.manifest["sources"]["chat"]["reasons"]["refusal"] == ran["dropped"]["refusal"]


def test_a_row_that_the_endpoint_refuses_for_good_is_left_alone_until_retry(place: Place) -> None:
    place.server.script = lambda request: (
        failure(400, "content_policy_violation", "no") if request.number == 1 else reply(request)
    )
    first = place.run(recipe(), concurrency=1)
    assert (first["failed"], first["wanting"]) == ({"policy": 1}, 1)
    before = len(place.server.received)
    place.run(recipe())
    assert len(place.server.received) == before
    place.server.script = reply
    (row,) = place.session(recipe()).run(retry=True)
    assert row["wanting"] == 0


def test_a_reply_full_of_markup_stays_text(place: Place) -> None:
    evil = "<script>alert(1)</script> {{ 7 * 7 }} {% raw %} ../../etc/passwd"

    def hostile(request: ReceivedRequest) -> Any:
        return answer(REPLY.replace("Several plain shapes", evil + " {n}").replace("{n}", request.digest[:8]))

    place.server.script = hostile
    place.run(recipe())
    built = place.build(recipe())
    rows = [row for row in datasets.load_from_disk(str(built.out)) if row["source"] == "chat"]
    texts = [part["text"] or "" for row in rows for message in row["messages"] for part in message["content"]]
    assert any(text.startswith(evil) for text in texts)


def test_status_counts_what_is_there(place: Place) -> None:
    (before,) = place.session(recipe()).status()
    assert (before["wanting"], before["cost_usd"]) == (12, 0.0)
    place.run(recipe())
    (after,) = place.session(recipe()).status()
    assert (after["wanting"], after["kept"], after["unpriced_attempts"]) == (0, 12, 0)
    assert after["cost_usd"] > 0


def test_status_says_what_is_damaged_and_a_run_requests_it_again(place: Place, tmp_path: Path) -> None:
    place.run(recipe())
    (sound,) = place.session(recipe()).status()
    assert sound["damaged"] == []
    segment = tmp_path / "answers" / "000001.answers"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0x40
    segment.write_bytes(data)
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe().raw))
    where = ["--store", str(tmp_path / "store"), "--answers", str(tmp_path / "answers")]
    said = CliRunner().invoke(app, ["synth", "status", str(tmp_path / "recipe.yaml"), *where], env={"COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    assert "damaged: 000001.answers, byte" in said.output and "fix: restore" in said.output
    (after,) = place.session(recipe()).status()
    (damage,) = after["damaged"]
    assert damage["file"] == "000001.answers" and 0 < damage["offset"] < len(data)
    assert after["wanting"] == 1
    assert place.run(recipe())["answered"] == 1
    assert place.server.bill.requests == 13


def test_show_sets_prompt_reply_and_findings_side_by_side_and_all_stays_text(place: Place, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> [bold]x[/bold] {{ 7 * 7 }} ../../etc \x1b[31m"
    place.server.script = lambda request: answer(REPLY.format(n=f"{request.digest[:8]} {hostile}"))
    place.run(recipe())
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe().raw))
    where = ["--store", str(tmp_path / "store"), "--answers", str(tmp_path / "answers")]
    words = ["synth", "show", str(tmp_path / "recipe.yaml"), "--limit", "1", *where]
    said = CliRunner().invoke(app, words, env={"COLUMNS": "400"})
    assert said.exit_code == 0, said.output
    heads = [line for line in said.output.splitlines() if line.startswith("prompt ")]
    assert len(heads) == 1 and heads[0].split("  ")[0] == "prompt"
    assert "reply" in heads[0] and "turns and findings" in heads[0]
    flat = "".join(said.output.split())
    assert "<script>alert(1)</script>" in flat and "[bold]x[/bold]" in flat and "{{7*7}}" in flat
    assert "\x1b" not in said.output and "turn1lost:" in flat and "control_character" in flat


LINKED = "Question:\nWhat is there?\n===\nAnswer:\nThere is [a thing](1), which is number {n} of them, beside others."
LONG = "A wide drawing shows several plain coloured shapes of different sizes on a light ground; number {n}. "
REPLIES = {
    "answer.expansion": "Looking at the drawing closely, one sees that the answer is {answer}, as number {n} tells.",
    "screen.navigation": '{{"steps": [{{"instruction": "tap the first thing {n}", "element": 1}}]}}',
    "screen.qa": '{{"pairs": [{{"question": "What is the first thing {n}?", "answer": "a shape"}}]}}',
    "shikra.rd": LINKED,
    "grounded.chat": LINKED + "\n===\nQuestion:\nIs it alone?\n===\nAnswer:\nNo, [another](2) stands near {n}.",
    "llava.conversation": REPLY,
    "llavar": REPLY,
    "llava.reasoning": "Question:\nWhy might one call this drawing a plain one?\n===\nAnswer:\n" + LONG * 2,
    "qa.judge": '{{"reasons": "{n}", "scores": {{"correctness": 4, "relevance": 5}}}}',
    "text.evolution": "Question:\nHow much is twelve times {n}, in two steps?\n===\nAnswer:\nIt is {n}, in two.",
}


@pytest.mark.parametrize("kind", [name for name in kind_names() if load_kind(name).settings.task is not None])
def test_every_kind_asks_about_its_inputs_and_becomes_turns_of_its_task(place: Place, kind: str) -> None:
    settings = load_kind(kind).settings
    tasks = {"captions": "caption", "boxes": "rec", "ocr": "ocr", "question": "vqa_open", "text": "text_instruction"}
    needs = [need for need in settings.needs if need in tasks] or ["captions"]
    sources = {need: {"format": "shapes", "scenes": 30, "task": tasks[need]} for need in needs}
    synth = {"from": needs, "kind": kind, "model": "tiny", "total": 6, "same_answers": None}
    weights = {**dict.fromkeys(sources, 0), "chat": 1}
    tree = {
        "name": "chat",
        "sources": {**sources, "chat": {"synth": synth, "max_reject_rate": 1.0}},
        "mixture": {"sources": weights},
    }
    prompts: list[str] = []

    def said(request: ReceivedRequest) -> Any:
        content = request.body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        if "image" in settings.needs:
            assert content[0]["image_url"]["url"].startswith("data:image/")
        prompts.append(text)
        answered = text.partition("The short answer:\n")[2].partition("\n")[0]
        return answer(REPLIES.get(kind, LONG * 3).format(n=request.digest[:4], answer=answered or "this"))

    place.server.script = said
    made = from_tree(tree)
    ran = place.run(made)
    assert ran["samples"] == 6
    assert prompts
    assert ran["kept"], ran["dropped"]
    built = place.build(made)
    assert built.manifest["sources"]["chat"]["rows_out"] == ran["turns"] > 0
    row = datasets.load_from_disk(str(built.out))[0]
    assert row["task"] == settings.task
    if settings.task == "rec":
        (box,) = row["turns"][0]["boxes"]
        assert 0 <= box["x0"] < box["x1"] <= row["image_sizes"][0]["width"]


@pytest.mark.parametrize(
    ("synth", "said"),
    [
        ({"from": "nobody"}, "no source named 'nobody'"),
        ({"from": ["chat"]}, "synthetic itself"),
        ({"kind": "llava.conversatio"}, "no kind named"),
        ({"kind": "judge"}, "makes no turns"),
        ({"url": "http://evil"}, "unknown key"),
    ],
)
def test_a_faulty_section_is_said_with_its_path(synth: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeErrors, match=said):
        recipe(**synth)


def test_a_turn_that_a_build_rejects_for_its_box_is_not_sent_and_has_the_same_reason_in_both_ledgers(
    place: Place, tmp_path: Path
) -> None:
    boxes = {"good": [10, 10, 200.9, 90], "far": [300, 10, 400, 90], "half": [10, 10, 210, 90]}
    with (tmp_path / "rows.jsonl").open("w") as file:
        for number, (name, box) in enumerate(boxes.items()):
            Image.new("RGB", (200, 100), (number, 0, 0)).save(tmp_path / f"{name}.png")
            row = {
                "id": name,
                "image": f"{name}.png",
                "phrase": f"the {name}",
                "boxes": [box],
                "text": f"A {name} thing.",
            }
            file.write(json.dumps(row) + "\n")
    table = {"format": "table", "path": str(tmp_path / "rows.jsonl"), "image_root": str(tmp_path)}
    refs = {**table, "task": "rec", "fields": {"phrase": "phrase", "boxes": "boxes"}}
    captions = {**table, "task": "caption", "fields": {"caption": "text"}}
    synth = {"from": ["captions", "refs"], "kind": "llava.detail", "model": "tiny"}
    sources = {"captions": captions, "refs": refs, "chat": {"synth": synth}}
    tree = {"name": "boxes", "seed": 3, "defaults": {"max_reject_rate": 1.0}, "sources": sources}
    place.server.script = lambda request: answer("Several plain shapes lie beside one another on a field. " * 3)
    (planned,) = place.session(from_tree(tree)).plan()
    assert (planned["samples"], planned["to_send"], planned["rejected"]) == (3, 1, {"box_outside_image": 2})
    ran = place.run(from_tree(tree))
    assert (ran["requests"], ran["rejected"], ran["dropped"]) == (1, *[{"box_outside_image": 2}] * 2)
    (request,) = place.server.received
    assert request.body["messages"][-1]["content"] == "A good thing.\n\nthe good: [0.05, 0.1, 1.0, 0.9]"
    ledger = pl.read_parquet(place.build(from_tree(tree)).out / "ledger.parquet").filter(reason="box_outside_image")
    details = dict(ledger.select(pl.format("{}/{}", "source", "row"), "detail").rows())
    assert details == {
        "refs/far": "[300.0, 10.0, 400.0, 90.0] on 200x100",
        "refs/half": "[10.0, 10.0, 210.0, 90.0] on 200x100",
        "chat/far.png": "refs/far: [300.0, 10.0, 400.0, 90.0] on 200x100; it lacks boxes",
        "chat/half.png": "refs/half: [10.0, 10.0, 210.0, 90.0] on 200x100; it lacks boxes",
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))
    where = ["--store", str(tmp_path / "store"), "--answers", str(tmp_path / "answers")]
    said = CliRunner().invoke(app, ["synth", "status", str(tmp_path / "recipe.yaml"), *where], env={"COLUMNS": "200"})
    assert "chat: 2 turns that it is made from are rejected and not sent: box_outside_image" in said.output
