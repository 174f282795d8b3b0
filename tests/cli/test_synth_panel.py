"""What is shown while a run goes on."""

from __future__ import annotations

from vldata.cli.synth_panel import Panel
from vldata.llm.events import Event
from vldata.llm.prices import Usage


def test_the_panel_shows_what_is_done_known_sent_failed_and_spent() -> None:
    panel = Panel()
    panel.begin("chat", 10)
    assert "0 of 10 done" in panel.lines() and "left" not in panel.lines()
    events = [
        Event("hit", "a"),
        Event("sent", "b"),
        Event("retry", "b", "rate_limited", 0.1),
        Event("sent", "b"),
        Event("answered", "b", usage=Usage(700, 50), cost_usd=0.0123),
        Event("sent", "c"),
        Event("failed", "c", "content_policy"),
    ]
    for event in events:
        panel.watch("chat", event)
    panel.begin("other", 5)
    first, second = panel.lines().split("\n")
    for part in ("3 of 10 done (1 known)", "3 sent", "1 retries", "1 content_policy", "s left", "750 tokens", "0.0123"):
        assert part in first
    assert second.startswith("other: 0 of 5")
