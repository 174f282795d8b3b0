from pathlib import Path

from vldata.paths import absolute, home, packed_or_not


def test_a_home_that_nobody_has_is_a_plain_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert home("~/a") == Path("/home/me/a")
    assert home("~nobody-at-all/a") == Path("~nobody-at-all/a")


def test_no_path_is_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert absolute(None) == absolute("") == str(tmp_path)
    assert absolute("a/../b") == f"{tmp_path}/b"


def test_a_file_is_found_packed_or_not(tmp_path):
    plain, packed = tmp_path / "a.json", tmp_path / "a.json.gz"
    assert packed_or_not(plain) == plain
    packed.touch()
    assert packed_or_not(plain) == packed
    plain.touch()
    assert packed_or_not(plain) == plain
    assert packed_or_not(packed) == packed
    packed.unlink()
    assert packed_or_not(packed) == plain
