from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from vldata.errors import StoreError
from vldata.store import link
from vldata.store.link import best_way, place


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    path = tmp_path / "from" / "object"
    path.write_bytes(b"data" * 1000)
    path.chmod(0o444)
    return path


def refuse(number: int):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("how", ["hardlink", "copy"])
def test_a_placed_file_has_the_same_bytes_and_is_read_only(how, source, tmp_path):
    target = tmp_path / "to" / "block"
    assert place(source, target, how) == how
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
    assert (target.stat().st_ino == source.stat().st_ino) == (how == "hardlink")


def test_the_best_way_is_one_that_works_and_leaves_no_trace(source, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    how = best_way(source.parent, tmp_path / "to")
    assert how in ("reflink", "hardlink")
    assert sorted(tmp_path.rglob("*")) == before
    assert place(source, tmp_path / "to" / "block", how) == how


def test_ways_are_tried_from_the_cheapest(source, tmp_path, monkeypatch):
    monkeypatch.setattr(link.fcntl, "ioctl", lambda *_: 0)
    assert best_way(source.parent, tmp_path / "to") == "reflink"
    monkeypatch.setattr(link.fcntl, "ioctl", refuse(errno.EOPNOTSUPP))
    assert best_way(source.parent, tmp_path / "to") == "hardlink"
    monkeypatch.setattr(link.os, "link", refuse(errno.EXDEV))
    assert best_way(source.parent, tmp_path / "to") == "copy"


@pytest.mark.parametrize("number", [errno.EMLINK, errno.EPERM, errno.EXDEV])
def test_a_hard_link_that_one_file_refuses_becomes_a_copy(number, source, tmp_path, monkeypatch):
    monkeypatch.setattr(link.os, "link", refuse(number))
    assert place(source, tmp_path / "to" / "block", "hardlink") == "copy"
    assert (tmp_path / "to" / "block").read_bytes() == source.read_bytes()


def test_what_is_there_is_not_overwritten(source, tmp_path):
    (tmp_path / "to" / "block").write_bytes(b"mine")
    for how in ("reflink", "hardlink", "copy"):
        with pytest.raises(StoreError, match="is there already"):
            place(source, tmp_path / "to" / "block", how)
    assert (tmp_path / "to" / "block").read_bytes() == b"mine"


def test_a_copy_that_fails_leaves_nothing(source, tmp_path, monkeypatch):
    monkeypatch.setattr(link.shutil, "copyfileobj", refuse(errno.ENOSPC))
    with pytest.raises(StoreError, match="no space left"):
        place(source, tmp_path / "to" / "block", "copy")
    monkeypatch.setattr(link.fcntl, "ioctl", refuse(errno.ENOSPC))
    with pytest.raises(StoreError, match="no space left"):
        place(source, tmp_path / "to" / "block", "reflink")
    assert list((tmp_path / "to").iterdir()) == []


def test_an_object_that_is_gone_is_told(source, tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        place(tmp_path / "gone", tmp_path / "to" / "block", "hardlink")


def test_a_folder_that_is_not_there_is_told(source, tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        best_way(source.parent, tmp_path / "nowhere")
