"""A finished run scored on a held-out split, seeing and blind, and the file that says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from vldata.errors import BuildError
from vldata.train.against import against, read_items
from vldata.train.anyres import visual_of
from vldata.train.checkpoint import write_whole
from vldata.train.collate import SplitImages
from vldata.train.data import Sample
from vldata.train.evaluate import Scored, Scorer, table
from vldata.train.folder import RunFolder
from vldata.train.inputs import held_out
from vldata.train.model import VLM
from vldata.train.pack import Limits
from vldata.train.questions import questions
from vldata.train.ranks import joined


def evaluate(
    run: Path,
    build: Path,
    out: Path | None = None,
    *,
    split: str | None = None,
    device: str | None = None,
    compare_with: Path | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Score a finished run on a held-out split, seeing and blind.

    Args:
        build: Whose split is used; usually the one that it was trained on.
        out: Where the scores go as JSON; beside it, ``<name>.items.jsonl`` has each answer's, for paired comparisons.
        split: Its name; None takes the first there is of `vldata.train.data.HELD_OUT`.
        compare_with: Scores of another run; its answers to the same questions are compared with this one's.

    Returns:
        ``tasks.<task>.{metric, value, ci_low, ci_high, n, blind, gain, also}``, the same by source and task, and what
        was evaluated; with ``against`` when there is something to compare (`vldata.train.against`).

    Raises:
        BuildError: The run is not finished, the build has no such split, or there is nothing to compare with.
    """
    report = progress or (lambda event: None)
    before = read_items(compare_with) if compare_with is not None else None
    folder = RunFolder(run)
    config, tokenizer = folder.finished()
    rows = held_out(build, split)
    rows.check_images()
    samples = list(rows.samples())
    posed = questions(samples, tokenizer)
    if not posed:
        raise BuildError(str(build), f"the split {rows.name!r} holds no answers", "evaluate another split")
    stage = config.stages[-1]
    visual = visual_of(config, stage, rows)
    with joined(device) as ranks:
        model = VLM(config)
        model.load_state_dict({name: weight.float() for name, weight in folder.weights(config, -1).items()})
        model.to(ranks.device).eval()
        limits = Limits(config.pack_tokens, config.pack_images)
        scorer = Scorer(model, tokenizer, limits, visual.per_view, ranks.device)
        scored = {}
        for name in ("sees", "blind"):
            began = time.perf_counter()
            images = SplitImages(rows, stage.side_px or config.vision.side_px, visual.layout, blind=name == "blind")
            scored[name] = scorer.score(posed, images.get)
            report({"note": f"{len(posed)} answers, {name}: {time.perf_counter() - began:.1f} s"})
    scores = {
        "run": str(run),
        "build": str(build),
        "split": rows.name,
        "fingerprint": rows.fingerprint,
        "config": config.content_hash(),
        **table(scored["sees"], scored["blind"], samples),
    }
    items = _items(scored["sees"], scored["blind"], samples)
    if before is not None:
        scores["against"] = {"scores": str(compare_with), "tasks": against(items, before)}
    if out is not None and ranks.is_first:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out.with_suffix(".items.jsonl"), b"".join(orjson.dumps(item) + b"\n" for item in items))
        write_whole(out, orjson.dumps(scores, option=orjson.OPT_INDENT_2))
    return scores


def _items(sees: Sequence[Scored], blind: Sequence[Scored], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [
        {
            "id": samples[one.question.sample].id,
            "turn": one.question.turn,
            "row": samples[one.question.sample].turns[one.question.turn].row,
            "task": one.question.task,
            "source": one.question.source,
            "answer": one.question.answer,
            "said": one.said,
            "scores": one.scores,
            "blind": hidden.scores,
        }
        for one, hidden in zip(sees, blind, strict=True)
    ]
