"""A pack of samples as one `Batch`: places of visual tokens, shifted labels, uint8 images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch

from vldata.errors import BuildError
from vldata.images.problem import ImageProblem
from vldata.train.anyres import Layout, cut
from vldata.train.batch import IGNORED, Batch
from vldata.train.data import Encoded, Split
from vldata.train.pack import Pack
from vldata.train.tokenizer import Ids, Weights

Pixels = npt.NDArray[np.uint8]
"""(3, S, S) RGB."""


@dataclass(frozen=True, slots=True)
class ImageViews:
    """One image as the encoder reads it.

    Args:
        views: (V, 3, S, S) RGB: the whole, then its tiles if it has a layout.
        layout: What becomes of the tiles.
    """

    views: Pixels
    layout: Layout | None = None

    def tokens(self, per_view: int) -> int:
        """Visual tokens, when a view has ``per_view``."""
        return per_view if self.layout is None else self.layout.tokens(per_view)


CACHE_BYTES = 1 << 30
"""Of decoded images that are kept: a small build is decoded once, a large one as if there were no cache."""

_AHEAD = 3  # packs a worker decodes ahead; more only holds memory


class SplitImages:
    """The decoded images of a split, square, kept while there is room; safe to use from many threads.

    Args:
        side_px: Side of the square that they are resized to, as CLIP and SigLIP take them.
        layout: Of the only image of a sample, for tiles.
        blind: Replace each by its mean colour: the control that cannot see.
        cache_bytes: Kept at most.
    """

    def __init__(
        self,
        split: Split,
        side_px: int,
        layout: Callable[[int], Layout | None] = lambda index: None,
        *,
        blind: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.split, self.side_px, self.layout, self.blind = split, side_px, layout, blind
        self._kept: dict[tuple[int, int], ImageViews] = {}
        self._room = cache_bytes
        self._lock = Lock()

    def get(self, index: int, place: int) -> ImageViews:
        """An image of a row.

        Raises:
            BuildError: It cannot be read or decoded, or its size is not the one the build says; names the row.
        """
        key = (index, place)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None:
            return kept
        layout, row = self.layout(index), f"{self.split.name} {self.split.id(index)}"
        try:
            image = decoded(self.split.image(index, place), self.side_px, layout)
        except ImageProblem as problem:
            fix = "build with `images: {decode: true}`, which finds such images"
            raise BuildError(row, f"image {place} cannot be decoded ({problem})", fix) from None
        except ValueError as problem:
            fix = "`vldata verify` says whether the build is damaged"
            raise BuildError(row, f"image {place} {problem}", fix) from None
        if self.blind:
            views = image.views
            mean = views[0].reshape(3, -1).mean(axis=1).round().astype(np.uint8)
            blank = np.ascontiguousarray(np.broadcast_to(mean[:, None, None], views.shape))
            image = ImageViews(blank, layout)
        with self._lock:
            if image.views.nbytes <= self._room:
                self._room -= image.views.nbytes
                self._kept[key] = image
        return image


def decoded(data: bytes, side_px: int, layout: Layout | None = None) -> ImageViews:
    """An encoded image, upright: its aspect given up for the square, and its tiles if it has a layout.

    Raises:
        ImageProblem: It is no image, or a damaged one.
        ValueError: It is not of the layout's size.
    """
    from PIL import Image

    from vldata.images.pixels import decoded as opened

    image = opened(data).convert("RGB")
    square = image.resize((side_px, side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    views = np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))[None]
    if layout is None:
        return ImageViews(views)
    if image.size != (layout.width_px, layout.height_px):
        raise ValueError(f"is of {image.size} pixels, and the build says {(layout.width_px, layout.height_px)}")
    tiles = cut(np.asarray(image), layout.columns, layout.rows, side_px)
    return ImageViews(np.concatenate([views, tiles]), layout)


class Collator:
    """Makes batches of packs; holds no state that a batch depends on.

    Args:
        encoded: The split as tokens, weighed.
        sample_ids: (samples,) for messages.
        tokens_per_view: Visual tokens of an image, or of each of its tiles.
        pin: Make batches in page-locked memory.
    """

    def __init__(
        self,
        encoded: Encoded,
        images: SplitImages,
        sample_ids: Callable[[int], str],
        tokens_per_view: int,
        *,
        pin: bool = False,
    ) -> None:
        self.encoded, self.images, self.sample_ids = encoded, images, sample_ids
        self.tokens_per_view, self.pin = tokens_per_view, pin

    def __call__(self, pack: Pack) -> Batch:
        """The batch of a pack, in host memory.

        Raises:
            BuildError: An image cannot be read or decoded.
        """
        documents = [self.encoded.sample(index) for index in pack]
        images = [
            self.images.get(index, place) for index in pack for place in range(int(self.encoded.num_images[index]))
        ]
        names = [self.sample_ids(index) for index in pack]
        batch = joined(documents, images, names, self.encoded.image_id, self.tokens_per_view)
        return batch.pin_memory() if self.pin else batch

    def weight(self, pack: Pack) -> float:
        """Sum of the loss weights of a pack: what the loss of a step is divided by, known before any forward pass."""
        return float(self.encoded.supervised[list(pack)].sum())


def joined(
    documents: Sequence[tuple[Ids, Weights]],
    images: Sequence[ImageViews],
    names: Sequence[str],
    image_id: int,
    tokens_per_view: int,
) -> Batch:
    """Documents laid end to end as a batch.

    Args:
        documents: Tokens of each with one ``image_id`` an image, and their weights as targets.
        images: In the order of their places.
        names: One a document.
        image_id: The token that stands for an image.
        tokens_per_view: What a view becomes.
    """
    counts = np.array([image.tokens(tokens_per_view) for image in images], np.int64)
    places_of = [np.flatnonzero(short == image_id) for short, _ in documents]
    if sum(map(len, places_of)) != len(images):
        raise BuildError(
            ", ".join(names[:5]),
            f"{sum(map(len, places_of))} places for {len(images)} images",
            "`vldata verify` says whether the build is damaged",
        )
    ids, positions, labels, weights, lengths = [], [], [], [], []
    shown = 0
    for (short, learnt), places in zip(documents, places_of, strict=True):
        repeats = np.ones(len(short), np.int64)
        repeats[places] = counts[shown : shown + len(places)]
        shown += len(places)
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
    has_tiles = any(image.layout is not None for image in images)
    return Batch(
        ids=torch.from_numpy(flat),
        positions=torch.from_numpy(np.concatenate(positions).astype(np.int64)),
        cu_seqlens=torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32)),
        max_len=max(lengths),
        labels=torch.from_numpy(np.concatenate(labels)),
        weights=torch.from_numpy(np.concatenate(weights)),
        images=torch.from_numpy(np.concatenate([image.views for image in images])) if images else None,
        image_places=torch.from_numpy(np.flatnonzero(flat == image_id)),
        sample_ids=list(names),
        layouts=tuple(image.layout for image in images) if has_tiles else (),
    )


def batches(packs: Iterable[Pack], collate: Callable[[Pack], Batch], workers: int) -> Iterator[Batch]:
    """The batch of each pack in order, made ahead by threads (decoding holds no interpreter lock).

    Args:
        workers: Threads; 0 makes each batch when it is needed.
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
