"""Whose fault a refusal is: the row's, when the model answers others; the endpoint's, when it answers nobody.

A 403 without a reason may be a moderation of one prompt or a key that may do nothing, and a 400 may be one image or a
parameter of every request. So rows that are refused are held until the next answer of their model, and given up with
it; when none comes, the run stops, and they are left as they were. What tells of the model or of a parameter stops a
run at once, unless that model has answered others with the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from vldata.llm.faults import Fault, Scope
from vldata.llm.job import RequestJob
from vldata.llm.servers import Servers

AT_FIRST = 3
"""Rows that are forbidden before anything is answered, after which no more are tried."""

IN_A_ROW = 20
"""The same after answers: a filter that refuses half of all prompts does that by chance once in a million times."""

_OF_ALL_ROWS = ("unknown_model", "unsupported_parameter", "takes_no_images")
Verdict = Literal["wait", "go on", "stop"]


@dataclass(slots=True)
class _Model:
    """The rows of one model that were refused since its last answer."""

    held: dict[str, tuple[RequestJob, Fault]] = field(default_factory=dict)
    has_answered: bool = False

    @property
    def num_strict(self) -> int:
        """Those that would stop a run; of the others the breaker keeps count."""
        return sum(fault.scope is Scope.RUN for _, fault in self.held.values())


class Refusals:
    """The rows that were refused since the last answer, by model.

    Args:
        give_up: Called with each whose fault is its own.
    """

    def __init__(self, servers: Servers, give_up: Callable[[RequestJob, Fault], None]) -> None:
        self._servers = servers
        self._give_up = give_up
        self._models: dict[str, _Model] = {}

    def is_suspect(self, fault: Fault, model: str) -> bool:
        """Whether it is not known whose fault it is."""
        if fault.name in _OF_ALL_ROWS:  # of several servers, one may have another model
            return len(self._servers.all) == 1 and self._of(model).has_answered
        return fault.name in ("forbidden", "bad_request")

    def __contains__(self, key: object) -> bool:
        return any(key in model.held for model in self._models.values())

    def add(self, job: RequestJob, fault: Fault) -> Verdict:
        """Hold a refused row."""
        model = self._of(job.request.model)
        model.held[job.request.key] = (job, fault)
        if fault.scope is not Scope.RUN:
            return "go on"
        if not model.has_answered:
            self._servers.gate.hold(is_held=True)
        return self.verdict(job.request.model)

    def verdict(self, name: str) -> Verdict:
        """What follows from those of a model that are held."""
        model = self._of(name)
        if model.has_answered:
            return "stop" if model.num_strict >= IN_A_ROW else "go on"
        if self._servers.num_under_way:
            return "wait"
        if model.num_strict >= AT_FIRST:
            return "stop"
        self._servers.gate.hold(is_held=False)
        return "go on"

    def answered(self, name: str) -> None:
        """A model answers: those of it that are held are refused for what they are."""
        model = self._of(name)
        if not model.has_answered:
            model.has_answered = True
            self._servers.gate.hold(is_held=False)
        if model.held:
            held, model.held = model.held, {}
            self._refuse(held)

    def end(self, *, has_answered_before: bool, is_stopped: bool) -> list[tuple[RequestJob, Fault]]:
        """The run is over; those of which nobody knows, to be left as they are.

        Args:
            has_answered_before: This endpoint is known to answer from earlier runs.
        """
        left = list[tuple[RequestJob, Fault]]()
        for model in self._models.values():
            is_known = model.has_answered or has_answered_before
            unknown = {key: one for key, one in model.held.items() if is_stopped or not (is_known or _is_rows(one[1]))}
            self._refuse({key: one for key, one in model.held.items() if key not in unknown})
            left += unknown.values()
            model.held = {}
        return left

    def _refuse(self, held: dict[str, tuple[RequestJob, Fault]]) -> None:
        for job, fault in held.values():
            self._give_up(job, fault if _is_rows(fault) else replace(fault, name="refused"))

    def _of(self, model: str) -> _Model:
        return self._models.setdefault(model, _Model())


def _is_rows(fault: Fault) -> bool:
    return fault.scope is Scope.ROW
