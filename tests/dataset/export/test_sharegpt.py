from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vldata.dataset.export import export

MakeBuild = Callable[..., Path]
Talk = Callable[..., list[dict[str, Any]]]


def test_rows_have_the_columns_that_llama_factory_reads(
    make_build: MakeBuild, talk: Talk, jpeg: bytes, tmp_path: Path
) -> None:
    messages = talk("system", ["Be brief."], "user", [None, "What is it?"], "assistant", ["a circle"])
    rows = [{"id": "1", "images": [{"bytes": jpeg, "path": None}], "messages": messages}, {"id": "2"}]
    export(make_build({"train": [rows]}), tmp_path / "out", to="sharegpt")
    first, second = json.loads((tmp_path / "out" / "train.json").read_text())
    assert first["conversations"] == [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "a circle"},
    ]
    assert [(tmp_path / "out" / name).read_bytes() for name in first["images"]] == [jpeg]
    assert second["images"] == []
    assert first.keys() == second.keys() == {"id", "conversations", "images"}


def test_the_register_names_a_dataset_for_each_split(make_build: MakeBuild, tmp_path: Path) -> None:
    export(make_build({"train": [[{"id": "1"}]], "val": [[{"id": "2"}]]}), tmp_path / "out", to="sharegpt")
    register = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert {name: entry["file_name"] for name, entry in register.items()} == {
        "tiny_train": "train.json",
        "tiny_val": "val.json",
    }
    assert register["tiny_train"]["formatting"] == "sharegpt"
    assert register["tiny_train"]["columns"] == {"messages": "conversations", "images": "images"}


@pytest.mark.parametrize("word", ["<image>", "<video>", "<audio>"])
def test_words_that_llama_factory_takes_for_media_are_not_exported(
    word: str, make_build: MakeBuild, talk: Talk, tmp_path: Path
) -> None:
    messages = talk("user", [f"What does {word} mean?"], "assistant", ["A place."])
    result = export(make_build({"train": [[{"id": "1", "messages": messages}]]}), tmp_path / "out", to="sharegpt")
    assert (result["rows"], result["not_exported"]) == (0, 1)
    assert word in (tmp_path / "out" / "not_exported.jsonl").read_text()
