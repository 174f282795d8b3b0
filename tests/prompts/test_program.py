"""A block that only writes columns between its words writes what its loop would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.prompts.program import Program, compile_block
from vldata.prompts.sandbox import MAX_TEXT_CHARS

COLUMNS = frozenset({"question", "answer"})
PLAIN = ["{{ question }}", "100%{{ question }}s %s {.", " <image> {{ answer }}\n{{ question }} {{ answer }} %d\n "]
OTHER = ["{% if question %}{{ question }}{% endif %}", "{{ question | upper }}", "{{ 'x' }}{{ answer }}", "{{ 'so' }}"]


def program(body: str) -> Program:
    return compile_block(f"{{% block user %}}{body}{{% endblock %}}", "x.jinja", "user", COLUMNS)


def texts(block: Program, columns: dict[str, list[Any]]) -> Any:
    return block.texts(columns, num_rows=len(columns["question"]), constants={})


@pytest.mark.parametrize("body", PLAIN)
@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(*[st.one_of(st.text(max_size=5), st.just("%s {{ x }}"))] * 2), max_size=4))
def test_both_ways_write_the_same(body: str, rows: list[tuple[str, str]]) -> None:
    block = program(body)
    columns: dict[str, list[Any]] = {name: [row[at] for row in rows] for at, name in enumerate(("question", "answer"))}
    assert block.plain is not None
    assert texts(block, columns) == texts(replace(block, plain=None), columns)


@pytest.mark.parametrize("value", [None, 3, True, ["a"], "x" * MAX_TEXT_CHARS])
@pytest.mark.parametrize("body", PLAIN)
def test_only_short_texts_go_the_short_way(body: str, value: object) -> None:
    block, columns = program(body), {"question": ["a", value], "answer": ["b", value]}
    assert block.plain is not None
    assert not block.plain.fits(columns)
    assert texts(block, columns) == texts(replace(block, plain=None), columns)


@pytest.mark.parametrize("body", OTHER)
def test_what_does_more_is_compiled(body: str) -> None:
    assert program(body).plain is None
