"""Native formats: files on disk -> turns. One format a file; `SOURCES` is the one list of them."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from vldata.errors import RecipeError, nearest
from vldata.sources.base import Source

SOURCES: dict[str, str] = {
    "alpaca": "vldata.sources.alpaca:Alpaca",
    "aokvqa": "vldata.sources.aokvqa:AokVqa",
    "chartqa": "vldata.sources.chartqa:ChartQa",
    "coco_captions": "vldata.sources.coco_captions:CocoCaptions",
    "coco_instances": "vldata.sources.coco_instances:CocoInstances",
    "flickr8k": "vldata.sources.flickr8k:Flickr8k",
    "gqa": "vldata.sources.gqa:Gqa",
    "image_folder": "vldata.sources.image_folder:ImageFolder",
    "llava": "vldata.sources.llava:Llava",
    "multi30k": "vldata.sources.multi30k:Multi30k",
    "ocrvqa": "vldata.sources.ocrvqa:OcrVqa",
    "okvqa": "vldata.sources.vqa_pairs:OkVqa",
    "refcoco": "vldata.sources.refcoco:RefCoco",
    "refcoco_mdetr": "vldata.sources.refcoco_mdetr:RefCocoMdetr",
    "refcocos": "vldata.sources.refcocos:RefCocoS",
    "scienceqa": "vldata.sources.scienceqa:ScienceQa",
    "screen_annotation": "vldata.sources.screen_annotation:ScreenAnnotation",
    "shapes": "vldata.sources.shapes:Shapes",
    "sharegpt": "vldata.sources.sharegpt:ShareGpt",
    "table": "vldata.sources.table:Table",
    "textvqa": "vldata.sources.textvqa:TextVqa",
    "tfrecord": "vldata.sources.tfrecord:TfRecord",
    "url_table": "vldata.sources.url_table:UrlTable",
    "visual_genome": "vldata.sources.visual_genome:VisualGenome",
    "vqav2": "vldata.sources.vqa_pairs:VqaV2",
    "vsr": "vldata.sources.vsr:Vsr",
    "webdataset": "vldata.sources.webdataset:WebDataset",
}
"""Format name -> ``module:class``; a module is imported when its format is first used."""


def source_class(name: str, where: str = "format") -> type[Source]:
    """The adapter of a format, ours or one that an installed package offers as a ``vldata.sources`` entry point.

    Raises:
        RecipeError: No such format.
    """
    if name in SOURCES:
        module, _, attribute = SOURCES[name].partition(":")
        loaded: type[Source] = getattr(import_module(module), attribute)
        return loaded
    for entry in entry_points(group="vldata.sources"):
        if entry.name == name:
            offered: type[Source] = entry.load()
            return offered
    raise RecipeError(where, f"no source format named {name!r}", nearest(name, format_names()))


def format_names() -> list[str]:
    """Every known format, sorted."""
    return sorted({*SOURCES, *(entry.name for entry in entry_points(group="vldata.sources"))})
