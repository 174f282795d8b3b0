"""What a mixture may say, and every way of saying it wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from vldata.mixture.models import Mixture, MixtureEntry, Strategy, check


def problems(raw: dict[str, Any], names: str = "a b c") -> list[tuple[str, str]]:
    return [(e.where, e.problem) for e in check(Mixture.model_validate(raw), names.split())]


def refused(raw: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        Mixture.model_validate(raw)
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def test_a_bare_number_is_a_weight_and_a_list_is_a_group_without_numbers() -> None:
    loaded = Mixture.model_validate(
        {"sources": {"a": 3, "g": {"weight": 6, "strategy": "sqrt", "sources": ["b", "c"]}}}
    )
    inner = {"b": MixtureEntry(), "c": MixtureEntry()}
    assert loaded.sources == {
        "a": MixtureEntry(weight=3),
        "g": MixtureEntry(weight=6, strategy=Strategy(name="sqrt"), sources=inner),
    }


def test_a_loaded_mixture_survives_its_own_json() -> None:
    group = {"epochs": 2, "strategy": "sqrt", "sources": ["b", "c"]}
    loaded = Mixture.model_validate({"strategy": {"capped": 10}, "max_epochs": 3, "sources": {"a": None, "g": group}})
    assert Mixture.model_validate(loaded.model_dump(mode="json", exclude_none=True)) == loaded
    assert Mixture.model_validate_json(loaded.model_dump_json()) == loaded


def test_a_strategy_with_a_number_is_a_map_of_one_key() -> None:
    assert Mixture.model_validate({"strategy": {"temperature": 2}}).strategy == Strategy(name="temperature", option=2)


@pytest.mark.parametrize(
    ("raw", "where", "problem"),
    [
        ({"sources": {"a": True}}, "sources.a", "True is neither a weight nor a map"),
        ({"sources": {"a": "3"}}, "sources.a", "'3' is neither a weight nor a map"),
        ({"sources": {"a": [1]}}, "sources.a", "[1] is neither a weight nor a map"),
        ({"sources": {"a": -1}}, "sources.a", "-1 is not a number from 0"),
        ({"sources": {"a": float("nan")}}, "sources.a", "nan is not a number from 0"),
        ({"sources": {"a": float("inf")}}, "sources.a", "inf is not a number from 0"),
        ({"sources": {"a": {"weight": "3"}}}, "sources.a.weight", "'3' is not a number"),
        ({"sources": {"a": {"weight": -1}}}, "sources.a.weight", "greater than or equal to 0"),
        ({"sources": {"a": {"count": 1.5}}}, "sources.a.count", "valid integer"),
        ({"sources": {"a": {"wieght": 1}}}, "sources.a.wieght", "not permitted"),
        ({"sources": {"g": {"sources": {"a": {"epochs": -2}}}}}, "sources.g.sources.a.epochs", "greater than or equal"),
        ({"sources": {}}, "sources", "at least 1 item"),
        ({"sources": {"g": {"sources": []}}}, "sources.g.sources", "at least 1 item"),
        ({"sources": ["a", "a"]}, "sources", "'a' stands twice"),
        ({"sources": ["a", 3]}, "sources", "a list holds names only"),
        ({"strategy": "sqt"}, "strategy", "no strategy 'sqt'; did you mean 'sqrt'?"),
        ({"strategy": "temperature"}, "strategy", "write {temperature: 2}"),
        ({"strategy": {"temperature": 0}}, "strategy", "needs a positive number"),
        ({"strategy": {"capped": True}}, "strategy", "needs a positive number"),
        ({"strategy": {"sqrt": 2}}, "strategy", "'sqrt' takes no number"),
        ({"strategy": {"temperature": 2, "capped": 3}}, "strategy", "no strategy {'temperature': 2, 'capped': 3}"),
        ({"total": 0}, "total", "greater than or equal to 1"),
        ({"total": "100"}, "total", "valid integer"),
        ({"max_epochs": 0}, "max_epochs", "greater than 0"),
        ({"unit": "tokns"}, "unit", "'samples', 'images' or 'turns'"),
        ({"sorces": {}}, "sorces", "not permitted"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(raw: dict[str, Any], where: str, problem: str) -> None:
    found = refused(raw)
    assert found[0] == where
    assert problem in found[1]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"strategy": "uniform"},
        {"sources": ["a", "b", "c"]},
        {"sources": {"a": 1, "b": 0, "c": 2.5}},
        {"sources": {"a": {"count": 1}, "b": {"count": 0}, "c": {"count": 3}}, "total": 4},
        {"sources": {"a": {"epochs": 1}, "g": {"epochs": 0.5, "sources": {"b": 1, "c": 2}}}},
        {"sources": {"a": None, "g": {"sources": ["b", "c"]}}, "strategy": "sqrt"},
        {"sources": {"a": 1, "b": 2, "c": 3}, "strategy": "explicit"},
    ],
)
def test_a_sound_mixture_has_no_problem(raw: dict[str, Any]) -> None:
    assert problems(raw) == []


def test_kinds_may_not_be_mixed_on_a_level_and_both_sides_are_named() -> None:
    assert problems({"sources": {"a": 1, "b": {"count": 5}, "c": {"epochs": 1}}}) == [
        ("mixture.sources.b.count", "'b' uses 'count' while 'a' uses 'weight'"),
        ("mixture.sources.c.epochs", "'c' uses 'epochs' while 'a' uses 'weight'"),
    ]


def test_two_kinds_on_one_source_are_one_too_many() -> None:
    assert problems({"sources": {"a": {"weight": 1, "count": 5}, "b": 1, "c": 1}}) == [
        ("mixture.sources.a", "'a' uses 'weight' and 'count' at once")
    ]


def test_a_source_without_a_number_among_numbers_is_reported() -> None:
    assert problems({"sources": {"a": 1, "b": None, "c": 2}}) == [
        ("mixture.sources.b", "'b' has no number while 'a' uses 'weight'")
    ]


def test_counts_and_epochs_stand_on_the_top_level_only() -> None:
    assert problems({"sources": {"a": 1, "g": {"weight": 2, "sources": {"b": {"count": 3}, "c": {"count": 4}}}}}) == [
        ("mixture.sources.g.sources.b.count", "'count' stands inside a group, whose amount is decided above it"),
        ("mixture.sources.g.sources.c.count", "'count' stands inside a group, whose amount is decided above it"),
    ]


def test_weights_that_are_all_0_are_refused_at_their_level() -> None:
    assert problems({"sources": {"a": 1, "g": {"weight": 1, "sources": {"b": 0, "c": 0}}}}) == [
        ("mixture.sources.g.sources", "every weight is 0")
    ]


def test_a_strategy_beside_numbers_is_refused() -> None:
    assert problems({"strategy": "sqrt", "sources": {"a": 1, "b": 2, "c": 3}}) == [
        ("mixture.strategy", "strategy 'sqrt' and 'a''s own weight at once")
    ]


def test_explicit_needs_numbers() -> None:
    assert problems({"strategy": "explicit"}) == [("mixture.strategy", "'explicit' without any number")]


def test_a_strategy_on_a_single_source_is_refused() -> None:
    assert problems({"sources": {"a": {"weight": 1, "strategy": "sqrt"}, "b": 1, "c": 1}}) == [
        ("mixture.sources.a.strategy", "'a' is no group")
    ]


def test_every_source_stands_somewhere_exactly_once() -> None:
    raw = {"sources": {"a": 1, "bb": 1, "g": {"weight": 1, "sources": ["a"]}}}
    assert problems(raw) == [
        ("mixture.sources.bb", "the recipe has no source 'bb'"),
        ("mixture.sources.g.sources.a", "'a' also stands in mixture.sources.a"),
        ("mixture.sources", "the source 'b' is in no group and has no weight"),
        ("mixture.sources", "the source 'c' is in no group and has no weight"),
    ]


def test_a_group_may_not_have_the_name_of_a_source() -> None:
    assert problems({"sources": {"a": {"weight": 1, "sources": ["b"]}, "c": 1}})[0] == (
        "mixture.sources.a",
        "the group 'a' has the name of a source",
    )


def test_a_total_must_agree_with_the_counts() -> None:
    counts = {"a": {"count": 1}, "b": {"count": 2}, "c": {"count": 3}}
    assert problems({"total": 7, "sources": counts}) == [("mixture.total", "total 7 while the counts sum to 6")]


def test_a_total_and_epochs_contradict_each_other() -> None:
    epochs = {"a": {"epochs": 1}, "b": {"epochs": 2}, "c": {"epochs": 3}}
    assert problems({"total": 7, "sources": epochs}) == [
        ("mixture.total", "total 7 while the sources say how many epochs they give")
    ]


def test_the_json_schema_knows_the_short_forms() -> None:
    schema = Mixture.model_json_schema()
    sources = schema["properties"]["sources"]["anyOf"][0]["anyOf"]
    assert {"type": "string"} in [form.get("items") for form in sources]
    assert {"type": "string"} in schema["properties"]["strategy"]["anyOf"]
