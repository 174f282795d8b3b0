"""Folders in Hugging Face's layout: read strictly, written so that others can read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from tests.train.hf_folders import save_decoder, save_vision
from tests.train.packs import SMALL, VOCAB
from vldata.train.config import TrainError, TrainErrors, VisionCfg
from vldata.train.decoder import Decoder
from vldata.train.hf_config import decoder_shape, vision_shape
from vldata.train.hf_io import load_decoder, load_vision
from vldata.train.vision import Vision

torch.set_num_threads(1)

CFG = SMALL.decoder
SHAPES = [
    CFG,
    CFG.replace(family="qwen2", tied=False),
    CFG.replace(family="qwen3", head_width=8, rope_theta=5e5, norm_eps=1e-6),
]
IDS = torch.arange(VOCAB)


def random_module(cfg: Any = CFG, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    module = Vision(cfg) if isinstance(cfg, VisionCfg) else Decoder(cfg)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module


def same(first: Any, second: Any) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("cfg", SHAPES, ids=lambda cfg: cfg.family)
def test_a_decoder_survives_the_folder(cfg: Any, tmp_path: Path) -> None:
    decoder = random_module(cfg)
    save_decoder(decoder, tmp_path)
    result = decoder_shape(tmp_path)
    assert result == cfg
    other = random_module(result, seed=1)
    load_decoder(other, tmp_path)
    assert same(decoder, other)


@pytest.mark.parametrize("cfg", SHAPES, ids=lambda cfg: cfg.family)
def test_transformers_opens_a_saved_decoder_and_agrees(cfg: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    decoder = random_module(cfg)
    save_decoder(decoder, tmp_path)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    cu = torch.tensor([0, VOCAB], dtype=torch.int32)
    result = decoder(decoder.embed_tokens(IDS), IDS, cu, VOCAB) @ decoder.head_weight.T
    torch.testing.assert_close(result, theirs.float()(IDS[None]).logits[0], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_transformers_opens_a_saved_encoder_and_agrees(family: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    vision = random_module(SMALL.vision.replace(family=family, layer=-1, post_norm=True))
    save_vision(vision, tmp_path)
    kind = {"clip": transformers.CLIPVisionModel, "siglip": transformers.SiglipVisionModel}[family]
    theirs, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    images = torch.rand(2, 3, 16, 16)
    states = theirs((images - vision.mean) / vision.std).last_hidden_state
    if family == "clip":  # it norms the class token alone
        states = vision.post_layernorm(states[:, 1:])
    torch.testing.assert_close(vision(images), states, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_an_encoder_survives_the_folder(family: Any, tmp_path: Path) -> None:
    vision = random_module(SMALL.vision.replace(family=family, layer=-2, post_norm=False))
    save_vision(vision, tmp_path)
    result = vision_shape(tmp_path).replace(post_norm=False)
    assert result == vision.cfg.replace(depth=1, layer=-1)
    other = random_module(result, seed=1)
    load_vision(other, tmp_path)
    assert same(vision, other)


def test_the_vision_half_of_a_whole_clip_is_found(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 20}, vision_config={**sizes, "image_size": 16, "patch_size": 4}
    )
    whole = transformers.CLIPModel(config).eval()
    whole.save_pretrained(tmp_path)
    vision = Vision(vision_shape(tmp_path).replace(post_norm=False))
    load_vision(vision, tmp_path)
    images = torch.rand(1, 3, 16, 16)
    theirs = whole.vision_model((images - vision.mean) / vision.std).last_hidden_state
    torch.testing.assert_close(vision(images), theirs[:, 1:], atol=1e-5, rtol=1e-5)


def test_weights_in_several_files_are_put_together(tmp_path: Path) -> None:
    decoder = random_module()
    save_decoder(decoder, tmp_path)
    tensors = list(load_file(tmp_path / "model.safetensors").items())
    (tmp_path / "model.safetensors").unlink()
    save_file(dict(tensors[:5]), tmp_path / "model-00001-of-00002.safetensors")
    save_file(dict(tensors[5:]), tmp_path / "model-00002-of-00002.safetensors")
    other = random_module(seed=1)
    load_decoder(other, tmp_path)
    assert same(decoder, other)


def test_added_tokens_start_as_the_mean_of_the_others(tmp_path: Path) -> None:
    cfg = CFG.replace(tied=False)
    decoder = random_module(cfg)
    save_decoder(decoder, tmp_path)
    grown = random_module(cfg.replace(vocab=VOCAB + 2), seed=1)
    load_decoder(grown, tmp_path)
    for old, new in ((decoder.embed_tokens, grown.embed_tokens), (decoder.lm_head, grown.lm_head)):
        assert torch.equal(new.weight[:VOCAB], old.weight)
        torch.testing.assert_close(new.weight[VOCAB:], old.weight.mean(0).expand(2, -1))


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    save_decoder(random_module(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(TrainError, match=r"1 weights are missing, like 'layers.1.mlp.up_proj.weight'"):
        load_decoder(random_module(), tmp_path)


def test_a_weight_too_many_is_named(tmp_path: Path) -> None:
    save_decoder(random_module(CFG.replace(depth=3)), tmp_path)
    with pytest.raises(TrainError, match=r"'model.layers.2\..*' has no place in the model"):
        load_decoder(random_module(), tmp_path)


def test_a_weight_of_another_shape_is_named_with_both(tmp_path: Path) -> None:
    save_decoder(random_module(CFG.replace(mlp_width=48)), tmp_path)
    with pytest.raises(TrainError, match=r"shape \((48|24), (24|48)\) in the file, \((40|24), (24|40)\) in the config"):
        load_decoder(random_module(), tmp_path)
    save_decoder(random_module(CFG.replace(vocab=VOCAB + 1)), tmp_path)
    with pytest.raises(TrainError, match=r"shape \(41, 24\) in the file, \(40, 24\) in the config"):
        load_decoder(random_module(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba' is no decoder"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_type 'llama3' is not modelled here"),
        ({"attention_bias": True}, "attention_bias True is not modelled here"),
        ({"use_sliding_window": True}, "use_sliding_window True is not modelled here"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not modelled here"),
    ],
)
def test_a_decoder_with_other_parts_is_refused(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    save_decoder(random_module(), tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(TrainError, match=problem):
        decoder_shape(tmp_path)


def test_an_encoder_with_other_parts_is_refused(tmp_path: Path) -> None:
    save_vision(random_module(SMALL.vision), tmp_path)
    edit(tmp_path, hidden_act="gelu")
    with pytest.raises(TrainError, match="hidden_act 'gelu' is not modelled here"):
        vision_shape(tmp_path)
    edit(tmp_path, model_type="vit")
    with pytest.raises(TrainError, match="model_type 'vit' is no encoder"):
        vision_shape(tmp_path)


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"config.json: no such file"):
        decoder_shape(tmp_path)
    with pytest.raises(TrainError, match="no safetensors file"):
        load_decoder(random_module(), tmp_path)


def test_published_configs_that_leave_out_sizes_get_the_familys(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "siglip", "vision_config": {"model_type": "x"}}')
    published = VisionCfg(
        family="siglip", side_px=224, patch_px=16, width=768, depth=12, heads=12, mlp_width=3072, layer=-1
    )
    assert vision_shape(tmp_path) == published


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"model_type": "llama"', r"config.json: this is no JSON"),
        ('["llama"]', r"config.json: it holds no mapping"),
        ('{"model_type": "llama", "hidden_size": 24}', "it has no num_hidden_layers, num_attention_heads, inter"),
    ],
)
def test_a_config_that_says_no_shape_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(TrainError, match=problem):
        decoder_shape(tmp_path)


def test_values_that_are_no_shape_are_named_all_at_once_as_the_file_has_them(tmp_path: Path) -> None:
    save_decoder(random_module(), tmp_path)
    edit(tmp_path, hidden_size="wide", num_key_value_heads=3, rms_norm_eps=None)
    with pytest.raises(TrainErrors) as caught:
        decoder_shape(tmp_path)
    assert [(error.where.removeprefix(f"{tmp_path}/"), error.problem) for error in caught.value.errors] == [
        ("config.json: hidden_size", "'wide' is not a whole number"),
        ("config.json: num_key_value_heads", "3 do not divide 4 heads"),
        ("config.json: rms_norm_eps", "None is not a number"),
    ]
