"""What is said of references to nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from unicodedata import normalize

import polars as pl
import pytest
from PIL import Image

import vldata
from vldata.images.facts import facts
from vldata.images.missing import MAX_REF, Nearby, not_a_path, short
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageReader

ACCENT = normalize("NFC", "caf\u00e9.jpg")


@pytest.fixture
def root(tmp_path: Path, encode) -> Path:
    root = tmp_path / "images"
    for name in ("GROSS.JPG", "a b.jpg", "Sub/E.jpg", ACCENT, "12.png", normalize("NFD", "o\u0308/z.jpg"), "two/x.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode("JPEG", (8, 6)))
    return root


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("gross.jpg", "'GROSS.JPG' is there, in another case"),
        ("sub/e.JPG", "'Sub/E.jpg' is there, in another case"),
        (normalize("NFD", ACCENT), f"{ACCENT!r} is there, with its accents in another normal form"),
        ("\u00f6/z.jpg", "with its accents in another normal form"),
        ("Sub\\E.jpg", "a path of Windows, with backslashes: 'Sub/E.jpg' is there"),
        (" a b.jpg\n", "blanks around it: 'a b.jpg' is there"),
        ("a%20b.jpg", "it is percent-encoded: 'a b.jpg' is there"),
        ("coco/images/two/x.jpg", "'two/x.jpg' is there: image_root lies deeper than the path begins"),
        ("two/x.jpg?w=640#top", "with what a URL has behind its path: 'two/x.jpg' is there"),
        ("two/12", "'12.png' is there"),
        ("file:///elsewhere/two/x.jpg", "a file:// URL, where a path is read; 'two/x.jpg' is there"),
        ("http://e.org/two/x.jpg", "a URL: images are read from files, so fetch it"),
        ("gs://bucket/x.jpg", "a URL: images are read from files, so fetch it"),
        ("data:image/png;base64,iVBORw0KGgo=", "a data URI of 34 characters, not a path"),
        ("iVBORw0KGgo" * 30, "330 characters of base64, not a path"),
        ("none.jpg", "No such file or directory; looked below {root}"),
        ("none/none.jpg", "No such file or directory; looked below {root}"),
    ],
)
def test_a_miss_says_what_is_the_matter_and_which_file_would_fit(root: Path, ref: str, said: str) -> None:
    (row,) = facts([ref], root).to_dicts()
    assert row["problem"] == "image_missing"
    assert said.format(root=root) in row["detail"]
    (again,) = facts(["none.jpg", ref, "12.png"], root).filter(ref=ref).to_dicts()
    assert again["detail"] == row["detail"]


def test_a_root_that_is_not_there_is_said(tmp_path: Path) -> None:
    (row,) = facts(["a.jpg"], tmp_path / "no").to_dicts()
    assert row["detail"].endswith(f"image_root {tmp_path / 'no'} does not exist")


def test_an_absolute_path_below_the_root_is_inside_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.jpg").write_bytes((root / "two/x.jpg").read_bytes())
    here = root / "two/x.jpg"
    for given in (root, tmp_path / "link", Path("/")):
        for path in (here, tmp_path / "link/two/x.jpg", f"/{here}", f"{root}/./two/../two//x.jpg", root / "out/x.jpg"):
            assert ImageReader(given).read(str(path)) == here.read_bytes()
    table = facts([str(here), "two/x.jpg"], root)
    assert table["problem"].null_count() == 2 and table["hash"].n_unique() == 1
    assert facts([str(here)], root, remembered=table).equals(table.head(1))


_TALK = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
_ROW = {"id": "1", "image": "x.jpg", "conversations": _TALK}
_CORPUS = {"llava": _ROW, "table": {"id": "1", "image": "x.jpg", "instruction": "a", "response": "b"}}


@pytest.mark.parametrize(
    ("kind", "said"), [("llava", "the working directory, as image_root is unset"), ("table", "the table's own folder")]
)
def test_a_root_that_the_recipe_leaves_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [_CORPUS[kind], _CORPUS[kind] | {"id": "2", "image": "here.jpg"}]
    Path("rows.json").write_text(json.dumps(rows))
    Image.new("RGB", (8, 8)).save("here.jpg")
    source = f"{{format: {kind}, path: rows.json, task: instruction, max_reject_rate: 1}}"
    Path("r.yaml").write_text(f"name: r\nsources: {{s: {source}}}\n")
    vldata.build(vldata.load("r.yaml"), tmp_path / "out", store=tmp_path / "store", workers=1)
    (detail,) = pl.read_parquet(tmp_path / "out/ledger.parquet")["detail"]
    assert f"looked below {tmp_path} ({said}" in detail


@pytest.mark.parametrize("ref", ["/etc/passwd", "{root}/../secret.jpg", "{root}x/two/x.jpg", "/", "{root}", "/{tmp}"])
def test_an_absolute_path_elsewhere_is_not(root: Path, tmp_path: Path, ref: str) -> None:
    with pytest.raises(ImageProblem) as caught:
        ImageReader(root).read(ref.format(root=root, tmp=tmp_path))
    assert caught.value.reason == "image_outside_root"
    (row,) = facts(["/data/images/two/x.jpg"], root).to_dicts()
    assert row["problem"] == "image_outside_root" and "'two/x.jpg' is there" in row["detail"]


def test_a_folder_says_that_it_is_one(root: Path) -> None:
    for ref in ("two", str(root / "two")):
        (row,) = facts([ref], root).to_dicts()
        assert (row["problem"], row["detail"]) == ("image_unreadable", "it is a folder, not a file")


def test_a_hundred_thousand_misses_cost_little(root: Path) -> None:
    start = time.perf_counter()
    table = facts([f"coco/train2017/{k:012d}.jpg" for k in range(100_000)], root)
    assert table["problem"].unique().to_list() == ["image_missing"]
    assert time.perf_counter() - start < 10


def test_references_in_messages_are_short() -> None:
    assert short("x" * MAX_REF) == "x" * MAX_REF
    assert len(short("x" * 40_000)) < MAX_REF + 30
    assert not_a_path("n" * 5_000) is not None
    assert not_a_path("C:x.jpg") is None and not_a_path("a::b.jpg") is None


def test_nothing_is_found_outside_the_root(root: Path) -> None:
    (root.parent / "beside.jpg").write_bytes(b"x")
    assert Nearby(str(root)).fitting("../beside.jpg") is None
    assert Nearby(str(root)).fitting("../two/x.JPG") is not None
