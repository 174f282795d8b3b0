"""A model made ready for one stage: what learns, its optimizer, its plan, its batches, its loss."""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vldata.train.anyres import visual_of
from vldata.train.batch import Batch
from vldata.train.checkpoint import Checkpoint, Tensors
from vldata.train.collate import Collator, SplitImages
from vldata.train.config import StageCfg, TrainCfg
from vldata.train.inputs import StageData
from vldata.train.loop import StagePlan
from vldata.train.loss import summed_loss
from vldata.train.model import VLM, apply_stage
from vldata.train.optimizer import Optimizer
from vldata.train.pack import Limits
from vldata.train.ranks import Ranks
from vldata.train.shard import shard, whole


class StageLoss(nn.Module):
    """Weighted sum of the losses of a batch's supervised tokens; one module, so that its head is sharded with it.

    Args:
        in_bf16: Run in bf16 where torch's autocast does.
    """

    def __init__(self, model: VLM, *, in_bf16: bool) -> None:
        super().__init__()
        self.model, self.in_bf16 = model, in_bf16

    def forward(self, batch: Batch) -> Tensor:
        """A float32 scalar."""
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=self.in_bf16):
            return summed_loss(self.model(batch), batch.labels, batch.weights, self.model.head_weight)


@dataclass(frozen=True)
class Stage:
    """All that `vldata.train.loop.steps` needs.

    Args:
        model: In training mode, on its device.
        optimizer: Over what learns.
        is_sharded: Each rank holds a part of every weight.
    """

    model: VLM
    loss: StageLoss
    optimizer: Optimizer
    plan: StagePlan
    collator: Collator
    is_sharded: bool

    def checkpoint(self, number: int, step: int) -> Checkpoint:
        """What to resume from; every rank must call this when weights are sharded.

        Args:
            step: Steps done in it.
        """
        learnt = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        state = {"stage": number, "step": step}
        return Checkpoint(state, whole(learnt), whole(self.optimizer.tensors()))

    def weights(self) -> Tensors:
        """All weights at the end, updates merged; every rank must call this when weights are sharded."""
        if self.is_sharded:
            for module in self.model.modules():
                for name, weight in module.named_parameters(recurse=False):
                    full = whole({name: weight})[name]
                    module.register_parameter(name, nn.Parameter(full, requires_grad=weight.requires_grad))
        apply_stage(self.model, StageCfg())
        return dict(self.model.state_dict())


def make_stage(
    model: VLM, config: TrainCfg, number: int, data: StageData, ranks: Ranks, resumed: Checkpoint | None = None
) -> Stage:
    """Freeze, wrap and place a model for a stage.

    Args:
        model: With the weights that the stage starts from; changed in place.
        ranks: The processes; with several and ``config.shard``, each keeps a part of every weight.
        resumed: A checkpoint of this stage.

    Raises:
        BuildError: Nothing would learn, or the checkpoint is another model's.
    """
    stage, on_gpu = config.stages[number], ranks.device.type == "cuda"
    is_sharded = config.shard and ranks.size > 1
    torch.manual_seed(config.seed + number + 1)  # of the updates that a stage adds
    apply_stage(model, stage, torch.bfloat16 if on_gpu else None)
    if resumed is not None:
        model.load_state_dict(resumed.model, strict=False)
    if on_gpu and config.compile:
        for block in [*model.vision.layers, *model.decoder.layers]:
            block.compile()
    loss = StageLoss(model, in_bf16=on_gpu)
    if is_sharded:
        shard(loss, list(model.decoder.layers), ranks)  # moves one block at a time: all need not fit
    loss.to(ranks.device).train()
    optimizer = Optimizer(model, stage)
    if resumed is not None:
        optimizer.restore(resumed.optimizer)
    visual = visual_of(config, stage, data.split)
    limits = Limits(config.pack_tokens, config.pack_images)
    plan = StagePlan(data.encoded, limits, stage, visual, config.seed, sorted(data.unfit))
    images = SplitImages(data.split, stage.side_px or config.vision.side_px, visual.layout)
    weighed = data.encoded.weighed(config.weighting)
    collator = Collator(weighed, images, data.split.id, visual.per_view, pin=on_gpu)
    return Stage(model, loss, optimizer, plan, collator, is_sharded)
