"""`vldata synth batch --cancel`: batches that are to end early, and what was charged for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from vldata.generate.batch import POLL_S, Tally, Watch, endpoints_of, is_lost, label_of
from vldata.generate.run import ALL, SynthOptions
from vldata.llm.answers import open_answers
from vldata.llm.batch.collect import cancel, collect
from vldata.llm.batch.route import State
from vldata.llm.folder import default_answers
from vldata.recipe.models import Recipe


def cancel_batch(
    recipe: Recipe,
    *,
    answers: Path | None = None,
    options: SynthOptions = ALL,
    wait: bool = True,
    poll_s: float = POLL_S,
    sleep: Callable[[float], None] = time.sleep,
    watch: Watch = lambda name, event: None,
    waiting: Callable[[Sequence[State]], None] = lambda states: None,
) -> dict[str, Any]:
    """End the recipe's open batches early, and settle what was charged for them.

    What the endpoint has answered by then is billed, and kept; the rest of the charge is given back when a batch has
    ended, which may take it some minutes. Reads no source.

    Args:
        recipe: With synthetic sources.
        answers: The answer store's folder.
        wait: Until all have ended; else a later call, or `collect_batch`, settles them.
        poll_s: Seconds between two looks.
        sleep: Waits.
        watch: Is told what is answered and what failed.
        waiting: Is told what is open before each wait.

    Raises:
        VldataError: An endpoint or the answer store cannot be used.
    """
    place = answers or default_answers()
    endpoints = list(endpoints_of(recipe, options))
    names = options.names or [name for name, entry in recipe.entries.items() if entry.synth is not None]
    labels = {label_of(recipe, name) for name in names}
    tally = Tally()
    asked: set[str] = set()
    while True:
        states, tally.stopped = list[State](), None
        with open_answers(place) as known:
            for endpoint in endpoints:
                asked |= {state.part for state in cancel(endpoint=endpoint, answers=known, labels=labels)}
                came = collect(endpoint=endpoint, answers=known, watch=partial(watch, endpoint.name))
                tally.add(came)
                states += [state for state in came.open if state.label in labels]
        if not wait or tally.stopped is not None or is_lost(states):
            break
        waiting(states)
        sleep(poll_s)
    return {
        "cancelled": len(asked),
        **tally.row(),
        "open": [asdict(state) for state in states],
    }
