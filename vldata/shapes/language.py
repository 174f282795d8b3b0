"""Everything said about a scene, true by construction and in the same words every time.

A thing is only spoken of by a phrase that fits no other thing of its scene, and left, right, above and below are only
said, or denied, of centres that lie at least `CLEAR` of the side apart. The questions, their words and the place of
the right choice are a hash of the scene, so the functions here need no seed. They count on what `scene` promises and
are not made for scenes put together by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from vldata.shapes.scene import CLEAR, COLORS, SHAPES, SIZES, Px, Scene, Thing, numbers


class Question(NamedTuple):
    """A question with one right answer.

    Args:
        kind: color, shape, size, count, existence or relation.
        question: Ends in a question mark.
        answer: One of ``choices``.
        choices: Four, all different, the right one at a varying place; "yes" and "no" for questions that ask just that.
    """

    kind: str
    question: str
    answer: str
    choices: tuple[str, ...]


class Statement(NamedTuple):
    """A sentence about two things that holds or does not.

    Args:
        statement: "The red circle is left of the blue square."
        relation: "left of": the words between "is" and the second thing.
        truth: Whether it holds.
    """

    statement: str
    relation: str
    truth: bool


class Expression(NamedTuple):
    """A phrase and the boxes, in pixels, of all that it means."""

    phrase: str
    boxes: tuple[Px, ...]


_OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "larger than": "smaller than",
    "smaller than": "larger than",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_DIGITS = tuple("0123456789")
_REGIONS = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)
_EXTREMES = (("leftmost", 0, 1), ("rightmost", 0, -1), ("topmost", 1, 1), ("bottommost", 1, -1))
_MAX_PAIRS = 4


def captions(scene: Scene) -> list[str]:
    """Five or more different captions, the plainest first."""
    draws = _draws(scene, "captions")
    said = _listed(phrase for phrase, _ in _groups(scene))
    total = len(scene.things)
    large = sum(thing.size == "large" for thing in scene.things)
    captions = [
        f"{_capital(said)}.",
        f"A picture of {said} on a {scene.background} background.",
        f"There are {_NUMBERS[total]} shapes on a {scene.background} background: {said}.",
        f"{_capital(_NUMBERS[total])} shapes, {_NUMBERS[large]} large and {_NUMBERS[total - large]} small.",
    ]
    facts = [statement for statement, relation, truth in _pairs(scene, draws) if truth and "than" not in relation]
    captions += facts[:2]
    if scene.words:
        captions.append(f"{_capital(said)}, and {_text_phrase(scene)} printed in dark letters.")
    return captions


def questions(scene: Scene) -> list[Question]:
    """Ten or more questions, every kind among them; half of those about yes or no have the answer "yes"."""
    draws = _draws(scene, "questions")
    things = scene.things
    shapes, colors, pairs = _tallies(things)
    questions: list[Question] = []

    for thing in [thing for thing in things if shapes[thing.shape] == 1][:2]:
        choices = _choices(thing.color, COLORS, draws)
        questions.append(Question("color", f"What color is the {thing.shape}?", thing.color, choices))
    for thing in [thing for thing in things if colors[thing.color] == 1][:2]:
        choices = _choices(thing.shape, SHAPES, draws)
        questions.append(Question("shape", f"What shape is the {thing.color} thing?", thing.shape, choices))

    alone = [thing for thing in things if pairs[thing.color, thing.shape] == 1]
    sized = alone[next(draws) % len(alone)]
    adjective = ("small", "large")[next(draws) % 2]
    question = f"Is the {sized.color} {sized.shape} {adjective}?"
    questions.append(_yes_no("size", question, sized.size == adjective, draws))
    one = next(thing for thing in things if shapes[thing.shape] == 1)
    looks = [f"{size} {color}" for size in SIZES for color in colors]
    answer = f"{one.size} {one.color}"
    question = f"What are the size and color of the {one.shape}?"
    questions.append(Question("size", question, answer, _choices(answer, looks, draws)))

    color, shape = COLORS[next(draws) % len(COLORS)], things[next(draws) % len(things)].shape
    questions.append(_count("How many shapes are there in the picture?", len(things), draws))
    questions.append(_count(f"How many {color} shapes are there?", colors.get(color, 0), draws))
    questions.append(_count(f"How many {_plural(shape)} are there?", shapes[shape], draws))

    present = things[next(draws) % len(things)]
    absent = _absent(pairs, draws)
    both = [
        _yes_no("existence", f"Is there {_a(f'{present.color} {present.shape}')} in the picture?", True, draws),
        _yes_no("existence", f"Is there {_a(f'{absent[0]} {absent[1]}')} in the picture?", False, draws),
    ]
    questions += both if next(draws) % 2 else both[::-1]

    for first, second, relation in _relations(scene, draws)[:2]:
        both = [
            _yes_no("relation", f"Is the {first} {relation} the {second}?", True, draws),
            _yes_no("relation", f"Is the {first} {_OPPOSITE[relation]} the {second}?", False, draws),
        ]
        questions += both if next(draws) % 2 else both[::-1]
    for word, thing in _extremes(things, scene.width):
        if pairs[thing.color, thing.shape] == 1:
            names = [f"{color} {shape}" for color, shape in pairs]
            if len(names) < 4:
                names += [f"{color} {shape}" for color in colors for shape in shapes if (color, shape) not in pairs]
            answer = f"{thing.color} {thing.shape}"
            questions.append(Question("relation", f"What is the {word} shape?", answer, _choices(answer, names, draws)))
            break
    return questions


def statements(scene: Scene) -> list[Statement]:
    """Four or more statements, half of them true."""
    return _pairs(scene, _draws(scene, "statements"))


def expressions(scene: Scene) -> list[Expression]:
    """Two or more phrases, each of which fits exactly one thing; one box each."""
    things = scene.things
    shapes, colors, groups = _tallies(things)
    things_by_phrase: dict[str, Thing] = {}
    for thing in things:
        if shapes[thing.shape] == 1:
            things_by_phrase[thing.shape] = thing
        if colors[thing.color] == 1:
            things_by_phrase[f"{thing.color} shape"] = thing
    things_by_phrase.update((name, thing) for name, thing in zip(_names(scene), things, strict=True) if name)
    for (color, shape), count in groups.items():
        if count > 1:
            twins = [thing for thing in things if (thing.color, thing.shape) == (color, shape)]
            things_by_phrase.update((f"{word} {color} {shape}", thing) for word, thing in _extremes(twins, scene.width))
    things_by_phrase.update((f"{word} shape", thing) for word, thing in _extremes(things, scene.width))
    by_name = {name: thing for name, thing in zip(_names(scene), things, strict=True) if name}
    for first, second, relation in _relations(scene, _draws(scene, "expressions"))[:1]:
        things_by_phrase[f"{first} {relation} the {second}"] = by_name[first]
    return [Expression(phrase, (thing.box,)) for phrase, thing in things_by_phrase.items()]


def regions(scene: Scene) -> list[Expression]:
    """What each thing looks like and in which ninth of the image its centre lies; may fit twins alike."""
    return [Expression(f"{_a(thing.name)} {_region(scene, thing.box)}", (thing.box,)) for thing in scene.things]


def grounded_caption(scene: Scene) -> tuple[str, list[Expression]]:
    """A caption that names every thing and word, and its phrases; each phrase stands in the caption once.

    Returns:
        The caption, and the phrases in its order; things of the same colour and shape share one ("two red circles").
    """
    expressions = [Expression(phrase, tuple(thing.box for thing in group)) for phrase, group in _groups(scene)]
    text = _listed(expression.phrase for expression in expressions)
    if scene.words:
        printed = [Expression(f'the word "{word.text}"', (word.box,)) for word in scene.words]
        text += f", with {_listed(expression.phrase for expression in printed)}"
        expressions += printed
    caption = f"The picture shows {text} on a {scene.background} background."
    return caption, expressions


def words(scene: Scene) -> list[Expression]:
    """The printed words in reading order; none in a quarter of the scenes."""
    return [Expression(word.text, (word.box,)) for word in scene.words]


def conversation(scene: Scene) -> list[tuple[str, str]]:
    """Three or more exchanges about the image: what a user asks, what is answered."""
    draws = _draws(scene, "conversation")
    opening = ("What do you see in the picture?", "Describe the picture.", "What is in this image?")[next(draws) % 3]
    said = _listed(phrase for phrase, _ in _groups(scene))
    exchanges = [(opening, f"I see {said} on a {scene.background} background.")]

    total = len(scene.things)
    large = sum(thing.size == "large" for thing in scene.things)
    how_large = f"{_NUMBERS[large]} of them {'is' if large == 1 else 'are'} large"
    exchanges.append(("How many shapes are there?", f"There are {_NUMBERS[total]} shapes, and {how_large}."))

    first, second, relation = _relations(scene, draws)[0]
    subject = next(thing for name, thing in zip(_names(scene), scene.things, strict=True) if name == first)
    where = f"It is {_region(scene, subject.box)} of the picture, {relation} the {second}."
    exchanges.append((f"Where is the {first}?", where))

    if scene.words:
        exchanges.append(("Is there any text?", f"Yes, the picture shows {_text_phrase(scene)}."))
    else:
        exchanges.append(("Is there any text?", "No, there is no text in the picture."))
    return exchanges if next(draws) % 3 else exchanges[:3]


def arithmetic(number: int, *, seed: int) -> tuple[str, str]:
    """A word problem without an image, and its answer worked out step by step.

    Args:
        number: Which one.
        seed: Which world.
    """
    a, b, c, which, tint, form = islice(numbers(f"arithmetic {seed} {number}"), 6)
    a, b, c = 12 + a % 68, 2 + b % 9, 3 + c % 9
    color, shape = COLORS[tint % len(COLORS)], _plural(SHAPES[form % len(SHAPES)])
    match which % 4:
        case 0:
            problem = f"A sheet shows {a} {color} {shape}. {b} of them are erased and {c} more are drawn."
            steps, result = f"{a} - {b} = {a - b}. {a - b} + {c} = {a - b + c}.", a - b + c
            ask = f"How many {color} {shape} does it show now?"
        case 1:
            problem = f"{c} sheets show {a} {color} {shape} each, and one more sheet shows {b}."
            steps, result = f"{c} * {a} = {c * a}. {c * a} + {b} = {c * a + b}.", c * a + b
            ask = f"How many {color} {shape} are there in all?"
        case 2:
            problem = (
                f"{b * c} {color} {shape} are shared equally among {b} sheets, and {a} more are put on the first sheet."
            )
            steps, result = f"{b * c} / {b} = {c}. {c} + {a} = {c + a}.", c + a
            ask = "How many are on the first sheet?"
        case _:
            problem = f"There are {a} {color} {shape}, {b} times as many other shapes, and {c} words."
            steps, result = f"{b} * {a} = {b * a}. {a} + {b * a} + {c} = {a + b * a + c}.", a + b * a + c
            ask = "How many shapes and words are there altogether?"
    return f"{problem} {ask}", f"{steps} The answer is {result}."


def _draws(scene: Scene, purpose: str) -> Iterator[int]:
    """Numbers that depend on the number and the things, so that equal numbers of two worlds differ; not on pixels."""
    return numbers(f"{purpose} {scene.number} {scene.things[0].name} {scene.things[-1].name}")


def _tallies(things: Sequence[Thing]) -> tuple[dict[str, int], dict[str, int], dict[tuple[str, str], int]]:
    """How often each shape, each colour and each (colour, shape) occurs; a loop, three times faster than `Counter`."""
    shapes: dict[str, int] = {}
    colors: dict[str, int] = {}
    pairs: dict[tuple[str, str], int] = {}
    for thing in things:
        shape, color = thing.shape, thing.color
        shapes[shape] = shapes.get(shape, 0) + 1
        colors[color] = colors.get(color, 0) + 1
        pairs[color, shape] = pairs.get((color, shape), 0) + 1
    return shapes, colors, pairs


def _names(scene: Scene) -> list[str | None]:
    """For each thing the shortest of "red circle" and "large red circle" that fits it alone, or None."""
    pairs = _tallies(scene.things)[2]
    names: list[str | None] = []
    looks = [thing[:3] for thing in scene.things]
    for shape, color, size in looks:
        if pairs[color, shape] == 1:
            names.append(f"{color} {shape}")
        else:
            names.append(f"{size} {color} {shape}" if looks.count((shape, color, size)) == 1 else None)
    return names


def _relations(scene: Scene, draws: Iterator[int]) -> list[tuple[str, str, str]]:
    """(first, second, relation) that clearly hold, one for each of up to `_MAX_PAIRS` pairs of nameable things."""
    clear = CLEAR * scene.width
    named = [(name, *_centre(thing.box)) for name, thing in zip(_names(scene), scene.things, strict=True) if name]
    pairs = [(a, b) for k, a in enumerate(named) for b in named[k + 1 :]]
    start = next(draws)
    relations = []
    for k in range(min(_MAX_PAIRS, len(pairs))):
        (first, x0, y0), (second, x1, y1) = pairs[(start + k) % len(pairs)]
        draw = next(draws)
        if draw & 1:
            first, x0, y0, second, x1, y1 = second, x1, y1, first, x0, y0
        beside, stacked = abs(x0 - x1) >= clear, abs(y0 - y1) >= clear
        if beside and (draw & 2 or not stacked):
            relations.append((first, second, "left of" if x0 < x1 else "right of"))
        elif stacked:
            relations.append((first, second, "above" if y0 < y1 else "below"))
    return relations


def _pairs(scene: Scene, draws: Iterator[int]) -> list[Statement]:
    """For each related pair one true and one false statement, then the same from the other's side; then sizes."""
    related = _relations(scene, draws)
    if len(related) == 1:
        first, second, relation = related[0]
        related.append((second, first, _OPPOSITE[relation]))
    names = [(name, thing) for name, thing in zip(_names(scene), scene.things, strict=True) if name]
    small = next((name for name, thing in names if thing.size == "small"), None)
    large = next((name for name, thing in names if thing.size == "large"), None)
    if small and large:
        swap = next(draws) % 2
        related.append((small, large, "smaller than") if swap else (large, small, "larger than"))
    statements = []
    for first, second, relation in related:
        both = [
            Statement(f"The {first} is {relation} the {second}.", relation, True),
            Statement(f"The {first} is {_OPPOSITE[relation]} the {second}.", _OPPOSITE[relation], False),
        ]
        statements += both if next(draws) % 2 else both[::-1]
    return statements


def _extremes(things: Sequence[Thing], side_px: int) -> Iterator[tuple[str, Thing]]:
    """("leftmost", thing) for each direction in which one thing clearly lies further than all others."""
    clear = CLEAR * side_px
    for word, axis, sign in _EXTREMES:
        reach = sorted((sign * (thing.box[axis] + thing.box[axis + 2]) / 2, k) for k, thing in enumerate(things))
        if len(reach) > 1 and reach[1][0] - reach[0][0] >= clear:
            yield word, things[reach[0][1]]


def _groups(scene: Scene) -> list[tuple[str, list[Thing]]]:
    """Things of the same colour and shape together, with a phrase that says how many."""
    groups: dict[tuple[str, str], list[Thing]] = {}
    for thing in scene.things:
        groups.setdefault((thing.color, thing.shape), []).append(thing)
    return [
        (_a(group[0].name) if len(group) == 1 else f"{_NUMBERS[len(group)]} {color} {_plural(shape)}", group)
        for (color, shape), group in groups.items()
    ]


def _absent(present: Mapping[tuple[str, str], int], draws: Iterator[int]) -> tuple[str, str]:
    """A colour and shape that no thing has together; each of them in the scene where that is possible."""
    colors, shapes = list({color: 0 for color, _ in present}), list({shape: 0 for _, shape in present})
    missing = [(color, shape) for color in colors for shape in shapes if (color, shape) not in present]
    if not missing:
        missing = [(color, shapes[0]) for color in COLORS if color not in colors]
    return missing[next(draws) % len(missing)]


def _choices(answer: str, pool: Sequence[str], draws: Iterator[int], count: int = 4) -> tuple[str, ...]:
    """The answer and others of the pool, the answer at a place of its own choosing."""
    draw = next(draws)
    others = [value for value in pool if value != answer]
    start = (draw >> 8) % len(others)
    chosen = (others[start:] + others[:start])[: count - 1]
    chosen.insert(draw % count, answer)
    return tuple(chosen)


def _count(question: str, answer: int, draws: Iterator[int]) -> Question:
    near = _DIGITS[max(0, answer - 3) : answer + 4]
    return Question("count", question, str(answer), _choices(str(answer), near, draws))


def _yes_no(kind: str, question: str, truth: bool, draws: Iterator[int]) -> Question:
    return Question(kind, question, "yes" if truth else "no", ("yes", "no") if next(draws) % 2 else ("no", "yes"))


def _region(scene: Scene, box: Px) -> str:
    x, y = _centre(box)
    return _REGIONS[min(int(3 * y / scene.height), 2)][min(int(3 * x / scene.width), 2)]


def _centre(box: Px) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _text_phrase(scene: Scene) -> str:
    return f"the word{'s' if len(scene.words) > 1 else ''} " + _listed(f'"{word.text}"' for word in scene.words)


def _listed(phrases: Iterable[str]) -> str:
    *most, last = phrases
    return f"{', '.join(most)} and {last}" if most else last


def _a(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _plural(shape: str) -> str:
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
