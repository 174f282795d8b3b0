"""Candidates, in rank order, looked at closely: their images, the sizes of these, the boxes on them, their split.

Images are only opened as far down the ranks as the mixture needs. Everything here is a function of a sample alone, so
how far the walk goes changes nothing about what it finds on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from vldata.curate.filters import image_filters
from vldata.images.missing import MAX_REF
from vldata.pipeline.fit_boxes import fit_boxes
from vldata.recipe.models import Entry
from vldata.schema.keyed import fractions, keyed, string_keys
from vldata.schema.turns import SIZE

Look = Callable[[list[str]], pl.DataFrame]
"""References -> `vldata.images.facts` of them."""

REFUSED = {"row": pl.String, "at": pl.Int64, "reason": pl.String, "detail": pl.String}

_SEEN_ALL = ~pl.col("sizes").list.eval(pl.element().is_null()).list.any()
BEST_SIZES = pl.when(_SEEN_ALL | pl.col("image_sizes").is_null()).then("sizes").otherwise("image_sizes").alias("sizes")
"""Sizes of a sample's images as they were seen; where one was not, as they were annotated."""

_SHORT_REF = (
    pl.when(pl.col("ref").str.len_chars() > MAX_REF).then(pl.col("ref").str.head(MAX_REF) + "…").otherwise("ref")
)


@dataclass(frozen=True)
class InspectedSamples:
    """Good samples among some candidates, and what is wrong with the others.

    Args:
        samples: Columns as in `vldata.schema.turns.COLUMNS_AFTER`.
        turns: The turns of the good samples, likewise; ``boxes`` is null where the image's size is unknown.
        refused: ``row, at, reason, detail`` of every other turn.
    """

    samples: pl.DataFrame
    turns: pl.DataFrame
    refused: pl.DataFrame


def inspect(
    turns: pl.DataFrame,
    entry: Entry,
    look: Look,
    *,
    seed: int,
    splits: dict[str, float],
    excluded_hashes: frozenset[str],
) -> InspectedSamples:
    """Look at whole samples.

    Args:
        turns: Turns of some samples, sorted, with ``at``: the position of their sample among all candidates.
        splits: Every split with its share; they add up to 1.
        excluded_hashes: Content hashes of images that must not be used.
    """
    samples = turns.filter(pl.col("place") == 0).select("at", "sample", "sample_row", "images", "image_sizes", "thread")
    samples, problems = _with_images(samples, entry, look, excluded_hashes)
    samples = _with_split(samples, entry.name, seed=seed, splits=splits)
    problems = problems.with_columns(
        reason=pl.coalesce("reason", pl.when(samples["split"].is_null()).then(pl.lit("image_in_two_splits")))
    )
    problems = problems.filter(pl.col("reason").is_not_null())
    if problems.height:
        turns = turns.join(problems, on="at", how="left", maintain_order="left")
    else:
        turns = turns.with_columns(pl.lit(None, pl.String).alias(name) for name in ("reason", "detail"))
    if "boxes" in turns.columns:
        turns = fit_boxes(turns, samples, entry)
    refused = turns.filter(pl.col("reason").is_not_null()).select(pl.col(c).cast(t) for c, t in REFUSED.items())
    good = turns
    if refused.height:
        good, refused = _whole_threads(turns.filter(pl.col("reason").is_null()), refused, turns)
    counted = good.group_by("at", maintain_order=True).agg(num_turns=pl.len(), sample_row=pl.col("row").first())
    samples = samples.drop("sample_row").join(counted, on="at", how="inner", maintain_order="right")
    return InspectedSamples(
        samples.drop("image_sizes", "thread"), good.drop("reason", "detail", "images", "image_sizes"), refused
    )


def _with_images(
    samples: pl.DataFrame, entry: Entry, look: Look, excluded_hashes: frozenset[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sizes, hashes and bytes of each sample's images, and the first thing wrong with them."""
    references = samples.select("at", ref="images").explode("ref").drop_nulls("ref")
    facts = look(references["ref"].unique(maintain_order=True).to_list())
    if entry.settings.images.missing == "keep":
        facts = facts.with_columns(
            problem=pl.when(pl.col("problem") == "image_missing").then(None).otherwise(pl.col("problem"))
        )
    if excluded_hashes:
        excluded = pl.col("problem").is_null() & pl.col("hash").is_in(list(excluded_hashes))
        facts = facts.with_columns(
            problem=pl.when(excluded).then(pl.lit("excluded")).otherwise("problem"),
            detail=pl.when(excluded).then(pl.col("hash")).otherwise("detail"),
        )
    seen = references.join(facts, on="ref", how="left", maintain_order="left").with_columns(
        size=pl.when(pl.col("width").is_not_null()).then(pl.struct(pl.col("width", "height").cast(pl.Int32)))
    )
    by_sample = seen.group_by("at", maintain_order=True).agg(
        sizes=pl.col("size"),
        hashes=pl.col("hash"),
        image_bytes=pl.col("size_bytes").fill_null(0).sum().cast(pl.Int64),
        num_deep=pl.col("deep").fill_null(False).sum(),
        reason=pl.col("problem").drop_nulls().first(),
        detail=pl.concat_str(_SHORT_REF, pl.lit(": "), pl.col("detail").fill_null(""))
        .filter(pl.col("problem").is_not_null())
        .first(),
    )
    joined = samples.join(by_sample, on="at", how="left", maintain_order="left").with_columns(
        pl.col("sizes").fill_null(pl.lit([], dtype=pl.List(SIZE))),
        pl.col("hashes").fill_null(pl.lit([], dtype=pl.List(pl.String))),
        pl.col("image_bytes", "num_deep").fill_null(0),
    )
    joined = joined.with_columns(BEST_SIZES)
    filtered = image_filters(joined, entry.settings.filters)
    joined = joined.with_columns(reason=pl.coalesce("reason", filtered))
    return joined.drop("reason", "detail"), joined.select("at", "reason", "detail")


def _with_split(samples: pl.DataFrame, source: str, *, seed: int, splits: dict[str, float]) -> pl.DataFrame:
    """The split of each sample's ids; null when they fall into different ones.

    A photograph is known by its bytes; one that is not there, by its file name; a text, by its row or thread.
    """
    if len(splits) == 1:
        return samples.with_columns(split=pl.lit(next(iter(splits))))
    name = pl.element().str.split("/").list.last()
    ids = samples.with_columns(
        who=pl.when(pl.col("images").list.len() > 0)
        .then(pl.col("hashes"))
        .otherwise(pl.concat_list(pl.concat_str(pl.lit(source + "/"), pl.coalesce("thread", "sample_row")))),
        names=pl.col("images").list.eval(pl.concat_str(pl.lit("name:"), name)),
    ).select("at", "who", "names")
    each = ids.with_columns(names=pl.when(pl.col("names").list.len() > 0).then("names").otherwise("who")).explode(
        "who", "names"
    )
    who = each.select(pl.coalesce("who", "names")).to_series()
    others = [split for split in splits if split != "train"]
    edges = np.cumsum([splits[split] for split in others])
    chosen = np.searchsorted(edges, fractions(keyed(string_keys(who.to_list()), seed, "split")), side="right")
    names = pl.Series("split", [*others, "train"])
    each = each.with_columns(split=names.gather(pl.Series(chosen, dtype=pl.UInt32)))
    split = each.group_by("at", maintain_order=True).agg(
        split=pl.when(pl.col("split").n_unique() == 1).then(pl.col("split").first())
    )
    return samples.join(split, on="at", how="left", maintain_order="left")


def _whole_threads(good: pl.DataFrame, refused: pl.DataFrame, turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A thread with a broken exchange is broken as a whole."""
    broken = turns.filter(pl.col("reason").is_not_null() & pl.col("thread").is_not_null()).select("at").unique()
    lost = good.join(broken, on="at", how="semi", maintain_order="left")
    if not lost.height:
        return good, refused
    why = lost.select("row", "at", reason=pl.lit("broken_conversation"), detail=pl.col("thread"))
    return good.join(broken, on="at", how="anti", maintain_order="left"), pl.concat([refused, why.cast(refused.schema)])
