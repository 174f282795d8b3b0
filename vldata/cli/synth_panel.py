"""The live panel of `vldata synth run`: done, known, sent, failed by class, rate, time left, tokens and money."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any


class _Counts:
    """What the panel shows of one source."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.started = name, total, time.monotonic()
        self.seen: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.tokens, self.usd = 0, 0.0

    def add(self, event: Any) -> None:
        self.seen[event.kind] += 1
        if event.kind == "failed" and event.fault:
            self.faults[event.fault] += 1
        if event.usage is not None:
            self.tokens += event.usage.tokens
        self.usd += event.cost_usd or 0.0

    def line(self) -> str:
        ended = self.seen["answered"] + self.seen["failed"]
        done = ended + self.seen["hit"]
        rate = ended / max(1e-9, time.monotonic() - self.started)
        left = f", {max(0, self.total - done) / rate:,.0f} s left" if ended else ""
        failed = "".join(f", {count:,} {fault}" for fault, count in self.faults.items())
        return (
            f"{self.name}: {done:,} of {self.total:,} done ({self.seen['hit']:,} known), {self.seen['sent']:,} sent,"
            f" {self.seen['retry']:,} retries{failed}; {rate:,.1f}/s{left}; {self.tokens:,} tokens, {self.usd:.4f} USD"
        )


class Panel:
    """Lines that live while requests are under way, one a source."""

    def __init__(self) -> None:
        self.counts: dict[str, _Counts] = {}

    def begin(self, name: str, total: int) -> None:
        """A source begins."""
        self.counts[name] = _Counts(name, total)

    def watch(self, name: str, event: Any) -> None:
        """Something happened to a source's request: a `vldata.llm.events.Event`."""
        self.counts[name].add(event)

    def lines(self) -> str:
        """As they are now."""
        return "\n".join(counts.line() for counts in list(self.counts.values()))
