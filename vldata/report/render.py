"""Templates of the pages with their values -> HTML, and HTML -> a file."""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vldata import __version__
from vldata.base import size
from vldata.report import text
from vldata.report.boxes_on_images import stage_px
from vldata.report.build_facts import fingerprint
from vldata.store.trouble import as_store_errors


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
    filters = (text.inert, text.plain, text.count, text.percent, text.short, size, text.cut, text.signed, text.p_value)
    environment.filters |= {function.__name__: function for function in filters}
    environment.filters |= {"folders": text.without_folders, "value": text.value, "fingerprint": fingerprint}
    environment.filters["by_source"] = lambda wordings: [
        (source, list(of_source)) for source, of_source in groupby(wordings, key=lambda one: one.source)
    ]
    environment.globals |= {"stage_px": stage_px, "style": Markup((folder / "style.css").read_text())}
    return environment


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
