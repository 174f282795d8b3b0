"""Axes become named variants; those that are the same recipe are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vldata.ablation.changes import BaseFacts
from vldata.ablation.load import Opened, from_data, load
from vldata.ablation.variants import NAME_BYTES, Variant, facts_of, named, needs_amounts, variants
from vldata.errors import RecipeError, RecipeErrors

AMOUNTS = {"captions": 30, "questions": 30, "more": 30, "boxes": 30}
Make = Callable[..., Opened]


def expand(opened: Opened, amounts: dict[str, int] = AMOUNTS) -> dict[str, Variant]:
    facts = facts_of(opened.base, amounts)
    by_name = variants(opened.ablation, opened.tree, opened.base, facts, opened.held_out)
    return {variant.name: variant for variant in by_name}


def of_all(variant: Variant, key: str) -> set[Any]:
    """Every source's value of a setting."""
    section, name = key.split(".")
    return {getattr(getattr(entry.settings, section), name) for entry in variant.recipe.entries.values()}


def test_each_source_is_left_out_in_turn(opened: Make) -> None:
    by_name = expand(opened(held="counts", axes={"drop": "sources"}))
    assert list(by_name) == ["base", "drop-captions", "drop-questions", "drop-more", "drop-boxes"]
    assert set(by_name["drop-more"].recipe.entries) == {"captions", "questions", "boxes"}


def test_each_task_is_left_out_with_all_its_sources(opened: Make) -> None:
    by_name = expand(opened(held="counts", axes={"drop": "tasks"}))
    assert list(by_name) == ["base", "drop-caption", "drop-vqa_open", "drop-rec"]
    assert set(by_name["drop-vqa_open"].recipe.entries) == {"captions", "boxes"}


def test_named_sources_and_tasks_are_left_out_alone_or_together(opened: Make) -> None:
    by_name = expand(opened(held="counts", axes={"drop": ["captions", ["boxes", "vqa_open"]]}))
    assert set(by_name["drop-boxes-vqa_open"].recipe.entries) == {"captions"}
    assert "drop-captions" in by_name


def test_one_is_kept_alone(opened: Make) -> None:
    by_name = expand(opened(held="counts", axes={"only": ["vqa_open"]}))
    assert set(by_name["only-vqa_open"].recipe.entries) == {"questions", "more"}


def test_with_the_counts_held_the_others_keep_theirs(opened: Make) -> None:
    mixture = expand(opened(held="counts", axes={"drop": ["captions"]}))["drop-captions"].recipe.mixture
    assert mixture.total is None and mixture.max_epochs == 4
    assert mixture.sources is not None
    assert {name: entry.count for name, entry in mixture.sources.items()} == {"questions": 30, "more": 30, "boxes": 30}


def test_with_the_total_held_the_others_keep_their_weights_and_grow(opened: Make) -> None:
    by_name = expand(opened(held="total", axes={"drop": ["questions", "vqa_open"]}))
    mixture = by_name["drop-questions"].recipe.mixture
    assert mixture.total == 120
    assert mixture.sources is not None and mixture.sources["vqa"].weight == 2
    assert list(mixture.sources["vqa"].sources or {}) == ["more"]
    left = by_name["drop-vqa_open"].recipe.mixture.sources
    assert left is not None and list(left) == ["captions", "boxes"]


def test_counts_and_epochs_become_weights_when_the_total_is_held(tree: dict[str, Any], tmp_path: Path) -> None:
    for numbers in ({"count": 10}, {"epochs": 0.5}):
        tree["mixture"] = {"sources": {name: dict(numbers) for name in AMOUNTS}}
        ablation = from_data({"name": "x", "base": tree, "held": "total", "axes": {"drop": ["more"]}}, tmp_path)
        mixture = expand(ablation)["drop-more"].recipe.mixture
        assert mixture.total == 120
        assert {entry.weight for entry in (mixture.sources or {}).values()} == {30}


def test_it_must_be_said_what_is_held(opened: Make) -> None:
    with pytest.raises(RecipeErrors, match="held: counts"):
        expand(opened(axes={"drop": ["captions"]}))


@pytest.mark.parametrize("change", [{"total": 60}, {"strategy": "sqrt"}, {"weights": {"boxes": 3}}])
def test_counts_cannot_be_held_and_changed(opened: Make, change: dict[str, Any]) -> None:
    with pytest.raises(RecipeErrors, match="held: total"):
        expand(opened(held="counts", variants={"both": {"drop": ["captions"], **change}}))
    assert expand(opened(held="total", variants={"both": {"drop": ["captions"], **change}}))["both"].same_as is None


def test_weights_are_changed_where_they_stand(opened: Make) -> None:
    by_name = expand(opened(axes={"weights": {"captions": [3], "vqa": [5]}}))
    sources = by_name["weight-captions-3"].recipe.mixture.sources
    assert sources is not None and sources["captions"].weight == 3 and sources["vqa"].weight == 2
    group = by_name["weight-vqa-5"].recipe.mixture.sources
    assert group is not None and group["vqa"].weight == 5 and list(group["vqa"].sources or {}) == ["questions", "more"]


def test_a_source_without_a_weight_gets_none(opened: Make) -> None:
    with pytest.raises(RecipeErrors, match="gives 'questions' no weight"):
        expand(opened(axes={"weights": {"questions": [3]}}))


def test_a_strategy_takes_the_place_of_numbers_and_groups_and_the_total_stays(opened: Make) -> None:
    by_name = expand(opened(axes={"strategy": ["sqrt", {"temperature": 2}]}))
    mixture = by_name["strategy-sqrt"].recipe.mixture
    assert mixture.total == 120 and mixture.sources is None
    assert mixture.strategy is not None and mixture.strategy.name == "sqrt"
    other = by_name["strategy-temperature-2"].recipe.mixture.strategy
    assert other is not None and other.option == 2


def test_totals_make_a_scaling_curve(opened: Make) -> None:
    by_name = expand(opened(axes={"total": [30, 60, 120]}))
    assert [variant.recipe.mixture.total for variant in by_name.values()] == [120, 30, 60, 120]
    assert [variant.same_as for variant in by_name.values()] == [None, None, None, "base"]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("templates", "per", "task_name"),
        ("templates", "flip", 0.5),
        ("templates", "prompts", "one"),
        ("templates", "response_format", "before"),
        ("conversation", "max_turns", 5),
        ("conversation", "image_position", "after"),
        ("images", "max_side_px", 64),
    ],
)
def test_a_section_is_changed_for_every_source_whatever_it_says_itself(
    opened: Make, section: str, key: str, value: Any
) -> None:
    by_name = list(expand(opened(axes={section: {key: [value]}})).values())[1]
    assert of_all(by_name, f"{section}.{key}") == {value}


def test_null_is_the_default_everywhere(opened: Make) -> None:
    by = {"conversation.dedup": {"by": "answer"}}
    by_name = expand(opened(axes={"conversation": {"dedup": [None]}}, variants={"some": by}))
    assert by_name["dedup-none"].same_as == "base"
    assert of_all(by_name["some"], "conversation.dedup") != {None}


def test_box_formats_and_any_key_by_its_path(opened: Make) -> None:
    axes = {
        "box_format": ["shikra"],
        "set": {"sources.captions.conversation.max_turns": [3], "output.block_rows": [16]},
    }
    by_name = expand(opened(axes=axes))
    assert {entry.settings.box_format for entry in by_name["box_format-shikra"].recipe.entries.values()} == {"shikra"}
    assert by_name["max_turns-3"].recipe.entries["captions"].settings.conversation.max_turns == 3
    assert by_name["block_rows-16"].recipe.head.output.block_rows == 16


def test_synthetic_sources_are_left_out(tree: dict[str, Any], tmp_path: Path) -> None:
    tree["sources"]["chat"] = {"synth": {"from": ["captions"], "kind": "llava.detail", "model": "m", "total": 5}}
    tree["mixture"]["sources"]["chat"] = 1
    data = {"name": "x", "base": tree, "held": "counts", "axes": {"synth": [True, False], "drop": ["captions"]}}
    by_name = expand(from_data(data, tmp_path), {**AMOUNTS, "chat": 5})
    assert by_name["synth-on"].same_as == "base"
    assert "chat" not in by_name["synth-off"].recipe.entries
    left = by_name["drop-captions"].recipe  # what the chat is made from stays, and gives nothing
    assert "captions" in left.entries and left.mixture.sources is not None
    assert left.mixture.sources["captions"].count == 0 and left.mixture.sources["chat"].count == 5


def test_rules_across_sources_lose_those_that_are_left_out(tree: dict[str, Any], tmp_path: Path) -> None:
    tree["dedup_across"] = [{"sources": ["questions", "more"]}]
    data = {"name": "x", "base": tree, "held": "counts", "axes": {"drop": ["more"]}}
    assert expand(from_data(data, tmp_path))["drop-more"].recipe.head.dedup_across == []


def test_a_grid_has_every_combination(opened: Make) -> None:
    axes = {"total": [30, 60], "templates": {"per": ["task", "task_name"]}}
    by_name = expand(opened(design="grid", axes=axes))
    assert list(by_name) == [
        "base",
        "total-30+per-task",
        "total-30+per-task_name",
        "total-60+per-task",
        "total-60+per-task_name",
    ]
    assert by_name["total-30+per-task_name"].changes == {"total": 30, "templates.per": "task_name"}


def test_a_list_has_what_it_names(opened: Make) -> None:
    by_name = expand(opened(design="list", variants={"a": {"total": 30, "templates": {"per": "task_name"}}}))
    assert list(by_name) == ["base", "a"]
    assert of_all(by_name["a"], "templates.per") == {"task_name"}
    with pytest.raises(RecipeErrors, match="list"):
        expand(opened(design="list", axes={"total": [30]}))


def test_the_same_recipe_in_another_order_of_keys_is_the_same(opened: Make, tree: dict[str, Any]) -> None:
    backwards = dict(reversed([(name, dict(reversed(source.items()))) for name, source in tree["sources"].items()]))
    plain = {"defaults.conversation": {"max_turns": 1, "group_by": "image"}}  # the defaults, written out
    ablation = expand(opened(variants={"a": {"sources": backwards}, "b": plain, "c": {"seed": 3}, "d": {"total": 60}}))
    assert {name: variant.same_as for name, variant in ablation.items()} == {
        **dict.fromkeys("abc", "base"),
        "base": None,
        "d": None,
    }


def test_only_other_words_have_questions_in_other_words(opened: Make) -> None:
    axes = {"templates": {"per": ["task_name"], "flip": [0.5]}, "total": [60], "box_format": ["shikra"]}
    by_name = expand(opened(axes=axes))
    assert {name for name, variant in by_name.items() if variant.words is not None} == {
        "per-task_name",
        "box_format-shikra",
    }
    words = by_name["per-task_name"].words
    assert words is not None and words.mixture.total == 120


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"axes": {"drop": ["caption", "capions"]}, "held": "counts"}, "did you mean 'captions'"),
        ({"axes": {"dorp": "sources"}}, "did you mean 'drop'"),
        ({"axes": {}}, "nothing is varied"),
        ({"variants": {"a": {"mixture.totl": 3}}}, "variant a: mixture.totl"),
        ({"variants": {"base": {"total": 3}}}, "the name is taken"),
        ({"variants": {"a": {"seed": 4}}}, "data_seeds"),
        ({"variants": {"a": {"splits": {"val": 0.1}}}}, "trained on questions of the others"),
        ({"variants": {"a": {"drop": ["captions", "vqa_open", "rec"]}}, "held": "counts"}, "no source is left"),
        ({"variants": {"a": {"exclude": None}}}, "has no 'exclude' to remove"),
        ({"variants": {"a": {"templates.per.x": 1}}}, "not a key of that section"),
        ({"train": {"command": "x", "steps": 3}, "axes": {"total": [1]}}, "at once"),
        ({"train": {"stps": 3}, "axes": {"total": [1]}}, "did you mean 'steps'"),
    ],
)
def test_what_makes_no_sense_is_said(opened: Make, data: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeErrors, match=said.replace("(", r"\(")):
        expand(opened(**data))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"axes": {"total": [100, 100]}}, "100 stands twice in total"),
        ({"axes": {"drop": ["captions", ["captions"]]}, "held": "counts"}, "captions stands twice in drop"),
        ({"variants": {"a": {"wieghts": {"captions": 2}}}}, "did you mean 'weights'"),
        ({"variants": {"a": {"flip": 0.5}}}, "did you mean 'templates.flip'"),
        ({"variants": {"a": {"max_epochs": 2}}}, "did you mean 'mixture.max_epochs'"),
        ({"variants": {"a": {"qqq": 2}}}, "use one of: .*drop.*mixture"),
        ({"variants": {"a": {"weights": {"captins": 2}}}}, "did you mean 'captions'"),
        ({"variants": {"a" * 300: {"total": 3}}}, "300 bytes"),
    ],
)
def test_a_slip_is_named_as_what_it_is(opened: Make, data: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeErrors, match=said):
        expand(opened(**data))


def test_names_of_any_script_stay_apart(tree: dict[str, Any], tmp_path: Path) -> None:
    names = ("描述", "问题", "❤", "❥")
    tree["sources"] = dict(zip(names, tree["sources"].values(), strict=True))
    tree["mixture"] = {"total": 120, "sources": dict.fromkeys(names, 1)}
    data = {"name": "x", "base": tree, "held": "counts", "axes": {"drop": "sources"}}
    by_name = list(expand(from_data(data, tmp_path), dict.fromkeys(names, 30)))
    assert by_name[1:3] == ["drop-描述", "drop-问题"]
    assert len(set(by_name)) == 5 and all(name.removeprefix("drop-").isalnum() for name in by_name[3:])


def test_values_that_read_alike_are_two_variants(opened: Make) -> None:
    key = "sources.captions.where"
    by_name = expand(opened(axes={"set": {key: ["len(answer) > 1", "len(answer) < 1"]}}))
    assert [variant.changes[key] for variant in list(by_name.values())[1:]] == ["len(answer) > 1", "len(answer) < 1"]


def test_a_name_is_no_longer_than_a_folder_may_be(opened: Make) -> None:
    texts = ["长" * 60 + end for end in ("甲", "乙")]
    ablation = opened(design="grid", axes={"set": {f"sources.{name}.where": texts for name in ("captions", "boxes")}})
    by_name = list(named(ablation.ablation, facts_of(ablation.base)))
    assert len(set(by_name)) == 4
    assert max(len(name.encode()) for name in by_name) <= NAME_BYTES


def test_in_a_grid_the_weight_of_what_is_left_out_says_nothing(opened: Make) -> None:
    axes = {"drop": ["captions", "vqa_open"], "weights": {"captions": [2, 3], "vqa": [1]}}
    by_name = expand(opened(design="grid", held="total", axes=axes))
    same = {name: variant.same_as for name, variant in by_name.items()}
    assert same["drop-captions+weight-captions-3+weight-vqa-1"] == "drop-captions+weight-captions-2+weight-vqa-1"
    assert same["drop-vqa_open+weight-captions-3+weight-vqa-1"] is None
    only_vqa = expand(opened(design="grid", held="counts", axes={"drop": ["vqa_open"], "weights": {"vqa": [1, 5]}}))
    assert [variant.same_as for variant in only_vqa.values()] == [None, None, "drop-vqa_open+weight-vqa-1"]


def test_all_problems_are_said_at_once(opened: Make) -> None:
    with pytest.raises(RecipeErrors) as caught:
        expand(opened(variants={"a": {"mixture.totl": 3}, "b": {"templates": {"per": "tsk"}}}))
    assert len(caught.value.errors) >= 2


def test_a_base_that_holds_nothing_out_needs_questions(tree: dict[str, Any], tmp_path: Path) -> None:
    del tree["splits"]
    with pytest.raises(RecipeError, match="holds nothing out"):
        from_data({"name": "x", "base": tree, "axes": {"total": [3]}}, tmp_path)


def test_the_base_is_looked_for_beside_the_file_and_among_the_bundled(tmp_path: Path, tree: dict[str, Any]) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nbase: quickstart\naxes: {total: [1000]}\n")
    assert load(tmp_path / "a.yaml").base.head.name == "quickstart"
    (tmp_path / "b.yaml").write_text("name: b\nbase: {extends: quickstart, seed: 8}\naxes: {total: [1000]}\n")
    assert load(tmp_path / "b.yaml").base.head.seed == 8
    (tmp_path / "c.yaml").write_text("name: c\nbase: nowhere.yaml\naxes: {total: [1000]}\n")
    with pytest.raises(RecipeError, match=r"nowhere\.yaml"):
        load(tmp_path / "c.yaml")


def test_amounts_are_requested_only_where_they_are_needed(opened: Make) -> None:
    facts = BaseFacts({"captions": "caption"}, {}, {})
    assert needs_amounts(opened(held="counts", axes={"drop": ["captions"]}).ablation, facts)
    assert not needs_amounts(opened(axes={"total": [60]}).ablation, facts)
