"""How many visual tokens an image becomes, by the policies of published models. Pure arithmetic.

Counts let a plan say how many tokens a dataset has before anything is built. A policy is a published model's own
rule, resize steps and rounding included; the tests pin worked examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from vldata.errors import RecipeError, nearest
from vldata.images.geometry import Size, best_grid, shrunk, unpadded


def visual_tokens(policy: str, width: int, height: int, *, num_images: int = 1) -> int:
    """Visual tokens of one image under a named policy.

    Args:
        policy: A name of `POLICIES`.
        width: Pixels, upright.
        height: Pixels, upright.
        num_images: Images in the sample: AnyRes models give each of several images its base view alone.

    Raises:
        RecipeError: No such policy.
    """
    if policy not in POLICIES:
        raise RecipeError("token_policy", f"no policy named {policy!r}", nearest(policy, POLICIES))
    return POLICIES[policy](width, height, num_images > 1)


def _fixed(tokens: int) -> Callable[[int, int, bool], int]:
    return lambda width, height, several: tokens


_NEXT_GRIDS = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
_OV_GRIDS = tuple((columns, rows) for columns in range(1, 7) for rows in range(1, 7))


def _anyres(grids: Sequence[Size], side_px: int, side: int, max_views: int = 0) -> Callable[[int, int, bool], int]:
    """A base view and a map of tiles of ``side`` times ``side`` cells; a newline token ends every row."""
    canvases = [(columns * side_px, rows * side_px) for columns, rows in grids]

    @lru_cache(maxsize=1 << 16)
    def tokens(width: int, height: int, several: bool) -> int:
        if several:
            return side**2
        canvas = best_grid(width, height, canvases)
        columns, rows = unpadded(width, height, canvas[0] // side_px * side, canvas[1] // side_px * side)
        columns, rows = shrunk(columns, rows, max_views * side**2)
        return side**2 + rows * (columns + 1)

    return tokens


_QWEN_CELL = 28  # 14 px patches, merged 2 x 2
_QWEN_MIN_PIXELS, _QWEN_MAX_PIXELS = 3_136, 12_845_056  # preprocessor_config.json of the released checkpoints


@lru_cache(maxsize=1 << 16)
def _qwen2_vl(width: int, height: int, several: bool) -> int:
    w, h = (max(_QWEN_CELL, round(side / _QWEN_CELL) * _QWEN_CELL) for side in (width, height))
    if w * h > _QWEN_MAX_PIXELS:
        shrink = math.sqrt(width * height / _QWEN_MAX_PIXELS)
        w, h = (max(_QWEN_CELL, math.floor(s / shrink / _QWEN_CELL) * _QWEN_CELL) for s in (width, height))
    elif w * h < _QWEN_MIN_PIXELS:
        grow = math.sqrt(_QWEN_MIN_PIXELS / (width * height))
        w, h = (math.ceil(s * grow / _QWEN_CELL) * _QWEN_CELL for s in (width, height))
    return (w // _QWEN_CELL) * (h // _QWEN_CELL)


POLICIES: dict[str, Callable[[int, int, bool], int]] = {
    "honeybee_m144": _fixed(144),  # Honeybee's C- and D-Abstractor with 144 queries
    "honeybee_m256": _fixed(256),
    "blip2": _fixed(32),  # Q-Former with 32 queries
    "llava1": _fixed(256),  # CLIP ViT-L/14 at 224 px
    "llava1_5": _fixed(576),  # CLIP ViT-L/14 at 336 px
    "siglip_384": _fixed(729),  # SigLIP SO400M/14 at 384 px, no tiles
    "llava_next": _anyres(_NEXT_GRIDS, 336, 24),  # CLIP ViT-L/14 at 336 px: 24 x 24 patches
    "llava_onevision": _anyres(_OV_GRIDS, 384, 27, max_views=9),  # SigLIP SO400M/14 at 384 px; "anyres_max_9"
    "qwen2_vl": _qwen2_vl,
}
"""Policy name -> (width, height, whether the sample has several images) -> tokens."""
