"""A tuning's page: the weights it proposes, and how far its predictions were off where nothing was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from vldata.report import plots
from vldata.report.render import render
from vldata.report.result_files import FilePart, read_part
from vldata.report.text import short

_MOST_LINES = 40


class SourceRow(FilePart):
    """A source of the mixture."""

    available: int
    base_share: float
    max_share: float


class Fit(FilePart):
    """How far predictions were off on the held-out mixtures."""

    mixtures: int
    mean_abs_error: float
    mean_abs_error_of_mean: float
    rank_correlation: float | None
    p_value: float


class TaskFit(Fit):
    """The same of one task, and the regression that was taken."""

    weight: float
    model: str


class MixtureRow(FilePart):
    """One mixture, what it scored and what was predicted of it."""

    name: str
    held_out: bool
    shares: dict[str, float]
    measured: float | None
    predicted: float
    error: str | None


class ProposedMixture(FilePart):
    """The best predicted mixture."""

    shares: dict[str, float]
    units: dict[str, int]
    epochs: dict[str, float]
    predicted: float
    measured: float | None
    base_predicted: float
    base_measured: float
    error: str | None


class Tuning(FilePart):
    """``tune.json``."""

    name: str
    loss: str
    unit: str
    total: int
    proxy_total: int
    max_epochs: float
    sources: dict[str, SourceRow]
    tasks: dict[str, TaskFit]
    runs: list[MixtureRow]
    held_out: Fit
    proposed: ProposedMixture | None
    refused: str | None
    recipe: str | None


@dataclass(frozen=True)
class Weight:
    """A source's part of the mixture, in the base and as proposed."""

    name: str
    available: int
    base: float
    proposed: float | None
    units: int | None
    epochs: float | None


def tuning_page(file: Path) -> str:
    """The HTML of a tuning's page.

    Raises:
        BuildError: It cannot be read, or is not of the form.
    """
    tuning = read_part(file, Tuning, "a tuning", "run the tuning again: it resumes")
    weights = [_weight(tuning, name) for name in tuning.sources]
    unseen = sorted((run for run in tuning.runs if run.held_out and run.measured is not None), key=lambda run: run.name)
    return render(
        "tuning.html.jinja",
        title=tuning.name,
        parts=[("mixture", "Mixture"), ("prediction", "Prediction"), ("runs", "Runs")],
        t=tuning,
        weights=weights,
        shares=_shares(weights) if tuning.proposed else None,
        predicted=_predicted(tuning, unseen),
        num_unseen=len(unseen),
        most_lines=_MOST_LINES,
        units=plots.UNIT_NAMES,
        off=_off,
        failed=[run for run in tuning.runs if run.error is not None],
    )


def _weight(tuning: Tuning, name: str) -> Weight:
    source, proposed = tuning.sources[name], tuning.proposed
    if proposed is None:
        return Weight(name, source.available, source.base_share, None, None, None)
    return Weight(
        name, source.available, source.base_share, proposed.shares[name], proposed.units[name], proposed.epochs[name]
    )


def _shares(weights: Sequence[Weight]) -> Markup:
    return plots.two_shares({one.name: (one.base, one.proposed) for one in weights}, "the base", "the proposed mixture")


def _predicted(tuning: Tuning, unseen: list[MixtureRow]) -> Markup:
    lines = [
        plots.Pair(run.name, _off(run.predicted, run.measured), run.predicted, run.measured)
        for run in unseen[:_MOST_LINES]
        if run.measured is not None
    ]
    fitted = [run.measured for run in tuning.runs if not run.held_out and run.measured is not None]
    about = f"{tuning.loss} predicted and measured, on mixtures that were not fitted; the numbers are in the table"
    return plots.pairs("predicted", about, lines, sum(fitted) / len(fitted), f"{tuning.loss}, weighted over tasks")


def _off(predicted: float, measured: float) -> str:
    return f"off by {_amount(abs(predicted - measured))}"


def _amount(value: float) -> str:
    return short(value) if value >= 1000 else f"{value:.3g}"
