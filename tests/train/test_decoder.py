"""The decoder: Hugging Face's numbers, document by document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from tests.train.packs import SMALL
from vldata.train.config import DecoderCfg
from vldata.train.decoder import Decoder, rotary

torch.set_num_threads(1)

LENGTHS = [5, 1, 9]
IDS = torch.randint(0, 40, (15,), generator=torch.Generator().manual_seed(0))
POSITIONS = torch.cat([torch.arange(length) for length in LENGTHS])
CU = torch.tensor([0, 5, 6, 15], dtype=torch.int32)
SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def theirs(family: str, folder: Path, **more: Any):  # type: ignore[no-untyped-def]
    """A random decoder of transformers', saved in a folder."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config, model_class = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    }[family]
    wide = {"head_dim": 10} if family == "qwen3" else {}
    reference = model_class(config(**SIZES, **wide, **more))
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.normal_(std=0.2) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    reference.eval().save_pretrained(folder)
    return reference


def run(decoder: Decoder) -> torch.Tensor:
    return decoder(decoder.embed_tokens(IDS), POSITIONS, CU, max(LENGTHS))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_packed_logits_are_those_of_transformers_for_each_document(family: str, tied: bool, tmp_path: Path) -> None:
    from vldata.train.hf_config import decoder_shape
    from vldata.train.hf_io import load_decoder

    reference = theirs(
        family, tmp_path, tie_word_embeddings=tied, rope_parameters={"rope_theta": 5e4, "rope_type": "default"}
    )
    cfg = decoder_shape(tmp_path)
    assert (cfg.family, cfg.rope_theta, cfg.tied) == (family, 5e4, tied)
    decoder = Decoder(cfg)
    load_decoder(decoder, tmp_path)
    logits = run(decoder) @ decoder.head_weight.T
    for document, ids in zip(logits.split(LENGTHS), IDS.split(LENGTHS), strict=True):
        torch.testing.assert_close(document, reference(ids[None]).logits[0], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_every_weight_learns(family: str) -> None:
    cfg = DecoderCfg(family=family, vocab=40, width=24, depth=2, heads=4, kv_heads=2, mlp_width=40)  # type: ignore[arg-type]
    decoder = Decoder(cfg)
    (run(decoder) * torch.randn(15, 24)).sum().backward()
    assert not [name for name, p in decoder.named_parameters() if p.grad is None]
    assert any("q_norm" in name for name, _ in decoder.named_parameters()) == (family == "qwen3")
    assert any("q_proj.bias" in name for name, _ in decoder.named_parameters()) == (family == "qwen2")


def test_recomputed_blocks_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    decoder = Decoder(SMALL.decoder)
    gradients = []
    for decoder.checkpointing in (False, True):
        decoder.zero_grad()
        run(decoder).square().sum().backward()
        gradients.append([p.grad for p in decoder.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_scores_depend_on_the_distance_of_two_tokens_only() -> None:
    x, y = torch.randn(2, 1, 8)

    def score(i: int, j: int) -> float:
        cos, sin = rotary(torch.tensor([i, j]), 8, 100.0)
        first, second = ((v * cos[n] + torch.cat([-v[:, 4:], v[:, :4]], -1) * sin[n]) for n, v in ((0, x), (1, y)))
        return float((first * second).sum())

    assert score(3, 1) == pytest.approx(score(9, 7), abs=1e-5)
    assert score(3, 1) != pytest.approx(score(3, 2), abs=1e-3)
