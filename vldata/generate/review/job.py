"""Writes turns for people to review, and takes their verdicts back into the answer store."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from vldata.errors import StoreError
from vldata.generate.review import argilla, label_studio
from vldata.generate.review.book import add_reviews, read_reviews
from vldata.generate.review.records import ReviewRecord, TurnMark, Verdict
from vldata.generate.sources import SynthSource, answers_so_far
from vldata.images.kinds import sniff
from vldata.llm.answers import open_answers
from vldata.store.trouble import as_store_errors
from vldata.synth.draws import Draw, Outcome
from vldata.synth.review import shown_texts

if TYPE_CHECKING:
    from vldata.generate.session import SynthSession

TOOLS: Final[Mapping[str, ModuleType]] = {"label-studio": label_studio, "argilla": argilla}
EXAMPLES = 20


def export_review(
    session: SynthSession, folder: Path, tool: str, *, only: str = "kept", limit: int | None, image_url: str | None
) -> dict[str, Any]:
    """Write the turns of draws for a tool; what was written, as plain data.

    Args:
        folder: New.
        tool: One of `TOOLS`.
        only: ``kept``, or a reason why draws were dropped.
        limit: Draws of each source, the first in keyed order; None: all.
        image_url: Stands before the path of each image; None: images are in the file, as data URLs.

    Raises:
        StoreError: The folder is not empty, or cannot be written.
    """
    with as_store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(str(folder), "is not empty", "choose a new folder")
    records: list[ReviewRecord] = []
    counts: dict[str, int] = {}
    with session.sources() as sources, answers_so_far(session.folder) as answers:
        for name, source in sources.at(answers):
            draws = source.replay(answers, partial(_meant, only=only, limit=limit))
            urls = _Urls(source, image_url)
            before = len(records)
            records += [record for draw in draws for record in _records(draw, source, urls)]
            counts[name] = len(records) - before
    with as_store_errors(folder):
        files = TOOLS[tool].write(folder, records, session.recipe.head.name)
    return {"tool": tool, "turns": counts, "files": [str(path) for path in files]}


def import_review(session: SynthSession, files: Sequence[Path]) -> dict[str, Any]:
    """Take verdicts back; doing it twice changes nothing. What was taken, as plain data.

    Args:
        files: Exports of a tool, or folders that hold Argilla's ``records.json``.

    Raises:
        StoreError: A file cannot be read, is damaged, or is no export of a tool.
    """
    verdicts = [verdict for path in files for verdict in _verdicts(path / "records.json" if path.is_dir() else path)]
    counts: Counter[str] = Counter()
    problems: list[str] = []
    with session.sources() as sources, open_answers(session.folder) as answers:
        draws = (d for _, source in sources.at(answers) for outcome in source.outcomes(answers) for d in outcome.draws)
        keys = {draw.answer.key for draw in draws if draw.answer is not None}
        kept = {(r.key, r.place): r for reviews in read_reviews(session.folder).values() for r in reviews}
        new = []
        for verdict in verdicts:
            what = _sort_out(verdict, keys, problems)
            if what is not None:
                counts[what] += 1
                continue
            before = kept.get((verdict.mark.key, verdict.mark.place)) if verdict.mark is not None else None
            review = verdict.review().after(before)
            counts["contested"] += verdict.is_contested
            if before is not None and (before == review or "" < review.at < before.at):
                counts["already"] += 1
                continue
            kept[review.key, review.place] = review
            new.append(review)
            counts[review.verdict] += 1
            counts["edited"] += review.is_edit
        add_reviews(session.folder, new)
    names = ("accepted", "rejected", "edited", "already", "undecided", "contested", "unknown", "unusable")
    return {**{name: counts[name] for name in names}, "problems": problems[:EXAMPLES]}


def _sort_out(verdict: Verdict, keys: set[str], problems: list[str]) -> str | None:
    """Why a verdict cannot be taken, as it is counted; None when it can."""
    if verdict.problem is not None or verdict.mark is None:
        problems.append(f"{verdict.place}: {verdict.problem}")
        return "unusable"
    if verdict.verdict is None:
        return "undecided"
    if verdict.mark.key not in keys:
        problems.append(f"{verdict.place}: {verdict.mark.row} of {verdict.mark.source} has another answer now")
        return "unknown"
    return None


def _verdicts(path: Path) -> Iterator[Verdict]:
    if not path.is_file():
        raise StoreError(str(path), "is not a file", "give the JSON that Label Studio or Argilla exported")
    with as_store_errors(path):
        data = path.read_bytes()
    is_any = False
    for place, record in _documents(path, data):
        tool = next((tool for tool in TOOLS.values() if isinstance(record, dict) and tool.is_mine(record)), None)
        if tool is None:
            raise StoreError(place, "is no record of Label Studio's or Argilla's", "export it as JSON, with all fields")
        is_any = True
        yield tool.read(place, record)
    if not is_any:
        raise StoreError(str(path), "holds no record", "export the project again")


def _documents(path: Path, data: bytes) -> Iterator[tuple[str, Any]]:
    """The records of a file, a list or one a line, each with its place."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: byte {error.start}", "is not UTF-8", "export it again as JSON") from None
    if text.lstrip()[:1] == "[":
        yield from ((f"{path}[{place}]", record) for place, record in enumerate(_parsed(path, text, 1)))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}:{number}", _parsed(path, line, number)


def _parsed(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        at = line + (error.lineno - 1 if isinstance(error, json.JSONDecodeError) else 0)
        raise StoreError(f"{path}:{at}", "is not JSON, or is cut off", "export it again, whole") from None


def _meant(outcomes: Iterator[Outcome], only: str, limit: int | None) -> list[Draw]:
    """The draws to review; all are looked at, as what speaks against an answer may only be known at the last."""
    meant: list[Draw] = []
    for draw in (draw for outcome in outcomes for draw in outcome.draws):
        is_meant = bool(draw.kept) if only == "kept" else draw.problem == only
        if is_meant and draw.exchanges and (limit is None or len(meant) < limit):
            meant.append(draw)
    return meant


class _Urls:
    """Addresses of the images of a source's samples."""

    def __init__(self, source: SynthSource, prefix: str | None) -> None:
        self._source = source
        self._prefix = prefix
        self._by_hash = dict(zip(source.images["hash"], source.images["ref"], strict=True)) if prefix else {}

    def of(self, draw: Draw) -> tuple[str, ...]:
        """One for each image of a draw's sample."""
        if self._prefix is not None:
            return tuple(f"{self._prefix.rstrip('/')}/{self._by_hash[part['hash']]}" for part in draw.inputs.images)
        return tuple(_data_url(self._source.image(part)) for part in draw.inputs.images)


def _data_url(data: bytes) -> str:
    return f"data:image/{(sniff(data) or 'png').lower()};base64,{base64.b64encode(data).decode()}"


def _records(draw: Draw, source: SynthSource, urls: _Urls) -> Iterator[ReviewRecord]:
    assert draw.answer is not None, "a draw with exchanges has been answered"
    shown = [shown_texts(exchange) for exchange in draw.exchanges]
    images = urls.of(draw)
    whole = "\n\n".join("\n".join(text for text in pair if text) for pair in shown) if len(shown) > 1 else ""
    for number in draw.kept or range(len(shown)):
        mark = TurnMark(source.entry.name, draw.row, draw.answer.key, number, len(shown))
        reasons = ", ".join(sorted({f.reason for f in draw.findings if f.exchange in (None, number)}))
        yield ReviewRecord(mark, *shown[number], whole, images, source.spec.model, reasons)
