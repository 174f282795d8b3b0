"""Boxes in every order, unit and form, and what they say of a unit that they are not in."""

import json
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vldata
from vldata.errors import SourceError, VldataError
from vldata.pipeline.check import check
from vldata.sources.coco_instances import CocoInstances
from vldata.sources.reading.box_units import outside_unit, wrong_unit
from vldata.sources.table import Table

DOG = (20.0, 10.0, 60.0, 50.0)  # on 200 x 100 px
ORDERS = {
    "xyxy": [20, 10, 60, 50],
    "xywh": [20, 10, 40, 40],
    "xxyy": [20, 60, 10, 50],
    "yxyx": [10, 20, 50, 60],
    "cxcywh": [40, 30, 40, 40],
}
UNITS = {"px": (1, 1), "fraction": (1 / 200, 1 / 100), "percent": (1 / 2, 1), "thousandths": (5, 10)}


def table_of(folder, *boxes, **options):
    """A table about boxes, a row for each; the phrase is 'a dog'."""
    rows = [{"id": str(k), "image": "a.png", "phrase": "a dog", "boxes": box} for k, box in enumerate(boxes)]
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Table(path=str(path), **options)


def read(folder, *boxes, **options):
    return table_of(folder, *boxes, **options).turns("rec")


def corners(turns):
    """The corners of every box of every row; None of a row that has a problem."""
    rows = turns.select("boxes", "problem").to_dicts()
    edges = ("x0", "y0", "x1", "y1")
    return [None if row["problem"] else [tuple(box[e] for e in edges) for box in row["boxes"]] for row in rows]


def in_unit(numbers, order, unit):
    """Numbers in pixels as another unit writes them."""
    axes = {"xyxy": "xyxy", "xywh": "xyxy", "cxcywh": "xyxy", "xxyy": "xxyy", "yxyx": "yxyx"}[order]
    return [n * UNITS[unit]["xy".index(axis)] for n, axis in zip(numbers, axes, strict=True)]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("order", ORDERS)
def test_the_same_box_in_every_order_and_unit(order, unit, tmp_path):
    numbers = in_unit(ORDERS[order], order, unit)
    for boxes in (numbers, [numbers]):
        turns = read(tmp_path, boxes, box_order=order, boxes_are=unit)
        scale = (1, 1) if unit == "px" else (200, 100)
        ((found,),) = corners(turns)
        assert [c * scale[k % 2] for k, c in enumerate(found)] == pytest.approx(DOG)
    path = tmp_path / "instances_a.json"
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": numbers}],
        "categories": [{"id": 1, "name": "a dog"}],
    }
    path.write_text(json.dumps(document))
    ((found,),) = corners(CocoInstances(path=str(path), box_order=order, boxes_are=unit).turns("reg"))
    assert [c * scale[k % 2] for k, c in enumerate(found)] == pytest.approx(DOG)


POLYGON = [[20, 12], [60, 10], [58, 50], [20, 48]]
NUMBERS = [number for point in POLYGON for number in point]


@pytest.mark.parametrize(
    "boxes",
    [
        NUMBERS,
        [NUMBERS],
        POLYGON,
        [POLYGON],
        [{"x": x, "y": y} for x, y in POLYGON],
        [[{"x": x, "y": y} for x, y in POLYGON]],
        [*NUMBERS, 40, 50],
        [[20, 10], [60, 50]],
        [[60, 50], [20, 10]],
    ],
)
@pytest.mark.parametrize("order", ["xyxy", "xywh"])
def test_points_are_the_box_around_them_whatever_the_order_of_four_numbers(boxes, order, tmp_path):
    assert corners(read(tmp_path, boxes, box_order=order)) == [[DOG]]


def test_polygons_and_boxes_lie_side_by_side(tmp_path):
    assert corners(read(tmp_path, [NUMBERS, [1, 2, 3, 4]], [[1, 2, 3, 4]])) == [
        [DOG, (1, 2, 3, 4)],
        [(1, 2, 3, 4)],
    ]


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6, 7, None]])
def test_other_numbers_are_no_polygon(numbers, tmp_path):
    assert corners(read(tmp_path, [numbers], [[1, 2, 3, 4]])) == [None, [(1, 2, 3, 4)]]


@given(st.lists(st.lists(st.none() | st.integers(-9, 9), max_size=3), min_size=1, max_size=5))
def test_points_are_a_polygon_or_cost_their_row(tmp_path_factory, points):
    turns = read(tmp_path_factory.mktemp("t"), [points], [[[0, 0], [1, 1]]])
    sound = len(points) > 1 and all(len(point) == 2 and None not in point for point in points)
    xs, ys = ([point[axis] for point in points] for axis in (0, 1)) if sound else ([], [])
    assert corners(turns)[0] == ([(min(xs), min(ys), max(xs), max(ys))] if sound else None)


@pytest.mark.parametrize(
    ("box", "order"),
    [
        ({"xmin": 20, "ymin": 10, "xmax": 60, "ymax": 50}, "xyxy"),
        ({"x1": 20, "y1": 10, "x2": 60, "y2": 50}, "xywh"),
        ({"left": 20, "top": 10, "right": 60, "bottom": 50}, "xyxy"),
        ({"x": 20, "y": 10, "width": 40, "height": 40}, "xywh"),
        ({"x": 20, "y": 10, "w": 40, "h": 40}, "xywh"),
        ({"x": 40, "y": 30, "width": 40, "height": 40}, "cxcywh"),
        ({"cx": 40, "cy": 30, "w": 40, "h": 40}, "xyxy"),
    ],
)
def test_structs_say_what_their_numbers_are(box, order, tmp_path):
    assert corners(read(tmp_path, [box], box_order=order)) == corners(read(tmp_path, box, box_order=order)) == [[DOG]]


def test_a_struct_with_a_value_of_another_kind_costs_its_row_or_is_an_error(tmp_path):
    box = {"x0": 20, "y0": 10, "x1": 60, "y1": 50}
    assert corners(read(tmp_path, [{**box, "x1": "60"}])) == [[DOG]]
    assert corners(read(tmp_path, [{**box, "x1": "wide"}])) == [None]
    assert corners(read(tmp_path, [{**box, "image": "a.png"}])) == [None]
    with pytest.raises(SourceError, match="are not all numbers"):
        read(tmp_path, [{**box, "x1": [60]}])


LABEL_STUDIO = {"x": 10, "y": 10, "width": 20, "height": 40, "rotation": 0, "original_width": 200}


def test_sides_in_a_struct_need_an_order(tmp_path):
    with pytest.raises(SourceError, match=r"no x0, y0, x1, y1 .*\n.*`box_order: xywh`"):
        read(tmp_path, [{"x": 20, "y": 10, "width": 40, "height": 40}])
    with pytest.raises(SourceError, match="y1 are missing"):
        read(tmp_path, [{"x0": 20, "y0": 10, "x1": 40}])


def test_label_studio_writes_percent_and_what_it_has_turned_is_no_box(tmp_path):
    with pytest.raises(SourceError, match="boxes_are: percent"):
        read(tmp_path, [LABEL_STUDIO])
    with pytest.raises(SourceError, match="boxes_are: percent"):
        read(tmp_path, [LABEL_STUDIO], box_order="xywh")
    turned = {**LABEL_STUDIO, "rotation": 30}
    found = corners(read(tmp_path, [LABEL_STUDIO], [turned], box_order="xywh", boxes_are="percent"))
    assert found == [[pytest.approx((0.1, 0.1, 0.3, 0.5))], None]


def unit_error(folder, *boxes, **options):
    source = table_of(folder, *boxes, **options)
    found = wrong_unit(source.turns("rec"), source)
    return None if found is None else str(found.error(source, "sources.s"))


@pytest.mark.parametrize(
    ("unit", "box", "likely"),
    [
        ("px", [0.1, 0.2, 0.5, 0.9], "fraction"),
        ("px", [0.1, 0.2, 1.002, 1], "fraction"),
        ("percent", [0.1, 0.2, 0.5, 0.9], "fraction"),
        ("thousandths", [0.1, 0.2, 0.5, 0.9], "fraction"),
        ("fraction", [10, 20, 50, 90], "percent"),
        ("fraction", [100, 200, 550, 900], "thousandths"),
        ("fraction", [100, 200, 1550, 900], "px"),
        ("percent", [100, 200, 550, 900], "thousandths"),
        ("thousandths", [100, 200, 2550, 900], "px"),
    ],
)
def test_boxes_that_cannot_be_in_their_unit_are_an_error_that_names_the_likely_one(unit, box, likely, tmp_path):
    for boxes in ([box], [box] * 120 + [[0, 0, 0, 0]]):
        error = unit_error(tmp_path, *boxes, boxes_are=unit)
        assert error.startswith("sources.s.boxes_are: ")
        assert f"set `boxes_are: {likely}`" in error


@pytest.mark.parametrize(
    ("unit", "boxes"),
    [
        ("px", [[0, 0, 0, 0]]),
        ("px", [[0, 0, 1, 1], [10, 10, 20, 20]]),
        ("px", [None, []]),
        ("fraction", [[0.1, 0.2, 1.4, 0.9]]),
        ("fraction", [[0.1, 0.2, 0.4, 0.9], [10, 20, 30, 40]]),
        ("percent", [[0.5, 0.5, 1, 1], [5, 5, 10, 10]]),
        ("thousandths", [[1, 1, 999, 999]]),
    ],
)
def test_a_few_odd_boxes_say_nothing_of_the_unit(unit, boxes, tmp_path):
    assert unit_error(tmp_path, *boxes, boxes_are=unit) is None


def test_thousandths_of_small_images_show_when_the_images_are_seen(tmp_path):
    source = table_of(tmp_path, [0, 100, 500, 900], [10, 20, 999, 40])
    turns = source.turns("rec")
    assert outside_unit(turns, 3, source).likely == ("thousandths",)
    assert outside_unit(turns, 4, source) is None
    for box in ([-5, 100, 500, 900], [0, 100, 500, 1900], [0, 0, 300, 200]):
        source = table_of(tmp_path, box)
        assert outside_unit(source.turns("rec"), 1, source) is None


@pytest.mark.parametrize(("box", "unit"), [([0.1, 0.2, 0.5, 0.9], "fraction"), ([100, 200, 550, 900], "thousandths")])
@pytest.mark.parametrize("act", ["plan", "build"])
def test_nothing_is_written_of_boxes_in_another_unit(box, unit, act, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (200, 100)).save("a.png")
    table_of(tmp_path, box, box)
    source = "{format: table, path: t.jsonl, task: rec, max_reject_rate: 1}"
    (tmp_path / "r.yaml").write_text(f"name: r\nseed: 1\nsources:\n  s: {source}\n")
    recipe, store = vldata.load("r.yaml"), tmp_path / "store"
    with pytest.raises(VldataError, match=rf"sources.s.boxes_are: (.|\n)*`boxes_are: {unit}`"):
        if act == "plan":
            vldata.plan(recipe, store=store, workers=1)
        else:
            vldata.build(recipe, tmp_path / "out", store=store, workers=1)
    assert not (tmp_path / "out").exists()


def test_check_says_so_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (200, 100)).save("a.png")
    table_of(tmp_path, [0.1, 0.2, 0.5, 0.9])
    (tmp_path / "r.yaml").write_text("sources: {s: {format: table, path: t.jsonl, task: rec}}\nname: r\nseed: 1\n")
    with pytest.raises(VldataError, match="`boxes_are: fraction`"):
        check(vldata.load("r.yaml"))
    table_of(tmp_path, [10, 20, 50, 90])
    assert len(check(vldata.load("r.yaml"))) == 1


SIDES = [(80.0, 80), ("80", 80), (" 80.0 ", 80), (80.5, None), ("wide", None), (0, None), (-80, None), (1e300, None)]


@pytest.mark.parametrize(("written", "side"), SIDES)
def test_whole_floats_and_numerals_are_sides_and_all_else_costs_its_row(written, side, tmp_path):
    row = {"image": "a.png", "phrase": "a dog", "boxes": [[1, 2, 30, 40]]}
    sizes = [{"width": written, "height": 60}]
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({**row, "image_sizes": sizes}) + "\n")
    (turn,) = Table(path=str(path)).turns("rec").to_dicts()
    assert (turn["problem"] is None) == (side is not None)
    if side is not None:
        assert turn["image_sizes"] == [{"width": side, "height": 60}]
    else:
        assert "width and height in whole pixels" in turn["detail"]


def test_sizes_that_are_unknown_cost_nothing_and_half_of_one_does(tmp_path):
    frame = pl.DataFrame(
        {
            "image": ["a.png"] * 4,
            "caption": ["A dog."] * 4,
            "image_sizes": [
                [{"width": 3.0, "height": 2.0}],
                [{"width": math.nan, "height": None}],
                None,
                [{"width": 3.0, "height": None}],
            ],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    turns = Table(path=str(tmp_path / "t.parquet")).turns("caption")
    assert turns["problem"].to_list() == [None, None, None, "unparsable_row"]
    assert turns["image_sizes"].to_list()[:3] == [[{"width": 3, "height": 2}], [None], None]


TEXTS = ["[20, 10, 60.0, 50]", "(20,10,60,50)", "20 10 60 50", "[20. 10. 60. 50.]", "[[20, 10, 60, 50]]"]


@pytest.mark.parametrize("text", [*TEXTS, "[[20, 10], [60, 50]]", "[[[20, 10], [60, 50]]]"])
def test_a_box_that_stands_in_a_text(text, tmp_path):
    assert corners(read(tmp_path, text, text)) == [[DOG], [DOG]]


def test_a_text_without_a_box_costs_its_row_and_one_of_words_is_an_error(tmp_path):
    assert corners(read(tmp_path, "[20, 10, 60, 50]", "[20, 10", "a dog")) == [[DOG], None, None]
    assert corners(read(tmp_path, ["20", "10", "60", "50"], ["20", "x", "60", "50"])) == [[DOG], None]
    with pytest.raises(SourceError, match="not boxes of 4 numbers"):
        read(tmp_path, "a dog", "a cat")


@pytest.mark.parametrize(
    ("names", "right"),
    [
        ("x y w h", "xywh"),
        ("bbox_x bbox_y bbox_width bbox_height", "xywh"),
        ("cx cy w h", "cxcywh"),
        ("XMin XMax YMin YMax", "xxyy"),
        ("ymin xmin ymax xmax", "yxyx"),
        ("x1 y1 x2 y2", "xyxy"),
        ("a b c d", "xyxy"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_columns_that_say_by_their_names_what_they_are_are_held_to_it(names, right, order, tmp_path):
    names = names.split()
    row = {"image": "a.png", "phrase": "a dog", **dict(zip(names, ORDERS[right], strict=True))}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    table = Table(path=str(tmp_path / "t.jsonl"), fields={"boxes": names}, box_order=order)
    if order == right:
        assert corners(table.turns("rec")) == [[DOG]]
    elif names[0] != "a" and (right, order) != ("xywh", "cxcywh"):
        with pytest.raises(SourceError, match="by their names") as error:
            table.turns("rec")
        assert f"box_order: {right}" in error.value.fix


def test_fields_of_a_box_are_known_in_any_case(tmp_path):
    box = {"Left": 20, "Top": 10, "Width": 40, "Height": 40}
    assert corners(read(tmp_path, box, box_order="xywh")) == [[DOG]]
