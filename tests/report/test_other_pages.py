"""Two builds side by side, an ablation and a tuning: what stands there, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vldata.errors import BuildError
from vldata.report import plots
from vldata.report.ablation_page import ablation_page, read_results
from vldata.report.compare_page import compare_page
from vldata.report.plots import Line, _columns, _labels
from vldata.report.tuning_page import tuning_page
from vldata.report.write import write_report

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
    content = tree()
    content["comparisons"][0] |= {"ci_low": low, "ci_high": high}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(BuildError, match="contains zero"):
        ablation_page(tmp_path / "results.json")


@pytest.mark.parametrize("harm", ["{", "[]", "{}", '{"name": 1}'])
def test_what_are_no_results_is_said(tmp_path, harm) -> None:
    (tmp_path / "results.json").write_text(harm)
    with pytest.raises(BuildError, match="no results of an ablation"):
        read_results(tmp_path / "results.json")


def test_an_ablation_without_a_cell_has_a_page(tmp_path) -> None:
    content = tree() | {"cells": [], "noise": [], "comparisons": []}
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert "nothing to compare" in ablation_page(tmp_path / "results.json")


def hard_names() -> str:
    """Results with a task of a steering name and one of a long name, and the variants of a grid."""
    content = tree()
    grid = [f"total-1000+per-instruction+max_turns-5+image_position-random+flip-0.{n}-and-so-on" for n in range(4)]
    content["variants"] += [{"name": name, "changes": {}, "same_as": None, "build": BUILD} for name in grid]
    content["comparisons"] += [_compared(name, 0.01, 0.03, 0.05, "better") for name in grid]
    for task in ("a \u202e\x1b[2J task", "t" * 300):
        content["cells"] += [{**cell, "task": task} for cell in content["cells"][:3]]
    return json.dumps(content)


def test_a_name_steers_nothing_anywhere(tmp_path) -> None:
    (tmp_path / "results.json").write_text(hard_names())
    page = ablation_page(tmp_path / "results.json")
    assert "\u202e" not in page and "\x1b" not in page
    assert ">a U+202EU+001B[2J task</a>" in page


def test_names_in_a_plot_stay_apart() -> None:
    ends = [Line(f"total-1000+per-instruction+max_turns-5+flip-0.{n}", "^", "better", 0.1) for n in range(2)]
    middles = [Line("a" * 40 + str(n) + "b" * 40, "o", "failed") for n in range(2)]
    short = Line("drop-captions", "o", "no difference shown", 0.0)
    labels = _labels([*ends, *middles, short])
    names = [name for name, _ in labels]
    assert names[0].endswith("flip-0.0") and names[1].endswith("flip-0.1")
    assert len(set(names)) == 5
    assert labels[0][1] == "" and labels[2][1] == "failed" and labels[4] == (short.name, short.remark)
    assert all(_columns(name) + _columns(remark) <= 48 for name, remark in labels)
    assert _columns(_labels([Line("描" * 60, "^", "better", 0.1)])[0][0]) <= 48


@pytest.mark.parametrize("name, what", [("ablation.json", "ablation"), ("asked.json", "tuning")])
def test_a_folder_without_results_yet_is_named_for_what_it_is(tmp_path, name, what) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(BuildError, match=f"this {what} has no results yet"):
        write_report(tmp_path)


def test_two_builds_differ_where_they_do(place) -> None:
    other = place.again("fewer", limit=20).out
    page = compare_page(place.built.out, other)
    assert page == compare_page(place.built.out, other)
    assert "only in A" not in page  # both have every source
    assert "The recipes say the same." in page
    assert f"<title>{place.built.out.name} and {other.name}</title>" in page  # both have the recipe's name
    same = compare_page(place.built.out, place.built.out)
    assert "Both hold the same blocks in the same order." in same
    assert str(place.folder) not in page


def tuning() -> dict[str, Any]:
    """A tuning that proposes something, with a run that failed and a source whose name would do harm."""
    names = ["captions", HARM]
    error = {
        "mixtures": 2,
        "mean_abs_error": 0.1,
        "mean_abs_error_of_mean": 0.4,
        "rank_correlation": 0.9,
        "p_value": 0.01,
    }
    runs = [
        {
            "name": f"run-{number:03}",
            "held_out": number in (2, 3),
            "shares": dict.fromkeys(names, 0.5),
            "measured": None if number == 4 else 1.0 + 0.1 * number,
            "predicted": 1.0 + 0.11 * number,
            "error": "train: no room at /somewhere/else/x" if number == 4 else None,
        }
        for number in range(5)
    ]
    proposed = {
        "shares": dict(zip(names, (0.8, 0.2), strict=True)),
        "units": dict(zip(names, (800, 200), strict=True)),
        "epochs": dict(zip(names, (1.6, 0.4), strict=True)),
        "predicted": 0.9,
        "measured": 0.95,
        "base_predicted": 1.01,
        "base_measured": 1.0,
        "error": None,
    }
    return {
        "name": "which <b>weights</b>",
        "format": 1,
        "loss": "nll_per_token",
        "unit": "samples",
        "total": 1000,
        "proxy_total": 100,
        "max_epochs": 4.0,
        "sources": {name: {"available": 500, "base_share": 0.5, "max_share": 1.0} for name in names},
        "tasks": {"caption": {"weight": 1.0, "model": "linear", **error}},
        "runs": runs,
        "held_out": error,
        "proposed": proposed,
        "refused": None,
        "recipe": "recipe.yaml",
    }


HARM = "<script>alert(2)</script>"


def test_a_tuning_shows_its_weights_and_its_errors(tmp_path) -> None:
    (tmp_path / "tune.json").write_text(json.dumps(tuning()))
    assert write_report(tmp_path) == tmp_path / "report.html"
    page = (tmp_path / "report.html").read_text()
    for said in ("A mixture is proposed", "80.0 %", "0.9500", "that is no comparison", "off by 0.02", "no room at"):
        assert said in page
    assert "0.9500<small>off by 0.05</small>" in page
    assert "<script" not in page and "<b>weights" not in page and "/somewhere" not in page
    assert page == tuning_page(tmp_path / "tune.json")


def test_a_tuning_that_cannot_tell_says_so(tmp_path) -> None:
    content = tuning() | {"proposed": None, "refused": "predictions are off", "recipe": None}
    content["held_out"] |= {"rank_correlation": None, "p_value": 1.0}
    (tmp_path / "tune.json").write_text(json.dumps(content))
    page = tuning_page(tmp_path / "tune.json")
    assert "Nothing is proposed." in page and "predictions are off" in page and "A mixture is proposed" not in page
    (tmp_path / "tune.json").write_text("[]")
    with pytest.raises(BuildError, match="no results of a tuning"):
        tuning_page(tmp_path / "tune.json")


def test_what_lies_far_beyond_does_not_hide_the_others() -> None:
    near = [
        plots.Line(f"v{n}", "o", "no difference shown", 0.01 * n, 0.01 * n - 0.05, 0.01 * n + 0.05) for n in range(6)
    ]
    far = plots.Line("lost", "v", "worse", -5.0, -5.9, -4.1)
    drawn = plots.forest("f", "about", [*near, far], 0.03, "difference")
    assert "worse, −5" in drawn and "0.1" in drawn  # a tick of the others' scale
    assert "worse, −" not in plots.forest("f", "about", [far], None, "difference")
