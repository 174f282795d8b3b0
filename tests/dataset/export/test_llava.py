from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from vldata.dataset.export import export
from vldata.dataset.export.conversations import speeches

MakeBuild = Callable[..., Path]
Talk = Callable[..., list[dict[str, Any]]]


def exported(build: Path, out: Path, split: str = "train") -> list[dict[str, Any]]:
    export(build, out, to="llava")
    rows: list[dict[str, Any]] = json.loads((out / f"{split}.json").read_text())
    return rows


def test_an_image_before_the_question(make_build: MakeBuild, jpeg: bytes, tmp_path: Path) -> None:
    build = make_build({"train": [[{"id": "hand/1", "images": [{"bytes": jpeg, "path": "a.png"}]}]]})
    name = blake3(jpeg).hexdigest(length=16)
    assert exported(build, tmp_path / "out") == [
        {
            "id": "hand/1",
            "image": f"images/{name[:2]}/{name}.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is it?"},
                {"from": "gpt", "value": "a circle"},
            ],
        }
    ]
    assert (tmp_path / "out" / "images" / name[:2] / f"{name}.jpg").read_bytes() == jpeg


def test_an_image_after_the_question(make_build: MakeBuild, talk: Talk, jpeg: bytes, tmp_path: Path) -> None:
    messages = talk("user", ["What is it?", None], "assistant", ["a circle"])
    build = make_build({"train": [[{"id": "1", "images": [{"bytes": jpeg, "path": None}], "messages": messages}]]})
    assert exported(build, tmp_path / "out")[0]["conversations"][0]["value"] == "What is it?\n<image>"


def test_several_images_are_a_list_in_order_and_stand_at_their_places(
    make_build: MakeBuild, talk: Talk, jpeg: bytes, png: bytes, tmp_path: Path
) -> None:
    said = ["Compare", None, "with", None]
    messages = talk("user", said, "assistant", ["The same."], "user", ["Why?"], "assistant", ["Both are red."])
    images = [{"bytes": png, "path": None}, {"bytes": jpeg, "path": None}]
    row = exported(make_build({"train": [[{"id": "1", "images": images, "messages": messages}]]}), tmp_path / "out")[0]
    assert [Path(name).suffix for name in row["image"]] == [".png", ".jpg"]
    assert [speech["value"] for speech in row["conversations"]] == [
        "Compare\n<image>\nwith\n<image>",
        "The same.",
        "Why?",
        "Both are red.",
    ]


def test_text_only_rows_have_no_image_and_a_system_message_is_a_key(
    make_build: MakeBuild, talk: Talk, tmp_path: Path
) -> None:
    messages = talk("system", ["Be brief."], "user", ["Hi"], "assistant", ["Hello"])
    assert exported(make_build({"train": [[{"id": "1", "messages": messages}]]}), tmp_path / "out") == [
        {
            "id": "1",
            "system": "Be brief.",
            "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        }
    ]


def test_a_picture_of_many_rows_is_one_file(make_build: MakeBuild, jpeg: bytes, tmp_path: Path) -> None:
    images = [{"bytes": jpeg, "path": "a.jpg"}]
    rows = exported(make_build({"train": [[{"id": str(k), "images": images} for k in range(3)]]}), tmp_path / "out")
    assert len({row["image"] for row in rows}) == 1
    assert len(list((tmp_path / "out" / "images").rglob("*.jpg"))) == 1


def test_every_split_has_its_list_and_repeats_keep_their_ids(make_build: MakeBuild, tmp_path: Path) -> None:
    build = make_build({"train": [[{"id": "1"}, {"id": "2"}], [{"id": "1"}]], "val": [[{"id": "3"}]]})
    assert [row["id"] for row in exported(build, tmp_path / "out")] == ["1", "2", "1"]
    assert [row["id"] for row in json.loads((tmp_path / "out" / "val.json").read_text())] == ["3"]


def test_stored_paths_are_referenced_and_nothing_is_copied(make_build: MakeBuild, jpeg: bytes, tmp_path: Path) -> None:
    (tmp_path / "a b.jpg").write_bytes(jpeg)
    path = str(tmp_path / "a b.jpg")
    build = make_build({"train": [[{"id": "1", "images": [{"bytes": None, "path": path}]}]]})
    assert exported(build, tmp_path / "out")[0]["image"] == path
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["train.json"]


def test_a_stored_path_into_an_archive_is_unpacked(make_build: MakeBuild, jpeg: bytes, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("in/a.jpg", jpeg)
    build = make_build({"train": [[{"id": "1", "images": [{"bytes": None, "path": f"{tmp_path}/all.zip::in/a.jpg"}]}]]})
    image = exported(build, tmp_path / "out")[0]["image"]
    assert (tmp_path / "out" / image).read_bytes() == jpeg


def test_our_own_llava_source_reads_the_export_back(
    make_build: MakeBuild, talk: Talk, jpeg: bytes, png: bytes, tmp_path: Path
) -> None:
    from vldata.sources.llava import Llava

    first = talk("user", ["What is it?", None], "assistant", ["A circle."], "user", ["Red?"], "assistant", ["No."])
    both = talk("user", ["Compare", None, "with", None], "assistant", ["The same."])
    rows = [
        {"id": "1", "images": [{"bytes": jpeg, "path": None}], "messages": first},
        {"id": "2", "images": [{"bytes": jpeg, "path": None}, {"bytes": png, "path": None}], "messages": both},
    ]
    export(make_build({"train": [rows]}), tmp_path / "out", to="llava")
    turns = Llava(path=str(tmp_path / "out" / "train.json"), image_root=str(tmp_path / "out")).turns("instruction")
    assert turns["instruction"].to_list() == ["What is it?", "Red?", "Compare\n<image>\nwith\n<image>"]
    assert turns["response"].to_list() == ["A circle.", "No.", "The same."]
    read = [[(tmp_path / "out" / name).read_bytes() for name in names] for names in turns["images"]]
    assert read == [[jpeg], [jpeg], [jpeg, png]]


MASKED = {"row": "1", "template": "t", "variant": "user", "boxes": [], "synthetic": None, "weight": 0.0}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": ("user", ["Is <image> a word?"], "assistant", ["no"])}, "reserved_word_in_text"),
        ({"messages": ("user", ["Hi"], "assistant", ["<image>"])}, "reserved_word_in_text"),
        ({"messages": ("user", ["Hi"], "assistant", ["Hi"], "system", ["Stop."])}, "system_not_first"),
        ({"messages": ("user", [None, "Hi"], "assistant", ["Hi"])}, "image_count_mismatch"),
        ({"images": [{"bytes": None, "path": "/no/such/a.jpg"}]}, "image_missing"),
        ({"images": [{"bytes": None, "path": None}]}, "image_missing"),
        ({"turns": [MASKED]}, "answer_masked"),
        ({"turns": [{**MASKED, "weight": 0.5}]}, "answer_weighted"),
    ],
)
def test_what_cannot_be_said_is_listed_with_its_reason(
    row: dict[str, Any], reason: str, make_build: MakeBuild, talk: Talk, tmp_path: Path
) -> None:
    if "messages" in row:
        row = {"messages": talk(*row["messages"])}
    build = make_build({"train": [[{"id": "good"}, {"id": "bad", **row}]]})
    result = export(build, tmp_path / "out", to="llava")
    assert (result["rows"], result["not_exported"]) == (1, 1)
    assert [r["id"] for r in json.loads((tmp_path / "out" / "train.json").read_text())] == ["good"]
    [line] = (tmp_path / "out" / "not_exported.jsonl").read_text().splitlines()
    assert json.loads(line) | {"detail": ""} == {"id": "bad", "split": "train", "reason": reason, "detail": ""}


def test_a_split_in_which_nothing_can_be_said_is_an_empty_list(
    make_build: MakeBuild, talk: Talk, tmp_path: Path
) -> None:
    messages = talk("user", ["<image>"], "assistant", ["no"])
    assert exported(make_build({"train": [[{"id": "1", "messages": messages}]]}), tmp_path / "out") == []


line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1).filter(
    lambda text: "<image>" not in text
)
parts = st.lists(st.one_of(st.none(), line), min_size=1, max_size=5).filter(
    lambda said: all(a is None or b is None for a, b in pairwise(said))
)


@given(said=parts)
def test_the_lines_of_a_speech_tell_images_and_texts_apart(said: list[str | None]) -> None:
    content = [{"type": "image" if text is None else "text", "text": text} for text in said]
    row = {"images": [None] * said.count(None), "messages": [{"role": "user", "content": content}]}
    [speech] = speeches(row)
    assert [None if text == "<image>" else text for text in speech["value"].split("\n")] == said
