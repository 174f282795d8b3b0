"""Realistic replies, and the one right reading of each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.synth.messy_answers import ANSWERS
from tests.synth.messy_json import OTHERS
from tests.synth.messy_pairs import CUT, PAIRS, Pair
from vldata.synth.replies import PARSERS, REPAIRS, ParseError


def read(parser: str, text: str, **options: object) -> tuple[list[tuple[str, str]], list[str]]:
    is_cut = bool(options.pop("is_cut", False))
    try:
        reading = PARSERS[parser].reading(text, options, is_cut=is_cut)
    except ParseError as error:
        return [("!", error.reason)], []
    return [(e.question, e.answer) for e in reading.exchanges], sorted(reading.repairs)


@pytest.mark.parametrize(("text", "answer", "repairs"), ANSWERS)
def test_an_answer_is_the_answer_and_nothing_else(text: str, answer: str, repairs: str) -> None:
    expected = [("!", answer[1:])] if answer.startswith("!") else [("", answer)]
    assert read("answer_only", text) == (expected, sorted(repairs.split()))


def expected(pairs: list[Pair] | str, repairs: str) -> tuple[list[Pair], list[str]]:
    return [("!", pairs[1:])] if isinstance(pairs, str) else pairs, sorted(repairs.split())


@pytest.mark.parametrize(("text", "pairs", "repairs"), PAIRS)
def test_pairs_are_read_where_that_leaves_no_doubt(text: str, pairs: list[Pair] | str, repairs: str) -> None:
    assert read("llava_blocks", text) == expected(pairs, repairs)


@pytest.mark.parametrize(("text", "pairs", "repairs"), CUT)
def test_of_a_reply_that_was_cut_off_whole_pairs_are_kept(text: str, pairs: list[Pair] | str, repairs: str) -> None:
    assert read("llava_blocks", text, is_cut=True) == expected(pairs, repairs)


@pytest.mark.parametrize(("parser", "options", "text", "pairs", "repairs"), OTHERS)
def test_every_other_form_is_read_so(
    parser: str, options: dict[str, Any], text: str, pairs: list[Pair] | str, repairs: str
) -> None:
    assert read(parser, text, **options) == expected(pairs, repairs)


def test_there_are_replies_for_every_parser_and_every_repair() -> None:
    named = [*(row[-1] for row in (*ANSWERS, *PAIRS, *CUT, *OTHERS))]
    assert {word for repairs in named for word in repairs.split()} == REPAIRS.keys()
    assert {row[0] for row in OTHERS} >= PARSERS.keys()
    assert len([repairs for repairs in named if repairs]) >= 120
