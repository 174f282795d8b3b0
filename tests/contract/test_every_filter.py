"""What every filter promises, whoever adds it."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vldata.curate.filters import FILTERS, Filters, image_filters, text_filters
from vldata.schema.reasons import FILTERED
from vldata.schema.turns import SIZE

every_filter = pytest.mark.parametrize("name", list(FILTERS))

texts = st.lists(st.none() | st.text("aA é.1\n", max_size=20), max_size=15)
sizes = st.lists(
    st.none()
    | st.lists(
        st.none() | st.fixed_dictionaries({"width": st.integers(1, 9), "height": st.integers(1, 9)}), max_size=3
    ),
    max_size=15,
)


def switched_on(name: str) -> Filters:
    """The filter with the first option of these that its type takes."""
    for option in (True, 3, 0.5, 1.5):
        try:
            return Filters.model_validate({name: option})
        except ValidationError:
            continue
    raise AssertionError(f"no example option for {name}")


def reasons(
    name: str, filters: Filters, texts: list[str | None], sizes: list[list[dict[str, int] | None] | None]
) -> list[str | None]:
    """Why each text, or each list of sizes, is dropped."""
    if FILTERS[name].on == "sizes":
        return image_filters(pl.DataFrame({"sizes": pl.Series(sizes, dtype=pl.List(SIZE))}), filters).to_list()
    rows = [str(i) for i in range(len(texts))]
    turns = pl.DataFrame({"row": rows, "t": texts}, schema={"row": pl.String, "t": pl.String})
    kept, dropped = text_filters(turns, filters, ["t"])
    assert set(kept["row"]) | set(dropped["row"]) == set(rows)
    assert kept.height + dropped.height == turns.height
    assert kept.columns == turns.columns
    assert dropped.columns == ["row", "reason", "detail"]
    assert all(name in detail for detail in dropped["detail"])
    found = dict(dropped.select("row", "reason").iter_rows())
    return [found.get(row) for row in rows]


@every_filter
def test_its_reason_is_on_the_closed_list(name: str) -> None:
    assert FILTERS[name].reason in FILTERED


@every_filter
def test_it_is_off_until_it_is_named(name: str) -> None:
    assert getattr(Filters(), name) in (None, False)


@every_filter
def test_it_is_described(name: str) -> None:
    assert f" {name}: " in (Filters.__doc__ or "")


@every_filter
@given(texts=texts, sizes=sizes)
@settings(max_examples=25)
def test_every_turn_is_kept_or_in_the_ledger(
    name: str, texts: list[str | None], sizes: list[list[dict[str, int] | None] | None]
) -> None:
    assert set(reasons(name, switched_on(name), texts, sizes)) <= {None, FILTERS[name].reason}


@every_filter
@given(texts=texts, sizes=sizes)
@settings(max_examples=25)
def test_a_turn_is_judged_alone(
    name: str, texts: list[str | None], sizes: list[list[dict[str, int] | None] | None]
) -> None:
    together = reasons(name, switched_on(name), texts, sizes)
    backwards = reasons(name, switched_on(name), texts[::-1], sizes[::-1])
    assert together == backwards[::-1]


@every_filter
def test_it_passes_a_table_without_rows(name: str) -> None:
    assert reasons(name, switched_on(name), [], []) == []


@every_filter
@pytest.mark.parametrize("option", ["x", -1, [1], {"a": 1}])
def test_a_senseless_option_is_refused(name: str, option: object) -> None:
    with pytest.raises(ValidationError):
        Filters.model_validate({name: option})
