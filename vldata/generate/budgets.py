"""What synthetic sources have spent, what of it is in doubt and why, and the user's word on that; and what was lost.

Nothing here reads a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vldata.errors import RecipeError
from vldata.generate.session import SynthSession
from vldata.generate.sources import answers_so_far
from vldata.llm.budget import settle_doubts
from vldata.llm.examples import examples_of
from vldata.llm.faults import FAULTS
from vldata.llm.ledger import Ledger, Spending, ledger_of
from vldata.llm.prices import to_usd
from vldata.synth.models import Synth

_SAYS = {
    "no_usage": "answered, and the server did not say how many tokens that took",
    "killed": "under way when the process ended",
    "batches": "charged for batches and exported files that are not back",
}


def budget_rows(session: SynthSession) -> list[dict[str, Any]]:
    """What every source has spent in all its runs, and its limits, as plain data.

    ``doubts`` lists why, for people too, with ``usd`` and ``requests``; they are counted at the most that they can have
    cost, and part of ``in_doubt_usd``, which is part of ``spent_usd``.

    Raises:
        RecipeError: A source is not there.
        StoreError: A ledger is damaged.
    """
    ledgers = _ledgers(session)
    return [_row(name, spec, ledgers.get(name)) for name, spec in session.specs().items()]


def settle(session: SynthSession, usd: float) -> None:
    """Book what the provider billed for what is in doubt of one source; batches settle themselves when they come back.

    Args:
        usd: By the provider's own statement, for all of it together.

    Raises:
        RecipeError: Several sources have something in doubt, or none has.
        StoreError: The ledger is in use by another process, is damaged, or cannot be written.
    """
    doubtful = {name: ledger for name, ledger in _ledgers(session).items() if ledger_of(ledger).doubts}
    if len(doubtful) != 1:
        problem = f"{', '.join(doubtful)} have something in doubt" if doubtful else "no attempt is in doubt"
        raise RecipeError("--settle", problem, "name one source with --source" if doubtful else "leave it out")
    for ledger in doubtful.values():
        settle_doubts(ledger, usd)


def with_words(session: SynthSession, row: Mapping[str, Any]) -> dict[str, Any]:
    """A source's state with ``said``: one example of its server's own words for each fault that it waits for."""
    said = examples_of(session.folder, session.specs()[row["source"]].endpoint)
    return {**row, "said": {name: words for name, words in said.items() if name in row.get("pending", said)}}


def missing_files(session: SynthSession) -> list[str]:
    """Files of the answer store that are not there: what was in them would be paid for again."""
    with answers_so_far(session.folder) as answers:
        return [place.path.name for place in answers.damaged if place.is_missing]


def _ledgers(session: SynthSession) -> dict[str, Path]:
    """The ledger of every source that has one."""
    ledgers = {name: session.ledger_so_far(name) for name in session.specs()}
    return {name: path for name, path in ledgers.items() if path is not None}


def _row(name: str, spec: Synth, ledger: Path | None) -> dict[str, Any]:
    kept = Ledger() if ledger is None else ledger_of(ledger)
    spent, of_attempts = kept.spent, sum(kept.doubts.values(), Spending())
    doubts = {why: (doubt.in_doubt_pico, doubt.requests) for why, doubt in sorted(kept.doubts.items())}
    elsewhere = spent.in_doubt_pico - of_attempts.in_doubt_pico
    if elsewhere > 0:
        doubts["batches"] = (elsewhere, 0)
    return {
        "source": name,
        "spent_usd": spent.usd,
        "in_doubt_usd": to_usd(spent.in_doubt_pico),
        "max_usd": spec.max_usd,
        "requests": spent.requests,
        "max_requests": spec.max_requests,
        "tokens": spent.tokens,
        "max_tokens": spec.max_tokens,
        "unpriced_requests": spent.unpriced,
        "doubts": [
            {"why": why, "says": _says(why), "usd": to_usd(pico), "requests": requests}
            for why, (pico, requests) in doubts.items()
        ],
        "ledger": None if ledger is None else str(ledger),
    }


def _says(why: str) -> str:
    return _SAYS.get(why) or (FAULTS[why].says if why in FAULTS else "not known")
