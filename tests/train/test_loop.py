from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from train.conftest import TINY

from vldata.errors import BuildError
from vldata.train import collate, data, loop, tokenizer
from vldata.train.anyres import Visual
from vldata.train.batch import Batch
from vldata.train.config import StageCfg, TrainCfg
from vldata.train.loss import summed_loss
from vldata.train.model import VLM, apply_stage
from vldata.train.optimizer import Optimizer
from vldata.train.overrides import config_of
from vldata.train.pack import Limits
from vldata.train.ranks import Ranks

torch.set_num_threads(1)
ALONE = Ranks(0, 1, torch.device("cpu"))


class World:
    """What a stage needs, over the small build."""

    def __init__(self, build: Path, stage: StageCfg, limits: Limits | None = None) -> None:
        split = data.splits(build)["train"]
        form = tokenizer.from_texts(data.texts_of(split.samples()))
        self.encoded = data.encode(split.samples(), form)
        base = config_of("tiny", TINY)
        self.config: TrainCfg = base.replace(decoder=base.decoder.replace(vocab=form.size), stages=(stage,))
        self.stage = stage
        k = self.config.tokens_per_image(stage)
        self.collator = collate.Collator(self.encoded, collate.SplitImages(split, 32), split.id, k)
        self.plan = loop.StagePlan(self.encoded, limits or Limits(512, 16), stage, Visual(k), seed=0)

    def train(self, start: int = 0) -> tuple[list[loop.Step], dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        model = VLM(self.config)
        apply_stage(model, self.stage)
        model.train()

        def loss(batch: Batch) -> torch.Tensor:
            return summed_loss(model(batch), batch.labels, batch.weights, model.head_weight)

        optimizer = Optimizer(model, self.stage)
        done = list(loop.steps(loss, self.plan, self.collator, optimizer, ALONE, start=start))
        return done, {name: value.detach().clone() for name, value in model.state_dict().items()}


ALL = StageCfg(
    name="train", lr_vision=1e-3, lr_projector=1e-3, lr_decoder=1e-3, steps=1, warmup=0.0, clip=0.0, eps=1e-3
)
# a large eps keeps Adam's first step from being the gradient's sign, which would hide its size


def test_four_accumulation_steps_are_one(small_build: Path) -> None:
    whole = World(small_build, ALL.replace(packs_per_step=1), Limits(100_000, 10_000))
    parts = World(small_build, ALL.replace(packs_per_step=10_000), Limits(1_000, 100))
    assert len(whole.plan.step(0)) == 1 and 3 <= len(parts.plan.step(0)) <= 5
    (one,), weights = whole.train()
    (many,), same = parts.train()
    assert (one.samples, one.supervised) == (many.samples, many.supervised) == (len(whole.encoded), one.supervised)
    assert many.loss == pytest.approx(one.loss, abs=1e-5) and many.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
    for name, weight in weights.items():
        torch.testing.assert_close(same[name], weight, atol=1e-6, rtol=0)


def test_the_steps_of_a_plan_are_its_epochs_in_order(small_build: Path) -> None:
    plan = World(small_build, ALL.replace(steps=0, epochs=2.5)).plan
    result = [sorted(index for pack in plan.step(number) for index in pack) for number in range(plan.total)]
    first_epoch = result[: next(n for n in range(1, 99) if sum(map(len, result[:n])) == len(plan.encoded))]
    assert sorted(index for step in first_epoch for index in step) == list(range(len(plan.encoded)))
    assert 2.4 * len(first_epoch) <= plan.total <= 2.6 * len(first_epoch) + 1
    assert plan.step(plan.total - 1) == World(small_build, ALL.replace(steps=0, epochs=2.5)).plan.step(plan.total - 1)


def test_learning_rates_warm_up_and_follow_a_cosine_to_the_floor() -> None:
    stage = StageCfg(warmup=2, lr_floor=0.1)
    rates = [loop.rate(step, 12, stage) for step in range(12)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.55) and rates[11] == pytest.approx(0.1 + 0.45 * (1 + math.cos(0.9 * math.pi)))
    assert loop.rate(0, 100, StageCfg(warmup=0.0)) == 1.0


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_an_optimizer_comes_back_as_it_was(small_build: Path, kind: Literal["adamw", "muon"]) -> None:
    stage = ALL.replace(optimizer=kind)
    model = VLM(World(small_build, stage).config)
    apply_stage(model, stage)
    first, second = Optimizer(model, stage), Optimizer(model, stage)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    first.step(1.0)
    kept = first.tensors()
    second.restore(kept)
    restored = second.tensors()
    assert kept.keys() == restored.keys() and all(torch.equal(kept[name], restored[name]) for name in kept)
    assert {name.split("/")[0] for name in kept} == {name for name, _ in model.named_parameters()}
    with pytest.raises(BuildError, match="no optimizer state"):
        second.restore({})


def test_muon_moves_the_matrices_of_the_layers_and_adamw_the_rest(small_build: Path) -> None:
    stage = ALL.replace(optimizer="muon")
    model = VLM(World(small_build, stage).config)
    apply_stage(model, stage)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer = Optimizer(model, stage)
    optimizer.step(1.0)
    state = optimizer.tensors()
    moved = {name.split("/")[0] for name in state if name.endswith("/momentum_buffer")}
    assert moved == {name for name, weight in model.named_parameters() if weight.dim() == 2 and "embed" not in name}
    rest = {name for name, _ in model.named_parameters()} - moved
    assert {name.split("/")[0] for name in state if name.endswith("/exp_avg")} == rest
    assert all(weight.grad is None for weight in model.parameters())


def test_an_orthogonal_update_leaves_no_direction_behind(small_build: Path) -> None:
    stage = ALL.replace(optimizer="muon", weight_decay=0.0)
    model = VLM(World(small_build, stage).config)
    apply_stage(model, stage)
    name = "decoder.layers.0.self_attn.q_proj.weight"
    weight = model.get_parameter(name)
    before = weight.detach().clone()
    flat = torch.outer(torch.ones(len(weight)), torch.ones(weight.shape[1])) + 1e-2 * torch.randn_like(weight)
    for other in model.parameters():
        other.grad = torch.zeros_like(other)
    weight.grad = flat  # one direction is hundreds of times the others
    Optimizer(model, stage).step(1.0)
    sizes = torch.linalg.svdvals((before - weight.detach()).float())
    assert sizes[0] / sizes[len(sizes) // 2] < 3 < torch.linalg.svdvals(flat)[0] / torch.linalg.svdvals(flat)[1]


def test_a_stage_that_learns_nothing_is_refused(small_build: Path) -> None:
    frozen = StageCfg(name="nothing", steps=1)
    model = VLM(World(small_build, ALL).config)
    apply_stage(model, frozen)
    with pytest.raises(BuildError, match="stage nothing: every part has a learning rate of 0"):
        Optimizer(model, frozen)


def test_a_step_of_text_alone_trains(small_build: Path) -> None:
    world = World(small_build, ALL)
    texts = np.flatnonzero(world.encoded.num_images == 0).tolist()
    world.plan.step = lambda number: ((*texts,),)  # type: ignore[method-assign]
    (step,), _ = world.train()
    assert step.images == 0 and step.samples == len(texts) > 0 and step.grad_norm > 0


def test_what_a_step_counts_is_what_its_packs_hold(small_build: Path) -> None:
    world = World(small_build, ALL.replace(packs_per_step=2))
    (step,), _ = world.train()
    batches = [world.collator(pack) for pack in world.plan.step(0)]
    assert step.packs == len(batches)
    assert step.tokens == sum(len(batch.ids) for batch in batches)
    assert step.supervised == sum(int((batch.labels >= 0).sum()) for batch in batches)
    assert step.images == sum(0 if batch.images is None else len(batch.images) for batch in batches)
    assert step.samples == sum(len(batch.sample_ids) for batch in batches)


def test_four_samples_are_learnt_by_heart(small_build: Path) -> None:
    stage = StageCfg(name="train", lr_vision=8e-3, lr_projector=8e-3, lr_decoder=8e-3, steps=250, warmup=20)
    world = World(small_build, stage)
    world.plan.step = lambda number: ((0, 20, 40, 60),)  # type: ignore[method-assign]
    done, _ = world.train()
    assert done[-1].loss < 0.1 < 3.0 < done[0].loss
