"""What moves the weights: AdamW, or Muon for the matrices of the layers with AdamW for the rest.

Muon (`vldata.train.muon`) makes the update of a matrix orthogonal, so that no direction of it is left behind; scaled to
the size of AdamW's updates it takes the same rates. What it gains in few steps from scratch stands beside the ``tiny``
preset.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vldata.errors import BuildError
from vldata.train.checkpoint import Tensors
from vldata.train.config import StageCfg
from vldata.train.model import param_groups
from vldata.train.muon import Muon
from vldata.train.shard import like

_STATE: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    Muon: ("momentum_buffer",),
}


class Optimizer:
    """The optimizer of one stage, made after `vldata.train.model.apply_stage`; frozen weights have no state.

    Args:
        model: Its free weights are moved.
        stage: Rates, and which algorithm.

    Attributes:
        groups: Of all its parts, each with ``name``, ``params``, ``names``, ``peak_lr`` and ``lr``.

    Raises:
        BuildError: Nothing would learn.
    """

    def __init__(self, model: nn.Module, stage: StageCfg) -> None:
        names = {weight: name for name, weight in model.named_parameters()}
        by_muon = set(_matrices(model)) if stage.optimizer == "muon" else set()
        adamw, muon = list[dict[str, Any]](), list[dict[str, Any]]()
        for group in param_groups(model, stage):
            adamw += _narrowed(group, [weight for weight in group["params"] if weight not in by_muon], names)
            muon += _narrowed(group, [weight for weight in group["params"] if weight in by_muon], names)
        if not (adamw or muon):
            problem = "every part has a learning rate of 0, so nothing would learn"
            raise BuildError(f"stage {stage.name}", problem, "give lr_vision, lr_projector or lr_decoder a value")
        self._parts: list[torch.optim.Optimizer] = []
        if adamw:
            on_gpu = all(weight.is_cuda for group in adamw for weight in group["params"])
            betas = (stage.beta1, stage.beta2)
            self._parts.append(torch.optim.AdamW(adamw, betas=betas, eps=stage.eps, fused=on_gpu))
        if muon:
            self._parts.append(Muon(muon))
        self.groups = [group for part in self._parts for group in part.param_groups]

    @property
    def weights(self) -> list[Tensor]:
        """All that learns."""
        return [weight for group in self.groups for weight in group["params"]]

    def step(self, share: float) -> None:
        """One step at a share of the peak rates; the gradients are gone after it."""
        for group in self.groups:
            group["lr"] = group["peak_lr"] * share
        for part in self._parts:
            part.step()
            part.zero_grad(set_to_none=True)

    def tensors(self) -> Tensors:
        """The state, named ``<weight>/<entry>``."""
        return {
            f"{name}/{entry}": value
            for part, _, name, weight in self._each()
            for entry, value in part.state.get(weight, {}).items()
        }

    def restore(self, tensors: Tensors) -> None:
        """Put back what `tensors` gave.

        Raises:
            BuildError: Of some weight there is nothing.
        """
        for part, group, name, weight in self._each():
            entries = _STATE[type(part)]
            own = {entry: tensors[f"{name}/{entry}"] for entry in entries if f"{name}/{entry}" in tensors}
            if len(own) != len(entries):
                raise BuildError(
                    "checkpoint", f"it has no optimizer state of {name}", "start the run again in another folder"
                )
            counted = {"step": own.pop("step")} if "step" in own else {}
            if group.get("fused"):
                counted = {entry: value.to(weight.device) for entry, value in counted.items()}
            part.state[weight] = {**counted, **{entry: like(value, weight) for entry, value in own.items()}}

    def _each(self) -> Iterator[tuple[torch.optim.Optimizer, dict[str, Any], str, Tensor]]:
        for part in self._parts:
            for group in part.param_groups:
                for name, weight in zip(group["names"], group["params"], strict=True):
                    yield part, group, name, weight


def _narrowed(
    group: dict[str, Any], weights: list[nn.Parameter], names: dict[nn.Parameter, str]
) -> list[dict[str, Any]]:
    """The group with these of its weights only, as a list of one; none where it has none, so that none is empty."""
    own = {"params": weights, "names": [names[weight] for weight in weights], "peak_lr": group["lr"]}
    return [{**group, **own}] if weights else []


def _matrices(model: nn.Module) -> Iterable[Tensor]:
    """Weights of the linear layers; tables of vectors (embeddings, places, queries) and the head are none."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("lm_head"):
            yield module.weight
