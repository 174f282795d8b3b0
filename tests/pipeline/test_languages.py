"""In which language turns are put into words, and what is said where there are no words in it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import Tree, mix
from vldata.dataset.open import open_build
from vldata.pipeline.build import Built
from vldata.pipeline.check import check
from vldata.recipe.load import from_tree
from vldata.sources.multi30k import Multi30k

Run = Callable[..., Built]


def first_question(built: Built) -> str:
    row: Any = next(open_build(built.out).rows("train"))
    return "".join(part["text"] or "" for part in row["messages"][0]["content"])


@pytest.mark.parametrize(
    ("task", "options", "language", "words"),
    [
        ("caption", {}, None, "Describe the image briefly."),
        ("caption", {}, "de", "Beschreibe das Bild kurz."),
        ("caption", {}, "fr-CA", "Décris brièvement l’image."),
        ("caption", {}, "zh_Hans", "请简要描述这张图片。"),
        ("vqa_mc", {}, "de", "Antworte mit dem Buchstaben der richtigen Antwortmöglichkeit."),
        ("vqa_mc", {"letters": "1."}, "de", "Antworte mit der Nummer der richtigen Antwortmöglichkeit."),
        ("vqa_mc", {"letters": "1."}, "zh", "请直接回答正确选项的数字。"),
        ("true_false", {}, "fr", "Réponds par oui ou par non."),
    ],
)
def test_a_source_is_asked_in_its_language(
    run: Run, task: str, options: Tree, language: str | None, words: str
) -> None:
    built = run(mix(a={"task": task, "language": language, "task_options": options}))
    assert words in first_question(built)
    assert not built.manifest["notes"]


def test_the_words_may_have_another_language_than_the_texts(run: Run) -> None:
    built = run(mix(a={"task": "caption", "language": "es", "templates": {"language": "en"}}))
    assert first_question(built) == "Describe the image briefly."
    assert built.manifest["sources"]["a"]["language"] == "es" and not built.manifest["notes"]
    german = run(mix(a={"task": "caption", "templates": {"language": "de"}}), out="german")
    assert first_question(german) == "Beschreibe das Bild kurz."


def test_a_language_without_words_is_told_once_a_source_by_plan_and_check(run: Run, tmp_path: Path) -> None:
    tree = mix(a={"task": "caption", "language": "es"}, b={"task": "instruction", "language": "es"}, c={"task": "rec"})
    note = (
        "a: no template is in 'es', its words come from caption.jinja; "
        "write es/caption.jinja into the folder that `templates.path` names"
    )
    assert run(tree).manifest["notes"] == [note]
    assert [row["notes"] for row in check(from_tree(tree))] == [[note], [], []]
    words = tmp_path / "words" / "es"
    words.mkdir(parents=True)
    text = "{% block user %}Describe la imagen.{% endblock %}{% block assistant %}{{ caption }}{% endblock %}"
    (words / "caption.jinja").write_text(text)
    tree["sources"]["a"]["templates"] = {"path": str(words.parent)}
    built = run(tree)
    assert built.manifest["notes"] == []
    assert built.manifest["templates"]["a"].startswith("es/caption.jinja@")


def test_blocks_of_a_source_without_a_language_are_what_they_are_beside_others(run: Run) -> None:
    def keys(built: Built) -> set[str]:
        return {block["key"] for block in built.manifest["blocks"] if block["source"] == "a"}

    alone = run(mix(a={"task": "caption"}))
    beside = run(mix(a={"task": "caption", "language": "en"}, b={"task": "caption", "language": "de"}), out="beside")
    assert keys(alone) == keys(beside)


def test_a_format_that_has_its_texts_in_several_languages_reads_the_one_that_the_recipe_names(tmp_path: Path) -> None:
    raw, lists = tmp_path / "task1/raw", tmp_path / "task1/image_splits"
    for folder in (raw, lists):
        folder.mkdir(parents=True)
    (lists / "train.txt").write_text("1.jpg\n")
    for language, text in (("en", "A dog."), ("de", "Ein Hund.")):
        (raw / f"train.{language}.gz").write_bytes(gzip.compress(f"{text}\n".encode()))
    source = {"format": "multi30k", "path": str(tmp_path), "image_root": str(tmp_path)}
    for section, text in (({}, "A dog."), ({"language": "de"}, "Ein Hund.")):
        for tree in (
            {"name": "t", "sources": {"a": {**source, **section}}},
            {"name": "t", "sources": {"a": source}, "defaults": section},
        ):
            entry = from_tree(tree).entries["a"]
            assert isinstance(entry.source, Multi30k)
            assert entry.source.turns("caption")["caption"].to_list() == [text]
            assert entry.settings.language == section.get("language")
