"""What a file says is what the dataset has, or somebody is told: one test for each input.

Each folder of ``inputs/`` has an ``expected.txt``, which says what is right.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from tests.cases.conftest import INPUTS, Case

Build = Callable[..., Case]
FIND, READ = "Give the bounding box of what this phrase refers to:", "Describe what is inside this bounding box:"


def _answers(case: Case) -> dict[str, str]:
    return {name: text.rpartition("assistant: ")[2] for name, text in case.texts.items()}


def test_01_numbers_are_written_as_the_file_writes_them(case: Build) -> None:
    assert _answers(case("01-answers-int-and-float")) == {"a": "3", "b": "2.5", "c": "2012", "d": "1000000"}


def test_01_whole_numbers_of_a_float_column_are_whole(case: Build) -> None:
    answers = _answers(case("01-answers-int-and-float", "recipe-parquet.yaml"))
    assert {name: answers[name] for name in ("11", "12")} == {"11": "3", "12": "4"}
    assert sorted(answers.values()) == ["3", "4", "7"]


def test_01_ids_keep_every_digit(case: Build) -> None:
    built = case("01-answers-int-and-float", "recipe-ids.yaml")
    assert set(built.texts) == {"9007199254740993", "12345678901234567890123", "1.5"}


def test_02_a_value_of_another_kind_costs_its_own_row_which_keeps_its_id(case: Build) -> None:
    built = case("02-answers-mixed-kinds")
    assert _answers(built) == {"1": "3", "2": "red", "3": "true", "5": "0.3"}
    assert built.ledger == {"4": "unparsable_row"}


def test_03_a_mark_in_a_question_of_a_table_is_text(case: Build) -> None:
    asked = {name: text.removeprefix("user: ") for name, text in case("03-image-mark-in-vqa-question").texts.items()}
    assert asked == {
        "a": "<IMG>Which attribute of the <image> element is highlighted in this SVG editor? | assistant: href",
        "b": '<IMG>What does line 4 of the code say? | assistant: <image x="3"/>',
        "c": "<IMG>What tag opens the file? | assistant: <image>",
    }


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ("recipe-mc.yaml", "A. <image>\nB. <video>"),
        ("recipe-rec.yaml", f"<IMG>{FIND} the <image> button"),
        ("recipe-group.yaml", "Is <image> closed by </image>, and where is the second <image>?"),
        ("recipe-group2.yaml", "Where is the <image> tag?"),
    ],
)
def test_03_nor_is_one_in_an_option_a_phrase_or_a_grouped_question(case: Build, recipe: str, text: str) -> None:
    built = case("03-image-mark-in-vqa-question", recipe)
    (said,) = built.texts.values()
    assert text in said
    assert said.count("<IMG>") == 1 and said.startswith("user: <IMG>")
    assert not built.ledger


def test_04_places_that_objects_fill_are_never_words(case: Build) -> None:
    built = case("04-swift-bbox-placeholders")
    assert built.texts == {
        "g1/0": "user: <IMG>Find the blue mug. | assistant: [0.10, 0.10, 0.50, 0.50]",
        "g2/0": "user: <IMG>What is at [0.50, 0.50, 0.90, 0.90]? | assistant: a spoon",
    }
    (turn,) = built.samples["g1/0"]["turns"]
    assert [(box["x0"], box["y1"], box["phrase"]) for box in turn["boxes"]] == [(20, 50, "the blue mug")]


def test_05_texts_in_typed_parts_are_read(case: Build) -> None:
    assert case("05-typed-content-parts").texts == {
        "t1/0": "user: <IMG>What is shown? | assistant: A rectangle.",
        "t2/0": "user: <IMG>What is shown? | assistant: An ellipse.",
        "t3/0": "user: <IMG>Name it. | assistant: A rectangle.",
    }


def test_06_each_image_stands_where_its_mark_stands(case: Build) -> None:
    texts = case("06-images-in-later-turns").texts
    assert texts["late/0"].endswith("user: <IMG>What colour is the box? | assistant: Green.")
    assert texts["spread/0"].count("<IMG>") == 2 and "Now this:<IMG>What changed?" in texts["spread/0"]


def test_07_conversations_out_of_order_are_refused_and_a_lone_mark_is_a_question(case: Build) -> None:
    built = case("07-roles")
    assert set(built.texts) == {"ok/0", "markonly/0"}
    assert built.texts["markonly/0"].startswith("user: <IMG> | assistant: ")
    assert {row.partition("/")[0] for row in built.ledger} == {
        "tool", "gptfirst", "sysmid", "twice", "chatgpt"
    }  # fmt: skip


def test_08_boxes_of_raw_pixels_of_a_rotated_image_are_refused(case: Build) -> None:
    assert "image_size_mismatch 1" in str(case("08-exif-rotated-boxes").error)


def test_09_boxes_of_another_size_of_the_image_are_refused(case: Build) -> None:
    assert "image_size_mismatch 2" in str(case("09-annotated-size-differs").error)


def test_10_only_the_sound_box_becomes_a_turn(case: Build) -> None:
    built = case("10-degenerate-boxes")
    assert set(built.texts) == {"2"}
    assert built.ledger == {
        "1": "box_empty",
        "3": "box_outside_image",
        "4": "box_outside_image",
        "5": "box_corners_swapped",
        "6": "unparsable_row",
        "7": "is_crowd",
    }


def test_11_whole_floats_are_whole_numbers_and_equal_ids_are_told_apart(case: Build) -> None:
    built = case("11-coco-ids-and-float-sizes")
    assert set(built.texts) == {"1", "1~2", "2", "3"}
    assert not built.ledger


def test_12_a_float_side_is_a_side(case: Build) -> None:
    assert "image_size_mismatch 1" in str(case("12-float-size-hides-wrong-frame").error)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # Pillow's, of what is compared with
def test_13_every_kind_of_pixels_looks_as_pillow_shows_it(case: Build) -> None:
    built = case("13-pixel-kinds-resized")
    images = INPUTS / "13-pixel-kinds-resized/images"
    assert {*built.samples, *built.ledger} == {path.name for path in images.iterdir()}
    for name, sample in built.samples.items():
        image = sample["images"][0]
        assert image.size == (64, 48)
        if name == "u16.png":  # Pillow alone would make it white all over
            low, high = image.convert("L").getextrema()
            assert low < 10 and high > 245
            continue
        with Image.open(images / name) as native:
            plain = native.convert("RGB").resize((64, 48), Image.Resampling.LANCZOS)
        difference = [abs(a - b) for a, b in zip(_mean(image), _mean(plain), strict=True)]
        assert max(difference) < 6, name


def test_14_each_path_is_found_or_said_what_is_the_matter(case: Build) -> None:
    built = case("14-path-forms")
    assert {"space", "hash", "pct", "quote", "tab", "cjk", "dot", "dbl", "up", "nfd"} <= set(built.texts)
    assert "URL" in built.details["url"] and "URL" in built.details["file"]
    assert "sub/e.jpg" in built.details["backslash"]
    assert "another case" in built.details["case"]
    assert "normal form" in built.details["nfc"]
    assert built.ledger["abs"] == "image_outside_root"


def test_15_images_in_cells(case: Build) -> None:
    name = "15-pictures-in-cells"
    struct = case(name, "recipe-struct.yaml")
    assert set(struct.texts) == {"i", "j"} and set(struct.ledger) == {"k", "l"}
    many = case(name, "recipe-list.yaml")
    assert {"m"} <= set(many.texts) and many.ledger["n"] == "not_for_task"
    assert many.ledger.get("o") == "image_count_mismatch" or "o" in many.texts


@pytest.mark.parametrize("recipe", ["recipe-b64.yaml", "recipe-dict.yaml"])
def test_15_base64_and_data_uris_are_images(case: Build, recipe: str) -> None:
    built = case("15-pictures-in-cells", recipe)
    assert built.error is None and built.texts
    assert all(sample["images"] for sample in built.samples.values())


def test_15_nested_lists_say_what_the_cell_holds(case: Build) -> None:
    assert "List(List(String))" in str(case("15-pictures-in-cells", "recipe-nested.yaml").error)


@pytest.mark.parametrize("recipe", ["recipe.yaml", "recipe-table.yaml"])
def test_16_a_lone_quotation_mark_swallows_no_line(case: Build, recipe: str) -> None:
    built = case("16-cc3m-quotes", recipe)
    captions = ['"the best view in town', 'a 5" pipe on a table', 'say "cheese" please', "plain"]
    assert sorted(_answers(built).values()) == sorted(captions)


def test_16_nor_in_two_lines_behind_each_other(case: Build) -> None:
    built = case("16-cc3m-quotes", "recipe-two.yaml")
    assert _answers(built) == {"1": '"one', "2": '"two', "3": "three", "4": "four"}


def test_16_an_unclosed_quote_of_a_csv_names_its_line(case: Build) -> None:
    error = str(case("16-cc3m-quotes", "recipe-csv.yaml").error)
    assert "open.csv:3" in error and "quot" in error


def test_17_an_expression_that_sql_lacks_is_said_in_words(case: Build) -> None:
    error = str(case("17-mmbench-tsv").error)
    assert "fields.choices" in error and "Ident" not in error and "Span" not in error


def test_17_base64_in_a_column_is_an_image(case: Build) -> None:
    built = case("17-mmbench-tsv", "recipe-expr.yaml")
    assert {*built.texts, *built.ledger} == {"1", "2"}
    assert all(len(detail) < 300 for detail in built.details.values())


@pytest.mark.parametrize("recipe", ["recipe.yaml", "recipe-table.yaml"])
def test_19_conversations_in_parquet_are_conversations(case: Build, recipe: str) -> None:
    built = case("19-onevision-parquet", recipe)
    (text,) = built.texts.values()
    assert text.count("user: ") == 2 and text.count("<IMG>") == 1


def test_21_a_list_inside_an_object_is_named(case: Build) -> None:
    error = str(case("21-docvqa-data-key").error)
    assert "'data'" in error and "at: data" in error


def test_21_and_read_when_the_recipe_says_where(case: Build) -> None:
    def say_where(folder: Path) -> None:
        recipe = folder / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("path: train.json,", "path: train.json, at: data,"))

    assert _answers(case("21-docvqa-data-key", prepare=say_where)) == {"337": "1/8/93"}


def test_22_options_that_speak_of_their_place_stay_there(case: Build) -> None:
    built = case("22-options-that-speak-of-their-place")
    texts = built.texts
    assert "A. a cup\nB. a bowl\nC. both A and B\nD. none of the above | assistant: C" in texts["q1"]
    assert "C. all of the above | assistant: C" in texts["q2"]
    assert "A. A\nB. B\nC. C\nD. D | assistant: B" in texts["q3"]
    assert texts["q4"].endswith("C. Either of the above\nD. Neither A nor B | assistant: D")
    assert [note.rpartition(": ")[2] for note in built.notes] == ["3 of 4 turns", "1 of 4 turns"]


@pytest.mark.parametrize("recipe", ["recipe.yaml", "recipe-sib.yaml"])
def test_23_transparent_ground_keeps_the_colour_under_it(case: Build, recipe: str) -> None:
    built = case("23-transparent-chart-resized", recipe)
    assert built.samples
    for sample in built.samples.values():
        assert 180 < _mean(sample["images"][0])[0] < 200


def test_25_marks_of_other_corpora_are_no_words(case: Build) -> None:
    for recipe in ("recipe.yaml", "recipe-sharegpt.yaml"):
        built = case("25-qwen-img-tags", recipe)
        assert set(built.texts) == {"identity_2/0"}
        assert set(built.ledger) == {"identity_1/0", "vt/0"}


def test_25_and_places_where_the_row_names_an_image(case: Build) -> None:
    built = case("25-qwen-img-tags", "recipe-here.yaml")
    assert built.ledger == {"vid/0": "image_mark_in_text"}
    assert {name: text.partition(" | ")[0] for name, text in built.texts.items()} == {
        "xc/0": "user: <IMG>Describe.",
        "mantis/0": "user: (image 1:<IMG>) Describe.",
        "num/0": "user: <IMG>Describe.",
        "pad/0": "user: <IMG>Describe.",
        "case/0": "user: <IMG>Describe.",
    }


@pytest.mark.parametrize("recipe", ["recipe.yaml", "recipe-slash.yaml"])
def test_26_an_absolute_path_below_image_root_is_inside_it(case: Build, recipe: str) -> None:
    def name_the_folder(folder: Path) -> None:
        (folder / "pics").mkdir()
        shutil.copy(INPUTS / "04-swift-bbox-placeholders/images/a.jpg", folder / "pics/a.jpg")
        for path in [*folder.glob("*.yaml"), *folder.glob("*.jsonl")]:
            path.write_text(path.read_text().replace("@ROOT@", str(folder.resolve())))

    built = case("26-absolute-paths", recipe, name_the_folder)
    assert built.error is None and all("<IMG>" in text for text in built.texts.values()) and built.texts


def test_27_ids_with_dots_and_slashes_are_ids(case: Build) -> None:
    built = case("27-row-ids-with-dots")
    assert {name[:30] for name in built.texts} == {"22.05/1.1.png", "a b/ü@2", "../../etc/x", "x" * 30}


def test_29_a_source_that_gives_nothing_is_named(case: Build) -> None:
    notes = case("29-empty-source-in-mixture").notes
    assert any(note.startswith("b gives nothing") for note in notes)
    assert any(note.startswith("a runs short and is repeated") for note in notes)


def test_30_words_that_yaml_reads_as_something_else_are_named(case: Build) -> None:
    error = str(case("30-yaml-words").error)
    assert "'no' is not a string" in error and "quotes" in error


def test_31_two_divisions_and_none_named(case: Build) -> None:
    error = str(case("31-refcocog-two-divisions").error)
    assert "refs(google).p" in error and "refs(umd).p" in error
    named = case("31-refcocog-two-divisions", "recipe-umd.yaml")
    assert set(named.texts) == {"0", "1"} and named.ledger == {"2": "other_split"}


def test_32_ties_have_one_answer_and_blanks_are_none(case: Build) -> None:
    built = case("32-vqa-ties-and-blanks")
    answers = _answers(built)
    assert answers["10"].lower() in ("red", "blue")
    assert answers["20"] == "yes"
    tie = [note for note in built.notes if "were drawn" in note or "was drawn" in note]
    assert [note.rpartition(": ")[2] for note in tie] == ["1 of 2 turns"]


def test_33_regions_outside_their_photograph(case: Build) -> None:
    built = case("33-visual-genome-edges")
    assert {"11"} <= set(built.texts) <= {"11", "12", "16"} | {name for name in built.texts if name == "15"}
    assert {"13", "14"} <= set(built.ledger)


def test_34_every_spelling_of_no_image(case: Build) -> None:
    built = case("34-text-only-spellings")
    assert {"empty/0", "null/0", "list/0", "nomark/0", "both/0"} <= set(built.texts)
    assert built.ledger["fewer/0"] in ("image_count_mismatch", "not_for_task")


def test_35_ids_of_every_kind_are_seven_samples(case: Build) -> None:
    assert len(case("35-ids-of-two-kinds").texts) == 7


def test_36_polygons_are_the_box_around_them_or_named(case: Build) -> None:
    for recipe in ("recipe-poly8.yaml", "recipe-pts.yaml"):
        built = case("36-polygons-and-percent", recipe)
        box = built.samples["1"]["turns"][0]["boxes"][0]
        assert [box["x0"], box["y0"], box["x1"], box["y1"]] == [10, 10, 60, 30]


def test_36_boxes_without_corners_say_what_is_missing(case: Build) -> None:
    assert "x0" in str(case("36-polygons-and-percent", "recipe-ls.yaml").error)


@pytest.mark.parametrize("recipe", ["recipe.yaml", "recipe-ocr.yaml", "recipe-xywh.yaml"])
def test_37_fractions_taken_as_pixels_are_an_error(case: Build, recipe: str) -> None:
    error = str(case("37-fractions-taken-as-pixels", recipe).error)
    assert "boxes_are" in error and "fraction" in error


def test_37_thousandths_taken_as_fractions_are_an_error(case: Build) -> None:
    error = str(case("37-fractions-taken-as-pixels", "recipe-1000.yaml").error)
    assert "boxes_are" in error


def test_38_the_last_parts_of_a_url_are_the_file(case: Build) -> None:
    built = case("38-lvis-without-file-name")
    assert built.error is None and len(built.texts) == 1


@pytest.mark.parametrize(
    ("recipe", "answers"),
    [
        ("recipe.yaml", {"1": "cat", "2": "dog"}),
        ("recipe-caption.yaml", {"1": "a dog", "2": "a cat"}),
        ("recipe-mc.yaml", {"1": "A", "2": "B"}),
    ],
)
def test_39_classes_are_read_by_name(case: Build, recipe: str, answers: dict[str, str]) -> None:
    assert _answers(case("39-classlabel-columns", recipe)) == answers


def test_40_conversations_in_a_text_are_conversations(case: Build) -> None:
    (text,) = case("40-conversations-as-text").texts.values()
    assert text == "user: <IMG>What is it? | assistant: Answer."


@pytest.mark.parametrize("recipe", ["recipe.yaml", "recipe-table.yaml", "recipe-sharegpt.yaml"])
def test_41_a_list_named_jsonl_is_read(case: Build, recipe: str) -> None:
    assert len(case("41-list-named-jsonl", recipe).texts) == 1


def test_43_ids_are_a_files_own(case: Build) -> None:
    each = case("43-two-coco-files-same-ids")
    assert sorted(_answers(each).values()) == ["cup", "cup", "pan", "pan"]
    grouped = case("43-two-coco-files-same-ids", "recipe-rec.yaml")
    assert len(grouped.texts) == 2
    assert sorted(sample["turns"][0]["boxes"][0]["phrase"] for sample in grouped.samples.values()) == ["cup", "pan"]
    assert all(len(sample["turns"][0]["boxes"]) == 2 for sample in grouped.samples.values())


def test_44_the_same_photographs_are_in_one_split(case: Build) -> None:
    samples = case("44-same-photo-two-names-splits").samples
    splits: dict[str, set[str]] = {}
    for name, sample in samples.items():
        splits.setdefault(name[1:], set()).add(sample["split"])
    assert len(splits) == 24 and all(len(of) == 1 for of in splits.values())


def test_45_members_of_archives_are_found_or_named(case: Build) -> None:
    built = case("45-tars")
    assert set(built.texts) == {"00", "01", "02", "03", "04", "05", "10", "12", "13", "14", "16"}
    assert set(built.ledger) == {"06", "07", "08", "09", "11", "15", "17"}


def test_46_files_that_are_no_images_have_each_their_own_word(case: Build) -> None:
    built = case("46-files-that-are-no-pictures")
    assert set(built.texts) == {"ok.jpg", "tail.jpg", "cover.jpg", "strip.png", "one.png"}
    words = {
        "zero.jpg": "empty", "html.jpg": "HTML", "lfs.jpg": "LFS", "d.svg": "SVG", "heic.jpg": "HEIC",
        "cut.jpg": "Truncated", "pdf.png": "PDF", "folder.jpg": "folder",
    }  # fmt: skip
    assert all(word in built.details[row] for row, word in words.items())


def test_47_earlier_exchanges_and_images_are_never_dropped_in_silence(case: Build) -> None:
    name = "47-query-response-forms"
    swift = case(name, "recipe-swift.yaml")
    (text,) = swift.texts.values()
    assert text == "user: Hello | assistant: Hi. | user: <IMG>What is it? | assistant: A box."
    alpaca = case(name, "recipe-alpaca.yaml")
    assert len(alpaca.texts) == 1 and len(alpaca.ledger) == 1


def test_50_threads_are_in_order_or_refused(case: Build) -> None:
    built = case("50-threads-out-of-order")
    thread = next(text for text in built.texts.values() if "Second?" in text)
    assert thread.index("First?") < thread.index("Second?") < thread.index("Third?")
    assert {row: reason for row, reason in built.ledger.items() if row[0] in "dg"} == dict.fromkeys(
        ["d1", "d2", "g1", "g3"], "broken_conversation"
    )


def _mean(image: Image.Image) -> list[float]:
    return ImageStat.Stat(image.convert("RGB")).mean
