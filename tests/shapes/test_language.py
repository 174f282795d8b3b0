"""Everything said is checked against the scene by a reader of its own, which knows the sentences but not the code."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.shapes import language
from vldata.shapes.scene import BACKGROUNDS, CLEAR, COLORS, SHAPES, Scene, Thing, scene

NUMBERS = {"no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}

scenes = st.builds(
    lambda number, seed, side, most: scene(number, seed=seed, side_px=side, max_things=most),
    st.integers(0, 10**9),
    st.integers(0, 2**64),
    st.sampled_from([96, 224, 350]),
    st.integers(2, 6),
)
many = settings(max_examples=300)


def centre(thing: Thing) -> tuple[float, float]:
    return (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2


def singular(word: str) -> str:
    return {f"{shape}es" if shape == "cross" else f"{shape}s": shape for shape in SHAPES}.get(word, word)


def meant(scene: Scene, phrase: str) -> list[Thing]:
    """The things that a noun phrase fits; a phrase with a word nobody knows is an error."""
    relation = re.fullmatch(r"(.+?) (left of|right of|above|below) the (.+)", phrase)
    if relation:
        (landmark,) = meant(scene, relation[3])
        return [thing for thing in meant(scene, relation[1]) if holds(scene, thing, relation[2], landmark)]
    fitting, direction = list(scene.things), None
    for word in (singular(word) for word in phrase.split() if word not in ("a", "an", "the")):
        if word in ("small", "large"):
            fitting = [thing for thing in fitting if thing.size == word]
        elif word in COLORS:
            fitting = [thing for thing in fitting if thing.color == word]
        elif word in SHAPES:
            fitting = [thing for thing in fitting if thing.shape == word]
        elif word in ("leftmost", "rightmost", "topmost", "bottommost"):
            direction = word
        else:
            assert word in ("shape", "shapes", "thing"), phrase
    if direction is None:
        return fitting
    axis, sign = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "bottommost": (1, -1)}[direction]
    first, *others = sorted(fitting, key=lambda thing: sign * centre(thing)[axis])
    assert all(abs(centre(first)[axis] - centre(other)[axis]) >= CLEAR * scene.width for other in others), phrase
    return [first]


def holds(scene: Scene, one: Thing, relation: str, other: Thing) -> bool:
    """Whether a relation holds; one that is neither clearly so nor clearly the opposite is an error."""
    if relation in ("larger than", "smaller than"):
        areas = [(thing.box[2] - thing.box[0]) * (thing.box[3] - thing.box[1]) for thing in (one, other)]
        assert max(areas) > 1.5 * min(areas)
        return (areas[0] > areas[1]) == (relation == "larger than")
    axis, before = {"left of": (0, True), "right of": (0, False), "above": (1, True), "below": (1, False)}[relation]
    ahead = centre(other)[axis] - centre(one)[axis]
    assert abs(ahead) >= CLEAR * scene.width, (one, relation, other)
    return (ahead > 0) == before


def the_one(scene: Scene, phrase: str) -> Thing:
    (thing,) = meant(scene, phrase)
    return thing


def related(scene: Scene, sentence: str) -> bool:
    one, relation, other = re.fullmatch(
        r"(?:The|Is the) (.+?)(?: is)? (left of|right of|above|below|larger than|smaller than) the (.+?)[.?]", sentence
    ).groups()
    assert the_one(scene, one) != the_one(scene, other)
    return holds(scene, the_one(scene, one), relation, the_one(scene, other))


def true_answer(scene: Scene, question: str) -> str:
    """What the scene answers."""

    def subject_of(pattern: str) -> str | None:
        result = re.fullmatch(pattern, question)
        return result[1] if result else None

    def yes_no(truth: bool) -> str:
        return "yes" if truth else "no"

    if phrase := subject_of(r"What color is the (.+)\?"):
        return the_one(scene, phrase).color
    if phrase := subject_of(r"What shape is the (.+)\?"):
        return the_one(scene, phrase).shape
    if phrase := subject_of(r"What are the size and color of the (.+)\?"):
        return f"{the_one(scene, phrase).size} {the_one(scene, phrase).color}"
    if phrase := subject_of(r"What is the (\w+most shape)\?"):
        (thing,) = meant(scene, phrase)
        assert len(meant(scene, f"{thing.color} {thing.shape}")) == 1
        return f"{thing.color} {thing.shape}"
    if phrase := subject_of(r"How many (.+?) are there(?: in the picture)?\?"):
        return str(len(meant(scene, phrase)))
    if phrase := subject_of(r"Is there an? (.+) in the picture\?"):
        return yes_no(bool(meant(scene, phrase)))
    if phrase := subject_of(r"Is the (.+) (?:small|large)\?"):
        return yes_no(the_one(scene, phrase).size == question[:-1].split()[-1])
    return yes_no(related(scene, question))


def check_list(scene: Scene, text: str) -> None:
    """A list of things ("a small red circle, two blue stars and ...") that names every thing once."""
    named: list[Thing] = []
    for part in re.split(r", | and ", text):
        quantity, phrase = part.split(" ", 1)
        result = meant(scene, phrase)
        assert len(result) == NUMBERS.get(quantity, 1), (part, scene)
        assert quantity in NUMBERS or quantity == ("an" if phrase[0] in "aeiou" else "a")
        named += result
    assert sorted(named) == sorted(scene.things)


def check_words(scene: Scene, text: str) -> None:
    assert re.findall(r'"([^"]+)"', text) == [word.text for word in scene.words]


def check_background(scene: Scene, name: str) -> None:
    assert name in BACKGROUNDS
    assert name == scene.background


def check_caption(scene: Scene, caption: str) -> None:
    lowered = caption[0].lower() + caption[1:]
    if result := re.fullmatch(r"a picture of (.+) on a (.+) background\.", lowered):
        check_list(scene, result[1])
        check_background(scene, result[2])
    elif result := re.fullmatch(r"there are (\w+) shapes on a (.+) background: (.+)\.", lowered):
        assert NUMBERS[result[1]] == len(scene.things)
        check_background(scene, result[2])
        check_list(scene, result[3])
    elif result := re.fullmatch(r"(\w+) shapes, (\w+) large and (\w+) small\.", lowered):
        sizes = Counter(thing.size for thing in scene.things)
        assert [NUMBERS[word] for word in result.groups()] == [len(scene.things), sizes["large"], sizes["small"]]
    elif caption.startswith("The "):
        assert related(scene, caption)
    elif result := re.fullmatch(r"(.+), and (the words? .+) printed in dark letters\.", lowered):
        check_list(scene, result[1])
        check_words(scene, result[2])
    else:
        check_list(scene, lowered.removesuffix("."))


def region(scene: Scene, thing: Thing) -> tuple[int, int]:
    x, y = centre(thing)
    return min(int(x / scene.width * 3), 2), min(int(y / scene.height * 3), 2)


def said_region(text: str) -> tuple[int, int]:
    column = 0 if "left" in text else 2 if "right" in text else 1
    row = 0 if re.search(r"upper|top", text) else 2 if re.search(r"lower|bottom", text) else 1
    return column, row


@given(scenes)
@many
def test_every_answer_is_true_and_among_the_choices(scene):
    for question in language.questions(scene):
        assert question.answer == true_answer(scene, question.question), question
        assert question.choices.count(question.answer) == 1
        assert len(set(question.choices)) == len(question.choices)


@given(scenes)
@many
def test_every_scene_has_ten_different_questions_of_all_kinds(scene):
    questions = language.questions(scene)
    assert len(questions) >= 10
    assert {question.kind for question in questions} == {"color", "shape", "size", "count", "existence", "relation"}
    assert len({question.question for question in questions}) == len(questions)


@given(scenes)
@many
def test_there_are_four_choices_or_yes_and_no(scene):
    for question in language.questions(scene):
        assert len(question.choices) == 4 or sorted(question.choices) == ["no", "yes"]


@given(scenes)
@many
def test_one_choice_alone_is_right(scene):
    for question in language.questions(scene):
        if question.question.startswith("What is the"):
            phrase = question.question.removeprefix("What is the ").removesuffix("?")
            fitting = [choice for choice in question.choices if the_one(scene, phrase) in meant(scene, choice)]
            assert fitting == [question.answer]


def test_yes_and_no_are_balanced_and_so_is_the_right_choice_s_place():
    questions = [question for number in range(1500) for question in language.questions(scene(number, seed=0))]
    answers = [question.answer for question in questions if len(question.choices) == 2]
    assert 0.48 < answers.count("yes") / len(answers) < 0.52
    for kind in ("existence", "relation", "size"):
        of_kind = [question.answer for question in questions if len(question.choices) == 2 and question.kind == kind]
        assert 0.45 < of_kind.count("yes") / len(of_kind) < 0.55, kind
    for length in (2, 4):
        places = Counter(q.choices.index(q.answer) for q in questions if len(q.choices) == length)
        assert set(places) == set(range(length))
        assert max(places.values()) < 1.15 * min(places.values()), places


def test_yes_does_not_always_stand_before_no():
    first = Counter(
        next(q.answer for q in language.questions(scene(number, seed=0)) if q.kind == "existence")
        for number in range(300)
    )
    assert min(first["yes"], first["no"]) > 100


@given(scenes)
@many
def test_every_statement_is_what_it_is_said_to_be(scene):
    statements = language.statements(scene)
    assert len(statements) >= 4
    assert len({statement.statement for statement in statements}) == len(statements)
    assert sum(statement.truth for statement in statements) * 2 == len(statements)
    for statement in statements:
        assert related(scene, statement.statement) == statement.truth
        assert f" is {statement.relation} the " in statement.statement


@given(scenes)
@many
def test_every_caption_is_true_and_there_are_five(scene):
    captions = language.captions(scene)
    assert len(set(captions)) == len(captions) >= 5
    for caption in captions:
        check_caption(scene, caption)


@given(scenes)
@many
def test_every_expression_fits_exactly_the_thing_in_its_box(scene):
    expressions = language.expressions(scene)
    assert len({expression.phrase for expression in expressions}) == len(expressions) >= 2
    for expression in expressions:
        assert expression.boxes == tuple(thing.box for thing in meant(scene, expression.phrase)), expression
        assert len(expression.boxes) == 1


def test_twins_are_kept_apart_by_their_place():
    twins = next(
        shown
        for shown in (scene(number, seed=0) for number in range(999))
        if max(Counter((thing.color, thing.shape) for thing in shown.things).values()) == 2
    )
    (color, shape), _ = Counter((thing.color, thing.shape) for thing in twins.things).most_common(1)[0]
    phrases = {expression.phrase for expression in language.expressions(twins)}
    assert phrases & {f"{word} {color} {shape}" for word in ("leftmost", "topmost")}


@given(scenes)
@many
def test_every_thing_has_a_region_that_describes_it(scene):
    for thing, expression in zip(scene.things, language.regions(scene), strict=True):
        assert expression.boxes == (thing.box,)
        name, where = re.fullmatch(r"an? (.+?) ((?:in|on|at) the .+)", expression.phrase).groups()
        assert name == thing.name
        assert said_region(where) == region(scene, thing)


@given(scenes)
@many
def test_each_grounded_phrase_stands_once_in_the_caption_and_has_all_its_boxes(scene):
    caption, phrases = language.grounded_caption(scene)
    at = -1
    for phrase, boxes in phrases:
        assert caption.count(phrase) == 1
        assert at < (at := caption.index(phrase))
        if word := re.fullmatch(r'the word "(.+)"', phrase):
            assert boxes == tuple(printed.box for printed in scene.words if printed.text == word[1])
        else:
            quantity, named = phrase.split(" ", 1)
            assert boxes == tuple(thing.box for thing in meant(scene, named))
            assert len(boxes) == NUMBERS.get(quantity, 1)
    every_box = [thing.box for thing in scene.things] + [word.box for word in scene.words]
    assert sorted(box for _, boxes in phrases for box in boxes) == sorted(every_box)
    check_background(scene, re.search(r" on a ([a-z ]+) background\.$", caption)[1])


def test_some_grounded_phrases_have_several_boxes():
    most = max(
        len(phrase.boxes) for number in range(100) for phrase in language.grounded_caption(scene(number, seed=0))[1]
    )
    assert most >= 3


@given(scenes)
@many
def test_the_printed_words_are_given_with_their_boxes(scene):
    assert language.words(scene) == [(word.text, (word.box,)) for word in scene.words]


@given(scenes)
@many
def test_a_conversation_is_true_and_has_three_exchanges(scene):
    exchanges = language.conversation(scene)
    assert len(exchanges) >= 3
    assert len({question for question, _ in exchanges}) == len(exchanges)
    (_, description), (_, number), (where, place), *rest = exchanges

    listed, background = re.fullmatch(r"I see (.+) on a (.+) background\.", description).groups()
    check_list(scene, listed)
    check_background(scene, background)

    total, large, verb = re.fullmatch(r"There are (\w+) shapes, and (\w+) of them (is|are) large\.", number).groups()
    assert NUMBERS[total] == len(scene.things)
    assert NUMBERS[large] == len(meant(scene, "large shape"))
    assert (verb == "is") == (large == "one")

    subject = re.fullmatch(r"Where is the (.+)\?", where)[1]
    ninth, relation, other = re.fullmatch(r"It is (.+) of the picture, (.+) the (.+)\.", place).groups()
    assert said_region(ninth) == region(scene, the_one(scene, subject))
    assert holds(scene, the_one(scene, subject), relation, the_one(scene, other))

    for question, answer in rest:
        assert question == "Is there any text?"
        assert answer.startswith("Yes") == bool(scene.words)
        check_words(scene, answer)


@pytest.mark.parametrize(
    "say",
    [
        language.captions,
        language.questions,
        language.statements,
        language.expressions,
        language.regions,
        language.grounded_caption,
        language.words,
        language.conversation,
    ],
)
def test_the_same_is_said_every_time(say):
    assert [say(scene(number, seed=4)) for number in range(50)] == [say(scene(number, seed=4)) for number in range(50)]


def test_worlds_ask_different_questions_of_the_same_number():
    choices_of_worlds = [[q.choices for q in language.questions(scene(0, seed=seed))][:4] for seed in range(20)]
    assert len({tuple(choices) for choices in choices_of_worlds}) == 20


def test_arithmetic_is_worked_out_correctly():
    for number in range(500):
        problem, worked = language.arithmetic(number, seed=9)
        steps, answer = re.fullmatch(r"(.+)\. The answer is (\d+)\.", worked).groups()
        for step in steps.split(". "):
            left, right = step.split(" = ")
            assert re.fullmatch(r"[\d +*/-]+", left)
            assert eval(left) == int(right) > 0
        assert int(right) == int(answer) == solved(problem)


def solved(problem: str) -> int:
    """The answer of a word problem, from its words."""
    a, b, c = map(int, re.findall(r"\d+", problem))
    if "erased" in problem:
        return a - b + c
    if "each" in problem:
        return a * b + c
    if "shared equally" in problem:
        assert a % b == 0
        return a // b + c
    assert "times as many other shapes" in problem
    return a + a * b + c


def test_arithmetic_differs_between_numbers_and_seeds():
    assert len({language.arithmetic(number, seed=seed) for number in range(100) for seed in range(3)}) > 295
    assert language.arithmetic(7, seed=1) == language.arithmetic(7, seed=1)
