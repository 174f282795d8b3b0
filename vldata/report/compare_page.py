"""Two builds side by side: shares, what became of their rows, lengths, and what differs in blocks and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vldata.dataset.diff import differences
from vldata.paths import home
from vldata.report import plots
from vldata.report.build_facts import PageFacts, Spread, read_facts
from vldata.report.render import render

_PARTS = (
    ("mixture", "Mixture"),
    ("rows", "Rows"),
    ("lengths", "Lengths"),
    ("blocks", "Blocks and samples"),
    ("recipe", "Recipe"),
)
_MAX_CHANGES = 200


def compare_page(a: Path, b: Path) -> str:
    """The HTML of the page.

    Raises:
        BuildError: One of them is not a build, or cannot be read.
    """
    one, two = read_facts(a), read_facts(b)
    names = list(dict.fromkeys([*one.manifest["sources"], *two.manifest["sources"]]))
    diff = differences(a, b)
    titles = [str(facts.manifest["name"]) for facts in (one, two)]
    if titles[0] == titles[1]:  # as of two variants of an ablation
        titles = [home(folder).resolve().name for folder in (a, b)]
    shares = {name: (_share(one.manifest, name, "samples"), _share(two.manifest, name, "samples")) for name in names}
    return render(
        "compare.html.jinja",
        title=" and ".join(titles),
        titles=titles,
        parts=_PARTS,
        a=one.manifest,
        b=two.manifest,
        units=plots.UNIT_NAMES,
        plot=plots.two_shares(shares, "A", "B"),
        shares={
            name: {unit: [_share(facts.manifest, name, unit) for facts in (one, two)] for unit in plots.UNIT_NAMES}
            for name in names
        },
        epochs={name: [_number(facts.manifest, name, "epochs") for facts in (one, two)] for name in names},
        flows={
            name: {key: [_number(facts.manifest, name, key) for facts in (one, two)] for key in _FLOW} for name in names
        },
        flow_names=_FLOW,
        reasons=_reasons(one, two),
        lengths=_lengths(one, two, names),
        diff=diff,
        changes=diff["recipe"][:_MAX_CHANGES],
        num_changes=len(diff["recipe"]),
    )


_FLOW = {
    "rows_in": "Read",
    "rows_out": "Used",
    "filtered": "Filtered",
    "rejected": "Rejected",
    "not_chosen": "Not chosen",
    "repeats": "Repeated",
}


def _share(manifest: Mapping[str, Any], name: str, unit: str) -> float | None:
    source = manifest["sources"].get(name)
    return None if source is None else source["achieved_share"][unit]


def _number(manifest: Mapping[str, Any], name: str, key: str) -> Any:
    source = manifest["sources"].get(name)
    return None if source is None else source[key]


def _reasons(one: PageFacts, two: PageFacts) -> list[tuple[str, str, int, int]]:
    """Source, reason and how many turns in each, where these differ."""
    counts = [{(r.source, r.reason): r.num for r in facts.reasons} for facts in (one, two)]
    keys = list(dict.fromkeys([*counts[0], *counts[1]]))
    rows = [(*key, counts[0].get(key, 0), counts[1].get(key, 0)) for key in keys]
    return [row for row in rows if row[2] != row[3]]


def _lengths(
    one: PageFacts, two: PageFacts, names: list[str]
) -> dict[str, list[tuple[str, Spread | None, Spread | None]]]:
    """Source to what is counted and how it is spread in each."""
    kinds = {"characters": [facts.chars for facts in (one, two)], "turns": [facts.turns for facts in (one, two)]}
    kinds |= {f"visual tokens, {p.replace('_', '-')}": [f.tokens[p] for f in (one, two)] for p in one.tokens}
    return {
        name: [
            (what, in_a.get(name), in_b.get(name))
            for what, (in_a, in_b) in kinds.items()
            if name in in_a or name in in_b
        ]
        for name in names
    }
