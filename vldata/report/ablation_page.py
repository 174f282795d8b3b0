"""An ablation's table as plots: per task, every variant's difference to the base with its interval.

The page claims what ``results.json`` claims, and checks it: a verdict that its own interval does not bear out is an
error, not a page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from vldata.errors import BuildError
from vldata.report import plots
from vldata.report.render import render
from vldata.report.result_files import FilePart, read_part
from vldata.report.text import plain

VERDICTS = {"better": ("^", "▲", "k1"), "worse": ("v", "▼", "k4"), "no difference shown": ("o", "○", "muted")}
"""What a comparison may say -> its mark in the plot, its sign in the text, its colour."""


class BuildRow(FilePart):
    """What a variant's build holds, and what it added to the store."""

    samples: int
    new_blocks: int
    shared_blocks: int
    new_bytes: int
    shared_bytes: int


class VariantRow(FilePart):
    """A variant: what it changes, and whether that makes it another one."""

    name: str
    changes: dict[str, Any]
    same_as: str | None
    build: BuildRow


class ScoreRow(FilePart):
    """What one training scored on one task."""

    variant: str
    seed: int
    task: str
    metric: str
    value: float
    blind: float | None


class FailureRow(FilePart):
    """A build, training or evaluation that failed."""

    variant: str
    seed: int | None
    stage: str
    error: str


class MissingRow(FilePart):
    """A comparison that cannot be made, or not of all seeds; the task ``*`` is all of them."""

    variant: str
    task: str
    why: str


class Difference(FilePart):
    """A difference and its interval; an end that is null is not known."""

    task: str
    metric: str
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    verdict: str

    @property
    def low(self) -> float:
        """Lower end, infinite when it is not known."""
        return -math.inf if self.ci_low is None else self.ci_low

    @property
    def high(self) -> float:
        """Upper end, infinite when it is not known."""
        return math.inf if self.ci_high is None else self.ci_high


class NoiseRow(Difference):
    """The base against itself."""

    band: float | None


class ComparisonRow(Difference):
    """A variant against the base."""

    variant: str
    p_value: float | None
    seeds: int
    items: int


class Results(FilePart):
    """``results.json``."""

    name: str
    base: str
    format: int
    held: str | None
    level: float
    correction: str
    seeds: list[int]
    data_seeds: list[int]
    variants: list[VariantRow]
    cells: list[ScoreRow]
    failed: list[FailureRow]
    missing: list[MissingRow]
    noise: list[NoiseRow]
    comparisons: list[ComparisonRow]
    notes: list[str] = []


@dataclass(frozen=True)
class TaskRow:
    """One task of the page.

    Args:
        base: Mean of the base's trainings; None when there are none.
        blind: The same without sight.
        noise: The base against itself; None when it was not run.
        missing: Variant to why there is no comparison, or not of all seeds.
    """

    name: str
    metric: str
    base: float | None
    blind: float | None
    noise: NoiseRow | None
    plot: Markup
    rows: tuple[ComparisonRow, ...]
    missing: Mapping[str, str]


def ablation_page(file: Path) -> str:
    """The HTML of an ablation's page.

    Raises:
        BuildError: It cannot be read, is not of the form, or claims what its intervals do not show.
    """
    results = read_results(file)
    names = sorted({cell.task for cell in results.cells} | {one.task for one in results.comparisons})
    tasks = [_task(results, name, number) for number, name in enumerate(names)]
    variants = [variant for variant in results.variants if variant.name != results.base]
    return render(
        "ablation.html.jinja",
        title=results.name,
        parts=[(f"task-{number}", task.name) for number, task in enumerate(tasks)]
        + [("failed", "Failed and missing"), ("variants", "Variants")],
        r=results,
        tasks=tasks,
        variants=variants,
        verdicts=VERDICTS,
        tally={verdict: sum(one.verdict == verdict for one in results.comparisons) for verdict in VERDICTS},
        num_trainings=len({(cell.variant, cell.seed, cell.task) for cell in results.cells if cell.task == names[0]})
        if names
        else 0,
    )


def read_results(file: Path) -> Results:
    """Read and check ``results.json``.

    Raises:
        BuildError: As `ablation_page`.
    """
    fix = "run the ablation again: it resumes"
    results = read_part(file, Results, "an ablation", fix)
    for one in (*results.comparisons, *results.noise):
        who = one.variant if isinstance(one, ComparisonRow) else results.base
        where = f"{file}: {who} on {one.task}"
        if one.verdict not in VERDICTS:
            raise BuildError(where, f"unknown verdict {one.verdict!r}", fix)
        claims, contains_zero = one.verdict != "no difference shown", one.low <= 0 <= one.high
        if claims and contains_zero:
            interval = f"{one.ci_low} to {one.ci_high}"
            raise BuildError(where, f"it says {one.verdict!r}, but its interval {interval} contains zero", fix)
    return results


def _task(results: Results, task: str, number: int) -> TaskRow:
    rows = tuple(one for one in results.comparisons if one.task == task)
    noise = next((one for one in results.noise if one.task == task), None)
    missing: dict[str, str] = {}
    for one in results.missing:
        if one.task in (task, "*"):
            missing[one.variant] = f"{missing[one.variant]}; {one.why}" if one.variant in missing else one.why
    cells = [cell for cell in results.cells if cell.task == task]
    of_base = [cell for cell in cells if cell.variant == results.base]
    metrics = [*(cell.metric for cell in (*of_base, *cells)), *(one.metric for one in rows)]
    metric = metrics[0] if metrics else ""
    blind = [cell.blind for cell in of_base if cell.blind is not None]
    return TaskRow(
        name=task,
        metric=metric,
        base=fmean(cell.value for cell in of_base) if of_base else None,
        blind=fmean(blind) if blind else None,
        noise=noise,
        plot=_forest(results, task, metric, rows, noise, missing, number),
        rows=rows,
        missing=missing,
    )


def _forest(
    results: Results,
    task: str,
    metric: str,
    rows: Sequence[ComparisonRow],
    noise: NoiseRow | None,
    missing: Mapping[str, str],
    number: int,
) -> Markup:
    by_variant = {one.variant: one for one in rows}
    lines = []
    if noise is not None:
        lines.append(_line(f"{results.base}, other seeds", noise))
    for variant in results.variants:
        if variant.name == results.base:
            continue
        if variant.name in by_variant:
            lines.append(_line(variant.name, by_variant[variant.name]))
        elif variant.same_as is not None:
            lines.append(plots.Line(variant.name, "o", f"same as {variant.same_as}"))
        else:
            failed = any(one.variant == variant.name for one in results.failed)
            lines.append(plots.Line(variant.name, "o", "failed" if failed else "missing"))
    unit = f"difference in {plain(metric, 40)}"
    about = f"{plain(task)}: {unit} of every variant to the base, with intervals; the numbers are in the table"
    band = noise.band if noise is not None else None
    return plots.forest(f"forest-{number}", about, lines, band, unit)


def _line(name: str, one: Difference) -> plots.Line:
    return plots.Line(name, VERDICTS[one.verdict][0], one.verdict, one.difference, one.low, one.high)
