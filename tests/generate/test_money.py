"""What the commands of `vldata synth` say of money and of faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.generate.test_generate import Place, place, recipe, reply
from tests.llm.server import Act, BillingServer, ReceivedRequest, failure, reset, without_usage
from vldata.cli.main import app

__all__ = ["place"]

FLAGGED = Act(403, {"error": {"message": "Your input was flagged [bold]", "code": 403}}, is_billed=False)


def invoke(place: Place, *words: str, endpoint: bool = False) -> Result:
    path = place.folder / "recipe.yaml"
    path.write_text(json.dumps(recipe(max_usd=5.0).raw))
    where = ["--store", str(place.where["store"]), "--answers", str(place.where["answers"])]
    to = ["--endpoint", place.server.url] if endpoint else []
    command = ["synth", words[0], str(path), *words[1:], *where, *to]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200"})


def one(place: Place, *words: str) -> dict[str, Any]:
    said = invoke(place, *words, "--json")
    assert said.exit_code == 0, said.output
    (row,) = json.loads(said.output)
    return row


def test_budget_says_what_is_in_doubt_and_why_and_settles_it_by_the_users_word(place: Place) -> None:
    fresh = one(place, "budget")
    assert (fresh["spent_usd"], fresh["doubts"], fresh["max_usd"]) == (0.0, [], 5.0)
    place.server.queue(reset(), without_usage())
    place.run(recipe(max_usd=5.0))
    row = one(place, "budget")
    assert [doubt["why"] for doubt in row["doubts"]] == ["connection_lost", "no_usage"]
    assert row["in_doubt_usd"] == pytest.approx(sum(doubt["usd"] for doubt in row["doubts"]))
    assert row["in_doubt_usd"] > 0
    known = row["spent_usd"] - row["in_doubt_usd"]
    text = invoke(place, "budget").output
    assert "in doubt: connection_lost: the connection broke before the answer was whole" in text
    assert "--settle USD" in text
    settled = one(place, "budget", "--settle", "0.0")
    assert settled["spent_usd"] == pytest.approx(known) and settled["doubts"] == []
    assert settled["requests"] == row["requests"] == place.server.bill.requests
    again = invoke(place, "budget", "--settle", "0.5")
    assert again.exit_code == 2 or "no attempt is in doubt" in str(again.exception)


def test_a_run_and_the_status_give_one_example_of_the_servers_words_for_each_fault(place: Place) -> None:
    def script(received: ReceivedRequest) -> Act:
        if received.number in (2, 3):
            return FLAGGED
        return failure(500, None, "CUDA error: \x1b[31mdevice") if received.number == 5 else reply(received)

    place.server.script = script
    said = invoke(place, "run", endpoint=True)
    assert "policy, for example: HTTP 403: Your input was flagged [bold]" in said.output
    assert "server_error, for example: HTTP 500: CUDA error:  [31mdevice" in said.output
    status = invoke(place, "status")
    assert status.exit_code == 0 and "policy, for example: HTTP 403: Your input was flagged [bold]" in status.output


def test_a_segment_of_the_answer_store_that_is_gone_is_told_before_it_is_paid_for_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vldata.llm.segments.SEGMENT_BYTES", 20_000)
    place.run(recipe())
    segments = sorted(Path(place.where["answers"]).glob("*.answers"))
    assert len(segments) > 1
    segments[-1].unlink()
    assert "missing: " + segments[-1].name in invoke(place, "plan").output
    assert "missing: " + segments[-1].name in invoke(place, "status").output
    assert "missing: " + segments[-1].name in invoke(place, "run", endpoint=True).output


def test_a_run_over_several_servers_says_what_each_did(place: Place) -> None:
    with BillingServer(lambda received: failure(503)) as dead:
        (place.folder / "config.yaml").write_text(
            f"endpoints: {{openai: {{key_env: null, servers: ['{dead.url}', '{place.server.url}'], "
            "prices: {tiny: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}}}}"
        )
        said = invoke(place, "run")
    assert said.exit_code == 0, said.output
    assert f"{place.server.url}: attempts sent 12, answered 12, failed 0" in said.output
    assert f"{dead.url}: attempts" in said.output and "overloaded, for example: HTTP 503: It failed" in said.output
