"""Small images of every kind, always the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def encode() -> Encode:
    """``encode("PNG", (40, 24), mode="RGB", orientation=6, **save options)`` -> bytes of noise."""

    def make(
        kind: str,
        size: tuple[int, int] = (40, 24),
        *,
        mode: str = "RGB",
        orientation: int | None = None,
        **save: object,
    ) -> bytes:
        noise = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(noise).convert(mode)
        if mode in ("RGBA", "LA"):
            image.putalpha(Image.fromarray(noise[..., 0]))
        if orientation is not None:
            exif = Image.Exif()
            exif[0x0112] = orientation
            save["exif"] = exif if kind == "TIFF" else exif.tobytes()
        out = io.BytesIO()
        image.save(out, kind, **save)
        return out.getvalue()

    return make
