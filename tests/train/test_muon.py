"""Muon's step is the library's, and its updates are orthogonal, whatever the shape of a matrix."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from vldata.train.muon import Muon, orthogonal  # noqa: E402

SHAPES = [(8, 8), (32, 8), (8, 32), (64, 48)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_the_library_s_but_for_its_rounding(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [Muon([ours], lr=0.1), torch.optim.Muon([theirs], lr=0.1, adjust_lr_fn="match_rms_adamw")]
    for _ in range(3):
        gradient = torch.randn(shape)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved  # bfloat16 has eight bits
    assert optimizers[0].state[ours].keys() == optimizers[1].state[theirs].keys()
    buffers = [
        optimizer.state[weight]["momentum_buffer"] for weight, optimizer in zip((ours, theirs), optimizers, strict=True)
    ]
    assert torch.allclose(*buffers)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_direction_is_left_behind(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    matrix = torch.randn(shape) @ torch.diag(torch.logspace(0, -2, shape[1]))
    singular = torch.linalg.svdvals(orthogonal(matrix))
    assert singular.max() < 1.3 and singular.median() > 0.6
    assert torch.isfinite(orthogonal(torch.zeros(shape))).all()
