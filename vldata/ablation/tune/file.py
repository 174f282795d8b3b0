"""A tuning file, as typed: a base recipe, how many small runs, how far their mixtures may go, what is to be low.

name: which-weights
base: ../quickstart.yaml       # as in an ablation file
runs: 32                       # proxy runs, the base's own mixture among them
total: 2000                    # samples of each (in the mixture's unit); left out: as many as the base has
max_epochs: 4                  # passes over any source that the proposed mixture may need
held_out: 0.25                 # part of the runs that measures the prediction and is not fitted
tasks: {caption: 2, rec: 1}    # tasks with a low loss, by weight; left out: all, alike
train: {preset: tiny, steps: 300}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictInt, field_validator

from vldata.ablation.file import Evaluate, Train
from vldata.ablation.load import Opened, from_data
from vldata.errors import RecipeErrors, VldataError
from vldata.recipe.merge import find_recipe, read_recipe
from vldata.schema.spec import Spec
from vldata.schema.translate import validated

MIN_HELD_OUT = 5
"""Fewest runs that measure the prediction: four in the right order are no proof that they were not so by luck."""

MIN_RUNS = 16
"""Fewest proxy runs: eleven to fit and five to measure the fit."""

Concentration = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Tune(Spec):
    """A whole tuning.

    Args:
        base: A recipe file (looked for beside this file, then among the bundled ones), or a recipe as a map.
        runs: Proxy runs, each one mixture; more add to those already run.
        total: Size of each proxy's dataset, in the mixture's unit. None: the base's own.
        max_epochs: Most passes over any source in the dataset of the base's size.
        concentration: Least and most of the Dirichlet distributions around the base's shares; each mixture has its own.
            With concentration s a source of share p varies with standard deviation sqrt(p (1 - p) / (s + 1)).
        held_out: Part of the runs that no model is fitted to.
        seed: Which mixtures are tried.
        loss: The score of an answer that is to be low; the bundled trainer's ``nll_per_token`` is in nats.
        tasks: Task to its weight in what is minimised. Empty: all tasks of the held-out split, alike.
        train: As in an ablation file; every run has the same training seed, 0.
        evaluate: As in an ablation file, in the base's words.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    about: str = ""
    base: str | dict[str, Any]
    runs: Annotated[StrictInt, Field(ge=MIN_RUNS, le=10_000)] = 32
    total: Annotated[StrictInt, Field(ge=1)] | None = None
    max_epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    concentration: Annotated[list[Concentration], Field(min_length=2, max_length=2)] = [2.0, 16.0]
    held_out: Annotated[float, Field(ge=0.1, le=0.5)] = 0.25
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    loss: Annotated[str, Field(min_length=1)] = "nll_per_token"
    tasks: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @field_validator("concentration")
    @classmethod
    def _least_first(cls, concentration: list[float]) -> list[float]:
        low, high = concentration
        if low > high:
            raise ValueError(f"{low:g} is above {high:g}, and the least comes first; write [{high:g}, {low:g}]")
        return concentration

    @field_validator("evaluate")
    @classmethod
    def _one_loss_in_one_wording(cls, evaluate: Evaluate) -> Evaluate:
        if evaluate.metric is not None:
            raise ValueError("a tuning makes `loss` low; write its name there, and leave `evaluate.metric` out")
        if evaluate.words == "own":
            raise ValueError("a tuning puts its questions in the base's words; leave `evaluate.words` out")
        return evaluate


@dataclass(frozen=True)
class OpenedTune:
    """A tuning with what it names.

    Args:
        opened: The base recipe, the training and the questions.
        extends: How another recipe names the base's file: a bundled recipe by its name, a file by its path. None where
            the base is written in the tuning file itself.
    """

    tune: Tune
    opened: Opened
    extends: str | Path | None


def load_tune(path: Path | str, sets: Sequence[str] = ()) -> OpenedTune:
    """Read a tuning file.

    Args:
        sets: ``key.path=value`` changes.

    Raises:
        RecipeErrors: All that is wrong with it, or with its base.
        RecipeError: A file cannot be read at all.
    """
    file = find_recipe(str(path))
    data = read_recipe(file, sets)
    problems: list[VldataError] = []
    tune = validated(Tune, data, "", problems)
    if tune is None:
        raise RecipeErrors(problems)
    opened = from_data({key: data[key] for key in ("name", "base", "train", "evaluate") if key in data}, file.parent)
    return OpenedTune(tune, opened, _named(tune.base, file.parent))


def _named(base: str | dict[str, Any], folder: Path) -> str | Path | None:
    if isinstance(base, dict):
        return None
    for beside in (folder / base, Path(base)):
        if beside.is_file():
            return beside.resolve()
    return base
