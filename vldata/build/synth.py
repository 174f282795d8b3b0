"""Synthetic sources: what other sources say about a picture -> samples, requests, and the turns of the answers.

A build sends nothing. It takes the answers that `vldata synth run` has put into the answer store, parses and checks
them anew, and treats what is kept as turns like any others; a sample without an answer is ``not_generated``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from blake3 import blake3

from vldata import __version__
from vldata.build.curate import Screened, ScreenJob, screen
from vldata.build.engines import Engine
from vldata.build.index import Indexed, index
from vldata.build.lookup import Lookup, place_of
from vldata.build.progress import Progress, Silent
from vldata.build.standins import in_place_of_synth
from vldata.codecs import codec
from vldata.curate.exclude import ExclusionList
from vldata.errors import BuildError, VldataError
from vldata.images.pixels import resized
from vldata.images.references import ImageReader
from vldata.recipe.models import Entry, Recipe
from vldata.schema.boxes import Box, padded_square
from vldata.schema.keyed import keyed, string_keys
from vldata.schema.turns import BOX, COMMON
from vldata.store.keys import key_of
from vldata.store.store import Store
from vldata.synth.answers import Answers, open_answers
from vldata.synth.exchange import Exchange, Link, linked_regions, with_boxes
from vldata.synth.generate import Draw, Generated, generate, load_kinds, wanted
from vldata.synth.inputs import PARTS, Inputs, Reading, Region
from vldata.synth.kinds import Kind
from vldata.synth.models import Synth
from vldata.synth.request import Request, image_part

GENERATED_VERSION = 1

COLUMNS = {
    "instruction": ("instruction", "response"),
    "text_instruction": ("instruction", "response"),
    "vqa_open": ("question", "answer"),
    "caption": (None, "caption"),
    "rec": ("phrase", None),
}
"""Task -> the columns for the question and the answer of an exchange; boxes that are the answer have their own."""

_FIELDS = {"question": "question", "answer": "answer", "instruction": "question", "response": "answer"}
_NUMBERS_ITS_CHOICES = "vqa_mc"


@dataclass(frozen=True)
class Sample:
    """What is known of one picture or text, and where it came from.

    Args:
        inputs: For the kind.
        images: References, as in the turns of its sources.
        sizes: Of the images, pixels; None when unknown.
    """

    inputs: Inputs
    images: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int] | None, ...] = ()


@dataclass(frozen=True)
class Asking:
    """A synthetic source, ready to be asked about.

    Args:
        entry: The source.
        kind: What is made.
        judge: Who chooses; None when nobody does.
        samples: In keyed order, as many as the recipe wants.
        references: Hash of a picture -> its reference.
        root: Where the pictures lie.
    """

    entry: Entry
    kind: Kind
    judge: Kind | None
    samples: tuple[Sample, ...]
    references: Mapping[str, str] = field(repr=False)
    root: str | None = None

    @property
    def spec(self) -> Synth:
        """What the recipe says about it."""
        assert self.entry.synth is not None
        return self.entry.synth

    def generated(self, answers: Answers) -> Generated:
        """What the answers that are there become."""
        inputs = (sample.inputs for sample in self.samples)
        return generate(inputs, self.kind, self.spec, answers, self.judge)

    def wanted(self, answers: Answers) -> Iterator[Request]:
        """The requests whose answers are wanting, one after the other."""
        inputs = (sample.inputs for sample in self.samples)
        return wanted(inputs, self.kind, self.spec, answers, self.judge)

    def picture(self, part: Mapping[str, Any]) -> bytes:
        """The bytes that an image part of a request stands for.

        Raises:
            VldataError: The picture has changed or gone since it was looked at.
        """
        reference = self.references.get(str(part["hash"]))
        if reference is None:
            fix = "run `vldata synth plan` again: its file has changed"
            raise BuildError(self.entry.where, f"no picture has the hash {part['hash']}", fix)
        data = ImageReader(self.root).read(reference)
        return resized(data, int(part["max_side_px"]))[0] if part.get("max_side_px") else data


def default_answers() -> Path:
    """``$VLDATA_ANSWERS``, else ``.vldata/answers`` in the working directory."""
    return Path(os.environ.get("VLDATA_ANSWERS") or ".vldata/answers")


def asking(recipe: Recipe, name: str, store: Store, progress: Progress | None = None) -> Asking:
    """Read what a synthetic source is made from.

    Raises:
        VldataError: A source that it is made from cannot be read.
    """
    entry = recipe.entries[name]
    assert entry.synth is not None
    kind, judge = load_kinds(entry.synth, f"{entry.where}.synth")
    made_from = [recipe.entries[other] for other in entry.synth.from_]
    turns = [_turns(recipe, other, store) for other in made_from]
    lookup = Lookup(recipe, store, progress or Silent(), Engine(1))
    references = pl.concat([table["images"].explode().drop_nulls() for table in turns]).unique(maintain_order=True)
    facts = lookup.look(made_from[0])(references.to_list())
    lookup.remember_seen()
    seen = {row["ref"]: row for row in facts.iter_rows(named=True) if row["problem"] is None}
    found = _samples(made_from, turns, seen, kind, entry)
    ranks = keyed(string_keys([sample.inputs.row for sample in found]), recipe.head.seed, "synth", name)
    ordered = [sample for _, _, sample in sorted(zip(ranks.tolist(), range(len(found)), found, strict=True))]
    hashes = {row["hash"]: ref for ref, row in seen.items()}
    return Asking(entry, kind, judge, tuple(ordered[: entry.synth.total]), hashes, place_of(made_from[0]).root)


def with_synth(
    recipe: Recipe,
    store: Store,
    *,
    answers: Path | None = None,
    standin: int | None = None,
    progress: Progress | None = None,
) -> Recipe:
    """The recipe with what models wrote as files of turns in the store.

    Args:
        recipe: With its other sources ready to be read.
        store: Where the files go.
        answers: The answer store's folder.
        standin: The recipe is only tried: a synthetic source without any answer is a stand-in of so many turns.
        progress: Who watches.

    Raises:
        VldataError: A source that one is made from cannot be read, or the answer store cannot.
    """
    names = [name for name, entry in recipe.entries.items() if entry.synth is not None]
    if not names:
        return recipe
    folder = answers or default_answers()
    told = (progress or Silent()).stage("read answers", len(names))
    entries = dict(recipe.entries)
    with opened(folder) as known:
        for name in names:
            ask = asking(recipe, name, store, progress)
            path = _file_of(ask, known, folder, store)
            if (
                standin is not None
                and not pl.scan_parquet(path).filter(pl.col("problem").is_null()).head(1).collect().height
            ):
                entries[name] = in_place_of_synth(ask.entry, store, rows=standin, seed=recipe.head.seed)
            else:
                source = ask.entry.source.model_copy(update={"path": str(path), "image_root": ask.root})
                entries[name] = replace(ask.entry, source=source)
            told(1)
    return replace(recipe, entries=entries)


def opened(folder: Path) -> AbstractContextManager[Any]:
    """The answer store for reading; one that does not exist yet has no answers."""
    return open_answers(folder, read_only=True) if (folder / "VERSION").is_file() else nullcontext(_NoAnswers())


class _NoAnswers:
    """Nothing has been asked yet."""

    def get(self, asked: object) -> None:
        """None."""

    def failure(self, key: str) -> None:
        """None."""


def _file_of(ask: Asking, answers: Answers, folder: Path, store: Store) -> Path:
    """The turns, made anew unless samples, kind, answers and all else that decides them are what they were."""
    settings = ask.entry.settings
    key = key_of(
        {
            "what": "generated",
            "versions": [__version__, GENERATED_VERSION],
            "synth": ask.spec.model_dump(mode="json", by_alias=True),
            "kinds": [kind.digest for kind in (ask.kind, ask.judge) if kind is not None],
            "boxes": [settings.box_format, settings.reference],
            "samples": blake3(msgspec.json.encode([_plain(sample) for sample in ask.samples])).hexdigest(length=16),
            "answers": sorted([path.name, path.stat().st_size] for path in folder.glob("*.answers")),
        }
    )
    if not store.has("generated", key, ".parquet"):
        table = turns_of(ask, ask.generated(answers).draws)
        with store.write("generated", key, ".parquet") as path:
            table.write_parquet(path)
    return store.path("generated", key, ".parquet")


def _has_turns(path: Path) -> bool:
    return bool(pl.read_parquet(path, columns=["problem"])["problem"].null_count())


def _plain(sample: Sample) -> tuple[Any, ...]:
    known = sample.inputs
    told = (known.row, known.captions, known.boxes, known.ocr, sorted(known.fields.items()))
    return (*told, [sorted(part.items()) for part in known.images], sample.images, sample.sizes)


def turns_of(ask: Asking, draws: Iterable[Draw]) -> pl.DataFrame:
    """Canonical columns of everything that was generated, and a row with its reason for every draw that gives none."""
    asked, answered = COLUMNS[ask.entry.task.name]
    samples = {sample.inputs.row: sample for sample in ask.samples}
    rows: list[dict[str, Any]] = []
    for draw in draws:
        sample = samples[draw.inputs.row]
        sizes = [{"width": size[0], "height": size[1]} for size in sample.sizes if size is not None]
        head = {
            "images": list(sample.images),
            "image_sizes": sizes if sizes and len(sizes) == len(sample.images) else None,
            "generator": f"{ask.kind.lineage} {draw.requests[-1].key}" if draw.requests else None,
        }
        if not draw.kept:
            rows.append({**head, "row": draw.row, "problem": draw.problem, "detail": draw.detail})
            continue
        for position, place in enumerate(draw.kept):
            exchange = draw.exchanges[place]
            texts = zip((asked, answered), _texts(exchange, sample, ask.entry), strict=True)
            words: dict[str, Any] = {column: text for column, text in texts if column is not None}
            if answered is None:
                words["boxes"] = [region._asdict() | {"image": 0} for region in _regions(exchange, sample)]
            many = len(draw.kept) > 1
            place_in = {"thread": draw.row, "position": position} if asked == "instruction" else {}
            rows.append({**head, **words, **place_in, "row": f"{draw.row}/{position + 1}" if many else draw.row})
    schema = {**COMMON, **{column: pl.String for column in (asked, answered) if column}}
    return pl.DataFrame(rows, schema=schema if answered else {**schema, "boxes": pl.List(BOX)})


def _regions(exchange: Exchange, sample: Sample) -> list[Region]:
    """The boxes that an answer means, each with the question as its phrase."""
    found = linked_regions(exchange.answer_links, sample.inputs)
    return [region._replace(phrase=exchange.question) for region in found]


def _texts(exchange: Exchange, sample: Sample, entry: Entry) -> tuple[str, str]:
    """Question and answer, with boxes behind linked phrases in the recipe's codec and frame."""
    if not (exchange.question_links or exchange.answer_links):
        return exchange.question, exchange.answer
    inputs = sample.inputs
    if entry.settings.reference == "padded_square" and sample.sizes and sample.sizes[0] is not None:
        width, height = sample.sizes[0]
        boxes = tuple(Region(r.phrase, *padded_square(r.box, width, height)) for r in inputs.boxes)
        inputs = replace(inputs, boxes=boxes)
    box_format = codec(entry.settings.box_format)

    def written(text: str, links: tuple[Link, ...]) -> str:
        return with_boxes(text, links, inputs, box_format)

    return written(exchange.question, exchange.question_links), written(exchange.answer, exchange.answer_links)


def _turns(recipe: Recipe, entry: Entry, store: Store) -> pl.DataFrame:
    """The usable turns of a source, in the order of their rows: a number before a longer one."""
    found = index(entry, store)
    if isinstance(found, VldataError):
        raise found
    assert isinstance(found, Indexed)
    exclude = ExclusionList.read(recipe.head.exclude) if recipe.head.exclude else None
    screened = screen(ScreenJob(entry, found, group=False), store=store, seed=recipe.head.seed, exclude=exclude)
    if isinstance(screened, VldataError):
        raise screened
    assert isinstance(screened, Screened)
    return pl.read_ipc(screened.turns).sort(pl.col("row").str.len_chars(), "row")


@dataclass
class _Known:
    """What is being put together about one sample."""

    images: tuple[str, ...]
    captions: list[str] = field(default_factory=list)
    boxes: list[Region] = field(default_factory=list)
    ocr: list[Reading] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


def _samples(
    made_from: list[Entry], turns: list[pl.DataFrame], seen: Mapping[str, Mapping[str, Any]], kind: Kind, entry: Entry
) -> list[Sample]:
    """One sample a picture; or one a turn, where the kind works on a turn's own texts."""
    assert entry.synth is not None
    is_by_turn = bool({*kind.settings.needs} - PARTS - {"image"}) or not any(
        (table["images"].list.len() > 0).any() for table in turns
    )
    by_image: dict[tuple[str, ...], _Known] = {}
    by_turn: list[tuple[str, _Known]] = []
    for source, table in zip(made_from, turns, strict=True):
        for row in table.iter_rows(named=True):
            images = tuple(row["images"])
            fields = _fields(row, source)
            known = by_image.setdefault(images, _Known(images)) if images else _Known(images)
            _learn(known, row, source, seen)
            if is_by_turn and fields:
                by_turn.append((f"{source.name}/{row['row']}", replace(known, fields=fields)))
    # what a later source says about a turn's picture counts too: the lists are shared
    named = by_turn if is_by_turn else [("+".join(images), known) for images, known in by_image.items()]
    return [_sample(name, known, seen, entry) for name, known in named]


def _sample(name: str, known: _Known, seen: Mapping[str, Mapping[str, Any]], entry: Entry) -> Sample:
    assert entry.synth is not None
    facts = [seen.get(ref) for ref in known.images]
    parts: tuple[Mapping[str, Any], ...] = ()
    if all(fact is not None for fact in facts):
        detail, side = entry.synth.detail, entry.synth.max_side_px
        parts = tuple(image_part(fact["hash"], detail=detail, max_side_px=side) for fact in facts if fact is not None)
    inputs = Inputs(
        row=name,
        captions=tuple(known.captions),
        boxes=tuple(known.boxes),
        ocr=tuple(known.ocr),
        images=parts,
        fields=known.fields,
    )
    sizes = tuple(None if fact is None else (fact["width"], fact["height"]) for fact in facts)
    return Sample(inputs, known.images, sizes)


def _fields(row: Mapping[str, Any], source: Entry) -> dict[str, str]:
    """The texts of a turn by the names that kinds know them by."""
    found = {_FIELDS[column]: row[column] for column in _FIELDS if isinstance(row.get(column), str)}
    if source.task.name == _NUMBERS_ITS_CHOICES and row.get("choices") and row.get("answer") is not None:
        found["answer"] = row["choices"][row["answer"]]
    texts = [row[column] for column in source.task.texts if isinstance(row.get(column), str)]
    text = found.get("question") or "\n".join(texts)
    return {**found, "text": text} if text else found


def _learn(known: _Known, row: Mapping[str, Any], source: Entry, seen: Mapping[str, Mapping[str, Any]]) -> None:
    if isinstance(row.get("caption"), str):
        known.captions.append(row["caption"])
    for box in row.get("boxes") or ():
        corners = _fractions(box, row, source, seen)
        phrase = box["phrase"] or row.get("phrase")  # a box that is all that its turn is about has the turn's phrase
        if corners is not None and phrase:
            if source.task.name == "ocr":
                known.ocr.append(Reading(phrase, corners))
            else:
                known.boxes.append(Region(phrase, *corners))


def _fractions(
    box: Mapping[str, Any], row: Mapping[str, Any], source: Entry, seen: Mapping[str, Mapping[str, Any]]
) -> Box | None:
    """The box in fractions of its picture; None when the picture's size is not known."""
    corners = Box(box["x0"], box["y0"], box["x1"], box["y1"])
    if source.source.box_unit == "fraction":
        return corners
    place = box["image"] or 0
    fact = seen.get(row["images"][place]) if place < len(row["images"]) else None
    size = (row["image_sizes"] or [None])[0] if fact is None else fact
    if size is None or None in corners:
        return None
    w, h = size["width"], size["height"]
    return Box(*(min(1.0, max(0.0, c / s)) for c, s in zip(corners, (w, h, w, h), strict=True)))
