"""A build as the trainer reads it: Arrow files mapped into memory, texts tokenised once, images decoded when needed.

Any folder that `datasets.save_to_disk` or `vldata build` wrote will do, as long as it has the columns of the finished
row (`vldata.schema.rows`): ``messages`` at least. Everything that can be wrong with a row is found here, before the
first step: a role that nobody speaks, images that do not match their places, weights that do not match the turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from vldata.errors import BuildError
from vldata.train.config import Weighting
from vldata.train.tokenizer import Ids, Tokenizer, Weights

Lengths = npt.NDArray[np.int64]

HELD_OUT = ("val", "validation", "test")
"""Splits to evaluate on, the first that a build has."""

_EMBED = "build with `output: {images: embed}`, or train where the images are"
_READ = ("id", "messages", "source", "task", "turns")
_ROLES = ("system", "user", "assistant")
_ROWS_AT_ONCE = 2048  # tokenised in one call of the library: enough to keep all cores busy, little to hold


@dataclass(frozen=True, slots=True)
class Turn:
    """What a build says of one answer of a sample, besides its text.

    Args:
        row: The native row it was made from.
        variant: The template's block: ``user``, ``flip_user``.
        has_boxes: Boxes are known for it.
    """

    row: str
    variant: str
    weight: float
    has_boxes: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished row without its pixels.

    Args:
        id: Repeats share it.
        messages: Role and contents; None is an image's place.
        turns: One for each message of the assistant's.
    """

    id: str
    messages: tuple[tuple[str, tuple[str | None, ...]], ...]
    turns: tuple[Turn, ...]
    source: str
    task: str
    num_images: int


class Split:
    """The rows of one split, by global index; each is read when it is needed.

    Args:
        folder: Holds ``state.json`` and the Arrow files that it lists.
        name: For messages.

    Raises:
        BuildError: It is no such folder, or its rows lack what the trainer needs.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        state = _json(folder / "state.json")
        files = [folder / entry["filename"] for entry in state.get("_data_files", [])]
        self.tables = [_mapped(file) for file in files]
        self._starts = np.cumsum([0, *(table.num_rows for table in self.tables)])
        self.fingerprint = str(state.get("_fingerprint", ""))
        for table in self.tables:
            _check_columns(table, folder)

    def __len__(self) -> int:
        """Rows."""
        return int(self._starts[-1])

    def samples(self) -> Iterator[Sample]:
        """All rows in order, without pixels.

        Raises:
            BuildError: A row whose images, places or weights do not match; names it.
        """
        for table in self.tables:
            columns = [name for name in _READ if name in table.column_names]
            counts = num_images(table)
            row = 0
            for batch in table.select(columns).to_batches(max_chunksize=_ROWS_AT_ONCE):
                for values in batch.to_pylist():
                    yield _sample(values, int(counts[row]))
                    row += 1

    def image(self, index: int, place: int) -> bytes:
        """The encoded bytes of an image of a row.

        Raises:
            BuildError: The row names a file that cannot be read.
        """
        table, row = self._at(index)
        image = table.column("images")[row][place].as_py()
        if image["bytes"] is not None:
            data: bytes = image["bytes"]
            return data
        try:
            return Path(image["path"] or "").read_bytes()
        except OSError as error:
            problem = f"its image {image['path']!r} cannot be read ({error.strerror})"
            raise BuildError(f"{self.name} {self.id(index)}", problem, _EMBED) from None

    def check_images(self) -> None:
        """Look whether every image outside of the build is there, before hours are spent.

        Raises:
            BuildError: Some are not; says how many and names the first.
        """
        outside: set[str] = set()
        for table in self.tables:
            if "images" in table.column_names:
                images = pc.list_flatten(table.column("images"))
                is_outside = pc.is_null(pc.struct_field(images, "bytes"))
                outside.update(map(str, pc.struct_field(images.filter(is_outside), "path").to_pylist()))
        gone = sorted(path for path in outside if not Path(path).is_file())
        if gone:
            problem = f"{len(gone)} of {len(outside)} images are not where the build says: {', '.join(gone[:3])}"
            raise BuildError(str(self.folder), problem, _EMBED)

    def id(self, index: int) -> str:
        """The id of a row."""
        table, row = self._at(index)
        return str(table.column("id")[row].as_py())

    def _at(self, index: int) -> tuple[pa.Table, int]:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.tables[file], index - int(self._starts[file])


@dataclass(frozen=True)
class Encoded:
    """All samples of a split as tokens, laid end to end; images still one token each.

    Args:
        ids: (n,) every sample's tokens.
        weights: (n,) loss weight of each token as a target; 0 is not learnt.
        starts: (samples + 1,) first token of each sample.
        num_images: (samples,) images of each.
        image_id: The token that stands for an image.
        fingerprint: Of the split's rows and the tokenizer: equal ones encode equally.
    """

    ids: Ids
    weights: Weights
    starts: Lengths
    num_images: Lengths
    image_id: int
    fingerprint: str

    def __len__(self) -> int:
        """Samples."""
        return len(self.num_images)

    def tokens(self, tokens_per_image: int | Lengths) -> Lengths:
        """(samples,) tokens of each with its images in full; ``tokens_per_image`` may differ from sample to sample."""
        return np.asarray(np.diff(self.starts) + self.num_images * (tokens_per_image - 1))

    @cached_property
    def supervised(self) -> npt.NDArray[np.float64]:
        """(samples,) sum of each one's loss weights."""
        sums = np.concatenate([[0.0], np.cumsum(self.weights, dtype=np.float64)])
        return np.asarray(sums[self.starts[1:]] - sums[self.starts[:-1]])

    @cached_property
    def num_supervised(self) -> Lengths:
        """(samples,) tokens of each that are learnt."""
        counts = np.concatenate([[0], np.cumsum(self.weights > 0)])
        return np.asarray(counts[self.starts[1:]] - counts[self.starts[:-1]])

    def weighed(self, weighting: Weighting) -> Encoded:
        """The same with each token's weight as the run counts it, by its sample's learnt tokens n; see `TrainCfg`."""
        if weighting == "token":
            return self
        n = np.maximum(1, self.num_supervised).astype(np.float64)
        scales = np.repeat(1 / n if weighting == "sample" else n**-0.5, np.diff(self.starts))
        return replace(self, weights=(self.weights * scales).astype(np.float32))

    def sample(self, index: int) -> tuple[Ids, Weights]:
        """Tokens and weights of one sample."""
        own = slice(int(self.starts[index]), int(self.starts[index + 1]))
        return self.ids[own], self.weights[own]


def splits(build: Path) -> dict[str, Split]:
    """The splits of a build; one without splits is all ``train``.

    Raises:
        BuildError: The folder is no build, or its rows are no conversations.
    """
    if (build / "dataset_dict.json").is_file():
        names = _json(build / "dataset_dict.json").get("splits", [])
        return {name: Split(build / name, name) for name in names}
    if (build / "state.json").is_file():
        return {"train": Split(build, "train")}
    raise BuildError(
        str(build),
        "this is no build: there is neither a dataset_dict.json nor a state.json",
        "give the folder that `vldata build --out` wrote",
    )


def encode(samples: Iterable[Sample], tokenizer: Tokenizer, fingerprint: str = "") -> Encoded:
    """Tokenise samples, text by text, and mark what is learnt.

    Args:
        samples: In the order of the split; read once.
        fingerprint: Of the rows.
    """
    ids: list[Ids] = []
    weights: list[Weights] = []
    num_images: list[int] = []
    remaining = iter(samples)
    while some := list(islice(remaining, _ROWS_AT_ONCE)):
        encoded = iter(tokenizer.encode_all(list(texts_of(some))))
        for sample in some:
            messages = [
                (role, [None if content is None else next(encoded) for content in contents])
                for role, contents in sample.messages
            ]
            own, learnt = tokenizer.conversation(messages, [turn.weight for turn in sample.turns])
            ids.append(own)
            weights.append(learnt)
            num_images.append(sample.num_images)
    flat = np.concatenate(ids) if ids else np.zeros(0, np.int32)
    learnt_flat = np.concatenate(weights) if weights else np.zeros(0, np.float32)
    digest = blake3(fingerprint.encode())
    digest.update(flat.tobytes())
    digest.update(learnt_flat.tobytes())
    return Encoded(
        ids=flat,
        weights=learnt_flat,
        starts=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        num_images=np.array(num_images, np.int64),
        image_id=tokenizer.image_id,
        fingerprint=digest.hexdigest(length=16),
    )


def texts_of(samples: Iterable[Sample]) -> Iterator[str]:
    """Every text of every message, in order: what a tokenizer is made from."""
    for sample in samples:
        for _, contents in sample.messages:
            yield from (content for content in contents if content is not None)


def _sample(row: dict[str, Any], num_images: int) -> Sample:
    name = str(row.get("id") or "?")
    messages = tuple(
        (
            str(message["role"]),
            tuple(None if part["type"] == "image" else str(part["text"] or "") for part in message["content"]),
        )
        for message in row["messages"]
    )
    unknown = sorted({role for role, _ in messages} - set(_ROLES))
    if unknown:
        raise BuildError(f"row {name}", f"there is no role {unknown[0]!r}", f"use {', '.join(_ROLES)}")
    places = sum(content is None for _, contents in messages for content in contents)
    if places != num_images:
        raise BuildError(
            f"row {name}",
            f"its messages have places for {places} images and it holds {num_images}",
            "give each image one content part of type image; `vldata verify` says whether the build is damaged",
        )
    answers = sum(role == "assistant" for role, _ in messages)
    described = row.get("turns") or []
    if described and len(described) != answers:
        raise BuildError(
            f"row {name}",
            f"{len(described)} turns are described and the assistant speaks {answers} times",
            "write one entry of `turns` for each answer, or none at all",
        )
    turns = tuple(
        Turn(
            str(turn.get("row") or ""),
            str(turn.get("variant") or ""),
            1.0 if turn.get("weight") is None else float(turn["weight"]),
            bool(turn.get("boxes")),
        )
        for turn in described or [{}] * answers
    )
    return Sample(name, messages, turns, str(row.get("source") or ""), str(row.get("task") or ""), num_images)


def num_images(table: pa.Table) -> Lengths:
    """(rows,) images of each, from the list offsets alone: no image is touched."""
    if "images" not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    lengths = pc.fill_null(pc.list_value_length(table.column("images")), 0)
    return np.asarray(lengths.to_numpy(), np.int64)


def _mapped(file: Path) -> pa.Table:
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        fix = "`vldata verify` names what is damaged; build it again"
        raise BuildError(str(file), f"it cannot be read ({error})", fix) from None


def _check_columns(table: pa.Table, folder: Path) -> None:
    if "messages" not in table.column_names:
        raise BuildError(
            str(folder),
            f"its rows have no `messages`, only {', '.join(table.column_names)}: the trainer learns the answers of "
            "conversations and no other objective",
            "build conversations, or train this with another trainer",
        )


def _json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise BuildError(str(file), f"it cannot be read ({error})", "build the dataset again") from None
    return content
