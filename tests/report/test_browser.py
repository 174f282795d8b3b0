"""The pages in headless Chromium: they open quietly, boxes stand where they should, harm stays text, all is legible."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from tests.report.conftest import BLUE, HOSTILE, RLO
from tests.report.test_other_pages import hard_names, results, tuning
from vldata.report.write import write_report

BOX = (196, 0, 95)
"""The colour that boxes are drawn in."""

PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def pages(place, tmp_path_factory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "results.json").write_text(results())
    other = place.again("other", limit=20).out
    (folder / "named").mkdir()
    (folder / "named" / "results.json").write_text(hard_names())
    (folder / "tuned").mkdir()
    (folder / "tuned" / "tune.json").write_text(json.dumps(tuning()))
    return {
        "build": place.page,
        "tuning": write_report(folder / "tuned"),
        "compare": write_report(place.built.out, other, folder / "compare.html"),
        "ablation": write_report(folder),
        "hard names": write_report(folder / "named"),
    }


@pytest.fixture
def opened(browser) -> Iterator[Any]:
    """Opens a page in a window of its own; whatever it says, asks for or runs into is kept in ``heard``."""
    contexts = []

    def open_page(file: Path, size: dict[str, int] = DESK, scheme: str = "light") -> tuple[Any, list[str]]:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page, heard = context.new_page(), []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: (heard.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith("data:") or heard.append(request.url))
        page.goto(file.as_uri())
        assert heard.pop(0) == file.as_uri()
        return page, heard

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("kind", ["build", "compare", "ablation", "tuning"])
def test_it_opens_without_an_error_or_a_request(pages, opened, kind) -> None:
    page, heard = opened(pages[kind])
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.wait_for_load_state("networkidle")
    assert heard == []
    assert page.locator("h1").count() == 1
    assert page.locator("script").count() == 0


def test_the_policy_forbids_scripts_and_the_network(pages, opened) -> None:
    """What would run or ask, if it came in after all, is refused: a server that listens hears nothing."""
    requests: list[str] = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listening) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page, heard = opened(pages["build"])
        page.evaluate(
            """address => document.body.insertAdjacentHTML('beforeend',
                `<img src='${address}/x.png' onerror='document.title = "hit"'>
                 <iframe src='${address}/y'></iframe><link rel=stylesheet href='${address}/z.css'>`)""",
            f"http://127.0.0.1:{server.server_port}",
        )
        page.wait_for_timeout(300)
        server.shutdown()
    assert requests == []
    assert page.title() == "hostile"
    assert sum("Content Security Policy" in line for line in heard) >= 3


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("kind", ["build", "compare", "ablation", "hard names", "tuning"])
def test_nothing_is_wider_than_the_window(pages, opened, kind, size) -> None:
    page, _ = opened(pages[kind], size)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    cut = page.evaluate(
        """[...document.querySelectorAll('.stage, svg.plot, .card, h1, h2, p')].filter(one => {
            const box = one.getBoundingClientRect(), around = one.parentElement.getBoundingClientRect();
            return box.width && (box.right > around.right + 1 || box.left < around.left - 1);
        }).length"""
    )
    assert cut == 0


def test_the_verdicts_of_long_names_are_seen_without_scrolling(pages, opened) -> None:
    page, _ = opened(pages["hard names"])
    hidden = page.evaluate(
        """[...document.querySelectorAll('td.verdict')].filter(one => {
            const box = one.getBoundingClientRect(), around = one.closest('.scroll').getBoundingClientRect();
            return box.right > around.right + 1;
        }).length"""
    )
    assert hidden == 0
    sideways = page.evaluate(
        """[...document.querySelectorAll('svg.plot')].filter(plot => [...plot.querySelectorAll('text')].some(
            one => one.getBoundingClientRect().right > plot.getBoundingClientRect().right + 8)).length"""
    )
    assert sideways == 0


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_boxes_stand_where_the_rows_say(place, opened, size) -> None:
    page, _ = opened(place.page, size)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    rows = {
        row["id"]: row
        for split in datasets.load_from_disk(str(place.built.out)).values()
        for row in split.remove_columns("images")
    }
    shown = page.evaluate(
        """[...document.querySelectorAll('.card')].map(card => ({
            id: card.querySelector('h4').textContent,
            stages: [...card.querySelectorAll('.stage')].map(stage => {
                const img = stage.querySelector('img').getBoundingClientRect();
                return [...stage.querySelectorAll('rect.box')].map(rect => {
                    const matrix = rect.getScreenCTM(), at = rect.getBBox();
                    const low = new DOMPoint(at.x, at.y).matrixTransform(matrix);
                    const high = new DOMPoint(at.x + at.width, at.y + at.height).matrixTransform(matrix);
                    return [(low.x - img.x) / img.width, (low.y - img.y) / img.height,
                            (high.x - img.x) / img.width, (high.y - img.y) / img.height];
                });
            })
        }))"""
    )
    seen = 0
    for card in shown:
        if card["id"] not in rows:  # a name with odd characters, written out
            continue
        row = rows[card["id"]]
        for number, measured in enumerate(card["stages"]):
            size_ = row["image_sizes"][number]
            wanted = [
                [
                    b["x0"] / size_["width"],
                    b["y0"] / size_["height"],
                    b["x1"] / size_["width"],
                    b["y1"] / size_["height"],
                ]
                for turn in row["turns"]
                for b in turn["boxes"]
                if (b["image"] or 0) == number
            ]
            assert np.array(measured).reshape(-1, 4) == pytest.approx(np.array(wanted).reshape(-1, 4), abs=0.003)
            seen += len(measured)
    assert seen >= 10


def test_boxes_stand_on_what_is_painted(place, opened) -> None:
    """The images have a blue rectangle where the annotation has a box; turned and shrunk ones too."""
    page, _ = opened(place.page)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.add_style_tag(content=".tag, .stage text, .casing { display: none }")
    stages = page.locator(
        "section[aria-label='Samples of boxes'] .stage, section[aria-label='Samples of shrunk'] .stage"
    )
    assert stages.count() == 10
    for i in range(stages.count()):
        pixels = np.asarray(Image.open(io.BytesIO(stages.nth(i).screenshot())).convert("RGB")).astype(int)
        painted, drawn = (np.argwhere(np.abs(pixels - colour).sum(axis=2) < 90) for colour in (BLUE, BOX))
        assert len(painted) and len(drawn)
        assert drawn.min(axis=0) == pytest.approx(painted.min(axis=0), abs=3)
        assert drawn.max(axis=0) == pytest.approx(painted.max(axis=0), abs=3)


def test_hostile_texts_are_read_and_nothing_more(place, opened) -> None:
    page, heard = opened(place.page)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert heard == []
    assert page.title() == "hostile"
    read = page.locator("main").inner_text()
    for raw in HOSTILE:
        assert (
            raw.replace(RLO, "U+202E").replace("\u2066", "U+2066").replace("\x07", "U+0007").replace("\u200b", "U+200B")
            in read
        )
    everything = page.locator("html").text_content()
    assert not any(odd in everything for odd in (RLO, "\u2066", "\x07", "\u200b"))
    assert page.locator("main h1, .card img[onerror], .card script, style ~ style").count() == 0
    assert str(7 * 191) not in read


def test_arabic_runs_from_the_right_and_turns_nothing_else(place, opened) -> None:
    page, _ = opened(place.page)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    measured = page.evaluate(
        """[...document.querySelectorAll('.talk bdi')].map(one => [one.textContent, getComputedStyle(one).direction,
            getComputedStyle(one).unicodeBidi, getComputedStyle(one.parentElement).direction])"""
    )
    directions = {text: (own, bidi, around) for text, own, bidi, around in measured}
    assert directions[f"{HOSTILE[-1]} again"] == ("rtl", "isolate", "ltr")
    assert directions[f"{HOSTILE[0]} again"] == ("ltr", "isolate", "ltr")


def _luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(
        weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["build", "compare", "ablation", "tuning"])
def test_every_text_stands_out_from_its_ground(pages, opened, kind, scheme) -> None:
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5 : 1, for the letters of plots too."""
    page, _ = opened(pages[kind], scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    pairs = page.evaluate(
        """(() => {
            const pairs = {};
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                const text = walker.currentNode.textContent.trim();
                const one = walker.currentNode.parentElement;
                if (!text || one.closest('.stage svg, style, .skip')) continue;
                const style = getComputedStyle(one);
                const front = one.closest('svg') ? style.fill : style.color;
                let around = one, back = 'rgba(0, 0, 0, 0)';
                while (around && back.endsWith(', 0)')) {
                    back = getComputedStyle(around).backgroundColor; around = around.parentElement;
                }
                pairs[front + '|' + back] = text.slice(0, 40);
            }
            return Object.entries(pairs);
        })()"""
    )
    assert len(pairs) > 3
    grounds = set()
    for pair, text in pairs:
        front, back = (_luminance(colour) for colour in pair.split("|"))
        grounds.add(back)
        ratio = (max(front, back) + 0.05) / (min(front, back) + 0.05)
        assert ratio >= 4.5, f"{pair}: {ratio:.2f} ({text})"
    assert (max(grounds) < 0.1) == (scheme == "dark")


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(place, opened) -> None:
    page, _ = opened(place.page)
    controls = page.evaluate(
        """(() => {
            const controls = [...document.querySelectorAll('a[href], summary, [tabindex="0"]')].filter(
                one => one.checkVisibility());
            window.reached = [];
            document.addEventListener('focusin', event => reached.push(
                [controls.indexOf(event.target), getComputedStyle(event.target).outlineStyle]));
            return controls.length;
        })()"""
    )
    for _ in range(controls):
        page.keyboard.press("Tab")
    reached = page.evaluate("reached")
    assert [at for at, _ in reached] == list(range(controls))
    assert "none" not in [outline for _, outline in reached]


def test_details_open_with_the_keyboard(place, opened) -> None:
    page, _ = opened(place.page)
    page.locator("#rows summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#rows details").first.get_attribute("open") is not None


@pytest.mark.parametrize("kind", ["build", "compare", "ablation", "tuning"])
def test_a_screen_reader_finds_its_way(pages, opened, kind) -> None:
    page, _ = opened(pages[kind])
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    unnamed = page.evaluate(
        """[...document.querySelectorAll(`img:not([alt]), img[alt=""], svg[role=img]:not([aria-label]),
            [role=region]:not([aria-label]), th:not([scope])`)].length"""
    )
    assert unnamed == 0
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(one => +one.tagName[1])")
    assert levels[0] == 1 and all(b <= a + 1 for a, b in pairwise(levels))
    targets = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => !!document.querySelector(a.hash))"
    )
    assert targets and all(targets)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_every_plot_has_its_texts_and_takes_its_colours_from_the_page(place, opened) -> None:
    page, _ = opened(place.page)
    counts = page.evaluate(
        "[...document.querySelectorAll('svg.plot')].map(plot => plot.querySelectorAll('text').length)"
    )
    assert len(counts) == 4 and min(counts) > 5
    fills = "getComputedStyle(document.querySelector('svg.plot text')).fill"
    light = page.evaluate(fills)
    dark, _ = opened(place.page, scheme="dark")
    assert dark.evaluate(fills) != light
    assert "#0" not in page.evaluate("document.querySelector('svg.plot').outerHTML")
