"""Low-rank updates: nothing at first, exact when merged, and the only thing that learns."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tests.train.packs import DOCUMENTS, SMALL, model, packed
from vldata.train.config import LoraCfg, StageCfg, TrainError
from vldata.train.lora import LoRALinear, add_lora, merge_lora
from vldata.train.loss import summed_loss
from vldata.train.model import apply_stage, param_groups

STAGE = StageCfg(lr_projector=2e-5, lr_decoder=2e-4, lora=LoraCfg(rank=4, alpha=8.0))


def moved(vlm) -> None:  # type: ignore[no-untyped-def]
    """Give the updates something to say."""
    with torch.no_grad():
        for part in vlm.modules():
            if isinstance(part, LoRALinear):
                part.lora_b.normal_(std=0.05)


def test_a_new_update_changes_nothing() -> None:
    vlm, batch = model(), packed(DOCUMENTS)
    before = vlm(batch)
    assert add_lora(vlm.decoder, LoraCfg(rank=4)) == 2 * 7
    assert torch.equal(vlm(batch), before)


def test_merging_gives_the_same_hidden_states_and_plain_layers() -> None:
    vlm, batch = model().eval(), packed(DOCUMENTS)
    names = set(vlm.state_dict())
    before = vlm(batch)
    add_lora(vlm.decoder, LoraCfg(rank=4, alpha=8.0, dropout=0.5))
    moved(vlm)
    wrapped = vlm.eval()(batch)
    assert merge_lora(vlm.decoder) == 2 * 7
    assert set(vlm.state_dict()) == names
    assert (wrapped - before).abs().max() > 1e-2
    torch.testing.assert_close(vlm(batch), wrapped, atol=1e-5, rtol=1e-5)


def test_only_updates_and_projector_learn() -> None:
    vlm, batch = model(), packed(DOCUMENTS)
    apply_stage(vlm, STAGE)
    free = {name for name, p in vlm.named_parameters() if p.requires_grad}
    assert all(name.startswith("projector.") or ".lora_" in name for name in free)
    assert len([name for name in free if ".lora_" in name]) == 2 * 2 * 7
    frozen = {name: p.detach().clone() for name, p in vlm.named_parameters() if name not in free}
    optimizer = torch.optim.AdamW(param_groups(vlm, STAGE), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        summed_loss(vlm(batch), batch.labels, batch.weights, vlm.head_weight).backward()
        optimizer.step()
    assert all(torch.equal(p, frozen[name]) for name, p in vlm.named_parameters() if name in frozen)
    assert all(part.lora_b.abs().max() > 0 for part in vlm.modules() if isinstance(part, LoRALinear))


def test_the_next_stage_begins_with_the_updates_merged() -> None:
    vlm, batch = model(), packed(DOCUMENTS)
    apply_stage(vlm, STAGE)
    moved(vlm)
    before = vlm(batch)
    apply_stage(vlm, StageCfg(lr_decoder=1e-3))
    assert not any(isinstance(part, LoRALinear) for part in vlm.modules())
    assert all(p.requires_grad for p in vlm.decoder.parameters())
    torch.testing.assert_close(vlm(batch), before, atol=1e-5, rtol=1e-5)


def test_targets_choose_layers_by_name() -> None:
    vlm = model()
    assert add_lora(vlm.decoder, LoraCfg(rank=2, targets=r".*\.(q|v)_proj")) == 4
    with pytest.raises(TrainError, match="matches no layer"):
        add_lora(model().decoder, LoraCfg(rank=2, targets=r"q_proj"))


def test_updates_of_a_half_precision_model_are_learnt_in_full() -> None:
    vlm = model(SMALL.replace(seed=1))
    apply_stage(vlm, STAGE, frozen_dtype=torch.bfloat16)
    dtypes = {name: p.dtype for name, p in vlm.named_parameters()}
    for name, dtype in dtypes.items():
        is_learnt = ".lora_" in name or name.startswith("projector.")
        assert dtype == (torch.float32 if is_learnt else torch.bfloat16), name
    batch = packed(DOCUMENTS)
    with torch.autocast("cpu", torch.bfloat16):
        loss = summed_loss(vlm(batch), batch.labels, batch.weights, vlm.head_weight)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vlm.parameters() if p.requires_grad)
