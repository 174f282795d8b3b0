"""Statements become questions without losing, cutting or inventing a word."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from vldata.shapes.language import statements
from vldata.shapes.scene import scene
from vldata.tasks.question_form import TRUE_FORM, question_form


def asked(*statements: str | None) -> list[str | None]:
    return question_form(pl.Series("s", statements, dtype=pl.String)).to_list()


# One statement of every relation in VSR's random split, as the file has it.
VSR = {
    "above": ("The dog is above the cat.", "Is the dog above the cat?"),
    "across": ("The person is across the bed.", "Is the person across the bed?"),
    "across from": ("The couch is across from the dining table.", "Is the couch across from the dining table?"),
    "adjacent to": ("The cat is adjacent to the umbrella.", "Is the cat adjacent to the umbrella?"),
    "against": ("The book is against the bench.", "Is the book against the bench?"),
    "ahead of": ("The zebra is ahead of the person.", "Is the zebra ahead of the person?"),
    "along": ("The person is along the couch.", "Is the person along the couch?"),
    "alongside": ("The scissors is alongside the person.", "Is the scissors alongside the person?"),
    "among": ("The bus is among the traffic light.", "Is the bus among the traffic light?"),
    "around": ("The couch is around the teddy bear.", "Is the couch around the teddy bear?"),
    "at": ("The dog is at the keyboard.", "Is the dog at the keyboard?"),
    "at the back of": (
        "The refrigerator is at the back of the person.",
        "Is the refrigerator at the back of the person?",
    ),
    "at the edge of": ("The cat is at the edge of the bed.", "Is the cat at the edge of the bed?"),
    "at the left side of": (
        "The broccoli is at the left side of the pizza.",
        "Is the broccoli at the left side of the pizza?",
    ),
    "at the right side of": (
        "The person is at the right side of the teddy bear.",
        "Is the person at the right side of the teddy bear?",
    ),
    "at the side of": (
        "The sandwich is at the side of the dining table.",
        "Is the sandwich at the side of the dining table?",
    ),
    "attached to": ("The umbrella is attached to the bicycle.", "Is the umbrella attached to the bicycle?"),
    "away from": ("The bird is away from the motorcycle.", "Is the bird away from the motorcycle?"),
    "behind": ("The bus is behind the bench.", "Is the bus behind the bench?"),
    "below": ("The dining table is below the pizza.", "Is the dining table below the pizza?"),
    "beneath": ("The cat is beneath the car.", "Is the cat beneath the car?"),
    "beside": ("The sheep is beside the chair.", "Is the sheep beside the chair?"),
    "between": ("The backpack is between the bed.", "Is the backpack between the bed?"),
    "beyond": ("The cup is beyond the bicycle.", "Is the cup beyond the bicycle?"),
    "by": ("The bicycle is by the teddy bear.", "Is the bicycle by the teddy bear?"),
    "close to": ("The refrigerator is close to the suitcase.", "Is the refrigerator close to the suitcase?"),
    "congruent": ("The couch is congruent the cat.", "Is the couch congruent the cat?"),
    "connected to": ("The surfboard is connected to the bicycle.", "Is the surfboard connected to the bicycle?"),
    "consists of": ("The cake consists of the banana.", "Does the cake consist of the banana?"),
    "contains": ("The suitcase contains the cat.", "Does the suitcase contain the cat?"),
    "detached from": ("The pizza is detached from the person.", "Is the pizza detached from the person?"),
    "down": ("The teddy bear is down the toilet.", "Is the teddy bear down the toilet?"),
    "down from": ("The snowboard is down from the couch.", "Is the snowboard down from the couch?"),
    "enclosed by": ("The elephant is enclosed by the truck.", "Is the elephant enclosed by the truck?"),
    "facing": ("The person is facing the oven.", "Is the person facing the oven?"),
    "facing away from": ("The person is facing away from the horse.", "Is the person facing away from the horse?"),
    "far away from": ("The motorcycle is far away from the bus.", "Is the motorcycle far away from the bus?"),
    "far from": ("The person is far from the elephant.", "Is the person far from the elephant?"),
    "has as a part": ("The bed has as a part the couch.", "Does the bed have as a part the couch?"),
    "in": ("The person is in the bus.", "Is the person in the bus?"),
    "in front of": ("The person is in front of the zebra.", "Is the person in front of the zebra?"),
    "in the middle of": (
        "The banana is in the middle of the dining table.",
        "Is the banana in the middle of the dining table?",
    ),
    "inside": ("The cat is inside the refrigerator.", "Is the cat inside the refrigerator?"),
    "into": ("The knife is into the apple.", "Is the knife into the apple?"),
    "left of": ("The cup is left of the hot dog.", "Is the cup left of the hot dog?"),
    "near": ("The dining table is near the person.", "Is the dining table near the person?"),
    "next to": ("The dining table is next to the bus.", "Is the dining table next to the bus?"),
    "off": ("The teddy bear is off the dining table.", "Is the teddy bear off the dining table?"),
    "on": ("The dog is on the person.", "Is the dog on the person?"),
    "on top of": ("The teddy bear is on top of the bear.", "Is the teddy bear on top of the bear?"),
    "opposite to": ("The car is opposite to the parking meter.", "Is the car opposite to the parking meter?"),
    "out of": ("The pizza is out of the oven.", "Is the pizza out of the oven?"),
    "outside": ("The person is outside the car.", "Is the person outside the car?"),
    "over": ("The car is over the cat.", "Is the car over the cat?"),
    "parallel to": ("The train is parallel to the person.", "Is the train parallel to the person?"),
    "part of": ("The cake is part of the sandwich.", "Is the cake part of the sandwich?"),
    "past": ("The bus is past the cow.", "Is the bus past the cow?"),
    "perpendicular to": ("The train is perpendicular to the bench.", "Is the train perpendicular to the bench?"),
    "right of": ("The bed is right of the bench.", "Is the bed right of the bench?"),
    "surrounding": ("The person is surrounding the cat.", "Is the person surrounding the cat?"),
    "touching": ("The laptop is touching the cat.", "Is the laptop touching the cat?"),
    "toward": ("The bird is toward the elephant.", "Is the bird toward the elephant?"),
    "under": ("The couch is under the teddy bear.", "Is the couch under the teddy bear?"),
    "with": ("The hot dog is with the person.", "Is the hot dog with the person?"),
    "within": ("The cake is within the oven.", "Is the cake within the oven?"),
}


@pytest.mark.parametrize("relation", VSR)
def test_every_relation_of_vsr_becomes_its_question(relation: str) -> None:
    statement, question = VSR[relation]
    assert relation in statement
    assert asked(statement) == [question]


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("The tennis racket is below the dog.", "Is the tennis racket below the dog?"),
        ("The scissors is on the frisbee.", "Is the scissors on the frisbee?"),
        ("The fire hydrant contains the island.", "Does the fire hydrant contain the island?"),
    ],
)
def test_a_word_that_holds_is_is_not_cut(statement: str, question: str) -> None:
    assert asked(statement) == [question]


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("There are two dogs.", "Are there two dogs?"),
        ("A cat was under the table", "Was a cat under the table?"),
        ("Two dogs were here!", "Were two dogs here?"),
        ("The man and the dog are next to each other.", "Are the man and the dog next to each other?"),
        ("The man riding a horse is wearing a hat.", "Is the man riding a horse wearing a hat?"),
        ("The ball is between the cat and the dog.", "Is the ball between the cat and the dog?"),
        ("The couches have an armrest.", "Do the couches have an armrest?"),
        ("The couch had two armrests.", "Did the couch have two armrests?"),
        ("The couch has been moved.", "Has the couch been moved?"),
        ("The boxes contain apples.", "Do the boxes contain apples?"),
        ("It is red.", "Is it red?"),
        ("The US flag is on the wall.", "Is the US flag on the wall?"),
        ("  The cat is red .  ", "Is the cat red?"),
        ("Is the cat red?", "Is the cat red?"),
    ],
)
def test_statements_of_other_sources_are_turned(statement: str, question: str) -> None:
    assert asked(statement) == [question]


@pytest.mark.parametrize(
    "statement",
    [
        "A man rides a horse.",
        "A is left of B.",
        "IT is a company.",
        "Boats are on the water.",
        "The man is tall and wears a hat.",
        "The man sits and is happy.",
        "The dog that is black is running.",
        "The sign says that dogs are welcome.",
        "The can is red.",
        "The dog has eaten the cake.",
        "The dog isn't red.",
        "The cat is here. The dog is there.",
        'The sign is "open".',
        "The cat is.",
    ],
)
def test_what_cannot_be_turned_without_doubt_keeps_its_words(statement: str) -> None:
    assert asked(statement) == [f"Is the following statement true? {statement}"]


VARIED = {
    "All of the dogs are on the grass.": "Are all of the dogs on the grass?",
    "Two of the three dogs are black.": "Are two of the three dogs black?",
    "One of the dogs is black.": "Is one of the dogs black?",
    "Both images contain dogs.": "Do both images contain dogs?",
    "Each of the images contains a dog.": "Does each of the images contain a dog?",
    "The left image contains at least two dogs.": "Does the left image contain at least two dogs?",
    "There are twice as many dogs here as there.": "Are there twice as many dogs here as there?",
    "The number of dogs in the left image is two.": "Is the number of dogs in the left image two?",
    "The bench is between the tree and the car.": "Is the bench between the tree and the car?",
    "The price is $3.50.": "Is the price $3.50?",
    "The black cross is above the stand.": "Is the black cross above the stand?",
    "A watch is on the play button.": "Is a watch on the play button?",
    "The left image contains two dogs.": "Does the left image contain two dogs?",
    "There is exactly one wolf in the image on the right.": "Is there exactly one wolf in the image on the right?",
    "All of the dogs are standing.": "Are all of the dogs standing?",
    "Both images contain a bottle.": "Do both images contain a bottle?",
    "Each image has a red bus.": "Does each image have a red bus?",
    "Only one dog is black.": "Is only one dog black?",
    "Exactly two dogs are lying in the grass.": "Are exactly two dogs lying in the grass?",
    "Two dogs are playing with a ball.": "Are two dogs playing with a ball?",
    "The dog in the left image is wearing a collar.": "Is the dog in the left image wearing a collar?",
    "The group of people is standing outside.": "Is the group of people standing outside?",
    "She is riding a bike.": "Is she riding a bike?",
    "They are sitting.": "Are they sitting?",
    "This is a picture of a cat.": "Is this a picture of a cat?",
    "These two cats are the same color.": "Are these two cats the same color?",
    "Some of the apples are green.": "Are some of the apples green?",
    "A man in a red shirt has a beard.": "Does a man in a red shirt have a beard?",
    "The train has been painted.": "Has the train been painted?",
    "The number of cups is larger than the number of forks.": "Is the number of cups larger than the number of forks?",
    "The cat's tail is up.": "Is the cat's tail up?",
    "The people in the boat are wearing life vests.": "Are the people in the boat wearing life vests?",
    "A boy and a girl are playing.": "Are a boy and a girl playing?",
    "Every chair is occupied.": "Is every chair occupied?",
    "Most of the seats are empty.": "Are most of the seats empty?",
    "The box on the table includes a pen.": "Does the box on the table include a pen?",
    "The towel hanging near the sink is blue.": "Is the towel hanging near the sink blue?",
    "The man has his hat on.": "Does the man have his hat on?",
    "My car is red.": "Is my car red?",
    "The two zebras are eating grass.": "Are the two zebras eating grass?",
    "That is a nice car.": "Is that a nice car?",
    "One is red.": "Is one red?",
    "The lady walking the dog is smiling.": "Is the lady walking the dog smiling?",
    "The car parked in front of the house is blue.": "Is the car parked in front of the house blue?",
}
"""Statements about one image or two, read one by one: these can be turned, those in `DOUBTFUL` cannot."""

DOUBTFUL = [
    "The ball is between the cats and rolls away.",
    "The ball is between the cat and the dog and rolls away.",
    "The ball is between the cat and the dog, rolling away.",
    "Each image shows a dog, and in one image a bench is visible.",
    "The left image contains twice the number of dogs as the right image, and at least two dogs in total are standing.",
    "One image shows two dogs and the other image contains a cat.",
    "The image shows dogs are playing.",
    "An image shows one dog and it is looking at the camera.",
    "In one image a dog is lying on a couch.",
    "At least one of the dogs is standing on grass.",
    "There are no people in the room.",
    "There appear to be two dogs that are asleep.",
    "Each of the images contain two dogs.",
    "Only in the left image are two dogs visible.",
    "Two dogs sit near a bowl of food.",
    "The man sits on a chair and the dog is black.",
    "The men sit and the dogs are black.",
    "The man rides a horse near what is a barn.",
    "A dog the man owns is black.",
    "The dog on the left is lying on its side, mouth open.",
    "A woman is holding an umbrella while it rains.",
    "A group of people are standing outside.",
    "No dog is black.",
    "The dog is not black.",
    "The man never is seen.",
    "Neither dog is black.",
    "The sign shows the road is closed.",
    "She thinks dogs are cute.",
    "This shows dogs are clever.",
    "The man has eaten.",
    "The trees have no leaves.",
    "A person can be seen on the beach.",
    "It looks like the dog is asleep.",
    "His dog, Rex, is on the couch.",
    "A boy and a girl is playing.",
    "The boys or the girls are playing.",
    "The man walks as the dog is barking.",
    "Someone is surfing.",
    "Dogs are animals.",
    "What is this",
    "A dog is here; a cat is there.",
    'The book is titled "Is".',
    "A yellow and a red bus are parked.",
    "Here is a dog.",
    "If the light is on the car moves.",
    "The dogs run and are happy.",
    "The dog barks because the cat is near.",
    "Two people walk dogs are leashed.",
    "The horse jumps over a fence is white.",
    "Five birds fly over a lake are visible.",
    "There are two dogs and a cat on the sofa.",
    "There is a dog, and it is brown.",
    "The kitchen has an oven and a fridge.",
    "The dog is bigger than the cat is.",
    "There are two dogs, one of which is black.",
    "Neither image shows a dog.",
    "In the left image, a dog is lying on the grass.",
    "The left and right image contains the same number of dogs.",
    "At least two dogs are visible.",
    "No more than three dogs are visible.",
    "There are no more than three dogs.",
    "Few dogs are black.",
    "Look at the dog on the left.",
    "Right of the dog is a cat.",
    "On the table is a cup.",
    "Some are dogs.",
    "Both are dogs.",
    "The train is what we see.",
    "There is what looks like a dog.",
    "The dog is on the left...",
    "The dog is on the left …",
    "The flag is that of the U.S.",
    "The flag is from the U.S.",
    "The shelf has a row of cups etc.",
    "The left image contains a dog, the right one a cat.",
    "A pair of dogs are sitting on the grass.",
    "The dogs depicted in the left image is black.",
    "The U.S. flag is on the left.",
    "There are a dog and a cat.",
    "The dog isn't on the sofa.",
    '"Stop" is written on the sign.',
]


@pytest.mark.parametrize("statement", VARIED)
def test_what_surely_can_be_turned_is(statement: str) -> None:
    assert asked(statement) == [VARIED[statement]]


@pytest.mark.parametrize("statement", DOUBTFUL)
def test_what_may_have_another_verb_or_clause_or_denies_keeps_its_words(statement: str) -> None:
    assert asked(statement) == [TRUE_FORM + statement]


JOINTS = (", and ", " and ", " or ", " while ", ", ", " as ", " when ", " so ", "; ", " - ", " ")
FIRST = ("The cat sniffs", "The cats sniff", "Both sniff", "A cat sniffs a box", "Each cat sniffs boxes")
SECOND = ("the bird is red", "the birds are red", "a bird has a tail", "two birds are visible")


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("second", SECOND)
def test_two_clauses_are_never_one_question(first: str, joint: str, second: str) -> None:
    """Whatever verb the first has: that of the second is not its own."""
    statement = f"{first}{joint}{second}."
    assert asked(statement) == [TRUE_FORM + statement]


def test_every_statement_of_the_shapes_world_is_turned() -> None:
    said = [statement.statement for seed in range(200) for statement in statements(scene(seed, seed=0))]
    assert not [question for question in asked(*said) if question is None or question.startswith(TRUE_FORM)]


def test_a_null_stays_null() -> None:
    assert asked(None, "The cat is red.") == [None, "Is the cat red?"]


def test_all_real_statements_keep_their_words(shared_data: Path) -> None:
    files = [shared_data / "vsr" / "data" / "splits" / "random" / f"{part}.jsonl" for part in ("train", "dev")]
    rows = pl.concat(pl.read_ndjson(file).select("caption", "relation") for file in files)
    assert rows.height == 8_777
    assert set(rows["relation"]) == VSR.keys()

    questions = question_form(rows["caption"]).to_list()

    assert sum(question.startswith(TRUE_FORM) for question in questions) == 0
    plain_verb = {"contains": "contain", "consists": "consist", "has": "have"}
    for statement, question in zip(rows["caption"].to_list(), questions, strict=True):
        before = Counter(re.sub(r"\.$", "", statement).lower().split())
        after = Counter(re.sub(r"\?$", "", question).lower().split())
        for verb, plain in plain_verb.items():
            if verb in before and plain in after:
                before -= Counter([verb])
                after -= Counter([plain, "does"])
        assert before == after, (statement, question)
        assert re.fullmatch(r"(Is|Does) the .+[a-z]\?", question), question
        assert not re.match(r"Is .* (contains|consists|has) ", question), question
