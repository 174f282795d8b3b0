"""Tiles: which grid, how many tokens, and every token where the image has it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from datasets import Dataset
from PIL import Image
from train.conftest import TINY

from vldata.errors import BuildError
from vldata.train import anyres, collate, data, run, tokenizer
from vldata.train.config import AnyResCfg, ProjectorCfg, StageCfg, TrainError, VisionCfg
from vldata.train.model import arranged
from vldata.train.overrides import config_of
from vldata.train.presets import PRESETS

torch.set_num_threads(1)

NEXT = AnyResCfg(grids=("1x2", "2x1", "2x2", "3x1", "1x3"))
ONE_VISION = AnyResCfg(max_side=6, max_views=9)


@pytest.mark.parametrize(
    ("size", "cfg", "side_px", "side", "grid", "cells", "tokens"),
    [
        ((640, 480), ONE_VISION, 384, 27, (2, 2), (40, 54), 2929),
        ((1920, 1080), ONE_VISION, 384, 27, (5, 3), (60, 108), 7269),
        ((400, 1600), ONE_VISION, 384, 27, (2, 5), (135, 34), 5454),
        ((384, 384), ONE_VISION, 384, 27, (1, 1), (27, 27), 1485),
        ((2304, 2304), ONE_VISION, 384, 27, (6, 6), (81, 81), 7371),
        ((1051, 1259), ONE_VISION, 384, 27, (3, 4), (98, 81), 8765),
        ((640, 480), NEXT, 336, 24, (2, 2), (36, 48), 2340),
        ((1920, 1080), NEXT, 336, 24, (2, 2), (28, 48), 1948),
    ],
)
def test_published_sizes_make_their_tokens(
    size: tuple[int, int], cfg: AnyResCfg, side_px: int, side: int, grid: Any, cells: Any, tokens: int
) -> None:
    result = anyres.layout(*size, cfg, side_px, side)
    assert ((result.columns, result.rows), (result.height, result.width)) == (grid, cells)
    assert result.tokens(side * side) == tokens and result.views == 1 + grid[0] * grid[1]


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (7, 3)])
def test_strange_images_have_a_map(size: tuple[int, int]) -> None:
    result = anyres.layout(*size, ONE_VISION, 384, 27)
    assert result.height > 0 and result.width > 0


def test_each_cell_stands_where_it_is_in_the_image() -> None:
    side_px, side = 8, 2
    one = anyres.layout(16, 24, AnyResCfg(grids=("2x3",)), side_px, side)  # fills its grid
    rows, columns = np.mgrid[:24, :16]
    image = np.stack([rows // 4, columns // 4, 0 * rows], axis=2).astype(np.uint8)
    tiles = torch.from_numpy(anyres.cut(image, one.columns, one.rows, side_px))
    # the "encoder": a cell is the pixel at its corner, so it knows its own row and column
    cells = tiles[:, :2, ::4, ::4].flatten(2).transpose(1, 2).float()
    whole = torch.full((1, 4, 2), -1.0)
    out = arranged(torch.cat([whole, cells]), [one], torch.tensor([-7.0, -7.0]))
    expected = [[-1.0, -1.0]] * 4
    for row in range(6):
        expected += [[float(row), float(column)] for column in range(4)] + [[-7.0, -7.0]]
    assert out.tolist() == expected


def test_black_rows_and_columns_are_cut_off() -> None:
    for size in ((32, 16), (16, 32)):
        one = anyres.layout(*size, AnyResCfg(grids=("2x2",)), 16, 4)
        tiles = anyres.cut(np.full((size[1], size[0], 3), 255, np.uint8), 2, 2, 16)
        cells = torch.from_numpy(tiles[:, 0, 2::4, 2::4]).flatten(1).float()[:, :, None]
        rows = arranged(torch.cat([cells[:1], cells]), [one], torch.tensor([255.0]))
        assert (one.height, one.width) in ((4, 8), (8, 4)) and bool((rows[16:] == 255).all())


def test_a_map_that_is_too_large_is_shrunk_evenly() -> None:
    one = anyres.layout(64, 64, AnyResCfg(grids=("4x4",), max_views=4), 16, 4)
    assert one.is_shrunk and (one.height, one.width) == (8, 8)
    rows = arranged(torch.full((17, 16, 3), 0.5), [one], torch.zeros(3))
    assert rows.shape == (16 + 8 * 9, 3) and rows[16:24].unique().tolist() == [0.5]


def test_a_projector_without_a_grid_and_a_grid_that_is_none_are_refused() -> None:
    config = PRESETS["tiny"].replace(projector=ProjectorCfg(kind="perceiver", tokens=16), anyres=NEXT)
    with pytest.raises(TrainError, match="stand in no grid"):
        anyres.cells_a_side(config, StageCfg())
    with pytest.raises(ValueError, match="'2by2' is no grid"):
        AnyResCfg(grids=("2by2",))


def png(width: int, height: int, seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A wide image, a tall one, two of one sample, and text alone; the size stands in one row only."""
    shapes = [[(64, 32)], [(32, 70)], [(40, 40), (64, 32)], []]
    rows = []
    for number, sizes in enumerate([*shapes, *shapes]):
        content = [{"type": "image", "text": None}] * len(sizes) + [{"type": "text", "text": f"What is {number}?"}]
        said = [{"type": "text", "text": f"it is {number}"}]
        rows.append(
            {
                "id": f"a/{number}",
                "images": [{"bytes": png(*size, number), "path": None} for size in sizes],
                "image_sizes": [{"width": w, "height": h} for w, h in sizes] if number == 0 else None,
                "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": said}],
                "source": "a",
                "task": "vqa_open",
            }
        )
    for split in ("train", "val"):
        Dataset.from_list(rows).save_to_disk(str(tmp_path / "build" / split))
    (tmp_path / "build" / "dataset_dict.json").write_text('{"splits": ["train", "val"]}')
    return tmp_path / "build"


TILES = ("anyres={grids: [2x1, 1x2, 2x2]}",)


def test_a_pack_of_tiles_has_the_tokens_that_were_planned(mixed: Path) -> None:
    config = PRESETS["tiny"].replace(
        vision=VisionCfg(side_px=32),
        projector=ProjectorCfg(kind="pixel_shuffle"),
        anyres=AnyResCfg(grids=("2x1", "1x2")),
    )
    split = data.splits(mixed)["train"]
    encoded = data.encode(split.samples(), tokenizer.from_texts(["What is it?"]))
    visual = anyres.visual_of(config, config.stages[0], split)
    assert visual.views(encoded).tolist() == [3, 3, 2, 0] * 2  # several images keep the whole of each
    images = collate.SplitImages(split, 32, visual.layout)
    batch = collate.Collator(encoded, images, split.id, visual.per_view)(tuple(range(8)))
    assert batch.cu_seqlens.diff().tolist() == visual.tokens(encoded).tolist()
    assert batch.images is not None and len(batch.images) == 16 and len(batch.layouts) == 8
    assert batch.image_places.numel() == sum(4 if one is None else one.tokens(4) for one in batch.layouts)


def test_an_image_of_another_size_than_the_build_says_is_named(mixed: Path) -> None:
    split = data.splits(mixed)["train"]
    lied = anyres.layout(64, 64, NEXT, 32, 4)
    with pytest.raises(BuildError, match=r"train a/0: image 0 is of \(64, 32\) pixels, and the build says \(64, 64\)"):
        collate.SplitImages(split, 32, lambda index: lied).get(0, 0)


def test_a_run_with_tiles_learns_its_newline_and_is_evaluated(mixed: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for steps in (1, 4):
        run.train(mixed, tmp_path / str(steps), config_of("tiny", (*TINY, *TILES), steps), device="cpu")
    one, four = (load_file(tmp_path / name / "model.safetensors")["projector.newline"] for name in ("1", "4"))
    assert not torch.equal(one, four)
    result = run.evaluate(tmp_path / "4", mixed, device="cpu")
    assert result["tasks"]["vqa_open"]["n"] == 8


def test_packed_tiles_are_those_of_one_sample_at_a_time(mixed: Path) -> None:
    from vldata.train.model import VLM

    config = config_of("tiny", (*TINY, *TILES))
    split = data.splits(mixed)["train"]
    encoded = data.encode(split.samples(), form := tokenizer.from_texts(["What is it?"]))
    torch.manual_seed(0)
    model = VLM(config.replace(decoder=config.decoder.replace(vocab=form.size))).eval()
    visual = anyres.visual_of(config, config.stages[0], split)
    images = collate.SplitImages(split, 32, visual.layout)
    collator = collate.Collator(encoded, images, split.id, visual.per_view)
    with torch.no_grad():
        packed = model(collator((2, 0, 3, 1)))
        apart = torch.cat([model(collator((index,))) for index in (2, 0, 3, 1)])
    torch.testing.assert_close(packed, apart, atol=1e-5, rtol=0)
