from __future__ import annotations

from io import BytesIO

import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from vldata.errors import StoreError
from vldata.schema.turns import BOX, COMMON
from vldata.shapes import language
from vldata.shapes.draw import encoded
from vldata.shapes.scene import scene
from vldata.sources import source_class
from vldata.sources.shapes import Shapes, image_name


def test_it_is_a_known_format_that_needs_no_option():
    assert source_class("shapes") is Shapes
    assert Shapes().scenes == 500
    assert Shapes().files() == []


@pytest.mark.parametrize("task", Shapes.tasks)
def test_every_turn_has_its_own_row_and_no_column_of_another_type(task):
    turns = Shapes(scenes=40).turns(task)
    assert turns["row"].is_unique().all()
    assert turns.height >= 20
    assert {name: dtype for name, dtype in turns.schema.items() if name in COMMON} == {
        name: dtype for name, dtype in COMMON.items() if name in turns.columns
    }
    if "boxes" in turns.columns:
        assert turns.schema["boxes"] == pl.List(BOX)
    assert turns.select(pl.all().is_null().any()).row(0) == (False,) * turns.width


@pytest.mark.parametrize("task", [task for task in Shapes.tasks if task != "text_instruction"])
def test_every_turn_names_the_image_of_its_scene_and_its_size(task):
    for turn in Shapes(scenes=12, side_px=120).turns(task).iter_rows(named=True):
        number = int(turn["row"].split("/")[0])
        assert turn["images"] == [image_name(number)]
        assert turn["image_sizes"] == [{"width": 120, "height": 120}]


def test_a_question_is_that_of_its_scene_in_both_forms():
    source = Shapes(scenes=13, world_seed=5)
    question = language.questions(scene(12, seed=5))[3]
    open_turn = source.turns("vqa_open").row(by_predicate=pl.col("row") == "12/q3", named=True)
    assert (open_turn["question"], open_turn["answer"]) == (question.question, question.answer)
    choice = source.turns("vqa_mc").row(by_predicate=pl.col("row") == "12/q3", named=True)
    assert (choice["question"], tuple(choice["choices"])) == (question.question, question.choices)
    assert choice["choices"][choice["answer"]] == question.answer


def test_a_statement_keeps_its_truth():
    turns = Shapes(scenes=20, world_seed=5).turns("true_false")
    said = [stated for number in range(20) for stated in language.statements(scene(number, seed=5))]
    assert turns["statement"].to_list() == [stated.statement for stated in said]
    assert turns["answer"].to_list() == [stated.truth for stated in said]


def test_a_referring_expression_has_the_box_of_its_thing():
    (turn,) = Shapes(scenes=1, world_seed=3).turns("rec").filter(pl.col("phrase") == "square").to_dicts()
    (thing,) = [thing for thing in scene(0, seed=3).things if thing.shape == "square"]
    assert [tuple(box[side] for side in ("x0", "y0", "x1", "y1")) for box in turn["boxes"]] == [thing.box]
    assert (turn["boxes"][0]["image"], turn["boxes"][0]["phrase"]) == (0, None)


@pytest.mark.parametrize("task", ["rec", "reg", "grounded_caption", "ocr"])
def test_every_box_lies_inside_its_image(task):
    boxes = Shapes(scenes=100, side_px=96).turns(task)["boxes"].explode().struct.unnest()
    assert boxes.filter(
        (pl.col("x0") < 0) | (pl.col("x1") > 96) | (pl.col("y0") < 0) | (pl.col("y1") > 96) | (pl.col("image") != 0)
    ).is_empty()


def test_every_phrase_of_a_grounded_caption_stands_in_it():
    for turn in Shapes(scenes=50).turns("grounded_caption").iter_rows(named=True):
        assert all(box["phrase"] in turn["caption"] for box in turn["boxes"])


def test_a_scene_without_words_has_nothing_to_read():
    assert not scene(0, seed=3).words
    nothing = Shapes(scenes=1, world_seed=3).turns("ocr")
    assert nothing.height == 0
    assert nothing.schema == Shapes(scenes=50).turns("ocr").schema


def test_exchanges_stay_in_their_thread_in_order():
    turns = Shapes(scenes=5).turns("instruction")
    assert turns["row"].to_list() == [f"{turn['thread']}/{turn['position']}" for turn in turns.to_dicts()]
    for (thread,), exchanges in turns.group_by("thread"):
        said = language.conversation(scene(int(thread), seed=0))
        assert list(exchanges.select("instruction", "response").iter_rows()) == said


def test_text_problems_have_no_image():
    turns = Shapes(scenes=30).turns("text_instruction")
    assert turns.height == 30
    assert "images" not in turns.columns
    assert turns.row(4)[-2:] == language.arithmetic(4, seed=0)


def test_more_scenes_add_turns_and_change_none():
    few, more = Shapes(scenes=999).turns("caption"), Shapes(scenes=1003).turns("caption")
    assert more.head(few.height).equals(few)
    assert more["images"].explode().unique(maintain_order=True).to_list()[-4:] == [
        "00/000999.jpg",
        "01/001000.jpg",
        "01/001001.jpg",
        "01/001002.jpg",
    ]


def test_another_world_seed_gives_other_scenes():
    assert not Shapes(scenes=5, world_seed=1).turns("caption").equals(Shapes(scenes=5).turns("caption"))


def test_images_are_drawn_once_and_a_missing_one_again(tmp_path):
    source = Shapes(scenes=1002, side_px=96, world_seed=2)
    source.draw_images(tmp_path / "images")
    names = [image_name(number) for number in range(1002)]
    files = sorted(path for path in (tmp_path / "images").rglob("*") if path.is_file())
    assert [path.relative_to(tmp_path / "images").as_posix() for path in files] == names

    redrawn = tmp_path / "images" / names[1001]
    redrawn.unlink()
    kept = tmp_path / "images" / names[7]
    kept.write_bytes(b"not drawn again")
    source.draw_images(tmp_path / "images")
    assert redrawn.read_bytes() == encoded(scene(1001, seed=2, side_px=96))
    assert kept.read_bytes() == b"not drawn again"


def test_an_image_is_the_scene_at_the_requested_side(tmp_path):
    Shapes(scenes=1, side_px=130).draw_images(tmp_path)
    raw = (tmp_path / "00" / "000000.jpg").read_bytes()
    assert raw == encoded(scene(0, seed=0, side_px=130))
    with Image.open(BytesIO(raw)) as image:
        assert image.size == (130, 130)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="taken") as caught:
        Shapes(scenes=1).draw_images(tmp_path / "taken")
    assert "fix:" in str(caught.value)


def test_the_images_key_tells_apart_what_looks_different_and_nothing_else():
    assert Shapes(scenes=3).images_key() == Shapes(scenes=9).images_key()
    keys = [Shapes(world_seed=w, side_px=s).images_key() for w in (0, 1, 11) for s in (96, 224, 196)]
    assert len(set(keys)) == 9


def test_a_standin_gives_the_requested_turns_and_writes_nothing(tmp_path):
    read_back = Shapes.model_validate(Shapes.standin(tmp_path, rows=37, seed=4))
    assert list(tmp_path.iterdir()) == []
    for task in set(Shapes.tasks) - {"ocr"}:
        assert read_back.turns(task).height >= 37
    assert Shapes.standin(tmp_path, rows=37, seed=4) != Shapes.standin(tmp_path, rows=37, seed=5)


@pytest.mark.parametrize("options", [{"scenes": 0}, {"side_px": 95}, {"side_px": 5000}, {"side": 224}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        Shapes.model_validate(options)
