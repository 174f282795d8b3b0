import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.test_vqa_mc import right_options, turns
from vldata.schema.turns import KEY
from vldata.tasks.option_places import comes_last, names_others
from vldata.tasks.vqa_mc import VqaMc

NAMING = [
    "(2)", "3)", "②",
    "both A and B", "Both (A) and (B)", "A and C", "A & B", "A, B and C", "A, B, and C", "A, C", "neither A nor B",
    "Neither a nor b", "either B or C", "only A", "A only", "B but not C", "option C", "Options A and B", "(a) and (c)",
    "Both 1 and 2", "I and II only", "all of the above except C", "the first two", "the option above", "A", "(b)", "C.",
    "Both 1 and 3", "1 only", "iii only", "1 & 3", "Neither 1 nor 2", "all except 1", "Only (i)", "Both of 1 and 3",
    "ii", "IV", "(ii)", "iii.", "(iv)", "2.", "Ⅳ",
    "both A and B are correct", "sowohl A als auch B", "A und B", "weder A noch B", "A et B", "ni A ni B", "A y B",
    "A和B", "A和B都对", "选项A", "A и B", "Both options A and B", "B or D", "A/B", "neither B nor C is right",
]  # fmt: skip
LAST = [
    "all of the above", "All of these", "None of the above.", "none of these answers", "all the above", "none", "both",
    "neither", "Neither of these", "any of the above", "Either of the above", "both of them", "not listed",
    "two of the above", "NONE OF THE ABOVE", "all of the other options", "keine davon", "alle oben genannten",
    "Keine der genannten", "aucune de ces réponses", "toutes les réponses ci-dessus", "todas las anteriores",
    "ninguna de las anteriores", "nenhuma das anteriores", "tutte le precedenti", "geen van bovenstaande", "以上都是",
    "以上都不是", "上記のすべて", "все вышеперечисленное", "ничего из вышеперечисленного", "none of the listed options",
    "all are correct",
]  # fmt: skip
WORDS = [
    "a cat", "vitamin A", "the cat is above the dog", "above", "a", "2", "1/2", "3.5", "both of his hands are up",
    "the last train", "an apple and a pear", "all dogs", "no", "multiple choices", "A cat and a dog", "salt and pepper",
    "18岁以上", "none the wiser", "left", "It is neither hot nor cold.", "x", "A.B. Miller", "either a cat or a dog",
    "point A", "some cats", "the answer", "Option", "not a cat", "only a cat", "alle Hunde", "tous les jours",
    "1-3", "12", "3 dogs", "10 and 12", "Xi", "mix", "v", "i", "2 only children", "all but the cat",
]  # fmt: skip


def test_options_that_name_others_or_come_last_are_known_by_their_words() -> None:
    for words, expected in ((NAMING, [True, False]), (LAST, [False, True]), (WORDS, [False, False])):
        table = pl.DataFrame({"words": words}).with_columns(
            naming=names_others(pl.Series(words)), last=comes_last(pl.Series(words))
        )
        wrong = table.filter((pl.col("naming") != expected[0]) | (~pl.col("naming") & (pl.col("last") != expected[1])))
        assert wrong.rows() == []


@given(
    options=st.lists(
        st.sampled_from(["red", "green", "blue", "grey", *NAMING, *LAST]), min_size=2, max_size=6, unique=True
    ),
    seed=st.integers(0, 2**31),
)
def test_an_option_that_names_a_letter_still_names_the_same_one(options: list[str], seed: int) -> None:
    before = turns([options], [len(options) - 1])
    after = VqaMc().prepare(before, seed=seed, salt="s")
    moved = after["choices"][0].to_list()
    assert sorted(moved) == sorted(options)
    assert right_options(after) == right_options(before)
    if any(option in NAMING for option in options):
        assert moved == options
    last = [option for option in options if option in LAST]
    if moved != options:
        assert moved[len(moved) - len(last) :] == last


RUNS = [
    ["1", "2", "3", "4"], ["1", "2"], ["a", "b", "c"], ["i", "ii"], ["I", "II", "III"], ["一", "二", "三"],
    ["1", "2", "3", "None of these"], ["a", "b", "both", "neither"], [str(n) for n in range(1, 13)], ["α", "β", "γ"],
    ["1.", "2.", "3."], ["甲", "乙"], ["а", "б", "в"],
]  # fmt: skip
NO_RUNS = [
    ["3", "2", "0", "1"], ["0", "1", "2", "3"], ["2", "3", "4", "5"], ["4", "3", "2", "1"], ["1", "2", "4", "8"],
    ["1", "2", "3", "five"], ["1", "three", "four", "none of these"], ["one", "two", "three"], ["b", "c", "d"],
    ["10", "20", "30"], ["1", "3", "2"],
]  # fmt: skip


@pytest.mark.parametrize("options", RUNS)
def test_a_run_of_marks_in_its_order_keeps_it_and_is_counted(options: list[str]) -> None:
    table = turns([["red", "green"], options] * 40, [0, 1] * 40)
    after = VqaMc().prepare(table, seed=3, salt="s")
    assert after["choices"][1::2].to_list() == [options] * 40
    assert after["choices"][::2].n_unique() == 2
    assert sum(VqaMc().remarks(table).values()) >= 40


@pytest.mark.parametrize("options", NO_RUNS)
def test_numbers_that_are_no_run_are_ordinary_answers(options: list[str]) -> None:
    table = turns([options] * 200, [1] * 200)
    after = VqaMc().prepare(table, seed=3, salt="s")
    assert after["choices"].n_unique() > 4
    assert right_options(after) == right_options(table)
    assert not any("1, 2, 3" in remark for remark in VqaMc().remarks(table))


@pytest.mark.parametrize(
    ("question", "stays"),
    [
        ("Which panel shows a dog?", True), ("In welchem Bild ist ein Hund?", True), ("图中哪一个是狗？", True),
        ("How many dogs are there?", False), ("What is the number of dogs?", False), ("Wie viele Hunde?", False),
        ("Combien de chiens ?", False), ("有几只狗？", False),
    ],
)  # fmt: skip
def test_numbers_in_order_are_amounts_where_the_question_asks_how_many(question: str, stays: bool) -> None:
    options = ["1", "2", "3", "4"]
    table = turns([options] * 100, [1] * 100).with_columns(question=pl.lit(question))
    after = VqaMc().prepare(table, seed=3, salt="s")
    assert (after["choices"].to_list() == [options] * 100) == stays
    assert right_options(after) == right_options(table)
    assert bool(VqaMc().remarks(table)) == stays


def test_other_options_are_still_shuffled_and_what_was_not_is_counted() -> None:
    table = turns(
        [["p", "q", "r", "none of these"]] * 100 + [["A", "B"], ["a", "c"]] + [["x", "y", "A and B"]], [0] * 103
    )
    after = VqaMc().prepare(table, seed=1, salt="s")["choices"].to_list()
    assert len({tuple(row) for row in after[:100]}) == 6
    assert sorted(VqaMc().remarks(table).values()) == [2, 100]
    assert VqaMc(shuffle=False).remarks(table) == {}
    assert VqaMc().remarks(table[:0]) == {}


@pytest.mark.parametrize("rows", [[None, []], [["a", None, "none"]]])
def test_tables_without_options_have_nothing_to_remark(rows: list[list[str] | None]) -> None:
    table = turns(rows, [0] * len(rows))
    assert VqaMc().prepare(table, seed=0, salt="s").height == len(rows)
    assert sum(VqaMc().remarks(table).values()) == sum(row is not None and bool(row) for row in rows)


@pytest.mark.parametrize(
    ("question", "stays"),
    [
        ("Which is it?\nA. red\nB. blue\nC. green", True),
        ("Which? (A) red (B) blue (C) green", True),
        ("Choose: a) red, b) blue, c) green", True),
        ("What did A. Smith and B. Jones see?", True),  # costs nothing but a place that is not drawn
        ("Is it A or B?", False),
        ("A dog is by the U.S. flag. Which?", False),
    ],
)
def test_options_that_the_question_lists_keep_its_letters(question: str, stays: bool) -> None:
    rows = pl.DataFrame(
        {KEY: [k * 977 for k in range(40)], "question": question, "choices": [["red", "blue", "green"]] * 40}
    )
    rows = rows.with_columns(pl.col(KEY).cast(pl.UInt64), answer=pl.lit(0))
    moved = VqaMc().prepare(rows, seed=1, salt="s")
    assert (set(moved["answer"]) == {0}) == stays
    said = "options keep the order that the source gives them, as the question lists options, and stand there twice"
    assert VqaMc().remarks(rows) == ({said: 40} if stays else {})
