"""Images that are text in a table's cells: base64 and data URIs."""

from __future__ import annotations

import base64
import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from vldata.errors import SourceError
from vldata.images.facts import facts
from vldata.images.inline import image_bytes
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageReader
from vldata.sources.llava import Llava
from vldata.sources.reading.inline_images import hold_images
from vldata.sources.table import Table
from vldata.sources.vsr import Vsr


def png(number: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize((40 + number, 30)).save(out, kind)
    return out.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


DATA = [png(0), png(1, "JPEG"), png(2, "WEBP"), png(3, "GIF")]
TEXTS = [b64(DATA[0]), b64(DATA[1]), f"data:image/webp;base64,{b64(DATA[2])}", f"DATA:image/gif;base64,{b64(DATA[3])}"]
ROWS: list[dict[str, Any]] = [{"id": str(k), "image": text, "caption": f"c{k}"} for k, text in enumerate(TEXTS)]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = json.dumps(rows, indent=1)
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    if ".csv" in path.name or ".tsv" in path.name:
        text = pl.DataFrame(rows).write_csv(separator="\t" if ".tsv" in path.name else ",")
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def turns_of(path: Path, **options: Any) -> pl.DataFrame:
    return Table(path=str(path), **options).turns("caption").sort("row")


def bytes_of(turns: pl.DataFrame, root: Path, spool: Path | None = None) -> list[list[bytes]]:
    reader = ImageReader(root, spool)
    assert all(len(ref) < 200 for refs in turns["images"] for ref in refs)
    return [[reader.read(ref) for ref in refs] for refs in turns["images"]]


@pytest.mark.parametrize("spool", [True, False])
@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.csv", "t.tsv", "t.json.gz", "t.jsonl.gz", "t.tsv.gz"])
def test_base64_and_data_uris_are_read_from_every_table_of_text(tmp_path: Path, name: str, spool: bool) -> None:
    turns = turns_of(written(tmp_path / name, ROWS))
    assert bytes_of(turns, tmp_path, tmp_path / "spool" if spool else None) == [[data] for data in DATA]
    table = facts(turns["images"].explode().to_list(), tmp_path)
    assert table["problem"].null_count() == 4 and table["format"].to_list() == ["PNG", "JPEG", "WEBP", "GIF"]


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_and_from_text_columns_of_parquet_and_arrow(tmp_path: Path, name: str) -> None:
    for rows in (ROWS, [{**row, "image": [row["image"], TEXTS[0]]} for row in ROWS]):
        frame = pl.DataFrame(rows)
        path = tmp_path / name
        frame.write_parquet(path) if name.endswith("parquet") else frame.write_ipc(path)
        want = [[data] if rows is ROWS else [data, DATA[0]] for data in DATA]
        assert bytes_of(turns_of(path), tmp_path) == want


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.jsonl"])
def test_each_item_of_an_exploded_list_has_its_own_image(tmp_path: Path, name: str) -> None:
    rows = [{"id": "a", "ims": TEXTS[:3], "said": ["0", "1", "2"]}, {"id": "b", "ims": TEXTS[3:], "said": ["3"]}]
    turns = turns_of(
        _table(tmp_path / name, rows), explode=["ims", "said"], fields={"images": "ims", "caption": "said"}
    )
    assert dict(zip(turns["caption"], bytes_of(turns, tmp_path), strict=True)) == {
        str(k): [data] for k, data in enumerate(DATA)
    }


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.jsonl", "t.csv"])
def test_several_columns_of_images_as_text(tmp_path: Path, name: str) -> None:
    rows = [{"id": "a", "one": TEXTS[0], "two": TEXTS[1]}, {"id": "b", "one": None, "two": TEXTS[2]}]
    fields = {"images": ["one", "two"], "question": "'which?'", "answer": "'x'"}
    turns = Table(path=str(_table(tmp_path / name, rows)), fields=fields).turns("vqa_open").sort("row")
    assert bytes_of(turns, tmp_path) == [DATA[:2], [DATA[2]]]


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_images_as_text_inside_another_column_are_refused_where_they_cannot_be_read(tmp_path: Path, name: str) -> None:
    rows = [{"id": "a", "in": {"image": TEXTS[0]}, "caption": "x"}]
    with pytest.raises(SourceError, match=r"'in\.image' holds images as text, and lies in another column"):
        turns_of(_table(tmp_path / name, rows), fields={"images": "in.image"})


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_images_as_text_in_a_joined_file_are_refused(tmp_path: Path, name: str) -> None:
    joined = written(tmp_path / "j.tsv", [{"id": "a", "im": TEXTS[0]}])
    join = {"path": str(joined), "on": "id", "keep": "im"}
    with pytest.raises(SourceError, match="'im' holds images as text, and lies in a joined file"):
        turns_of(_table(tmp_path / name, [{"id": "a", "caption": "x"}]), fields={"images": "im"}, join=join)


def _table(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".arrow":
        pl.DataFrame(rows).write_ipc(path)
    else:
        written(path, rows)
    return path


def test_cells_of_bytes_and_path_are_read(tmp_path: Path) -> None:
    Path(tmp_path / "x.png").write_bytes(DATA[0])
    cells = [
        {"bytes": TEXTS[1], "path": "named.jpg"},
        {"bytes": None, "path": "x.png"},
        {"bytes": "", "path": "x.png"},
        {"bytes": TEXTS[2], "path": None},
    ]
    rows = [{"id": str(k), "image": cell, "caption": "c"} for k, cell in enumerate(cells)]
    want = [DATA[1], DATA[0], DATA[0], DATA[2]]
    assert bytes_of(turns_of(written(tmp_path / "t.json", rows)), tmp_path) == [[data] for data in want]
    rows = [{"id": "0", "images": cells, "caption": "c"}]
    assert bytes_of(turns_of(written(tmp_path / "l.json", rows)), tmp_path) == [want]


@pytest.mark.parametrize(
    ("old", "new"), [("/", "\\/"), ("+", "\\u002b"), ("+", "\\u002B"), ("=", "\\u003d")], ids=["/", "+", "+B", "="]
)
def test_escaped_base64_is_found(tmp_path: Path, old: str, new: str) -> None:
    rows = [{"id": str(k), "image": b64(data), "caption": "c"} for k, data in enumerate(DATA)]
    lines = [f'{{"id": "{r["id"]}", "image": "{r["image"].replace(old, new)}", "caption": "c"}}' for r in rows]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")
    assert bytes_of(turns_of(tmp_path / "t.jsonl"), tmp_path) == [[data] for data in DATA]


def test_paths_beside_base64_stay_paths(tmp_path: Path) -> None:
    rows = [*ROWS, {"id": "4", "image": "a/b.jpg", "caption": "c"}, {"id": "5", "image": None, "caption": "c"}]
    images = turns_of(written(tmp_path / "t.jsonl", rows))["images"].to_list()
    assert images[4:] == [["a/b.jpg"], []]
    assert images[0][0].startswith("t.jsonl::text/")


def test_a_table_elsewhere_than_image_root_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    path = written(tmp_path / "t.jsonl", ROWS)
    with pytest.raises(Exception, match="holds images as base64 and lies outside image_root"):
        turns_of(path, image_root=str(tmp_path / "root"))
    assert bytes_of(turns_of(path, image_root="/"), Path("/")) == [[data] for data in DATA]


def test_what_an_expression_made_of_them_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", ROWS[:1])
    (refs,) = turns_of(path, fields={"images": "image || 'AAAA'"})["images"]
    (row,) = facts(list(refs), tmp_path).to_dicts()
    assert row["problem"] == "image_missing" and "characters of base64, not a path" in row["detail"]
    assert len(row["detail"]) < 200


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("QUJD\nREVG\r\n", b"ABCDEF"),
        ("QUI", b"AB"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("data:;base64,QUI=", b"AB"),
        ("data:text/plain;charset=utf-8;base64,QUI", b"AB"),
        ("data:image/svg+xml,%3Csvg%3E", b"<svg>"),
    ],
)
def test_every_way_to_write_base64(text: str, data: bytes) -> None:
    assert image_bytes(text) == data


def test_what_is_no_base64_is_an_unreadable_image() -> None:
    with pytest.raises(ImageProblem, match="image_unreadable: a data URI of"):
        image_bytes("data:image/png;base64,***")


@pytest.mark.parametrize(
    "ref",
    ["a.jpg", "/9j/train/0001.jpg", "iVBORw0KGgo.png", "n" * 200, "x/" * 120 + "y.png", "data/img.png", "/9j/short"],
)
def test_a_path_is_no_base64(ref: str) -> None:
    assert not hold_images(pl.Series([[ref]]))


SAID = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]
CELLS: dict[str, Any] = {
    "base64": TEXTS[0],
    "uri": TEXTS[2],
    "list": [TEXTS[1]],
    "dict": {"bytes": TEXTS[1], "path": "named.jpg"},
    "path_in_dict": {"bytes": None, "path": "x.png"},
    "list of dicts": [{"bytes": TEXTS[3], "path": None}],
}
WANT = {"base64": 0, "uri": 2, "list": 1, "dict": 1, "path_in_dict": 0, "list of dicts": 3}
PARTS: dict[str, Any] = {
    "openai": {"type": "image_url", "image_url": {"url": TEXTS[2]}},
    "input": {"type": "input_image", "image_url": TEXTS[2]},
    "source": {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": b64(DATA[2])}},
    "qwen": {"type": "image", "image": TEXTS[2]},
    "bytes": {"type": "image", "image": {"bytes": TEXTS[2], "path": "c.webp"}},
}


def pictured(rows: list[dict[str, Any]], path: Path, root: Path | None = None) -> tuple[pl.DataFrame, list[bytes]]:
    written(path, rows)
    of = {"path": str(path), "image_root": str(root or path.parent)}
    turns = Llava(**of).read("instruction").sort("thread")
    as_table = Table(**of).read("instruction").sort("thread")
    assert as_table["images"].to_list() == turns["images"].to_list()
    assert turns["problem"].null_count() == turns.height, turns["detail"].to_list()
    return turns, [data for (data,) in bytes_of(turns, root or path.parent)]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.jsonl.gz"])
def test_cells_of_conversations_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.png").write_bytes(DATA[0])
    rows = [{"id": key, "image": cell, "conversations": SAID} for key, cell in sorted(CELLS.items())]
    assert pictured(rows, tmp_path / name)[1] == [DATA[WANT[key]] for key in sorted(CELLS)]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_parts_of_messages_are_read(tmp_path: Path, name: str) -> None:
    def row(key: str) -> dict[str, Any]:
        content = [PARTS[key], {"type": "text", "text": "What?"}]
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "That."}]
        return {"id": key, "messages": messages}

    rows = [row(key) for key in sorted(PARTS)]
    assert pictured(rows, tmp_path / name)[1] == [DATA[2]] * len(PARTS)


@pytest.mark.parametrize("several", [False, True])
def test_text_columns_of_parquet_with_conversations_are_read(tmp_path: Path, several: bool) -> None:
    cells = [[text] for text in TEXTS] if several else TEXTS
    rows = [{"id": str(k), "image": cell, "conversations": SAID} for k, cell in enumerate(cells)]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    turns = Llava(path=str(tmp_path / "t.parquet")).read("instruction").sort("thread")
    assert bytes_of(turns, tmp_path) == [[data] for data in DATA]


def test_several_files_and_a_repeated_image(tmp_path: Path) -> None:
    for name, numbers in (("a", (0, 1, 0)), ("b", (2, 0))):
        rows = [{"id": f"{name}{k}", "image": TEXTS[k], "conversations": SAID} for k in numbers]
        written(tmp_path / f"{name}.jsonl", rows)
    turns = Llava(path=str(tmp_path), image_root=str(tmp_path)).read("instruction").sort("thread")
    assert turns["thread"].to_list() == ["a0", "a0~2", "a1", "b0", "b2"]
    assert bytes_of(turns, tmp_path) == [[DATA[k]] for k in (0, 0, 1, 0, 2)]


def test_a_cell_of_a_question_is_read(tmp_path: Path) -> None:
    rows = [{"image": TEXTS[k], "caption": f"It is {k}.", "label": 1} for k in (0, 1)]
    written(tmp_path / "t.jsonl", rows)
    turns = Vsr(path=str(tmp_path / "t.jsonl"), image_root=str(tmp_path)).read("true_false")
    assert bytes_of(turns, tmp_path) == [[DATA[0]], [DATA[1]]]


def test_what_is_no_image_is_named_for_what_it_is(tmp_path: Path) -> None:
    cells = {
        "bytes": [137, 80, 78],
        "number": 5,
        "url": "https://example.org/a.png",
        "broken": "data:image/png;base64,*",
    }
    for key, cell in cells.items():
        path = written(tmp_path / f"{key}.json", [{"id": key, "image": {"bytes": cell}, "conversations": SAID}])
        source = Llava(path=str(path), image_root=str(tmp_path))
        (turn,) = source.read("instruction").to_dicts()
        if key in ("bytes", "number"):
            assert turn["problem"] == "unparsable_row" and "not a path" in turn["detail"]
            continue
        (fact,) = facts(turn["images"], tmp_path).to_dicts()
        assert fact["problem"] in ("image_missing", "image_unreadable", "image_outside_root")
        assert ("a URL" if key == "url" else "data URI") in fact["detail"] and len(fact["detail"]) < 300
