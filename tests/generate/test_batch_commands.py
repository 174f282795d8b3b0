"""Batches of a recipe, by the functions and by the commands."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.llm.batch_api_servers import SERVERS
from tests.llm.batch_server import BatchServer, Fate, Refusal
from tests.llm.server import answer
from vldata.cli.synth_batch import add_batch_commands
from vldata.generate.batch import Polling
from vldata.generate.session import SynthOptions, SynthSession
from vldata.llm.answers import open_answers
from vldata.llm.batch.lines import BatchLimits
from vldata.llm.budget import read_ledger
from vldata.recipe.load import from_tree, load
from vldata.recipe.models import Recipe

TEXT = (
    "Question:\nWhat is in the picture?\n===\nAnswer:\nSeveral plain shapes of different kinds.\n===\n"
    "Question:\nIs there a photograph of a dog?\n===\nAnswer:\nNo, there are only shapes."
)
TREE: dict[str, Any] = {
    "name": "chat",
    "seed": 3,
    "sources": {
        "captions": {"format": "shapes", "scenes": 30},
        "chat": {
            "synth": {
                "from": ["captions"],
                "kind": "llava.conversation",
                "model": "tiny",
                "total": 6,
                "parameters": {"max_tokens": 300},
                "same_answers": None,
            }
        },
    },
    "mixture": {"sources": {"captions": 1, "chat": 1}},
}
UNREADABLE = "There is nothing to say."


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[BatchServer]:
    with getattr(request, "param", BatchServer)() as running:
        running.batch_script = lambda number: Fate(text=TEXT)
        running.script = lambda request: answer(TEXT)
        yield running


def tree(**synth: Any) -> dict[str, Any]:
    chat = TREE["sources"]["chat"]["synth"] | synth
    return TREE | {"sources": TREE["sources"] | {"chat": {"synth": chat}}}


def recipe(**synth: Any) -> Recipe:
    return from_tree(tree(**synth))


class Place:
    """A store, an answer store and a server."""

    def __init__(self, folder: Path, server: BatchServer) -> None:
        self.server, self.answers = server, folder / "answers"
        self.where = {"store": folder / "store", "answers": self.answers}

    def session(self, of: Recipe | None = None, **options: Any) -> SynthSession:
        return SynthSession(of or recipe(), **self.where, options=SynthOptions(endpoint=self.server.url, **options))


@pytest.fixture
def place(server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("VLDATA_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setattr("vldata.llm.pace.BACKOFF_S", 0.001)
    (tmp_path / "config.yaml").write_text(
        f"endpoints:\n  openai:\n    url: https://api.openai.com/v1\n    batch_api: {server.batch_api}\n    prices:\n"
        "      tiny: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0, batch_factor: 0.5}\n"
    )
    return Place(tmp_path, server)


def states(place: Place) -> tuple[int, int]:
    (row,) = place.session().status()
    return row["kept"], row["wanting"]


def test_a_batch_is_submitted_waited_for_and_collected(server: BatchServer, place: Place) -> None:
    server.batch_script = lambda number: Fate(polls=3, text=TEXT)
    waits: list[float] = []
    total = place.session().run_batch(polling=Polling(poll_s=7, sleep=waits.append))
    assert (total["batches"], total["answered"], total["wanting"], total["open"]) == (1, 6, 0, [])
    assert total["stopped"] is None and total["spent_usd"] > 0 and set(waits) == {7}
    assert states(place) == (6, 0)
    again = place.session().run_batch(polling=Polling(sleep=lambda s: pytest.fail("it waited")))
    assert (again["batches"], again["answered"], len(server.batches)) == (0, 0, 1)


def test_a_reply_that_fails_its_checks_is_requested_again_in_another_batch(server: BatchServer, place: Place) -> None:
    server.batch_script = lambda number: Fate(text=UNREADABLE if number == 1 else TEXT)
    total = place.session(recipe(max_reasks=1), reask=True).run_batch(polling=Polling(sleep=lambda s: None))
    assert (total["batches"], total["requests"], total["answered"]) == (2, 12, 12)
    assert states(place) == (6, 0)


def test_a_chain_goes_from_batch_to_batch(server: BatchServer, place: Place) -> None:
    words = "Several plain coloured shapes lie beside one another on a light ground, and none of them is a dog."
    server.batch_script = lambda number: Fate(text=words if number == 1 else TEXT)
    made = tree(same_answers=None, kind="recaption")
    sources = made["sources"] | {
        "qa": {"synth": {"from": "chat", "kind": "llava.conversation", "model": "tiny", "same_answers": None}}
    }
    of = from_tree(made | {"sources": sources, "mixture": {"sources": {"captions": 0, "chat": 0, "qa": 1}}})
    total = place.session(of).run_batch(polling=Polling(sleep=lambda s: None))
    assert (total["batches"], total["requests"], total["wanting"]) == (2, 7, 0), "all captions are equal"
    assert {row["source"]: row["kept"] for row in place.session(of).status()} == {"chat": 6, "qa": 6}


def test_what_expires_is_reported_and_goes_with_the_next_command_or_online(server: BatchServer, place: Place) -> None:
    server.batch_script = lambda number: Fate(status="expired", done=4, text=TEXT)
    total = place.session().run_batch(polling=Polling(sleep=lambda s: None))
    assert (total["answered"], total["wanting"], total["batches"]) == (4, 2, 1)
    (row,) = place.session().run()
    assert (row["answered"], row["wanting"]) == (2, 0)


def test_submitting_and_collecting_are_also_two_commands(server: BatchServer, place: Place) -> None:
    server.batch_script = lambda number: Fate(polls=1, text=TEXT)
    (sent,) = place.session().submit(BatchLimits(4))
    assert (sent["batches"], sent["requests"], sent["stopped"]) == (2, 6, None)
    (again,) = place.session().submit()
    assert (again["batches"], again["under_way"]) == (0, 6)
    (collected,) = place.session().collect()
    assert len(collected["open"]) == 2
    (collected,) = place.session(recipe(kind="llava.detail")).collect()
    assert (collected["answered"], collected["open"]) == (6, [])  # whatever the recipe says by now
    json.dumps([sent, collected])


def test_a_limit_of_dollars_holds_what_is_under_way_and_goes_on_with_what_comes_back(
    server: BatchServer, place: Place
) -> None:
    limited = recipe(max_usd=0.012)
    total = place.session(limited).run_batch(polling=Polling(sleep=lambda s: None))
    assert total["batches"] > 1 and total["answered"] == 6 and total["stopped"] is None
    most = max(len(batch.lines) for batch in server.batches.values())
    assert most < 6
    assert total["spent_usd"] <= 0.012


def test_a_source_under_its_own_limit_does_not_hold_the_others_back(server: BatchServer, place: Place) -> None:
    more = TREE["sources"]["chat"]["synth"] | {"model": "other"}
    sources = tree(max_requests=2)["sources"] | {"more": {"synth": more}}
    both = from_tree(TREE | {"sources": sources, "mixture": {"sources": {"captions": 1, "chat": 1, "more": 1}}})
    total = place.session(both).run_batch(polling=Polling(sleep=lambda s: None))
    assert (total["answered"], total["wanting"]) == (8, 4)
    assert total["stopped"] is not None
    kept = {row["source"]: (row["kept"], row["wanting"]) for row in place.session(both).status()}
    assert kept == {"chat": (2, 4), "more": (6, 0)}


def test_one_run_charges_no_more_than_it_may(server: BatchServer, place: Place) -> None:
    total = place.session(max_usd=0.006).run_batch(polling=Polling(sleep=lambda s: None))
    assert total["stopped"]["reason"] == "max_usd" and 0 < total["answered"] < 6
    again = place.session(max_usd=1.0).run_batch(polling=Polling(sleep=lambda s: None))
    assert again["stopped"] is None and total["answered"] + again["answered"] == 6


def test_what_was_exported_comes_back_although_the_recipe_changed(
    server: BatchServer, place: Place, tmp_path: Path
) -> None:
    (row,) = place.session().export(tmp_path / "out", BatchLimits(4))
    assert (row["requests"], len(row["files"]), row["left_out"]) == (6, 2, {})
    lines = [json.loads(line) for path in row["files"] for line in Path(path).read_text().splitlines()]
    body = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}]}
    usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}
    results = [
        {"id": f"b{n}", "custom_id": line["custom_id"], "response": {"status_code": 200, "body": body | usage}}
        for n, line in enumerate(lines)
    ]
    results.append({"id": "b99", "custom_id": "somebody-else's", "response": None, "error": {"code": "x"}})
    (tmp_path / "result").write_text("".join(json.dumps(line) + "\n" for line in reversed(results)))
    imported = place.session(recipe(kind="llava.detail")).import_([tmp_path / "result"])
    assert (imported["answered"], imported["unknown_ids"]) == (6, ["somebody-else's"])
    assert imported["unpriced_requests"] == 6  # which endpoint it was is not known any more
    assert states(place) == (6, 0)
    again = place.session().import_([tmp_path / "result"])
    assert (again["answered"], again["already"], again["spent_usd"]) == (0, 6, 0.0)
    assert place.session().export(tmp_path / "more")[0]["requests"] == 0


def commands() -> typer.Typer:
    app = typer.Typer()

    @app.callback()
    def vldata() -> None:
        """The root, as without it one command would be all."""

    add_batch_commands(app)
    return app


def test_the_commands_say_what_they_did_and_end_with_its_code(
    server: BatchServer, place: Place, tmp_path: Path
) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(json.dumps(TREE))  # JSON is YAML
    assert load(file, []).head.name == "chat"
    places = ["--store", str(place.where["store"]), "--answers", str(place.answers)]

    def call(*words: str) -> Any:
        return CliRunner().invoke(commands(), [*words, *places])

    done = call("batch", str(file), "--endpoint", server.url, "--cancel", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["cancelled"] == 0
    done = call("export-batch", str(file), str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "0001.jsonl").exists()
    server.refuse["upload"].append(Refusal(401))
    refused = call("batch", str(file), "--endpoint", server.url, "--poll", "0.01")
    assert refused.exit_code == 2
    done = call("batch", str(file), "--endpoint", server.url, "--poll", "0.01", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["answered"] == 6
    done = call("batch", str(file), "--endpoint", server.url, "--no-wait", "--json")
    assert json.loads(done.stdout)["submitted"][0]["batches"] == 0
    (tmp_path / "empty").write_text("")
    done = call("import-batch", str(file), str(tmp_path / "empty"), "--json")
    assert json.loads(done.stdout)["answered"] == 0


def test_a_cancelled_batch_keeps_what_was_done_and_gives_the_rest_of_its_charge_back(
    server: BatchServer, place: Place
) -> None:
    server.batch_script = lambda number: Fate(polls=1_000, text=TEXT, cancelling=3, done_when_cancelled=2)
    place.session(recipe(max_usd=1)).submit()
    ledger = place.answers / "budgets" / "chat.chat.jsonl"
    charged = read_ledger(ledger)
    assert charged.requests == 6
    other = from_tree(tree() | {"name": "other"})
    none = place.session(other).cancel(wait=False)
    assert none["cancelled"] == 0 and not server.batches["batch_1"].is_cancelled  # it is another recipe's
    first = place.session().cancel(wait=False)
    assert (first["cancelled"], first["batches_ended"], len(first["open"])) == (1, 0, 1)
    assert read_ledger(ledger) == charged
    waits: list[float] = []
    ended = place.session().cancel(Polling(poll_s=9, sleep=waits.append))
    assert (ended["batches_ended"], ended["answered"], ended["open"], ended["stopped"]) == (1, 2, [], None)
    assert set(waits) == {9}
    settled = read_ledger(ledger)
    assert settled.requests == 2 and 0 < settled.usd < charged.usd
    with open_answers(place.answers, read_only=True) as answers:
        assert settled.usd == pytest.approx(answers.spent()[0])
    assert states(place) == (2, 4)
    (row,) = place.session().run()  # what was not done is pending, and nothing else is
    assert (row["answered"], row["wanting"]) == (4, 0)
    assert sum(server.batch_bill.values()) == 2
    again = place.session().cancel(Polling(sleep=lambda s: pytest.fail("?")))
    assert (again["cancelled"], again["answered"]) == (0, 0)


@pytest.mark.parametrize("refusal", [Refusal(0), Refusal(503), Refusal(429, after=True), Refusal(0, after=True)])
def test_cancelling_is_tried_again_and_does_no_harm(server: BatchServer, place: Place, refusal: Refusal) -> None:
    server.batch_script = lambda number: Fate(polls=1_000, text=TEXT)
    place.session().submit()
    server.refuse["cancel"].append(refusal)
    ended = place.session().cancel(Polling(sleep=lambda s: None))
    assert (ended["batches_ended"], ended["answered"], ended["open"]) == (1, 0, [])
    assert read_ledger(place.answers / "budgets" / "chat.chat.jsonl").requests == 0


def test_a_batch_that_has_ended_is_collected_and_not_cancelled(server: BatchServer, place: Place) -> None:
    server.batch_script = lambda number: Fate(text=TEXT)
    place.session().submit()
    collected = server.batches["batch_1"]
    collected.polled = 1
    server._finish(collected)
    ended = place.session().cancel(Polling(sleep=lambda s: pytest.fail("?")))
    assert (ended["cancelled"], ended["batches_ended"], ended["answered"]) == (0, 1, 6)


PROGRAM = """
import json, sys
from pathlib import Path
from vldata.generate.batch import Polling
from vldata.generate.session import SynthOptions, SynthSession
from vldata.llm.batch.lines import BatchLimits
from vldata.recipe.load import from_tree
folder, recipe = Path(sys.argv[1]), from_tree(json.loads(sys.argv[3]))
print("ready", flush=True)
session = SynthSession(recipe, folder / "store", folder / "answers", SynthOptions(endpoint=sys.argv[2]))
session.run_batch(BatchLimits(1), Polling(0.01))
print("done", flush=True)
"""


def test_a_batch_that_turns_out_not_to_have_been_made_is_made_in_the_same_run(
    server: BatchServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.llm.batch.route.ORPHAN_S", 0.3)
    server.refuse["create"].append(Refusal(0))
    place.session().run_batch(polling=Polling(sleep=lambda s: time.sleep(0.01)))  # who knows whether it was made
    total = place.session().run_batch(polling=Polling(sleep=lambda s: time.sleep(0.01)))
    assert (total["wanting"], total["open"], total["stopped"]) == (0, [], None)
    assert states(place) == (6, 0) and set(server.batch_bill.values()) == {1}


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.batch_api, indirect=True)
def test_a_command_that_is_killed_again_and_again_pays_for_everything_once(
    server: BatchServer, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.llm.batch.route.ORPHAN_S", 0.3)  # the listing does not lag behind here
    server.batch_script = lambda number: Fate(polls=1, text=TEXT)
    rng = random.Random(5)
    words = [sys.executable, "-c", PROGRAM, str(tmp_path), server.url, json.dumps(tree(max_usd=1))]
    for _ in range(3):
        killed = subprocess.Popen(words, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
        assert killed.stdout is not None and killed.stdout.readline() == "ready\n"
        with killed.stdout:
            time.sleep(rng.uniform(0.1, 0.6))
            killed.kill()
            killed.wait()
    place.session(recipe(max_usd=1)).run_batch(polling=Polling(sleep=lambda s: time.sleep(0.01)))
    assert states(place) == (6, 0)
    assert set(server.batch_bill.values()) == {1} and len(server.batch_bill) == 6
    spent = read_ledger(place.answers / "budgets" / "chat.chat.jsonl")
    with open_answers(place.answers, read_only=True) as answers:
        assert spent.usd == pytest.approx(answers.spent()[0])


@pytest.mark.parametrize("other", SERVERS[1:], ids=lambda server: server.batch_api)
def test_a_recipe_goes_through_the_batch_api_of_any_provider(
    other: type[BatchServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLDATA_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VLDATA_API_KEY", "key-of-a-test")
    prices = "{tiny: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0, batch_factor: 0.5}}"
    (tmp_path / "config.yaml").write_text(
        f"endpoints: {{openai: {{batch_api: {other.batch_api}, prices: {prices}}}}}\n"
    )
    with other() as server:
        server.batch_script = lambda number: Fate(polls=2, text=TEXT)
        place = Place(tmp_path, server)
        total = place.session(max_usd=1.0).run_batch(polling=Polling(sleep=lambda s: None))
        assert (total["batches"], total["answered"], total["wanting"], total["stopped"]) == (1, 6, 0, None)
        assert 0 < total["spent_usd"] < 1 and states(place) == (6, 0)
        assert place.session().run()[0]["answered"] == 0  # one store, one key: nothing is left to send online
        (exported,) = place.session(recipe(total=9)).export(tmp_path / "out")
        line = json.loads(Path(exported["files"][0]).read_text().splitlines()[0])
        assert exported["requests"] == 3 and ("custom_id" in line) == (other.batch_api != "gemini")
        refused = place.session(recipe(total=9, parameters={"max_tokens": 5, "logit_bias": {}})).run_batch()
        assert refused["stopped"]["reason"] == "unsupported_parameter"
        assert refused["stopped"]["where"] == "parameters.logit_bias" and len(server.batches) == 1
