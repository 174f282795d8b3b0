"""The processes of a run: who this one is, and sums over all of them.

Gradients are summed once a step, over all learnt weights in one order, with zeros where a rank's packs did not touch a
weight. So every rank takes part in every sum, and a rank that drew text alone cannot leave the others waiting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from vldata.errors import BuildError

_BUCKET_NUMEL = 1 << 24  # summed at once: 64 MiB of float32, enough to use the links and little beside the gradients


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run.

    Args:
        rank: Counted from 0.
        size: How many there are.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all ranks."""
        if self.size == 1:
            return
        bucket: list[torch.Tensor] = []
        for tensor in tensors:
            if bucket and (
                sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET_NUMEL or tensor.dtype != bucket[0].dtype
            ):
                _sum_bucket(bucket)
                bucket = []
            bucket.append(tensor)
        if bucket:
            _sum_bucket(bucket)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(device: str | None) -> Iterator[Ranks]:
    """The ranks that `torchrun` started, or this process alone; what is opened here is closed at the end.

    Args:
        device: ``cpu``, ``cuda`` or None: a GPU where there is one.

    Raises:
        BuildError: The device is not there.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise BuildError("--device", f"{name!r} is not here", "use cpu, or a machine with a CUDA GPU and its driver")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0")) if size > 1 else 0
    if kind == "cuda" and size > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    chosen = torch.device(name)
    if kind == "cuda":
        torch.cuda.set_device(chosen if chosen.index is not None else 0)
    opened = size > 1 and not dist.is_initialized()
    if opened:
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Ranks(rank, size, chosen)
    finally:
        if opened:
            dist.destroy_process_group()


def _sum_bucket(bucket: list[torch.Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
    dist.all_reduce(flat)
    for tensor, summed in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
        tensor.copy_(summed.view_as(tensor))
