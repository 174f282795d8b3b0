"""The base of everything a recipe can say: unknown keys are errors, and a loaded recipe never changes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A typed, frozen section of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
