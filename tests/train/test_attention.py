"""Attention ends where a document ends, by whichever path."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vldata.train import attention
from vldata.train.attention import loop_attention, packed_attention

torch.set_num_threads(1)


def dense_attention(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, causal: bool = True) -> Tensor:
    """As `packed_attention`, by a mask of T x T: the reference."""
    repeats = q.shape[1] // k.shape[1]
    keys, values = (x.repeat_interleave(repeats, dim=1).transpose(0, 1) for x in (k, v))
    scores = q.transpose(0, 1) @ keys.transpose(1, 2) / q.shape[2] ** 0.5
    places = torch.arange(len(q), device=q.device)
    document = torch.searchsorted(cu_seqlens.long(), places, right=True)
    seen = document[:, None] == document[None]
    if causal:
        seen &= places[:, None] >= places[None]
    return (scores.masked_fill(~seen, float("-inf")).softmax(-1) @ values).transpose(0, 1)


def qkv(total: int, heads: int, groups: int, seed: int = 0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(total, n, 8, generator=random) for n in (heads, groups, groups)]


def cu(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    st.sampled_from([(4, 4), (4, 2), (6, 1)]),
    st.booleans(),
)
def test_the_loop_equals_the_dense_mask_forward_and_backward(
    lengths: list[int], heads: tuple[int, int], causal: bool
) -> None:
    results = []
    for path in (loop_attention, dense_attention):
        inputs = [x.requires_grad_() for x in qkv(sum(lengths), *heads)]
        out = path(*inputs, cu(lengths), causal)
        (out * torch.arange(out.numel()).view(out.shape).cos()).sum().backward()
        results.append([out, *(x.grad for x in inputs)])
    for result, expected in zip(*results, strict=True):
        torch.testing.assert_close(result, expected, atol=2e-6, rtol=2e-5)


def test_a_token_sees_its_own_past_and_nothing_else() -> None:
    lengths = [3, 4]
    q, k, v = qkv(7, 2, 2)
    before = packed_attention(q, k, v, cu(lengths), 4)
    for changed in range(7):
        other = v.clone()
        other[changed] += 1.0
        moved = (packed_attention(q, k, other, cu(lengths), 4) - before).abs().amax((1, 2)) > 1e-6
        expected = [changed <= t < (3 if changed < 3 else 7) for t in range(7)]
        assert moved.tolist() == expected


def test_the_wording_of_causality_follows_the_torch_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = frozenset({"is_causal", "scale"}), frozenset({"window_size", "enable_gqa"})
    monkeypatch.setattr(attention, "_varlen_parameters", lambda: old)
    assert attention._varlen_options(True) == {"is_causal": True}
    monkeypatch.setattr(attention, "_varlen_parameters", lambda: new)
    assert attention._varlen_options(True) == {"window_size": (-1, 0)}
    assert attention._varlen_options(False) == {"window_size": (-1, -1)}


def test_varlen_attention_takes_one_of_the_two_wordings() -> None:
    assert attention._varlen_parameters() & {"is_causal", "window_size"}


@pytest.mark.parametrize("parameters", [{"is_causal"}, {"window_size", "enable_gqa"}])
def test_the_kernel_gets_the_same_meaning_in_both_wordings(
    parameters: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself needs a GPU: one that speaks its language stands in for it."""

    def kernel(q, k, v, cu_q, cu_k, max_q, max_k, **options):  # type: ignore[no-untyped-def]
        assert options.keys() <= parameters
        assert q.shape[1] == k.shape[1] or options["enable_gqa"]
        assert (max_q, max_k) == (4, 4)
        is_causal = options.get("is_causal", options.get("window_size") == (-1, 0))
        return dense_attention(q, k, v, cu_q, is_causal)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    monkeypatch.setattr(attention, "_varlen_parameters", lambda: frozenset(parameters))
    inputs = qkv(7, 4, 2)
    for causal in (True, False):
        result = attention._varlen(*inputs, cu([3, 4]), 4, causal)
        torch.testing.assert_close(result, dense_attention(*inputs, cu([3, 4]), causal))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen_attn has a CUDA kernel only")
@pytest.mark.parametrize("groups", [4, 2])
def test_the_kernel_equals_the_dense_mask(groups: int) -> None:
    lengths = [5, 0, 130, 1, 64]
    inputs = [x.cuda().bfloat16() for x in qkv(sum(lengths), 4, groups)]
    places = cu(lengths).cuda()
    result = packed_attention(*inputs, places, 130)
    torch.testing.assert_close(
        result.float(), dense_attention(*(x.float() for x in inputs), places), atol=2e-2, rtol=2e-2
    )
