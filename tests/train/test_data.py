from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

import torch
from datasets import Dataset

from vldata.errors import BuildError
from vldata.train import collate, data, tokenizer
from vldata.train.batch import IGNORED

K = 4
"""Visual tokens of an image in these tests."""


def row(**changed: Any) -> dict[str, Any]:
    """A finished row with one image and two turns."""
    question = {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What color?"}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "red"}]}
    again = {"role": "user", "content": [{"type": "text", "text": "And the <image>?"}]}
    then = {"role": "assistant", "content": [{"type": "text", "text": "blue or so"}]}
    return {
        "id": "a/1",
        "images": [{"bytes": b"x", "path": None}],
        "messages": [question, answer, again, then],
        "source": "a",
        "task": "vqa_open",
        "turns": [{"row": "1", "variant": "user", "boxes": [], "weight": 1.0}] * 2,
        **changed,
    }


def written(folder: Path, *rows: dict[str, Any]) -> data.Split:
    Dataset.from_list(list(rows)).save_to_disk(str(folder))
    return data.splits(folder)["train"]


def test_a_dataset_made_elsewhere_is_read(tmp_path: Path) -> None:
    split = written(tmp_path / "d", row(), row(id="b/2"))
    first, second = split.samples()
    assert (first.id, second.id, first.num_images, len(first.turns)) == ("a/1", "b/2", 1, 2)
    assert first.messages[0] == ("user", (None, "What color?"))
    assert split.image(1, 0) == b"x"


def test_a_build_is_read_with_its_splits(small_build: Path) -> None:
    result = data.splits(small_build)
    assert set(result) == {"train", "val"} and sum(map(len, result.values())) == 120
    for split in result.values():
        assert all(split.id(place) == sample.id for place, sample in enumerate(split.samples()))


def test_the_learnt_tokens_decode_to_exactly_the_assistants_text(small_build: Path) -> None:
    split = data.splits(small_build)["train"]
    samples = list(split.samples())
    form = tokenizer.from_texts(data.texts_of(samples))
    encoded = data.encode(samples, form)
    images = collate.SplitImages(split, 32)
    batch = collate.Collator(encoded, images, split.id, K)(tuple(range(len(samples))))
    starts = batch.cu_seqlens.tolist()
    for place, sample in enumerate(samples):
        labels = batch.labels[starts[place] : starts[place + 1]]
        said = [text for role, contents in sample.messages if role == "assistant" for text in contents]
        runs: list[list[int]] = [[]]
        for label in labels[labels != IGNORED].tolist():
            runs[-1].append(label)
            if label == form.end_id:
                runs.append([])
        assert runs.pop() == []
        assert [form.decode(run[:-1]) for run in runs] == said


def test_a_label_is_the_token_that_comes_next_in_its_own_document(small_build: Path) -> None:
    split = data.splits(small_build)["train"]
    encoded = data.encode(list(split.samples()), form := tokenizer.from_texts(["a b c"]))
    batch = collate.Collator(encoded, collate.SplitImages(split, 32), split.id, K)((3, 1, 2))
    learns = (batch.labels != IGNORED).nonzero()[:, 0]
    assert torch.equal(batch.labels[learns], batch.ids[learns + 1])
    assert not set(learns.tolist()) & set((batch.cu_seqlens[1:] - 1).tolist())
    assert torch.equal(batch.weights > 0, batch.labels != IGNORED)
    assert batch.positions.tolist() == [p for n in batch.cu_seqlens.diff().tolist() for p in range(n)]
    assert torch.equal(batch.image_places, (batch.ids == form.image_id).nonzero()[:, 0])
    assert batch.sample_ids == [split.id(place) for place in (3, 1, 2)]
    assert batch.images is None or len(batch.images) * K == len(batch.image_places)


def test_turn_weights_reach_the_loss(tmp_path: Path) -> None:
    turns = [{"row": "1", "variant": "user", "boxes": [], "weight": weight} for weight in (0.0, 2.5)]
    split = written(tmp_path / "d", row(turns=turns))
    encoded = data.encode(split.samples(), form := tokenizer.from_texts(["red blue"]))
    ids, weights = encoded.sample(0)
    assert form.decode(ids[weights == 2.5]) == "blue or so" and set(weights.tolist()) == {0.0, 2.5}


@pytest.mark.parametrize("weighting", ["token", "sample", "sqrt"])
def test_weighting_says_what_a_sample_counts(tmp_path: Path, weighting: Any) -> None:
    split = written(tmp_path / "d", row(images=[], messages=row()["messages"][2:], turns=row()["turns"][:1]))
    form = tokenizer.from_texts([""])  # bytes alone: "blue or so" is ten tokens, and its end
    encoded = data.encode(split.samples(), form)
    collator = collate.Collator(encoded.weighed(weighting), collate.SplitImages(split, 32), split.id, K)
    expected = {"token": 11.0, "sample": 1.0, "sqrt": 11**0.5}[weighting]
    assert collator.weight((0,)) == pytest.approx(expected)
    assert float(collator((0,)).weights.sum()) == pytest.approx(expected)


def test_a_row_whose_images_do_not_match_its_places_is_named(tmp_path: Path) -> None:
    split = written(tmp_path / "d", row(), row(id="b/2", images=[{"bytes": b"x", "path": None}] * 2))
    with pytest.raises(BuildError, match=r"row b/2: its messages have places for 1 images and it holds 2"):
        list(split.samples())


def test_a_row_whose_turns_do_not_match_its_answers_is_named(tmp_path: Path) -> None:
    split = written(tmp_path / "d", row(turns=row()["turns"][:1]))
    with pytest.raises(BuildError, match=r"row a/1: 1 turns are described and the assistant speaks 2 times"):
        list(split.samples())


def test_an_unknown_role_is_named(tmp_path: Path) -> None:
    messages = [{"role": "tool", "content": [{"type": "text", "text": "x"}]}]
    split = written(tmp_path / "d", row(images=[], messages=messages, turns=[]))
    with pytest.raises(BuildError, match="there is no role 'tool'"):
        list(split.samples())


def test_rows_of_another_objective_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no `messages`, only chosen, rejected"):
        written(tmp_path / "d", {"chosen": "a", "rejected": "b"})


def test_a_damaged_file_is_named(small_build: Path, tmp_path: Path) -> None:
    shutil.copytree(small_build, tmp_path / "b")
    file = next((tmp_path / "b" / "train").glob("*.arrow"))
    file.chmod(0o644)
    file.write_bytes(b"\x00" * 100)
    with pytest.raises(BuildError, match=file.name):
        data.splits(tmp_path / "b")


def test_an_image_that_cannot_be_decoded_names_its_row(tmp_path: Path) -> None:
    split = written(tmp_path / "d", row())
    with pytest.raises(BuildError, match="train a/1: image 0 cannot be decoded"):
        collate.SplitImages(split, 32).get(0, 0)


def test_an_image_that_is_not_there_names_its_row(tmp_path: Path) -> None:
    split = written(tmp_path / "d", row(images=[{"bytes": None, "path": "/nowhere/1.jpg"}]))
    with pytest.raises(BuildError, match=r"train a/1: its image '/nowhere/1\.jpg' cannot be read"):
        collate.SplitImages(split, 32).get(0, 0)


def test_the_blind_see_the_mean_colour_alone(small_build: Path) -> None:
    split = data.splits(small_build)["train"]
    index = next(place for place, sample in enumerate(split.samples()) if sample.num_images)
    seen, blind = (collate.SplitImages(split, 32, blind=b).get(index, 0).views[0] for b in (False, True))
    assert seen.shape == blind.shape == (3, 32, 32) and seen.std() > 0
    assert (blind == blind[:, :1, :1]).all()
    assert np.abs(blind[:, 0, 0].astype(float) - seen.reshape(3, -1).mean(1)).max() <= 0.5


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_batch(small_build: Path, workers: int) -> None:
    split = data.splits(small_build)["train"]
    encoded = data.encode(split.samples(), tokenizer.from_texts(["a b"]))
    collator = collate.Collator(encoded, collate.SplitImages(split, 32), split.id, K)
    packs = [(n, n + 1) for n in range(0, 40, 2)]
    for one, other in zip(collate.batches(packs, collator, 0), collate.batches(packs, collator, workers), strict=True):
        assert torch.equal(one.ids, other.ids) and one.sample_ids == other.sample_ids
        assert (one.images is None) == (other.images is None)
        assert one.images is None or torch.equal(one.images, other.images)


def test_a_worker_that_fails_tells_the_reader(tmp_path: Path) -> None:
    split = written(tmp_path / "d", row())
    encoded = data.encode(split.samples(), tokenizer.from_texts(["a b"]))
    collator = collate.Collator(encoded, collate.SplitImages(split, 32), split.id, K)
    with pytest.raises(BuildError, match="cannot be decoded"):
        list(collate.batches([(0,)], collator, 2))


def test_a_null_list_of_images_is_none(tmp_path: Path) -> None:
    lengths = data.num_images(pa.table({"images": pa.array([None, []], pa.list_(pa.string()))}))
    assert lengths.tolist() == [0, 0]
