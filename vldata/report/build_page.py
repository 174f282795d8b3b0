"""The page of a build: facts, plots and a gallery in one HTML file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from vldata.dataset.columns import column_lines
from vldata.report import text
from vldata.report.build_facts import DUPLICATES, LEAKS, TOKEN_POLICIES, PageFacts, Spread, read_facts
from vldata.report.gallery import gallery
from vldata.report.render import render, write

PAGE = "report.html"
"""Its name in a build folder."""

_MAX_REASONS, _MAX_WORDINGS = 60, 120
_NUM_OPEN = 3  # samples of a source that are seen at once
_PARTS = (
    ("mixture", "Mixture"),
    ("rows", "Rows"),
    ("columns", "Columns"),
    ("lengths", "Lengths"),
    ("tasks", "Tasks and templates"),
    ("leaks", "Duplicates and leaks"),
    ("synthesis", "Synthesis"),
    ("gallery", "Gallery"),
    ("origin", "Origin"),
)


def write_build_page(build: Path, out: Path | None = None) -> Path:
    """Write the page of a build; it is whole or not there.

    Args:
        build: A build folder; also one that is not in its place yet.
        out: The file; None is ``report.html`` in the build.

    Returns:
        The file.

    Raises:
        BuildError: Not a build, or a file of it cannot be read.
        StoreError: The page cannot be written.
    """
    return write(build_page(build), out or build / PAGE)


def build_page(build: Path) -> str:
    """The HTML of a build's page.

    Raises:
        BuildError: As `read_facts`.
    """
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(import_module, "vldata.report.plots")  # half of the page's time, while the build is read
        facts, shown = read_facts(build), gallery(build)
        loading.result()
    return render("build.html.jinja", title=facts.manifest["name"], parts=_PARTS, **_of_build(facts), gallery=shown)


def _of_build(facts: PageFacts) -> dict[str, Any]:
    from vldata.report import plots

    manifest = facts.manifest
    totals, recipe = manifest["totals"], manifest["recipe"]
    with_tokens = any(facts.tokens.values())
    figures = [(text.count(totals["samples"]), "samples"), (text.count(totals["images"]), "images")]
    figures += [(text.count(totals["turns"]), "turns"), (text.short(totals["answer_chars"]), "answer characters")]
    figures += [(str(len(manifest["sources"])), "sources")]
    inputs = {
        name: sorted((Path(file).name, digest) for file, digest in files.items())
        for name, files in manifest["inputs"].items()
    }
    return {
        "facts": facts,
        "manifest": manifest,
        "about": recipe.get("about") or "",
        "unit": (recipe.get("mixture") or {}).get("unit", "samples"),
        "units": plots.UNIT_NAMES,
        "figures": figures,
        "plots": {
            "shares": plots.shares(facts),
            "flow": plots.flow(facts),
            "lengths": plots.lengths(facts.chars, "characters a sample"),
            "tokens": plots.tokens(facts.tokens) if with_tokens else None,
        },
        "token_legend": [
            (sign, about, f"k{i + 1}")
            for i, (sign, about) in enumerate(zip(plots.MARK_SIGNS, TOKEN_POLICIES.values(), strict=False))
        ],
        "spreads": _spreads(facts),
        "doubles": [r for r in (*DUPLICATES, *LEAKS) if any(r in s["reasons"] for s in manifest["sources"].values())],
        "synth": manifest.get("synth"),
        "columns": {n: lines for n, s in manifest["sources"].items() if (lines := column_lines(s.get("columns")))},
        "inputs": inputs,
        "num_bytes": sum(block["size_bytes"] for block in manifest["blocks"]),
        "max_reasons": _MAX_REASONS,
        "max_wordings": _MAX_WORDINGS,
        "num_open": _NUM_OPEN,
    }


def _spreads(facts: PageFacts) -> dict[str, list[tuple[str, Spread]]]:
    """Source to what is counted and how it is spread."""
    rows = {}
    for name in facts.chars:
        tokens = [
            (f"visual tokens, {policy.replace('_', '-')}", spreads[name])
            for policy, spreads in facts.tokens.items()
            if name in spreads
        ]
        rows[name] = [("characters", facts.chars[name]), ("turns", facts.turns[name]), *tokens]
    return rows
