"""`vldata synth show`: draws side by side with what was asked, what came, how it was parsed and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vldata.generate.run import ALL, SynthOptions, askings
from vldata.generate.sources import opened
from vldata.llm.folder import default_answers
from vldata.recipe.models import Recipe
from vldata.synth.draws import Draw, Outcome
from vldata.synth.validate import text_of


def show(
    recipe: Recipe,
    *,
    store: Path | None = None,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    only: str | None = None,
    limit: int = 5,
) -> list[dict[str, Any]]:
    """Draws side by side with what was asked, what came, how it was parsed and what was found.

    Args:
        recipe: With synthetic sources.
        store: Of blocks.
        answers: The answer store's folder.
        only: ``kept``, a reason, or a sample's row; None: whatever comes first.
        limit: At most so many of each source.
    """
    rows = []
    with askings(recipe, store, options) as all_of_them, opened(answers or default_answers()) as known:
        for name, ask in all_of_them.items():
            meant = ask.replay(known, lambda outcomes: _first_meant(outcomes, only, limit))
            rows += [{"source": name, **_shown(draw)} for draw in meant]
    return rows


def _first_meant(outcomes: Iterator[Outcome], only: str | None, limit: int) -> list[Draw]:
    """All are looked at, as what is wrong with an answer may only be known at the last."""
    found: list[Draw] = []
    for draw in (draw for outcome in outcomes for draw in outcome.draws):
        if len(found) < limit and _is_meant(draw, only):
            found.append(draw)
    return found


def _is_meant(draw: Draw, only: str | None) -> bool:
    if only is None:
        return draw.answer is not None
    reasons = {draw.problem, *(finding.reason for finding in draw.findings)}
    return only in (draw.row, draw.inputs.row) or only in reasons or (only == "kept" and bool(draw.kept))


def _shown(draw: Draw) -> dict[str, Any]:
    request = draw.requests[-1] if draw.requests else None
    return {
        "row": draw.row,
        "request": request.key if request else None,
        "messages": list(request.messages) if request else [],
        "reply": text_of(draw.answer.reply) if draw.answer else None,
        "turns": [
            {"question": e.question, "answer": e.answer, "kept": place in draw.kept}
            for place, e in enumerate(draw.exchanges)
        ],
        "findings": [{**f._asdict()} for f in draw.findings],
        "verdict": "kept" if draw.kept else draw.problem,
        "detail": draw.detail,
        "asked_times": len(draw.requests),
        "cost_usd": draw.answer.cost_usd if draw.answer else None,
    }
