"""What sources say about images, as samples in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import box, columns_of, facts_of
from vldata.generate import samples as synth_samples
from vldata.generate.samples import SynthSample, SynthSamples, samples_of, with_facts
from vldata.generate.sources import synth_source
from vldata.llm.request import image_part
from vldata.pipeline.build import with_corpora
from vldata.pipeline.session import open_session
from vldata.recipe.load import from_tree
from vldata.schema.boxes import Box
from vldata.schema.keyed import keyed, string_keys
from vldata.schema.turns import COMMON
from vldata.synth.generate import first_requests, outcomes
from vldata.synth.inputs import Inputs, Reading, Region, inputs_text
from vldata.synth.kinds import load_kind
from vldata.synth.models import Synth

FULL = SynthSample(
    Inputs(
        "a.jpg",
        ("A cat.", "Ein Kätzchen 🐈."),
        (Region("cat", 0.25, 0.0, 1.0, 0.5),),
        (Reading("EXIT", Box(0.1, 0.2, 0.3, 0.4), "tool"), Reading("way")),
        (image_part("0" * 32, max_side_px=512),),
        {"question": "What?"},
    ),
    ("a.jpg",),
    ((640, 480),),
)


def plain(number: int) -> Iterator[SynthSample]:
    return (SynthSample(Inputs(f"{n}.jpg", (f"Picture {n}.",))) for n in range(number))


def test_samples_come_back_whole_and_as_often_as_needed(tmp_path: Path) -> None:
    samples = SynthSamples(tmp_path, iter([FULL, *plain(3)]), seed=1, source="chat")
    assert len(samples) == 4
    assert list(samples) == list(samples)
    assert [s.inputs for s in samples] == list(samples.inputs) == list(samples.inputs)
    (back,) = (sample for sample in samples if sample.images)
    assert back == FULL
    assert list(tmp_path.iterdir()) == []  # the file has no name


def test_their_order_is_that_of_their_keyed_ranks_however_many_are_ranked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n}.jpg" for n in range(50)]
    ranks = dict(zip(names, keyed(string_keys(names), 7, "synth", "chat").tolist(), strict=True))
    expected = sorted(names, key=ranks.__getitem__)
    digests = set()
    for at_once in (1, 7, 1_000):
        monkeypatch.setattr(synth_samples, "_AT_ONCE", at_once)
        samples = SynthSamples(tmp_path, plain(50), seed=7, source="chat")
        assert [sample.inputs.row for sample in samples] == expected
        digests.add(samples.digest)
    assert len(digests) == 1
    few = SynthSamples(tmp_path, plain(50), seed=7, source="chat", total=5)
    assert [sample.inputs.row for sample in few] == expected[:5]
    assert few.digest not in digests
    assert SynthSamples(tmp_path, plain(50), seed=8, source="chat").digest not in digests


def test_no_samples_are_none(tmp_path: Path) -> None:
    assert list(SynthSamples(tmp_path, iter(()), seed=1, source="chat")) == []


def test_what_all_sources_say_about_an_image_is_one_sample(tmp_path: Path) -> None:
    sources = {
        "captions": {"format": "shapes", "scenes": 12},
        "boxes": {"format": "shapes", "scenes": 12, "task": "rec"},
        "chat": {"synth": {"from": ["captions", "boxes"], "kind": "llava.detail", "model": "tiny"}},
    }
    tree = {"name": "x", "sources": sources, "mixture": {"sources": {"captions": 0, "boxes": 0, "chat": 1}}}
    recipe = from_tree(tree)
    with open_session(tmp_path / "store", 1) as session:
        samples = list(synth_source(with_corpora(recipe, session), "chat", session).samples)
    rows = [sample.inputs.row for sample in samples]
    assert len(rows) == len(set(rows))
    complete = [sample.inputs for sample in samples if sample.inputs.captions and sample.inputs.boxes]
    assert complete
    for sample in samples:
        assert sample.images == (sample.inputs.row,)
        assert [part["type"] for part in sample.inputs.images] == ["image"]
        assert sample.sizes[0] is not None
        assert all(0 <= value <= 1 for region in sample.inputs.boxes for value in region.box)


FULL_BOX = (0.0, 0.0, 200.0, 100.0)


def samples_about(
    boxes: dict[str, Any], kind: str = "llava.detail", sizes: tuple[int, int] | None = None, **settings: Any
) -> list[Inputs]:
    """What is known of ``a.jpg``, 200 x 100 px: a caption, and a rec turn for each row of ``boxes``.

    Args:
        boxes: Row -> its box.
        kind: What is made.
        sizes: As the boxes were annotated on.
        settings: Of the source of the boxes.
    """
    table = {"format": "table", "path": "/nowhere/rows.jsonl"}
    made_from = {"captions": {**table, "task": "caption"}, "refs": {**table, "task": "rec", **settings}}
    chat = {"synth": {"from": [*made_from], "kind": kind, "model": "tiny"}}
    entries = from_tree({"name": "x", "sources": {**made_from, "chat": chat}}).entries
    common: dict[str, Any] = {"images": ["a.jpg"], "image_sizes": sizes and [{"width": sizes[0], "height": sizes[1]}]}
    refs = [{**common, "row": row, "phrase": f"thing {row}", "boxes": [one]} for row, one in boxes.items()]
    rows = {"captions": [{**common, "row": "c", "caption": "Two things."}], "refs": refs}
    facts = facts_of([{"ref": "a.jpg", "hash": "0" * 32}])
    turns = []
    for name in made_from:
        schema = {**COMMON, **columns_of(entries[name].task.name)}
        frame = pl.DataFrame([dict.fromkeys(schema) | row for row in rows[name]], schema=schema)
        turns.append(with_facts(frame.drop("problem", "detail", "urls"), facts, entries[name]))
    found = samples_of([entries[name] for name in made_from], turns, load_kind(kind), entries["chat"])
    return [sample.inputs for sample in found]


@pytest.mark.parametrize("side", range(4))
def test_a_box_that_sticks_out_by_a_pixel_is_clamped_and_one_by_more_is_not_shown(side: int) -> None:
    inside, outside = list(FULL_BOX), list(FULL_BOX)
    inside[side] += (-0.9, -0.9, 0.9, 0.9)[side]
    outside[side] += (-1.1, -1.1, 1.1, 1.1)[side]
    (sample,) = samples_about({"1": box(*inside), "2": box(*outside)})
    assert sample.boxes == (Region("thing 1", 0.0, 0.0, 1.0, 1.0),)
    corners = ", ".join(map(str, outside))
    assert sample.rejected == (("box_outside_image", f"refs/2: [{corners}] on 200x100"),)
    shown = inputs_text(sample, load_kind("llava.detail").settings.layout)
    assert shown == "Two things.\n\nthing 1: [0.0, 0.0, 1.0, 1.0]"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (box(300.0, 10.0, 400.0, 90.0), "box_outside_image"),  # clamped it would have no area
        (box(50.0, 10.0, 50.0, 90.0), "box_empty"),
        (box(90.0, 10.0, 50.0, 90.0), "box_corners_swapped"),
        (box(10.0, 10.0, 50.0, 90.0, image=1), "box_wrong_image"),
        ({**box(10.0, 10.0, 50.0, 90.0), "x1": None}, "no_box"),
    ],
)
def test_a_sample_whose_boxes_a_build_rejects_is_not_sent_and_says_why(wrong: Any, reason: str) -> None:
    found = samples_about({"7": wrong})
    kind, spec = load_kind("llava.detail"), Synth.model_validate({"from": "refs", "kind": "llava.detail", "model": "m"})
    assert list(first_requests(found, kind, spec)) == []
    ((draw,), judging) = next(outcomes(found, kind, spec, NoAnswers()))
    assert (draw.problem, draw.requests, judging) == (reason, (), [])
    assert draw.detail is not None
    assert draw.detail.startswith("refs/7: [") and draw.detail.endswith("; it lacks boxes")


class NoAnswers:
    def get(self, request: object) -> None:
        raise AssertionError("nothing was to be sent")

    failure = get


def test_a_turn_whose_boxes_were_annotated_on_another_size_says_nothing() -> None:
    (sample,) = samples_about({"1": box(10.0, 10.0, 50.0, 90.0)}, sizes=(400, 200))
    assert (sample.boxes, sample.rejected[0][0]) == ((), "image_size_mismatch")


def test_boxes_in_fractions_are_held_to_the_same_pixel() -> None:
    found = samples_about(
        {"1": box(-0.004, 0.0, 1.0, 1.0), "2": box(-0.006, 0.0, 1.0, 1.0)}, boxes_are="fraction", box_order="xyxy"
    )
    assert found[0].boxes == (Region("thing 1", 0.0, 0.0, 1.0, 1.0),)
    assert [reason for reason, _ in found[0].rejected] == ["box_outside_image"]


def test_where_a_turn_is_a_sample_one_that_a_build_rejects_stays_one_and_lacks_everything() -> None:
    good, wrong = box(10.0, 10.0, 50.0, 90.0), box(10.0, 10.0, 250.0, 90.0)
    caption, kept, lost = samples_about({"1": good, "2": wrong}, kind="text.evolution")
    assert (caption.row, kept.row, lost.row) == ("captions/c", "refs/1", "refs/2")
    assert kept.fields == {"text": "thing 1"}
    assert (lost.captions, lost.boxes, lost.fields) == ((), (), {})
    assert lost.rejected == (("box_outside_image", "refs/2: [10.0, 10.0, 250.0, 90.0] on 200x100"),)


def test_each_turn_is_read_as_its_own_sources_task_has_it() -> None:
    caption, ref = samples_about({"1": box(10.0, 10.0, 50.0, 90.0)}, kind="text.evolution")
    assert (caption.row, caption.fields) == ("captions/c", {"text": "Two things."})
    assert (ref.row, ref.fields) == ("refs/1", {"text": "thing 1"})
