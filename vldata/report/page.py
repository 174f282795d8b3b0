"""Facts, plots and a gallery -> one HTML file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vldata import __version__
from vldata.base import size
from vldata.report import text
from vldata.report.facts import DUPLICATES, LEAKS, TOKEN_POLICIES, PageFacts, Spread, fingerprint, read_facts
from vldata.report.gallery import SampleImage, gallery
from vldata.store.trouble import as_store_errors

PAGE = "report.html"
"""Its name in a build folder."""

_MAX_REASONS, _MAX_WORDINGS = 60, 120
_NUM_OPEN = 3  # samples of a source that are seen at once
_STAGE_PX, _STAGE_HEIGHT_PX = 420, 380
_PARTS = (
    ("mixture", "Mixture"),
    ("rows", "Rows"),
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


def render(template: str, **values: Any) -> str:
    """A template of this package with values; everything is escaped that is not HTML of our own."""
    return _environment().get_template(template).render(version=__version__, **values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (
        text.inert,
        text.plain,
        text.count,
        text.percent,
        text.short,
        size,
        text.cut,
        text.signed,
        text.p_value,
    )
    environment.filters |= {function.__name__: function for function in filters}
    environment.filters |= {"folders": text.without_folders, "value": text.value, "fingerprint": fingerprint}
    environment.filters["by_source"] = lambda wordings: [
        (source, list(of_source)) for source, of_source in groupby(wordings, key=lambda one: one.source)
    ]
    environment.globals |= {"stage_px": _stage_px, "style": Markup((folder / "style.css").read_text())}
    return environment


def _stage_px(picture: SampleImage) -> int:
    """How wide a picture is shown: across its card, but neither too high nor blown up much."""
    widest = min(_STAGE_PX, max(160, 3 * picture.width))
    return max(1, round(min(widest, _STAGE_HEIGHT_PX * picture.width / picture.height)))


def write(page: str, out: Path) -> Path:
    """Write a page beside its place and rename it.

    Raises:
        StoreError: It cannot be written.
    """
    fresh = out.with_name(f".{out.name}.{os.getpid()}.new")
    with as_store_errors(out):
        try:
            fresh.write_text(page, encoding="utf-8", errors="backslashreplace")
            fresh.replace(out)
        finally:
            fresh.unlink(missing_ok=True)
    return out
