"""A run's config takes its shapes from the folders that it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from tests.train.hf_folders import save_decoder, save_vision
from tests.train.packs import SMALL, VOCAB
from vldata.train import run
from vldata.train.config import TrainErrors
from vldata.train.decoder import Decoder
from vldata.train.overrides import config_of
from vldata.train.presets import PRESETS
from vldata.train.tokenizer import from_texts
from vldata.train.vision import Vision

torch.set_num_threads(1)

ENCODER = SMALL.vision.replace(family="clip", depth=3)


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """An encoder's and a decoder's, as the changes that name them."""
    torch.manual_seed(0)
    save_vision(Vision(ENCODER), tmp_path / "encoder")
    save_decoder(Decoder(SMALL.decoder), tmp_path / "decoder")
    return [f"vision_dir={tmp_path / 'encoder'}", f"decoder_dir={tmp_path / 'decoder'}"]


def test_folders_give_the_shapes_and_the_run_what_it_reads_of_them(folders: list[str]) -> None:
    config = config_of("tiny", folders)
    # the preset's pixels are the shapes world's, and no published encoder's
    assert (config.vision, config.decoder) == (ENCODER, SMALL.decoder)
    assert config.tokens_per_image() == 16
    changed = config_of("tiny", [*folders, "vision.layer=-2", "vision.post_norm=false", "vision.pixel_std=0.5"])
    assert changed.vision == ENCODER.replace(layer=-2, post_norm=False, pixel_std=0.5)


def test_the_rest_of_a_config_is_checked_against_the_folders_shape(folders: list[str]) -> None:
    # 6x6 patches in the preset, 4x4 in the folder
    assert config_of("tiny", [*folders, "projector={kind: pixel_shuffle, factor: 4}"]).tokens_per_image() == 1
    with pytest.raises(TrainErrors, match="a grid of 4x4 patches cannot be folded by 3"):
        config_of("tiny", [*folders, "projector={kind: pixel_shuffle, factor: 3}"])
    with pytest.raises(TrainErrors, match=r"vision\.layer: -5 is no hidden state of 3 blocks"):
        config_of("tiny", [*folders, "vision.layer=-5"])


def test_a_shape_typed_by_hand_must_be_the_folders(folders: list[str]) -> None:
    assert config_of("tiny", [*folders, "decoder.width=24"]) == config_of("tiny", folders)
    with pytest.raises(TrainErrors) as caught:
        config_of("tiny", [*folders, "vision={family: siglip, width: 64, depth: 3}"])
    assert [(error.where, error.problem) for error in caught.value.errors] == [
        ("vision.width", "64 is not the 16 of the config.json in vision_dir"),
    ]


def test_a_folder_of_a_presets_own_shape_is_that_preset(tmp_path: Path) -> None:
    shape = PRESETS["llava15_7b"].decoder
    theirs = {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11_008,
        "rms_norm_eps": 1e-5,
    }
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    assert config_of("llava15_7b", [f"decoder_dir={tmp_path}"]).decoder == shape


def test_a_run_starts_from_the_weights_of_its_folders(small_build: Path, folders: list[str], tmp_path: Path) -> None:
    from_texts(["What is in it?"], size=VOCAB).save(tmp_path / "decoder" / "tokenizer.json")
    frozen = "stages=[{name: align, lr_projector: 1e-3}]"
    config = config_of("tiny", [*folders, frozen, "pack_tokens=4096"], 1)
    run.train(small_build, tmp_path / "run", config, device="cpu")
    weights = load_file(tmp_path / "run" / "model.safetensors")
    torch.manual_seed(0)
    for part, module in (("vision", Vision(ENCODER)), ("decoder", Decoder(SMALL.decoder))):
        for name, weight in module.state_dict().items():
            assert torch.equal(weights[f"{part}.{name}"][: len(weight)], weight), name
    again = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert again["vision"]["width"] == 16 and again["decoder"]["width"] == 24
