"""One stage: steps of packs, AdamW with warm-up and cosine, metrics, checkpoints; resuming is starting at step k.

What a step does depends on its number alone: its packs (`vldata.train.pack`), its rates, its dropout. The loss of a
step is the weighted sum over its supervised tokens divided by the sum of their weights, over all packs and ranks; that
is known before the first forward pass, so accumulation and the number of ranks cannot change what a token counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from vldata.errors import BuildError
from vldata.schema.keyed import keyed_one
from vldata.train.batch import Batch
from vldata.train.checkpoint import Tensors
from vldata.train.collate import Collator, batches
from vldata.train.config import StageCfg
from vldata.train.data import Encoded
from vldata.train.model import param_groups
from vldata.train.pack import Limits, Pack, deal, epoch_steps
from vldata.train.ranks import Ranks

Loss = Callable[[Batch], torch.Tensor]
"""Weighted sum of the losses of a batch's supervised tokens, not yet divided."""


class StagePlan:
    """The steps of a stage, each by its number.

    Args:
        encoded: The samples.
        limits: Of a pack.
        stage: Says how many steps or epochs, and packs a step.
        tokens_per_image: Visual tokens of an image in this stage.
        seed: Of the run.
        without: Samples that fit in no pack.
    """

    def __init__(
        self,
        encoded: Encoded,
        limits: Limits,
        stage: StageCfg,
        tokens_per_image: int,
        seed: int,
        without: Sequence[int] = (),
    ) -> None:
        self.encoded, self.limits, self.stage, self.seed, self.without = encoded, limits, stage, seed, without
        self.tokens = encoded.tokens(tokens_per_image)
        self._epochs: dict[int, list[tuple[Pack, ...]]] = {}
        self._starts = [0]

    @cached_property
    def total(self) -> int:
        """Steps of the stage."""
        if self.stage.steps:
            return self.stage.steps
        whole = math.floor(self.stage.epochs)
        steps = sum(len(self._epoch(epoch)) for epoch in range(whole))
        part = self.stage.epochs - whole
        return steps + (math.ceil(part * len(self._epoch(whole))) if part else 0)

    def step(self, number: int) -> tuple[Pack, ...]:
        """The packs of a step, counted from 0."""
        epoch = 0
        while number >= self._end(epoch):
            epoch += 1
        return self._epoch(epoch)[number - self._starts[epoch]]

    def _end(self, epoch: int) -> int:
        while len(self._starts) < epoch + 2:
            self._starts.append(self._starts[-1] + len(self._epoch(len(self._starts) - 1)))
        return self._starts[epoch + 1]

    def _epoch(self, epoch: int) -> list[tuple[Pack, ...]]:
        if epoch not in self._epochs:
            self._epochs = {kept: steps for kept, steps in self._epochs.items() if kept >= epoch - 1}
            self._epochs[epoch] = epoch_steps(
                self.tokens,
                self.encoded.num_images,
                self.limits,
                self.stage.packs_per_step,
                seed=self.seed,
                epoch=epoch,
                fingerprint=self.encoded.fingerprint,
                without=self.without,
            )
        return self._epochs[epoch]


@dataclass(frozen=True)
class Step:
    """What one step did, over all ranks.

    Args:
        number: Counted from 0 within the stage.
        loss: Weighted mean over the supervised tokens.
        grad_norm: Before clipping.
        rate: Share of the peak learning rates.
        samples, tokens, supervised, images, packs: Counts.
        seconds: Of wall time.
        data_wait: Of these, waiting for batches, on this rank.
    """

    number: int
    loss: float
    grad_norm: float
    rate: float
    samples: int
    tokens: int
    supervised: int
    images: int
    packs: int
    seconds: float
    data_wait: float


def rate(step: int, total: int, stage: StageCfg) -> float:
    """Share of the peak learning rates at a step: linear warm-up, then a cosine down to ``lr_floor``."""
    warmup = math.ceil(stage.warmup * total if stage.warmup < 1 else stage.warmup)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    return stage.lr_floor + (1 - stage.lr_floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def optimizer_of(model: nn.Module, stage: StageCfg) -> torch.optim.AdamW:
    """AdamW over what a stage learns, after `vldata.train.model.apply_stage`; frozen weights have no state."""
    names = {weight: name for name, weight in model.named_parameters()}
    groups = [
        {**group, "peak_lr": group["lr"], "names": [names[weight] for weight in group["params"]]}
        for group in param_groups(model, stage)
    ]
    if not groups:
        problem = "every part has a learning rate of 0, so nothing would learn"
        raise BuildError(f"stage {stage.name}", problem, "give lr_vision, lr_projector or lr_decoder a value")
    on_gpu = all(weight.is_cuda for group in groups for weight in group["params"])
    return torch.optim.AdamW(groups, betas=(stage.beta1, stage.beta2), eps=stage.eps, fused=on_gpu)


def optimizer_tensors(optimizer: torch.optim.AdamW) -> Tensors:
    """The optimizer's state, named ``<weight>/<entry>``."""
    return {
        f"{name}/{entry}": value
        for group in optimizer.param_groups
        for name, weight in zip(group["names"], group["params"], strict=True)
        for entry, value in optimizer.state.get(weight, {}).items()
    }


def restore_optimizer(optimizer: torch.optim.AdamW, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        BuildError: Of some weight there is nothing.
    """
    for group in optimizer.param_groups:
        for name, weight in zip(group["names"], group["params"], strict=True):
            own = {
                entry: tensors[f"{name}/{entry}"]
                for entry in ("step", "exp_avg", "exp_avg_sq")
                if f"{name}/{entry}" in tensors
            }
            if len(own) != 3:
                raise BuildError("checkpoint", f"it has no optimizer state of {name}", "start the run anew")
            on_cpu = own.pop("step")
            fused = bool(group.get("fused"))
            optimizer.state[weight] = {
                "step": on_cpu.to(weight.device) if fused else on_cpu,
                **{entry: value.to(weight.device, weight.dtype) for entry, value in own.items()},
            }


def steps(
    loss: Loss,
    plan: StagePlan,
    collator: Collator,
    optimizer: torch.optim.AdamW,
    ranks: Ranks,
    *,
    start: int = 0,
    workers: int = 0,
) -> Iterator[Step]:
    """Train, step by step; the caller logs, saves and stops between two of them.

    Args:
        loss: Of the model.
        plan: What each step holds.
        collator: Makes its batches.
        optimizer: From `optimizer_of`.
        ranks: The processes.
        start: First step to do.
        workers: Threads that make batches ahead.
    """
    stage = plan.stage
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    costs = _costs(plan)

    def mine(number: int) -> list[Pack]:
        packs = plan.step(number)
        return [packs[place] for place in deal(packs, [costs(pack) for pack in packs], ranks.size)[ranks.rank]]

    ahead = batches((pack for number in range(start, plan.total) for pack in mine(number)), collator, workers)
    for number in range(start, plan.total):
        began, waited = time.perf_counter(), 0.0
        packs = plan.step(number)
        whole = sum(collator.weight(pack) for pack in packs) or 1.0
        torch.manual_seed(keyed_one(f"{number}/{ranks.rank}", plan.seed, f"dropout {stage.name}") >> 1)
        total = torch.zeros((), device=ranks.device)
        for _ in mine(number):
            asked = time.perf_counter()
            batch = next(ahead).to(ranks.device, non_blocking=True)
            waited += time.perf_counter() - asked
            part = loss(batch) / whole
            part.backward()  # type: ignore[no-untyped-call]
            total += part.detach()
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        ranks.sum([total, *(weight.grad for weight in weights)])
        norm = nn.utils.clip_grad_norm_(weights, stage.clip or math.inf)
        share = rate(number, plan.total, stage)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        indices = [index for pack in packs for index in pack]
        yield Step(
            number=number,
            loss=float(total),
            grad_norm=float(norm),
            rate=share,
            samples=len(indices),
            tokens=int(plan.tokens[indices].sum()),
            supervised=int(plan.encoded.num_supervised[indices].sum()),
            images=int(plan.encoded.num_images[indices].sum()),
            packs=len(packs),
            seconds=time.perf_counter() - began,
            data_wait=waited,
        )


def _costs(plan: StagePlan) -> Callable[[Pack], float]:
    """Tokens of a pack, visual ones included: what its forward and backward take, up to a factor."""
    return lambda pack: float(plan.tokens[list(pack)].sum())
