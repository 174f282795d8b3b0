"""Configs: refused where they are wrong, hashed by what they say."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from vldata.train.config import ProjectorCfg, StageCfg, TrainCfg, TrainError, TrainErrors
from vldata.train.flops import decoder_weights, lora_weights, useful_flops
from vldata.train.overrides import config_of, from_dict
from vldata.train.presets import PRESETS, VICUNA_7B, preset

S222, LLAVA = PRESETS["s222"], PRESETS["llava15_7b"]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_survives_being_written_and_read(name: str) -> None:
    config = preset(name)
    again = from_dict(config.model_dump(mode="json"), "run.json")
    assert again == config
    assert again.content_hash() == config.content_hash()


def test_the_hash_that_a_run_is_resumed_by_stays() -> None:
    assert PRESETS["tiny"].content_hash() == "7a458f4eed3fc47d6625c5ff19c58223"
    changes = ["stages.0.epochs=2", "anyres.grids=[2x1]", "decoder.rope_theta=1e6", "stages.1.lora.rank=4"]
    assert config_of("llava15_7b", changes).content_hash() == "00156601236295afc7c8dba7515d6687"


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
    config = config_of("tiny", ["stages.0.lr_projector=1e-3", "decoder.width=64", "projector.kind=c_abs", "seed=7"])
    assert (config.stages[0].lr_projector, config.decoder.width, config.projector.kind, config.seed) == (
        0.001,
        64,
        "c_abs",
        7,
    )


def test_a_whole_stage_can_be_replaced() -> None:
    config = config_of("tiny", ["stages=[{name: a, lr_decoder: 1}, {name: b, lr_decoder: 1e-3, lora: {rank: 8}}]"])
    assert [stage.name for stage in config.stages] == ["a", "b"]
    assert config.stages[1].lora.rank == 8
    assert config.stages[0].lr_decoder == 1.0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("decoder.widht=64", "did you mean 'width'"),
        ("stages.3.lr_decoder=1", "'3' is not one of 1 places"),
        ("decoder.width=wide", "decoder.width: 'wide' is not a whole number"),
        ("decoder.width=1.5", "1.5 is not a whole number"),
        ("decoder.width=true", "true is not a whole number"),
        ("compile=1", "1 is not true or false"),
        ("stages.0.lr_decoder=fast", "stages.0.lr_decoder: 'fast' is not a number"),
        ("stages.0.lr_decoder=.nan", "stages.0.lr_decoder: nan is not a finite number"),
        ("stages.0.lr_decoder=-1", "-1 is not a number of at least 0"),
        ("seed.of=1", "0 holds no key 'of'"),
        ("projector.kind=qforner", "did you mean 'qformer'"),
        ("decoder=3", "fix: write a map, such as decoder: {family: …}"),
        ("stages=3", "3 is not a list"),
        ("seed", "no value given"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(change: str, problem: str) -> None:
    with pytest.raises(TrainError, match=problem):
        config_of("tiny", [change])


def test_all_problems_are_found_at_once_each_where_it_is() -> None:
    with pytest.raises(TrainErrors) as caught:
        config_of(
            "tiny", ["vision.heads=5", "decoder.kv_heads=3", "stages.0.steps=-1", "sed=1", "stages.0.lora.rank=x"]
        )
    assert [(error.where, error.problem) for error in caught.value.errors] == [
        ("vision.heads", "5 heads do not divide a width of 192"),
        ("decoder.kv_heads", "3 do not divide 4 heads"),
        ("stages.0.lora.rank", "'x' is not a whole number"),
        ("stages.0.steps", "-1 is not a number of at least 0"),
        ("sed", "unknown key"),
    ]
    one, two = ("{name: a, lr_decoder: 0}", "{name: a, lr_decoder: 1e-3, optimizer: muon, side_px: 8}")
    with pytest.raises(TrainErrors) as caught:
        config_of("tiny", [f"stages=[{one}, {two}]", "shard=true", "projector.kind=c_abs", "projector.tokens=50"])
    assert [(error.where, error.problem) for error in caught.value.errors] == [
        ("shard", "Muon steps with whole matrices, and shard spreads them over the ranks"),
        ("stages.0", "every part has a learning rate of 0, so nothing would learn"),
        ("stages.1.name", "there are two stages 'a'"),
        ("stages.1.side_px", "8 pixels hold no patch of 16"),
        ("projector.tokens", "50 is not a square number"),
    ]


def test_a_config_read_back_names_its_file() -> None:
    with pytest.raises(TrainErrors, match=r"run.json.stages.0.epoch: unknown key\n  fix: did you mean 'epochs'"):
        from_dict({"stages": [{"name": "only", "epoch": 2}]}, "run.json")
    with pytest.raises(TrainErrors, match=r"run\.json: None is not a map"):
        from_dict(None, "run.json")


def test_the_hash_changes_with_every_field() -> None:
    config = preset("tiny")
    hashes = {config.content_hash()}
    for changed in (
        config.replace(seed=1),
        config.replace(vision=config.vision.replace(layer=-2)),
        config.replace(stages=(config.stages[0].replace(clip=2.0),)),
    ):
        hashes.add(changed.content_hash())
    assert len(hashes) == 4


def test_a_grid_that_cannot_be_folded_or_pooled_is_refused() -> None:
    with pytest.raises(TrainError, match="27x27 patches cannot be folded by 2"):
        ProjectorCfg(kind="pixel_shuffle").num_tokens(729)
    with pytest.raises(TrainError, match="50 is not a square number"):
        ProjectorCfg(kind="c_abs", tokens=50).num_tokens(729)


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
    result = useful_flops(config, stage, [tokens], 1, supervised) / 1e12
    assert result == pytest.approx(expected, rel=0.02)


def test_a_frozen_decoder_costs_two_thirds_and_packing_costs_nothing() -> None:
    free, frozen = StageCfg(lr_projector=1.0, lr_decoder=1.0), StageCfg(lr_projector=1.0)
    ratio = useful_flops(LLAVA, frozen, [600], 0, 9) / useful_flops(LLAVA, free, [600], 0, 9)
    assert ratio == pytest.approx(2 / 3)
    apart = sum(useful_flops(LLAVA, free, [length], 1, 5) for length in (10, 700))
    assert useful_flops(LLAVA, free, [10, 700], 2, 10) == pytest.approx(apart)


def test_llama_has_its_weights() -> None:
    assert decoder_weights(VICUNA_7B) == 32 * (4 * 4096**2 + 3 * 4096 * 11_008)
    assert lora_weights(VICUNA_7B, 128) == 32 * 128 * (8 * 4096 + 3 * (4096 + 11_008))
