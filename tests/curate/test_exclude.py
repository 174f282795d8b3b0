"""Exclusion lists: what may stand in one, and what it takes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.curate.table import ledger, rows_of, turns
from vldata.curate.exclude import ExclusionList
from vldata.errors import RecipeError

HASH = "af1349b9f5f9a1a6a0404dea36dcc949"


def read(tmp_path: Path, text: str | bytes) -> ExclusionList:
    path = tmp_path / "takedown.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ExclusionList.read(path)


def test_rows_hashes_and_urls_are_distinguished_and_comments_skipped(tmp_path: Path) -> None:
    text = f"""\ufeff# a takedown request
captions/391895     # by mail
mine/a/b#c
{HASH.upper()}
{HASH[::-1]}{"0" * 32}

  https://example.org/photo.jpg#frag  # the whole album
"""
    found = read(tmp_path, text)
    assert found.ids == {"captions/391895", "mine/a/b#c"}
    assert found.hashes == {HASH, HASH[::-1]}
    assert found.urls == {"https://example.org/photo.jpg#frag"}


@pytest.mark.parametrize("line", ["391895", "/391895", "captions/", HASH[:31], "a b c"])
def test_a_line_of_no_kind_is_an_error_with_its_number(line: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, f"# one\n{line}\n")
    assert caught.value.where == f"{tmp_path / 'takedown.txt'}:2"
    assert caught.value.problem == f"{line!r} is no row, image hash or URL"


def test_another_encoding_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is not UTF-8: byte 0xe9 at offset 8"):
        read(tmp_path, "mine/caf\xe9".encode("latin-1"))


def test_a_missing_list_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file") as caught:
        ExclusionList.read(tmp_path / "nothing.txt")
    assert caught.value.where == "exclude"


def test_the_digest_knows_the_entries_and_nothing_else(tmp_path: Path) -> None:
    one = read(tmp_path, f"a/1\n{HASH}\n").digest
    assert read(tmp_path, f"# note\n{HASH}\n\na/1\na/1\n").digest == one
    assert read(tmp_path, "a/1\n").digest != one


TURNS = turns(
    [
        {"urls": ["https://x/1.jpg"]},
        {"urls": ["https://x/2.jpg", "https://x/3.jpg"]},
        {"urls": None},
        {"urls": []},
    ]
)


def test_listed_rows_and_urls_of_this_source_leave(tmp_path: Path) -> None:
    found = read(tmp_path, "mine/c\nother/a\nmine2/d\nhttps://x/3.jpg\n")
    kept, dropped = found.rows("mine", TURNS)
    assert rows_of(kept) == "ad"
    assert ledger(dropped) == {"b": ("excluded", "https://x/3.jpg"), "c": ("excluded", "mine/c")}


def test_a_row_id_may_hold_slashes(tmp_path: Path) -> None:
    some = turns([{"row": "12/3"}, {"row": "12"}])
    assert rows_of(read(tmp_path, "mine/12/3").rows("mine", some).kept) == "12"


def test_an_empty_list_excludes_nothing(tmp_path: Path) -> None:
    kept, dropped = read(tmp_path, "").rows("mine", TURNS)
    assert kept.equals(TURNS)
    assert dropped.is_empty()


def test_a_source_name_with_braces_is_just_a_name(tmp_path: Path) -> None:
    assert ledger(read(tmp_path, "m{}/a").rows("m{}", TURNS).dropped) == {"a": ("excluded", "m{}/a")}
