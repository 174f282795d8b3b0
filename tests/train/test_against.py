from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from vldata.errors import BuildError
from vldata.train.against import against, read_items


def item(number: int, value: float, **other: Any) -> dict[str, Any]:
    line = {"id": f"a/{number}", "turn": 0, "task": "caption", "source": "a", "scores": {"cider_d": value, "f1": 0.5}}
    return {**line, **other}


def test_the_same_answers_are_paired_whatever_their_order() -> None:
    before = [item(n, n % 7 / 7) for n in range(200)]
    now = [item(n, n % 7 / 7 + 0.01) for n in reversed(range(200))]
    row = against(now, before)["caption"]
    assert row["difference"] == pytest.approx(0.01) and row["ci_low"] == pytest.approx(row["ci_high"])
    assert (row["metric"], row["n"], row["only_here"], row["only_there"]) == ("cider_d", 200, 0, 0)
    nothing = against(before, before)["caption"]
    assert (nothing["difference"], nothing["ci_low"], nothing["ci_high"]) == (0, 0, 0)


def test_what_only_one_of_them_answered_is_counted_and_not_compared() -> None:
    row = against([item(1, 1.0), item(2, 1.0)], [item(2, 0.5), item(3, 0.0), item(4, 0.0)])["caption"]
    assert (row["n"], row["only_here"], row["only_there"], row["difference"]) == (1, 1, 2, 0.5)
    apart = against([item(1, 1.0)], [item(1, 1.0, scores={"accuracy": 1.0})])["caption"]
    assert (apart["difference"], apart["ci_low"], apart["n"]) == (None, None, 0)


def test_answers_that_are_not_there_are_one_error(tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    with pytest.raises(BuildError, match=r"no scores\.items\.jsonl beside it"):
        read_items(scores)
    no_number = item(2, 1.0, scores={"cider_d": None})
    for line in ("{", "3", '{"id": 3}', json.dumps(item(2, 1.0, scores=[])), json.dumps(no_number)):
        (tmp_path / "scores.items.jsonl").write_text(f"{json.dumps(item(1, 1.0))}\n{line}\n")
        with pytest.raises(BuildError, match=r"items\.jsonl:2: the line is no answer"):
            read_items(scores)
