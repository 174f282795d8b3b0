"""What changes what is learnt is honoured or costs its row, whichever format and file a conversation comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from vldata.sources import source_class

Row = dict[str, Any]


def _json(rows: list[Row], path: Path) -> None:
    path.write_text(json.dumps(rows))


def _json_lines(rows: list[Row], path: Path) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _parquet(rows: list[Row], path: Path) -> None:
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)


def _arrow(rows: list[Row], path: Path) -> None:
    pl.DataFrame(rows, infer_schema_length=None).write_ipc(path)


def _csv(rows: list[Row], path: Path) -> None:
    cells = [{k: json.dumps(v) if isinstance(v, list | dict | bool) else v for k, v in row.items()} for row in rows]
    pl.DataFrame(cells, infer_schema_length=None).write_csv(path)


FILES: dict[str, Callable[[list[Row], Path], None]] = {
    "json": _json, "jsonl": _json_lines, "parquet": _parquet, "arrow": _arrow, "csv": _csv
}  # fmt: skip
READERS = [("llava", "instruction"), ("table", "instruction"), ("llava", "text_instruction"),
           ("table", "text_instruction"), ("sharegpt", "text_instruction")]  # fmt: skip
DOORS = [(reader, task, file) for reader, task in READERS for file in FILES]


def conversation(name: str, task: str) -> Row:
    speeches = [("user", "What?"), ("assistant", "One."), ("user", "And?"), ("assistant", "Two.")]
    images = {"images": ["a.jpg"]} if task == "instruction" else {}
    return {"id": name, **images, "messages": [{"role": who, "content": text} for who, text in speeches]}


def read(rows: list[Row], reader: str, task: str, file: str, folder: Path, **options: Any) -> pl.DataFrame:
    FILES[file](rows, folder / f"rows.{file}")
    return source_class(reader)(path=f"{folder}/rows.{file}", **options).turns(task)


OF_ROWS: list[tuple[str, Any]] = [
    ("rejected", "No."), ("chosen", "Yes."), ("rejected_response", "No."), ("negative_answer", "No."),
    ("rejected_messages", [{"role": "assistant", "content": "No."}]), ("label", False), ("labels", [0, 1]),
    ("reward", 0.25), ("reward_model", "rule"), ("is_rejected", True), ("score_rejected", 0.5), ("loss", False),
    ("loss_mask", [0, 1]), ("weight", 0.5), ("train", False), ("train_on_input", True), ("mask_history", True),
    ("tools", '[{"name": "shot"}]'), ("functions", [{"name": "shot"}]), ("conversation_b", [{"role": "user"}]),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "task", "file"), DOORS)
def test_a_row_with_a_key_that_may_change_what_is_learnt_is_named(
    reader: str, task: str, file: str, tmp_path: Path
) -> None:
    missed = []
    for key, value in OF_ROWS:
        strange = {**conversation("strange", task), key: value}
        rows = [conversation("sound", task), strange]
        turns = read(rows, reader, task, file, tmp_path)
        found = turns.select("row", "problem", named=pl.col("detail").str.contains(repr(key), literal=True)).rows()
        wanted = [("sound/0", None, None), ("sound/1", None, None)]
        wanted += [(f"strange/{k}", "unknown_key", True) for k in (0, 1)]
        missed += [(key, found)] if found != wanted else []
        ignoring = read(rows, reader, task, file, tmp_path, ignore=[key])
        missed += [(key, "ignored")] if ignoring["problem"].null_count() != 4 else []
    assert missed == []


OF_MESSAGES: list[tuple[str, Any, float | None]] = [
    ("loss", False, 0.0), ("loss", 0, 0.0), ("weight", 0.5, 0.5), ("loss_weight", 0.0, 0.0), ("loss_mask", 0, 0.0),
    ("train", False, 0.0), ("trainable", "false", 0.0), ("masked", True, 0.0), ("loss_scale", 2.0, 2.0),
    ("loss_mask", [0, 1], None), ("weight", -1, None), ("train_on_input", True, None), ("mask_history", True, None),
    ("mask", True, None), ("rejected", "No.", None), ("label", False, None), ("reward", 0.5, None),
    ("tool_calls", [{"id": "1"}], None), ("function_call", {"name": "f"}, None), ("reasoning_content", "Hm.", None),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "task", "file"), DOORS)
def test_a_message_s_weight_is_its_turn_s_and_other_keys_cost_their_row(
    reader: str, task: str, file: str, tmp_path: Path
) -> None:
    missed = []
    for key, value, weight in OF_MESSAGES:
        strange = conversation("strange", task)
        strange["messages"][3][key] = value
        turns = read([conversation("sound", task), strange], reader, task, file, tmp_path)
        weights = turns["weight"].to_list()[2:] if "weight" in turns.columns else [None]
        problems = turns["problem"].to_list()
        if weight is None:
            is_right = problems == [None, None, "unknown_key", "unknown_key"] and repr(key) in turns["detail"][2]
        else:
            is_right = problems == [None] * 4 and weights == [1.0, weight]
        missed += [] if is_right else [(key, value, problems, weights)]
    assert missed == []


PAIRS = [("user", "assistant"), ("human", "gpt"), ("Human", "GPT"), ("USER", "Assistant")]
DISORDER: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "the assistant first": ([("assistant", "Hi."), ("user", "A?"), ("assistant", "B.")], "speaks first"),
    "the user twice": ([("user", "A?"), ("user", "B?"), ("assistant", "C.")], "the user speaks twice"),
    "the assistant twice": ([("user", "A?"), ("assistant", "B."), ("assistant", "C.")], "assistant speaks twice"),
    "an empty answer": ([("user", "A?"), ("assistant", "")], "message 2 is empty"),
    "a blank answer": ([("user", "A?"), ("assistant", " \n")], "message 2 is empty"),
    "no answer": ([("user", "A?")], "the last question has no answer"),
    "the system in the middle": ([("user", "A?"), ("system", "S"), ("assistant", "B.")], "the system speaks in the"),
    "two systems": ([("system", "S"), ("system", "T"), ("user", "A?"), ("assistant", "B.")], "the system speaks"),
    **{
        f"a {name}": ([("user", "A?"), (name, "{}"), ("assistant", "B.")], f"unknown speaker {name!r}")
        for name in ("tool", "function", "tool_call", "tool_response", "function_call", "observation", "bot", "model")
    },
}  # fmt: skip


@pytest.mark.parametrize(("reader", "task", "file"), DOORS)
def test_a_conversation_in_disorder_costs_itself_alone(reader: str, task: str, file: str, tmp_path: Path) -> None:
    rows = [conversation("sound", task)]
    rows += [{**rows[0], "id": name, "messages": _said(said)} for name, (said, _) in DISORDER.items()]
    turns = read(rows, reader, task, file, tmp_path)
    problems = turns.group_by("thread").agg(pl.col("problem").first(), pl.col("detail").first())
    found = {name: (problem, detail) for name, problem, detail in problems.rows()}
    assert found.pop("sound") == (None, None)
    assert {name: problem for name, (problem, _) in found.items()} == dict.fromkeys(DISORDER, "unparsable_row")
    assert [name for name, (_, detail) in found.items() if DISORDER[name][1] not in detail] == []


def _said(speeches: list[tuple[str, Any]]) -> list[Row]:
    return [{"role": who, "content": text} for who, text in speeches]


@pytest.mark.parametrize(("reader", "task", "file"), DOORS)
def test_speakers_may_be_written_large_or_small(reader: str, task: str, file: str, tmp_path: Path) -> None:
    rows = [{**conversation(f"{k}", task), "messages": _said([(a, "A?"), (b, "B.")])} for k, (a, b) in enumerate(PAIRS)]
    turns = read(rows, reader, task, file, tmp_path)
    assert turns.select("row", "instruction", "response", "problem").rows() == [
        (f"{k}/0", "A?", "B.", None) for k in range(len(PAIRS))
    ]


def part(text: str | None = None, image: str | None = None) -> Row:
    """A typed part, with the same keys whatever it is, as Parquet and Arrow have them."""
    return {"type": "image" if text is None else "text", "text": text, "image": image}


PARTS: dict[str, tuple[list[list[Row]], list[str], list[str]]] = {
    "image, text": ([[part(image="a.jpg"), part("What?")]], ["What?"], ["a.jpg"]),
    "text, image": ([[part("What?"), part(image="a.jpg")]], ["What?"], ["a.jpg"]),
    "two images around": (
        [[part(image="a.jpg"), part("or"), part(image="b.jpg")]], ["<image>or<image>"], ["a.jpg", "b.jpg"]
    ),
    "two images, two texts": (
        [[part("Is "), part(image="b.jpg"), part(image="a.jpg"), part("same?")]],
        ["Is <image><image>same?"], ["b.jpg", "a.jpg"],
    ),
    "a later image": (
        [[part(image="a.jpg"), part("What?")], [part("And "), part(image="b.jpg"), part("?")]],
        ["<image>What?", "And <image>?"], ["a.jpg", "b.jpg"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("reader", ["llava", "table"])
def test_each_typed_part_stands_where_it_stands(reader: str, file: str, tmp_path: Path) -> None:
    rows = []
    for name, (asked, _, _) in PARTS.items():
        said = [speech for parts in asked for speech in (("user", parts), ("assistant", [part("B.")]))]
        rows.append({"id": name, "messages": _said(said)})
    turns = read(rows, reader, "instruction", file, tmp_path)
    assert turns["problem"].null_count() == turns.height
    for name, (_, texts, images) in PARTS.items():
        own = turns.filter(pl.col("thread") == name)
        assert (own["instruction"].to_list(), own["images"].to_list()) == (texts, [images] * len(texts))


@pytest.mark.parametrize("file", ["json", "jsonl"])
@pytest.mark.parametrize("reader", ["llava", "table"])
def test_a_broken_message_about_an_image_is_no_text_for_another_task(reader: str, file: str, tmp_path: Path) -> None:
    """The row names no image that can be read, but what was said of one is lost, and not ordinary."""
    asked: dict[str, Any] = {
        "bare": ["What?", {"type": "image", "image": "a.jpg"}],
        "google": [{"inline_data": {"mime_type": "image/png", "data": "x"}}, {"text": "What?"}],
        "count": "<image> is one",
        "anthropic": [{"type": "image", "source": {"type": "file", "file_id": "f1"}}],
    }
    rows = [{"id": name, "messages": _said([("user", words), ("assistant", "B.")])} for name, words in asked.items()]
    rows[2]["messages"][0]["images"] = ["a.jpg", "b.jpg"]
    rows.append({"id": "text", "messages": _said([("user", "A?"), ("bot", "B.")])})
    turns = read(rows, reader, "instruction", file, tmp_path)
    assert turns.select("thread", "problem").rows() == [
        ("bare", "unparsable_row"), ("google", "unparsable_row"), ("count", "image_count_mismatch"),
        ("anthropic", "unparsable_row"), ("text", "not_for_task"),
    ]  # fmt: skip


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("key", "value"), OF_ROWS)
def test_alpaca_s_rows_are_held_to_the_same(key: str, value: Any, file: str, tmp_path: Path) -> None:
    plain = {"id": "sound", "instruction": "Add.", "input": "1 and 2", "output": "3"}
    rows = [plain, {**plain, "id": "strange", key: value}]
    turns = read(rows, "alpaca", "text_instruction", file, tmp_path)
    assert turns["problem"].null_count() == turns["detail"].null_count() == 1
    named = turns.filter(pl.col("problem") == "unknown_key")
    assert named.height == 1 and repr(key) in named["detail"][0]
    ignoring = read(rows, "alpaca", "text_instruction", file, tmp_path, ignore=[key])
    assert ignoring["problem"].null_count() == 2
