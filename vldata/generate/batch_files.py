"""`vldata synth export-batch` and `import-batch`: what a run would ask, in files for a Batch API, and their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vldata.base import Progress
from vldata.errors import StoreError
from vldata.generate.batch import Watch, endpoint_of, still_wanting
from vldata.generate.run import ALL, SynthOptions, askings, ledger_of
from vldata.generate.sources import Asking, opened
from vldata.llm.answers import Answers, open_answers
from vldata.llm.batch.book import keep_requests, open_book, read_keys, read_requests
from vldata.llm.batch.files import ImportResult, export, import_
from vldata.llm.batch.lines import MAX_BYTES, MAX_LINES, BatchLimits
from vldata.llm.budget import BudgetLimits, open_budget
from vldata.llm.endpoint import NO_KEY, Endpoint
from vldata.llm.events import Event
from vldata.llm.folder import default_answers
from vldata.llm.prices import Price
from vldata.llm.request import Request
from vldata.recipe.models import Recipe
from vldata.synth.generate import first_requests

EXPORTED = "exported"
"""Suffix of the requests of an exported file, in the answer store: its answers count when the recipe has changed."""


def export_batch(
    recipe: Recipe,
    folder: Path,
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
    retry: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Write what is wanting as files for a Batch API, and send nothing.

    Args:
        recipe: With synthetic sources.
        folder: New; with a folder for each source where there are several.
        store: Of blocks.
        answers: The answer store's folder.
        max_lines: Most requests in a file.
        max_bytes: Most bytes in a file.
        retry: Also what the endpoint refused for good.

    Raises:
        VldataError: A source cannot be read, or the folder cannot be written.
    """
    place = answers or default_answers()
    rows = []
    with askings(recipe, store, options, progress) as all_of_them:
        with open_answers(place):
            pass  # made, if there is none: what is exported is kept there too
        for name, ask in all_of_them.items():
            with opened(place) as known, open_book(place, read_only=True) as book:
                under_way = book.keys_under_way()
                wanted = [r for r in still_wanting(ask, known, retry=retry) if r.key not in under_way]
            target = folder / name if len(all_of_them) > 1 else folder
            done = export(wanted, target, ask.picture, BatchLimits(max_lines, max_bytes))
            for requests in done.requests:
                kept = place / "batches" / f"{requests[0].key}-{len(requests)}.{EXPORTED}"
                kept.parent.mkdir(exist_ok=True)
                keep_requests(kept, requests)
            rows.append(
                {
                    "source": name,
                    "model": ask.spec.model,
                    "endpoint": ask.spec.endpoint,
                    "requests": done.num_requests,
                    "under_way": len(under_way),
                    "files": [str(path) for path in done.files],
                    "left_out": dict(sorted(Counter(done.left_out.values()).items())),
                }
            )
    return rows


def import_batch(
    recipe: Recipe,
    files: Sequence[Path],
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    watch: Watch = lambda name, event: None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Take output files and error files of a Batch API back; lines of all sources may be mixed.

    Args:
        recipe: That of the export; what was exported from another one is known too.
        files: As the provider gave them.
        store: Of blocks.
        answers: The answer store's folder.
        watch: Is told what is answered and what failed.

    Raises:
        VldataError: A source or a file cannot be read.
    """
    for path in files:
        if not path.is_file():
            raise StoreError(str(path), "is not a file", "give the output and the error files of your batches")
    place = answers or default_answers()
    total = _counts(ImportResult())
    with askings(recipe, store, options, progress) as all_of_them, open_answers(place) as known:
        requests: dict[str, Request] = {}
        owners: dict[str, str] = {}
        for name, ask in all_of_them.items():
            for request in _all_requests(ask, known):
                requests.setdefault(request.key, request)
                owners.setdefault(request.key, name)
        for kept in sorted((place / "batches").glob(f"*.{EXPORTED}")):
            requests = read_requests(kept) | requests
        rest = requests.keys() - owners.keys()
        groups = {name: [key for key, owner in owners.items() if owner == name] for name in all_of_them}
        for owner, keys in [*groups.items(), (None, list(rest))]:
            of_group = {key: requests[key] for key in keys}
            found = None if owner is None else endpoint_of(all_of_them[owner], options)
            scrub, prices = _without_key(found, known)

            def tell(event: Event, owner: str | None = owner) -> None:
                watch(owner or "other recipes", event)

            came = import_(files, known, of_group, prices=prices, scrub=scrub, watch=tell)
            if owner is not None:
                path = ledger_of(place, recipe.head.name, owner)
                with open_budget(BudgetLimits(), path) as budget:
                    budget.change(came.spent)
            total = _added(total, _counts(came))
            bad = [{"file": str(path), "line": line.number, "problem": line.problem} for path, line in came.unreadable]
            unknown = [key for key in came.unknown if key not in requests]
        _forget_answered(place, known)
    return {**total, "unknown": len(unknown), "unknown_ids": unknown[:20], "bad_lines": bad}


def _all_requests(ask: Asking, known: Answers) -> Iterator[Request]:
    """All that a source asks by what is known: the first ones, those asked again, and the judge's."""
    yield from first_requests(ask.samples.inputs, ask.kind, ask.spec)
    for outcome in ask.outcomes(known):
        yield from (request for draw in outcome.draws for request in draw.requests)
        yield from outcome.judging


def _without_key(endpoint: Endpoint | None, known: Answers) -> tuple[Callable[[bytes], bytes], Mapping[str, Price]]:
    """What takes an endpoint's key out of a line, and its prices; no key is needed to import."""
    if endpoint is None:
        return (lambda line: line), {}
    if endpoint.key is not None and endpoint.reveal_key() != NO_KEY:
        known.guard(endpoint.reveal_key())
    return endpoint.scrub_bytes, endpoint.prices


def _forget_answered(place: Path, known: Answers) -> None:
    """Remove the requests of exported files that are all answered."""
    for kept in (place / "batches").glob(f"*.{EXPORTED}"):
        if all(key in known for key in read_keys(kept)):
            kept.unlink()


def _counts(came: ImportResult) -> dict[str, Any]:
    return {
        "answered": came.answered,
        "already": came.already,
        "failed": dict(sorted(came.failed.items())),
        "unfinished": came.unfinished,
        "duplicates": came.duplicates,
        "spent_usd": came.spent.usd,
        "unpriced_requests": came.spent.unpriced,
    }


def _added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    failed = Counter(one["failed"]) + Counter(other["failed"])
    return {name: one[name] + other[name] for name in one if name != "failed"} | {"failed": dict(failed)}
