"""The head of a JSON document: valid, the first values of its long lists, and an end that is missing is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.sources.reading import json_head
from vldata.sources.reading.json_head import write_head

KEYS = st.text(alphabet='a"\\{[', max_size=3)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\\\{}[],:é', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a"\\\\{[', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def head(folder: Path, text: str | bytes, values: int = 3, *, chunk: int | None = None, most: int = 10**6) -> Any:
    whole, cut = folder / "whole.json", folder / "head.json"
    whole.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_head, "_CHUNK", chunk or 4096)
        done = write_head(whole, cut, values=values, max_bytes=most)
    return json.loads(cut.read_text()) if done else None


@FILES
@given(rows=st.lists(st.dictionaries(st.text(max_size=2), VALUES), min_size=4, max_size=9), chunk=st.integers(1, 40))
def test_a_list_has_its_first_values_wherever_its_bytes_are_split(tmp_path: Path, rows: list[Any], chunk: int) -> None:
    for indent in (None, 1):
        assert head(tmp_path, json.dumps(rows, indent=indent), chunk=chunk) in (rows[:3], rows)
        document = {"info": {"n": 1}, "rows": rows, "end": [1, 2]}
        found = head(tmp_path, json.dumps(document, indent=indent, ensure_ascii=False), chunk=chunk)
        assert found in (document, {**document, "rows": rows[:3]})


@FILES
@given(document=st.dictionaries(st.text(max_size=2), VALUES, min_size=1) | st.lists(VALUES), data=st.data())
def test_a_document_that_ends_too_early_or_too_late_is_told(tmp_path: Path, document: Any, data: st.DataObject) -> None:
    text = json.dumps(document).encode()
    end, chunk = data.draw(st.integers(1, len(text) - 1)), data.draw(st.integers(1, 40))
    with pytest.raises(SourceError, match="not JSON: it ends inside"):
        head(tmp_path, text[:end], chunk=chunk)
    with pytest.raises(SourceError, match="something stands behind the document"):
        head(tmp_path, text + b'\n{"a": 1}', chunk=chunk)


ROWS = [{"id": k, "text": "x" * 20} for k in range(50)]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"images": ROWS[:40], "annotations": ROWS}, {"images": 40, "annotations": 3}),
        ({"images": ROWS, "annotations": ROWS[:40]}, {"images": 3, "annotations": 3}),
        ({"questions": ROWS, "answers": ROWS[:40]}, {"questions": 3, "answers": 3}),
        ({"info": ROWS[:4], "data": ROWS}, {"info": 4, "data": 3}),
        ({"anns": {str(k): row for k, row in enumerate(ROWS)}}, {"anns": 3}),
        ({str(k): row for k, row in enumerate(ROWS)}, {"0": 2, "1": 2, "2": 2}),
        ({"data": {"rows": ROWS}}, {"data": 1}),
        ({}, {}),
    ],
)
def test_what_is_cut_and_what_is_whole(tmp_path: Path, document: dict[str, Any], expected: dict[str, int]) -> None:
    found = head(tmp_path, json.dumps(document))
    assert {name: len(value) for name, value in found.items()} == expected


def test_a_packed_document_is_read_and_a_broken_one_told(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps({"data": ROWS}).encode())
    assert head(tmp_path, packed) == {"data": ROWS[:3]}
    with pytest.raises(SourceError, match="packed bytes are broken"):
        head(tmp_path, packed[:-12])


def test_a_head_that_would_be_too_long_is_not_written(tmp_path: Path) -> None:
    assert head(tmp_path, json.dumps({"data": {"rows": ROWS}}), most=100) is None
    assert not (tmp_path / "head.json").exists()
