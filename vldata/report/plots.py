"""The plots of the pages: one function each, numbers in, SVG out."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vldata.report.build_facts import PageFacts, Spread
from vldata.report.svg import BAND, C1, C2, C4, INK, MUTED, PAPER, RULE, SERIES, drawn, named
from vldata.report.text import plain, short

UNIT_NAMES = {"samples": "samples", "images": "images", "turns": "turns", "answer_chars": "answer characters"}
MARKS = ("o", "s", "^", "D")
MARK_SIGNS = ("●", "■", "▲", "◆")
OUTCOMES = {"rows_out": "used", "filtered": "filtered", "rejected": "rejected", "not_chosen": "not chosen"}

_NAME_CHARS = 34
_LINE_CHARS = 48  # a name that has its line alone
_REMARK_CHARS = 20


def shares(facts: PageFacts) -> Markup:
    """Achieved shares of each source in four units, as marks of four shapes, and the requested share."""
    sources = facts.manifest["sources"]

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, _round_up(max(_all_shares(sources))))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g} %"))
        rows = np.arange(len(sources)) + 0.2
        requested = np.array([100 * source["requested_share"] for source in sources.values()])
        axes.hlines(rows, 0, requested, color=RULE, linewidth=7)
        axes.vlines(requested, rows - 0.18, rows + 0.18, color=INK, linewidth=2, zorder=2)
        for unit, mark, colour in zip(UNIT_NAMES, MARKS, SERIES, strict=True):
            achieved = [100 * source["achieved_share"][unit] for source in sources.values()]
            axes.plot(achieved, rows, mark, color=colour, markersize=7.5, markeredgecolor=PAPER, clip_on=False)
        for i, name in enumerate(sources):
            named(axes, i, plain(name, _NAME_CHARS))

    return drawn(
        "shares",
        "Shares requested and achieved, by source; the numbers are in the table",
        len(sources),
        draw,
        row_px=38,
    )


def flow(facts: PageFacts) -> Markup:
    """What became of the turns of each source, as parts of all that were read."""
    sources = facts.manifest["sources"]
    look = {"rows_out": C1, "filtered": C2, "rejected": C4, "not_chosen": RULE}

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g} %"))
        rows = np.arange(len(sources)) + 0.2
        read = np.array([max(1, source["rows_in"]) for source in sources.values()])
        left = np.zeros(len(sources))
        for outcome in OUTCOMES:
            parts = 100 * np.array([source[outcome] for source in sources.values()]) / read
            axes.hlines(rows, left, left + parts, color=look[outcome], linewidth=13)
            left += parts
        for i, (name, source) in enumerate(sources.items()):
            named(axes, i, plain(name, _NAME_CHARS), f"{source['rows_in']:,} read", MUTED)

    return drawn(
        "flow",
        "What became of the turns that were read, by source; the numbers are in the table",
        len(sources),
        draw,
        row_px=38,
    )


def lengths(spreads: Mapping[str, Spread], unit: str) -> Markup:
    """How long samples are: middle half and middle nine tenths of each source, on a logarithmic axis."""
    return _ranges("lengths", f"How long samples are, in {unit}", {n: [s] for n, s in spreads.items()}, unit)


def tokens(by_policy: Mapping[str, Mapping[str, Spread]]) -> Markup:
    """Visual tokens a sample under each policy."""
    names = list(dict.fromkeys(name for spreads in by_policy.values() for name in spreads))
    rows = {name: [spreads[name] for spreads in by_policy.values() if name in spreads] for name in names}
    return _ranges("tokens", "Visual tokens a sample", rows, "visual tokens a sample")


def _ranges(name: str, about: str, rows: Mapping[str, Sequence[Spread]], unit: str) -> Markup:
    def draw(axes: Axes) -> None:
        low = min(max(1.0, spread.quantiles[0]) for spreads in rows.values() for spread in spreads)
        high = max(max(1.0, spread.quantiles[-1]) for spreads in rows.values() for spread in spreads)
        low, high = low / 1.25, max(high * 1.25, low * 4)
        axes.set_xlim(math.log10(low), math.log10(high))  # in logarithms: matplotlib's own scale costs twice the plot
        ticks = _decades(low, high)
        axes.set_xticks([math.log10(tick) for tick in ticks], [short(tick) for tick in ticks])
        axes.set_xlabel(unit)
        for k in range(max(map(len, rows.values()))):
            of_k = [(i, spreads[k], len(spreads)) for i, spreads in enumerate(rows.values()) if k < len(spreads)]
            y = np.array([i + 0.18 + 0.12 * (2 * k - num + 1) for i, _, num in of_k])
            q05, q25, q50, q75, q95 = np.log10(np.maximum(1.0, [spread.quantiles for _, spread, _ in of_k])).T
            axes.hlines(y, q05, q95, color=SERIES[k], linewidth=1.5, alpha=0.6)
            axes.hlines(y, q25, q75, color=SERIES[k], linewidth=5)
            axes.plot(q50, y, MARKS[k], color=SERIES[k], markersize=8, markeredgecolor=PAPER, markeredgewidth=1.5)
        for i, (source, spreads) in enumerate(rows.items()):
            named(axes, i, plain(source, _NAME_CHARS), " · ".join(short(one.median) for one in spreads), MUTED)

    tall = 38 if max(map(len, rows.values())) < 2 else 46
    return drawn(name, f"{about}; the numbers are in the table", len(rows), draw, row_px=tall)


def _decades(low: float, high: float) -> list[float]:
    """Round numbers between two amounts, as many as have room."""
    wide = math.log10(high / low)
    steps = (1, 2, 5) if wide < 1.2 else (1, 3) if wide < 2 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def _all_shares(sources: Mapping[str, Any]) -> list[float]:
    requested = [100 * source["requested_share"] for source in sources.values()]
    return requested + [100 * share for source in sources.values() for share in source["achieved_share"].values()]


def _round_up(largest: float) -> float:
    return next((limit for limit in (1, 2, 5, 10, 20, 30, 40, 50, 60, 80) if largest <= limit), 100)


def two_shares(pairs: Mapping[str, tuple[float | None, float | None]], first: str, second: str) -> Markup:
    """Shares of the samples in two mixtures: a hollow mark for the first, a full one for the second.

    Args:
        pairs: Source to its two shares; None where it is in one alone.
    """

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, _round_up(max(100 * share for pair in pairs.values() for share in pair if share is not None)))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g} %"))
        for i, (name, pair) in enumerate(pairs.items()):
            only = f"only in {second}" if pair[0] is None else f"only in {first}" if pair[1] is None else ""
            named(axes, i, plain(name, _NAME_CHARS), only, MUTED)
            _two_marks(axes, i, *(None if share is None else 100 * share for share in pair))

    about = f"Shares of the samples in {first} and in {second}; the numbers are in the table"
    return drawn("two-shares", about, len(pairs), draw, row_px=38)


def _two_marks(axes: Axes, i: int, first: float | None, second: float | None) -> None:
    """A hollow mark and a full one in a row, joined."""
    at = [x for x in (first, second) if x is not None]
    axes.plot(at, [i + 0.2] * len(at), color=C1, linewidth=2, alpha=0.5)
    for x, mark, fill in ((first, "D", PAPER), (second, "o", C1)):
        if x is not None:
            axes.plot([x], [i + 0.2], mark, ms=8, mfc=fill, mec=C1, mew=1.8, clip_on=False)


_FAR = 8.0
"""How many times the middle line's end is too far to set the scale."""


@dataclass(frozen=True)
class Line:
    """A variant in a forest plot.

    Args:
        sign: What its verdict looks like, a mark of matplotlib's.
        remark: Beside it, such as its verdict, or why there is nothing to draw.
        middle: The difference; None when there is none.
    """

    name: str
    sign: str
    remark: str
    middle: float | None = None
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Pair:
    """A run in a plot of pairs.

    Args:
        first: Drawn hollow.
        second: Drawn full.
    """

    name: str
    remark: str
    first: float
    second: float


def pairs(name: str, about: str, lines: Sequence[Pair], middle: float, unit: str) -> Markup:
    """Two amounts of every line, joined, and one amount that all are held against."""

    def draw(axes: Axes) -> None:
        every = [middle, *(x for line in lines for x in (line.first, line.second))]
        room = 0.06 * (max(every) - min(every)) or 1.0
        axes.set_xlim(min(every) - room, max(every) + room)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(unit)
        axes.axvline(middle, color=INK, linewidth=1, zorder=1)
        for i, line in enumerate(lines):
            named(axes, i, plain(line.name, 30), line.remark, MUTED)
            _two_marks(axes, i, line.first, line.second)

    return drawn(name, about, len(lines), draw, row_px=38)


def forest(name: str, about: str, lines: Sequence[Line], band: float | None, unit: str) -> Markup:
    """Differences to the base with their intervals, the zero line, and the band of pure noise.

    What lies far beyond all others, as of a task that a variant never learned, stands at the edge with its number, so
    that the others can be distinguished.
    """
    reach = _reach(lines, band)
    lines = [_at_the_edge(line, reach) for line in lines]

    def draw(axes: Axes) -> None:
        axes.set_xlim(-reach, reach)
        axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.3g}".replace("-", "−") if x else "0"))
        axes.set_xlabel(unit)
        if band:
            axes.axvspan(-band, band, color=BAND, linewidth=0, zorder=0)
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        for i, (line, (label, remark)) in enumerate(zip(lines, _labels(lines), strict=True)):
            named(axes, i, label, remark, MUTED)
            if line.middle is None:
                continue
            colour = {"^": C1, "v": C4}.get(line.sign, MUTED)
            ends = [min(max(end, -reach), reach) for end in (line.low, line.high)]
            axes.plot(ends, [i + 0.2] * 2, color=colour, linewidth=2)
            middle, fill = min(max(line.middle, -reach), reach), PAPER if line.sign == "o" else colour
            axes.plot([middle], [i + 0.2], line.sign, ms=8.5, mfc=fill, mec=colour, mew=1.6, clip_on=False)

    return drawn(name, about, len(lines), draw, row_px=40)


def _reach(lines: Sequence[Line], band: float | None) -> float:
    """Where the axis ends: a little beyond the farthest interval, those left out that are far beyond the others."""
    ends = [max(abs(x) for x in (line.low, line.high)) for line in lines if line.middle is not None]
    ends = sorted(end for end in ends if math.isfinite(end))
    most = _FAR * ends[len(ends) // 2] if ends else 0.0
    return 1.12 * max([*(end for end in ends if end <= most or not most), band or 0.0], default=0.0) or 1.0


def _at_the_edge(line: Line, reach: float) -> Line:
    """A line whose mark is outside says where it is."""
    if line.middle is None or abs(line.middle) <= reach:
        return line
    return replace(line, remark=f"{line.remark}, {line.middle:+.3g}".replace("-", "−"))


def _labels(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Name and remark of every line as they fit beside each other; no two names look the same.

    A verdict gives way to a long name: the mark says it too. What stands in place of a mark stays.
    """
    rooms = []
    for line in lines:
        remark = _shortened(line.remark, _REMARK_CHARS)
        is_tight = _columns(plain(line.name, 1000)) + _columns(remark) + 2 > _LINE_CHARS
        remark = "" if is_tight and line.middle is not None else remark
        rooms.append((line.name, _LINE_CHARS - (_columns(remark) + 2 if remark else 0), remark))
    labels = [_shortened(name, room) for name, room, _ in rooms]
    return [
        (label if labels.count(label) == 1 else f"{i + 1}: {_shortened(name, room - len(str(i + 1)) - 2)}", remark)
        for i, (label, (name, room, remark)) in enumerate(zip(labels, rooms, strict=True))
    ]


def _shortened(name: str, room: int) -> str:
    """A name with its beginning and its end, which is where variants of a grid differ."""
    line = plain(name, 1000)
    if _columns(line) <= room:
        return line
    head, tail = line, line
    while _columns(head) > (room - 1) // 2:
        head = head[:-1]
    while _columns(tail) > room - 1 - _columns(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def _columns(text: str) -> int:
    """How wide a text is, in letters; Chinese, Japanese and Korean ones count twice."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
