"""A leaf is rendered, named by all that decides its bytes, and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from tests.pipeline.tables import leaf, words
from vldata.pipeline import render
from vldata.pipeline.finished_rows import RenderSettings
from vldata.pipeline.render import RenderedLeaf, RenderJob, render_job
from vldata.store.blocks import BLOCK, NOTE, PIECE, file_digest, is_whole, note_of
from vldata.store.store import Store

PIXELS = {"images": "embed", "max_side_px": None}
SAMPLES: list[dict[str, Any]] = [
    {"turns": [("who?", "me")], "images": []},
    {"turns": [("what is it?", "a cat"), ("sure?", "yes")], "split": "val"},
    {"turns": [("how many?", "two")], "images": ["1.jpg", "2.jpg"], "hashes": ["x", None], "split": "val"},
    {"turns": [("why?", "look")]},
]

Work = Callable[..., RenderedLeaf]


@pytest.fixture
def work(tmp_path: Path, store: Store) -> Work:
    """Render samples ``low`` to ``high`` of a source."""

    def rendered(
        samples: list[dict[str, Any]] = SAMPLES,
        low: int = 1,
        high: int = 3,
        *,
        said: RenderSettings | None = None,
        as_block: bool = False,
        pixels: Mapping[str, Any] = PIXELS,
    ) -> RenderedLeaf:
        job = written(tmp_path, samples, low, high, said or words(tmp_path), as_block, pixels)
        made = render_job(job, store)
        assert isinstance(made, RenderedLeaf)
        return made

    return rendered


def written(
    folder: Path,
    samples: list[dict[str, Any]],
    low: int,
    high: int,
    said: RenderSettings,
    as_block: bool = False,
    pixels: Mapping[str, Any] = PIXELS,
) -> RenderJob:
    of_samples, of_turns = leaf(*samples)
    ends = of_samples["num_turns"].cum_sum().cast(pl.Int64)
    paths = folder / "samples.arrow", folder / "turns.arrow"
    of_samples.with_columns(first_turn=ends - pl.col("num_turns").cast(pl.Int64)).write_ipc(paths[0])
    of_turns.write_ipc(paths[1])
    return RenderJob(*paths, low, high, int(of_samples["sample"][low]), said, as_block, pixels)


def read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).read_all()


def test_what_is_reported_of_a_leaf(work: Work) -> None:
    made = work()
    assert made == RenderedLeaf(
        key=made.key,
        first_rank=1 << 60,
        split="val",
        rows=2,
        num_images=3,
        num_turns=3,
        answer_chars=11,
        text_chars=36,
        image_bytes=30,
        size_bytes=made.size_bytes,
        is_new_block=False,
    )


def test_the_piece_holds_the_leafs_rows_and_what_pixels_need(work: Work, store: Store) -> None:
    made = work()
    path = store.path("pieces", made.key, PIECE)
    assert read(path).column("id").to_pylist() == ["src/1.0", "src/2.0"]
    assert path.stat().st_size == made.size_bytes
    note = json.loads(store.path("pieces", made.key, NOTE).read_text())
    assert note == {"hashes": ["#1.jpg", "x", None], "image_bytes": [10, 20]}
    assert not store.has("blocks", made.key, BLOCK)


def test_with_stored_paths_the_leaf_is_a_block_at_once(work: Work, store: Store) -> None:
    made = work(as_block=True)
    assert made.is_new_block
    assert is_whole(made.key, store)
    note = note_of(store, made.key)
    assert note is not None
    path = store.path("blocks", made.key, BLOCK)
    assert (note.rows, note.size_bytes, note.digest) == (2, made.size_bytes, file_digest(path))
    assert read(path).column("id").to_pylist() == ["src/1.0", "src/2.0"]
    assert not store.has("pieces", made.key, NOTE)
    assert not work(as_block=True).is_new_block
    store.remove("blocks", made.key, NOTE)  # a block without its note is none
    assert work(as_block=True).is_new_block


def changed(at: int, **values: Any) -> list[dict[str, Any]]:
    return [sample | values if place == at else sample for place, sample in enumerate(SAMPLES)]


def test_the_key_is_that_of_the_rows_the_hashes_of_their_images_and_what_is_done_to_these(
    work: Work, tmp_path: Path
) -> None:
    usual = work().key
    others = [
        work(changed(1, turns=[("what is it?", "a dog"), ("sure?", "yes")])),
        work(changed(1, hashes=["another"])),
        work(changed(2, hashes=["x", "known"])),
        work(changed(1, images=["elsewhere.jpg"], hashes=["#1.jpg"])),
        work(changed(1, sizes=[{"width": 200, "height": 101}])),
        work(pixels={**PIXELS, "max_side_px": 500}),
        work(pixels={**PIXELS, "images": "path"}),
        work(pixels={**PIXELS, "decode": True}),
        work(said=words(tmp_path, source="other")),
        work(said=words(tmp_path, image_position="after")),
        work(said=words(tmp_path, text="{% block user %}?{% endblock %}{% block assistant %}!{% endblock %}")),
        work(high=2),
    ]
    assert len({usual, *(made.key for made in others)}) == 1 + len(others)


def test_the_key_knows_nothing_of_the_rows_around_the_leaf(work: Work, tmp_path: Path) -> None:
    usual = work().key
    assert work(changed(0, turns=[("where?", "here")])).key == usual
    assert work(changed(3, hashes=["another"])).key == usual
    assert work(changed(1, image_bytes=99)).key == usual  # of the same hashes, so nobody's bytes differ
    assert work(as_block=True).key == usual
    assert work(pixels=dict(reversed(PIXELS.items()))).key == usual
    unused = words(tmp_path, dataset="called otherwise", max_side_px=5_000)
    assert work(said=unused).key == usual


def test_the_key_names_the_version_of_pixels_where_an_image_is_scaled_to_8_bits(work: Work, monkeypatch: Any) -> None:
    usual = work().key, work(changed(1, num_deep=1)).key
    assert usual[0] != usual[1]
    assert work(changed(1, num_deep=2)).key == usual[1]
    paths = {**PIXELS, "images": "path"}
    assert work(changed(1, num_deep=1), pixels=paths).key == work(pixels=paths).key
    monkeypatch.setattr(render, "PIXELS_VERSION", 99)
    assert work().key == usual[0]
    assert work(changed(1, num_deep=1)).key not in usual


def test_the_key_of_these_rows_for_ever(work: Work) -> None:
    """A store is found again by it: with another one, everything that was ever built is made again."""
    assert work().key == "b0bbfcbb5f1cf040d2484895f39f9471"


def test_the_rows_on_which_a_template_failed_are_returned_and_nothing_is_kept(tmp_path: Path, store: Store) -> None:
    samples = changed(2, turns=[("how many?", " ")])
    failed = render_job(written(tmp_path, samples, 1, 3, words(tmp_path)), store)
    assert failed == {"2.0": "empty_message: the assistant's text"}
    assert not (store.root / "pieces").exists()
    assert not (store.root / "blocks").exists()
