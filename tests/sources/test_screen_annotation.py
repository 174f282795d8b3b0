import csv

import polars as pl
import pytest

from vldata.errors import SourceError
from vldata.sources.screen_annotation import ScreenAnnotation, elements

SCREEN = (
    "PICTOGRAM three bars 0 132 30 109, TOOLBAR 0 999 31 109 (TEXT Account 171 352 54 84), "
    "LIST_ITEM 27 968 244 326 (LABEL Name 29 137 248 272 (LABEL Name 30 134 248 272), BUTTON 1 2 3 4)"
)


def written(tmp_path, *rows, head=("screen_id", "screen_annotation")):
    with (tmp_path / "valid.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return str(tmp_path / "valid.csv")


def phrases(annotation):
    return [element.phrase for element in elements(annotation)]


def test_elements_are_read_at_every_depth_in_order():
    assert phrases(SCREEN) == [
        "PICTOGRAM three bars",
        "TOOLBAR",
        "TEXT Account",
        "LIST_ITEM",
        "LABEL Name",
        "LABEL Name",
        "BUTTON",
    ]


def test_a_box_is_x0_x1_y0_y1_of_999():
    (element,) = elements("TEXT Account 171 352 54 84")
    assert element.box == (171 / 999, 54 / 999, 352 / 999, 84 / 999)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("TEXT USA (English) 201 407 250 277, BUTTON 1 2 3 4", ["TEXT USA (English)", "BUTTON"]),
        ("TEXT 196,652) 401 509 341 363, BUTTON 1 2 3 4", ["TEXT 196,652)", "BUTTON"]),
        ("TEXT ; ) 180 842 326 405", ["TEXT ; )"]),
        ("TEXT ( 180 842 326 405 (TEXT ) 1 2 3 4)", ["TEXT (", "TEXT )"]),
        ("TEXT +971 800 626 744 (800 Namshi) 238 759 840 868", ["TEXT +971 800 626 744 (800 Namshi)"]),
        ("TEXT (ABN 42 061 438 006) (APM) 1 2 3 4", ["TEXT (ABN 42 061 438 006) (APM)"]),
        ("TEXT 9 999 0 1 2 3 4, 5 6 7 8 1 2 3 4", ["TEXT 9 999 0 1 2 3 4, 5 6 7 8"]),
        ("TEXT A 1 2 3 4, 5 6 7 8", ["TEXT A 1 2 3 4,"]),
        ("TEXT a, b (c) 1 2 3 4", ["TEXT a, b (c)"]),
    ],
)
def test_what_looks_like_structure_inside_a_text_is_text(annotation, expected):
    assert phrases(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        ("", "no element with a box"),
        ("TEXT Account", "no element with a box"),
        ("text Account 1 2 3 4", "no element with a box"),
        ("TEXT Account 1 2 3", "no element with a box"),
        ("TEXT Account 1 2 3 4 5000", "no element with a box"),
        ("TOOLBAR 0 999 31 109 (TEXT Account 171 352 54 84", "1 parentheses are not closed"),
        ("TOOLBAR 0 999 31 109 (TEXT A 1 2 3 4 (TEXT B 1 2 3 4", "2 parentheses are not closed"),
        ("TEXT Account 171 352 54 84), TEXT B 1 2 3 4", "a parenthesis too many after 'TEXT Account'"),
    ],
)
def test_what_does_not_nest_is_refused_and_says_why(annotation, why):
    with pytest.raises(ValueError, match=why):
        elements(annotation)


def test_the_whole_screen_is_a_caption_with_boxes_which_each_recipe_writes_in_its_form(tmp_path):
    (turn,) = ScreenAnnotation(path=written(tmp_path, (11107, SCREEN))).turns("grounded_caption").to_dicts()
    assert (turn["row"], turn["images"], turn["problem"]) == ("11107", ["11107.jpg"], None)
    assert turn["caption"] == "PICTOGRAM three bars, TOOLBAR, TEXT Account, LIST_ITEM, LABEL Name, BUTTON"
    assert [box["phrase"] for box in turn["boxes"]] == phrases(SCREEN)


def test_a_screen_is_no_plain_description():
    assert "caption" not in ScreenAnnotation.tasks


def test_whoever_asks_for_a_phrase_gets_all_its_boxes_and_each_once(tmp_path):
    screen = "TEXT OK 1 2 3 4, BUTTON 5 6 7 8 (TEXT OK 1 2 3 4), TEXT OK 9 10 11 12, TEXT ok 1 2 3 4"
    turns = ScreenAnnotation(path=written(tmp_path, (1, screen), (2, screen))).turns("rec")
    each = turns.select("row", "phrase", pl.col("boxes").list.len())
    assert each.rows() == [
        *[("1/0", "TEXT OK", 2), ("1/1", "BUTTON", 1), ("1/4", "TEXT ok", 1)],
        *[("2/0", "TEXT OK", 2), ("2/1", "BUTTON", 1), ("2/4", "TEXT ok", 1)],
    ]


def test_an_element_is_a_turn_of_its_own_where_its_box_is_described(tmp_path):
    turns = ScreenAnnotation(path=written(tmp_path, (11107, SCREEN))).turns("reg")
    assert turns["row"].to_list() == [f"11107/{k}" for k in range(7)]
    assert turns["phrase"].to_list() == phrases(SCREEN)
    assert turns["boxes"].list.len().to_list() == [1] * 7


@pytest.mark.parametrize("task", ["rec", "reg"])
def test_an_element_is_a_turn_of_the_box_tasks(tmp_path, task):
    source = ScreenAnnotation(path=written(tmp_path, (11107, SCREEN)), image_name="combined/{id:06d}.png")
    turns = source.turns(task).to_dicts()
    assert source.box_unit == "fraction"
    assert (turns[2]["row"], turns[2]["phrase"]) == ("11107/2", "TEXT Account")
    assert turns[2]["images"] == ["combined/011107.png"]
    (box,) = turns[2]["boxes"]
    assert box == {
        "x0": pytest.approx(0.171171, abs=1e-6),
        "y0": pytest.approx(0.054054, abs=1e-6),
        "x1": pytest.approx(0.352352, abs=1e-6),
        "y1": pytest.approx(0.084084, abs=1e-6),
        "image": 0,
        "phrase": "TEXT Account",
    }


@pytest.mark.parametrize("task", ScreenAnnotation.tasks)
def test_an_annotation_that_does_not_nest_is_one_row_that_says_why(tmp_path, task):
    turns = ScreenAnnotation(path=written(tmp_path, (1, "TOOLBAR 0 999 31 109 (TEXT A 1 2 3 4"), (2,))).turns(task)
    assert turns.select("row", "problem").rows() == [("1", "unparsable_row"), ("2", "unparsable_row")]


def test_the_names_that_the_readme_gives_are_read_too_and_others_are_refused(tmp_path):
    path = written(tmp_path, (SCREEN, 1), head=("label", "image_id"))
    assert ScreenAnnotation(path=path).turns("rec")["row"].to_list()[0] == "1/0"
    with pytest.raises(SourceError, match="no columns 'screen_id' and 'screen_annotation', but id, text"):
        ScreenAnnotation(path=written(tmp_path, (1, SCREEN), head=("id", "text"))).turns("rec")


def test_a_csv_that_breaks_off_is_refused(tmp_path):
    (tmp_path / "valid.csv").write_text('screen_id,screen_annotation\n1,"TEXT A 1 2')
    with pytest.raises(SourceError, match="not CSV"):
        ScreenAnnotation(path=str(tmp_path)).turns("rec")


def test_all_of_the_real_screens_nest(shared_data):
    """Counted by parentheses alone, 22 of these rows would be unbalanced and two numbers in texts would be boxes."""
    source = ScreenAnnotation(path=str(shared_data / "screen_annotation" / "valid_part1.csv"))
    screens = source.turns("grounded_caption")
    assert screens.height == screens["problem"].null_count() == 1_617
    turns = source.turns("reg")
    assert turns.height == turns["problem"].null_count() == 39_541
    boxes = turns["boxes"].list.first().struct.unnest()
    assert ((boxes["x0"] < boxes["x1"]) & (boxes["y0"] < boxes["y1"])).all()
    assert boxes["x1"].max() == boxes["y1"].max() == 1.0


def test_no_real_phrase_is_asked_for_one_of_its_boxes(shared_data):
    source = ScreenAnnotation(path=str(shared_data / "screen_annotation" / "valid_part1.csv"))
    turns = source.turns("rec")
    assert turns.height == 32_672
    assert not turns.select(pl.struct("images", "phrase").is_duplicated().any()).item()
    assert source.turns("reg").select(pl.struct("images", "phrase").is_duplicated().sum()).item() == 9_286
