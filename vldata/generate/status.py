"""What has become of a synthetic source so far: draws kept, pending and dropped by reason, and what all cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from vldata.generate.sources import AnswersSoFar, SynthSource
from vldata.synth.draws import Outcome


def state_of(source: SynthSource, answers: AnswersSoFar) -> dict[str, Any]:
    """Numbers of samples, draws and turns, reasons, and cost, as plain data."""
    counted = source.replay(answers, partial(_counted, answers=answers))
    return {"samples": len(source.samples), "rejected": source.rejected, **counted}


def _counted(outcomes: Iterator[Outcome], answers: AnswersSoFar) -> dict[str, Any]:
    numbers: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    repaired: Counter[str] = Counter()
    keys: set[bytes] = set()
    for draw in (draw for outcome in outcomes for draw in outcome.draws):
        keys.update(bytes.fromhex(request.key) for request in draw.requests)
        numbers["draws"] += 1
        numbers["turns"] += len(draw.kept)
        if draw.kept:
            numbers["kept"] += 1
            marks.update(finding.reason for finding in draw.findings if finding.policy == "mark")
            repaired.update(draw.repairs)
        elif draw.pending is not None:
            numbers["wanting"] += 1
        elif draw.problem is not None:
            dropped[draw.problem] += 1
    usd, unpriced = answers.spent(key.hex() for key in keys)
    return {
        **{name: numbers[name] for name in ("draws", "kept", "turns", "wanting")},
        "dropped": dict(sorted(dropped.items())),
        "marked": dict(sorted(marks.items())),
        "repaired": dict(sorted(repaired.items())),
        "cost_usd": usd,
        "unpriced_attempts": unpriced,
    }
