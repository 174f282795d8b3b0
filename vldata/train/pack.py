"""Which samples stand together in which pack of which step: a pure function of lengths, seed and epoch.

    samples ─ keyed order ─▶ windows ─ best fit ─▶ packs ─ keyed order ─▶ steps ─ by cost ─▶ ranks

The world size and the number of workers come in at the last arrow alone, so they change neither what a step holds nor
in which order steps come. Resuming at step k is asking for step k: there is no loader whose state could be lost.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vldata.schema.keyed import keyed
from vldata.train.data import Lengths

WINDOW = 16_384
"""Samples that are packed together. Packs of conversations are then over 99 % full; of captions that are all nearly as
long as each other, 97.8 %. A window ends with a few half-empty packs, so a quarter of this loses up to 1 % more."""

Pack = tuple[int, ...]
"""Global indices of the samples of one micro-batch."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one pack may hold.

    Args:
        tokens: Visual ones included.
        images: Encoded at once.
    """

    tokens: int
    images: int


def too_large(tokens: Lengths, images: Lengths, limits: Limits) -> list[int]:
    """Samples that fit in no pack, ascending."""
    return [int(index) for index in np.flatnonzero((tokens > limits.tokens) | (images > limits.images))]


def epoch_steps(
    tokens: Lengths,
    images: Lengths,
    limits: Limits,
    packs_per_step: int,
    *,
    seed: int,
    epoch: int,
    fingerprint: str,
    without: Sequence[int] = (),
) -> list[tuple[Pack, ...]]:
    """The steps of one epoch; every sample is in one pack, except those left out by name.

    Args:
        tokens: (samples,) tokens of each, visual ones included.
        images: (samples,) images of each.
        packs_per_step: Packs of one step, over all ranks; the last step may have fewer.
        epoch: Counted from 0.
        fingerprint: Of the encoded samples.
        without: Samples that fit in no pack, from `too_large`.
    """
    chosen = np.setdiff1d(np.arange(len(tokens)), np.asarray(without, np.int64))
    ranks = keyed(chosen.astype(np.uint64), seed, f"epoch {epoch}", fingerprint)
    order = chosen[np.argsort(ranks, kind="stable")]
    packs: list[Pack] = []
    for first in range(0, len(order), WINDOW):
        packs += _best_fit(order[first : first + WINDOW], tokens, images, limits)
    shuffled = keyed(np.arange(len(packs), dtype=np.uint64), seed, f"packs {epoch}", fingerprint)
    packs = [packs[place] for place in np.argsort(shuffled, kind="stable")]
    return [tuple(packs[first : first + packs_per_step]) for first in range(0, len(packs), packs_per_step)]


def deal(packs: Sequence[Pack], costs: Sequence[float], world: int) -> list[list[int]]:
    """Which packs of a step each rank takes: the dearest first, each to the rank with the least to do so far.

    Args:
        costs: Of each, in any unit.
        world: Ranks; some get nothing when there are fewer packs.

    Returns:
        For each rank the places of its packs, ascending.
    """
    load = [0.0] * world
    taken: list[list[int]] = [[] for _ in range(world)]
    for place in sorted(range(len(packs)), key=lambda place: (-costs[place], place)):
        rank = min(range(world), key=lambda rank: (load[rank], rank))
        load[rank] += costs[place]
        taken[rank].append(place)
    return [sorted(places) for places in taken]


def _best_fit(order: Lengths, tokens: Lengths, images: Lengths, limits: Limits) -> list[Pack]:
    """Best fit: each sample, in the order given, into the fullest pack that still takes it.

    Not longest first, which fills packs a little better and each with samples of one length, so of one task: a step of
    few packs would then pull the weights towards one task and the next towards another.
    """
    # (tokens left, pack), ascending; packs without room for an image are apart, so that no image is tried on them
    room: list[tuple[int, int]] = []
    room_for_text: list[tuple[int, int]] = []
    images_left: list[int] = []
    packs: list[list[int]] = []
    for index in order.tolist():
        size, num_images = int(tokens[index]), int(images[index])
        place = bisect.bisect_left(room, (size, -1))
        while place < len(room) and images_left[room[place][1]] < num_images:
            place += 1
        fullest = room[place : place + 1]
        if num_images == 0:
            beside = bisect.bisect_left(room_for_text, (size, -1))
            if beside < len(room_for_text) and (not fullest or room_for_text[beside] < fullest[0]):
                fullest, place = [room_for_text.pop(beside)], -1
        if not fullest:
            pack, left = len(packs), limits.tokens
            packs.append([])
            images_left.append(limits.images)
        else:
            left, pack = fullest[0] if place < 0 else room.pop(place)
        packs[pack].append(index)
        images_left[pack] -= num_images
        if left > size:
            bisect.insort(room if images_left[pack] else room_for_text, (left - size, pack))
    return [tuple(pack) for pack in packs]
