"""Muon (Jordan et al. 2024) as `torch.optim.Muon` has it, in the precision that the device is fast in.

That one orthogonalises in bfloat16 everywhere, and a CPU without instructions for it is slow there: a step of the
``tiny`` preset took 1.0 s of an EPYC's core, 90 % of it in those products, and takes 0.21 s in float32 (torch 2.13).
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; chosen by Jordan et al. for the steepest slope at zero."""
ITERATIONS = 5
_SMALLEST_NORM = 1e-7


class Muon(torch.optim.Muon):
    """`torch.optim.Muon` with updates as large as AdamW's: 0.2 √ of the longer side.

    The size is that of Liu et al. 2025 (arXiv 2502.16982).
    The state is ``momentum_buffer``, as there.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            momentum = group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                average = state["momentum_buffer"]
                average.lerp_(weight.grad, 1 - momentum)
                update = orthogonal(weight.grad.lerp(average, momentum))
                rate = group["lr"] * 0.2 * math.sqrt(max(weight.shape))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update.to(weight.dtype), alpha=-rate)
        return loss


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix but for singular values between 0.5 and 1.5: bfloat16 on a GPU, else float32."""
    a, b, c = COEFFICIENTS
    tall = matrix.size(0) > matrix.size(1)
    result = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    result = result.T if tall else result
    result = result / result.norm().clamp(min=_SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = result @ result.T
        result = torch.addmm(result, torch.addmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result.T if tall else result
