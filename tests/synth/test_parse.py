"""From a reply's text to exchanges."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.synth.writing import write_blocks, write_json_lines, write_user_assistant
from vldata.synth.exchange import Exchange, Link
from vldata.synth.replies import PARSERS, ParseError
from vldata.synth.schema_check import unknown_words, violations

PAIR = [Exchange("What?", "A cat.")]
STEPS = {
    "type": "object",
    "required": ["steps"],
    "properties": {"steps": {"type": "array", "items": {"type": "object", "required": ["do", "box"]}}},
}
STEP_OPTIONS = {"schema_": STEPS, "list": "steps", "question": "do", "answer": None, "element": "box"}
SCORES = {"criteria": ["right", "clear"]}
OPTIONS: dict[str, list[dict[str, Any]]] = {name: [{}, {"links": True}] for name in PARSERS}
OPTIONS["json_schema"] += [STEP_OPTIONS]
OPTIONS["scores"] = [SCORES, {"form": "first_line"}]


def reason(name: str, text: str, **options: Any) -> str:
    with pytest.raises(ParseError) as caught:
        PARSERS[name](text, options)
    return caught.value.reason


PIECES = ["Question:\n", "Answer:\n", "===", "\n", "User:", "Assistant:", '{"question": "', '", "answer": "', '"}']
JSON_PIECES = ["```json\n", "\n```", "[", "{", "}", '{"first": {"right": 3}}', '{"steps": [', "NaN"]
pieces = st.sampled_from([*PIECES, *JSON_PIECES, "[a](1)", "](", "8 7", "x", " ", "\ud800"])
replies = st.text() | st.lists(pieces).map("".join) | st.lists(pieces | st.text()).map("".join)


@pytest.mark.parametrize("name", sorted(PARSERS))
@given(replies)
def test_a_parser_raises_nothing_but_parse_errors(name: str, text: str) -> None:
    for options in OPTIONS[name]:
        with contextlib.suppress(ParseError):
            found = PARSERS[name](text, options)
            assert found
            assert all(e.answer or e.answer_links for e in found)
            assert "".join(e.question + e.answer for e in found).encode()


@pytest.mark.parametrize("name", sorted(PARSERS))
@pytest.mark.parametrize("text", ["", " \n\t", "\ud800", "[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "\0"])
def test_hostile_texts_are_refused_or_read_and_never_crash(name: str, text: str) -> None:
    with contextlib.suppress(ParseError) as _:
        PARSERS[name](text, OPTIONS[name][0])
    if not text.strip():
        assert reason(name, text) == "reply_empty"


lines = st.text("abc :.=-é\n", min_size=1).map(str.strip).filter(bool)
texts = lines.filter(lambda text: not any(line.strip() == "===" for line in text.split("\n")))
exchanges = st.lists(st.tuples(texts, texts).map(lambda both: Exchange(*both)), min_size=1, max_size=4)


@given(exchanges)
def test_blocks_are_read_as_they_were_written(some: list[Exchange]) -> None:
    assert PARSERS["llava_blocks"](write_blocks(some)) == some


@given(
    st.lists(
        st.tuples(*[st.text(min_size=1).map(str.strip).filter(bool)] * 2).map(lambda both: Exchange(*both)), min_size=1
    )
)
def test_json_lines_are_read_as_they_were_written(some: list[Exchange]) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        "".join(e.question + e.answer for e in some).encode()
        assert PARSERS["json_lines"](write_json_lines(some)) == some


@given(exchanges)
def test_user_and_assistant_are_read_as_they_were_written(some: list[Exchange]) -> None:
    assert PARSERS["user_assistant"](write_user_assistant(some)) == some


def test_links_survive_writing_and_reading() -> None:
    some = [Exchange("Which dog?", "The left one.", (Link(6, "dog", (1, 2)),), (Link(0, "The left one", (1,)),))]
    assert "Which [dog](1, 2)?" in write_blocks(some)
    assert PARSERS["llava_blocks"](write_blocks(some), {"links": True}) == some


def test_answers_may_hold_blank_lines_lists_colons_and_longer_rules() -> None:
    answer = "Two kinds:\n\n1. Classic:\nslow\n\nTitle\n=====\n- a === b"
    assert PARSERS["llava_blocks"](f"Question:\nq\n===\nAnswer:\n{answer}\n===\n")[0].answer == answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Question:\nq", "turns_do_not_alternate"),
        ("Answer:\na\n===\nQuestion:\nq", "turns_do_not_alternate"),
        ("Question:\nq\n===\nQuestion:\nq", "turns_do_not_alternate"),
        ("Question:\nq\n===\nAnswer:\n", "turn_empty"),
        ("Question:\n===\nAnswer:\na", "turn_empty"),
        ("A cat sits there.\nQuestion:\nq\n===\nAnswer:\na", "reply_unparsable"),
        ("===", "reply_empty"),
    ],
)
def test_half_a_conversation_is_no_conversation(text: str, expected: str) -> None:
    assert reason("llava_blocks", text) == expected


def test_json_in_a_fence_is_json() -> None:
    assert PARSERS["json_lines"]('```json\n{"question": "What?", "answer": "A cat."}\n```') == PAIR


def test_json_must_have_the_form_of_the_schema() -> None:
    assert reason("json_lines", '["a"]') == "reply_off_schema"
    assert reason("json_lines", "What? A cat.") == "reply_not_json"
    assert reason("json_schema", '{"steps": [{"do": "x"}]}', **STEP_OPTIONS) == "reply_off_schema"
    assert reason("json_schema", '{"steps": []}', **STEP_OPTIONS) == "reply_off_schema"
    assert reason("json_schema", '{"steps": [{"do": "x", "box": true}]}', **STEP_OPTIONS) == "reply_off_schema"


def test_a_box_may_be_the_answer() -> None:
    found = PARSERS["json_schema"]('{"steps": [{"do": "go back", "box": 2}]}', STEP_OPTIONS)
    assert found == [Exchange("go back", "", (), (Link(0, "go back", (2,)),))]


def test_a_mark_that_cannot_be_read_is_refused() -> None:
    assert reason("answer_only", "[a dog](the first)", links=True) == "link_broken"
    assert PARSERS["answer_only"]("[a dog](the first)")[0].answer == "[a dog](the first)"


def test_scores_that_cannot_be_read_are_missing_and_never_a_number() -> None:
    reply = '{"first": {"right": 7, "clear": -1}, "second": {"right": "8", "clear": true}}'
    first, second = PARSERS["scores"](reply, SCORES)
    assert (dict(first.scores), dict(second.scores)) == ({"right": 7.0}, {})
    assert reason("scores", '{"first": {"right": 11}}', **SCORES) == "scores_missing"
    assert reason("scores", "both are fine", form="first_line") == "scores_missing"


def test_scores_may_stand_in_the_first_line() -> None:
    first, second = PARSERS["scores"]("8, 6.5\nbecause", {"form": "first_line"})
    assert (first.scores["overall"], second.scores["overall"]) == (8, 6.5)


def test_the_place_of_a_violation_is_reported() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer", "maximum": 3}}}}
    assert list(violations({"a": [1, 4]}, schema)) == ["the reply.a[1] is 4, more than 3"]
    assert list(violations({"a": [True]}, schema)) == ["the reply.a[0] is not of type integer"]
    assert list(violations({"a": [2.0]}, schema)) == []


def test_rules_that_would_not_be_checked_are_reported() -> None:
    assert list(unknown_words({"type": "object", "properties": {"a": {"oneOf": []}}})) == ["schema.properties.a.oneOf"]
    assert list(unknown_words({"type": "text"})) == ["schema.type"]
    assert list(unknown_words({"type": "string", "pattern": "("})) == ["schema.pattern"]


def test_llavas_own_replies_parse(shared_data: Path) -> None:
    prompts = shared_data / "llava/playground/data/prompts"
    sizes = [len(PARSERS["llava_blocks"](f.read_text())) for f in sorted(prompts.glob("con*/*_conv.txt"))]
    assert sizes == [4, 4]
    assert all(len(PARSERS["llava_blocks"](f.read_text())) == 1 for f in prompts.glob("complex*/*_conv.txt"))
