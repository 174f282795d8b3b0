from __future__ import annotations

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from vldata.shapes.draw import BACKGROUND_RGB, COLOR_RGB, INK_RGB, encoded, render, save
from vldata.shapes.scene import BACKGROUNDS, COLORS, SHAPES, SIZES, Scene, Thing, scene


def drawn(scene: Scene) -> np.ndarray:
    """Which pixels are not the background."""
    return (np.asarray(render(scene)) != BACKGROUND_RGB[scene.background]).any(axis=2)


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


@pytest.mark.parametrize("side", [96, 224, 333])
def test_each_box_is_tight_around_what_is_drawn(side):
    for number in range(60):
        shown = scene(number, seed=5, side_px=side)
        mask = drawn(shown)
        for box in [thing.box for thing in shown.things] + [word.box for word in shown.words]:
            x0, y0, x1, y1 = map(int, box)
            result = bounds(mask[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1])
            result = result[0] + x0 - 1, result[1] + y0 - 1, result[2] + x0 - 1, result[3] + y0 - 1
            assert np.abs(np.subtract(result, box)).max() <= 1, (number, box, result)
            assert result[0] >= x0 and result[1] >= y0 and result[2] <= x1 and result[3] <= y1, (number, box, result)


def test_nothing_is_drawn_outside_the_boxes():
    for number in range(60):
        shown = scene(number, seed=5)
        mask = drawn(shown)
        for box in [thing.box for thing in shown.things] + [word.box for word in shown.words]:
            x0, y0, x1, y1 = map(int, box)
            mask[y0:y1, x0:x1] = False
        assert not mask.any(), number


@pytest.mark.parametrize("side", [96, 224, 333])
def test_a_thing_has_its_colour_and_touches_all_edges_of_its_box_with_it(side):
    for number in range(60):
        shown = scene(number, seed=6, side_px=side)
        pixels = np.asarray(render(shown))
        for thing in shown.things:
            x0, y0, x1, y1 = map(int, thing.box)
            pure = (pixels[y0:y1, x0:x1] == COLOR_RGB[thing.color]).all(axis=2)
            assert pure.mean() > 0.2, thing
            # a tip narrower than a pixel is blended with the background, so the pure colour may begin a few pixels in
            blended = np.abs(np.subtract(bounds(pure), (0, 0, x1 - x0, y1 - y0))).max()
            assert blended <= 4, thing


def test_slanted_edges_are_smooth():
    shown = Scene(0, 96, 96, (Thing("diamond", "black", "large", (20, 20, 70, 70)),), ())
    assert len(render(shown).getcolors()) > 4


def test_words_are_printed_in_ink():
    shown = next(candidate for candidate in (scene(k, seed=0) for k in range(99)) if candidate.words)
    x0, y0, x1, y1 = map(int, shown.words[0].box)
    assert (np.asarray(render(shown))[y0:y1, x0:x1] == INK_RGB).all(axis=2).any()


def test_every_shape_looks_different():
    def lone(shape: str) -> np.ndarray:
        return np.asarray(render(Scene(0, 96, 96, (Thing(shape, "red", "large", (20, 20, 70, 70)),), ())), dtype=int)

    for a, b in combinations(SHAPES, 2):
        different = (np.abs(lone(a) - lone(b)).max(axis=2) > 60).sum()
        assert different > 100, (a, b)


def test_every_colour_stands_out_from_the_others_and_from_every_background():
    assert set(COLOR_RGB) == set(COLORS)
    assert set(BACKGROUND_RGB) == set(BACKGROUNDS)
    for a, b in combinations([*COLOR_RGB.values(), INK_RGB, *BACKGROUND_RGB.values()], 2):
        if not (a in BACKGROUND_RGB.values() and b in BACKGROUND_RGB.values()):
            assert np.linalg.norm(np.subtract(a, b)) > 45, (a, b)
    assert len(set(BACKGROUND_RGB.values())) == len(BACKGROUNDS)


def test_small_and_large_cannot_be_confused():
    assert max(SIZES["small"]) * 1.4 < min(SIZES["large"])


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".jpeg", "JPEG"), (".png", "PNG")])
def test_the_suffix_decides_the_format_and_the_bytes_are_the_same_every_time(suffix, kind):
    shown = scene(11, seed=2, side_px=160)
    first = encoded(shown, suffix=suffix)
    assert first == encoded(scene(11, seed=2, side_px=160), suffix=suffix)
    with Image.open(BytesIO(first)) as image:
        assert (image.format, image.size, image.mode) == (kind, (160, 160), "RGB")


def test_a_png_holds_the_pixels_unchanged():
    shown = scene(4, seed=2)
    with Image.open(BytesIO(encoded(shown, suffix=".png"))) as image:
        assert (np.asarray(image) == np.asarray(render(shown))).all()


def test_another_suffix_is_refused_with_those_that_work():
    with pytest.raises(ValueError, match=r"'\.gif'; use one of \.jpg, \.jpeg, \.png"):
        encoded(scene(0, seed=0), suffix=".gif")


def test_saving_leaves_the_file_and_nothing_else(tmp_path):
    path = tmp_path / "scene.jpg"
    path.write_bytes(b"an older file")
    save(scene(0, seed=0), path)
    assert path.read_bytes() == encoded(scene(0, seed=0))
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_suffix_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="cannot draw"):
        save(scene(0, seed=0), tmp_path / "scene.bmp")
    assert list(tmp_path.iterdir()) == []
