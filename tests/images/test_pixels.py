from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from vldata.images.look import look
from vldata.images.pixels import decoded, resized
from vldata.images.problem import ImageProblem


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_an_image_that_is_small_enough_passes_through_as_it_is(encode):
    data = encode("JPEG", (40, 24))
    same, width, height = resized(data, 40)
    assert same is data
    assert (width, height) == (40, 24)


def test_the_size_of_an_untouched_image_is_upright(encode):
    data = encode("JPEG", (40, 24), orientation=6)
    assert resized(data, 40) == (data, 24, 40)


@pytest.mark.parametrize(
    ("kind", "mode", "becomes"),
    [
        ("JPEG", "RGB", ("JPEG", "RGB")),
        ("JPEG", "L", ("JPEG", "L")),
        ("JPEG", "CMYK", ("JPEG", "CMYK")),
        ("PNG", "RGB", ("PNG", "RGB")),
        ("PNG", "RGBA", ("PNG", "RGBA")),
        ("PNG", "L", ("PNG", "L")),
        ("PNG", "P", ("PNG", "RGB")),
        ("PNG", "1", ("PNG", "L")),
        ("PNG", "LA", ("PNG", "LA")),
        ("PNG", "I;16", ("PNG", "L")),
        ("WEBP", "RGB", ("JPEG", "RGB")),
        ("WEBP", "RGBA", ("PNG", "RGBA")),
        ("GIF", "P", ("PNG", "RGB")),
        ("BMP", "RGB", ("JPEG", "RGB")),
        ("TIFF", "CMYK", ("JPEG", "CMYK")),
        ("AVIF", "RGB", ("JPEG", "RGB")),
    ],
)
def test_a_large_image_shrinks_and_stays_in_its_family(kind, mode, becomes, encode):
    source = encode(kind, (200, 100), mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        out = io.BytesIO()
        Image.fromarray(np.arange(20_000, dtype=np.uint16).reshape(100, 200) * 3).save(out, "PNG")
        source = out.getvalue()
    data, width, height = resized(source, 50)
    image = opened(data)
    assert (image.format, image.mode) == becomes
    assert image.size == (width, height) == (50, 25)
    image.load()


def deep(values, mode: str | None = None, kind: str = "TIFF", **options) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(values))
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def ramp(high: float, dtype: type = np.uint16, low: float = 0) -> np.ndarray:
    return np.linspace(low, high, 256).astype(dtype)[None, :].repeat(64, 0)


@pytest.mark.parametrize("max_side_px", [None, 64])
@pytest.mark.parametrize(
    "data",
    [
        deep(ramp(65_535), kind="PNG"),
        deep(ramp(65_535)),
        deep(ramp(65_535).astype(">u2")),
        deep(ramp(65_535, np.int32)),
        deep(ramp(65_535), kind="PPM"),
        deep(ramp(65_535), kind="JPEG2000"),
    ],
    ids=["png", "tiff", "big-endian", "int32", "pgm", "jpeg2000"],
)
def test_sixteen_bits_are_scaled_to_eight(data: bytes, max_side_px: int | None):
    small, width, height = resized(data, max_side_px)
    image = opened(small)
    assert (image.mode, image.size) == ("L", (width, height)) == ("L", (max_side_px or 256, (max_side_px or 256) // 4))
    assert np.abs(np.asarray(image, int)[8] - np.linspace(0, 255, width)).max() <= 3
    assert np.abs(np.asarray(decoded(data), int)[8] - np.arange(256)).max() <= 3


@pytest.mark.parametrize(
    ("data", "white"),
    [
        (deep(ramp(300, np.int32)), 255),
        (deep(ramp(5000, np.int32)), 255),
        (deep(ramp(4095)), 255),
        (deep(ramp(4000), kind="PNG"), 249),
        (deep(ramp(1023)), 255),
        (deep(ramp(16_383), kind="PNG"), 255),
        (deep(ramp(40_000)), 156),
    ],
)
def test_fewer_bits_in_more_are_scaled_by_what_they_hold(data: bytes, white: int):
    for image in (opened(resized(data, None)[0]), opened(resized(data, 64)[0]), decoded(data)):
        assert image.mode == "L"
        assert abs(int(np.asarray(image).max()) - white) <= 2


@pytest.mark.parametrize(
    "data",
    [deep(ramp(255)), deep(ramp(255, np.int32)), deep(ramp(255, np.float32)), deep(ramp(255), kind="PNG")],
    ids=["16", "32", "float", "png"],
)
def test_values_that_every_reader_shows_stay_what_they_are(data: bytes):
    assert resized(data, None)[0] is data
    assert np.abs(np.asarray(opened(resized(data, 64)[0]), int)[8] - np.linspace(0, 255, 64)).max() <= 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (ramp(1, np.float32), "floating-point pixels from 0 to 1"),
        (ramp(900, np.float32), "floating-point pixels from 0 to 900"),
        (ramp(np.nan, np.float32), "floating-point pixels from nan to nan"),
        (ramp(1e6, np.int32), "32-bit pixels from 0 to 1e+06"),
        (ramp(100, np.int32, low=-100), "32-bit pixels from -100 to 100"),
    ],
)
def test_pixels_without_a_white_of_their_own_are_refused(values: np.ndarray, said: str):
    with pytest.raises(ImageProblem, match="image_unreadable") as caught:
        look(deep(values))
    assert caught.value.detail.startswith(said)


def test_colours_that_pillow_does_not_convert_are_refused():
    image = ImageCms.profileToProfile(
        Image.new("RGB", (8, 8), "red"),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    out = io.BytesIO()
    image.save(out, "TIFF")
    with pytest.raises(ImageProblem, match="L\\*a\\*b"):
        look(out.getvalue())


def test_a_deep_image_that_is_turned_is_written_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = deep(ramp(65_535), kind="PNG", exif=exif.tobytes())
    small, width, height = resized(data, None)
    assert opened(small).size == (width, height) == (64, 256)
    assert np.asarray(opened(small))[0, 0] < 5 < 250 < np.asarray(opened(small))[-1, 0]


def test_the_same_bytes_and_size_give_the_same_bytes(encode):
    data = encode("JPEG", (300, 200))
    assert resized(data, 100) == resized(data, 100)


def quarters(size: int = 128) -> Image.Image:
    """Red, green / blue, white: which way up is plain to see."""
    image = Image.new("RGB", (size, size // 2), "white")
    half = (size // 2, size // 4)
    image.paste("red", (0, 0, *half))
    image.paste("lime", (half[0], 0, size, half[1]))
    image.paste("blue", (0, half[1], half[0], size // 2))
    return image


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_shrunk_image_stands_upright(kind, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    out = io.BytesIO()
    quarters().save(out, kind, exif=exif.tobytes())
    data, width, height = resized(out.getvalue(), 64)
    image = opened(data)
    assert image.size == (width, height)
    assert 0x0112 not in image.getexif()
    want = ImageOps.exif_transpose(opened(out.getvalue())).resize((width, height))
    difference = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(want, int))
    assert np.median(difference) < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_decoded_pixels_stand_upright(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    quarters().save(out, kind, exif=exif if kind == "TIFF" else exif.tobytes())
    image = decoded(out.getvalue())
    assert image.size == (64, 128)
    red, green, blue = image.convert("RGB").getpixel((56, 8))
    assert red > 200
    assert max(green, blue) < 60


def chart(mode: str) -> Image.Image:
    """Black bars on a ground that is transparent, and white under it."""
    image = Image.new("RGBA", (128, 96), (255, 255, 255, 0))
    for x in range(10, 120, 30):
        image.paste((0, 0, 0, 255), (x, 20, x + 10, 90))
    if mode == "P":
        indexed = image.convert("RGB").quantize(2)
        white = max(range(2), key=lambda k: indexed.getpalette()[3 * k])
        indexed.info["transparency"] = white
        return indexed
    if mode == "RGB":
        flat = image.convert("RGB")
        flat.info["transparency"] = (255, 255, 255)
        return flat
    return image.convert(mode)


@pytest.mark.parametrize("max_side_px", [None, 127, 64, 31])
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("PNG", "P", {}),
        ("PNG", "RGB", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGBA", {"lossless": True, "exact": True}),
        ("TIFF", "RGBA", {}),
        ("TIFF", "LA", {}),
    ],
)
def test_dropping_transparency_shows_the_same_before_and_after(kind, mode, options, max_side_px):
    out = io.BytesIO()
    chart(mode).save(out, kind, **options)
    data, width, height = resized(out.getvalue(), max_side_px)
    shown = opened(data)
    assert shown.has_transparency_data
    want = opened(out.getvalue()).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(shown.convert("RGB"), int) - np.asarray(want, int)).max() <= 1


def test_a_transparent_colour_of_a_palette_becomes_a_channel():
    image = Image.new("P", (64, 64), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (32, 0, 64, 64))
    out = io.BytesIO()
    image.save(out, "PNG", transparency=0)
    small = opened(resized(out.getvalue(), 16)[0])
    assert small.mode == "RGBA"
    assert small.getpixel((2, 8))[3] == 0
    assert small.getpixel((2, 8))[:3] == (255, 0, 0)
    assert small.getpixel((13, 8)) == (0, 0, 255, 255)


def test_the_colour_profile_is_kept_and_other_metadata_is_not(encode):
    data, _, _ = resized(encode("JPEG", (200, 100), icc_profile=b"p" * 200, comment=b"a name"), 50)
    image = opened(data)
    assert image.info["icc_profile"] == b"p" * 200
    assert b"a name" not in data


def test_drafting_does_not_change_what_is_seen():
    gradient = np.linspace(0, 255, 1600).astype(np.uint8)[None, :].repeat(1200, 0)
    out = io.BytesIO()
    Image.fromarray(gradient).save(out, "JPEG", quality=95)
    data, width, height = resized(out.getvalue(), 200)
    assert (width, height) == (200, 150)
    assert np.abs(np.asarray(opened(data), int)[75] - np.linspace(0, 255, 200)).max() <= 3


def test_pixels_that_do_not_decode_are_named(encode):
    data = bytearray(encode("PNG", (200, 100)))
    data[3000:3100] = bytes(100)
    with pytest.raises(ImageProblem) as caught:
        resized(bytes(data), 50)
    assert caught.value.reason == "image_undecodable"
    assert caught.value.detail.startswith("PNG: ")
    with pytest.raises(ImageProblem, match="image_undecodable"):
        decoded(bytes(data))


def test_what_is_no_image_is_named_as_such():
    with pytest.raises(ImageProblem, match="image_unreadable: an HTML page"):
        resized(b"<html>", 50)


def test_a_problem_travels_between_processes():
    back = pickle.loads(pickle.dumps(ImageProblem("image_missing", "gone")))
    assert (back.reason, back.detail) == ("image_missing", "gone")
