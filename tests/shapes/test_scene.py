from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.shapes.scene import BACKGROUNDS, CLEAR, COLORS, SHAPES, SIZES, WORDS, Scene, Thing, ink, scene

scenes = st.builds(
    lambda number, seed, side, most: scene(number, seed=seed, side_px=side, max_things=most),
    st.integers(0, 10**9),
    st.integers(0, 2**64),
    st.integers(96, 700),
    st.integers(2, 6),
)


def boxes(scene: Scene) -> list[tuple[float, float, float, float]]:
    return [thing.box for thing in scene.things] + [word.box for word in scene.words]


def test_a_number_names_one_scene_for_ever():
    assert scene(0, seed=3) == Scene(
        number=0,
        width=224,
        height=224,
        things=(
            Thing("square", "green", "large", (76, 54, 128, 106)),
            Thing("star", "black", "small", (179, 76, 204, 101)),
            Thing("heart", "red", "large", (96, 117, 148, 169)),
        ),
        words=(),
        background="light gray",
    )


def test_numbers_and_seeds_name_different_scenes():
    seen = {scene(number, seed=seed)[3:] for number in range(100) for seed in range(10)}
    assert len(seen) == 1000


@given(scenes)
@settings(max_examples=300)
def test_nothing_leaves_the_image_or_overlaps(scene):
    for x0, y0, x1, y1 in boxes(scene):
        assert 0 < x0 < x1 < scene.width
        assert 0 < y0 < y1 < scene.height
    for a, b in combinations(boxes(scene), 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


@given(scenes)
@settings(max_examples=300)
def test_any_two_centres_are_clearly_apart_in_one_direction(scene):
    for a, b in combinations([thing.box for thing in scene.things], 2):
        across, down = abs(a[0] + a[2] - b[0] - b[2]) / 2, abs(a[1] + a[3] - b[1] - b[3]) / 2
        assert max(across, down) >= CLEAR * scene.width


@given(scenes)
@settings(max_examples=300)
def test_one_thing_has_its_own_shape_and_another_its_own_colour(scene):
    shapes, colors = Counter(thing.shape for thing in scene.things), Counter(thing.color for thing in scene.things)
    own_shape = [k for k, thing in enumerate(scene.things) if shapes[thing.shape] == 1]
    own_color = [k for k, thing in enumerate(scene.things) if colors[thing.color] == 1]
    assert any(a != b for a in own_shape for b in own_color)


@given(scenes)
@settings(max_examples=100)
def test_a_size_means_the_same_everywhere(scene):
    for thing in scene.things:
        x0, y0, x1, y1 = thing.box
        assert x1 - x0 == y1 - y0
        assert min(SIZES[thing.size]) - 0.006 <= (x1 - x0) / scene.width <= max(SIZES[thing.size]) + 0.006


@given(st.integers(0, 10**6), st.integers(96, 700))
@settings(max_examples=100)
def test_a_scene_is_the_same_at_every_side(number, side):
    def content(scene: Scene) -> object:
        return [thing[:3] for thing in scene.things], [word.text for word in scene.words], scene.background

    assert content(scene(number, seed=1, side_px=side)) == content(scene(number, seed=1))


def test_all_that_a_scene_may_hold_occurs():
    world = [scene(number, seed=0) for number in range(600)]
    things = [thing for scene in world for thing in scene.things]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.color for thing in things} == set(COLORS)
    assert {thing.size for thing in things} == set(SIZES)
    assert {scene.background for scene in world} == set(BACKGROUNDS)
    assert {word.text for scene in world for word in scene.words} == set(WORDS)
    assert {len(scene.things) for scene in world} == {3, 4, 5, 6}
    assert {len(scene.words) for scene in world} == {0, 1, 2}
    twins = [max(Counter((thing.color, thing.shape) for thing in scene.things).values()) for scene in world]
    assert {1, 2, 3} <= set(twins)


def test_the_words_of_a_scene_differ():
    for number in range(600):
        words = [word.text for word in scene(number, seed=0).words]
        assert len(words) == len(set(words))


def test_every_word_leaves_room_for_two_large_things_beside_it():
    for side in (96, 150, 224, 448, 700):
        widest = max(x1 - x0 for x0, _, x1, _ in (ink(word, round(0.095 * side)) for word in WORDS))
        assert widest + 2 * round(0.25 * side) + 4 * 0.03 * side <= side


def test_a_name_says_all_but_the_place():
    assert Thing("circle", "red", "large", (0, 0, 50, 50)).name == "large red circle"


def test_no_scene_has_more_things_than_requested():
    for most in range(2, 7):
        counts = {len(scene(number, seed=1, max_things=most).things) for number in range(100)}
        assert counts == set(range(min(3, most), most + 1))
    for most in (1, 7):
        with pytest.raises(ValueError, match=f"max_things={most}"):
            scene(0, seed=1, max_things=most)


def test_a_side_too_small_to_read_is_refused():
    with pytest.raises(ValueError, match="side_px=95 is too small"):
        scene(0, seed=0, side_px=95)
