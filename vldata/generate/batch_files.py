"""What a run would request, in files for a Batch API, and the answers from such files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vldata.generate.run import Asking
from vldata.generate.sources import SynthSource, answers_so_far
from vldata.llm.answers import Answers
from vldata.llm.batch.book import keep_requests, open_book, read_keys, read_requests
from vldata.llm.batch.files import ImportResult, export, import_
from vldata.llm.batch.lines import BatchLimits
from vldata.llm.budget import BudgetLimits, open_budget
from vldata.llm.endpoint import NO_KEY, Endpoint
from vldata.llm.endpoint_specs import load_endpoints
from vldata.llm.events import Event
from vldata.llm.prices import Price
from vldata.llm.request import Request
from vldata.synth.generate import first_requests

EXPORTED = "exported"
"""Suffix of the requests of an exported file, in the answer store: its answers count when the recipe has changed."""


def export_source(
    source: SynthSource, answers: Path, folder: Path, limits: BatchLimits, asking: Asking
) -> dict[str, Any]:
    """Write the pending requests of a source into a new folder; what it wrote, as plain data.

    Args:
        answers: The answer store's folder.
    """
    with answers_so_far(answers) as replies, open_book(answers, read_only=True) as book:
        under_way = book.keys_under_way()
        requests = list(source.pending(replies, set(under_way), retry=asking.retry, reask=asking.reask))
    spec = load_endpoints().get(source.spec.endpoint)
    exported = export(requests, folder, source.image, limits, "openai" if spec is None else spec.batch_api)
    for of_file in exported.requests:
        kept = answers / "batches" / f"{of_file[0].key}-{len(of_file)}.{EXPORTED}"
        kept.parent.mkdir(exist_ok=True)
        keep_requests(kept, of_file)
    return {
        "model": source.spec.model,
        "endpoint": source.spec.endpoint,
        "requests": exported.num_requests,
        "under_way": len(under_way),
        "files": [str(path) for path in exported.files],
        "left_out": dict(sorted(Counter(exported.left_out.values()).items())),
    }


class Payer(NamedTuple):
    """Where a source's requests go, and the ledger of what they cost."""

    endpoint: Endpoint
    ledger: Path


def import_files(
    files: Sequence[Path],
    answers: Answers,
    sources: Mapping[str, SynthSource],
    payers: Mapping[str, Payer],
    watch: Callable[[str, Event], None],
) -> dict[str, Any]:
    """Put the answers of all sources, and of what other recipes exported, into the store; what it did, as plain data.

    Raises:
        StoreError: One of the files cannot be read.
    """
    requests: dict[str, Request] = {}
    groups: dict[str | None, dict[str, Request]] = {}
    for name, source in sources.items():
        own = {request.key: request for request in _all_requests(source, answers) if request.key not in requests}
        requests |= own
        groups[name] = own
    groups[None] = {}
    for kept in sorted((answers.folder / "batches").glob(f"*.{EXPORTED}")):
        groups[None] |= {key: request for key, request in read_requests(kept).items() if key not in requests}
    requests |= groups[None]
    total: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for owner, of_owner in groups.items():
        payer = None if owner is None else payers[owner]
        scrub, prices = _without_key(payer, answers)
        tell = partial(watch, owner or "other recipes")
        imported = import_(files, answers, of_owner, prices=prices, scrub=scrub, watch=tell)
        if payer is not None:
            with open_budget(BudgetLimits(), payer.ledger) as budget:
                budget.change(imported.spent)
        total.update(_counts(imported))
        failed.update(imported.failed)
    _forget_answered(answers)
    unknown = [key for key in imported.unknown if key not in requests]
    lines = [{"file": str(path), "line": line.number, "problem": line.problem} for path, line in imported.unreadable]
    return {
        **total,
        "failed": dict(sorted(failed.items())),
        "unknown": len(unknown),
        "unknown_ids": unknown[:20],
        "bad_lines": lines,
    }


def _all_requests(source: SynthSource, answers: Answers) -> Iterator[Request]:
    """Every request of a source, by the answers that are there: the first ones, repeated ones, and the judge's."""
    yield from first_requests(source.samples.inputs, source.kind, source.spec)
    for outcome in source.outcomes(answers):
        yield from (request for draw in outcome.draws for request in draw.requests)
        yield from outcome.judging


def _without_key(payer: Payer | None, answers: Answers) -> tuple[Callable[[bytes], bytes], Mapping[str, Price]]:
    """What takes an endpoint's key out of a line, and its prices; no key is needed to import."""
    if payer is None:
        return (lambda line: line), {}
    endpoint = payer.endpoint
    if endpoint.key is not None and endpoint.reveal_key() != NO_KEY:
        answers.guard(endpoint.reveal_key())
    return endpoint.scrub_bytes, endpoint.prices


def _forget_answered(answers: Answers) -> None:
    """Remove the requests of exported files that are all answered."""
    for kept in (answers.folder / "batches").glob(f"*.{EXPORTED}"):
        if all(key in answers for key in read_keys(kept)):
            kept.unlink()


def _counts(imported: ImportResult) -> dict[str, Any]:
    return {
        "answered": imported.answered,
        "already": imported.already,
        "unfinished": imported.unfinished,
        "duplicates": imported.duplicates,
        "spent_usd": imported.spent.usd,
        "unpriced_requests": imported.spent.unpriced,
    }
