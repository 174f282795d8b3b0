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

from vldata.schema.keyed import keyed_one
from vldata.train.anyres import Visual
from vldata.train.batch import Batch, nothing
from vldata.train.collate import Collator, batches
from vldata.train.config import StageCfg
from vldata.train.data import Encoded
from vldata.train.optimizer import Optimizer
from vldata.train.pack import Limits, Pack, deal, epoch_steps
from vldata.train.ranks import Ranks
from vldata.train.shard import as_float

Loss = Callable[[Batch], torch.Tensor]
"""Weighted sum of the losses of a batch's supervised tokens, not yet divided."""


class StagePlan:
    """The steps of a stage, each by its number.

    Args:
        stage: Says how many steps or epochs, and packs a step.
        visual: What the images become in this stage.
        without: Samples that fit in no pack.
    """

    def __init__(
        self,
        encoded: Encoded,
        limits: Limits,
        stage: StageCfg,
        visual: Visual,
        seed: int,
        without: Sequence[int] = (),
    ) -> None:
        self.encoded, self.limits, self.stage, self.seed, self.without = encoded, limits, stage, seed, without
        self.tokens, self.views = visual.tokens(encoded), visual.views(encoded)
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
                self.views,
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
        views: Encoder inputs: images and tiles.
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
    views: int
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


def steps(
    loss: Loss,
    plan: StagePlan,
    collator: Collator,
    optimizer: Optimizer,
    ranks: Ranks,
    *,
    start: int = 0,
    workers: int = 0,
    is_sharded: bool = False,
) -> Iterator[Step]:
    """Train, step by step; the caller logs, saves and stops between two of them.

    Args:
        workers: Threads that make batches ahead.
        is_sharded: The model came from `vldata.train.shard`, which sums gradients itself. All ranks then make as many
            passes as the one with the most packs, the last ones over nothing.
    """
    stage = plan.stage
    weights = optimizer.weights
    costs = _costs(plan)

    def dealt(number: int) -> list[list[Pack]]:
        packs = plan.step(number)
        return [[packs[place] for place in own] for own in deal(packs, [costs(pack) for pack in packs], ranks.size)]

    own_packs = (pack for number in range(start, plan.total) for pack in dealt(number)[ranks.rank])
    ahead = batches(own_packs, collator, workers)
    for number in range(start, plan.total):
        began, waited = time.perf_counter(), 0.0
        packs = plan.step(number)
        whole = sum(collator.weight(pack) for pack in packs) or 1.0
        torch.manual_seed(keyed_one(f"{number}/{ranks.rank}", plan.seed, f"dropout {stage.name}") >> 1)
        total = torch.zeros((), device=ranks.device)
        own = dealt(number)
        for _ in own[ranks.rank]:
            since = time.perf_counter()
            batch = next(ahead).to(ranks.device, non_blocking=True)
            waited += time.perf_counter() - since
            part = loss(batch) / whole
            (part * ranks.size if is_sharded else part).backward()  # type: ignore[no-untyped-call]
            total += part.detach()
        if is_sharded:
            for _ in range(max(map(len, own)) - len(own[ranks.rank])):
                loss(nothing(ranks.device)).backward()  # type: ignore[no-untyped-call]
        gradients = []
        for weight in weights:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            gradients.append(weight.grad)
        ranks.sum([total] if is_sharded else [total, *gradients])
        norm = nn.utils.clip_grad_norm_(weights, stage.clip or math.inf)
        share = rate(number, plan.total, stage)
        optimizer.step(share)
        indices = [index for pack in packs for index in pack]
        yield Step(
            number=number,
            loss=float(total),
            grad_norm=as_float(norm),
            rate=share,
            samples=len(indices),
            tokens=int(plan.tokens[indices].sum()),
            supervised=int(plan.encoded.num_supervised[indices].sum()),
            images=int(plan.encoded.num_images[indices].sum()),
            views=int(plan.views[indices].sum()),
            packs=len(packs),
            seconds=time.perf_counter() - began,
            data_wait=waited,
        )


def _costs(plan: StagePlan) -> Callable[[Pack], float]:
    """Tokens of a pack, visual ones included: what its forward and backward take, up to a factor."""
    return lambda pack: float(plan.tokens[list(pack)].sum())
