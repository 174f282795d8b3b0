"""What models wrote for a build, and for how much, as it stands in the manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vldata.generate.session import SynthOptions, SynthSession
from vldata.recipe.models import Recipe
from vldata.store.names import Folder
from vldata.store.store import Store

_SUFFIX = ".cost.json"


def synth_costs(
    recipe: Recipe, ready: Recipe, store: Store, answers: Path | None = None, *, standin: int | None
) -> dict[str, dict[str, Any]]:
    """The state of every synthetic source whose turns a build has; kept beside these turns, so counted once.

    Args:
        recipe: As it was loaded.
        ready: The same with `vldata.generate.chain.with_synth`'s files.
        store: Where these are.
        answers: The answer store's folder; None is the usual one.
        standin: As `vldata.pipeline.build.build`; a source that became a stand-in has no cost.

    Returns:
        Source name to ``kind``, ``model`` and what `vldata.generate.session.SynthSession.status` says.
    """
    files = {
        name: Path(str(getattr(ready.entries[name].source, "path", None)))
        for name, entry in recipe.entries.items()
        if entry.synth is not None
    }
    keys = {name: file.stem for name, file in files.items() if file.is_relative_to(store.root / Folder.GENERATED)}
    missing = tuple(name for name, key in keys.items() if not store.has(Folder.GENERATED, key, _SUFFIX))
    if missing:
        session = SynthSession(recipe, store.root, answers, options=SynthOptions(names=missing, standin=standin))
        for state in session.status():
            name = state.pop("source")
            with store.write(Folder.GENERATED, keys[name], _SUFFIX) as path:
                path.write_text(json.dumps(state))
    costs = {}
    for name, key in keys.items():
        synth = recipe.entries[name].synth
        assert synth is not None
        state = json.loads(store.path(Folder.GENERATED, key, _SUFFIX).read_text())
        costs[name] = {"kind": synth.kind, "model": synth.model, **state}
    return costs
