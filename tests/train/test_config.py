"""Configs: refused where they are wrong, hashed by what they say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch")

from vldata.train.config import ProjectorCfg, StageCfg, TrainCfg, TrainError, VisionCfg, to_dict
from vldata.train.flops import decoder_weights, lora_weights, useful_flops
from vldata.train.presets import PRESETS, VICUNA_7B, preset
from vldata.train.settings import from_dict, from_file, override

S222, LLAVA = PRESETS["s222"], PRESETS["llava15_7b"]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_survives_being_written_and_read(name: str) -> None:
    config = preset(name)
    again = from_dict(to_dict(config))
    assert again == config
    assert again.content_hash() == config.content_hash()


def test_presets_differ_by_hash() -> None:
    assert len({config.content_hash() for config in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("tiny", 36), ("s222", 49), ("m1500", 196), ("llava_7b", 256), ("llava15_7b", 576), ("honeybee_c7b", 144)],
)
def test_presets_have_the_published_number_of_visual_tokens(name: str, tokens: int) -> None:
    assert preset(name).tokens_per_image() == tokens


def test_a_misspelt_preset_gets_the_nearest() -> None:
    with pytest.raises(TrainError, match="did you mean 'llava15_7b'"):
        preset("llava15-7b")


def test_overrides_reach_into_stages_and_read_yaml_numbers() -> None:
    config = override(TrainCfg(), ["stages.0.lr_projector=1e-3", "decoder.width=64", "projector.kind=c_abs", "seed=7"])
    assert (config.stages[0].lr_projector, config.decoder.width, config.projector.kind, config.seed) == (
        0.001,
        64,
        "c_abs",
        7,
    )


def test_a_whole_stage_can_be_replaced() -> None:
    config = override(TrainCfg(), ["stages=[{name: a, lr_decoder: 1}, {name: b, lora: {rank: 8}}]"])
    assert [stage.name for stage in config.stages] == ["a", "b"]
    assert config.stages[1].lora.rank == 8
    assert config.stages[0].lr_decoder == 1.0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("decoder.widht=64", "did you mean 'width'"),
        ("stages.3.lr_decoder=1", "'3' is not one of 1 places"),
        ("decoder.width=wide", "'wide' is not of type int"),
        ("decoder.width=1.5", "1.5 is not of type int"),
        ("decoder.width=true", "True is not of type int"),
        ("compile=1", "1 is not of type bool"),
        ("stages.0.lr_decoder=fast", "'fast' is not of type float"),
        ("projector.kind=qforner", "did you mean 'qformer'"),
        ("decoder=3", "3 is not a mapping"),
        ("stages=3", "3 is not a list"),
        ("seed", "no value given"),
    ],
)
def test_a_wrong_override_is_refused(change: str, problem: str) -> None:
    with pytest.raises(TrainError, match=problem):
        override(TrainCfg(), [change])


def test_a_file_is_read_and_a_wrong_key_named_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("decoder: {vocab: 99}\nstages: [{name: only, epochs: 2}]\n")
    config = from_file(path)
    assert (config.decoder.vocab, config.stages[0].epochs) == (99, 2.0)
    path.write_text("stages: [{name: only, epoch: 2}]\n")
    with pytest.raises(TrainError, match=r"run.yaml.stages.0.epoch: no key 'epoch'"):
        from_file(path)
    with pytest.raises(TrainError, match="no such file"):
        from_file(tmp_path / "none.yaml")


def test_the_hash_changes_with_every_field() -> None:
    config = TrainCfg()
    hashes = {config.content_hash()}
    for changed in (
        dataclasses.replace(config, seed=1),
        dataclasses.replace(config, vision=VisionCfg(layer=-2)),
        dataclasses.replace(config, stages=(StageCfg(clip=2.0),)),
    ):
        hashes.add(changed.content_hash())
    assert len(hashes) == 4


def test_a_grid_that_cannot_be_folded_or_pooled_is_refused() -> None:
    with pytest.raises(TrainError, match="27x27 patches cannot be folded by 2"):
        ProjectorCfg("pixel_shuffle").num_tokens(729)
    with pytest.raises(TrainError, match="50 is not a square number"):
        ProjectorCfg("c_abs", tokens=50).num_tokens(729)


def test_a_stage_may_bring_its_own_resolution() -> None:
    assert PRESETS["tiny"].tokens_per_image(StageCfg(side_px=128)) == 64


# teraflops of one sample, worked out by hand from the published shapes: 2 and 4 operations for each weight and so on
@pytest.mark.parametrize(
    ("config", "stage", "tokens", "supervised", "expected"),
    [
        (S222, S222.stages[0], 177, 60, 0.230),
        (S222, StageCfg(lr_projector=1.0, lr_decoder=1.0), 177, 60, 0.161),
        (PRESETS["m1500"], PRESETS["m1500"].stages[0], 226, 30, 1.89),
        (PRESETS["m1500"], PRESETS["m1500"].stages[1], 396, 60, 3.93),
        (LLAVA, LLAVA.stages[0], 606, 30, 16.3),
        (LLAVA, LLAVA.stages[1], 776, 60, 22.1),
        (LLAVA, StageCfg(lr_projector=1.0, lr_decoder=1.0), 776, 60, 31.1),
    ],
)
def test_useful_work_is_that_of_the_published_shapes(
    config: TrainCfg, stage: StageCfg, tokens: int, supervised: int, expected: float
) -> None:
    found = useful_flops(config, stage, [tokens], 1, supervised) / 1e12
    assert found == pytest.approx(expected, rel=0.02)


def test_a_frozen_decoder_costs_two_thirds_and_packing_costs_nothing() -> None:
    free, frozen = StageCfg(lr_projector=1.0, lr_decoder=1.0), StageCfg(lr_projector=1.0)
    ratio = useful_flops(LLAVA, frozen, [600], 0, 9) / useful_flops(LLAVA, free, [600], 0, 9)
    assert ratio == pytest.approx(2 / 3)
    apart = sum(useful_flops(LLAVA, free, [length], 1, 5) for length in (10, 700))
    assert useful_flops(LLAVA, free, [10, 700], 2, 10) == pytest.approx(apart)


def test_llama_has_its_weights() -> None:
    assert decoder_weights(VICUNA_7B) == 32 * (4 * 4096**2 + 3 * 4096 * 11_008)
    assert lora_weights(VICUNA_7B, 128) == 32 * 128 * (8 * 4096 + 3 * (4096 + 11_008))
