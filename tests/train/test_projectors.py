"""Projectors: how many tokens, which weights, and what they may not forget."""

from __future__ import annotations

import typing

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from vldata.train.config import ProjectorCfg, ProjectorKind, TrainError
from vldata.train.projectors import CAbstractor, PixelShuffle, PoolMlp, make_projector
from vldata.train.resamplers import DAbstractor

torch.set_num_threads(1)

KINDS = typing.get_args(ProjectorKind)
WIDTH_IN, WIDTH_OUT = 24, 20


def small(kind: ProjectorKind, num_patches: int = 64, **more: int) -> tuple[ProjectorCfg, nn.Module]:
    torch.manual_seed(0)
    cfg = ProjectorCfg(kind=kind, **({"tokens": 16, "hidden": 32, "depth": 2, "heads": 2} | more))
    return cfg, make_projector(cfg, num_patches, WIDTH_IN, WIDTH_OUT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_projector_makes_the_tokens_that_its_config_states(kind: ProjectorKind) -> None:
    cfg, projector = small(kind)
    out = projector(torch.randn(3, 64, WIDTH_IN))
    expected = {"linear": 64, "mlp": 64}.get(kind, 16)
    assert out.shape == (3, expected, WIDTH_OUT)
    assert cfg.num_tokens(64) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_a_projector_learns_and_images_do_not_mix(kind: ProjectorKind) -> None:
    _, projector = small(kind)
    x = torch.randn(2, 64, WIDTH_IN, requires_grad=True)
    out = projector(x)
    (out[0] * torch.randn(out[0].shape)).sum().backward()
    assert x.grad is not None
    assert x.grad[0].abs().sum() > 0
    assert x.grad[1].abs().max() == 0
    idle = [name for name, p in projector.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not idle


@pytest.mark.parametrize("kind", KINDS)
def test_a_projector_leaves_the_features_as_they_were(kind: ProjectorKind) -> None:
    _, projector = small(kind)
    x = torch.randn(2, 64, WIDTH_IN)
    before = x.clone()
    projector(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_a_new_projector_differ_from_each_other(kind: ProjectorKind) -> None:
    _, projector = small(kind)
    out = projector(torch.randn(1, 64, WIDTH_IN))[0].detach()
    gaps = torch.cdist(out, out) + torch.eye(len(out)) * 1e9
    assert gaps.min() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_a_projector_takes_a_larger_image(kind: ProjectorKind) -> None:
    cfg, projector = small(kind)
    assert projector(torch.randn(1, 144, WIDTH_IN)).shape == (1, cfg.num_tokens(144), WIDTH_OUT)


# published for CLIP-L/14 at 224 px (256 patches of width 1024), in millions
@pytest.mark.parametrize(
    ("kind", "tokens", "width", "millions"),
    [
        ("linear", 256, 4096, 4.20),
        ("mlp", 256, 4096, 20.98),
        ("mlp", 256, 2048, 6.30),
        ("mlp", 256, 5120, 31.5),
        ("pool_mlp", 64, 4096, 20.98),
        ("perceiver", 64, 2048, 65.1),
        ("perceiver", 64, 4096, 67.2),
        ("resampler", 64, 4096, 106.1),
        ("qformer", 32, 4096, 104.8),
        ("c_abs", 144, 4096, 37.1),
        ("c_abs", 144, 2048, 22.4),
        ("c_abs", 144, 5120, 47.6),
        ("d_abs", 144, 4096, 55.6),
    ],
)
def test_projectors_have_the_published_sizes(kind: ProjectorKind, tokens: int, width: int, millions: float) -> None:
    with torch.device("meta"):
        projector = make_projector(ProjectorCfg(kind=kind, tokens=tokens), 256, 1024, width)
    assert sum(p.numel() for p in projector.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_a_bottleneck_and_a_pixel_shuffle_have_their_exact_sizes() -> None:
    with torch.device("meta"):
        abstractor = CAbstractor(ProjectorCfg(kind="c_abs", tokens=144), 256, 1024, 4096)
        shuffle = PixelShuffle(ProjectorCfg(kind="pixel_shuffle"), 768, 576)
    assert sum(p.numel() for p in abstractor.before[1].parameters()) == 2_638_080
    assert sum(p.numel() for p in shuffle.parameters()) == 4 * 768 * 576


def test_pixel_shuffle_lays_a_cell_out_row_by_row() -> None:
    shuffle = PixelShuffle(ProjectorCfg(kind="pixel_shuffle", factor=2), 1, 4)
    with torch.no_grad():
        shuffle.proj.weight.copy_(torch.eye(4))
    grid = torch.arange(16.0).view(1, 16, 1)
    assert shuffle(grid)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_pooling_takes_the_mean_of_each_cell() -> None:
    pool = PoolMlp(ProjectorCfg(kind="pool_mlp", tokens=4, mlp_depth=1), 1, 1)
    with torch.no_grad():
        pool.mlp[0].weight.fill_(1.0)
        pool.mlp[0].bias.zero_()
    assert pool(torch.arange(16.0).view(1, 16, 1))[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]


def test_a_c_abstractor_without_depth_is_pooling_and_a_readout() -> None:
    _, projector = small("c_abs", depth=0)
    assert [name for name, _ in projector.named_children() if list(projector.get_submodule(name).parameters())] == [
        "readout"
    ]
    flat = torch.ones(1, 64, WIDTH_IN)
    with torch.no_grad():
        projector.places.zero_()
    out = projector(flat)
    torch.testing.assert_close(out, out[:, :1].expand_as(out))


def test_a_new_d_abstractor_looks_in_detrs_directions() -> None:
    projector = DAbstractor(ProjectorCfg(kind="d_abs", tokens=4, hidden=32, heads=4, depth=1), 64, 32, 8)
    offsets = projector.layers[0].offsets.bias.detach().view(4, 4, 2)
    torch.testing.assert_close(offsets[:, 0], torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(offsets[:, 3], 4 * offsets[:, 0])
    torch.testing.assert_close(projector.points, torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]))


def test_deformable_attention_samples_where_it_says() -> None:
    projector = DAbstractor(ProjectorCfg(kind="d_abs", tokens=1, hidden=8, heads=1, depth=1), 16, 8, 8)
    layer = projector.layers[0]
    with torch.no_grad():
        layer.value.weight.copy_(torch.eye(8))
        layer.offsets.bias.copy_(torch.tensor([[1.0, 0.0]] * 4).flatten())  # one cell to the right of the point
    x = torch.randn(1, 16, 8)
    seen = layer._look(torch.zeros(1, 1, 8), torch.tensor([[0.375, 0.625]]), x)  # the centre of row 2, column 1
    torch.testing.assert_close(seen[0, 0], x[0, 2 * 4 + 2])


def test_a_projector_that_does_not_fit_the_encoder_is_refused() -> None:
    with pytest.raises(TrainError, match="9x9 patches cannot be folded by 2"):
        small("pixel_shuffle", num_patches=81)
