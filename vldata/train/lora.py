"""Low-rank updates of frozen linear layers: y = W x + (alpha / rank) B A dropout(x).

A starts random and B at zero, so a wrapped model starts as the model it was; `merge_lora` adds the product to W and
leaves plain layers behind.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from vldata.train.config import LoraCfg, TrainError


class LoRALinear(nn.Module):
    """A frozen linear layer with a learnt update.

    Args:
        base: The layer; frozen here.
        cfg: Rank (at least 1), scale and dropout.
    """

    def __init__(self, base: nn.Linear, cfg: LoraCfg) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = cfg.alpha / cfg.rank
        self.dropout = nn.Dropout(cfg.dropout)
        # learnt in float32 whatever the frozen weights are kept in
        device = base.weight.device
        self.lora_a = nn.Parameter(torch.empty(cfg.rank, base.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, cfg.rank, device=device))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        update = nn.functional.linear(nn.functional.linear(self.dropout(x), self.lora_a), self.lora_b)
        return self.base(x) + self.scale * update

    def merged(self) -> nn.Linear:
        """The base layer with the update added to its weight, once."""
        with torch.no_grad():
            product = (self.lora_b.double() @ self.lora_a.double()) * self.scale
            self.base.weight.copy_(self.base.weight.double() + product)
        return self.base


def add_lora(module: nn.Module, cfg: LoraCfg) -> int:
    """Wrap, in place, every linear layer whose whole name in ``module`` matches; returns their number.

    Raises:
        TrainError: None matches, so nothing would learn.
    """
    pattern = re.compile(cfg.targets)
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear) and pattern.fullmatch(name)]
    for name in names:
        parent, leaf = _parent(module, name)
        setattr(parent, leaf, LoRALinear(getattr(parent, leaf), cfg))
    if not names:
        linears = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
        raise TrainError("lora.targets", f"{cfg.targets!r} matches no layer", f"names are like {linears[:1]}")
    return len(names)


def merge_lora(module: nn.Module) -> int:
    """Replace, in place, every wrapped layer by its merged one; returns their number."""
    names = [name for name, part in module.named_modules() if isinstance(part, LoRALinear)]
    for name in names:
        parent, leaf = _parent(module, name)
        setattr(parent, leaf, getattr(parent, leaf).merged())
    return len(names)


def _parent(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf
