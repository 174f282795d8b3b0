"""The template engine against one Jinja call a row, on one core.

    python tests/bench/templates.py [--rows 200000] [--rounds 5]

A one-line template (a question, written into a sentence), and a multiple-choice one with a loop over four options. Both
sides give the same texts; the best of some alternated rounds counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from measure import Row, show

sys.path.insert(0, str(Path(__file__).parents[2]))

from vldata.prompts.program import compile_block
from vldata.tasks.vqa_mc import VqaMc

MIN_PER_S = 500_000
LINE = "Look at the image, then answer: {{ question }}"
CHOICES = (
    "{{ question }}\n{% for mark, choice in lettered(choices) %}\n{{ mark }} {{ choice }}\n{% endfor %}\n"
    "Answer with the letter."
)


def engine(text: str, columns: dict[str, list[Any]], helpers: dict[str, Callable[..., object]]) -> list[str | None]:
    block = compile_block("{% block user %}" + text + "{% endblock %}", "bench.jinja", "user", frozenset(columns))
    texts, failed = block.texts(columns, num_rows=len(columns["question"]), constants=helpers)
    assert not failed
    return texts


def row_by_row(text: str, columns: dict[str, list[Any]], helpers: dict[str, Callable[..., object]]) -> list[str]:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.globals.update(helpers)
    template = environment.from_string(text)
    return [
        template.render(dict(zip(columns, values, strict=True))).strip()
        for values in zip(*columns.values(), strict=True)
    ]


def main() -> None:
    """Measure, print, and fail when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    questions = [f"What colour is the small thing at place {i}?" for i in range(options.rows)]
    choices = [["red", "blue", "green", f"shade {i}"] for i in range(options.rows)]
    rows: list[Row] = []
    for what, text, columns, target in (
        ("one line", LINE, {"question": questions}, MIN_PER_S),
        ("four options in a loop", CHOICES, {"question": questions, "choices": choices}, None),
    ):
        helpers = VqaMc().template_helpers()
        best = {engine: float("inf"), row_by_row: float("inf")}
        texts = {}
        for _ in range(options.rounds):
            for side in best:
                started = time.perf_counter()
                texts[side] = side(text, columns, helpers)
                best[side] = min(best[side], time.perf_counter() - started)
        assert texts[engine] == texts[row_by_row], "the sides do not say the same"
        ours, theirs = (options.rows / best[side] for side in (engine, row_by_row))
        wanted = f">= {target:,}" if target else ""
        rows.append((f"{what}, turns/s", f"{ours:,.0f}", wanted, ours >= target if target else None))
        rows.append(("  Jinja row by row", f"{theirs:,.0f}", "", None))
        rows.append(("  ratio", f"{ours / theirs:.1f} x", "", None))
    raise SystemExit(0 if show(f"templates, {options.rows:,} rows, one core", rows) else 1)


if __name__ == "__main__":
    main()
