"""Named runs. Shapes are the published models' own; the rates are those of the scripts named beside them."""

from __future__ import annotations

from vldata.errors import nearest
from vldata.train.config import DecoderCfg, LoraCfg, ProjectorCfg, StageCfg, TrainCfg, TrainError, VisionCfg

CLIP_L_336 = VisionCfg(
    family="clip", side_px=336, patch_px=14, width=1024, depth=24, heads=16, mlp_width=4096, layer=-2, post_norm=False
)
CLIP_L_224 = CLIP_L_336.replace(side_px=224)
SIGLIP_B_224 = VisionCfg(family="siglip", side_px=224, patch_px=16, width=768, depth=12, heads=12, mlp_width=3072)
SIGLIP_SO400M_384 = VisionCfg(
    family="siglip", side_px=384, patch_px=14, width=1152, depth=27, heads=16, mlp_width=4304, post_norm=False
)

SMOLLM2_135M = DecoderCfg(
    family="llama", vocab=49_152, width=576, depth=30, heads=9, kv_heads=3, mlp_width=1536, rope_theta=100_000.0
)
QWEN25_1B5 = DecoderCfg(
    family="qwen2",
    vocab=151_936,
    width=1536,
    depth=28,
    heads=12,
    kv_heads=2,
    mlp_width=8960,
    rope_theta=1e6,
    norm_eps=1e-6,
)
VICUNA_7B = DecoderCfg(
    family="llama", vocab=32_000, width=4096, depth=32, heads=32, kv_heads=32, mlp_width=11_008, tied=False
)

LLAVA1_STAGES = (
    # both of 128 samples; 256 visual tokens and a caption are some 300, a conversation of the 158K some 600
    StageCfg(name="pretrain", lr_projector=2e-3, packs_per_step=2, beta2=0.999),
    StageCfg(name="finetune", lr_projector=2e-5, lr_decoder=2e-5, epochs=3.0, packs_per_step=5, beta2=0.999),
)
"""LLaVA's two stages (scripts/pretrain.sh, finetune.sh; three epochs as in the paper), in packs of 16,384 tokens."""

LLAVA15_STAGES = (
    # 256 samples of about 606 tokens are ten packs; 128 of about 776 are six. LLaVA's AdamW keeps torch's betas.
    StageCfg(name="pretrain", lr_projector=1e-3, packs_per_step=10, beta2=0.999),
    StageCfg(
        name="finetune",
        lr_projector=2e-5,
        lr_decoder=2e-4,
        lora=LoraCfg(rank=128, alpha=256.0, dropout=0.05),
        packs_per_step=6,
        beta2=0.999,
    ),
)
"""LLaVA-1.5's two stages (scripts/v1_5/pretrain.sh and finetune_lora.sh), in packs of 16,384 tokens."""

HONEYBEE_STAGES = (
    StageCfg(
        name="pretrain",
        lr_projector=1e-4,
        steps=50_000,
        packs_per_step=4,
        warmup=2000,
        lr_floor=0.1,
        weight_decay=0.01,
        beta2=0.98,
        eps=1e-6,
    ),
    StageCfg(
        name="finetune",
        lr_projector=2e-5,
        lr_decoder=2e-5,
        steps=4000,
        packs_per_step=3,
        warmup=150,
        lr_floor=0.05,
        weight_decay=1e-4,
        beta2=0.98,
        eps=1e-6,
    ),
)
"""Honeybee's pre-training and short fine-tuning, batches of 256 and 128 in packs of 16,384 tokens."""

_LLAVA15_7B = TrainCfg(
    vision=CLIP_L_336,
    decoder=VICUNA_7B,
    projector=ProjectorCfg(kind="mlp"),
    stages=LLAVA15_STAGES,
    pack_tokens=16_384,
    pack_images=32,
    compile=True,
)
_HONEYBEE_VISION = CLIP_L_336.replace(side_px=224, layer=-1)  # Honeybee reads the last layer, LLaVA the one before

PRESETS: dict[str, TrainCfg] = {
    # 96 px in 36 patches, each a visual token: about a million weights. The pixels' mean and spread are the shapes
    # world's. Steps are fixed, so that runs on builds of different sizes can be compared. After 400 steps in
    # the world of recipes/small-world.yaml held-out captions cost 0.64 nats a token with Muon, 0.79 with AdamW at the
    # same rates; regions 0.57 and 0.69 (one seed each, 2026-11, torch 2.13, CPU).
    "tiny": TrainCfg(
        vision=VisionCfg(
            family="siglip",
            side_px=96,
            patch_px=16,
            width=192,
            depth=1,
            heads=4,
            mlp_width=384,
            pixel_mean=0.86,
            pixel_std=0.18,
        ),
        decoder=DecoderCfg(family="qwen3", width=128, depth=2, heads=4, kv_heads=2, mlp_width=384),
        projector=ProjectorCfg(kind="mlp"),
        stages=(
            StageCfg(
                name="train",
                lr_vision=1e-3,
                lr_projector=1e-3,
                lr_decoder=2e-3,
                steps=600,
                optimizer="muon",
                warmup=0.03,
                lr_floor=0.02,
                weight_decay=0.01,
            ),
        ),
        pack_tokens=1024,
        pack_images=64,
    ),
    # nanoVLM v0.1: one stage, everything trained, the projector twenty times as fast
    "s222": TrainCfg(
        vision=SIGLIP_B_224,
        decoder=SMOLLM2_135M,
        projector=ProjectorCfg(kind="pixel_shuffle"),
        stages=(
            StageCfg(
                name="train",
                lr_vision=1e-4,
                lr_projector=2e-3,
                lr_decoder=1e-4,
                packs_per_step=3,
                lr_floor=0.1,
                weight_decay=0.01,
                beta2=0.999,
            ),
        ),
        pack_tokens=16_384,
        pack_images=128,
        compile=True,
    ),
    "m1500": TrainCfg(
        vision=SIGLIP_SO400M_384,
        decoder=QWEN25_1B5,
        projector=ProjectorCfg(kind="pool_mlp", tokens=196),
        stages=(
            StageCfg(name="pretrain", lr_projector=1e-3, packs_per_step=4),
            StageCfg(name="finetune", lr_projector=1e-5, lr_decoder=1e-5, packs_per_step=3),
        ),
        pack_tokens=16_384,
        pack_images=96,
        compile=True,
    ),
    "llava_7b": _LLAVA15_7B.replace(
        vision=CLIP_L_224, projector=ProjectorCfg(kind="linear"), stages=LLAVA1_STAGES, pack_images=64
    ),
    "llava15_7b": _LLAVA15_7B,
    "honeybee_c7b": _LLAVA15_7B.replace(
        vision=_HONEYBEE_VISION,
        projector=ProjectorCfg(kind="c_abs", tokens=144),
        stages=HONEYBEE_STAGES,
        pack_images=96,
    ),
}


def preset(name: str) -> TrainCfg:
    """A run by name.

    Raises:
        TrainError: There is none of this name.
    """
    if name not in PRESETS:
        raise TrainError("--preset", f"no preset named {name!r}", nearest(name, PRESETS))
    return PRESETS[name]
