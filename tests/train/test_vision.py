"""The encoder: Hugging Face's numbers, from pixels as they come."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from vldata.train.config import VisionCfg
from vldata.train.vision import Vision, resized_grid

torch.set_num_threads(1)

SIGLIP = VisionCfg(side_px=16, patch_px=4, width=16, depth=3, heads=2, mlp_width=32)
CLIP = SIGLIP.replace(family="clip", layer=-2, post_norm=False)
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
IMAGES = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def theirs(family: str, folder: Path):  # type: ignore[no-untyped-def]
    """A random encoder of transformers', saved in a folder."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if family == "clip":
        encoder = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**SIZES))
    else:
        encoder = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SIZES))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.2) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    encoder.eval().save_pretrained(folder)
    return encoder


@pytest.mark.parametrize(("layer", "post_norm"), [(-1, False), (-2, False), (1, False)])
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_hidden_states_are_those_of_transformers(family: str, layer: int, post_norm: bool, tmp_path: Path) -> None:
    from vldata.train.hf_config import vision_shape
    from vldata.train.hf_io import load_vision

    reference = theirs(family, tmp_path)
    cfg = vision_shape(tmp_path).replace(layer=layer, post_norm=post_norm)
    vision = Vision(cfg)
    load_vision(vision, tmp_path)
    result = vision(IMAGES)
    pixels = (IMAGES / 255 - vision.mean) / vision.std
    states = reference(pixels, output_hidden_states=True).hidden_states
    torch.testing.assert_close(result, states[layer][:, int(family == "clip") :], atol=1e-5, rtol=1e-5)
    assert result.shape == (2, 16, 16)


def test_siglips_closing_norm_is_applied_on_request(tmp_path: Path) -> None:
    from vldata.train.hf_config import vision_shape
    from vldata.train.hf_io import load_vision

    reference = theirs("siglip", tmp_path)
    vision = Vision(vision_shape(tmp_path).replace(post_norm=True))
    load_vision(vision, tmp_path)
    torch.testing.assert_close(vision(IMAGES), reference(IMAGES / 127.5 - 1).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_blocks_after_the_selected_one_are_not_made() -> None:
    assert [len(Vision(CLIP.replace(layer=layer)).layers) for layer in (-1, -2, 0, 2)] == [3, 2, 0, 2]


@pytest.mark.parametrize("cfg", [CLIP, SIGLIP])
def test_bytes_and_fractions_are_the_same_image(cfg: VisionCfg) -> None:
    vision = Vision(cfg)
    torch.testing.assert_close(vision(IMAGES), vision(IMAGES / 255))


@pytest.mark.parametrize("cfg", [CLIP, SIGLIP])
def test_the_class_token_is_dropped_and_every_weight_is_used(cfg: VisionCfg) -> None:
    vision = Vision(cfg)
    out = vision(IMAGES)
    assert out.shape == (2, 16, 16)
    (out * torch.randn_like(out)).sum().backward()
    assert not [name for name, p in vision.named_parameters() if p.grad is None]


@pytest.mark.parametrize("cfg", [CLIP, SIGLIP])
def test_an_image_does_not_depend_on_its_neighbours(cfg: VisionCfg) -> None:
    vision = Vision(cfg)
    torch.testing.assert_close(vision(IMAGES)[1:], vision(IMAGES[1:]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cfg", [CLIP, SIGLIP])
def test_larger_images_have_more_patches(cfg: VisionCfg) -> None:
    images = torch.zeros(1, 3, 24, 24, dtype=torch.uint8)
    assert Vision(cfg)(images).shape == (1, 36, 16)


def test_places_of_another_grid_are_interpolated_and_those_of_the_same_kept() -> None:
    places = torch.randn(1, 16, 4)
    assert resized_grid(places, 16) is places
    flat = torch.ones(1, 16, 4)
    torch.testing.assert_close(resized_grid(flat, 49), torch.ones(1, 49, 4))
    ramp = torch.arange(4.0).repeat_interleave(4).view(1, 16, 1)  # grows with the row
    rows = resized_grid(ramp, 64).view(8, 8)
    assert (rows.diff(dim=0) > 0).all()
    torch.testing.assert_close(rows[:, :1].expand(8, 8), rows)
