"""Every bundled recipe loads, and builds from stand-ins with the shares that it asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import pytest

from vldata import build, bundled
from vldata.curate.dedup import Dedup
from vldata.curate.filters import Filters
from vldata.mixture.models import Mixture, MixtureEntry
from vldata.prompts.models import Templates
from vldata.recipe.load import load
from vldata.recipe.models import Across, Conversation, Head, Images, Output, Recipe, Settings
from vldata.schema.spec import Spec

RECIPES = sorted(path.stem for path in bundled("recipes").glob("*.yaml"))
OFFLINE = ("forkme", "quickstart")
Built = Callable[[str], Path]


@pytest.fixture(scope="module")
def standin_build(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The build of a recipe from stand-ins of 40 turns, made once."""
    folder = tmp_path_factory.mktemp("recipes")

    @cache
    def made(name: str) -> Path:
        return build(load(name), folder / name, store=folder / "store", workers=1, standin=40).out

    return made


def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


def top_shares(recipe: Recipe) -> dict[str, float]:
    """The numbers of the recipe's top level as parts of a whole, without what works out the quotas."""
    level = recipe.mixture.level(list(recipe.entries))
    numbers = {name: entry.weight if entry.count is None else entry.count for name, entry in level.items()}
    numbers = {name: 1.0 if number is None else number for name, number in numbers.items()}
    return {name: number / sum(numbers.values()) for name, number in numbers.items()}


def leaves(name: str, entry: MixtureEntry) -> list[str]:
    return [name] if entry.sources is None else [leaf for n, e in entry.sources.items() for leaf in leaves(n, e)]


def test_the_bundled_recipes_are_these() -> None:
    assert RECIPES == [
        "forkme",
        "honeybee",
        "honeybee-pretrain",
        "llava-1.5",
        "llava-1.5-pretrain",
        "llava-instruct",
        "quickstart",
        "small-world",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_it_loads_under_its_own_name_and_says_what_it_is(name: str) -> None:
    recipe = load(name)
    assert recipe.head.name == name
    assert recipe.head.about


@pytest.mark.parametrize("name", RECIPES)
def test_its_paths_lie_below_data_or_nowhere(name: str) -> None:
    for entry in load(name).entries.values():
        for option in entry.source.paths:
            path = getattr(entry.source, option)
            assert not path or path.startswith("data/"), f"{name}: {entry.name}.{option}"


@pytest.mark.parametrize("name", RECIPES)
def test_from_stand_ins_every_source_gives_its_share_within_one_sample(name: str, standin_build: Built) -> None:
    found = manifest(standin_build(name))
    total = found["totals"]["samples"]
    for source in found["sources"].values():
        assert abs(source["achieved"]["samples"] - source["requested_share"] * total) < 1
    level = load(name).mixture.level(list(found["sources"]))
    for member, share in top_shares(load(name)).items():
        asked = sum(found["sources"][leaf]["requested_share"] for leaf in leaves(member, level[member]))
        assert asked == pytest.approx(share)


@pytest.mark.parametrize("name", RECIPES)
def test_from_stand_ins_nothing_is_broken_and_datasets_opens_it(name: str, standin_build: Built) -> None:
    found = manifest(standin_build(name))
    assert {source: counts["rejected"] for source, counts in found["sources"].items()} == dict.fromkeys(
        found["sources"], 0
    )
    opened = datasets.load_from_disk(str(standin_build(name)))
    splits = opened if isinstance(opened, datasets.DatasetDict) else {"train": opened}
    assert {split: len(rows) for split, rows in splits.items()} == found["splits"]
    for row in splits["train"].select_columns(["id", "messages"]):
        roles = [message["role"] for message in row["messages"] if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2), row["id"]
        assert all(part["type"] == "image" or part["text"].strip() for m in row["messages"] for part in m["content"])


@pytest.mark.parametrize("name", OFFLINE)
def test_it_builds_as_it_stands_without_a_file(name: str, tmp_path: Path) -> None:
    built = build(load(name), tmp_path / "out", store=tmp_path / "store", workers=1)
    assert built.manifest["totals"]["samples"] == load(name).mixture.total
    assert set(built.manifest["splits"]) == {"train", "val"}


def test_honeybees_weights_are_the_published_ones() -> None:
    published = [0.077, 0.103, 0.103, 0.051, 0.026, 0.051, 0.103, 0.103, 0.103, 0.103, 0.051, 0.103, 0.026]
    assert [round(share, 3) for share in top_shares(load("honeybee")).values()] == published


def test_honeybee_asks_ten_questions_in_a_conversation_and_in_gqa_none_with_the_same_answer(
    standin_build: Built,
) -> None:
    rows = datasets.load_from_disk(str(standin_build("honeybee"))).select_columns(["source", "messages"])
    turns: dict[str, list[int]] = {}
    for row in rows:
        answers = [m["content"][0]["text"] for m in row["messages"] if m["role"] == "assistant"]
        turns.setdefault(row["source"], []).append(len(answers))
        assert row["source"] != "gqa" or len(set(answers)) == len(answers)
    assert max(turns["vqav2"]) == 10
    for source in ("coyo", "vsr", "scienceqa", "aokvqa", "refcoco"):
        assert set(turns[source]) == {1}


def test_honeybees_web_captions_stand_without_a_prompt(standin_build: Built) -> None:
    for row in datasets.load_from_disk(str(standin_build("honeybee-pretrain"))).select_columns(["messages"]):
        user, assistant = row["messages"]
        assert [part["type"] for part in user["content"]] == ["image"]
        assert [part["type"] for part in assistant["content"]] == ["text"]


def test_llavas_counts_round_to_the_published_ones_and_add_up_to_the_published_file() -> None:
    counts = {name: entry.count or 0 for name, entry in load("llava-1.5").mixture.level([]).items()}
    published = [158, 40, 83, 72, 9, 80, 66, 22, 48, 86]
    rounded = [round(count / 1000) for count in counts.values()]
    assert all(abs(a - b) <= 1 for a, b in zip(rounded, published, strict=True))
    assert sum(counts.values()) == 665_298


def test_the_recipe_to_start_from_names_every_key() -> None:
    text = (bundled("recipes") / "forkme.yaml").read_text(encoding="utf-8")
    sections: tuple[type[Spec], ...] = (
        *(Head, Settings, Templates, Conversation, Dedup, Images, Filters),
        *(Mixture, MixtureEntry, Across, Output),
    )
    keys = {key for section in sections for key in section.model_fields} | {"extends", "defaults", "sources", "mixture"}
    missing = {key for key in keys if not re.search(rf"(?:^|[\s{{,#-]){key}:", text)}
    assert missing == set()
