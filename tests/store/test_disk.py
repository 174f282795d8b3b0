from __future__ import annotations

import shutil

import pytest

from vldata.errors import StoreError
from vldata.store import disk
from vldata.store.disk import free_bytes, require
from vldata.store.trouble import in_words


def test_free_space_is_that_of_the_disk_below_a_path_that_is_not_there_yet(tmp_path):
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)


def test_room_enough_is_fine_and_too_little_names_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1_500_000)
    require(tmp_path, 1_500_000)
    with pytest.raises(StoreError, match=r"2\.5 GB are needed and 1\.5 MB are free"):
        require(tmp_path, 2_500_000_000)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_999, "1000.0 kB"),
        (1_000_000, "1.0 MB"),
        (2_560_000_000, "2.6 GB"),
        (7 * 10**15, "7000.0 TB"),
    ],
)
def test_sizes_are_told_in_words(size, words):
    assert in_words(size) == words
