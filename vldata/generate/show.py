"""Draws of a synthetic source, side by side with the request, the reply, how it was parsed and the findings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from vldata.generate.pending import is_pending, why_pending
from vldata.generate.sources import AnswersSoFar, SynthSource
from vldata.synth.draws import Draw, JudgeReply, Outcome
from vldata.synth.validate import text_of


def shown_draws(source: SynthSource, answers: AnswersSoFar, only: str | None, limit: int) -> Iterator[dict[str, Any]]:
    """The first draws that are meant, as plain data; see `vldata.generate.session.SynthSession.show`."""
    return map(shown, source.replay(answers, partial(_first_meant, only=only, limit=limit)))


def _first_meant(outcomes: Iterator[Outcome], only: str | None, limit: int) -> list[Draw]:
    """All are looked at, as what speaks against an answer may only be known at the last."""
    meant: list[Draw] = []
    for draw in (draw for outcome in outcomes for draw in outcome.draws):
        if len(meant) < limit and _is_meant(draw, only):
            meant.append(draw)
    return meant


def _is_meant(draw: Draw, only: str | None) -> bool:
    if only is None:
        return draw.answer is not None
    reasons = {draw.problem, *(finding.reason for finding in draw.findings)}
    if is_pending(draw):
        reasons |= {"pending", why_pending(draw)}
    return only in (draw.row, draw.inputs.row) or only in reasons or (only == "kept" and bool(draw.kept))


def shown(draw: Draw) -> dict[str, Any]:
    """A draw as plain data."""
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
        "repairs": list(draw.repairs),
        "asked_times": len(draw.requests),
        "cost_usd": draw.answer.cost_usd if draw.answer else None,
    }


def shown_judgement(reply: JudgeReply) -> dict[str, Any]:
    """A judge's reply as plain data, in the same form."""
    return {
        "row": reply.sample,
        "request": reply.request.key,
        "messages": list(reply.request.messages),
        "reply": text_of(reply.answer.reply),
        "turns": [],
        "findings": [],
        "verdict": reply.problem or "kept",
        "detail": reply.detail,
        "asked_times": 1,
        "cost_usd": reply.answer.cost_usd,
    }
