"""Boxes as files write them -> `BOX`: which numbers, in which order and unit, and what says that the unit is another.

A box is four numbers in the order that ``box_order`` names; a struct whose fields say what they are; or a polygon
(eight numbers or more, x and y by turns, or a list of points), which becomes the box around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast

import polars as pl

from vldata.schema.turns import BOX
from vldata.sources.reading.casts import Cast, Origin, Unfit, blaming
from vldata.sources.reading.text_lists import numbers_from_texts

if TYPE_CHECKING:
    pass

BoxOrder = Literal["xyxy", "xywh", "cxcywh", "xxyy", "yxyx"]
BoxesAre = Literal["px", "fraction", "percent", "thousandths"]
BoxUnit = Literal["px", "fraction"]

EDGE_PX = 0.5
"""How far a box may overshoot its image by rounding: COCO writes sides to 0.01 px, others round corners to whole
pixels."""

WHOLE_SIDE = {"fraction": 1, "percent": 100, "thousandths": 1000}
"""What each unit writes for a whole side of the image."""

_Corners = tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr]
_ORDERS: dict[str, Callable[[pl.Expr, pl.Expr, pl.Expr, pl.Expr], _Corners]] = {
    "xyxy": lambda x0, y0, x1, y1: (x0, y0, x1, y1),
    "xywh": lambda x0, y0, w, h: (x0, y0, x0 + w, y0 + h),
    "cxcywh": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
    "xxyy": lambda x0, x1, y0, y1: (x0, y0, x1, y1),
    "yxyx": lambda y0, x0, y1, x1: (x0, y0, x1, y1),
}

_Fields = tuple[str, str, str, str]
EDGES = ("x0", "y0", "x1", "y1")
_BY_CORNERS = (
    EDGES,
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
_BY_SIDES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_BY_CENTRE = (("cx", "cy", "w", "h"), ("cx", "cy", "width", "height"))
_ALL_FIELDS = (*_BY_CORNERS, *_BY_SIDES, *_BY_CENTRE)
_PLACES: dict[BoxOrder, tuple[int, ...]] = {"xyxy": (0, 1, 2, 3), "xxyy": (0, 2, 1, 3), "yxyx": (1, 0, 3, 2)}
"""Where each of four columns stands among left, top, right and bottom."""
_IN_ORDER = "set `box_order: {}`"


def box_unit(boxes_are: BoxesAre) -> BoxUnit:
    """Frame of boxes that were read: percent and thousandths have become fractions."""
    return "px" if boxes_are == "px" else "fraction"


def cast_boxes(
    origin: Origin,
    values: pl.Series,
    *,
    order: BoxOrder,
    boxes_are: BoxesAre = "px",
    phrases: pl.Series | None,
    phrase: pl.Series | None,
) -> Cast:
    """Boxes as lists of `BOX`, in pixels or in fractions (`box_unit`).

    Args:
        values: A box or a list of boxes a row. Structs may also have ``image`` (0 where it is missing) and ``phrase``.
        order: What four numbers are, and the sides of a struct.
        phrases: Lists of text, one for each box; or None.
        phrase: What all boxes of a row are called, unless they have a phrase of their own; or None.

    Raises:
        SourceError: Values of their type never fit.
    """
    return blaming(
        origin,
        values,
        "boxes of 4 numbers",
        lambda: _boxes(values, _order_of_columns(origin, order), boxes_are, phrases, phrase),
    )


def box_of(
    numbers: str,
    phrase: str,
    *,
    order: BoxOrder = "xywh",
    boxes_are: BoxesAre = "px",
    width: str = "width",
    height: str = "height",
) -> pl.Expr:
    """A `BOX` on the row's first image from an array of 4 numbers.

    A corner at most `EDGE_PX` outside the image is put on its edge; one further out stays where it is.
    """
    x0, y0, x1, y1 = _corners(order, boxes_are, *(pl.col(numbers).arr.get(k) for k in range(4)))
    if boxes_are == "px":
        x0, y0 = _on_edge(x0, None), _on_edge(y0, None)
        x1, y1 = _on_edge(x1, pl.col(width)), _on_edge(y1, pl.col(height))
    return pl.struct(x0=x0, y0=y0, x1=x1, y1=y1, image=pl.lit(0, pl.Int32), phrase=pl.col(phrase)).cast(BOX)


def _corners(order: str, boxes_are: str, *numbers: pl.Expr) -> _Corners:
    side = WHOLE_SIDE.get(boxes_are, 1)
    a, b, c, d = (number.cast(pl.Float64) / side if side != 1 else number.cast(pl.Float64) for number in numbers)
    return _ORDERS[order](a, b, c, d)


def _on_edge(corner: pl.Expr, side: pl.Expr | None) -> pl.Expr:
    low = pl.when((corner < 0) & (corner >= -EDGE_PX)).then(0.0).otherwise(corner)
    if side is None:
        return low
    return pl.when((corner > side) & (corner <= side + EDGE_PX)).then(side.cast(pl.Float64)).otherwise(low)


def _order_of_columns(origin: Origin, order: BoxOrder) -> BoxOrder:
    """The order, held against what four columns' names say by themselves.

    Raises:
        Unfit: They say something else.
    """
    names = [part.text.rpartition(".")[2].lower() for part in origin.parts]
    before = f"{names[0].rpartition('_')[0]}_" if names else ""
    names = [name.removeprefix(before) for name in names] if all(name.startswith(before) for name in names) else names
    for fields in _BY_CORNERS:
        if {*names} == {*fields}:
            given = tuple(fields.index(name) for name in names)
            meant = next((other for other, places in _PLACES.items() if places == given), "xyxy")
            if order != meant or _PLACES[meant] != given:
                raise Unfit(f"these are corners by their names, and `box_order` is {order}", _IN_ORDER.format(meant))
    for four in (*_BY_SIDES, *_BY_CENTRE):
        if {*names} == {*four}:
            orders = ("cxcywh",) if four in _BY_CENTRE else ("xywh", "cxcywh")
            if order not in orders or tuple(names) != four:
                said = f"these are a corner or the centre and two sides by their names, and `box_order` is {order}"
                fix = f"{_IN_ORDER.format(' or '.join(orders))}, and name them in the order {', '.join(four)}"
                raise Unfit(said, fix)
    return order


def _boxes(values: pl.Series, order: str, boxes_are: str, phrases: pl.Series | None, phrase: pl.Series | None) -> Cast:
    values, depth, leaf = _as_lists(numbers_from_texts(values))
    is_struct = isinstance(leaf, pl.Struct)
    if leaf == pl.Null and depth < 2:
        return Cast(values.cast(pl.List(BOX)), pl.repeat(False, values.len(), dtype=pl.Boolean, eager=True))
    if not (depth <= 1 if is_struct else 1 <= depth <= 3 and (leaf.is_numeric() or leaf == pl.Null)):
        raise Unfit
    none = pl.Series([None], dtype=pl.String).new_from_index(0, values.len())
    rows = pl.DataFrame(
        {
            "place": pl.Series(range(values.len()), dtype=pl.UInt32),
            "box": values,
            "said": none.cast(pl.List(pl.String)) if phrases is None else phrases,
            "phrase": none if phrase is None else phrase,
        }
    )
    is_alone = depth == (0 if is_struct else 1)
    one_polygon = pl.lit(False)
    if depth == 2 and not is_struct and (values.list.first().list.len() == 2).any():
        one_polygon = (pl.col("box").list.len() > 1) & pl.col("box").list.eval(pl.element().list.len() == 2).list.all()
    count = pl.when(pl.col("box").is_not_null()).then(1) if is_alone else pl.col("box").list.len().cast(pl.Int32)
    rows = rows.with_columns(one_polygon=one_polygon.fill_null(False)).with_columns(
        count=pl.when("one_polygon").then(1).otherwise(count)
    )
    some = rows.filter(pl.col("count") > 0).with_columns(k=pl.int_ranges("count"))
    if is_struct:
        each = _of_structs(some.explode("k") if is_alone else some.explode("box", "k"), order, boxes_are)
    else:
        each = _of_numbers(_numbered(some, depth), order, boxes_are)
    each = each.with_columns(own=pl.coalesce("own", pl.col("said").list.get(pl.col("k"), null_on_oob=True), "phrase"))
    corners = [pl.col(edge) for edge in EDGES]
    box = pl.struct(*corners, image=pl.col("image"), phrase=pl.col("own")).cast(BOX)
    is_misfit = ~(pl.col("is_whole") & pl.all_horizontal(corner.is_finite().fill_null(False) for corner in corners))
    found = each.group_by("place").agg(boxes=box, misfit=is_misfit.any())
    rows = rows.join(found, on="place", how="left", maintain_order="left")
    unlike = (pl.col("said").list.len() != pl.col("count")).fill_null(False)
    empty = pl.when(pl.col("count") == 0).then(pl.lit([], dtype=pl.List(BOX)))
    done = rows.select(boxes=pl.coalesce("boxes", empty), misfit=pl.col("misfit").fill_null(False) | unlike)
    return Cast(done["boxes"], done["misfit"])


def _as_lists(values: pl.Series) -> tuple[pl.Series, int, pl.DataType]:
    """Values with lists in place of arrays and of points that are structs; how deep the lists lie; and what in them."""
    depth, leaf = 0, values.dtype
    while isinstance(leaf, pl.List | pl.Array):
        depth, leaf = depth + 1, cast(pl.DataType, leaf.inner)
    if isinstance(leaf, pl.Struct) and depth and set(leaf.to_schema()) == {"x", "y"}:
        point = pl.concat_list(pl.element().struct.field(axis).cast(pl.Float64) for axis in ("x", "y"))
        for _ in range(depth - 1):
            point = pl.element().list.eval(point)
        values = values.to_frame("v").select(pl.col("v").list.eval(point)).to_series()
        depth, leaf = depth + 1, pl.Float64()
    if depth and not isinstance(leaf, pl.Struct) and (leaf.is_numeric() or (leaf == pl.Null and depth > 1)):
        lists: pl.DataType = pl.Float64()
        for _ in range(depth):
            lists = pl.List(lists)
        values = values.cast(lists)
    return values, depth, leaf


def _numbered(some: pl.DataFrame, depth: int) -> pl.DataFrame:
    """One row a box: its ``numbers`` in a row, and ``is_points`` where they are those of points."""
    flat = pl.col("box").list.eval(pl.element().explode())
    if depth == 1:
        return some.explode("k").with_columns(numbers="box", is_points=pl.lit(False))
    if depth == 2:
        lists = some.filter(~pl.col("one_polygon")).explode("box", "k")
        lists = lists.with_columns(numbers="box", is_points=pl.lit(False)).drop("box")
        points = some.filter("one_polygon").explode("k").with_columns(numbers=flat, is_points=pl.lit(True))
        return pl.concat([lists, points.drop("box")]) if points.height else lists
    each = some.explode("box", "k")
    are_pairs = pl.col("box").list.eval(pl.element().list.len() == 2).list.all() & (pl.col("box").list.len() > 1)
    return each.with_columns(numbers=pl.when(are_pairs).then(flat), is_points=pl.lit(True))


def _of_numbers(each: pl.DataFrame, order: str, boxes_are: str) -> pl.DataFrame:
    """Add x0, y0, x1, y1, ``image``, ``own`` (the box's own phrase) and ``is_whole``: it can be read as a box."""
    numbers, length = pl.col("numbers"), pl.col("numbers").list.len()
    are_points = pl.col("is_points") | ((length >= 8) & (length % 2 == 0))
    each = each.with_columns(is_points=are_points.fill_null(False))
    corners = _corners(order, boxes_are, *(numbers.list.get(k, null_on_oob=True) for k in range(4)))
    is_whole = length == 4
    if each["is_points"].any():
        x, y = (numbers.list.gather_every(2, first) for first in (0, 1))
        around = _corners("xyxy", boxes_are, x.list.min(), y.list.min(), x.list.max(), y.list.max())
        has_all = (numbers.list.drop_nulls().list.len() == length) & numbers.list.sum().is_finite()
        pairs = zip(around, corners, strict=True)
        corners = tuple(pl.when("is_points").then(a).otherwise(c) for a, c in pairs)  # type: ignore[assignment]
        is_whole = pl.when("is_points").then(has_all).otherwise(is_whole)
    return each.with_columns(
        **dict(zip(EDGES, corners, strict=True)),
        image=pl.lit(0, pl.Int32),
        own=pl.lit(None, pl.String),
        is_whole=is_whole.fill_null(False),
    )


def _of_structs(each: pl.DataFrame, order: str, boxes_are: str) -> pl.DataFrame:
    """As `_of_numbers`, of structs whose fields say what they are."""
    box = pl.col("box")
    types = cast(pl.Struct, each.schema["box"]).to_schema()
    names = list(types)
    fields, order = _box_fields(names, order)
    is_by_corners = tuple(field.lower() for field in fields) in _BY_CORNERS
    if any(types[field].is_nested() or types[field] == pl.Binary for field in fields):
        raise Unfit(f"{', '.join(fields)} are not all numbers")
    if "original_width" in names and not is_by_corners and boxes_are == "px":
        raise Unfit("structs of Label Studio, whose numbers are percent", "set `boxes_are: percent`")
    numbers = [box.struct.field(field).cast(pl.Float64, strict=False) for field in fields]
    corners = _corners(order, boxes_are, *numbers)
    is_whole = pl.lit(True)
    if "rotation" in names:
        is_whole &= (box.struct.field("rotation").cast(pl.Float64, strict=False) == 0).fill_null(True)
    image = pl.lit(0, pl.Int32)
    if "image" in names:
        image = box.struct.field("image").cast(pl.Int32, strict=False)
        is_whole &= box.struct.field("image").is_null() | image.is_not_null()
    return each.with_columns(
        **dict(zip(EDGES, corners, strict=True)),
        image=image.fill_null(0),
        own=(box.struct.field("phrase") if "phrase" in names else pl.lit(None)).cast(pl.String),
        is_whole=is_whole,
    )


def _box_fields(names: list[str], order: str) -> tuple[_Fields, str]:
    """The four fields of a struct that are its box, and their order.

    Raises:
        Unfit: There are none, or ``box_order`` does not say what they are.
    """
    named = {name.lower(): name for name in names}
    own = {fields: cast(_Fields, tuple(map(named.get, fields))) for fields in _ALL_FIELDS if {*fields} <= {*named}}
    for fields in _BY_CORNERS:
        if fields in own:
            return own[fields], "xyxy"
    for fields in _BY_SIDES:
        if fields in own:
            if order in ("xywh", "cxcywh"):
                return own[fields], order
            fix = "set `box_order: xywh` (x and y are the upper left corner), or `cxcywh` (they are the centre)"
            fix += "; what Label Studio writes is percent, so `boxes_are: percent` too" * ("original_width" in names)
            raise Unfit(f"structs of {', '.join(names)}: no x0, y0, x1, y1 in them, and `box_order` is {order}", fix)
    for fields in _BY_CENTRE:
        if fields in own:
            return own[fields], "cxcywh"
    missing = ", ".join(edge for edge in EDGES if edge not in names)
    raise Unfit(f"structs of {', '.join(names)}: {missing} are missing")
