"""Conversations in every form, in every kind of table: the same exchanges, or a reason."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vldata.errors import SourceError
from vldata.images.references import ImageReader
from vldata.sources.llava import Llava
from vldata.sources.reading.conversations import exchanges, in_order, talk
from vldata.sources.sharegpt import ShareGpt
from vldata.sources.table import Table

SAID = [("<image>\nWhat is it?", "A box."), ("Colour?", "Green.")]


def messages(who: str, what: str, *, user: str = "user", assistant: str = "assistant") -> list[dict[str, str]]:
    return [{who: role, what: text} for pair in SAID for role, text in zip((user, assistant), pair, strict=True)]


def parts(*, image: dict[str, Any]) -> list[dict[str, Any]]:
    first = [{"type": "image", **image}, {"type": "text", "text": "\nWhat is it?"}]
    plain = [{"type": "text", "text": text} for _, *texts in [("", "A box."), ("", *SAID[1])] for text in texts]
    roles = ("user", "assistant", "user", "assistant")
    return [{"role": role, "content": c} for role, c in zip(roles, [first, *([part] for part in plain)], strict=True)]


FORMS: dict[str, dict[str, Any]] = {
    "llava": {"image": "a.jpg", "conversations": messages("from", "value", user="human", assistant="gpt")},
    "openai": {"images": ["a.jpg"], "messages": messages("role", "content")},
    "mantis": {"images": ["a.jpg"], "conversation": messages("role", "content", user="User", assistant="Assistant")},
    "paths": {"images": [{"path": "a.jpg", "bytes": None}], "messages": messages("role", "content")},
    "trl": {"images": ["a.jpg"], "messages": parts(image={})},
    "index": {"images": ["a.jpg"], "messages": parts(image={"index": 0, "text": None})},
    "qwen": {"messages": parts(image={"image": "a.jpg"})},
    "address": {"messages": parts(image={"type": "image_url", "image_url": {"url": "a.jpg"}})},
    "swift": {"images": ["a.jpg"], "query": SAID[1][0], "response": SAID[1][1], "history": [[*SAID[0]]]},
    "alpaca": {"images": "a.jpg", "instruction": SAID[1][0], "output": SAID[1][1], "history": [[*SAID[0]]]},
    "cauldron": {"images": ["a.jpg"], "texts": [{"user": q, "assistant": a, "source": "s"} for q, a in SAID]},
    "pairs": {"images": ["a.jpg"], "conversation": [{"human": q, "assistant": a} for q, a in SAID]},
    "text": {"image": "a.jpg", "conversations": json.dumps(messages("from", "value", user="human", assistant="gpt"))},
    "python": {"images": "['a.jpg']", "messages": repr(messages("role", "content"))},
    "own": {
        "messages": [{"role": "user", "content": "What is it?", "images": ["a.jpg"]}, *messages("role", "content")[1:]]
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form: str) -> None:
    one = talk({"id": 1, **FORMS[form]}, pictured=True)
    assert one.problem is None, one.detail
    assert one.thread == "1" and [*one.images] == ["a.jpg"]
    turns = exchanges([one])
    assert turns.select("instruction", "response").rows() == [("What is it?", "A box."), SAID[1]]


WRITERS = {
    "rows.json": lambda path, rows: path.write_text(json.dumps(rows)),
    "rows.jsonl": lambda path, rows: path.write_text("".join(f"{json.dumps(row)}\n" for row in rows)),
    "rows.parquet": lambda path, rows: pl.DataFrame(rows).write_parquet(path),
    "rows.arrow": lambda path, rows: pl.DataFrame(rows).write_ipc(path),
    "saved": lambda path, rows: datasets.Dataset.from_list(rows).save_to_disk(path),
    "rows.csv": lambda path, rows: pl.DataFrame(as_texts(rows)).write_csv(path),
    "rows.tsv": lambda path, rows: pl.DataFrame(as_texts(rows)).write_csv(path, separator="\t"),
}


def as_texts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v if isinstance(v, str | int) else json.dumps(v) for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("adapter", [Llava, Table])
@pytest.mark.parametrize("form", ["llava", "openai", "trl", "swift"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_table_holds_them(name: str, form: str, adapter: type[Table | Llava], tmp_path: Path) -> None:
    rows = [{"id": 7, **FORMS[form]}, {"id": 8, **FORMS[form]}]
    WRITERS[name](tmp_path / name, rows)
    turns = adapter(path=str(tmp_path / name), image_root=str(tmp_path)).turns("instruction")
    assert turns["problem"].null_count() == turns.height == 4, turns["detail"].to_list()
    assert turns["row"].to_list() == ["7/0", "7/1", "8/0", "8/1"]
    assert turns["images"].to_list() == [["a.jpg"]] * 4
    assert turns["instruction"].to_list() == ["What is it?", "Colour?"] * 2


def test_a_table_of_conversations_takes_images_and_ids_from_the_columns_that_fields_name(tmp_path: Path) -> None:
    rows = [{"uid": 3, "name": "a", "conversations": messages("from", "value")}, {"uid": 4, "conversations": []}]
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    fields = {"row": "uid", "images": "name || '.jpg'"}
    turns = Table(path=str(tmp_path / "t.jsonl"), fields=fields).turns("instruction")
    assert turns["row"].to_list() == ["3/0", "3/1", "4/0"]
    assert turns["images"].to_list()[:2] == [["a.jpg"]] * 2
    with pytest.raises(SourceError, match="holds conversations, of which a row has no 'position'"):
        Table(path=str(tmp_path / "t.jsonl"), fields={"position": "uid"}).turns("instruction")


def png(red: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), (red, 0, 0)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("adapter", [Llava, Table])
def test_images_in_cells_are_referenced(adapter: type[Table | Llava], tmp_path: Path) -> None:
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    cells = [[{"bytes": png(1)}, {"bytes": png(2)}], [], [{"bytes": png(3)}, None, {"bytes": png(4)}]]
    asked = [["<image> and <image>?", "x"], ["y?", "x"], ["<image> and <image>?", "x"]]
    said = [[{"from": who, "value": text} for who, text in zip(("human", "gpt"), pair, strict=True)] for pair in asked]
    columns = {"id": ["a", "b", "c"], "images": pa.array(cells, kind), "conversations": said}
    pl.DataFrame(pa.table(columns)).write_parquet(tmp_path / "t.parquet")
    source = adapter(path=str(tmp_path / "t.parquet"))
    turns = source.turns("instruction")
    assert turns["problem"].to_list() == [None, "not_for_task", "unparsable_row"]
    reader = ImageReader(source.image_root)
    assert [reader.read(ref) for ref in turns["images"][0]] == [png(1), png(2)]
    assert source.turns("text_instruction")["problem"].to_list() == ["not_for_task", None, "unparsable_row"]


WEIGHTS = [
    ("weight", 0, 1), ("loss", False, True), ("loss_weight", 0.0, 1.0), ("train", False, True), ("masked", True, False),
    ("loss", "false", "true"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "off", "on"), WEIGHTS)
def test_masks_and_weights_of_answers_are_weights_of_turns(key: str, off: Any, on: Any) -> None:
    said = messages("role", "content")
    said[0][key], said[1][key], said[3][key] = off, off, on
    row = {"id": "w", "image": "a.jpg", "messages": said}
    assert exchanges([talk(row, pictured=True)])["weight"].to_list() == [0.0, 1.0]
    del said[3][key]
    plain = {"id": "p", "image": "a.jpg", "messages": messages("role", "content")}
    both = exchanges([talk(row, pictured=True), talk(plain, pictured=True)])
    assert both["weight"].to_list() == [0.0, 1.0, 1.0, 1.0]
    said[3][key] = off
    assert talk(row, pictured=True).problem == "not_for_task"


def test_the_weights_of_a_finished_row_are_kept() -> None:
    turns = [{"row": "1", "weight": 0.0}, {"row": "2", "weight": None}]
    row = {"image": "a.jpg", "messages": messages("role", "content"), "turns": turns}
    assert talk(row, pictured=True).weights == [0.0, 1.0]
    assert talk({**row, "turns": [{"weight": 1.0}, {"weight": 1.0}]}, pictured=True).weights is None


@pytest.mark.parametrize(("key", "value"), [("content", "Something else."), ("role", "system")])
def test_a_message_that_says_two_things_is_refused(key: str, value: str) -> None:
    said = messages("from", "value")
    said[0][key] = value
    assert talk({"image": "a.jpg", "conversations": said}, pictured=True).problem == "unknown_key"


@pytest.mark.parametrize(("place", "key", "value"), [(0, "loss", True), (1, "weight", -1), (1, "loss", [0, 1])])
def test_weights_that_mean_something_else_are_refused(place: int, key: str, value: Any) -> None:
    said: list[dict[str, Any]] = [*messages("role", "content")]
    said[place] = {**said[place], key: value}
    assert talk({"image": "a.jpg", "messages": said}, pictured=True).problem == "unknown_key"


STRANGE = [
    ("objects", {"ref": ["a mug"], "bbox": [[1, 2, 3, 4]]}), ("tools", '[{"name": "shot"}]'), ("rejected", "No."),
    ("rejected_response", "No."), ("label", False), ("mask", "User"), ("masks", [1]), ("depth", "d.png"),
    ("chat_template_kwargs", {"thinking": True}), ("bbox", [1, 2, 3, 4]), ("loss_type", "x"),
]  # fmt: skip


@pytest.mark.parametrize("where", ["row", "message"])
@pytest.mark.parametrize(("key", "value"), [*STRANGE, ("reasoning_content", "Hm."), ("tool_calls", [{"id": 1}])])
def test_a_key_that_may_change_what_is_learnt_costs_its_row(key: str, value: Any, where: str) -> None:
    said: list[dict[str, Any]] = [*messages("from", "value")]
    row: dict[str, Any] = {"id": 1, "image": "a.jpg", "conversations": said}
    if where == "row":
        row[key] = value
    else:
        said[1] = {**said[1], key: value}
    one = talk(row, pictured=True)
    assert one.problem == "unknown_key" and repr(key) in str(one.detail) and f"`ignore: [{key}]`" in str(one.detail)
    assert len(one.exchanges) == 2 and one.thread == "1"
    assert talk(row, pictured=True, ignore=frozenset({key})).problem is None


@pytest.mark.parametrize("value", [None, "", "[]", [], {}, [None], {"ref": [], "bbox": None}])
def test_a_key_that_says_nothing_changes_nothing(value: Any) -> None:
    assert (
        talk({"objects": value, "image": "a.jpg", "messages": messages("role", "content")}, pictured=True).problem
        is None
    )


HARMLESS = ["source", "data_source", "question_id", "clip_score", "width", "license", "model", "num_turns", "metadata",
            "relevance_ratings", "image_correspondence_ratings", "image_correspondence_min",
            "image_path", "Unnamed: 0", "conversation_hash", "language"]  # fmt: skip


@pytest.mark.parametrize("key", HARMLESS)
def test_a_key_that_surely_changes_nothing_is_passed_over(key: str) -> None:
    row = {key: "x", "image": "a.jpg", "conversations": messages("from", "value")}
    assert talk(row, pictured=True).problem is None


def test_a_key_that_repeats_what_is_said_changes_nothing() -> None:
    row = {"prompt": SAID[1][0], "image": "a.jpg", "messages": messages("role", "content")}
    assert talk(row, pictured=True).problem is None
    assert talk({**row, "prompt": "Something else."}, pictured=True).problem == "unknown_key"


def test_images_under_a_name_that_nobody_reads_are_told_for_either_task() -> None:
    row = {"photo": "a.jpg", "conversations": messages("from", "value")}
    assert {talk(row, pictured=pictured).problem for pictured in (True, False)} == {"unknown_key"}
    text = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A cat."}]
    assert talk({"tools": "[1]", "conversations": text}, pictured=True).problem == "not_for_task"


def test_lists_of_objects_as_datasets_writes_them_are_messages() -> None:
    said = {"from": ["human", "gpt"], "value": ["What is it?", "A cat."]}
    assert talk({"image": "a.jpg", "conversations": said}, pictured=True).exchanges == [("What is it?", "A cat.")]
    said["value"].append("No.")
    assert talk({"image": "a.jpg", "conversations": said}, pictured=True).problem == "unparsable_row"


@pytest.mark.parametrize("image", [None, "", []])
def test_a_mark_for_which_the_row_names_no_image_is_broken_and_not_of_another_task(image: object) -> None:
    row = {"id": "a", "image": image, "conversations": messages("from", "value")}
    assert talk(row, pictured=True).problem == "image_count_mismatch"


@pytest.mark.parametrize("key", ["system", "system_prompt", "sys_prompt"])
def test_the_system_has_many_names(key: str) -> None:
    row = {key: "Be brief.", "image": "a.jpg", "messages": messages("role", "content")}
    assert talk(row, pictured=True).system == "Be brief."
    row["messages"] = [{"role": "developer", "content": "Be long."}, *row["messages"]]
    assert talk(row, pictured=True).problem == "unknown_key"


@pytest.mark.parametrize(
    ("images", "asked", "problem"),
    [
        ([["a"], ["b"]], ["<image>A?", "<image>B?"], None),
        ([["a"], ["b"]], ["A?", "B?"], None),
        ([["a", "b"]], ["<image>A <image>?", "B?"], None),
        ([["a"], ["b"]], ["A?", "<image><image>B?"], "image_count_mismatch"),
        ([["a"], ["b"], ["c"]], ["A?", "B?"], "image_count_mismatch"),
        ([["a"], [None]], ["A?", "B?"], "unparsable_row"),
        (["a", None, "b"], ["<image>A <image>?", "B?"], "unparsable_row"),
    ],
)
def test_images_stay_with_their_questions(images: Any, asked: list[str], problem: str | None) -> None:
    said = [{"from": who, "value": text} for q in asked for who, text in (("user", q), ("assistant", "x"))]
    one = talk({"images": images, "conversations": said}, pictured=True)
    assert one.problem == problem
    if problem is None and len(images) == 2:
        assert [question.count("<image>") for question, _ in one.exchanges if question] == [1, 1]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"images": ["b.jpg"], "messages": parts(image={"image": "a.jpg"})}, "unparsable_row"),
        ({"images": ["a.jpg", "b.jpg"], "messages": parts(image={"index": 0})}, "image_count_mismatch"),
        ({"messages": parts(image={"type": "video", "video": "a.mp4"})}, "not_for_task"),
        ({"images": ["a.jpg"], "messages": parts(image={"type": "video", "video": "a.mp4"})}, "unparsable_row"),
        ({"images": ["a.jpg"], "messages": parts(image={"mask": [1]})}, "unknown_key"),
        ({"image": "a.jpg", "images": ["b.jpg"], "messages": messages("role", "content")}, "unparsable_row"),
        ({"image": "a.jpg", "messages": messages("role", "content"), "conversations": [{"from": "x"}]}, "unknown_key"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(row: dict[str, Any], problem: str) -> None:
    assert talk(row, pictured=True).problem == problem


def test_parts_may_name_the_row_s_images_by_their_places() -> None:
    said = parts(image={"index": 1})
    said[2] = {"role": "user", "content": [{"type": "image", "index": 0}, *said[2]["content"]]}
    one = talk({"images": ["a.jpg", "b.jpg"], "messages": said}, pictured=True)
    assert (one.problem, [*one.images]) == (None, ["b.jpg", "a.jpg"])


def test_sharegpt_s_of_the_hub_are_read(tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "Hi", "toxic": False, "timestamp": None},
        {"role": "assistant", "content": "Ho"},
    ]
    pl.DataFrame({"conversation_id": ["a"], "conversation": [said], "turn": [1]}).write_parquet(tmp_path / "t.parquet")
    turns = ShareGpt(path=str(tmp_path)).turns("text_instruction")
    assert turns.select("instruction", "response", "problem").rows() == [("Hi", "Ho", None)]


@pytest.mark.parametrize(
    ("places", "is_whole"),
    [
        ([0, 1, 2], True), ([2, 0, 1], True), ([0, 0], False), ([0, 2], False), ([1, 2], False), ([-1, 1], False),
        ([None], True), ([0, None], False),
    ],
)  # fmt: skip
def test_a_thread_s_places_neither_repeat_nor_have_holes(places: list[int | None], is_whole: bool) -> None:
    blank = pl.Series([None] * (len(places) + 1), dtype=pl.String)
    threads = ["t"] * len(places) + ["sound"]
    turns = pl.DataFrame({"thread": threads, "position": [*places, 0], "problem": blank, "detail": blank})
    turns = in_order(turns.with_columns(pl.col("position").cast(pl.Int32)))
    assert turns["problem"].to_list() == [None if is_whole else "broken_conversation"] * len(places) + [None]
    if not is_whole:
        assert turns["detail"][0] == "the positions of its conversation are " + ", ".join(
            "none" if place is None else str(place) for place in sorted(places, key=lambda p: (p is not None, p))
        )


def test_threads_may_be_counted_from_one() -> None:
    blank = pl.Series([None] * 3, dtype=pl.String)
    turns = pl.DataFrame({"thread": ["a", "a", "b"], "position": [1, 2, 1], "problem": blank, "detail": blank})
    assert in_order(turns.with_columns(pl.col("position").cast(pl.Int32)))["problem"].null_count() == 3


KEYS = ("id", "image", "images", "conversations", "messages", "texts", "query", "response", "history", "system", "z")
INNER_KEYS = ["role", "content", "from", "value", "type", "text", "image", "weight", "z"]
TEXTS = ["", "x", "<image>", "[", "a.jpg", "user", "assistant", "[{'role': 'user'}]"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER_KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5) | JSON, max_size=4), st.booleans())
def test_no_row_is_lost_and_none_breaks_the_reader(rows: list[Any], pictured: bool) -> None:
    talks = [talk(row, pictured=pictured) for row in rows]
    turns = exchanges(talks)
    assert all(one.exchanges for one in talks)
    assert turns["thread"].n_unique() == len(rows)
    sound = turns.filter(pl.col("problem").is_null())
    assert sound["instruction"].null_count() == sound["response"].null_count() == 0
    assert (sound["images"].list.len() > 0).all() if pictured else (sound["images"].list.len() == 0).all()


def dialogue(folder: Path, answer: Any, *, name: str = "t.json", source: type = Llava, **row: Any) -> pl.DataFrame:
    said = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": answer}]
    (folder / name).write_text(json.dumps([{"id": "a", "conversations": said, **row}]))
    turns: pl.DataFrame = source(path=str(folder / name)).turns("text_instruction")
    return turns


@pytest.mark.parametrize("source", [Llava, ShareGpt, Table])
@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ("Yes.<|im_end|>", "<|im_end|>"),
        ("[INST] x [/INST]", "[INST]"),
        ("<s>a</s>", "<s>"),
        ("a<start_of_turn>", "<start_of_turn>"),
        ("a<|eot_id|>", "<|eot_id|>"),
        ("a<|endoftext|>", "<|endoftext|>"),
        ("a <ref>dog</ref><box>(1,2),(3,4)</box>", "<ref>"),
        ("a dog <loc_17><loc_18>", "<loc_1>"),
    ],
)
def test_tokens_of_templates_and_boxes_in_words_are_told(tmp_path: Path, source: type, answer: str, token: str) -> None:
    turns = dialogue(tmp_path, answer, source=source)
    assert turns["problem"].to_list() == [None]
    (remark,) = turns["remark"].to_list()
    assert f" {token}," in remark


@pytest.mark.parametrize("answer", ["a < b > c", "x|y", "a <b>c</b>", "array[INSTANCE]", "the box (1, 2)"])
def test_words_without_tokens_have_no_remark(tmp_path: Path, answer: str) -> None:
    assert "remark" not in dialogue(tmp_path, answer).columns


@pytest.mark.parametrize("source", [Llava, ShareGpt, Table])
@pytest.mark.parametrize(("answer", "text"), [("3", "3"), ("3.50", "3.50"), ("1e3", "1e3"), ("9007199254740993",) * 2])
def test_an_answer_that_is_a_number_is_read_as_written(tmp_path: Path, source: type, answer: str, text: str) -> None:
    dialogue(tmp_path, "NUMBER")
    path = tmp_path / "t.json"
    path.write_text(path.read_text().replace('"NUMBER"', answer))
    assert source(path=str(path)).turns("text_instruction")["response"].to_list() == [text]


@pytest.mark.parametrize("answer", [True, None, [], ["a"]])
def test_an_answer_that_is_neither_text_nor_a_number_is_refused(tmp_path: Path, answer: Any) -> None:
    assert dialogue(tmp_path, answer)["problem"].to_list() == ["unparsable_row"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"meta": {"loss": 0}}, "unknown_key"),
        ({"extra": {"a": [{"system": "Be brief."}]}}, "unknown_key"),
        ({"metadata": '{"system": "Be brief."}'}, "unknown_key"),
        ({"custom_instruction": "Be brief."}, "unknown_key"),
        ({"header": "Be brief."}, "unknown_key"),
        ({"meta": {"source": "web", "score": 3, "loss": None}}, None),
        ({"extra": "from the web", "custom_instruction": None, "header": ""}, None),
        ({"custom_instruction": False}, None),
    ],
)
def test_a_harmless_key_with_what_is_learnt_inside_is_not_harmless(
    tmp_path: Path, row: dict[str, Any], problem: str | None
) -> None:
    assert dialogue(tmp_path, "So.", **row)["problem"].to_list() == [problem]
    said = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "So.", **row}]
    (tmp_path / "u.json").write_text(json.dumps([{"id": "a", "conversations": said}]))
    assert Llava(path=str(tmp_path / "u.json")).turns("text_instruction")["problem"].to_list() == [problem]
