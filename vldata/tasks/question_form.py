"""Statements as yes/no questions, by moving the verb to the front; no word is lost, cut or put elsewhere on the way.

    The cat is on top of the suitcase.     Is the cat on top of the suitcase?
    The suitcase contains the cat.         Does the suitcase contain the cat?
    The bed has as a part the couch.       Does the bed have as a part the couch?
    There are two dogs.                    Are there two dogs?
    A man rides a horse.                   Is the following statement true? A man rides a horse.

English grammar in full is out of reach, so the rules take only what they can turn without doubt: one sentence that
begins with a word which may be written small (an article, a number, "there"), has one finite verb of a short list, and
neither a subordinate clause nor a second predicate. Everything else keeps its words behind `TRUE_FORM`. All 8,777
statements of VSR's random split fit the rules (cutting at "is", as is often done, spoils 4 % of them).
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

TRUE_FORM = "Is the following statement true? "
"""What stands before a statement that cannot be turned."""

_BE = ("is", "are", "was", "were")
_HAVE = {"has": "Does", "have": "Do", "had": "Did"}  # as in "has a handle"; "has been moved" is turned like "is"
_WITH_DO = {
    **{verb: (auxiliary, "have") for verb, auxiliary in _HAVE.items()},
    **{f"{verb}s": ("Does", verb) for verb in ("contain", "consist", "include")},
    **{verb: ("Do", verb) for verb in ("contain", "consist", "include")},
}
"""Verb as written to auxiliary and verb of the question."""
_MODALS = ("can", "could", "will", "would", "shall", "should", "may", "might", "must", "do", "does", "did")

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_OPENS_NOUN_PHRASE = "|".join(("an?", "the", "as", "no", *_NUMBERS, "some", "many", "several", "its", "his", "her"))
_ARTICLES = ("the", "a", "an", "every", "no", "my", "your", "our", "their", "its", "another", "only", "exactly")
_PRONOUNS = (
    *("this", "that", "these", "those", "there", "it", "he", "she", "they", "we", "you", "his", "her"),
    *("some", "all", "both", "each", "any", "many", "most", "several", "few"),
    *_NUMBERS,
)


def _either_case(words: Iterable[str]) -> str:
    """Words with a small or a large initial, but not in capitals: "It", not "IT"."""
    return "|".join(f"[{word[0].upper()}{word[0]}]{word[1:]}" for word in words)


_FINITE = rf"(?i)\b({'|'.join((*_BE, *_WITH_DO, *_MODALS))})\b"
_PARTS = (
    rf"^(?<opening>{_either_case((*_ARTICLES, *_PRONOUNS))})(?<subject>(?:\s.*?\S)??)"
    rf"\s+(?<verb>{'|'.join((*_BE, *_WITH_DO))})\s+(?<rest>.+)$"
)
_UNSAFE = "|".join(
    (
        rf"^({_either_case(_ARTICLES)})\s{_FINITE}",  # "A is left of B": a letter, not an article
        r"(?i)\s(that|which|who|whose|whom|where|when|while|because|although|though|if|but|whereas|says?|reads?)\b",
        rf"(?i)(,|\band|\bor)\s({'|'.join((*_BE, *_WITH_DO))})\b",  # a second predicate
        r"[?!;:\n\"“”]|\.\s|n['’]t\b",
    )
)
_JOINED = rf"{_FINITE}.*(,|\b(and|or)\b)"  # "is tall and wears a hat"; of what is joined, only "between" is safe


def question_form(statements: pl.Series) -> pl.Series:
    """Each statement as a question; a null stays null."""
    text, body = pl.col("text"), pl.col("body")
    table = statements.rename("text").to_frame().with_columns(text.str.strip_chars())
    table = table.with_columns(body=text.str.replace(r"\s*[.!]$", ""))
    joined = body.str.contains(_JOINED) & ~body.str.contains(r"\bbetween\b.*\band\b")
    table = table.with_columns(
        plain=(body.str.count_matches(_FINITE) == 1) & ~body.str.contains(_UNSAFE) & ~joined,
        parts=body.str.extract_groups(_PARTS),
    ).unnest("parts")
    return table.select(
        pl.when(text.str.ends_with("?"))
        .then(text)
        .when("plain")
        .then(pl.coalesce(_turned(), pl.lit(TRUE_FORM) + text))
        .otherwise(pl.lit(TRUE_FORM) + text)
    ).to_series()


def _turned() -> pl.Expr:
    """The question from the parts of a statement; null where its verb does not allow what follows it."""
    verb, rest = pl.col("verb"), pl.col("rest")
    subject = pl.concat_str(pl.col("opening").str.to_lowercase(), pl.col("subject"))
    fronted = verb.is_in(_BE) | (verb.is_in(list(_HAVE)) & rest.str.contains(r"^been\b"))
    with_do = (
        pl.when(verb.is_in(list(_HAVE)))
        .then(rest.str.contains(rf"^(?:{_OPENS_NOUN_PHRASE})\b"))
        .when(verb.is_in(["consists", "consist"]))
        .then(rest.str.contains(r"^of\b"))
        .otherwise(True)
    )
    auxiliary = verb.replace_strict({v: aux for v, (aux, _) in _WITH_DO.items()}, default=None)
    plain_verb = verb.replace_strict({v: plain for v, (_, plain) in _WITH_DO.items()}, default=None)
    return (
        pl.when(fronted)
        .then(pl.concat_str(verb.str.to_titlecase(), subject, rest, separator=" "))
        .when(with_do)
        .then(pl.concat_str(auxiliary, subject, plain_verb, rest, separator=" "))
    ) + pl.lit("?")
