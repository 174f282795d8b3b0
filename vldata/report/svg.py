"""Matplotlib figures as inline SVG that takes its colours and its type from the page.

Matplotlib knows no CSS variables, so figures are drawn in `INKS`, colours that stand for variables, which are put in
their place afterwards. Texts stay texts. What is drawn depends on the numbers alone: bundled font metrics, no time, no
random names.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH_PX = 360
"""Of every plot: as wide as a phone shows without shrinking its letters."""

INKS = {
    "#010101": "--ink",
    "#020202": "--muted",
    "#030303": "--rule",
    "#040404": "--paper",
    "#050505": "--c1",
    "#060606": "--c2",
    "#070707": "--c3",
    "#080808": "--c4",
    "#090909": "--band",
}
"""Colour in a figure -> variable of the page's style."""

INK, MUTED, RULE, PAPER, C1, C2, C3, C4, BAND = INKS
SERIES = (C1, C2, C3, C4)

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with $ in it is a name
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that widths are the same everywhere
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.labelsize": 10.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10.5,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.labelsize": 11,
    "grid.color": RULE,
    "grid.linewidth": 1,
}
_POINTS_AN_INCH = 72  # matplotlib's SVG counts in points; here a point is a pixel of the page
_HEAD_PX, _FOOT_PX = 4, 40


def drawn(
    name: str, about: str, rows: int, draw: Callable[[Axes], None], *, row_px: float = 30, wide_px: int = WIDTH_PX
) -> Markup:
    """A figure of horizontal rows, each under its name.

    Args:
        name: Put before the ids in the SVG, so that several stand in one page.
        about: What it shows, for those who do not see it.
        rows: Names on the vertical axis.
        draw: Draws on the axes; row ``i`` has its middle at y = ``i``.
    """
    height = _HEAD_PX + rows * row_px + _FOOT_PX
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(wide_px / _POINTS_AN_INCH, height / _POINTS_AN_INCH), facecolor="none")
        FigureCanvasSVG(figure)
        box = (6 / wide_px, _FOOT_PX / height, 1 - 18 / wide_px, 1 - (_HEAD_PX + _FOOT_PX) / height)
        axes = figure.add_axes(box)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.yaxis.set_visible(False)
        axes.grid(axis="x")
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return _inline(out.getvalue(), name, about)


def named(axes: Axes, i: int, name: str, right: str = "", colour: str = INK) -> None:
    """A row's name above its marks, at the left, and a remark at the right."""
    across = axes.get_yaxis_transform()
    axes.text(0, i - 0.26, name, transform=across, va="center", ha="left", fontsize=11)
    if right:
        axes.text(1, i - 0.26, right, transform=across, va="center", ha="right", fontsize=10.5, color=colour)


def _inline(svg: str, name: str, about: str) -> Markup:
    """The drawing without its head, its own style and its fonts; ids with a name before them, inks as variables."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<g) id="[^"]*"', r"\1", body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-').replace("xlink:href", "href")
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"\n\s*", "\n", body)
    for ink, variable in INKS.items():
        body = body.replace(ink, f"var({variable})")
    view = re.search(r'viewBox="([^"]*)"', body)
    head = f'<svg class="plot" viewBox="{view[1] if view else ""}" role="img" aria-label="{escape(about)}">'
    return Markup(head + body[body.index(">") + 1 :])
