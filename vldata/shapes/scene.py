"""Scenes: what is in an image and where, decided by a hash of (seed, number).

Things and words stand on two or three invisible shelves, side by side with random gaps, so nothing ever overlaps and
no layout has to be tried twice. Two promises to `language` are kept by construction: every scene has a thing whose
shape no other thing has, and another whose colour no other thing has; and the centres of any two things lie at least
`CLEAR` of the side apart horizontally or vertically.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count, repeat
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

T = TypeVar("T")

Px = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels; whole numbers here, the right and lower edges exclusive."""

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "hexagon", "heart")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black")
SIZES = {"small": (0.11, 0.125, 0.14), "large": (0.21, 0.23, 0.25)}
"""What a size means: the sides that a thing of it may have, as fractions of the image's."""
BACKGROUNDS = ("white", "light gray", "light blue", "light green", "light yellow", "light pink", "beige", "lavender")
# fmt: off
WORDS = (
    "OPEN", "EXIT", "STOP", "CAFE", "BANK", "TAXI", "SALE", "PARK", "HOTEL", "MENU", "ROAD", "SHOP", "FISH",
    "BREAD", "MUSIC", "NORTH", "SOUTH", "EAST", "WEST", "LEFT", "RIGHT", "START", "PUSH", "PULL", "FREE", "COLD",
    "HOT", "NEW", "HELP", "BOOK", "TRAIN", "BUS", "SHIP", "ROOM", "GATE", "LIFT", "MILK", "SALT", "TEA", "FRUIT",
    "12", "24", "36", "48", "75", "99", "100", "250", "365", "1984", "2024", "A1", "B7", "C3", "X9", "Z5",
)
# fmt: on

CLEAR = 0.12
"""How far apart, in fractions of the side, two centres must lie before anything is said about left, right or above."""
MIN_SIDE_PX = 96
"""Below this the printed words cannot be read."""

MIN_THINGS, MAX_THINGS = 2, 6
"""Of a scene: two are the least that the promises to `language` need."""

_FONT_SIDES = (0.08, 0.095)
_GAP = 0.03
_WHOLE = float(1 << 64)


class Thing(NamedTuple):
    """A coloured shape and the box that its pixels exactly fill."""

    shape: str
    color: str
    size: str
    box: Px

    @property
    def name(self) -> str:
        """All that can be said of it but its place: "large red circle"."""
        return f"{self.size} {self.color} {self.shape}"


class Word(NamedTuple):
    """A printed word and the box of its ink."""

    text: str
    box: Px
    font_px: int


class Scene(NamedTuple):
    """All there is to know about one image.

    Args:
        number: Which scene of its world.
        width: Pixels.
        height: Pixels; equal to ``width``.
        things: Two to six, in reading order.
        words: None to two, distinct, in reading order.
        background: One of `BACKGROUNDS`.
    """

    number: int
    width: int
    height: int
    things: tuple[Thing, ...]
    words: tuple[Word, ...]
    background: str = "white"


def scene(number: int, *, seed: int, side_px: int = 224, max_things: int = MAX_THINGS) -> Scene:
    """The scene of a number; the same for ever, and the same things in the same places at every ``side_px``.

    Args:
        number: Which one.
        seed: Which world: no two have anything in common.
        side_px: Width and height of the image, at least `MIN_SIDE_PX`. Places move by up to a pixel between sides.
        max_things: 2 to `MAX_THINGS`; fewer make an easier world, of other scenes.

    Raises:
        ValueError: ``side_px`` is too small, or ``max_things`` out of range.
    """
    if not MIN_THINGS <= max_things <= MAX_THINGS:
        raise ValueError(f"max_things={max_things} is not between {MIN_THINGS} and {MAX_THINGS}")
    if side_px < MIN_SIDE_PX:
        raise ValueError(f"side_px={side_px} is too small to read the words; at least {MIN_SIDE_PX}")
    draws = numbers(f"scene {seed} {number}")
    kinds = _kinds(draws, max_things)
    background = BACKGROUNDS[next(draws) % len(BACKGROUNDS)]
    printed = _printed(draws, side_px)

    shelves: list[list[_Piece]] = [[] for _ in range(2 + next(draws) % 2 if len(kinds) <= 4 else 3)]
    places = _shuffled([shelf for shelf in shelves for _ in range(2)], draws)
    for (shape, color, size), shelf in zip(kinds, places, strict=False):
        sides = SIZES[size]
        side = round(sides[next(draws) % len(sides)] * side_px)
        shelf.append(_Piece(side, side, shape, color, size))
    for word, shelf in zip(printed, _shuffled(shelves, draws), strict=False):
        shelf.append(word)

    things, words = [], []
    for box, piece in _placed(shelves, side_px, draws):
        if piece.font_px:
            words.append(Word(piece.label, box, piece.font_px))
        else:
            things.append(Thing(piece.label, piece.color, piece.size, box))
    return Scene(number, side_px, side_px, tuple(things), tuple(words), background)


def numbers(key: str) -> Iterator[int]:
    """Uniform 64-bit numbers without end that depend on a key and nothing else.

    The hash of `vldata.schema.keyed` with the seeds 0, 1, 2 …; that module is made for columns, and takes five times as
    long for the sixty numbers of one scene.
    """
    return map(xxh3_64_intdigest, repeat(key.encode()), count())


@lru_cache(maxsize=64)
def font(size_px: int) -> FreeTypeFont:
    """Pillow's bundled scalable font; the same glyphs wherever the same Pillow runs."""
    from PIL import ImageFont

    loaded = ImageFont.load_default(size_px)
    if isinstance(loaded, ImageFont.ImageFont):  # a Pillow built without FreeType has only a bitmap font
        raise RuntimeError("the shapes world prints words and needs a Pillow with FreeType support")
    return loaded


@lru_cache(maxsize=4096)
def ink(text: str, font_px: int) -> tuple[int, int, int, int]:
    """Where a text's ink lies relative to the point it is drawn at: x0, y0, x1, y1 in pixels."""
    # getbbox would include the blank bearings beside the glyphs
    mask, (left, upper) = font(font_px).getmask2(text)
    x0, y0, x1, y1 = mask.getbbox()
    return left + x0, upper + y0, left + x1, upper + y1


class _Piece(NamedTuple):
    """A thing or, with a ``font_px``, a word that has no place yet."""

    width: int
    height: int
    label: str
    color: str
    size: str
    font_px: int = 0


def _kinds(draws: Iterator[int], max_things: int) -> list[tuple[str, str, str]]:
    """(shape, colour, size) of each thing: the first has a shape of its own, the second a colour of its own."""
    least = min(3, max_things)
    total = least + next(draws) % (max_things - least + 1)
    own_shape, own_color = next(draws) % len(SHAPES), next(draws) % len(COLORS)

    def another_shape() -> str:
        return SHAPES[(own_shape + 1 + next(draws) % (len(SHAPES) - 1)) % len(SHAPES)]

    def another_color() -> str:
        return COLORS[(own_color + 1 + next(draws) % (len(COLORS) - 1)) % len(COLORS)]

    def a_size() -> str:
        return ("small", "large")[next(draws) % 2]

    kinds = [(SHAPES[own_shape], another_color(), a_size()), (another_shape(), COLORS[own_color], a_size())]
    while len(kinds) < total:
        twin = len(kinds) > 2 and next(draws) % 2
        shape, color = kinds[2][:2] if twin else (another_shape(), another_color())
        kinds.append((shape, color, a_size()))
    return kinds


def _printed(draws: Iterator[int], side_px: int) -> list[_Piece]:
    total = (0, 1, 1, 2)[next(draws) % 4]
    first, step = next(draws) % len(WORDS), 1 + next(draws) % (len(WORDS) - 1)
    pieces = []
    for k in range(total):
        text = WORDS[(first + k * step) % len(WORDS)]
        font_px = round(_FONT_SIDES[next(draws) % len(_FONT_SIDES)] * side_px)
        x0, y0, x1, y1 = ink(text, font_px)
        pieces.append(_Piece(x1 - x0, y1 - y0, text, "", "", font_px))
    return pieces


def _placed(shelves: list[list[_Piece]], side_px: int, draws: Iterator[int]) -> Iterator[tuple[Px, _Piece]]:
    """Give every piece its box: shelves from top to bottom, pieces from left to right."""
    heights = [max((piece.height for piece in shelf), default=0) for shelf in shelves]
    for shelf, shelf_height, top in zip(shelves, heights, _starts(heights, side_px, draws), strict=True):
        pieces = _shuffled(shelf, draws)
        for piece, left in zip(pieces, _starts([piece.width for piece in pieces], side_px, draws), strict=True):
            upper = top + int(next(draws) / _WHOLE * (shelf_height - piece.height + 1))
            yield (float(left), float(upper), float(left + piece.width), float(upper + piece.height)), piece


def _starts(lengths: list[int], side_px: int, draws: Iterator[int]) -> list[int]:
    """Where intervals of these lengths begin on a line, with random gaps of at least `_GAP` around each."""
    gap = _GAP * side_px
    slack = side_px - sum(lengths) - gap * (len(lengths) + 1)
    shares = [next(draws) / _WHOLE for _ in range(len(lengths) + 1)]
    scale = slack / sum(shares)
    starts, at = [], 0.0
    for length, share in zip(lengths, shares, strict=False):
        at += gap + share * scale
        starts.append(int(at))
        at += length
    return starts


def _shuffled(values: list[T], draws: Iterator[int]) -> list[T]:
    shuffled = list(values)
    for k in range(len(shuffled) - 1, 0, -1):
        other = next(draws) % (k + 1)
        shuffled[k], shuffled[other] = shuffled[other], shuffled[k]
    return shuffled
