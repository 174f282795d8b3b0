"""Cross entropy of supervised tokens only, without ever holding all logits.

Only rows with a label meet the head; they do so in chunks, and each chunk's gradient is taken while its logits exist,
so that memory is one chunk's whatever the pack and the vocabulary. Loss and gradients are those of full logits.
The loss is a sum over weights. Divide it by the weight of the *global* batch, over ranks and accumulation, or else
samples with few learnt tokens count for more wherever they happen to be alone.
Shapes: T tokens, R supervised rows, W width, V vocabulary.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vldata.train.batch import IGNORED

CHUNK_LOGITS = 1 << 28
"""Most logits at once: 1 GiB of float32. Few large chunks, so that the head's gradient is not added up too often."""


def summed_loss(
    hidden: Tensor, labels: Tensor, weights: Tensor, head_weight: Tensor, chunk_logits: int = CHUNK_LOGITS
) -> Tensor:
    """Sum of weighted cross entropies, float32, differentiable in ``hidden`` and ``head_weight``.

    Args:
        hidden: (T, W).
        labels: (T,) int64; `IGNORED` rows cost nothing.
        weights: (T,) float32.
        head_weight: (V, W).
        chunk_logits: Most logits at once.
    """
    rows = (labels != IGNORED).nonzero().squeeze(1)
    num_rows = max(1, chunk_logits // head_weight.shape[0])
    loss: Tensor = _ChunkedLoss.apply(hidden[rows], labels[rows], weights[rows], head_weight, num_rows)
    return loss


@torch.no_grad()
def score(
    hidden: Tensor, labels: Tensor, head_weight: Tensor, chunk_logits: int = CHUNK_LOGITS
) -> tuple[Tensor, Tensor]:
    """How likely each label is: negative log likelihood (R,) float32, and the likeliest token (R,) int64.

    Args:
        hidden: (R, W), the supervised rows alone.
        labels: (R,) int64.
        head_weight: (V, W).
        chunk_logits: Most logits at once.
    """
    num_rows = max(1, chunk_logits // head_weight.shape[0])
    costs, best = [hidden.new_empty(0, dtype=torch.float32)], [labels.new_empty(0)]
    for start in range(0, len(hidden), num_rows):
        x, y = hidden[start : start + num_rows], labels[start : start + num_rows]
        logits = F.linear(x.to(head_weight.dtype), head_weight).float()
        costs.append(F.cross_entropy(logits, y, reduction="none"))
        best.append(logits.argmax(-1))
    return torch.cat(costs), torch.cat(best)


class _ChunkedLoss(torch.autograd.Function):
    """The sum and both gradients in one pass over the chunks; backward only scales them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, labels: Tensor, weights: Tensor, head: Tensor, num_rows: int) -> Tensor:
        ctx.dtypes = hidden.dtype, head.dtype
        dtype = torch.get_autocast_dtype(hidden.device.type) if torch.is_autocast_enabled(hidden.device.type) else None
        matrix = head.to(dtype or torch.promote_types(head.dtype, hidden.dtype))
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[3] else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), num_rows):
                part = slice(start, start + num_rows)
                x, y, w = hidden[part].to(matrix.dtype), labels[part], weights[part].float()
                log_probs = F.linear(x, matrix).float().log_softmax(-1)
                total -= (log_probs.gather(1, y[:, None]).squeeze(1) * w).sum()
                grad = log_probs.exp_()
                grad[torch.arange(len(y), device=y.device), y] -= 1
                grad = grad.mul_(w[:, None]).to(matrix.dtype)
                if grad_hidden is not None:
                    grad_hidden[part] = grad @ matrix
                if grad_head is not None:
                    grad_head += grad.T @ x
        ctx.save_for_backward(grad_hidden, grad_head)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_head = ctx.saved_tensors
        hidden_dtype, head_dtype = ctx.dtypes
        return (
            None if grad_hidden is None else (grad_hidden * grad).to(hidden_dtype),
            None,
            None,
            None if grad_head is None else (grad_head * grad).to(head_dtype),
            None,
        )
