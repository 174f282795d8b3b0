"""An ablation file, as typed: a base recipe, what to change in it, how to train, what to score on.

name: which-sources
base: ../quickstart.yaml          # a recipe file beside this one, a bundled recipe's name, or a recipe written here
seeds: 5                          # trainings of every variant; left out: as many as the statistics need
held: counts                      # when sources are left out, the others keep their counts; `total`: they grow
axes:
  drop: sources                   # each one in turn; `tasks`, or a list of names
  total: [1000, 2000, 4000]
  templates: {per: [instruction, task_name], flip: [0.5]}
  set: {sources.captions.conversation.max_turns: [1, 5]}      # any key of the recipe, as --set has it
variants:                         # named ones: several changes at once, without lists
  small-and-plain: {total: 1000, templates: {prompts: one}}
train: {preset: tiny, steps: 900}
evaluate: {words: own}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from vldata.schema.spec import Spec

Names = list[str | list[str]]
"""Sources or tasks, each a variant of its own; a list among them is left out, or kept, together."""

Values = Annotated[list[Any], Field(min_length=1)]


class Axes(Spec):
    """What is varied, each with the values that it takes; null is the base's own.

    Args:
        drop: Sources or tasks that are left out: ``sources`` and ``tasks`` mean each in turn.
        only: Sources or tasks that are kept alone, in the same way.
        weights: Source or group to weights in the mixture.
        strategy: Mixing rules in place of all numbers and groups: ``sqrt``, ``{temperature: 2}`` …
        total: Sizes of the whole dataset.
        templates: Keys of a recipe's ``templates`` to values, for all sources.
        conversation: Keys of ``conversation`` to values, for all sources.
        images: Keys of ``images`` to values, for all sources.
        box_format: Box formats, for all sources.
        synth: ``false`` leaves out what models wrote.
        set: Any key of the recipe by its path, to values.
    """

    drop: Literal["sources", "tasks"] | Names = []
    only: Literal["sources", "tasks"] | Names = []
    weights: dict[str, Values] = {}
    strategy: list[str | dict[str, float] | None] = []
    total: list[StrictInt | None] = []
    templates: dict[str, Values] = {}
    conversation: dict[str, Values] = {}
    images: dict[str, Values] = {}
    box_format: list[str | None] = []
    synth: list[StrictBool | None] = []
    set: dict[str, Values] = {}


class Train(Spec):
    """How a variant is trained: with the bundled trainer, or by a command of one's own.

    A command gets ``{build}`` (the variant's folder), ``{held_out}`` (the build whose held-out split is scored on),
    ``{split}`` (that split's name), ``{seed}`` and ``{out}`` (a folder of its own, kept for a resume after a
    stop) put into its words; no shell reads it. It writes ``{out}/scores.json``:

        {"tasks": {"caption": {"metric": "cider_d", "value": 0.71, "n": 500, "blind": 0.02}}}

    with a higher value for a better model (``n`` and ``blind`` may be left out), and, so that answers can be paired,
    ``{out}/scores.items.jsonl``, a line an answer:

        {"id": "captions/12/c0", "turn": 0, "row": "12/c0", "source": "captions", "task": "caption",
         "scores": {"cider_d": 0.7}}

    ``id``, ``turn``, ``source`` and ``row`` as the held-out split has them; of ``scores`` that of the task's metric
    counts.

    Args:
        preset: Of `vldata train`.
        steps: Of each stage, in place of the preset's.
        set: Changes of the preset, ``dotted.key=value``.
        device: ``cpu`` or ``cuda``; a GPU where there is one.
        leave_out: Train without the samples that fit in no pack.
        command: In place of all of these: words, or one line that is split as a shell would.
    """

    preset: str = "tiny"
    steps: Annotated[StrictInt, Field(ge=1)] | None = None
    set: list[str] = []
    device: Literal["cpu", "cuda"] | None = None
    leave_out: StrictBool = False
    command: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Train:
        others = sorted(self.model_fields_set - {"command"})
        if self.command is not None and others:
            raise ValueError(f"`command` and {', '.join(others)} at once; a command says all of it itself")
        if any(text.partition("=")[0].strip() == "seed" for text in self.set):
            raise ValueError("`seed` is what an ablation varies; say how many with `seeds`")
        return self


class Evaluate(Spec):
    """What every variant is scored on: the same held-out turns for all.

    Args:
        words: ``base``: the questions are in the base recipe's words for all. ``own``: for each in the words that it
            was trained with (templates but for ``flip``, box format, place of the image); still the same turns.
        split: The held-out split; the first there is of val, validation and test.
        recipe: Another recipe that holds the questions; its ``split`` may then be ``train``.
        metric: Compare by this score of the answers in place of each task's own, one that low is good with a minus:
            ``-nll_per_token`` shows small differences far sooner than right and wrong do. No training depends on it.
    """

    words: Literal["base", "own"] = "base"
    split: str | None = None
    recipe: str | None = None
    metric: Annotated[str, Field(pattern=r"^-?[^-\s]\S*$")] | None = None


class Ablation(Spec):
    """A whole ablation.

    Args:
        base: A recipe file (looked for beside this file, then among the bundled ones), or a recipe as a map.
        seeds: Trainings of each variant, 0 to seeds - 1; the control repeats the base with as many others. None: as
            many as the statistics need.
        data_seeds: More than 1: the recipe's seed also varies, upward from its own.
        design: ``one_at_a_time`` varies one value of one axis; ``grid`` takes every combination; ``list`` has
            ``variants`` alone. Named variants come on top in each.
        held: What stays as it is when sources are left out: the ``counts`` of the others, or the ``total``.
        variants: Name to changes: the keys of ``axes`` with one value each, or paths of the recipe.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    about: str = ""
    base: str | dict[str, Any]
    seeds: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None
    data_seeds: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    design: Literal["one_at_a_time", "grid", "list"] = "one_at_a_time"
    held: Literal["counts", "total"] | None = None
    axes: Axes = Axes()
    variants: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")], dict[str, Any]] = {}
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
