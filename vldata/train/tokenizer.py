"""Text to token ids and back: a tokenizer made from a build's own text, or one read from a local ``tokenizer.json``.

A conversation is tokenised piece by piece (`Tokenizer.conversation`): each role's frame and each text on its own, with
a mask that says which tokens are learnt. Nothing is ever rendered whole and measured again, which is how trainers that
do so come to lose samples. Data cannot forge a role: special tokens that stand in a text are encoded as characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as FastTokenizer

from vldata.errors import BuildError

IMAGE, PAD, END = "<image>", "<pad>", "<end>"
"""The special tokens of a made tokenizer, besides one for each role."""

MAX_VOCABULARY = 4096
"""Tokens of a made tokenizer at most; the shapes world fills about a fifth of it."""

_ROLES = ("system", "user", "assistant")
_WORDS = r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# One token a digit, so that 0.44 and 0.45 share all but their last; the rest as byte-level tokenizers usually split.

Ids = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a role's text.

    Args:
        before: Token ids in front; never learnt.
        after: Token ids behind; learnt when the role is the assistant, except those from ``learnt`` on.
        learnt: How many of ``after`` are learnt behind an assistant's text.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    learnt: int


class Tokenizer:
    """A `tokenizers` tokenizer with the frames of a chat; made by `from_texts` or `load`.

    Attributes:
        image_id: Stands where visual tokens go; never a part of a text.
        end_id: Ends what the assistant says.
        size: Rows that an embedding needs.
        form: Name of the chat form: ``plain``, ``chatml`` or ``vicuna``.
    """

    def __init__(self, fast: FastTokenizer) -> None:
        fast.encode_special_tokens = True  # "<image>" in a caption is seven characters
        self.fast = fast
        self.form, end = _form_of(fast)
        self.image_id = _id_of(fast, IMAGE)
        self.end_id = _id_of(fast, end)
        self.size = fast.get_vocab_size(with_added_tokens=True)
        self.start: tuple[int, ...] = (_id_of(fast, "<s>"),) if self.form == "vicuna" else ()
        self.frames = {role: self._frame(role) for role in _ROLES}

    def encode(self, text: str) -> list[int]:
        """Tokens of one text, without any frame."""
        ids: list[int] = self.fast.encode(text, add_special_tokens=False).ids
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of many texts; the library uses all cores."""
        return [encoding.ids for encoding in self.fast.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens, special ones left out."""
        text: str = self.fast.decode(list(ids), skip_special_tokens=True)
        return text

    def save(self, path: Path) -> None:
        """Write it as one ``tokenizer.json``."""
        self.fast.save(str(path))

    def conversation(
        self, messages: Sequence[tuple[str, Sequence[Sequence[int] | None]]], weights: Sequence[float]
    ) -> tuple[Ids, Weights]:
        """One sample's tokens, and which of them are learnt.

        Args:
            messages: For each message its role and contents in order: the tokens of a text, or None for an image.
            weights: Loss weight of each turn, which is each message of the assistant's; in order.

        Returns:
            Tokens with one `image_id` for an image, shape (n,), and the loss weight of each token *as a target*, shape
            (n,), 0 where it is not learnt.
        """
        ids: list[int] = list(self.start)
        learnt: list[float] = [0.0] * len(ids)
        turn = 0
        for role, contents in messages:
            frame = self.frames[role]
            weight = 0.0
            if role == "assistant":
                weight = weights[turn]
                turn += 1
            ids += frame.before
            learnt += [0.0] * len(frame.before)
            for content in contents:
                tokens = (self.image_id,) if content is None else content
                ids += tokens
                learnt += [0.0 if content is None else weight] * len(tokens)
            ids += frame.after
            learnt += [weight] * frame.learnt + [0.0] * (len(frame.after) - frame.learnt)
        return np.array(ids, np.int32), np.array(learnt, np.float32)

    def _frame(self, role: str) -> Frame:
        if self.form == "plain":
            return Frame((_id_of(self.fast, f"<{role}>"),), (self.end_id,), learnt=1)
        if self.form == "chatml":
            before = (_id_of(self.fast, "<|im_start|>"), *self.encode(f"{role}\n"))
            return Frame(before, (self.end_id, *self.encode("\n")), learnt=1)
        if role == "assistant":
            return Frame(tuple(self.encode("ASSISTANT:")), (self.end_id,), learnt=1)
        return Frame(tuple(self.encode("USER:")) if role == "user" else (), (), learnt=0)


def from_texts(texts: Iterable[str], size: int = MAX_VOCABULARY) -> Tokenizer:
    """A byte-level BPE tokenizer of a build's own texts: no text is unknown to it, and decoding gives every byte back.

    Args:
        texts: What it is made of; the same texts in the same order make the same tokenizer.
        size: Tokens at most, at least the 256 bytes and 6 special ones.
    """
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[PAD, IMAGE, END, *(f"<{role}>" for role in _ROLES)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    return Tokenizer(fast)


def load(path: Path) -> Tokenizer:
    """A tokenizer from a ``tokenizer.json``, or from a local model's folder that holds one.

    Its chat form follows from its special tokens: our own, ChatML (``<|im_start|>``), else Vicuna's. An ``<image>``
    token is added behind the last one when it has none.

    Raises:
        BuildError: There is no such file, or it is no tokenizer, or it has no token that ends a turn.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise BuildError(
            str(path),
            "there is no tokenizer.json",
            "name a local folder that holds one, or leave `tokenizer` out to make one from the build's text",
        )
    try:
        fast = FastTokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare exceptions
        raise BuildError(
            str(file), f"this is no tokenizer ({error})", "save it with the `tokenizers` library"
        ) from None
    fast.no_padding()
    fast.no_truncation()
    if fast.token_to_id(IMAGE) is None:
        fast.add_special_tokens([AddedToken(IMAGE, special=True)])
    return Tokenizer(fast)


def _form_of(fast: FastTokenizer) -> tuple[str, str]:
    """Chat form and the token that ends a turn."""
    vocabulary: dict[str, Any] = fast.get_vocab(with_added_tokens=True)
    for form, marks, end in (
        ("plain", ("<user>", END), END),
        ("chatml", ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
        ("vicuna", ("<s>", "</s>"), "</s>"),
    ):
        if all(mark in vocabulary for mark in marks):
            return form, end
    raise BuildError(
        "tokenizer",
        "it has neither <|im_start|> and <|im_end|> nor <s> and </s>, so no turn of a chat could end",
        "use a tokenizer with one of these pairs, or leave `tokenizer` out to make one from the build's text",
    )


def _id_of(fast: FastTokenizer, token: str) -> int:
    token_id = fast.token_to_id(token)
    if token_id is None:
        raise BuildError("tokenizer", f"it has no token {token!r}", "make it again from the build's text")
    return int(token_id)
