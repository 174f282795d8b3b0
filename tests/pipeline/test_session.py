"""A session: what the builds that follow one another share, and what ends with it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest

from vldata.base import Silent
from vldata.errors import StoreError
from vldata.pipeline.choose import CandidateCache
from vldata.pipeline.image_facts import Place
from vldata.pipeline.session import open_session
from vldata.pipeline.workers import Engine, cores
from vldata.store.gc import collect


def test_a_session_has_a_store_of_its_own_choice_and_a_worker_for_each_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLDATA_STORE", str(tmp_path / "usual"))
    with open_session() as session:
        assert session.store.root == tmp_path / "usual"
        assert session.engine.workers == cores()
        assert isinstance(session.progress, Silent)
    with open_session(tmp_path / "other", 3) as session:
        assert session.store.root == tmp_path / "other"
        assert session.engine.workers == 3


def test_its_workers_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Engine] = []
    monkeypatch.setattr(Engine, "close", lambda engine: closed.append(engine))
    with pytest.raises(RuntimeError, match="stopped"), open_session(tmp_path, 1):
        raise RuntimeError("stopped")
    assert len(closed) == 1


def test_its_store_is_not_cleaned_meanwhile(tmp_path: Path) -> None:
    with open_session(tmp_path, 1) as session, pytest.raises(StoreError, match="is using it"):
        collect(session.store, keep_days=0)
    assert collect(session.store, keep_days=0).removed == 0


def test_forgetting_leaves_nothing_that_was_found_out_but_the_templates(tmp_path: Path) -> None:
    with open_session(tmp_path, 1) as session:
        place = Place("/nowhere", 9)
        session.remembered[place] = None
        session.seen[place] = pl.DataFrame()
        session.candidates = CandidateCache(inspected={("key", 0, 1): object()})  # type: ignore[dict-item]
        session.laid_out["parts"] = "leaves"
        session.drawn.add(("folder", "source"))
        session.templates["key"] = object()  # type: ignore[assignment]
        session.forget()
        empty = [
            field.name for field in fields(session) if getattr(session, field.name) in ({}, set(), CandidateCache())
        ]
        assert empty == ["remembered", "seen", "candidates", "laid_out", "drawn"]
        assert list(session.templates) == ["key"]
