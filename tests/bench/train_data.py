"""A LLaVA-like training set made here: text lengths log-normal, one sample in eight without an image, JPEG photographs.

Two kinds. ``instruct`` is LLaVA-1.5's second stage: conversations of 60 words in the median and about 600 at the 95th
percentile. ``captions`` is its first: every sample an image and one caption of about 30 words. Words are drawn by Zipf
from 800 syllable words, of which a tokenizer made from the text makes one token each, nearly. Nothing here is a
project's build; it is the plain `datasets` folder that the trainer reads just as well.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset, disable_progress_bars
from PIL import Image

Kind = Literal["instruct", "captions"]

TEXT_ONLY = 0.125
"""Share of conversations without an image; LLaVA's 665K has 6 %, Honeybee's mixture 3 %, others up to a fifth."""

MEDIAN_WORDS, SIGMA = 60.0, 1.4  # exp(1.645 * 1.4) = 10: the 95th percentile is ten times the median
CAPTION_WORDS, CAPTION_SIGMA = 27.0, 0.35
WORDS_A_TURN = 60
ASKED = 0.4
"""Share of a conversation's words that the user says."""

_POOL = 64  # different pictures: each is decoded for every row that shows it


def make(folder: Path, kind: Kind, rows: int, most_words: int, width_px: int, seed: int = 0) -> Path:
    """Write the set, unless it is there.

    Args:
        folder: Of all sets.
        kind: See above.
        rows: Samples.
        most_words: A longer conversation is cut to it.
        width_px: Of the pictures; they are three quarters as high.
        seed: Of everything.
    """
    path = folder / f"{kind}-{rows}-{most_words}-{width_px}-{seed}"
    if not path.is_dir():
        disable_progress_bars()
        rng = np.random.default_rng(seed)
        pictures, words = _pictures(width_px, rng), _words(rng)
        Dataset.from_list([_row(n, kind, most_words, pictures, words, rng) for n in range(rows)]).save_to_disk(path)
    return path


def _row(
    number: int, kind: Kind, most_words: int, pictures: list[bytes], words: list[str], rng: np.random.Generator
) -> dict[str, Any]:
    if kind == "captions":
        has_image, total, turns = True, rng.lognormal(np.log(CAPTION_WORDS), CAPTION_SIGMA), 1
        asked = 0.0
    else:
        has_image, total = rng.random() >= TEXT_ONLY, rng.lognormal(np.log(MEDIAN_WORDS), SIGMA)
        turns, asked = 1 + int(rng.poisson(min(total, most_words) / WORDS_A_TURN)), ASKED
    total = max(2.0 * turns, min(total, most_words))
    messages = []
    for turn in range(turns):
        question = [{"type": "text", "text": _said(asked * total / turns, words, rng)}] if asked else []
        image = [{"type": "image", "text": None}] if has_image and turn == 0 else []
        answer = [{"type": "text", "text": _said((1 - asked) * total / turns, words, rng)}]
        messages += [{"role": "user", "content": image + question}, {"role": "assistant", "content": answer}]
    shown = [{"bytes": pictures[int(rng.integers(len(pictures)))], "path": None}] if has_image else []
    return {"id": f"made/{number}", "images": shown, "messages": messages, "source": "made", "task": kind}


def _said(count: float, words: list[str], rng: np.random.Generator) -> str:
    ranks = np.minimum(rng.zipf(1.3, max(1, round(count))), len(words)) - 1
    return " ".join(words[rank] for rank in ranks)


def _words(rng: np.random.Generator) -> list[str]:
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    return ["".join(rng.choice(syllables, 2 + rank % 2)) for rank in range(800)]


def _pictures(width_px: int, rng: np.random.Generator) -> list[bytes]:
    """JPEGs of a photograph's size: 640 x 480 of these are about 65 KB."""
    found, size = [], (width_px, width_px * 3 // 4)
    for _ in range(_POOL):
        coarse = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float64)
        noisy = np.clip(smooth + rng.normal(0, 16, (size[1], size[0], 1)), 0, 255).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(noisy).save(data, "JPEG", quality=55)
        found.append(data.getvalue())
    return found
