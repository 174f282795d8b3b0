"""From a model that writes in its own way to a build: repairs are counted, and reading again requests nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from typer.testing import CliRunner

from tests.generate.test_generate import Place, place, recipe
from tests.llm.server import ReceivedRequest, answer
from vldata.cli.main import app
from vldata.report.build_page import write_build_page
from vldata.synth import replies

__all__ = ["place"]

BOLD = (
    "<think>\nTwo questions about shapes.\n</think>\n\nSure! Here is a conversation about the image:\n\n"
    "**Question:** What is in drawing {n}?\n**Answer:** Several plain shapes, as {n} tells.\n\n"
    "**Question:** Is there a photograph of a dog?\n**Answer:** No, there are only shapes {n}.\n\n"
    "Let me know if you would like more questions!"
)
COUNTS = {"bold_labels": 12, "preface": 12, "reasoning": 12, "separators": 12, "signoff": 12}


def texts(out: Path) -> list[str]:
    rows = [row for row in datasets.load_from_disk(str(out)) if row["source"] == "chat"]
    return [part["text"] or "" for row in rows for message in row["messages"] for part in message["content"]]


def bold(request: ReceivedRequest) -> Any:
    return answer(BOLD.format(n=request.digest[:8]))


def test_repairs_are_counted_in_status_manifest_and_page(place: Place) -> None:
    place.server.script = bold
    ran = place.run(recipe())
    assert (ran["kept"], ran["turns"], ran["repaired"]) == (12, 24, COUNTS)
    built = place.build(recipe(), finish=write_build_page)
    assert built.manifest["synth"]["chat"]["repaired"] == COUNTS
    page = (built.out / "report.html").read_text()
    assert "Repaired replies by source" in page and "bold_labels" in page
    said = " ".join(texts(built.out))
    assert all(junk not in said for junk in ("think", "Sure", "**", "Let me know"))


def test_status_and_show_say_what_was_repaired(place: Place, tmp_path: Path) -> None:
    place.server.script = bold
    place.run(recipe())
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe().raw))
    where = ["--store", str(tmp_path / "store"), "--answers", str(tmp_path / "answers")]
    said = CliRunner().invoke(app, ["synth", "status", str(tmp_path / "recipe.yaml"), *where], env={"COLUMNS": "200"})
    assert "chat: repaired: bold_labels 12, preface 12, reasoning 12, separators 12, signoff 12" in said.output
    (shown,) = place.session(recipe()).show(limit=1)
    assert sorted(shown["repairs"]) == sorted(COUNTS) and shown["reply"].startswith("<think>")


def test_a_strict_source_refuses_what_would_need_a_repair(place: Place) -> None:
    place.server.script = bold
    ran = place.run(recipe(strict=True, max_reasks=0))
    assert (ran["kept"], ran["dropped"], ran["repaired"]) == (0, {"reply_needs_repair": 12}, {})
    (row,) = place.session(recipe(max_reasks=0)).status()
    assert (row["kept"], place.server.bill.requests) == (12, 12)


def test_whole_pairs_are_kept_of_a_reply_that_was_cut_off(place: Place) -> None:
    def ended(completion: dict[str, Any]) -> None:
        completion["choices"][0]["finish_reason"] = "length"

    def cut(request: ReceivedRequest) -> Any:
        text = BOLD.format(n=request.digest[:8]).partition("Let me")[0]
        return answer(text + "**Question:** Which of th", change=ended)

    place.server.script = cut
    ran = place.run(recipe())
    assert (ran["kept"], ran["turns"], ran["marked"]) == (12, 24, {"reply_truncated": 12})
    assert ran["repaired"]["cut_pair"] == 12


def test_another_version_of_the_parsers_reads_again_and_requests_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.server.script = bold
    place.run(recipe())
    place.build(recipe())
    monkeypatch.setattr("vldata.generate.sources.REPLIES_VERSION", replies.REPLIES_VERSION + 1)
    parser = replies.PARSERS["llava_blocks"]

    def backwards(text: str, options: Any, is_cut: bool) -> replies.ReplyReading:
        return replies.ReplyReading(parser.read(text, options, is_cut).exchanges[::-1])

    monkeypatch.setitem(replies.PARSERS, "llava_blocks", replies.Parser("llava_blocks", replies.Options, backwards))
    (row,) = place.session(recipe()).plan()
    assert (row["hits"], row["to_send"]) == (12, 0)
    before, after = texts(place.folder / "out"), texts(place.build(recipe(), "again").out)
    assert sorted(before) == sorted(after) and before != after
    assert place.server.bill.requests == 12
