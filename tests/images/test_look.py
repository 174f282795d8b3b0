from __future__ import annotations

import io
import struct
import warnings
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from vldata.images import kinds
from vldata.images.look import MAX_PIXELS, Look, look
from vldata.images.problem import ImageProblem
from vldata.images.scan import scan_jpeg, scan_png, scan_webp

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
WITH_EXIF = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")


def reason(data: bytes, **options: int) -> str | None:
    try:
        look(data, **options)
    except ImageProblem as problem:
        return problem.reason
    return None


def pillows_size(data: bytes) -> tuple[int, int] | None:
    """What a reader of a finished dataset gets: opened, decoded, turned upright."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size
        except Exception:
            return None


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recognised_by_its_bytes(kind, encode):
    assert look(encode(kind, (40, 24))) == Look(kind, 40, 24)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", WITH_EXIF)
def test_sizes_are_upright_and_agree_with_pillow(kind, turn, encode):
    data = encode(kind, (40, 24), orientation=turn)
    seen = look(data)
    assert (seen.width, seen.height) == ((24, 40) if turn >= 5 else (40, 24)) == pillows_size(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_refused_exactly_when_pillow_cannot_decode_it(kind, encode):
    data = encode(kind, (16, 12))
    for length in range(1, len(data)):
        assert (reason(data[:length]) is None) == (pillows_size(data[:length]) is not None), length


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_a_file_cut_in_its_pixels_is_called_truncated(kind, encode):
    data = encode(kind, (64, 48))
    assert reason(data[: len(data) * 3 // 4]) == "image_truncated"


@given(at=st.integers(0, 899), flip=st.integers(1, 255), kind=st.sampled_from(["JPEG", "PNG", "WEBP"]))
@settings(max_examples=300)
def test_a_flipped_byte_never_gives_another_size_than_pillows(at, flip, kind, encode):
    data = bytearray(encode(kind, (40, 24), orientation=6))
    data[at % len(data)] ^= flip
    try:
        seen = look(bytes(data))
    except ImageProblem:
        return
    truth = pillows_size(bytes(data))
    assert truth is None or truth == (seen.width, seen.height)


def test_the_scans_answer_for_ordinary_files_so_that_pillow_is_not_needed(encode):
    assert scan_jpeg(encode("JPEG")) == (40, 24, True)
    assert scan_jpeg(encode("JPEG", progressive=True, orientation=8)) == (24, 40, True)
    assert scan_png(encode("PNG", mode="P")) == (40, 24, True)
    assert scan_webp(encode("WEBP")) == scan_webp(encode("WEBP", lossless=True)) == (40, 24, True)
    assert scan_webp(encode("WEBP", mode="RGBA", orientation=5)) == (24, 40, True)


def test_a_jpeg_may_be_followed_by_padding_or_rubbish(encode):
    assert look(encode("JPEG") + bytes(5000)) == Look("JPEG", 40, 24)
    assert look(encode("JPEG") + b"appended by a camera" * 400) == Look("JPEG", 40, 24)


def test_the_end_mark_of_a_thumbnail_in_the_header_does_not_count(encode):
    thumbnail = encode("JPEG", (8, 8))
    head = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    whole = encode("JPEG", (64, 48))
    data = whole[:2] + head + whole[2:]
    assert look(data) == Look("JPEG", 64, 48)
    assert reason(data[: len(data) // 2]) == "image_truncated"


def test_a_jpeg_padded_with_zeros_by_a_stopped_download_is_truncated(encode):
    data = encode("JPEG", (64, 48))
    assert reason(data[:1500] + bytes(len(data) - 1500)) == "image_truncated"


def test_a_png_without_its_last_chunk_is_fine_as_its_pixels_are_all_there(encode):
    assert look(encode("PNG")[:-12]) == Look("PNG", 40, 24)


def test_a_png_turned_by_a_chunk_behind_its_pixels_is_turned(encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encode("PNG")
    data = plain[:-12] + png_chunk(b"eXIf", exif.tobytes()[6:]) + plain[-12:]
    assert look(data) == Look("PNG", 24, 40)
    assert pillows_size(data) == (24, 40)


def test_xmp_turns_an_image_that_has_no_exif(encode):
    packet = b"http://ns.adobe.com/xap/1.0/\0" + b'<rdf tiff:Orientation="8"/>'
    plain = encode("JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(packet)) + packet + plain[2:]
    assert look(data) == Look("JPEG", 24, 40)
    assert pillows_size(data) == (24, 40)


def test_an_image_whose_exif_makes_pillow_fail_is_refused_as_its_readers_would_fail(encode):
    plain = encode("PNG")
    data = plain[:33] + png_chunk(b"eXIf", b"this is no TIFF header") + plain[33:]
    with pytest.raises(ImageProblem, match="Exif"):
        look(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (bytes(4096), "4096 zero bytes"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>404", "an HTML page"),
        (b"<HTML><body>Forbidden", "an HTML page"),
        (b'<?xml version="1.0"?><svg width="8"/>', "an SVG drawing"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied', "an XML document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"just text", "begins with b'just tex'"),
        (b"P6", "begins with"),
    ],
)
def test_bytes_that_are_no_image_are_described(data, told):
    with pytest.raises(ImageProblem) as caught:
        look(data)
    assert caught.value.reason == "image_unreadable"
    assert told in caught.value.detail


def test_kinds_that_can_run_programs_or_hold_drawings_are_not_read():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    assert kinds.sniff(postscript) is None
    assert reason(postscript) == "image_unreadable"


def bomb_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(bytes(100)))
        + png_chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header_alone():
    with pytest.raises(ImageProblem, match="50000 x 50000 px") as caught:
        look(bomb_png(50_000, 50_000))
    assert caught.value.reason == "image_bomb"


def test_a_webp_canvas_is_checked_before_the_decoder_allocates_it():
    side = (16_383).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side + b"rest"
    data = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    assert reason(data) == "image_bomb"


def test_the_limit_is_the_largest_image_that_pillow_opens():
    assert 2 * Image.MAX_IMAGE_PIXELS == MAX_PIXELS
    assert reason(bomb_png(MAX_PIXELS, 1)) is None
    assert reason(bomb_png(MAX_PIXELS + 1, 1)) == "image_bomb"


def test_the_limit_can_be_lowered(encode):
    assert reason(encode("GIF", (40, 24)), max_pixels=960) is None
    assert reason(encode("GIF", (40, 24)), max_pixels=959) == "image_bomb"


def test_a_damaged_checksum_in_a_png_header_is_refused_as_pillow_refuses_it(encode):
    data = bytearray(encode("PNG"))
    data[29] ^= 1
    assert pillows_size(bytes(data)) is None
    assert reason(bytes(data)) == "image_unreadable"


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_give_an_answer_or_a_reason(data):
    assert reason(data) in (None, "image_unreadable", "image_truncated", "image_bomb")


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"P6 ", b"\xff\x4f\xff\x51"]),
    st.binary(max_size=200),
)
@settings(max_examples=300)
def test_rubbish_behind_a_true_signature_is_refused(head, rubbish):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert reason(head + rubbish) in (None, "image_unreadable", "image_truncated", "image_bomb")


def test_the_photographs_of_real_datasets_are_all_usable(shared_data):
    photographs = sorted((shared_data / "coco_tiny").rglob("*.jpg")) + sorted((shared_data / "coco128").rglob("*.jpg"))
    assert len(photographs) == 200
    for path in photographs:
        data = path.read_bytes()
        seen = look(data)
        assert (seen.width, seen.height) == Image.open(io.BytesIO(data)).size
        assert scan_jpeg(data) is not None
