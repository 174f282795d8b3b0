"""Statements as yes/no questions, by moving the verb to the front; no word is lost, cut or put elsewhere on the way.

    The cat is on top of the suitcase.     Is the cat on top of the suitcase?
    The suitcase contains the cat.         Does the suitcase contain the cat?
    The bed has as a part the couch.       Does the bed have as a part the couch?
    There are two dogs.                    Are there two dogs?
    A man rides a horse.                   Is the following statement true? A man rides a horse.

English grammar in full is out of reach, so the rules take only what they can turn without doubt: one sentence that
begins with a word which may be written small (an article, a number, "there"), has one finite verb of a short list, and
neither a subordinate clause nor a second predicate nor a negation. What stands before the verb must be a noun phrase:
no comma, no other clause ("each image shows a dog, and a bench is visible"), the number of its verb. Everything else
keeps its words behind `TRUE_FORM`. All 8,777 statements of VSR's random split fit the rules (cutting at "is", as is
often done, spoils 4 % of them).
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
_OPENS_NOUN_PHRASE = "|".join(("an?", "the", "as", *_NUMBERS, "some", "many", "several", "its", "his", "her"))
_ARTICLES = ("the", "a", "an", "every", "my", "your", "our", "their", "its", "another", "only", "exactly")
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
        r"(?i)\s(that|which|who|whose|whom|where|when|while|what|how|because|although|though|if|but|whereas|says?|reads?)\b",
        rf"(?i)(,|\band|\bor)\s({'|'.join((*_BE, *_WITH_DO))})\b",  # a second predicate
        r"[?!;:…\n\"“”]|\.\s|n['’]t\b",
        r"\.$|\b[A-Za-z]\.[A-Za-z]$|(?i)\b(etc|st|mr|mrs|dr|jr|inc|co|vs)$",  # "…", "the U.S.": more than a full stop
    )
)
_JOINED = rf"{_FINITE}.*(,|\b(and|or)\b)"  # "is tall and wears a hat"; of what is joined, only "between" is safe
_NEGATION = r"(?i)^few\b|\b(no|not|never|none|neither|nor|nobody|nothing|cannot|hardly)\b"  # does "yes" deny, or agree?

_DETERMINER = "|".join(
    ("an?", "the", *_NUMBERS, "my", "your", "our", "their", "its", "his", "her", "another", "each", "every", "this")
)
_PREPOSITIONS = (
    "in|on|at|with|without|near|behind|beside|beneath|below|above|between|to|from|for|by|under|over|around|across|"
    "against|along|inside|outside|into|onto|through|off|past|toward|towards|within|among|up|down"
)
_BETWEEN = rf"(?i)\bbetween (?:\S+ ){{1,4}}and (?:{_DETERMINER})\b"
_BEFORE_NOUNS = rf"(?i)^\s(?:{_PREPOSITIONS}|of|all|both|and|only|\w+ing)\s"
_OTHER_VERB = "|".join(
    rf"{verb}s?"
    for verb in (
        *("show", "depict", "display", "portray", "feature", "suggest", "indicate", "mean", "think", "believe", "know"),
        *("feel", "hope", "claim", "prove", "see", "hear", "imply", "reveal", "confirm", "seem", "appear", "look"),
        *("make", "let", "shown", "showed", "depicted", "displayed", "thought", "knew", "saw", "looked", "seemed"),
        *("hold", "wear", "ride", "eat", "drink", "sit", "stand", "lie", "lay", "sleep", "play", "wait", "turn"),
        *("walk", "run", "jump", "fly", "flies", "swim", "drive", "carry", "carries", "watch", "watches", "touch"),
        *("touches", "face", "point", "cross", "crosses", "climb", "follow", "chase", "talk", "speak", "smile", "bark"),
        *("go", "goes", "come", "take", "give", "get", "keep", "use", "want", "like", "love", "own", "sat", "stood"),
    )
)
_NO_NOUN_PHRASE = "|".join(
    (
        r"[,()]|\s-|--",
        rf"(?i)^\s({_PREPOSITIONS}|all|both|and|only)\b",  # "only in the left image"
        r"(?i)\b(or|as|than|after|before|until|since|unless|once|whether|how|why|what|then|so|yet|also|it|they|he|she)\b",
        rf"(?i)\b({_OTHER_VERB})\s",  # right before the verb it is a noun: "the cross is"
    )
)
_OBJECT = rf"(?i)\s(\S+)\s(?:{_DETERMINER})\b"
"""A word before a determiner: in a noun phrase it is a preposition or a participle, elsewhere a verb ("rides a")."""
_ONE = ("a", "an", "every", "another", "each", "this", "that", "it", "he", "she", "one")
_SEVERAL = ("these", "those", "they", "we", "you", "all", "both", "many", "most", "several", "few", *_NUMBERS[1:])
_OF_NOTHING = (*_SEVERAL[5:], "some", "any")
"""Without a noun behind: "some are dogs" would be "are some dogs"."""
_ALONE = ("there", "it", "he", "she", "they", "we", "you")
_OF_ONE = ("is", "was", "has", "contains", "consists", "includes")
_OF_SEVERAL = ("are", "were", "have", "contain", "consist", "include")


def question_form(statements: pl.Series) -> pl.Series:
    """Each statement as a question; a null stays null."""
    text, body = pl.col("text"), pl.col("body")
    table = statements.rename("text").to_frame().with_columns(text.str.strip_chars())
    table = table.with_columns(body=text.str.replace(r"\s*[.!]$", ""))
    joined = body.str.replace(_BETWEEN, "between").str.contains(_JOINED)
    table = table.with_columns(
        plain=(body.str.count_matches(_FINITE) == 1) & ~body.str.contains(f"{_UNSAFE}|{_NEGATION}") & ~joined,
        parts=body.str.extract_groups(_PARTS),
    ).unnest("parts")
    return table.select(
        pl.when(text.str.ends_with("?"))
        .then(text)
        .when(pl.col("plain") & _is_noun_phrase())
        .then(pl.coalesce(_turned(), pl.lit(TRUE_FORM) + text))
        .otherwise(pl.lit(TRUE_FORM) + text)
    ).to_series()


def _is_noun_phrase() -> pl.Expr:
    """Whether what stands before the verb is surely its subject; null where there is no such verb."""
    opening, subject, verb = pl.col("opening").str.to_lowercase(), pl.col("subject"), pl.col("verb")
    no_objects = subject.str.extract_all(_OBJECT).list.eval(pl.element().str.contains(_BEFORE_NOUNS)).list.all()
    joins = subject.str.contains(r"(?i)\band\b")
    both_are = subject.str.contains(rf"(?i)^\s\S+\sand\s(?:{_DETERMINER})\s\S+$") & opening.is_in(_ARTICLES)
    singular, plural = opening.is_in(_ONE) & ~joins, opening.is_in(_SEVERAL) | joins
    return (
        no_objects
        & ~subject.str.contains(_NO_NOUN_PHRASE)
        & (~joins | both_are)
        & ~(opening.is_in(_ALONE) & (subject != ""))
        & ~(opening.is_in(_OF_NOTHING) & (subject == ""))
        & ~(singular & verb.is_in(_OF_SEVERAL))
        & ~(plural & verb.is_in(_OF_ONE))
    )


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
