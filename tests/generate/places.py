"""A recipe of captions and chats over drawn shapes, and a place with stores and a server to run it in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.llm.server import BillingServer, ReceivedRequest, answer
from vldata.cli.main import app
from vldata.generate.session import SynthOptions, SynthSession
from vldata.recipe.load import from_tree

REPLY = (
    "Question:\nWhat is in picture {n}?\n===\nAnswer:\nSeveral plain shapes, as {n} tells.\n===\n"
    "Question:\nIs there a photograph of a dog?\n===\nAnswer:\nNo, there are only shapes {n}."
)
BAD = "I would rather not use that form, {n}."


def good(request: ReceivedRequest) -> Any:
    return answer(REPLY.format(n=request.digest[:8]))


def bad(request: ReceivedRequest) -> Any:
    return answer(BAD.format(n=request.digest[:8]))


def tree(scenes: int = 60, sources: dict[str, Any] | None = None, **synth: Any) -> dict[str, Any]:
    chat = {"from": "captions", "kind": "llava.conversation", "model": "tiny", **synth}
    chat["parameters"] = {"max_tokens": 300, **synth.get("parameters", {})}
    captions = {"format": "shapes", "scenes": scenes}
    return {
        "name": "chat",
        "seed": 3,
        "sources": {"captions": captions, "chat": {"synth": chat}, **(sources or {})},
        "mixture": {"sources": {"captions": 0, "chat": 1}},
    }


class Place:
    """A store, an answer store and a server."""

    def __init__(self, folder: Path, server: BillingServer) -> None:
        self.folder, self.server = folder, server
        self.where = {"store": folder / "store", "answers": folder / "answers"}

    @property
    def num_paid(self) -> int:
        return self.server.bill.requests

    def session(self, tree: dict[str, Any], **options: Any) -> SynthSession:
        return SynthSession(from_tree(tree), **self.where, options=SynthOptions(endpoint=self.server.url, **options))

    def run(self, tree: dict[str, Any], *, retry: bool = False, **options: Any) -> dict[str, Any]:
        row, *_ = self.session(tree, **options).run(retry=retry)
        return row

    def plan(self, tree: dict[str, Any], **options: Any) -> dict[str, Any]:
        row, *_ = self.session(tree, **options).plan()
        return row

    def status(self, tree: dict[str, Any], **options: Any) -> dict[str, Any]:
        row, *_ = self.session(tree, **options).status()
        return row

    def command(self, name: str, tree: dict[str, Any], *words: str) -> Result:
        path = self.folder / "recipe.yaml"
        path.write_text(json.dumps(tree))
        where = ["--store", str(self.where["store"]), "--answers", str(self.where["answers"])]
        sends = ["--endpoint", self.server.url] if name in ("run", "retry") else []
        given = ["synth", name, str(path), *where, *sends, *words]
        return CliRunner().invoke(app, given, env={"COLUMNS": "300"})


@contextmanager
def place_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("VLDATA_ANSWERS", str(folder / "answers"))
    monkeypatch.setenv("VLDATA_CONFIG", str(folder / "config.yaml"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("vldata.llm.pace.BACKOFF_S", 0.001)
    (folder / "config.yaml").write_text(
        "endpoints:\n  openai:\n    url: https://api.openai.com/v1\n    prices:\n"
        "      tiny: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}\n"
    )
    with BillingServer(good) as server:
        yield Place(folder, server)
