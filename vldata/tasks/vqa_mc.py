"""A question with given options, one of them right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import StrictBool

from vldata.schema.keyed import Keys, keyed
from vldata.schema.turns import KEY
from vldata.tasks.base import PhraseBox, PolarsType, Task, TurnFacts
from vldata.tasks.option_places import are_listed_in, comes_last, is_run, names_others

Letters = Literal["A.", "(A)", "1.", "a)"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd, so that the options of a row have different keys


class VqaMc(Task):
    r"""A question, its options, and the index of the right one; ``context`` is what the question presupposes.

    In:  question "What is shown?", choices ["a cat", "a dog"], answer 1, context None
    Out: user "What is shown?\nA. a cat\nB. a dog\nAnswer with the option's letter …", assistant "B"

    Args:
        shuffle: Put the options into a keyed order; the answer follows its option. Options that speak of their place
            keep it, see `vldata.tasks.option_places`.
        letters: How options are marked.
    """

    name: ClassVar[str] = "vqa_mc"
    about: ClassVar[str] = "choose the right option, answer with its letter"
    columns: ClassVar[dict[str, PolarsType]] = {
        "question": pl.String,
        "choices": pl.List(pl.String),
        "answer": pl.Int64,
        "context": pl.String,
    }
    optional: ClassVar[frozenset[str]] = frozenset({"context"})
    version: ClassVar[int] = 3
    texts: ClassVar[tuple[str, ...]] = ("question",)
    answer_column: ClassVar[str | None] = "answer"

    shuffle: StrictBool = True
    letters: Letters = "A."

    @classmethod
    def rejects(cls) -> dict[str, pl.Expr]:
        """An index outside the options, fewer than two of them, blank ones, and several that say the same."""
        words = pl.col("choices").list.eval(pl.element().str.strip_chars())
        blank = pl.element().is_null() | (pl.element().str.strip_chars() == "")
        return {
            "too_few_choices": pl.col("choices").list.len() < 2,
            "answer_out_of_range": (pl.col("answer") < 0) | (pl.col("answer") >= pl.col("choices").list.len()),
            "empty_text": pl.col("choices").list.eval(blank).list.any(),
            "equal_choices": words.list.n_unique() < words.list.len(),
        }

    def prepare(self, turns: pl.DataFrame, *, seed: int, salt: str) -> pl.DataFrame:
        """Replace ``choices`` and ``answer`` by the same options in a keyed order, and the right one's new place."""
        if not self.shuffle or turns.is_empty():
            return turns
        return shuffled(turns, keyed(turns[KEY].to_numpy(), seed, "choices", salt))

    def remarks(self, turns: pl.DataFrame) -> dict[str, int]:
        """How many questions have options that speak of others or of their place."""
        if not self.shuffle or turns.is_empty():
            return {}
        lengths = turns["choices"].list.len().fill_null(0).to_numpy().astype(np.int64)
        row = np.repeat(np.arange(len(lengths)), lengths)
        options = turns["choices"].filter(pl.Series(lengths > 0)).explode()
        stays, last = _places(turns["question"], options, row)
        naming = np.bincount(row, weights=names_others(options).to_numpy(), minlength=len(lengths)) > 0
        ends = np.zeros(len(lengths), dtype=bool)
        ends[row[last]] = True
        listed = are_listed_in(turns["question"]).to_numpy() & (lengths > 0)
        kept = "options keep the order that the source gives them"
        counts = {
            f"{kept}, as some name others": int(naming.sum()),
            f"{kept}, as the question lists options, and stand there twice": int((listed & ~naming).sum()),
            f"{kept}, as they are 1, 2, 3 … or a, b, c …": int((stays & ~naming & ~listed).sum()),
            'options such as "all of the above" stay behind the others': int((ends & ~stays).sum()),
        }
        return {remark: count for remark, count in counts.items() if count}

    def facts(self, turn: Mapping[str, Any], boxes: Sequence[PhraseBox]) -> TurnFacts:
        """Its answer is the right option's words."""
        facts = super().facts(turn, boxes)
        return facts._replace(texts={**facts.texts, "answer": turn["choices"][turn["answer"]]})

    def template_helpers(self) -> dict[str, Callable[..., object]]:
        """What a template may call.

        ``lettered(choices)``: a (mark, option) pair of each option; ``letter_of(answer)``: the letter or number alone;
        ``label()``: which of these words it is.
        """
        return {
            "lettered": partial(lettered, self.letters),
            "letter_of": partial(letter_of, self.letters),
            "label": partial(label, self.letters),
        }


def shuffled(turns: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """The table with each row's ``choices`` in the order that its key decides; ``answer`` follows its option.

    Options that name others keep their row's order, and those that must come last do.
    An answer outside the options is left as it is, and so are options that are null.
    """
    lengths = turns["choices"].list.len().fill_null(0).to_numpy().astype(np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    first = (np.cumsum(lengths) - lengths)[row]
    place = np.arange(len(row)) - first
    has_any = lengths > 0
    options = turns["choices"].filter(pl.Series(has_any)).explode()
    stays, last = _places(turns["question"], options, row)
    ranks = keyed(keys[row] + _STEP * place.astype(np.uint64), 0, "place")
    ranks = np.where(stays[row] | last, place.astype(np.uint64), ranks)
    order = np.lexsort((ranks, last & ~stays[row], row))

    flat = pl.DataFrame({"row": row, "choices": options.gather(order)})
    moved = flat.group_by("row", maintain_order=True).agg("choices")
    at = pl.Series(np.cumsum(has_any) - 1).set(pl.Series(~has_any), None)
    choices = moved["choices"].gather(at).alias("moved")

    answer = turns["answer"].fill_null(-1).to_numpy().copy()
    landed = np.flatnonzero(place[order] == answer[row])
    answer[row[landed]] = place[landed]
    return turns.with_columns(
        choices=pl.coalesce(choices, "choices"),
        answer=pl.when(pl.col("answer").is_not_null()).then(pl.Series(answer)),
    )


def _places(questions: pl.Series, options: pl.Series, row: IntArray) -> tuple[BoolArray, BoolArray]:
    """Which rows keep their order, and which options come last in theirs."""
    last = comes_last(options).to_numpy()
    stays = is_run(options, last, row, questions)
    stays[row[names_others(options).to_numpy()]] = True
    stays |= are_listed_in(questions).to_numpy()
    return stays, last


def lettered(letters: Letters, choices: Sequence[str]) -> list[tuple[str, str]]:
    """Each option with its mark, as in ("A.", "a cat"), ("B.", "a dog")."""
    return list(zip(_marks(letters, len(choices)), choices, strict=True))


@lru_cache
def _marks(letters: Letters, count: int) -> tuple[str, ...]:
    before, _, after = letters.partition(letters.strip(".()"))
    return tuple(f"{before}{letter_of(letters, place)}{after}" for place in range(count))


@lru_cache
def letter_of(letters: Letters, answer: int) -> str:
    """The letter or number of the option at a 0-based index; after Z comes AA."""
    if answer < 0:
        raise ValueError(f"option {answer} does not exist")
    first = letters.strip(".()")
    if first == "1":
        return str(answer + 1)
    name, rest = "", answer + 1
    while rest:
        rest, digit = divmod(rest - 1, 26)
        name = chr(ord(first) + digit) + name
    return name


def label(letters: Letters) -> str:
    """What the options are marked with: "letter" or "number"."""
    return "number" if "1" in letters else "letter"
