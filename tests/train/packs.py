"""Small models and the packed batches they read, for the tests of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vldata.train.batch import IGNORED, Batch
from vldata.train.config import DecoderCfg, ProjectorCfg, StageCfg, TrainCfg, VisionCfg
from vldata.train.model import VLM

torch.set_num_threads(1)

VOCAB, PLACE = 40, 3
SMALL = TrainCfg(
    vision=VisionCfg(side_px=16, patch_px=4, width=16, depth=2, heads=2, mlp_width=32),
    decoder=DecoderCfg(family="llama", vocab=VOCAB, width=24, depth=2, heads=4, kv_heads=2, mlp_width=40),
    projector=ProjectorCfg(kind="pixel_shuffle"),
    stages=(StageCfg(name="train", lr_vision=1e-3, lr_projector=1e-3, lr_decoder=1e-3),),
)
"""16 patches, folded to 4 tokens for each image."""
PER_IMAGE = SMALL.tokens_per_image()


def document(length: int, num_images: int = 0, seed: int = 0, image_seed: int | None = None) -> dict[str, Any]:
    """A document of random text after its images, every other text token supervised with its own weight."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCAB, (length,), generator=random)
    ids[: num_images * PER_IMAGE] = PLACE
    labels = torch.full((length,), IGNORED)
    labels[num_images * PER_IMAGE : -1 : 2] = ids[num_images * PER_IMAGE + 1 :: 2][
        : len(labels[num_images * PER_IMAGE : -1 : 2])
    ]
    pixels = torch.Generator().manual_seed(seed if image_seed is None else image_seed)
    images = torch.randint(0, 256, (num_images, 3, 16, 16), generator=pixels, dtype=torch.uint8)
    return {"ids": ids, "labels": labels, "weights": torch.rand(length, generator=random) + 0.5, "images": images}


def packed(documents: Sequence[dict[str, Any]]) -> Batch:
    """Documents laid end to end."""
    ids = torch.cat([d["ids"] for d in documents])
    lengths = [len(d["ids"]) for d in documents]
    images = torch.cat([d["images"] for d in documents])
    return Batch(
        ids=ids,
        positions=torch.cat([torch.arange(length) for length in lengths]),
        cu_seqlens=torch.tensor([0, *lengths]).cumsum(0).to(torch.int32),
        max_len=max(lengths),
        labels=torch.cat([d["labels"] for d in documents]),
        weights=torch.cat([d["weights"] for d in documents]),
        images=images if len(images) else None,
        image_places=(ids == PLACE).nonzero().squeeze(1),
        sample_ids=[f"s{number}" for number in range(len(documents))],
    )


def model(cfg: TrainCfg = SMALL, seed: int = 0) -> VLM:
    """A random model, its head scaled up so that logits differ by more than rounding."""
    torch.manual_seed(seed)
    vlm = VLM(cfg)
    with torch.no_grad():
        for parameter in vlm.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    return vlm


DOCUMENTS = [document(11, 1, 1), document(5, 0, 2), document(15, 2, 3), document(7, 0, 4)]
"""Four documents, 38 tokens, three images; the second and the last have none."""
