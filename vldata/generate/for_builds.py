"""What models wrote, as builds read it: `vldata.pipeline.session.SyntheticTurns`.

The rest of the folder is loaded when a recipe has a synthetic source: it takes a fifth of a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vldata.pipeline.session import Session
from vldata.recipe.models import Recipe


class AnsweredSources:
    """Synthetic sources as the turns of the answers that are in the answer store; nothing is sent.

    Args:
        answers: The answer store's folder; None is `vldata.llm.folder.default_answers`.
    """

    def __init__(self, answers: Path | None = None) -> None:
        self._answers = answers

    def as_files(self, recipe: Recipe, session: Session, standin: int | None) -> Recipe:
        """The recipe with its synthetic sources as files of turns in the store.

        Raises:
            VldataError: A source that one is made from cannot be read, or the answer store cannot.
        """
        from vldata.generate.chain import with_synth
        from vldata.llm.folder import default_answers

        return with_synth(recipe, session, self._answers or default_answers(), standin=standin)

    def costs(self, recipe: Recipe, ready: Recipe, session: Session, standin: int | None) -> dict[str, dict[str, Any]]:
        """What was written for each synthetic source of ``ready``, by which model, at what price."""
        if all(entry.synth is None for entry in recipe.entries.values()):
            return {}
        from vldata.generate.costs import synth_costs

        return synth_costs(recipe, ready, session.store, self._answers, standin=standin)
