"""Weights spread over ranks (FSDP2), for models that do not fit one device; whole again for files.

Each decoder block is gathered when it runs and let go after it. Encoder, projector, embedding and head are one more
unit, gathered by the root on every forward pass whether or not the batch has images: so a rank that drew text alone
takes part in every collective, and nobody waits for it.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from vldata.train.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def shard(root: nn.Module, blocks: Sequence[nn.Module], ranks: Ranks) -> None:
    """Spread a module's weights over all ranks, in place; gradients become the *mean* over ranks.

    Args:
        root: All that runs in one forward pass, loss and head included.
        blocks: Parts of it that run one after another, each once in every forward pass.
        ranks: At least two.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(ranks.device.type, (ranks.size,))
    # weights travel and multiply in bf16 on a GPU and gradients are summed in float32; rotations stay float32
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    policy = half if ranks.device.type == "cuda" else MixedPrecisionPolicy()
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # the root stays whole between its forward and backward pass: the head's weight is read after the decoder's end
    fully_shard(root, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, sharded ones gathered on the CPU; every rank must ask for the same names in the same order."""
    return {name: _full(t.detach()).cpu() if _is_spread(t) else t for name, t in tensors.items()}


def like(value: Tensor, weight: Tensor) -> Tensor:
    """A whole tensor placed as a weight is: on its device, in its type, sharded as it is; nothing is sent."""
    value = value.to(weight.device, weight.dtype)
    if _is_spread(weight):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
    return value


def as_float(value: Tensor) -> float:
    """A scalar that may be spread over ranks, which all must ask."""
    return float(_full(value))


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if _is_spread(tensor) else tensor


def _is_spread(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether it is a `DTensor`; their module takes a second to import, and before that there are none."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
