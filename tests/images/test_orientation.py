from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vldata.images.orientation import UnusualExifError, orientation, upright


def block(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An Exif block with one directory of (tag, type, count, value) entries."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0" + head + struct.pack(order + "H", len(entries)) + body + bytes(4)


@given(st.integers(0, 65535), st.sampled_from(["<", ">"]))
def test_a_short_is_read_as_pillow_reads_it_in_both_byte_orders(value, order):
    data = block((0x0112, 3, 1, struct.pack(order + "H", value)), order=order)
    exif = Image.Exif()
    exif.load(data)
    assert exif[0x0112] == value
    assert orientation(data, None) == (value if 1 <= value <= 8 else 1)


def test_six_lies_on_its_side_and_three_does_not():
    assert upright(40, 24, 6) == (24, 40)
    assert upright(40, 24, 3) == (40, 24)


def test_no_exif_or_no_such_tag_means_upright():
    assert orientation(None, None) == 1
    assert orientation(block((0x010F, 2, 4, b"Acme")), None) == 1


def test_exif_wins_over_xmp_and_xmp_stands_in_for_it():
    xmp = b"<tiff:Orientation>8</tiff:Orientation>"
    assert orientation(block((0x0112, 3, 1, b"\3\0")), xmp) == 3
    assert orientation(block(), xmp) == 8
    assert orientation(None, xmp) == 8


def test_an_exif_value_out_of_range_is_upright_whatever_xmp_says():
    assert orientation(block((0x0112, 3, 1, b"\x09\0")), b'tiff:Orientation="6"') == 1


@pytest.mark.parametrize(
    "data",
    [
        b"Exif\0\0II",
        b"Exif\0\0nonsense here",
        b"Exif\0\0II*\0\xff\xff\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0",
        block((0x0112, 5, 1, b"\x08\0\0\0")),
        block((0x0112, 3, 2, b"\x06\0\x06\0")),
    ],
    ids=["cut", "no header", "far directory", "cut directory", "rational", "two values"],
)
def test_what_is_unusual_is_left_to_pillow(data):
    with pytest.raises(UnusualExifError):
        orientation(data, None)
