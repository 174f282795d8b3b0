"""What sources say about images, as samples in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vldata.generate import samples as synth_samples
from vldata.generate.samples import SynthSample, SynthSamples
from vldata.generate.sources import synth_source
from vldata.llm.request import image_part
from vldata.pipeline.build import with_corpora
from vldata.pipeline.session import open_session
from vldata.recipe.load import from_tree
from vldata.schema.boxes import Box
from vldata.schema.keyed import keyed, string_keys
from vldata.synth.inputs import Inputs, Reading, Region

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


def test_samples_come_back_whole_and_as_often_as_wanted(tmp_path: Path) -> None:
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
