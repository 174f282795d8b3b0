"""The JSON Schema of a recipe: every format with its own options, so that editors complete and check."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vldata.mixture.models import Mixture
from vldata.recipe.models import Head, Settings
from vldata.sources import format_names, source_class
from vldata.synth.models import Synth


def recipe_schema() -> dict[str, Any]:
    """One document, draft 2020-12: what a recipe may hold, with a branch for every source format."""
    classes = {name: source_class(name) for name in format_names()}
    models: list[type[BaseModel]] = [Head, Settings, Mixture, Synth, *classes.values()]
    refs, definitions = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    defs = definitions["$defs"]
    settings = _definition(refs[Settings, "validation"], defs)["properties"]
    branches = []
    for name, cls in classes.items():
        own = _definition(refs[cls, "validation"], defs)
        branch = {
            "type": "object",
            "title": name,
            "description": cls.about,
            "additionalProperties": False,
            "required": ["format", *own.get("required", [])],
            "properties": {
                "format": {"const": name},
                "task": {"enum": list(cls.tasks)},
                **own["properties"],
                **settings,
            },
        }
        branches.append(branch)
    branches.append(
        {
            "type": "object",
            "title": "synth",
            "description": "conversations that a model writes about other sources",
            "additionalProperties": False,
            "required": ["synth"],
            "properties": {"synth": refs[Synth, "validation"], **settings},
        }
    )
    head = _definition(refs[Head, "validation"], defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vldata recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "sources"],
        "properties": {
            "extends": {"type": "string", "description": "Another recipe, on which this one is laid."},
            **head["properties"],
            "defaults": refs[Settings, "validation"],
            "sources": {"type": "object", "additionalProperties": {"oneOf": branches}},
            "mixture": refs[Mixture, "validation"],
        },
        "$defs": defs,
    }


def _definition(ref: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    definition: dict[str, Any] = defs[ref["$ref"].rpartition("/")[2]]
    return definition
