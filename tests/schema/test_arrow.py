"""Arrays that pandas has no part in have the buffers of those that it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vldata.schema.arrow import flags, nested, numbers, strings
from vldata.schema.rows import ROW_BOX
from vldata.schema.turns import BOX


def written(array: pa.Array) -> bytes:
    """What a block has of a column."""
    array.validate(full=True)
    table = pa.table([array], names=["column"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


@given(st.lists(st.none() | st.text(max_size=4), max_size=40))
def test_texts_are_the_same_to_the_last_bit(values: list[str | None]) -> None:
    assert written(strings(values)) == written(pa.array(values, pa.string()))


@given(st.lists(st.booleans(), max_size=40))
def test_flags_are_the_same_to_the_last_bit(values: list[bool]) -> None:
    assert written(flags(pl.Series(values, dtype=pl.Boolean))) == written(pa.array(np.array(values, dtype=bool)))


@given(st.lists(st.integers(0, 2**31 - 1), max_size=40))
def test_numbers_are_the_same(values: list[int]) -> None:
    whole = np.array(values, dtype=np.int64)
    assert written(numbers(whole)) == written(pa.array(whole))
    assert written(numbers(whole, pl.Int32)) == written(pa.array(whole, pa.int32()))


A_BOX = st.fixed_dictionaries(
    {side: st.floats(allow_nan=False) for side in ("x0", "y0", "x1", "y1")}
    | {"image": st.none() | st.integers(0, 3), "phrase": st.none() | st.text(max_size=3)}
)


@given(st.lists(st.lists(A_BOX, max_size=3), max_size=20))
def test_lists_of_boxes_are_the_same(values: list[list[dict[str, Any]]]) -> None:
    boxes = nested(pl.Series(values, dtype=pl.List(BOX)), pa.list_(ROW_BOX))
    assert written(boxes) == written(pa.array(values, pa.list_(ROW_BOX)))
