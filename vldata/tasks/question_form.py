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

import polars as pl

TRUE_FORM = "Is the following statement true? "
"""What stands before a statement that cannot be turned."""

_BE = ("is", "are", "was", "were")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_OPENS_NOUN_PHRASE = "|".join(("an?", "the", "as", "no", *_NUMBERS, "some", "many", "several", "its", "his", "her"))
_WITH_DO = (  # verb as written, what must follow it, auxiliary, verb in the question
    ("has", _OPENS_NOUN_PHRASE, "Does", "have"),
    ("have", _OPENS_NOUN_PHRASE, "Do", "have"),
    ("had", _OPENS_NOUN_PHRASE, "Did", "have"),
    ("contains", r"\S+", "Does", "contain"),
    ("contain", r"\S+", "Do", "contain"),
    ("consists", "of", "Does", "consist"),
    ("consist", "of", "Do", "consist"),
    ("includes", r"\S+", "Does", "include"),
    ("include", r"\S+", "Do", "include"),
)
_MODALS = ("can", "could", "will", "would", "shall", "should", "may", "might", "must")

_ARTICLES = ("the", "a", "an", "every", "no", "my", "your", "our", "their", "its", "another", "only", "exactly")
_PRONOUNS = (
    *("this", "that", "these", "those", "there", "it", "he", "she", "they", "we", "you", "his", "her"),
    *("some", "all", "both", "each", "any", "many", "most", "several", "few"),
    *_NUMBERS,
)


def _either_case(words: tuple[str, ...]) -> str:
    """Words with a small or a large initial, but not in capitals: "It", not "IT"."""
    return "|".join(f"[{word[0].upper()}{word[0]}]{word[1:]}" for word in words)


_FINITE = rf"(?i)\b({'|'.join((*_BE, *_MODALS, 'do', 'does', 'did', *(rule[0] for rule in _WITH_DO)))})\b"
_SUBJECT = rf"^({_either_case(_ARTICLES)}|{_either_case(_PRONOUNS)})((?:\s.*?\S)??)"
_UNSAFE = "|".join(
    (
        rf"^({_either_case(_ARTICLES)})\s{_FINITE}",  # "A is left of B": a letter, not an article
        r"(?i)\s(that|which|who|whose|whom|where|when|while|because|although|though|if|but|whereas|says?|reads?)\b",
        rf"(?i)(,|\band|\bor)\s({'|'.join(_BE)}|has|have|had|contains?|consists?|includes?)\b",  # a second predicate
        r"[?!;:\n\"“”]|\.\s|n['’]t\b",
    )
)
_JOINED = rf"{_FINITE}.*(,|\b(and|or)\b)"  # "is tall and wears a hat"; of what is joined, only "between" is safe


def question_form(statement: pl.Expr) -> pl.Expr:
    """Each statement as a question; a null stays null."""
    text = statement.str.strip_chars()
    body = text.str.replace(r"\s*[.!]$", "")
    joined = body.str.contains(_JOINED) & ~body.str.contains(r"\bbetween\b.*\band\b")
    plain = (body.str.count_matches(_FINITE) == 1) & ~body.str.contains(_UNSAFE) & ~joined
    turned = [_with_be(body), *(_with_do(body, *rule) for rule in _WITH_DO)]
    return (
        pl.when(text.str.ends_with("?"))
        .then(text)
        .when(plain)
        .then(pl.coalesce(*turned, pl.lit(TRUE_FORM) + text))
        .otherwise(pl.lit(TRUE_FORM) + text)
    )


def _with_be(body: pl.Expr) -> pl.Expr:
    part = body.str.extract_groups(rf"{_SUBJECT}\s+({'|'.join(_BE)}|(?:has|have|had)\s+been)\s+(.+)$").struct
    verb = part.field("3").str.extract(r"^(\S+)")
    rest = part.field("3").str.extract(r"^\S+(.*)$")
    return pl.concat_str(
        verb.str.to_titlecase(), pl.lit(" "), _subject(part), rest, pl.lit(" "), part.field("4"), pl.lit("?")
    )


def _with_do(body: pl.Expr, verb: str, then: str, auxiliary: str, plain_verb: str) -> pl.Expr:
    part = body.str.extract_groups(rf"{_SUBJECT}\s+({verb})\s+((?:{then})\b.*)$").struct
    return pl.concat_str(
        pl.lit(f"{auxiliary} "), _subject(part), pl.lit(f" {plain_verb} "), part.field("4"), pl.lit("?")
    )


def _subject(part: pl.expr.struct.ExprStructNameSpace) -> pl.Expr:
    return pl.concat_str(part.field("1").str.to_lowercase(), part.field("2"))
