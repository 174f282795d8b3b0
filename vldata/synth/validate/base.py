"""What a check of a reply is, and what it finds.

A check is pure and free: it is run again over the kept replies whenever its options change. Most replies are good, and
a recipe's are read again in every build, so a check first looks at the words of the whole reply, which are split once
(`Exchanges`), and only reads exchange by exchange when there is something to find.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

from vldata.schema.spec import Spec
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs
from vldata.synth.kind_files import KindFiles

Policy = Literal["drop", "mark", "reask"]
"""``drop``: it never becomes data. ``mark``: it does, and says so. ``reask``: requested once more, then dropped."""

Reply = Mapping[str, Any]
"""A chat completion as it was received."""


class Finding(NamedTuple):
    """One thing that is wrong with a reply.

    Args:
        reason: A name in `vldata.schema.reasons.GENERATED`.
        exchange: Which exchange, counted from 0; None: the reply as a whole.
        detail: What exactly.
        policy: What is to be done about it; set by `SynthKind.check` from the check's options.
    """

    reason: str
    exchange: int | None = None
    detail: str = ""
    policy: Policy = "drop"


class Words(NamedTuple):
    """The words of a text, in lower case; an apostrophe parts words, whichever sign is used for it.

    Args:
        all: In order.
        distinct: Each once.
    """

    all: list[str]
    distinct: frozenset[str]


_WORD = re.compile(r"\w+")
_PLAIN = bytes(ord(chr(code).lower()) if code < 128 and _WORD.match(chr(code)) else ord(" ") for code in range(256))
"""What becomes of each byte of plain ASCII: a word's character in lower case, all else a space."""


def split_words(text: str) -> list[str]:
    """The words of a text in order, in lower case: runs of letters, digits and underscores."""
    if text.isascii():  # the same, and ten times as fast
        return text.encode().translate(_PLAIN).decode().split()
    return _WORD.findall(text.lower())


def words_of(text: str) -> Words:
    """The words of a text, also without their order."""
    words = split_words(text)
    return Words(words, frozenset(words))


class Exchanges(tuple[Exchange, ...]):
    """The exchanges of one reply, with their words split once for all checks."""

    repairs: tuple[str, ...] = ()
    """What was repaired to read them: names in `vldata.synth.replies.REPAIRS`."""

    @cached_property
    def text(self) -> str:
        """All questions and answers."""
        return "\n".join([text for exchange in self for text in (exchange.question, exchange.answer)])

    @cached_property
    def words(self) -> Words:
        """The words of `text`."""
        return words_of(self.text)


def together(exchanges: Sequence[Exchange]) -> Exchanges:
    """The same exchanges with their words."""
    return exchanges if isinstance(exchanges, Exchanges) else Exchanges(exchanges)


class Validator(Spec):
    """One check of one reply; its fields are the options that ``kind.yaml`` may set.

    Args:
        policy: What is to be done when it finds something.
    """

    name: ClassVar[str]
    reasons: ClassVar[tuple[str, ...]]
    """What it may find: names in `vldata.schema.reasons.GENERATED`."""
    policy: Policy = "drop"

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply, kind: KindFiles) -> list[Finding]:
        """What is wrong, in the order of the exchanges.

        Args:
            exchanges: As parsed; empty for checks that come before parsing (`before_parsing`).
            inputs: What the model was shown.
            reply: As it was received.
            kind: Whose prompt it was.
        """
        raise NotImplementedError

    before_parsing: ClassVar[bool] = False
    """Whether it reads the reply alone, so that what it finds explains why a reply cannot be parsed."""


class Lexicon:
    """Phrases to look for, as whole words, in any letter case.

    Args:
        phrases: One or more words each.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = [(phrase, words_of(phrase).all) for phrase in phrases]
        self._phrases = [(phrase, words) for phrase, words in self._phrases if words]
        # the longest word of a phrase is the one that the fewest replies have
        self._rare = frozenset(max(words, key=len) for _, words in self._phrases)

    def may_occur(self, words: Words) -> bool:
        """False when no phrase occurs; quick."""
        return not self._rare.isdisjoint(words.distinct)

    def occurring(self, words: Words) -> list[str]:
        """The phrases that occur."""
        if not self.may_occur(words):
            return []
        return [phrase for phrase, wanted in self._phrases if starts_of(wanted, words)]


def starts_of(wanted: Sequence[str], words: Words) -> list[int]:
    """Where the words ``wanted`` stand one behind the other."""
    if not words.distinct.issuperset(wanted):
        return []
    run = list(wanted)
    return [
        place for place, word in enumerate(words.all) if word == run[0] and words.all[place : place + len(run)] == run
    ]


def message_of(reply: Reply) -> tuple[Mapping[str, Any], Any]:
    """The first choice's message and its ``finish_reason``; empty and None where the server left them out."""
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    message = choice.get("message")
    return (message if isinstance(message, Mapping) else {}), choice.get("finish_reason")


def text_of(reply: Reply) -> str:
    """What the model wrote; "" when the reply has no text, whatever else it has.

    Content in parts, as some servers send it, is joined; parts with reasoning, and ``reasoning_content`` beside the
    content, are no text of it.
    """
    content = message_of(reply)[0].get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping)]
        texts = [part.get("text") for part in parts if part.get("type") not in ("reasoning", "thinking")]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
