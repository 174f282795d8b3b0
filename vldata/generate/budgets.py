"""What synthetic sources have spent, what of it is in doubt and why, and the user's word on that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vldata.errors import RecipeError
from vldata.llm.budget import settle_doubts
from vldata.llm.faults import FAULTS
from vldata.llm.ledger import Ledger, Spending, ledger_of
from vldata.llm.prices import to_usd
from vldata.synth.models import Synth

_SAYS = {
    "no_usage": "answered, and the server did not say how many tokens that took",
    "killed": "under way when the process ended",
    "batches": "charged for batches and exported files that are not back",
}


def budget_row(name: str, spec: Synth, ledger: Path | None) -> dict[str, Any]:
    """What one source has spent in all its runs, and its limits, as plain data.

    ``doubts`` lists why, for people too, with ``usd`` and ``requests``; they are counted at the most that they can have
    cost, and part of ``in_doubt_usd``, which is part of ``spent_usd``.

    Args:
        ledger: None: nothing was sent yet.
    """
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


def settle(ledgers: dict[str, Path], usd: float) -> None:
    """Book what the provider billed for what is in doubt of one source; batches settle themselves when they come back.

    Args:
        ledgers: By source; only one may have something in doubt.
        usd: By the provider's own statement, for all of it together.

    Raises:
        RecipeError: Several sources have something in doubt, or none has.
        StoreError: The ledger is in use by another process, is damaged, or cannot be written.
    """
    doubtful = [name for name, ledger in ledgers.items() if ledger_of(ledger).doubts]
    if len(doubtful) != 1:
        problem = f"{', '.join(doubtful)} have something in doubt" if doubtful else "no attempt is in doubt"
        raise RecipeError("--settle", problem, "name one source with --source" if doubtful else "leave it out")
    settle_doubts(ledgers[doubtful[0]], usd)


def _says(why: str) -> str:
    return _SAYS.get(why) or (FAULTS[why].says if why in FAULTS else "not known")
