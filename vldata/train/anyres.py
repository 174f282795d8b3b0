"""AnyRes: an image as one view of the whole and a grid of tiles at its own resolution; no torch here.

LLaVA-NeXT and LLaVA-OneVision: of the grids on offer the one that keeps most of the image's pixels; the image is fitted
onto it, centred on black, and cut into tiles of the encoder's side. Their tokens are laid out as one map, the rows and
columns that are only padding are cut off, and every row ends with one learnt newline token. The view of the whole comes
first. How many tokens that makes follows from the image's size alone, so packs are planned without opening an image.
Samples of several images keep the view of the whole of each, as LLaVA-NeXT's do.
Cells are visual tokens of the map; which grid, what is cut off and shrunk, is `vldata.images.geometry`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vldata.errors import BuildError
from vldata.images.geometry import best_grid, shrunk, unpadded
from vldata.images.problem import ImageProblem
from vldata.train.config import AnyResCfg, StageCfg, TrainCfg, TrainError
from vldata.train.data import Encoded, Lengths, Split, num_images


@dataclass(frozen=True, slots=True)
class Layout:
    """What becomes of one image's tiles.

    Args:
        top, left: Cells cut off above and below, and at the left and the right.
        height, width: Cells of the map in the end.
        is_shrunk: The cut map is resized to these, because it was too large.
    """

    width_px: int
    height_px: int
    columns: int
    rows: int
    top: int
    left: int
    height: int
    width: int
    is_shrunk: bool

    @property
    def views(self) -> int:
        """Encoder inputs: the tiles and the whole."""
        return 1 + self.columns * self.rows

    def tokens(self, per_view: int) -> int:
        """Visual tokens, newlines included."""
        return per_view + self.height * (self.width + 1)


@dataclass(frozen=True)
class Visual:
    """What the images of a split become.

    Args:
        per_view: Tokens of one encoder input.
        layouts: One a sample, None where there are no tiles; empty when no sample has any.
    """

    per_view: int
    layouts: Sequence[Layout | None] = field(default=())

    def layout(self, sample: int) -> Layout | None:
        """Of the only image of a sample."""
        return self.layouts[sample] if self.layouts else None

    def tokens(self, encoded: Encoded) -> Lengths:
        """(samples,) tokens of each with its images in full."""
        each = [self.per_view if one is None else one.tokens(self.per_view) for one in self.layouts] or [self.per_view]
        return encoded.tokens(np.array(each, np.int64))

    def views(self, encoded: Encoded) -> Lengths:
        """(samples,) encoder inputs of each."""
        each = [1 if one is None else one.views for one in self.layouts] or [1]
        return np.asarray(encoded.num_images * np.array(each, np.int64))


def visual_of(config: TrainCfg, stage: StageCfg, split: Split) -> Visual:
    """How a stage sees the images of a split.

    Raises:
        TrainError: The projector's tokens stand in no grid, so tiles cannot be laid side by side.
        BuildError: An image's size is neither in the build nor in the image.
    """
    return Visual(config.tokens_per_image(stage), layouts_of(config, stage, split))


def layouts_of(config: TrainCfg, stage: StageCfg, split: Split) -> Sequence[Layout | None]:
    """The layout of each sample's only image; empty when there are no tiles.

    Raises:
        TrainError: As `visual_of`.
        BuildError: As `visual_of`.
    """
    if not config.anyres.is_on:
        return ()
    side, side_px = cells_a_side(config, stage), stage.side_px or config.vision.side_px
    sizes = _sizes_of_single(split)
    return [None if size is None else layout(*size, config.anyres, side_px, side) for size in sizes]


def _sizes_of_single(split: Split) -> list[tuple[int, int] | None]:
    """Width and height in pixels of the image of each row that has exactly one, else None.

    They stand in the build; where they do not, the image says them.
    """
    sizes: list[tuple[int, int] | None] = []
    for table in split.tables:
        column = table.column("image_sizes") if "image_sizes" in table.column_names else None
        for row, count in enumerate(num_images(table).tolist()):
            stated = column[row].as_py() if column is not None and count == 1 else None
            if count != 1:
                sizes.append(None)
            elif stated and stated[0] and stated[0]["width"] and stated[0]["height"]:
                sizes.append((int(stated[0]["width"]), int(stated[0]["height"])))
            else:
                sizes.append(_size(split, len(sizes)))
    return sizes


def _size(split: Split, index: int) -> tuple[int, int]:
    from vldata.images.pixels import decoded

    try:
        width_px, height_px = decoded(split.image(index, 0)).size
    except ImageProblem as problem:
        fix = "build with `images: {decode: true}`, which finds such images"
        raise BuildError(f"{split.name} {split.id(index)}", f"its image cannot be decoded ({problem})", fix) from None
    return width_px, height_px


def cells_a_side(config: TrainCfg, stage: StageCfg) -> int:
    """Tokens of a tile a side.

    Raises:
        TrainError: The projector keeps no grid.
    """
    tokens = config.tokens_per_image(stage)
    side = math.isqrt(tokens)
    if config.projector.kind in ("perceiver", "resampler", "qformer") or side * side != tokens:
        problem = f"the tokens of a {config.projector.kind} projector stand in no grid, so tiles cannot be laid out"
        raise TrainError("anyres", problem, "use linear, mlp, pool_mlp, pixel_shuffle, c_abs or d_abs")
    return side


def layout(width_px: int, height_px: int, cfg: AnyResCfg, side_px: int, side: int) -> Layout:
    """The grid for an image, and the map that is left of it.

    Args:
        width_px: Of the image, at least 1.
        side: Cells of a tile a side.
    """
    canvas = best_grid(width_px, height_px, [(c * side_px, r * side_px) for c, r in cfg.choices()])
    columns, rows = canvas[0] // side_px, canvas[1] // side_px
    full = columns * side, rows * side
    # a sliver keeps a cell, or two where the middle lies between two
    kept = [max(2 - a % 2, b) for a, b in zip(full, unpadded(width_px, height_px, *full), strict=True)]
    left, top = ((a - b) // 2 for a, b in zip(full, kept, strict=True))
    width, height = shrunk(kept[0], kept[1], cfg.max_views * side * side)
    return Layout(width_px, height_px, columns, rows, top, left, height, width, is_shrunk=[width, height] != kept)


def cut(image: npt.NDArray[np.uint8], columns: int, rows: int, side_px: int) -> npt.NDArray[np.uint8]:
    """An upright RGB image (H, W, 3) as its tiles (rows * columns, 3, S, S), row by row, centred on black."""
    from PIL import Image

    height_px, width_px = image.shape[:2]
    canvas_w, canvas_h = columns * side_px, rows * side_px
    if canvas_w * height_px < canvas_h * width_px:
        size = canvas_w, min(canvas_h, -(-height_px * canvas_w // width_px))
    else:
        size = min(canvas_w, -(-width_px * canvas_h // height_px)), canvas_h
    fitted = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    canvas = np.zeros((canvas_h, canvas_w, 3), np.uint8)
    top, left = (canvas_h - size[1]) // 2, (canvas_w - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = fitted
    tiles = canvas.reshape(rows, side_px, columns, side_px, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(tiles.reshape(rows * columns, 3, side_px, side_px))
