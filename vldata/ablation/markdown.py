"""The table of an ablation to paste into a page: variants down, tasks across."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

Tree = Mapping[str, Any]


def matrix(table: Tree) -> str:
    """Markdown of what ``results.json`` holds: every difference with half of its interval, bold where it is shown."""
    compared = {(one["variant"], one["task"]): one for one in table["comparisons"]}
    noise = {one["task"]: one for one in table["noise"]}
    tasks = sorted({task for _, task in compared} | set(noise))
    metric = {one["task"]: one["metric"].replace("_", " ") for one in (*compared.values(), *noise.values())}
    if not tasks:
        return "Nothing could be compared; see `failed` and `missing` in results.json.\n"
    named = [variant["name"] for variant in table["variants"] if variant["same_as"] is None]
    rows = [["", *(f"{task} ({metric[task]})" for task in tasks)], ["---", *["---:"] * len(tasks)]]
    rows.append(["base, its mean score", *(_mean(table, task) for task in tasks)])
    rows += [[name, *(_cell(compared.get((name, task))) for task in tasks)] for name in named if name != table["base"]]
    rows.append(["base against itself", *(_cell(noise.get(task)) for task in tasks)])
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    seeds, base_seeds = len(table["seeds"]), len(table["base_seeds"])
    same = [f"{one['name']} is {one['same_as']}" for one in table["variants"] if one["same_as"] is not None]
    notes = [
        f"Difference to the base ± half of its interval; {seeds} trainings of each variant, {base_seeds} of the base.",
        f"All {len(compared)} intervals hold at once with {table['level']:.0%}; **bold** where zero is outside.",
    ]
    notes += ["The same data: " + ", ".join(same) + "."] if same else []
    notes += ["– could not be compared."] if any("–" in row for row in rows) else []
    remarks = [f"- {one['variant']}, {one['task']}: {one['why']}" for one in table["missing"]]
    remarks += [f"- {note}" for note in table["notes"]]
    remarks += [f"- failed: {one['variant']}, {one['stage']}" for one in table["failed"]]
    return "\n".join([*lines, "", *notes, "", *dict.fromkeys(remarks)]).rstrip() + "\n"


def _mean(table: Tree, task: str) -> str:
    values = [one["value"] for one in table["cells"] if one["variant"] == table["base"] and one["task"] == task]
    return f"{fmean(values):.3f}".replace("-", "−") if values else "–"


def _cell(one: Tree | None) -> str:
    if one is None or one["ci_high"] is None:
        return "–"
    text = f"{one['difference']:+.3f} ± {one['ci_high'] - one['difference']:.3f}".replace("-", "−")
    return text if one["verdict"] == "no difference shown" else f"**{text}**"
