"""One timed pass over one stage's rows, by this trainer or by a padded Hugging Face `Trainer`; `train.py` starts these.

    python tests/bench/train_turns.py ours|peer JSON

A process each, so that memory is a turn's own. Either warms up on other steps first, then passes over the same rows
once. Useful operations are counted for the rows alone (`vldata.train.flops`), so they are the same number for both.

The peer is what a careful user of `transformers` writes: `LlavaForConditionalGeneration` of the same shapes with the
same projector, right padding, batches grouped by length, the same frozen parts in bf16 and trained ones in float32
under autocast, SDPA, the same LoRA layers, fused AdamW, no gradient checkpointing, worker processes that decode.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vldata.train.collate import SplitImages
from vldata.train.config import TrainCfg
from vldata.train.flops import useful_flops
from vldata.train.inputs import ModelInputs, read_inputs
from vldata.train.loop import steps
from vldata.train.lora import add_lora
from vldata.train.model import VLM
from vldata.train.overrides import config_of
from vldata.train.projectors import make_projector
from vldata.train.ranks import Ranks
from vldata.train.stage import make_stage


@dataclass(frozen=True)
class Turn:
    """What a turn does.

    Args:
        preset: Of the trainer.
        stage: Its stage, by place.
        sets: Changes of the preset.
        build: The rows.
        device: cpu or cuda.
        warmup: Steps before the clock starts.
        batch: Rows of a padded micro-batch (the peer's).
        accumulate: Micro-batches of a step (the peer's).
        workers: That decode.
        most_rows: Only so many rows; 0 is all.
    """

    preset: str
    stage: int
    sets: list[str]
    build: str
    device: str
    warmup: int
    batch: int = 0
    accumulate: int = 1
    workers: int = 0
    most_rows: int = 0

    def inputs(self) -> ModelInputs:
        """The stage alone, one pass over the rows; AdamW on both sides, whatever the preset has."""
        config = config_of(self.preset, self.sets, None)
        stage = config.stages[self.stage].replace(steps=0, epochs=1.0, optimizer="adamw")
        return read_inputs(config.replace(stages=(stage,)), Path(self.build))


def ours(turn: Turn) -> dict[str, Any]:
    """This trainer's turn: the stage and the steps that `vldata train` runs."""
    inputs = turn.inputs()
    config, data = inputs.config, inputs.stages[0]
    ranks = Ranks(0, 1, torch.device(turn.device))
    torch.manual_seed(0)
    with torch.device(turn.device):
        model = VLM(config)
    stage = make_stage(model, config, 0, data, ranks)
    options = {"workers": turn.workers}
    for done in steps(stage.loss, stage.plan, stage.collator, stage.optimizer, ranks, **options):
        if done.number + 1 >= turn.warmup:
            break
    stage.collator.pictures = SplitImages(data.split, stage.collator.pictures.side_px)  # none is decoded yet
    _forget_memory(turn.device)
    began, began_cpu = time.perf_counter(), time.process_time()
    told = list(steps(stage.loss, stage.plan, stage.collator, stage.optimizer, ranks, **options))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    packs = sum(step.packs for step in told)
    return {
        **_counted(config, inputs, seconds, turn.device),
        "cpu_seconds": cpu_seconds,
        "full": sum(step.tokens for step in told) / (packs * config.pack_tokens),
        "data_wait": sum(step.data_wait for step in told) / seconds,
        "rows_per_pack": sum(step.samples for step in told) / packs,
        "packs_per_step": config.stages[0].packs_per_step,
        "loss": told[-1].loss,
    }


def peer(turn: Turn) -> dict[str, Any]:
    """The padded trainer's turn; ``{"oom": true}`` when its batch does not fit the device."""
    from datasets import Dataset
    from transformers import Trainer, TrainerCallback, TrainingArguments

    inputs = turn.inputs()
    config, on_gpu = inputs.config, turn.device == "cuda"
    torch.manual_seed(0)
    with torch.device(turn.device):
        model = _llava(config, inputs.tokenizer.image_id)
    optimizer = _freeze(model, config, on_gpu)
    lengths = inputs.stages[0].encoded.tokens(config.tokens_per_image())
    chosen = np.random.default_rng(0).permutation(len(lengths))[: turn.most_rows or None]
    padded = _Padded(inputs)

    class Clock(TrainerCallback):
        """Starts when the first batch is there (which favours the peer), ends when the device is done."""

        began = began_cpu = seconds = cpu_seconds = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not self.began:
                _forget_memory(turn.device)
                padded.real = padded.places = 0
                self.began, self.began_cpu = time.perf_counter(), time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.began
            self.cpu_seconds = time.process_time() - self.began_cpu

    def run(indices: np.ndarray, most_steps: int) -> Clock:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            options = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=turn.batch,
                gradient_accumulation_steps=turn.accumulate,
                num_train_epochs=1,
                max_steps=most_steps,
                train_sampling_strategy="group_by_length",
                bf16=on_gpu,
                use_cpu=not on_gpu,
                max_grad_norm=config.stages[0].clip,
                lr_scheduler_type="cosine",
                dataloader_num_workers=turn.workers,
                dataloader_pin_memory=on_gpu,
                remove_unused_columns=False,
                gradient_checkpointing=False,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_strategy="no",
            )
            rows = Dataset.from_dict({"index": indices.tolist(), "length": lengths[indices].tolist()})
            trainer = Trainer(
                model, options, padded, rows, optimizers=(optimizer, None), callbacks=[clock]
            )  # None: its own schedule
            trainer.train()
        return clock

    try:
        run(chosen[: turn.batch * turn.accumulate * turn.warmup], turn.warmup)
        clock = run(chosen, -1)
    except torch.OutOfMemoryError:
        return {"oom": True}
    share = padded.real / padded.places if padded.places else None  # counted in this process only
    if share is None:
        share = _grouped_share(lengths[chosen], turn.batch * turn.accumulate, turn.batch)
    counted = _counted(config, inputs, clock.seconds, turn.device, chosen)
    return {**counted, "cpu_seconds": clock.cpu_seconds, "full": share, "batch": turn.batch}


class _Padded:
    """Rows to a padded batch; what a processor of `transformers` gives."""

    def __init__(self, inputs: ModelInputs) -> None:
        self.config, self.data = inputs.config, inputs.stages[0]
        self.pictures = SplitImages(self.data.split, self.config.vision.side_px, cache_bytes=0)
        self.real = self.places = 0
        mean, std = _statistics(self.config)
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))

    def __call__(self, rows: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        encoded, per_image = self.data.encoded, self.config.tokens_per_image()
        ids, labels, pixels = [], [], []
        for row in rows:
            short, learnt = encoded.sample(row["index"])
            repeats = np.where(short == encoded.image_id, per_image, 1)
            full = torch.from_numpy(np.repeat(short, repeats).astype(np.int64))
            is_learnt = torch.from_numpy(np.repeat(learnt, repeats) > 0)
            ids.append(full)
            labels.append(full.masked_fill(~is_learnt, -100))
            for place in range(int(encoded.num_images[row["index"]])):
                pixels.append(torch.from_numpy(self.pictures.get(row["index"], place).views[0]))
        batch = {
            "input_ids": nn.utils.rnn.pad_sequence(ids, batch_first=True),
            "labels": nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100),
            "attention_mask": nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
        }
        self.real += sum(map(len, ids))
        self.places += batch["input_ids"].numel()
        if pixels:
            batch["pixel_values"] = (torch.stack(pixels).float() / 255 - self.mean) / self.std
        return batch


def _llava(config: TrainCfg, image_id: int) -> nn.Module:
    """`LlavaForConditionalGeneration` of the config's shapes, with its projector."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        Qwen2Config,
        Qwen3Config,
        SiglipVisionConfig,
    )

    eye, tongue = config.vision, config.decoder
    is_clip = eye.family == "clip"
    vision = (CLIPVisionConfig if is_clip else SiglipVisionConfig)(
        image_size=eye.side_px,
        patch_size=eye.patch_px,
        hidden_size=eye.width,
        num_hidden_layers=eye.depth,
        num_attention_heads=eye.heads,
        intermediate_size=eye.mlp_width,
        **({} if is_clip else {"vision_use_head": False}),  # pools the image, which nobody reads here
    )
    shape = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}[tongue.family]
    text = shape(
        vocab_size=tongue.vocab,
        hidden_size=tongue.width,
        num_hidden_layers=tongue.depth,
        num_attention_heads=tongue.heads,
        num_key_value_heads=tongue.kv_heads,
        head_dim=tongue.head_dim,
        intermediate_size=tongue.mlp_width,
        rms_norm_eps=tongue.norm_eps,
        tie_word_embeddings=tongue.tied,
        max_position_embeddings=config.pack_tokens,
        use_cache=False,
    )
    shapes = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_id,
        vision_feature_layer=eye.layer,
        vision_feature_select_strategy="default" if is_clip else "full",
        tie_word_embeddings=tongue.tied,
        attn_implementation="sdpa",
    )
    model = LlavaForConditionalGeneration(shapes)
    projector = make_projector(config.projector, eye.num_patches(), eye.width, tongue.width)
    model.model.multi_modal_projector = projector
    return model


def _freeze(model: Any, config: TrainCfg, on_gpu: bool) -> torch.optim.Optimizer:
    """The stage's learning rates, LoRA and types, as `vldata.train.model.apply_stage` has them."""
    stage, inner = config.stages[0], model.model
    parts = {
        "vision": [inner.vision_tower],
        "projector": [inner.multi_modal_projector],
        "decoder": [inner.language_model, model.lm_head],
    }
    for name, modules in parts.items():
        for module in modules:
            module.requires_grad_(stage.lr(name) > 0)
    if stage.lora.rank and stage.lr_decoder:
        for module in parts["decoder"]:
            module.requires_grad_(False)
        add_lora(inner.language_model, stage.lora)
    groups = []
    for name, modules in parts.items():
        free = {weight for module in modules for weight in module.parameters() if weight.requires_grad}
        if free:
            groups.append({"params": list(free), "lr": stage.lr(name), "weight_decay": stage.weight_decay})
    if on_gpu:
        for weight in model.parameters():
            weight.data = weight.data.to(torch.float32 if weight.requires_grad else torch.bfloat16)
    return torch.optim.AdamW(groups, betas=(stage.beta1, stage.beta2), eps=stage.eps, fused=on_gpu)


def _statistics(config: TrainCfg) -> tuple[list[float], list[float]]:
    """Mean and spread of pixels, read from this trainer's own encoder."""
    from vldata.train.vision import Vision

    tiny = Vision(config.vision.replace(width=config.vision.heads, depth=2, layer=-1, mlp_width=1))
    return tiny.mean.flatten().tolist(), tiny.std.flatten().tolist()


def _grouped_share(lengths: np.ndarray, group: int, batch: int) -> float:
    """Real tokens among padded ones, when batches were made in other processes."""
    from transformers.trainer_pt_utils import LengthGroupedSampler

    order = list(LengthGroupedSampler(group, lengths=lengths.tolist(), generator=torch.Generator().manual_seed(0)))
    batches = [lengths[order[first : first + batch]] for first in range(0, len(order), batch)]
    return float(lengths.sum() / sum(len(own) * own.max() for own in batches))


def _counted(
    config: TrainCfg, inputs: ModelInputs, seconds: float, device: str, chosen: np.ndarray | None = None
) -> dict[str, Any]:
    encoded = inputs.stages[0].encoded
    rows = np.arange(len(encoded)) if chosen is None else chosen
    lengths, supervised = encoded.tokens(config.tokens_per_image())[rows], int(encoded.num_supervised[rows].sum())
    images = int(encoded.num_images[rows].sum())
    flops = useful_flops(config, config.stages[0], lengths.tolist(), images, supervised)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else _resident_gib()
    return {
        "seconds": seconds,
        "rows": len(rows),
        "tokens": int(lengths.sum()),
        "samples_per_s": len(rows) / seconds,
        "supervised_per_s": supervised / seconds,
        "tflops": flops / seconds / 1e12,
        "peak_gib": peak,
    }


def _resident_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _forget_memory(device: str) -> None:
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of libraries, about their own futures
    result = {"ours": ours, "peer": peer}[sys.argv[1]](Turn(**json.loads(sys.argv[2])))
    print(json.dumps(result))
