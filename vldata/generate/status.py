"""What has become of a synthetic source so far: draws kept, pending and dropped by reason, and what all cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from vldata.generate.pending import is_pending, why_pending
from vldata.generate.sources import AnswersSoFar, SynthSource
from vldata.llm.answers import Answers
from vldata.llm.batch.book import under_way
from vldata.synth.diversity import Variety
from vldata.synth.draws import Draw, Outcome


def state_of(source: SynthSource, answers: AnswersSoFar) -> dict[str, Any]:
    """Numbers of samples, draws and turns, reasons, and cost, as plain data."""
    counted = source.replay(answers, partial(_counted, answers=answers, of_questions=source.writes_questions))
    return {"rejected": source.rejected, "unusable": source.samples.unusable, **counted}


def _counted(outcomes: Iterator[Outcome], answers: AnswersSoFar, of_questions: bool) -> dict[str, Any]:
    variety = Variety(of_questions=of_questions)
    numbers: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    repaired: Counter[str] = Counter()
    keys: set[bytes] = set()
    in_batch = frozenset(under_way(answers.folder)) if isinstance(answers, Answers) else frozenset()
    for draw in _draws(outcomes, numbers):
        keys.update(bytes.fromhex(key) for key in draw.keys)
        numbers["draws"] += 1
        numbers["turns"] += len(draw.kept)
        variety.add(draw)
        if draw.kept:
            numbers["kept"] += 1
            marks.update(finding.reason for finding in draw.findings if finding.policy == "mark")
            repaired.update(draw.repairs)
        elif is_pending(draw):
            pending[why_pending(draw, in_batch)] += 1
        elif draw.problem is not None:
            dropped[draw.problem] += 1
        numbers["reasks"] += draw.again is not None
    usd, unpriced = answers.spent(key.hex() for key in keys)
    return {
        **{name: numbers[name] for name in ("samples", "draws", "kept", "turns")},
        "wanting": pending.total(),
        "pending": dict(sorted(pending.items())),
        "reasks": numbers["reasks"],
        "dropped": dict(sorted(dropped.items())),
        "marked": dict(sorted(marks.items())),
        "diversity": variety.row(),
        "repaired": dict(sorted(repaired.items())),
        "cost_usd": usd,
        "unpriced_attempts": unpriced,
    }


def _draws(outcomes: Iterator[Outcome], numbers: Counter[str]) -> Iterator[Draw]:
    for outcome in outcomes:
        numbers["samples"] += 1
        yield from outcome.draws
