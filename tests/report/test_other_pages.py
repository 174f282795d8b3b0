"""Two builds side by side, and an ablation: what stands there, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vldata.errors import BuildError
from vldata.report.ablation import ablation_page, read_results
from vldata.report.compare import compare_page

BUILD = {"samples": 10, "new_blocks": 1, "shared_blocks": 2, "new_bytes": 3, "shared_bytes": 4, "seconds": 0.5}


def _compared(variant: str, low: float | None, middle: float, high: float | None, verdict: str) -> dict[str, Any]:
    numbers = {"difference": middle, "ci_low": low, "ci_high": high, "p_value": 0.2, "seeds": 3, "items": 40}
    return {"variant": variant, "task": "vqa", "metric": "accuracy", **numbers, "verdict": verdict}


def tree() -> dict[str, Any]:
    """Results with everything in them that can happen."""
    names = ["base", "up", "down", "same", "copy", "lost", "<script>alert(1)</script>"]
    return {
        "name": "every <b>case</b>",
        "base": "base",
        "format": 1,
        "held": None,
        "level": 0.95,
        "correction": "all at once",
        "seeds": [0, 1, 2],
        "data_seeds": [7],
        "variants": [
            {
                "name": name,
                "changes": {"sources.a.path": "/somewhere/else/x.json"} if name == "up" else {},
                "same_as": "same" if name == "copy" else None,
                "build": BUILD,
            }
            for name in names
        ],
        "cells": [
            {
                "variant": v,
                "seed": s,
                "data_seed": 7,
                "task": "vqa",
                "metric": "accuracy",
                "value": 0.5,
                "n": 40,
                "blind": b,
            }
            for v, b in (("base", 0.25), ("up", None))
            for s in range(3)
        ],
        "failed": [
            {"variant": "lost", "seed": 1, "data_seed": 7, "stage": "train", "error": "Traceback …\nValueError: </td>"},
            {"variant": "lost", "seed": None, "data_seed": 7, "stage": "build", "error": "no room"},
        ],
        "missing": [{"variant": "lost", "task": "*", "why": "every training failed"}],
        "noise": [
            {
                "task": "vqa",
                "metric": "accuracy",
                "band": 0.02,
                "difference": 0.001,
                "ci_low": -0.02,
                "ci_high": 0.02,
                "verdict": "no difference shown",
            }
        ],
        "comparisons": [
            _compared("up", 0.01, 0.03, 0.05, "better"),
            _compared("down", -0.5, -0.4, -0.3, "worse"),
            _compared("same", None, 0.01, None, "no difference shown"),
            _compared("<script>alert(1)</script>", -0.1, 0.0, 0.1, "no difference shown"),
        ],
        "notes": ["a note"],
    }


def results() -> str:
    return json.dumps(tree())


def test_a_verdict_is_said_in_words_and_by_shape(tmp_path) -> None:
    (tmp_path / "results.json").write_text(results())
    page = ablation_page(tmp_path / "results.json")
    for sign, word in (("▲", "better"), ("▼", "worse"), ("○", "no difference shown")):
        assert f"{sign}</span> {word}</td>" in page
    for said in ("every training failed", "the same recipe as", "not known", "no room", "±0.020", "0.250 blind"):
        assert said in page
    assert "<script" not in page and "<b>case" not in page and "/somewhere" not in page
    assert page == ablation_page(tmp_path / "results.json")


@pytest.mark.parametrize("low, high", [(-0.01, 0.05), (None, 0.05), (0.0, 0.05)])
def test_a_claim_whose_interval_contains_zero_is_refused(tmp_path, low, high) -> None:
    told = tree()
    told["comparisons"][0] |= {"ci_low": low, "ci_high": high}
    (tmp_path / "results.json").write_text(json.dumps(told))
    with pytest.raises(BuildError, match="contains zero"):
        ablation_page(tmp_path / "results.json")


@pytest.mark.parametrize("harm", ["{", "[]", "{}", '{"name": 1}'])
def test_what_are_no_results_is_said(tmp_path, harm) -> None:
    (tmp_path / "results.json").write_text(harm)
    with pytest.raises(BuildError, match="no results of an ablation"):
        read_results(tmp_path / "results.json")


def test_an_ablation_without_a_cell_has_a_page(tmp_path) -> None:
    told = tree() | {"cells": [], "noise": [], "comparisons": []}
    (tmp_path / "results.json").write_text(json.dumps(told))
    assert "nothing to compare" in ablation_page(tmp_path / "results.json")


def test_two_builds_differ_where_they_do(place) -> None:
    other = place.again("fewer", limit=20).out
    page = compare_page(place.built.out, other)
    assert page == compare_page(place.built.out, other)
    assert "only in A" not in page  # both have every source
    assert "The recipes say the same." in page
    same = compare_page(place.built.out, place.built.out)
    assert "Both hold the same blocks in the same order." in same
    assert str(place.folder) not in page
