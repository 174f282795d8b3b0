"""Whose fault a refusal is: the row's, when the server answers others; the endpoint's, when it answers nobody.

A 403 without a reason may be a moderation of one prompt or a key that may do nothing, and a 400 may be one image or a
parameter of every request. So rows that are refused are held until the next answer, and given up with it; when none
comes, the run stops, and they are left as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from vldata.llm.faults import Fault
from vldata.llm.job import RequestJob
from vldata.llm.servers import Servers

AT_FIRST = 3
"""Rows that are forbidden before anything is answered, after which no more are tried."""

IN_A_ROW = 20
"""The same after answers: a filter that refuses half of all prompts does that by chance once in a million times."""

Verdict = Literal["wait", "go on", "stop"]


class Refusals:
    """The rows that were refused since the last answer.

    Args:
        give_up: Called with each whose fault is its own.
    """

    def __init__(self, servers: Servers, give_up: Callable[[RequestJob, Fault], None]) -> None:
        self._servers = servers
        self._give_up = give_up
        self._held: dict[str, tuple[RequestJob, Fault]] = {}
        self._num_forbidden = 0
        self._has_answered = False

    @staticmethod
    def is_suspect(fault: Fault) -> bool:
        """Whether it is not known whose fault it is."""
        return fault.name in ("forbidden", "bad_request")

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def add(self, job: RequestJob, fault: Fault) -> Verdict:
        """Hold a refused row."""
        self._held[job.request.key] = (job, fault)
        self._num_forbidden += fault.name == "forbidden"
        if fault.name != "forbidden":  # the breaker counts these
            return "go on"
        if not self._has_answered:
            self._servers.gate.hold(is_held=True)
        return self.verdict()

    def verdict(self) -> Verdict:
        """What follows from those that are held."""
        if self._has_answered:
            return "stop" if self._num_forbidden >= IN_A_ROW else "go on"
        if self._servers.num_under_way:
            return "wait"
        if self._num_forbidden >= AT_FIRST:
            return "stop"
        self._servers.gate.hold(is_held=False)
        return "go on"

    def answered(self) -> None:
        """The server answers others: those that are held are refused for what they are."""
        if not self._has_answered:
            self._has_answered = True
            self._servers.gate.hold(is_held=False)
        for job, fault in self._take():
            self._give_up(job, replace(fault, name="refused") if fault.name == "forbidden" else fault)

    def _take(self) -> list[tuple[RequestJob, Fault]]:
        held = list(self._held.values())
        self._held.clear()
        self._num_forbidden = 0
        return held

    def end(self, *, has_answered_before: bool, is_stopped: bool) -> list[tuple[RequestJob, Fault]]:
        """The run is over; those of which nobody knows, to be left as they are.

        Args:
            has_answered_before: This endpoint is known to answer from earlier runs.
        """
        if is_stopped:
            return self._take()
        left = []
        for job, fault in self._take():
            if fault.name == "forbidden" and not (self._has_answered or has_answered_before):
                left.append((job, fault))
            else:
                self._give_up(job, replace(fault, name="refused") if fault.name == "forbidden" else fault)
        return left
