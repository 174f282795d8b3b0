"""Which file is a source's template, and what of it is part of its identity."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from vldata.errors import RecipeErrors, TemplateError
from vldata.prompts.models import Names, Templates
from vldata.prompts.template import Template, load
from vldata.tasks import task_class

NAMES = Names(frozenset({"question", "answer"}))
EXCHANGE = "{% block user %}{{ question }}{% endblock %}{% block assistant %}{{ answer }}{% endblock %}"


def own(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '.')}.jinja"
        path.write_text(text, encoding="utf-8")
    return str(folder)


def test_the_bundled_template_is_found() -> None:
    assert load("vqa_open", NAMES, Templates()).name == "vqa_open.jinja"


def test_a_folder_of_ones_own_wins(tmp_path: Path) -> None:
    template = load("vqa_open", NAMES, Templates(path=own(tmp_path, vqa_open=EXCHANGE)))
    assert template.file.text == EXCHANGE


def test_what_ones_own_folder_lacks_is_bundled(tmp_path: Path) -> None:
    assert load("vqa_open", NAMES, Templates(path=own(tmp_path, rec=EXCHANGE))).file.text != EXCHANGE


def test_per_dataset_takes_the_first_dataset_that_has_a_file() -> None:
    names = task_class("rec")().template_names()

    def file(per: str, *datasets: str) -> str:
        return load("rec", names, Templates.model_validate({"per": per}), datasets=datasets).name

    assert file("dataset", "my_refs", "refcoco") == "rec.refcoco.jinja"
    assert file("dataset", "refcocog", "refcoco") == "rec.refcocog.jinja"
    assert file("dataset", "my_refs", "table") == "rec.jinja"
    assert file("task", "refcoco") == "rec.jinja"


def test_ones_own_file_for_the_task_wins_over_a_bundled_one_for_the_dataset(tmp_path: Path) -> None:
    options = Templates(per="dataset", path=own(tmp_path, vqa_open=EXCHANGE))
    assert load("vqa_open", NAMES, options, datasets=["textvqa"]).name == "vqa_open.jinja"


def test_a_dataset_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "vqa_open.").mkdir()
    own(tmp_path, secret=EXCHANGE)
    options = Templates(per="dataset", path=str(tmp_path / "folder"))
    assert load("vqa_open", NAMES, options, datasets=["/../../secret"]).file.text != EXCHANGE


def test_a_language_has_a_folder_of_its_own() -> None:
    def name(language: str | None, **options: object) -> str:
        names = task_class("caption")().template_names()
        return load("caption", names, Templates.model_validate(options), datasets=["de"], language=language).name

    assert name(None) == name("en") == name("es") == name("en-GB") == "caption.jinja"
    assert name("de") == name("DE") == name("de_AT") == name("de-CH") == name("deu") == "de/caption.jinja"
    assert name("zh") == name("zh-CN") == name("zh_Hans") == "zh/caption.jinja"
    assert name("zh-TW") == name("zh-Hant") == "caption.jinja"
    assert name("fr-CA", per="instruction") == "fr/per/instruction.jinja+fr/caption.jinja"
    assert name(None, per="dataset") == "caption.jinja"


def test_the_tag_as_written_wins_over_the_language_alone_and_a_folder_of_ones_own_over_all(tmp_path: Path) -> None:
    (tmp_path / "de-AT").mkdir()
    (tmp_path / "es").mkdir()
    options = Templates(path=own(tmp_path, rec=EXCHANGE))
    for place in ("de-AT", "es"):
        own(tmp_path / place, vqa_open=EXCHANGE)

    def file(task: str, language: str) -> str:
        return load(task, task_class(task)().template_names(), options, language=language).name

    assert file("vqa_open", "de_AT") == "de-AT/vqa_open.jinja"
    assert file("vqa_open", "de") == "de/vqa_open.jinja"
    assert file("vqa_open", "es-MX") == "es/vqa_open.jinja"
    (tmp_path / "reg.jinja").write_text("{% block user %}{{ bbox }}{% endblock %}{% block assistant %}x{% endblock %}")
    assert file("reg", "de") == "reg.jinja"


def test_words_in_another_language_are_named_and_a_file_without_words_is_in_none(tmp_path: Path) -> None:
    def others(task: str, language: str, **options: object) -> list[str]:
        names = task_class(task)().template_names()
        return load(task, names, Templates.model_validate(options), language=language).words_in_other_than(language)

    assert others("caption", "es") == ["caption.jinja"]
    assert others("caption", "es", per="instruction") == ["caption.jinja", "per/instruction.jinja"]
    assert others("caption", "es", per="dataset_name") == ["caption.jinja"]
    assert others("caption", "en") == others("caption", "eng") == others("caption", "de-AT") == []
    assert others("caption", "zh-TW") == ["caption.jinja"]
    assert others("instruction", "es") == others("text_instruction", "es") == []


def test_a_recipe_that_names_no_language_of_its_words_is_as_plain_data_what_it_was() -> None:
    assert "language" not in Templates().model_dump() and "language" not in Templates().model_dump(mode="json")
    assert Templates(language="de").model_dump(mode="json")["language"] == "de"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeErrors, match="nowhere' is not a folder"):
        load("vqa_open", NAMES, Templates(path=str(tmp_path / "nowhere")))


def test_a_task_without_a_template_says_what_to_write() -> None:
    with pytest.raises(RecipeErrors, match=r"fix: write pointing\.jinja and name its folder in `templates\.path`"):
        load("pointing", NAMES, Templates())


def test_all_problems_of_a_file_come_together(tmp_path: Path) -> None:
    text = "{% block user %}\n{{ qestion }}\n{{ ''.__class__ }}\n{% endblock %}"
    with pytest.raises(RecipeErrors) as caught:
        load("vqa_open", NAMES, Templates(path=own(tmp_path, vqa_open=text)))
    assert all(isinstance(error, TemplateError) for error in caught.value.errors)
    file = tmp_path / "vqa_open.jinja"
    assert [error.where for error in caught.value.errors] == [str(file), f"{file}:2", f"{file}:3"]


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "vqa_open.jinja").write_bytes(b"caf\xe9")
    with pytest.raises(RecipeErrors, match="byte 0xe9 at offset 3 is not UTF-8"):
        load("vqa_open", NAMES, Templates(path=str(tmp_path)))


def test_line_ends_and_byte_order_marks_change_nothing(tmp_path: Path) -> None:
    text = EXCHANGE + "\n{# end #}\n"
    (tmp_path / "vqa_open.jinja").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load("vqa_open", NAMES, Templates(path=str(tmp_path))).file.text == text


def test_any_character_changes_the_digest(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return load("vqa_open", NAMES, Templates(path=own(tmp_path, vqa_open=text))).digest

    assert len({digest(EXCHANGE), digest(EXCHANGE + " "), digest(EXCHANGE.replace("question", "answer"))}) == 3
    assert digest(EXCHANGE) == digest(EXCHANGE) == "4439f28131bd06d3"


def test_lineage_names_the_file_and_its_digest(tmp_path: Path) -> None:
    template = load("vqa_open", NAMES, Templates(path=own(tmp_path, vqa_open=EXCHANGE)))
    assert template.lineage == f"vqa_open.jinja@{template.digest[:8]}"


def test_the_words_around_the_content_are_part_of_the_digest(tmp_path: Path) -> None:
    folder = own(tmp_path, vqa_open=EXCHANGE)
    (tmp_path / "per").mkdir()
    found = set()
    for text in ("{% block user %}[{{ content }}]{% endblock %}", "{% block user %}<{{ content }}>{% endblock %}"):
        (tmp_path / "per" / "task_name.jinja").write_text(text, encoding="utf-8")
        template = load("vqa_open", NAMES, Templates(per="task_name", path=folder))
        assert template.name == "per/task_name.jinja+vqa_open.jinja"
        found.add(template.digest)
    assert len(found) == 2


def test_wordings_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    blocks = "".join(f"{{% block user_{n} %}}{{% endblock %}}" for n in (10, 2, 9))
    template = load("vqa_open", NAMES, Templates(path=own(tmp_path, vqa_open=blocks + EXCHANGE)))
    assert template.file.wordings("user") == ["user", "user_2", "user_9", "user_10"]
    assert template.file.wordings("flip_user") == []


def test_the_columns_that_a_template_reads_are_known() -> None:
    names = task_class("vqa_mc")().template_names()
    assert load("vqa_mc", names, Templates()).file.reads == {"question", "choices", "answer", "context"}
    assert load("vqa_open", task_class("vqa_open")().template_names(), Templates()).file.reads == {"question", "answer"}


def test_a_template_travels_between_processes() -> None:
    template = load("vqa_mc", task_class("vqa_mc")().template_names(), Templates())
    back: Template = pickle.loads(pickle.dumps(template))
    assert (back.lineage, back.file) == (template.lineage, template.file)
    assert back.names.helpers["letter_of"](2) == "C"


def test_a_template_folder_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(RecipeErrors, match="permission denied"):
        load("caption", Names(frozenset({"caption"})), Templates(path=str(tmp_path)))
