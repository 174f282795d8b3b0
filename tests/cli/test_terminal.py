"""What a person sees of native columns."""

from __future__ import annotations

import pytest

from vldata.cli.terminal import columns_table


def test_native_columns_are_aligned_cut_and_inert(capsys: pytest.CaptureFixture[str]) -> None:
    read = {"q": ["question"], "\x1b[31mred": ["answer"], "split": []}
    many = {f"c{k}": "unread" for k in range(15)}
    summary = {"read": read, "kept": ["score"], "ignored": many, "unknown": {"mask": 2}}
    columns_table({"mine": summary, "drawn": None})
    said = capsys.readouterr().out
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    assert lines[0].split() == ["columns", "of", "native", "feeds"]
    feeds = lines[0].index("feeds")
    assert lines[1].startswith("mine") and lines[1][feeds:] == "question"
    assert lines[2][feeds:] == "answer" and "\\x1b[31mred" in lines[2]
    assert "\x1b" not in said
    assert "and 3 more" in said
    assert "unknown: 2 turns rejected" in said
    assert "drawn" not in said


def test_sources_without_columns_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    columns_table({"drawn": None})
    assert capsys.readouterr().out == ""
