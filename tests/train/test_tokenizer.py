from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as FastTokenizer

from vldata.errors import BuildError
from vldata.train import tokenizer as made

TEXTS = ["What color is the star?", "red", "Is it red? yes", "[0.27, 0.04, 0.46, 0.81]", "a red star\nand a café 🐝"]


def chat(form: made.Tokenizer, *texts: str | None) -> list[tuple[str, list[list[int] | None]]]:
    """User and assistant by turns; the user's first content is an image."""
    said = [form.encode(text) if text is not None else None for text in texts]
    return [("user", [None, said[0]]), ("assistant", [said[1]]), ("user", [said[2]]), ("assistant", [said[3]])]


@pytest.mark.parametrize("text", [*TEXTS, "", " ", "a  b\t\n\n c ", "<image> <end>", "１２ ½ ٣", "\x00é́"])
def test_decoding_gives_every_text_back(text: str) -> None:
    form = made.from_texts(TEXTS)
    assert form.decode(form.encode(text)) == text


def test_a_digit_is_a_token_so_that_near_numbers_share_tokens() -> None:
    form = made.from_texts(TEXTS * 20)
    near, other = form.encode("0.44"), form.encode("0.45")
    assert len(near) == 4 and near[:3] == other[:3] and near[3] != other[3]


def test_the_same_texts_make_the_same_tokenizer(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made.from_texts(TEXTS * 3).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_special_tokens_in_a_text_are_plain_characters() -> None:
    form = made.from_texts(TEXTS)
    specials = {form.image_id, form.end_id, *form.frames["assistant"].before}
    assert not specials & set(form.encode("<image><end><assistant>"))


def test_a_saved_tokenizer_is_the_same_when_loaded(tmp_path: Path) -> None:
    form = made.from_texts(TEXTS)
    form.save(tmp_path / "tokenizer.json")
    loaded = made.load(tmp_path)
    assert loaded.encode("Is <end> it a café?") == form.encode("Is <end> it a café?")
    assert (loaded.size, loaded.image_id, loaded.frames) == (form.size, form.image_id, form.frames)


def test_the_mask_covers_the_assistants_text_and_its_end_alone() -> None:
    form = made.from_texts(TEXTS)
    ids, weights = form.conversation(chat(form, "Is it red?", "yes", "color?", "red"), [1.0, 0.5])
    user, assistant = form.frames["user"].before, form.frames["assistant"].before
    end = form.end_id
    yes, red = form.encode("yes"), form.encode("red")
    first = [*user, form.image_id, *form.encode("Is it red?"), end, *assistant]
    second = [*user, *form.encode("color?"), end, *assistant]
    assert ids.tolist() == [*first, *yes, end, *second, *red, end]
    expected = [0.0] * len(first) + [1.0] * (len(yes) + 1) + [0.0] * len(second) + [0.5] * (len(red) + 1)
    assert weights.tolist() == expected
    assert form.decode(ids[weights == 1.0]) == "yes" and form.decode(ids[weights == 0.5]) == "red"


def foreign(tmp_path: Path, specials: list[str]) -> Path:
    """A byte-level tokenizer as a language model's folder would hold it."""
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    fast.train_from_iterator(TEXTS, trainer)
    fast.add_special_tokens([AddedToken(name, special=True) for name in specials])
    fast.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_chatml_learns_the_answer_and_the_end_of_the_turn_but_no_frame(tmp_path: Path) -> None:
    form = made.load(foreign(tmp_path, ["<|im_start|>", "<|im_end|>"]))
    ids, weights = form.conversation(chat(form, "Is it red?", "yes", "color?", "red"), [1.0, 1.0])
    assert form.form == "chatml"
    assert form.fast.decode(ids.tolist(), skip_special_tokens=False) == (
        "<|im_start|>user\n<image>Is it red?<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
        "<|im_start|>user\ncolor?<|im_end|>\n<|im_start|>assistant\nred<|im_end|>\n"
    )
    assert form.fast.decode(ids[weights > 0].tolist(), skip_special_tokens=False) == "yes<|im_end|>red<|im_end|>"


def test_vicuna_starts_once_and_ends_each_answer(tmp_path: Path) -> None:
    form = made.load(foreign(tmp_path, ["<s>", "</s>"]))
    ids, weights = form.conversation(chat(form, "Is it red?", "yes", "color?", "red"), [1.0, 1.0])
    assert form.fast.decode(ids.tolist(), skip_special_tokens=False) == (
        "<s>USER:<image>Is it red?ASSISTANT:yes</s>USER:color?ASSISTANT:red</s>"
    )
    assert form.fast.decode(ids[weights > 0].tolist(), skip_special_tokens=False) == "yes</s>red</s>"


def test_an_image_token_is_added_behind_the_last_one(tmp_path: Path) -> None:
    form = made.load(foreign(tmp_path, ["<s>", "</s>"]))
    assert form.image_id == form.size - 1


def test_a_missing_tokenizer_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"there is no tokenizer\.json"):
        made.load(tmp_path)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BuildError, match="this is no tokenizer"):
        made.load(tmp_path)


def test_a_tokenizer_that_cannot_end_a_turn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no turn of a chat could end"):
        made.load(foreign(tmp_path, []))


def test_weights_are_those_of_the_turns_in_order() -> None:
    form = made.from_texts(TEXTS)
    _, weights = form.conversation([("assistant", [form.encode("a")]), ("assistant", [form.encode("b")])], [2.0, 0.0])
    assert sorted(set(np.unique(weights))) == [0.0, 2.0] and (weights == 2.0).sum() == 2
