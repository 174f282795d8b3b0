"""Textual forms of boxes, one a file; `CODECS` is the one list of them."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from vldata.codecs.base import Codec
from vldata.errors import RecipeError, nearest

CODECS: dict[str, str] = {
    "cogvlm": "vldata.codecs.cogvlm:CogVlm",
    "honeybee": "vldata.codecs.honeybee:Honeybee",
    "honeybee2": "vldata.codecs.honeybee2:Honeybee2",
    "kosmos2": "vldata.codecs.kosmos2:Kosmos2",
    "llava": "vldata.codecs.llava:Llava",
    "paligemma": "vldata.codecs.paligemma:PaliGemma",
    "pix2seq": "vldata.codecs.pix2seq:Pix2Seq",
    "qwen_vl": "vldata.codecs.qwen_vl:QwenVl",
    "screenai": "vldata.codecs.screenai:ScreenAi",
    "seeclick": "vldata.codecs.seeclick:SeeClick",
    "shikra": "vldata.codecs.shikra:Shikra",
}
"""Codec name -> ``module:class``; a module is imported when its codec is first used."""


def codec(name: str, where: str = "box_format") -> Codec:
    """The codec of that name, ours or one that an installed package offers as a ``vldata.codecs`` entry point.

    Raises:
        RecipeError: No such codec.
    """
    if name in CODECS:
        module, _, attribute = CODECS[name].partition(":")
        loaded: type[Codec] = getattr(import_module(module), attribute)
        return loaded()
    for entry in entry_points(group="vldata.codecs"):
        if entry.name == name:
            offered: type[Codec] = entry.load()
            return offered()
    raise RecipeError(where, f"no box format named {name!r}", nearest(name, codec_names()))


def codec_names() -> list[str]:
    """Every known codec, sorted."""
    return sorted({*CODECS, *(entry.name for entry in entry_points(group="vldata.codecs"))})
