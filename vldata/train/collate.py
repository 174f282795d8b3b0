"""A pack of samples as one `Batch`: places of visual tokens, shifted labels, uint8 pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch

from vldata.errors import BuildError
from vldata.images.problem import ImageProblem
from vldata.train.batch import IGNORED, Batch
from vldata.train.config import Weighting
from vldata.train.data import Encoded, Split
from vldata.train.pack import Pack
from vldata.train.tokenizer import Ids, Weights

Pixels = npt.NDArray[np.uint8]
"""(3, S, S) RGB."""

CACHE_BYTES = 1 << 30
"""Decoded pictures that are kept: a small build is decoded once, a large one as if there were no cache."""

_AHEAD = 3  # packs a worker decodes ahead; more only holds memory


class Pictures:
    """The decoded pictures of a split, square, kept while there is room; safe to use from many threads.

    Args:
        split: Where the bytes are.
        side_px: Side of the square that they are resized to, as CLIP and SigLIP take them.
        blind: Replace each by its mean colour: the control that cannot see.
    """

    def __init__(self, split: Split, side_px: int, *, blind: bool = False) -> None:
        self.split, self.side_px, self.blind = split, side_px, blind
        self._kept: dict[tuple[int, int], Pixels] = {}
        self._room = CACHE_BYTES // (3 * side_px * side_px)
        self._lock = Lock()

    def get(self, index: int, place: int) -> Pixels:
        """The pixels of an image of a row.

        Raises:
            BuildError: It cannot be read or decoded; names the row.
        """
        key = (index, place)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None:
            return kept
        try:
            pixels = decoded(self.split.image(index, place), self.side_px)
        except ImageProblem as problem:
            row = f"{self.split.name} {self.split.id(index)}"
            fix = "build with `images: {decode: true}`, which finds such pictures"
            raise BuildError(row, f"image {place} cannot be decoded ({problem})", fix) from None
        if self.blind:
            mean = pixels.reshape(3, -1).mean(axis=1).round().astype(np.uint8)
            pixels = np.ascontiguousarray(np.broadcast_to(mean[:, None, None], pixels.shape))
        with self._lock:
            if len(self._kept) < self._room:
                self._kept[key] = pixels
        return pixels


def decoded(data: bytes, side_px: int) -> Pixels:
    """An encoded image as (3, S, S) RGB, upright, its aspect given up for the square.

    Raises:
        ImageProblem: It is no image, or a damaged one.
    """
    from PIL import Image

    from vldata.images.pixels import decoded as opened

    image = opened(data)
    square = image.convert("RGB").resize((side_px, side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


class Collator:
    """Makes batches of packs; holds no state that a batch depends on.

    Args:
        encoded: The split as tokens.
        pictures: The split's pictures.
        sample_ids: (samples,) for messages.
        tokens_per_image: Visual tokens that stand for one image.
        weighting: What a supervised token counts.
        pin: Make batches in page-locked memory.
    """

    def __init__(
        self,
        encoded: Encoded,
        pictures: Pictures,
        sample_ids: Callable[[int], str],
        tokens_per_image: int,
        weighting: Weighting = "token",
        *,
        pin: bool = False,
    ) -> None:
        self.encoded, self.pictures, self.sample_ids = encoded, pictures, sample_ids
        self.tokens_per_image, self.weighting, self.pin = tokens_per_image, weighting, pin

    def __call__(self, pack: Pack) -> Batch:
        """The batch of a pack, in host memory.

        Raises:
            BuildError: An image cannot be read or decoded.
        """
        documents = [self.encoded.sample(index) for index in pack]
        images = [
            self.pictures.get(index, place) for index in pack for place in range(int(self.encoded.num_images[index]))
        ]
        scales = [self._scale(index) for index in pack]
        names = [self.sample_ids(index) for index in pack]
        weighed = [(ids, weights * scale) for (ids, weights), scale in zip(documents, scales, strict=True)]
        batch = joined(weighed, images, names, self.encoded.image_id, self.tokens_per_image)
        return batch.pin_memory() if self.pin else batch

    def weight(self, pack: Pack) -> float:
        """Sum of the loss weights of a pack: what the loss of a step is divided by, known before any forward pass."""
        return float(sum(self.encoded.supervised[index] * self._scale(index) for index in pack))

    def _scale(self, index: int) -> float:
        n = int(self.encoded.num_supervised[index])
        if self.weighting == "token" or n == 0:
            return 1.0
        return 1.0 / n if self.weighting == "sample" else float(n**-0.5)


def joined(
    documents: Sequence[tuple[Ids, Weights]],
    images: Sequence[Pixels],
    names: Sequence[str],
    image_id: int,
    tokens_per_image: int,
) -> Batch:
    """Documents laid end to end as a batch.

    Args:
        documents: Tokens of each with one ``image_id`` an image, and their weights as targets.
        images: In the order of their places.
        names: One a document.
        image_id: The token that stands for an image.
        tokens_per_image: What it becomes.
    """
    ids, positions, labels, weights, lengths = [], [], [], [], []
    for short, learnt in documents:
        repeats = np.where(short == image_id, tokens_per_image, 1)
        full = np.repeat(short, repeats)
        target = np.repeat(learnt, repeats)
        label = np.full(len(full), IGNORED, np.int64)  # of the place before each learnt token
        weight = np.zeros(len(full), np.float32)
        learns = target[1:] > 0
        label[:-1][learns] = full[1:][learns]
        weight[:-1][learns] = target[1:][learns]
        ids.append(full)
        positions.append(np.arange(len(full)))
        labels.append(label)
        weights.append(weight)
        lengths.append(len(full))
    flat = np.concatenate(ids).astype(np.int64)
    places = np.flatnonzero(flat == image_id)
    if len(places) != len(images) * tokens_per_image:
        raise BuildError(
            ", ".join(names[:5]),
            f"{len(places) // tokens_per_image} places for {len(images)} images",
            "`vldata verify` says whether the build is damaged",
        )
    return Batch(
        ids=torch.from_numpy(flat),
        positions=torch.from_numpy(np.concatenate(positions).astype(np.int64)),
        cu_seqlens=torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32)),
        max_len=max(lengths),
        labels=torch.from_numpy(np.concatenate(labels)),
        weights=torch.from_numpy(np.concatenate(weights)),
        images=torch.from_numpy(np.stack(images)) if images else None,
        image_places=torch.from_numpy(places),
        sample_ids=list(names),
    )


def batches(packs: Iterable[Pack], collate: Callable[[Pack], Batch], workers: int) -> Iterator[Batch]:
    """The batch of each pack in order, made ahead by threads (decoding holds no interpreter lock).

    Args:
        packs: In order.
        collate: Makes one.
        workers: Threads; 0 makes each batch when it is asked for.
    """
    if workers == 0:
        yield from map(collate, packs)
        return
    remaining = iter(packs)
    with ThreadPoolExecutor(workers, thread_name_prefix="collate") as pool:
        ahead: list[Future[Batch]] = []
        try:
            for _, pack in zip(range(workers * _AHEAD), remaining, strict=False):
                ahead.append(pool.submit(collate, pack))
            while ahead:
                ready = ahead.pop(0).result()
                for pack in remaining:
                    ahead.append(pool.submit(collate, pack))
                    break
                yield ready
        finally:
            for future in ahead:
                future.cancel()
