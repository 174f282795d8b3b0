"""The whole model: documents that share a pack never notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch

from tests.train.packs import DOCUMENTS, PER_IMAGE, SMALL, document, model, packed
from vldata.train.batch import Batch
from vldata.train.config import PARTS, DecoderCfg, ProjectorCfg, StageCfg, TrainCfg, TrainError
from vldata.train.loss import summed_loss
from vldata.train.model import VLM, apply_stage, param_groups

QWEN3 = SMALL.replace(decoder=SMALL.decoder.replace(family="qwen3", head_width=8, tied=False))
C_ABS = SMALL.replace(projector=ProjectorCfg(kind="c_abs", tokens=4, hidden=16, depth=1))
CONFIGS = pytest.mark.parametrize("cfg", [SMALL, QWEN3, C_ABS], ids=["llama", "qwen3", "c_abs"])


def gradients(vlm: VLM, batches: list[Batch]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients summed over batches."""
    vlm.zero_grad()
    total = 0.0
    for batch in batches:
        loss = summed_loss(vlm(batch), batch.labels, batch.weights, vlm.head_weight)
        loss.backward()
        total += loss.item()
    return total, {name: p.grad.clone() for name, p in vlm.named_parameters() if p.grad is not None}


@CONFIGS
def test_a_pack_has_the_loss_and_gradients_of_its_documents_alone(cfg: TrainCfg) -> None:
    vlm = model(cfg)
    loss, grads = gradients(vlm, [packed(DOCUMENTS)])
    alone, grads_alone = gradients(vlm, [packed([document]) for document in DOCUMENTS])
    assert loss == pytest.approx(alone, rel=1e-5)
    assert grads.keys() == grads_alone.keys() == dict(vlm.named_parameters()).keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, grads_alone[name], atol=1e-5 * max(1.0, grad.abs().max().item()), rtol=1e-5)


@CONFIGS
def test_the_order_of_documents_changes_none(cfg: TrainCfg) -> None:
    vlm = model(cfg).eval()
    lengths = [len(d["ids"]) for d in DOCUMENTS]
    order = [2, 0, 3, 1]
    straight = vlm(packed(DOCUMENTS)).split(lengths)
    turned = vlm(packed([DOCUMENTS[n] for n in order])).split([lengths[n] for n in order])
    for place, n in enumerate(order):
        torch.testing.assert_close(turned[place], straight[n], atol=1e-5, rtol=1e-5)


@CONFIGS
@pytest.mark.parametrize("changed", range(4))
def test_a_changed_document_changes_itself_alone(cfg: TrainCfg, changed: int) -> None:
    vlm = model(cfg).eval()
    lengths = [len(d["ids"]) for d in DOCUMENTS]
    others = [document(lengths[n], len(d["images"]), 100 + n) if n == changed else d for n, d in enumerate(DOCUMENTS)]
    before, after = vlm(packed(DOCUMENTS)).split(lengths), vlm(packed(others)).split(lengths)
    assert [(a - b).abs().max().item() > 1e-4 for a, b in zip(before, after, strict=True)] == [
        n == changed for n in range(4)
    ]


def test_another_image_moves_what_comes_after_it_in_its_own_document() -> None:
    vlm = model().eval()
    other = [document(11, 1, 1, image_seed=50), *DOCUMENTS[1:]]
    moved = (vlm(packed(DOCUMENTS)) - vlm(packed(other))).abs().amax(1) > 1e-5
    assert moved.tolist() == [n < 11 for n in range(38)]


def test_images_go_to_their_places_in_order() -> None:
    vlm = model()
    batch = packed(DOCUMENTS)
    seen = {}
    vlm.decoder.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    vlm(batch)
    assert batch.images is not None
    visual = vlm.encode(batch.images)
    assert visual.shape == (3, PER_IMAGE, 24)
    torch.testing.assert_close(seen["x"][batch.image_places], visual.flatten(0, 1))
    text = (batch.ids != 3).nonzero().squeeze(1)
    torch.testing.assert_close(seen["x"][text], vlm.decoder.embed_tokens(batch.ids[text]))


def test_a_lost_place_names_its_sample() -> None:
    batch = packed(DOCUMENTS)
    batch.image_places = torch.cat([batch.image_places[:6], batch.image_places[7:]])
    with pytest.raises(TrainError, match=r"sample s2 \(7 places\): 3 images of 4 visual tokens need 12 places"):
        model()(batch)


def test_a_lost_image_names_all_samples_that_have_some() -> None:
    batch = packed(DOCUMENTS)
    assert batch.images is not None
    batch.images = batch.images[:2]
    with pytest.raises(TrainError, match=r"s0 \(4 places\), s2 \(8 places\)"):
        model()(batch)
    batch.images = None
    with pytest.raises(TrainError, match="0 images"):
        model()(batch)


def test_a_pack_of_text_alone_has_gradients_of_zero_for_all_that_sees() -> None:
    vlm = model()
    _, grads = gradients(vlm, [packed([DOCUMENTS[1], DOCUMENTS[3]])])
    assert grads.keys() == dict(vlm.named_parameters()).keys()
    assert all(g.abs().max().item() == 0 for name, g in grads.items() if not name.startswith("decoder."))


@pytest.mark.parametrize("free", [("projector",), ("projector", "decoder"), PARTS])
def test_frozen_parts_stay_as_they_are_and_have_no_optimizer_state(free: tuple[str, ...]) -> None:
    vlm, batch = model(), packed(DOCUMENTS)
    stage = StageCfg(**{f"lr_{part}": 0.01 for part in free}, weight_decay=0.1)  # type: ignore[arg-type]
    apply_stage(vlm, stage)
    before = {name: p.detach().clone() for name, p in vlm.named_parameters()}
    optimizer = torch.optim.AdamW(param_groups(vlm, stage))
    for _ in range(2):
        optimizer.zero_grad()
        summed_loss(vlm(batch), batch.labels, batch.weights, vlm.head_weight).backward()
        optimizer.step()
    moved = {name for name, p in vlm.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if name.split(".")[0] in free}
    owned = {id(p) for p in optimizer.state}
    assert owned == {id(p) for name, p in vlm.named_parameters() if name.split(".")[0] in free}


def test_groups_have_their_parts_rate_and_spare_vectors_the_decay() -> None:
    vlm = model()
    stage = StageCfg(lr_vision=1.0, lr_projector=2.0, lr_decoder=3.0, weight_decay=0.1)
    apply_stage(vlm, stage)
    groups = param_groups(vlm, stage)
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in groups] == [
        ("vision", 1.0, 0.1),
        ("vision.vectors", 1.0, 0.0),
        ("projector", 2.0, 0.1),
        ("decoder", 3.0, 0.1),
        ("decoder.vectors", 3.0, 0.0),
    ]
    members = [p for g in groups for p in g["params"]]
    assert len(members) == len({id(p) for p in members}) == len(list(vlm.parameters()))


def test_a_frozen_encoder_keeps_no_graph() -> None:
    vlm, batch = model(), packed(DOCUMENTS)
    apply_stage(vlm, StageCfg(lr_projector=1.0))
    assert batch.images is not None
    assert not vlm.vision(batch.images).requires_grad
    assert vlm.encode(batch.images).requires_grad


def test_empty_documents_at_the_end_change_nothing() -> None:
    vlm, batch = model().eval(), packed(DOCUMENTS)
    before = vlm(batch)
    padded = replace(batch, cu_seqlens=torch.cat([batch.cu_seqlens, batch.cu_seqlens[-1:].repeat(3)]))
    assert torch.equal(vlm(padded), before)


def test_the_model_overfits_four_samples() -> None:
    vlm, batch = VLM(SMALL), packed(DOCUMENTS)
    optimizer = torch.optim.AdamW(param_groups(vlm, SMALL.stages[0]), lr=1.0)
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    weight = float(batch.weights[batch.labels >= 0].sum())
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = summed_loss(vlm(batch), batch.labels, batch.weights, vlm.head_weight) / weight
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(torch.tensor(40.0).log().item(), rel=0.1)
    assert losses[-1] < 0.1


def test_a_vocabulary_of_unknown_size_is_refused() -> None:
    with pytest.raises(TrainError, match="size of the vocabulary is unknown"):
        VLM(SMALL.replace(decoder=DecoderCfg()))


def test_a_batch_moves_whole() -> None:
    batch = packed(DOCUMENTS).to("meta")
    assert {value.device.type for value in vars(batch).values() if isinstance(value, torch.Tensor)} == {"meta"}
    assert batch.sample_ids == ["s0", "s1", "s2", "s3"]
