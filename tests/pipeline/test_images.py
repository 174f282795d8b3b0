"""Images that are missing, broken, huge, turned, changed or shared: each has its place in the dataset or a reason."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import polars as pl
import pytest
from PIL import Image

from vldata.errors import BuildError
from vldata.pipeline.build import Built

Run = Callable[..., Built]


def jpeg(color: str, size: tuple[int, int] = (64, 48), orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    data = io.BytesIO()
    Image.new("RGB", size, color).save(data, "JPEG", exif=exif)
    return data.getvalue()


COLORS = ("red", "green", "blue", "orange", "purple", "brown", "black", "white", "gray", "pink")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten images, one caption and one phrase with a box for each."""
    folder = tmp_path / "corpus"
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, color in enumerate(COLORS):
        (folder / "images" / f"{i}.jpg").write_bytes(jpeg(color))
        rows.append({"id": f"r{i}", "image": f"{i}.jpg", "caption": f"a {color} area", "box": [8.0, 6.0, 40.0, 30.0]})
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def recipe(corpus: Path, **source: Any) -> dict[str, Any]:
    table = {
        "format": "table",
        "path": str(corpus / "rows.jsonl"),
        "image_root": str(corpus / "images"),
        "task": "caption",
        "fields": {"row": "id", "images": "image", "caption": "caption"},
        "max_reject_rate": 0.9,
    }
    return {"name": "pictures", "seed": 1, "sources": {"t": {**table, **source}}}


def boxes(corpus: Path, **source: Any) -> dict[str, Any]:
    fields = {"row": "id", "images": "image", "phrase": "caption", "boxes": "box"}
    return recipe(corpus, task="rec", fields=fields, **source)


def ledger(built: Built) -> dict[str, str]:
    table = pl.read_parquet(built.out / "ledger.parquet").filter(pl.col("outcome") != "not_chosen")
    return dict(table.select("row", "reason").iter_rows())


def rows(built: Built) -> dict[str, dict[str, Any]]:
    table = datasets.load_from_disk(str(built.out)).cast_column("images", [datasets.Image(decode=False)])
    return {row["id"]: row for row in table}


def test_every_kind_of_broken_image_has_its_reason(run: Run, corpus: Path) -> None:
    images = corpus / "images"
    (images / "0.jpg").unlink()
    (images / "1.jpg").write_bytes(b"")
    (images / "2.jpg").write_bytes(b"<html>not found</html>")
    (images / "3.jpg").write_bytes(jpeg("red")[:-200])
    (images / "4.jpg").write_bytes(jpeg("red", (400, 300)))
    lines = (corpus / "rows.jsonl").read_text().replace('"5.jpg"', '"../rows.jsonl"')
    (corpus / "rows.jsonl").write_text(lines)
    built = run(recipe(corpus, images={"max_pixels": 100_000}))
    assert ledger(built) == {
        "r0": "image_missing",
        "r1": "image_unreadable",
        "r2": "image_unreadable",
        "r3": "image_truncated",
        "r4": "image_bomb",
        "r5": "image_outside_root",
    }
    assert set(rows(built)) == {"t/r6", "t/r7", "t/r8", "t/r9"}


def test_a_bad_image_is_replaced_by_the_next_in_rank(run: Run, corpus: Path) -> None:
    tree = recipe(corpus)
    tree["mixture"] = {"total": 5}
    first = rows(run(tree, "first"))
    victim = next(iter(first.values()))
    (corpus / "images" / victim["images"][0]["path"]).write_bytes(b"gone")
    built = run(tree, "second")
    second = rows(built)
    assert len(second) == 5
    assert len(set(first) & set(second)) == 4
    assert list(ledger(built)) == [victim["id"].removeprefix("t/")]


def test_a_turned_photograph_is_measured_and_boxed_upright(run: Run, corpus: Path) -> None:
    (corpus / "images" / "0.jpg").write_bytes(jpeg("red", (64, 48), orientation=6))
    built = run(boxes(corpus))
    row = rows(built)["t/r0"]
    assert row["image_sizes"] == [{"width": 48, "height": 64}]
    assert datasets.load_from_disk(str(built.out)).filter(lambda r: r["id"] == "t/r0")[0]["images"][0].size == (48, 64)
    assert row["messages"][1]["content"][0]["text"] == "[0.17, 0.09, 0.83, 0.47]"
    assert rows(built)["t/r1"]["messages"][1]["content"][0]["text"] == "[0.12, 0.12, 0.62, 0.62]"


def test_a_box_outside_its_image_is_rejected_and_a_rounding_is_clamped(run: Run, corpus: Path) -> None:
    lines = [json.loads(line) for line in (corpus / "rows.jsonl").read_text().splitlines()]
    lines[0]["box"] = [8.0, 6.0, 80.0, 30.0]
    lines[1]["box"] = [8.0, 6.0, 64.4, 30.0]
    lines[2]["box"] = [8.0, 6.0, 8.0, 30.0]
    (corpus / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    built = run(boxes(corpus))
    assert ledger(built) == {"r0": "box_outside_image", "r2": "box_empty"}
    assert rows(built)["t/r1"]["turns"][0]["boxes"][0]["x1"] == 64.0


def test_padded_square_moves_the_box(run: Run, corpus: Path) -> None:
    text = rows(run(boxes(corpus, reference="padded_square")))["t/r0"]["messages"][1]["content"][0]["text"]
    assert text == "[0.12, 0.22, 0.62, 0.59]"


def test_images_pass_through_untouched_unless_a_policy_scales_them(run: Run, corpus: Path) -> None:
    (corpus / "images" / "0.jpg").write_bytes(jpeg("red", (400, 300)))
    whole = rows(run(boxes(corpus), "whole"))
    assert all(
        row["images"][0]["bytes"] == (corpus / "images" / row["images"][0]["path"]).read_bytes()
        for row in whole.values()
    )
    scaled = rows(run(boxes(corpus, images={"max_side_px": 100}), "scaled"))
    assert scaled["t/r0"]["image_sizes"] == [{"width": 100, "height": 75}]
    assert Image.open(io.BytesIO(scaled["t/r0"]["images"][0]["bytes"])).size == (100, 75)
    before, after = whole["t/r0"]["turns"][0]["boxes"][0], scaled["t/r0"]["turns"][0]["boxes"][0]
    assert [after[c] for c in ("x0", "y0", "x1", "y1")] == [before[c] / 4 for c in ("x0", "y0", "x1", "y1")]
    assert scaled["t/r1"]["images"] == whole["t/r1"]["images"]


def test_a_image_that_fails_only_when_decoded_is_replaced_and_said(run: Run, corpus: Path) -> None:
    png = io.BytesIO()
    Image.effect_noise((300, 200), 80).save(png, "PNG")
    data = bytearray(png.getvalue())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\x00" * 400
    (corpus / "images" / "0.jpg").write_bytes(bytes(data))
    tree = recipe(corpus, images={"max_side_px": 100})
    built = run(tree)
    assert ledger(built) == {"r0": "image_undecodable"}
    assert built.undecodable == 1
    assert any("could not be decoded" in note for note in built.manifest["notes"])
    again = run(tree)
    assert again.unchanged


def test_decode_finds_what_a_header_hides(run: Run, corpus: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((300, 200), 80).save(whole, "PNG")
    data = bytearray(whole.getvalue())
    data[len(data) // 2 : len(data) // 2 + 400] = b"\x00" * 400
    (corpus / "images" / "0.jpg").write_bytes(bytes(data))
    assert "t/r0" in rows(run(recipe(corpus), "trusting"))
    assert ledger(run(recipe(corpus, images={"decode": True}), "decoding")) == {"r0": "image_undecodable"}


def test_a_changed_image_is_noticed(run: Run, corpus: Path) -> None:
    before = run(recipe(corpus), "out")
    (corpus / "images" / "3.jpg").write_bytes(jpeg("cyan"))
    after = run(recipe(corpus), "out")
    assert not after.unchanged
    assert rows(after)["t/r3"]["images"][0]["bytes"] == jpeg("cyan")
    assert before.manifest["blocks"][0]["key"] != after.manifest["blocks"][0]["key"]


def test_a_changed_annotation_is_noticed(run: Run, corpus: Path) -> None:
    run(recipe(corpus), "out")
    (corpus / "rows.jsonl").write_text((corpus / "rows.jsonl").read_text().replace("a red area", "a scarlet area"))
    text = rows(run(recipe(corpus), "out"))["t/r0"]["messages"][1]["content"][0]["text"]
    assert text == "a scarlet area"


def test_missing_keep_stores_the_path_and_the_annotated_size(run: Run, corpus: Path) -> None:
    for path in (corpus / "images").iterdir():
        path.unlink()
    tree = recipe(corpus, images={"missing": "keep"})
    tree["output"] = {"images": "path"}
    built = run(tree)
    assert len(rows(built)) == 10
    assert rows(built)["t/r0"]["images"] == [{"bytes": None, "path": str(corpus / "images" / "0.jpg")}]


def test_images_in_a_zip_are_the_same_images(run: Run, corpus: Path, tmp_path: Path) -> None:
    plain = rows(run(recipe(corpus), "plain"))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted((corpus / "images").iterdir()):
            archive.write(path, path.name)
    zipped = rows(run(recipe(corpus, image_root=str(tmp_path / "images.zip")), "zipped"))
    assert zipped == plain


def test_the_same_photograph_under_two_names_is_deduplicated_across_sources(
    run: Run, corpus: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for i in range(10):
        (other / f"renamed-{i}.jpg").write_bytes((corpus / "images" / f"{i}.jpg").read_bytes())
    text = (corpus / "rows.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for i, line in enumerate(lines):
        line["image"] = f"renamed-{i}.jpg"
        line["caption"] = line["caption"] if i < 4 else f"something else {i}"
    (tmp_path / "other.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    tree = recipe(corpus)
    tree["sources"]["u"] = {**tree["sources"]["t"], "path": str(tmp_path / "other.jsonl"), "image_root": str(other)}
    tree["dedup_across"] = [{"sources": ["t", "u"], "by": ["caption"]}]
    built = run(tree)
    found = pl.read_parquet(built.out / "ledger.parquet")
    assert set(found["reason"]) == {"duplicate_across"}
    assert sorted(found.filter(pl.col("source") == "u")["row"]) == ["r0", "r1", "r2", "r3"]
    assert built.manifest["sources"]["t"]["rows_out"] == 10


def test_splits_by_content_keep_renamed_copies_together(run: Run, corpus: Path, tmp_path: Path) -> None:
    for i in range(10, 40):
        data = jpeg("red", (64 + i, 48))
        (corpus / "images" / f"{i}.jpg").write_bytes(data)
        (corpus / "images" / f"copy-of-{i}.jpg").write_bytes(data)
    lines = [
        {"id": f"{name}{i}", "image": f"{prefix}{i}.jpg", "caption": f"{name} {i}"}
        for i in range(10, 40)
        for name, prefix in (("one", ""), ("two", "copy-of-"))
    ]
    (corpus / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    tree = {**recipe(corpus), "splits": {"val": 0.3}}
    loaded = datasets.load_from_disk(str(run(tree).out))
    numbers = {
        split: {row.removeprefix("t/one").removeprefix("t/two") for row in loaded[split]["id"]} for split in loaded
    }
    assert len(numbers["val"]) >= 3
    assert not numbers["train"] & numbers["val"]


def test_a_row_edited_inserted_or_deleted_among_many_remakes_few_blocks(run: Run, tmp_path: Path) -> None:
    def write(rows: dict[str, str]) -> None:
        lines = [{"id": row, "instruction": f"Say {row}.", "response": text} for row, text in rows.items()]
        (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))

    fields = {"row": "id", "instruction": "instruction", "response": "response"}
    source = {"format": "table", "path": str(tmp_path / "rows.jsonl"), "task": "text_instruction", "fields": fields}
    tree = {"name": "many", "sources": {"t": source}, "output": {"block_rows": 32}}
    rows = {f"r{i}": str(i) for i in range(2_500)}
    write(rows)
    assert run(tree, "before").made > 80
    write({**rows, "r777": "edited"})
    assert run(tree, "edited").made == 1
    write({"new": "at the front", **rows})
    assert 1 <= run(tree, "inserted").made <= 2
    write({row: text for row, text in rows.items() if row != "r0"})
    assert run(tree, "deleted").made == 1


def test_images_inside_an_archive_have_no_path_to_store(run: Run, corpus: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted((corpus / "images").iterdir()):
            archive.write(path, path.name)
    tree = {**recipe(corpus, image_root=str(tmp_path / "images.zip")), "output": {"images": "path"}}
    with pytest.raises(BuildError, match="embed"):
        run(tree)


def test_an_archive_that_changes_between_two_builds_is_read_again(run: Run, corpus: Path, tmp_path: Path) -> None:
    def pack(color: str) -> None:
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for i in range(10):
                archive.writestr(f"{i}.jpg", jpeg(color, (64 + i, 48)))

    tree = recipe(corpus, image_root=str(tmp_path / "images.zip"))
    pack("red")
    assert len(rows(run(tree))) == 10
    pack("cyan")
    found = rows(run(tree))
    assert len(found) == 10
    assert found["t/r3"]["images"][0]["bytes"] == jpeg("cyan", (67, 48))


@pytest.mark.parametrize(("images", "said"), [("embed", "are scaled to 8 bits"), ("path", "have more than 8 bits")])
def test_pixels_that_are_not_stored_as_they_are_are_named(corpus: Path, run: Run, images: str, said: str) -> None:
    for i in range(3):
        Image.fromarray(np.full((48, 64), 20_000 + i, dtype=np.uint16)).save(corpus / "images" / f"{i}.jpg", "PNG")
    dark = np.full((48, 64), 200, dtype=np.uint16)  # never scaled
    Image.fromarray(dark).save(corpus / "images" / "3.jpg", "PNG")
    built = run(recipe(corpus) | {"output": {"images": images}})
    (note,) = built.manifest["notes"]
    assert note.startswith(f"t: 3 of 10 images {said}")


def test_deep_pixels_that_cannot_be_decoded_cost_their_row(corpus: Path, run: Run) -> None:
    out = io.BytesIO()
    Image.fromarray(np.arange(3072, dtype=np.uint16).reshape(48, 64) * 20).save(out, "PNG")
    data = bytearray(out.getvalue())
    at = data.index(b"IDAT") + 10
    data[at : at + 20] = bytes(20)
    (corpus / "images" / "0.jpg").write_bytes(bytes(data))
    run(recipe(corpus))
    ledger = pl.read_parquet(corpus.parent / "out" / "ledger.parquet")
    assert ledger.select("row", "reason").rows() == [("r0", "image_unreadable")]
