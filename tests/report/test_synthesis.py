"""What a model's turns cost stands in the manifest and on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.llm.server import BillingServer, answer
from vldata import build
from vldata.generate.session import SynthOptions, SynthSession
from vldata.recipe.load import from_tree
from vldata.report.build_page import write_build_page

TREE: dict[str, Any] = {
    "name": "chat",
    "seed": 3,
    "sources": {
        "captions": {"format": "shapes", "scenes": 20},
        "chat": {
            "synth": {
                "from": ["captions"],
                "kind": "llava.conversation",
                "model": "tiny",
                "total": 6,
                "parameters": {"max_tokens": 300},
            }
        },
    },
    "mixture": {"sources": {"captions": 1, "chat": 1}},
}
REPLY = (
    "Question:\nWhat is in image {n}?\n===\nAnswer:\nSeveral plain shapes, as {n} tells.\n===\n"
    "Question:\nIs there a photograph of a dog?\n===\nAnswer:\nNo, there are only shapes {n}."
)


def test_the_cost_is_that_of_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLDATA_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("VLDATA_CONFIG", str(tmp_path / "config.yaml"))
    (tmp_path / "config.yaml").write_text(
        "endpoints:\n  openai:\n    url: https://api.openai.com/v1\n    prices:\n"
        "      tiny: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}\n"
    )
    recipe, store = from_tree(TREE), tmp_path / "store"
    with BillingServer(lambda asked: answer(REPLY.format(n=asked.digest[:8]))) as server:
        SynthSession(recipe, store, tmp_path / "answers", SynthOptions(endpoint=server.url)).run()
    built = build(recipe, tmp_path / "out", store=store, workers=1, finish=write_build_page)
    (state,) = SynthSession(recipe, store, tmp_path / "answers").status()
    costs = built.manifest["synth"]["chat"]
    assert costs == {"kind": "llava.conversation", "model": "tiny"} | {k: v for k, v in state.items() if k != "source"}
    assert costs["cost_usd"] > 0 and costs["kept"] == 6
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{costs['cost_usd']:.4f}" in page
    assert "No source of this build was written by a model" not in page
    assert "written by" in page  # in the lineage of a sample
    again = build(recipe, tmp_path / "again", store=store, workers=1, finish=write_build_page)
    assert again.manifest["synth"] == built.manifest["synth"]
    assert (tmp_path / "again" / "report.html").read_text() == page


def test_a_stand_in_has_no_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLDATA_ANSWERS", str(tmp_path / "none"))
    built = build(from_tree(TREE), tmp_path / "out", store=tmp_path / "store", workers=1, standin=20)
    assert "synth" not in built.manifest
