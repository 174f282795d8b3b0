"""Images' bytes go into a piece, and a block is whole or not there."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from blake3 import blake3
from PIL import Image

from tests.pipeline.tables import finished, piece, rows_of_stream
from vldata.pipeline.write_blocks import BlockJob, FailedImage, SourceImages, forget_readers, make
from vldata.store.blocks import BLOCK, NOTE, PIECE, Note, file_digest, is_whole, note_of, write_block
from vldata.store.store import Store


def png(color: str, size: tuple[int, int] = (4, 3)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, color).save(data, "PNG")
    return data.getvalue()


def hashed(data: bytes) -> str:
    return blake3(data).hexdigest(length=16)


IMAGES = {"a-0.jpg": png("red"), "b-0.jpg": png("green"), "c-0.jpg": png("blue")}
HASHES = [hashed(data) for data in IMAGES.values()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of the rows a, b and c."""
    root = tmp_path / "images"
    root.mkdir()
    for name, data in IMAGES.items():
        (root / name).write_bytes(data)
    forget_readers()
    return root


def made(store: Store, key: str, *, root: Path, **settings: Any) -> list[FailedImage]:
    failed = make(BlockJob(key, {"src": SourceImages(str(root), settings.pop("max_side_px", None), **settings)}), store)
    assert is_whole(key, store) == (not failed)
    assert store.has("blocks", key, BLOCK) == store.has("blocks", key, NOTE) == (not failed)
    return failed


def rows(store: Store, key: str = "aa") -> list[dict[str, Any]]:
    return rows_of_stream(store.path("blocks", key, BLOCK))


def test_a_block_is_its_piece_with_the_bytes_of_the_images_as_they_are(store: Store, folder: Path) -> None:
    piece(store, "aa", finished("abc"), HASHES)
    assert made(store, "aa", root=folder) == []
    expected = rows_of_stream(store.path("pieces", "aa", PIECE))
    for row, (name, data) in zip(expected, IMAGES.items(), strict=True):
        row["images"] = [{"bytes": data, "path": name}]
    assert rows(store) == expected


def test_several_images_of_a_row_none_and_the_same_again_each_stand_in_their_place(store: Store, folder: Path) -> None:
    paths = [["c-0.jpg", "a-0.jpg"], [], ["a-0.jpg"]]
    table = finished("xyz")
    lists = [[{"bytes": None, "path": path} for path in of_row] for of_row in paths]
    column = pa.array(lists, table.schema.field("images").type)
    piece(store, "aa", table.set_column(1, table.schema.field("images"), column), [HASHES[2], HASHES[0], HASHES[0]])
    assert made(store, "aa", root=folder) == []
    assert [row["images"] for row in rows(store)] == [
        [{"bytes": IMAGES[path], "path": path} for path in of_row] for of_row in paths
    ]


def test_blocks_that_follow_one_another_share_no_bytes(store: Store, folder: Path) -> None:
    piece(store, "aa", finished("abc"), HASHES)
    piece(store, "bb", finished("ca"), [HASHES[2], HASHES[0]])
    assert made(store, "aa", root=folder) == made(store, "bb", root=folder) == []
    assert [row["images"][0]["bytes"] for row in rows(store, "bb")] == [IMAGES["c-0.jpg"], IMAGES["a-0.jpg"]]


def test_every_image_that_cannot_be_used_is_returned_and_no_block_is_made(store: Store, folder: Path) -> None:
    piece(store, "aa", finished("abc"), HASHES)
    (folder / "a-0.jpg").unlink()
    (folder / "c-0.jpg").write_bytes(png("white"))
    first, second = made(store, "aa", root=folder)
    assert (first.source, first.ref, first.reason) == ("src", "a-0.jpg", "image_missing")
    changed = "its bytes changed while the dataset was being built"
    assert second == FailedImage("src", "c-0.jpg", "image_unreadable", changed)


def test_bytes_that_nobody_has_hashed_are_not_compared(store: Store, folder: Path) -> None:
    piece(store, "aa", finished("abc"), [HASHES[0], HASHES[1], None])
    (folder / "c-0.jpg").write_bytes(b"anything")
    assert made(store, "aa", root=folder) == []
    assert rows(store)[2]["images"][0]["bytes"] == b"anything"


@pytest.mark.parametrize("decode", [False, True])
def test_pixels_are_decoded_only_when_the_recipe_asks(store: Store, folder: Path, decode: bool) -> None:
    broken = bytearray(IMAGES["b-0.jpg"])
    broken[45] ^= 0xFF  # inside the compressed pixels
    (folder / "b-0.jpg").write_bytes(broken)
    piece(store, "aa", finished("ab"), [HASHES[0], hashed(bytes(broken))])
    failed = made(store, "aa", root=folder, decode=decode)
    assert [(one.ref, one.reason) for one in failed] == ([("b-0.jpg", "image_undecodable")] if decode else [])


def test_a_larger_image_is_made_smaller_and_a_small_one_passes_untouched(store: Store, folder: Path) -> None:
    (folder / "b-0.jpg").write_bytes(large := png("green", (40, 20)))
    piece(store, "aa", finished("ab"), [HASHES[0], hashed(large)])
    assert made(store, "aa", root=folder, max_side_px=8) == []
    first, second = (row["images"][0]["bytes"] for row in rows(store))
    assert first == IMAGES["a-0.jpg"]
    with Image.open(io.BytesIO(second)) as image:
        assert (image.size, image.format) == ((8, 4), "PNG")


def test_an_image_inside_an_archive_is_called_by_its_own_name(store: Store, folder: Path) -> None:
    def pack(color: str) -> str:
        with zipfile.ZipFile(folder / "all.zip", "w") as archive:
            archive.writestr("x/a-0.jpg", png(color))
        return hashed(png(color))

    table = finished("a")
    column = pa.array([[{"bytes": None, "path": "all.zip::x/a-0.jpg"}]], table.schema.field("images").type)
    table = table.set_column(1, table.schema.field("images"), column)
    piece(store, "aa", table, [pack("red")])
    assert made(store, "aa", root=folder) == []
    assert rows(store)[0]["images"] == [{"bytes": png("red"), "path": "a-0.jpg"}]
    piece(store, "bb", table, [pack("white")])
    forget_readers()  # the archive is another one now
    assert made(store, "bb", root=folder) == []


def test_each_source_has_its_own_place_and_its_own_pixels(store: Store, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a-0.jpg").write_bytes(large := png("white", (20, 20)))
    table = pa.concat_tables([finished("a"), finished("a", source="other")]).combine_chunks()
    piece(store, "aa", table, [HASHES[0], hashed(large)])
    places = {"src": SourceImages(str(folder), None), "other": SourceImages(str(tmp_path / "other"), 5)}
    assert make(BlockJob("aa", places), store) == []
    first, second = (row["images"][0]["bytes"] for row in rows(store))
    assert first == IMAGES["a-0.jpg"]
    with Image.open(io.BytesIO(second)) as image:
        assert image.size == (5, 5)


def test_where_paths_are_stored_the_block_is_the_piece(store: Store) -> None:
    piece(store, "aa", finished("abc"), [None] * 3)
    assert make(BlockJob("aa", None), store) == []
    block, whole = store.path("blocks", "aa", BLOCK), store.path("pieces", "aa", PIECE)
    assert block.read_bytes() == whole.read_bytes()


def test_the_note_says_what_the_file_holds(store: Store) -> None:
    note = write_block(finished("abc"), "aa", store)
    path = store.path("blocks", "aa", BLOCK)
    data = path.read_bytes()
    assert note == Note(digest=hashed(data), rows=3, size_bytes=len(data))
    assert note == note_of(store, "aa")
    assert note.digest == file_digest(path)
    assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def test_the_same_rows_are_the_same_bytes_however_they_were_put_together(store: Store) -> None:
    once = write_block(finished("abcd"), "aa", store)
    parts = pa.concat_tables([finished("ab"), finished("cd")])
    assert parts.column("id").num_chunks == 2
    assert write_block(parts, "bb", store) == once
    assert write_block(finished("abcd").replace_schema_metadata({"a": "stranger"}), "cc", store) == once


@pytest.mark.parametrize(
    "damage",
    [
        lambda block, note: block.write_bytes(block.read_bytes()[:-1]),
        lambda block, note: block.write_bytes(block.read_bytes() + b"x"),
        lambda block, note: block.write_bytes(b""),
        lambda block, note: block.unlink(),
        lambda block, note: note.unlink(),
        lambda block, note: note.write_text(""),
        lambda block, note: note.write_text("{"),
        lambda block, note: note.write_text('{"digest": "x"}'),
    ],
)
def test_a_block_that_is_cut_or_has_lost_its_note_is_not_whole_and_is_made_again(
    store: Store, damage: Callable[[Path, Path], object]
) -> None:
    piece(store, "aa", finished("abc"), [None] * 3)
    make(BlockJob("aa", None), store)
    block, note = store.path("blocks", "aa", BLOCK), store.path("blocks", "aa", NOTE)
    before = block.read_bytes(), note.read_bytes()
    assert is_whole("aa", store)
    for path in (block, note):
        path.chmod(0o644)
    damage(block, note)
    assert not is_whole("aa", store)
    assert make(BlockJob("aa", None), store) == []
    assert is_whole("aa", store)
    assert (block.read_bytes(), note.read_bytes()) == before


def test_what_was_never_made_is_not_whole(store: Store) -> None:
    assert not is_whole("aa", store)
    assert note_of(store, "aa") is None
