"""Samples -> chosen samples: the mixture's exact counts, met in keyed-rank order, past images that turn out bad.

Rows are taken as a prefix of their source's rank order, so 5 % of a source is inside its 10 %. A bad sample is replaced
by the next in rank; a source that has too few good ones gets its true number into the mixture, which is then worked out
again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from vldata.mixture.apportion import apportion
from vldata.mixture.models import Mixture
from vldata.mixture.quotas import Quota, quotas
from vldata.mixture.select import take
from vldata.pipeline.candidates import REFUSED, InspectedSamples, Look, inspect
from vldata.recipe.models import Entry
from vldata.sources.reading.box_units import outside_unit
from vldata.store.keys import key_of
from vldata.store.names import KeySubject

_STEP = 4_096
_MOST_CACHED = 64  # sources of a large mixture, twice

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


@dataclass
class Pool:
    """The candidates of one source, looked at from the front as far as needed.

    Args:
        turns: Sorted turns of its samples (`vldata.curate.group.conversations`).
        key: Hash of all that decides what is found; None where other sources decide too.
    """

    entry: Entry
    turns: pl.DataFrame
    look: Look
    seed: int
    splits: dict[str, float]
    excluded_hashes: frozenset[str]
    unit: str
    key: str | None = None
    cache: CandidateCache = field(default_factory=lambda: CandidateCache())
    ranges: list[int] = field(init=False, default_factory=list)
    starts: npt.NDArray[np.int64] = field(init=False)
    done: int = field(init=False, default=0)
    parts: list[InspectedSamples] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        first = (self.turns["place"] == 0).to_numpy()
        self.starts = np.append(np.flatnonzero(first), self.turns.height).astype(np.int64)

    @property
    def num_samples(self) -> int:
        """Candidates in all."""
        return len(self.starts) - 1

    @property
    def num_units(self) -> int:
        """Units of the mixture that the candidates hold, good or not."""
        if self.unit == "images":
            heads = self.turns["images"].gather(self.starts[:-1]) if self.num_samples else None
            return int(heads.list.len().sum()) if heads is not None else 0
        return self.turns.height if self.unit == "turns" else self.num_samples

    def look_at(self, upto: int) -> None:
        """Inspect the candidates before position ``upto``."""
        upto = min(upto, self.num_samples)
        if upto <= self.done:
            return
        self.ranges.append(upto)
        if self.key is None:
            self.parts.append(self.inspected(upto))
        else:
            place = self.key, self.done, upto
            self.parts.append(self.cache.get(self.cache.inspected, place, lambda: self.inspected(upto)))
        self.done = upto

    def inspected(self, upto: int) -> InspectedSamples:
        """What is found about the candidates from the first that was not looked at to before position ``upto``."""
        low, high = self.starts[self.done], self.starts[upto]
        sizes = np.diff(self.starts[self.done : upto + 1])
        at = np.repeat(np.arange(self.done, upto, dtype=np.int64), sizes)
        part = self.turns[int(low) : int(high)].with_columns(pl.Series("at", at, dtype=pl.Int64))
        return inspect(
            part, self.entry, self.look, seed=self.seed, splits=self.splits, excluded_hashes=self.excluded_hashes
        )

    def good(self) -> pl.DataFrame:
        """The good samples among those looked at, in rank order."""
        return pl.concat([part.samples for part in self.parts])

    def units(self, samples: pl.DataFrame) -> npt.NDArray[np.int64]:
        """Units that each sample counts for; a text counts as no image."""
        if self.unit == "images":
            return samples["images"].list.len().cast(pl.Int64).to_numpy()
        if self.unit == "turns":
            return samples["num_turns"].cast(pl.Int64).to_numpy()
        return np.ones(samples.height, dtype=np.int64)


@dataclass(frozen=True)
class Share:
    """What one split takes of one source: N passes over all its samples, and a prefix in one pass more."""

    passes: int
    prefix: int


@dataclass(frozen=True)
class ChosenSamples:
    """The chosen samples of one source.

    Args:
        samples: Distinct chosen samples, split by split in rank order; columns as `InspectedSamples.samples`.
        turns: Their turns, in the same order.
        shares: Split to what it takes.
        available: Units of good samples; exact only where the whole source was looked at, else an upper bound.
        refused: ``row, at, reason, detail`` of the turns that the walk refused.
        rest: ``row, reason`` of the turns that were not needed.
        key: Hash of all that decides which samples these are; None where other sources decide too.
    """

    samples: pl.DataFrame
    turns: pl.DataFrame
    shares: dict[str, Share]
    quota: Quota
    available: int
    refused: pl.DataFrame
    rest: pl.DataFrame
    key: str | None = None


@dataclass(frozen=True)
class CandidateCache:
    """What was found of candidates before, for builds that follow one another; what was not used for longest goes.

    Args:
        inspected: By a pool's key and a range of its candidates.
        chosen: By `ChosenSamples.key`.
    """

    inspected: dict[tuple[str, int, int], InspectedSamples] = field(default_factory=dict)
    chosen: dict[str, ChosenSamples] = field(default_factory=dict)

    def get(self, kind: dict[Name, Value], name: Name, make: Callable[[], Value]) -> Value:
        """What is cached under a name, or what ``make`` returns, which is cached then."""
        kind[name] = kind.pop(name) if name in kind else make()
        if len(kind) > _MOST_CACHED:
            del kind[next(iter(kind))]
        return kind[name]


def choose(pools: Mapping[str, Pool], mixture: Mixture, limit: int | None = None) -> dict[str, ChosenSamples]:
    """Meet the mixture.

    Args:
        pools: Source name to its candidates.
        limit: At most N units in all, in the same proportions.

    Raises:
        RecipeErrors: A source would have to be repeated more often than ``max_epochs`` allows.
        SourceError: The boxes of a source are in another unit than it reads them in.
    """
    tasks = {name: pool.entry.task.name for name, pool in pools.items()}
    available = {name: pool.num_units for name, pool in pools.items()}
    while True:
        wanted = _limited(quotas(mixture, available, tasks), limit)
        exact = {name: _walk(pools[name], quota.units) for name, quota in wanted.items()}
        for pool in pools.values():
            _refuse_wrong_unit(pool)
        short = {name: units for name, units in exact.items() if units is not None and units < available[name]}
        if not short:
            return {name: _settle(pools[name], quota, available[name]) for name, quota in wanted.items()}
        available |= short


def _refuse_wrong_unit(pool: Pool) -> None:
    """Boxes that lie outside most images show only here that they were read in another unit."""
    if "boxes" not in pool.turns.columns or not pool.parts:
        return
    found = pl.concat([part.refused for part in pool.parts])
    outside = found.filter(pl.col("reason") == "box_outside_image")
    looked_at = found.height + sum(part.turns.height for part in pool.parts)
    if 2 * outside.height > looked_at:
        turns = pool.turns.join(outside, on="row", how="semi")
        in_wrong_unit = outside_unit(turns, looked_at, pool.entry.source)
        if in_wrong_unit is not None:
            raise in_wrong_unit.error(pool.entry.source, pool.entry.where)


def _limited(wanted: dict[str, Quota], limit: int | None) -> dict[str, Quota]:
    total = sum(quota.units for quota in wanted.values())
    if limit is None or total <= limit:
        return wanted
    units = apportion({name: Fraction(quota.units) for name, quota in wanted.items()}, limit)
    return {
        name: quota._replace(units=units[name], epochs=quota.epochs * units[name] / max(1, quota.units))
        for name, quota in wanted.items()
    }


def _targets(pool: Pool, units: int, good: pl.DataFrame) -> dict[str, int] | None:
    """Units that each split gets; None when that cannot be said before more candidates are looked at.

    Every split gets its share where there is enough for all of them. Otherwise the whole source is needed: a split that
    is held out is never repeated, and gives way to nobody until ``train`` has used all it has. More units never mean
    fewer for any split.
    """
    weights = pool.units(good)
    have = {split: int(weights[(good["split"] == split).to_numpy()].sum()) for split in pool.splits}
    targets = {split: round(units * share) for split, share in pool.splits.items() if split != "train"}
    targets = {"train": units - sum(targets.values()), **targets}
    if all(have[split] >= target for split, target in targets.items()):
        return targets
    if pool.done < pool.num_samples:
        return None
    held_out = {split: min(have[split], target) for split, target in targets.items() if split != "train"}
    over = units - have["train"] - sum(held_out.values())
    for split in held_out:
        more = max(0, min(over, have[split] - held_out[split]))
        held_out[split] += more
        over -= more
    return {"train": units - sum(held_out.values()) if have["train"] else 0, **held_out}


def _walk(pool: Pool, units: int) -> int | None:
    """Look at candidates until every split has its units; None, or all units there are when they do not suffice."""
    if units <= 0:
        return None
    upto = min(pool.num_samples, max(_STEP, int(1.05 * units * pool.num_samples / max(1, pool.num_units))))
    while True:
        pool.look_at(upto)
        if pool.done >= pool.num_samples:
            return int(pool.units(pool.good()).sum()) if pool.parts else 0
        if _targets(pool, units, pool.good()) is not None:
            return None
        upto = min(pool.num_samples, upto + max(_STEP, upto // 2))


def _settle(pool: Pool, quota: Quota, available: int) -> ChosenSamples:
    """What the mixture takes, or the same as an earlier build took of the same candidates."""
    if pool.key is None:
        return _settled(pool, quota, available)
    key = key_of(KeySubject.CHOSEN, pool.key, pool.unit, quota.units, pool.ranges)
    chosen = pool.cache.get(pool.cache.chosen, key, lambda: replace(_settled(pool, quota, available), key=key))
    return replace(chosen, quota=quota, available=available)


def _settled(pool: Pool, quota: Quota, available: int) -> ChosenSamples:
    none = pool.turns.select("row", reason=pl.lit("beyond_count"))
    if quota.units <= 0 or not pool.parts:
        empty = pool.inspected(pool.done)  # the columns, and no rows
        refused = pl.concat([part.refused for part in pool.parts]) if pool.parts else pl.DataFrame(schema=REFUSED)
        none = none.join(refused, on="row", how="anti")
        nothing = dict.fromkeys(pool.splits, Share(0, 0))
        return ChosenSamples(empty.samples, empty.turns, nothing, quota, available, refused, none)
    good = pool.good()
    everything = pool.done >= pool.num_samples
    shares: dict[str, Share] = {}
    kept: list[pl.DataFrame] = []
    for split, target in (_targets(pool, quota.units, good) or {}).items():
        part = good.filter(pl.col("split") == split)
        passes, prefix = take(pool.units(part), target) if part.height else (0, 0)
        shares[split] = Share(passes, prefix)
        kept.append(part if passes else part[:prefix])
    samples = pl.concat(kept)
    last = pool.num_samples if everything else int(samples["at"].max() or 0) + 1  # type: ignore[arg-type]
    refused = pl.concat([part.refused for part in pool.parts]).filter(pl.col("at") < last)
    turns = pl.concat([part.turns for part in pool.parts])
    turns = samples.select("at").join(turns, on="at", how="inner", maintain_order="left_right")
    rest = _rest(pool, turns, refused, last)
    return ChosenSamples(samples, turns, shares, quota, available, refused, rest)


def _rest(pool: Pool, turns: pl.DataFrame, refused: pl.DataFrame, last: int) -> pl.DataFrame:
    sizes = np.diff(pool.starts)
    at = np.repeat(np.arange(pool.num_samples, dtype=np.int64), sizes)
    everyone = pool.turns.select("row").with_columns(pl.Series("at", at))
    left = everyone.join(turns.select("row"), on="row", how="anti").join(refused.select("row"), on="row", how="anti")
    passed_over = (pl.col("at") < last) & pl.lit(len(pool.splits) > 1)
    return left.select("row", reason=pl.when(passed_over).then(pl.lit("split_full")).otherwise(pl.lit("beyond_count")))
