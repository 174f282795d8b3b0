"""The chunked loss is the plain one, in value and in gradient."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
import torch.nn.functional as F

from vldata.train.batch import IGNORED
from vldata.train.loss import score, summed_loss

torch.set_num_threads(1)

ROWS, WIDTH, VOCAB = 17, 8, 30


def inputs(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, VOCAB, (ROWS,), generator=random)
    labels[::3] = IGNORED
    hidden = torch.randn(ROWS, WIDTH, generator=random, dtype=dtype)
    return [
        hidden,
        labels,
        torch.rand(ROWS, generator=random),
        torch.randn(VOCAB, WIDTH, generator=random, dtype=dtype),
    ]


def plain(hidden: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """All logits at once."""
    costs = F.cross_entropy(hidden @ head.T, labels, ignore_index=IGNORED, reduction="none")
    return (costs * weights).sum()


@pytest.mark.parametrize("chunk_logits", [1, VOCAB * 4, 1 << 20])
def test_chunks_have_the_loss_and_gradients_of_full_logits(chunk_logits: int) -> None:
    results = []
    for loss in (plain, lambda *x: summed_loss(*x, chunk_logits=chunk_logits)):
        hidden, labels, weights, head = inputs()
        hidden.requires_grad_()
        head.requires_grad_()
        value = loss(hidden, labels, weights, head)
        (value * 0.25).backward()
        results.append((value.detach(), hidden.grad, head.grad))
    for result, expected in zip(*results, strict=True):
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


def test_unsupervised_rows_never_reach_the_head() -> None:
    hidden, labels, weights, head = inputs()
    hidden[labels == IGNORED] = float("nan")
    assert summed_loss(hidden, labels, weights, head).isfinite()


def test_a_frozen_head_gets_no_gradient_but_passes_it_on() -> None:
    hidden, labels, weights, head = inputs()
    hidden.requires_grad_()
    summed_loss(hidden, labels, weights, head).backward()
    assert head.grad is None
    assert hidden.grad is not None
    assert hidden.grad[labels == IGNORED].abs().max() == 0
    assert hidden.grad[labels != IGNORED].abs().amin(1).min() > 0


def test_a_pack_without_labels_has_no_loss_and_gradients_of_zero() -> None:
    hidden, labels, weights, head = inputs()
    head.requires_grad_()
    hidden.requires_grad_()
    loss = summed_loss(hidden, torch.full_like(labels, IGNORED), weights, head)
    loss.backward()
    assert loss == 0
    assert head.grad is not None
    assert head.grad.abs().max() == 0


def test_weights_multiply_their_rows_alone() -> None:
    hidden, labels, weights, head = inputs()
    apart = [summed_loss(hidden[t : t + 1], labels[t : t + 1], torch.ones(1), head) * weights[t] for t in range(ROWS)]
    torch.testing.assert_close(summed_loss(hidden, labels, weights, head), torch.stack(apart).sum())


def test_half_precision_keeps_its_types_and_sums_in_full() -> None:
    hidden, labels, weights, head = inputs(torch.bfloat16)
    hidden.requires_grad_()
    head.requires_grad_()
    loss = summed_loss(hidden, labels, weights, head)
    loss.backward()
    assert (loss.dtype, hidden.grad.dtype, head.grad.dtype) == (torch.float32, torch.bfloat16, torch.bfloat16)
    torch.testing.assert_close(loss, plain(hidden.float(), labels, weights, head.float()), rtol=2e-2, atol=0)


def test_autocast_runs_the_head_in_half_precision_and_returns_full_gradients() -> None:
    hidden, labels, weights, head = inputs()
    hidden.requires_grad_()
    head.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = summed_loss(hidden, labels, weights, head)
    loss.backward()
    exact = plain(hidden, labels, weights, head)
    assert loss != exact
    torch.testing.assert_close(loss, exact, rtol=2e-2, atol=0)
    assert hidden.grad.dtype == head.grad.dtype == torch.float32


def test_the_score_is_the_likelihood_of_each_label_and_the_likeliest_token() -> None:
    hidden, _, _, head = inputs()
    labels = (hidden @ head.T).argmax(-1)
    labels[3] = (labels[3] + 1) % VOCAB
    for chunk_logits in (1, 1 << 20):
        costs, best = score(hidden, labels, head, chunk_logits)
        torch.testing.assert_close(costs, F.cross_entropy(hidden @ head.T, labels, reduction="none"))
        assert (best == labels).tolist() == [t != 3 for t in range(ROWS)]
    nothing = score(hidden[:0], labels[:0], head)
    assert [len(part) for part in nothing] == [0, 0]
