"""One packed micro-batch: documents laid end to end, with the images that belong to them.

A document is one sample. Nothing is padded: the tokens of all documents stand in one row, and `cu_seqlens` says where
each begins. Shapes below: T tokens, N documents, I images, K visual tokens per image, S pixels a side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from vldata.train.anyres import Layout

IGNORED = -100
"""Label of a token that is not learnt; the value that torch's cross entropy ignores by default."""


@dataclass
class Batch:
    """What the model reads in one step.

    Args:
        ids: (T,) int64, token ids; visual tokens hold the placeholder's id.
        positions: (T,) int64, place of each token in its own document, counted from 0.
        cu_seqlens: (N + 1,) int32, first token of each document, and T at the end; equal neighbours, empty documents.
        max_len: Tokens of the longest document, or any bound above.
        labels: (T,) int64, the token that the hidden state at this place must predict, so already shifted within the
            document; `IGNORED` where nothing is learnt.
        weights: (T,) float32, loss weight of each label.
        images: (I, 3, S, S) uint8 RGB, or None in a batch of text alone.
            Images in tiles have several: the whole, then tile by tile.
        image_places: (I * K,) int64, where in `ids` the visual tokens go: image by image, row by row.
        layouts: What becomes of each image's tiles, None where there are none; empty when no image has any. Only
            then do the places number I * K.
        sample_ids: N sample ids, in the order of the documents; empty documents at the end have none.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    cu_seqlens: torch.Tensor
    max_len: int
    labels: torch.Tensor
    weights: torch.Tensor
    images: torch.Tensor | None
    image_places: torch.Tensor
    sample_ids: list[str]
    layouts: tuple[Layout | None, ...] = ()

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on another device; asynchronous from pinned memory if ``non_blocking``."""
        return self._with({name: t.to(device, non_blocking=non_blocking) for name, t in self._tensors().items()})

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from where copies to the GPU overlap with work."""
        return self._with({name: t.pin_memory() for name, t in self._tensors().items()})

    def _with(self, tensors: dict[str, Any]) -> Batch:
        return replace(self, **tensors)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}


def nothing(device: torch.device | str) -> Batch:
    """A batch of one document of two tokens that teaches nothing: a pass that other ranks wait for."""
    return Batch(
        ids=torch.zeros(2, dtype=torch.int64),
        positions=torch.arange(2),
        cu_seqlens=torch.tensor([0, 2], dtype=torch.int32),
        max_len=2,
        labels=torch.full((2,), IGNORED),
        weights=torch.zeros(2),
        images=None,
        image_places=torch.zeros(0, dtype=torch.int64),
        sample_ids=["nothing"],
    ).to(device)
