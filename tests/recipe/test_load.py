"""A recipe's problems are all found at once, and named as the user typed them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vldata.errors import RecipeError, RecipeErrors
from vldata.recipe import yaml
from vldata.recipe.load import from_tree, load
from vldata.recipe.merge import merged, read_recipe

GOOD = """
name: tiny
seed: 3
sources:
  a: {format: shapes, scenes: 5}
  b: {format: shapes, scenes: 5, task: vqa_open}
mixture:
  sources: {a: 1, b: 2}
"""


def write(tmp_path: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(write(tmp_path, text))
    error = caught.value
    return [str(e) for e in error.errors] if isinstance(error, RecipeErrors) else [str(error)]


def test_a_good_recipe_loads(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, GOOD))
    assert list(recipe.entries) == ["a", "b"]
    assert recipe.entries["b"].task.name == "vqa_open"
    assert recipe.head.seed == 3


def test_all_problems_are_reported_together_with_the_path_as_typed_and_the_nearest_name(tmp_path: Path) -> None:
    messages = problems(
        tmp_path,
        """
        name: tiny
        sed: 1
        defaults: {conversation: {max_turn: 3}}
        sources:
          a: {format: shape}
          b: {format: shapes, scens: 5}
          c: {format: shapes, task: vqa_opn}
          d: {format: shapes, box_format: lava}
        mixture: {sources: {a: 1, b: 1, c: 1, d: 1, ghost: 2}, strateg: sqrt}
        """,
    )
    text = "\n".join(messages)
    assert "sed: unknown key\n  fix: did you mean 'seed'?" in text
    assert "defaults.conversation.max_turn: unknown key\n  fix: did you mean 'max_turns'?" in text
    assert "sources.a.format: no source format named 'shape'\n  fix: did you mean 'shapes'?" in text
    assert "sources.b.scens: unknown key\n  fix: did you mean 'scenes'?" in text
    assert "sources.c.task: no task named 'vqa_opn'\n  fix: did you mean 'vqa_open'?" in text
    assert "sources.d.box_format: no box format named 'lava'\n  fix: did you mean 'llava'?" in text
    assert "mixture.strateg: unknown key\n  fix: did you mean 'strategy'?" in text


def test_a_weight_for_a_missing_source_is_named(tmp_path: Path) -> None:
    messages = problems(tmp_path, GOOD.replace("b: 2}", "b: 2, ghost: 1}"))
    assert any("ghost" in problem for problem in messages)


def test_a_boolean_key_is_refused_with_a_hint(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD + "on: 3\n")
    assert "the key 'on' is not a string" in problem
    assert "quotes" in problem


@pytest.mark.parametrize("join", ["{path: b.json, on: id, keep: [x]}", "[{path: b.json, on: {id: key}, keep: [x]}]"])
def test_a_bare_on_is_the_key_of_a_join(tmp_path: Path, join: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"name: r\nsources:\n  a: {{format: table, path: a.json, task: caption, join: {join}}}\n")
    (found,) = load(path).entries["a"].source.model_dump()["join"]
    assert list(found["on"]) == ["id"]


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD + "seed: 4\n")
    assert "'seed' stands twice" in problem


def test_a_yaml_bomb_is_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 10))
    (problem,) = problems(tmp_path, f"name: x\nx:\n  l0: &l0 [lol, lol]\n{levels}\n")
    assert "expand to" in problem


def test_a_yaml_tag_that_makes_objects_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "name: !!python/object/apply:os.system ['true']\n")
    assert "not YAML" in problem


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [", "name: x\n\tseed: 1\n"])
def test_what_is_no_recipe_is_one_clear_error(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


def test_another_encoding_is_said(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("name: café".encode("latin-1"))
    with pytest.raises(RecipeError, match="not UTF-8"):
        load(path)


def test_extends_merges_maps_replaces_lists_and_null_removes(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "base.yaml")
    over = "extends: base.yaml\nseed: 9\nsources: {b: null}\nmixture: {sources: {b: null}}\n"
    recipe = load(write(tmp_path, over))
    assert recipe.head.seed == 9
    assert list(recipe.entries) == ["a"]
    assert merged({"x": {"y": 1, "z": [1]}}, {"x": {"z": [2]}}) == {"x": {"y": 1, "z": [2]}}


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\nname: a\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\nname: b\n", "b.yaml")
    with pytest.raises(RecipeError, match="circle"):
        load(tmp_path / "a.yaml")


def test_set_wins_over_all(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    tree = read_recipe(path, ["seed=11", "sources.a.scenes=7", "mixture.sources.b=5"])
    assert tree["seed"] == 11
    assert tree["sources"]["a"]["scenes"] == 7
    assert from_tree(tree).entries["a"].source.model_dump()["scenes"] == 7


def test_a_malformed_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"key\.path=value"):
        load(write(tmp_path, GOOD), ["seed"])


def test_a_source_wins_over_the_defaults(tmp_path: Path) -> None:
    text = GOOD.replace("sources:\n  a:", "defaults: {conversation: {max_turns: 4}}\nsources:\n  a:", 1)
    text = text.replace("task: vqa_open}", "task: vqa_open, conversation: {image_position: after}}")
    recipe = load(write(tmp_path, text))
    assert recipe.entries["a"].settings.conversation.max_turns == 4
    assert recipe.entries["b"].settings.conversation.max_turns == 4
    assert recipe.entries["b"].settings.conversation.image_position == "after"


def test_environment_variables_are_for_paths_only_and_stay_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORPUS", "/somewhere/secret")
    text = "name: x\nsources:\n  c: {format: coco_captions, path: '${CORPUS}/captions.json'}\n"
    recipe = load(write(tmp_path, text))
    assert recipe.entries["c"].source.path == "/somewhere/secret/captions.json"
    assert "secret" not in str(recipe.raw)
    (problem,) = problems(
        tmp_path, "name: x\nsources: {a: {format: shapes, where: '${CORPUS}', path: '${NOT_SET_ANYWHERE}'}}\n"
    )
    assert "NOT_SET_ANYWHERE is not set" in problem


def test_splits_must_leave_a_share_for_train(tmp_path: Path) -> None:
    assert any("leave a share" in p for p in problems(tmp_path, GOOD + "splits: {val: 0.6, test: 0.5}\n"))


def test_a_misspelt_column_to_deduplicate_by_is_said(tmp_path: Path) -> None:
    text = GOOD.replace("task: vqa_open}", "task: vqa_open, conversation: {dedup: {by: [anwser]}}}")
    (problem,) = problems(tmp_path, text)
    assert "sources.b.conversation.dedup.by: no task has a column 'anwser'" in problem
    assert "did you mean 'answer'" in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: \0\n", "the character 0x0000"),
        ("name: x\na: " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("\n".join("  " * depth + "a:" for depth in range(2_000)), "nested too deeply"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("name: 2024-13-45\n", "month must be in 1..12"),
    ],
)
def test_what_yaml_stumbles_over_is_an_error_of_the_recipe(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert said in problem


def test_numbers_with_an_exponent_are_numbers_and_texts_that_look_so_stay_texts(tmp_path: Path) -> None:
    numbers = {"a": 1e-9, "b": 1.0e9, "c": -2e3, "d": 0.5e1}
    assert yaml.parse("a: 1e-9\nb: 1.0e9\nc: -2E+3\nd: .5e1\n", "it") == numbers
    texts = {"a": "1e-9", "b": "1.0e9", "c": "e5", "d": "1e"}
    assert yaml.parse(yaml.dump(texts), "it") == texts
    tree = read_recipe(write(tmp_path, GOOD), ["mixture.sources.b=1e-9"])
    assert tree["mixture"]["sources"]["b"] == 1e-9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed=", "the value is empty\n  fix: write seed=null"),
        ("mixtrue.total=", "the value is empty"),
        ("mixtrue.total=null", "no 'mixtrue' to remove\n  fix: did you mean 'mixture'?"),
        ("seed=[", "the value '[': not YAML"),
    ],
)
def test_a_set_that_says_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(write(tmp_path, GOOD), [text])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("max_turns: 0", "max_turns: 0 is not a number of at least 1 or 'all'\n  fix: write a number of at least 1 or"),
        ("max_turns: al", "max_turns: 'al' is not a whole number or 'all'\n  fix: did you mean 'all'?"),
        ("max_turns: true", "max_turns: true is not a whole number\n  fix: write a whole number"),
        ("dedup: answer", "dedup: 'answer' is not a map\n  fix: write a map, such as dedup: {by: …} (its keys: by, "),
        ("dedup: {by: 3}", "dedup.by: 3 is not a list\n  fix: write a list, such as by: […]"),
        ("dedup: {similarity: true}", "dedup.similarity: true is not a number\n  fix: write a number"),
        ("dedup: {bye: answer}", "dedup.bye: unknown key\n  fix: did you mean 'by'?"),
    ],
)
def test_a_wrong_kind_of_value_is_one_problem_that_says_what_to_write(tmp_path: Path, section: str, said: str) -> None:
    (problem,) = problems(tmp_path, GOOD + f"defaults: {{conversation: {{{section}}}}}\n")
    assert problem.startswith(f"defaults.conversation.{said}")


def test_true_is_no_seed(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD.replace("seed: 3", "seed: true"))
    assert problem == "seed: true is not a whole number\n  fix: write a whole number"


def test_a_misspelt_key_deep_in_the_mixture_is_answered_with_the_nearest(tmp_path: Path) -> None:
    text = GOOD.replace("{a: 1, b: 2}", "{g: {sources: {a: {wieght: 1}, b: 2}}}")
    messages = problems(tmp_path, text)
    assert "mixture.sources.g.sources.a.wieght: unknown key\n  fix: did you mean 'weight'?" in messages


@pytest.mark.parametrize("name", ['""', '" "', '"."', '".."', "a/b", '"a\\\\b"', '"a\\tb"', '"a\\u202Eb"'])
def test_a_source_s_name_is_no_folder_s_and_can_be_seen(tmp_path: Path, name: str) -> None:
    (problem,) = problems(tmp_path, f"name: x\nsources: {{{name}: {{format: shapes}}}}\n")
    assert "use letters, digits, _ - ." in problem


@pytest.mark.parametrize(
    ("across", "message"),
    [
        ("sources: [b, b]", "dedup_across[0].sources: 'b' stands there 2 times"),
        ("sources: [b, c]", "dedup_across[0].sources: no source named 'c'"),
        ("sources: [b, a], by: [anwser]", "dedup_across[0].by: no task has a column 'anwser'"),
        ("sources: [b, a], by: [question]", "dedup_across[0].by: the source 'a' (caption) has no column 'question'"),
    ],
)
def test_sources_are_compared_with_others_by_columns_that_they_have(tmp_path: Path, across: str, message: str) -> None:
    text = GOOD.replace("scenes: 5}", "scenes: 5, task: caption}", 1)
    (problem,) = problems(tmp_path, text + f"dedup_across: [{{{across}}}]\n")
    assert problem.startswith(message)


def test_half_a_character_is_refused_with_its_line(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD + 'about: "\\ud800"\n')
    assert "recipe.yaml:9: not usable: '\\ud800' is half a character" in problem


@pytest.mark.parametrize("value", ["1", "'yes'", "yes"])
def test_true_and_false_are_written_as_such(tmp_path: Path, value: str) -> None:
    text = GOOD.replace("{format: shapes, scenes: 5}", f"{{format: shapes, scenes: 5, images: {{decode: {value}}}}}")
    if value == "yes":
        assert load(write(tmp_path, text)).entries["a"].settings.images.decode
    else:
        assert any("decode" in problem for problem in problems(tmp_path, text))
