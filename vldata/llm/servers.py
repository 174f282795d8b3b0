"""The servers of an endpoint: one, or several that answer the same; each with its pace, its breaker and its failures.

A request goes to the least loaded, and after a failure to another one where there is one. A server that fails is left
alone, then tried with one request at a time, and joins again with the first answer; one that says of itself what no
waiting cures, such as that it has no such model, is left out for the rest of the run. Only when all are given up does
the run stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vldata.llm.endpoint import Endpoint, EndpointError, endpoint_error
from vldata.llm.faults import Fault, Scope
from vldata.llm.pace import MAX_WAIT_S, Breaker, Gate, Pace, Ticket
from vldata.llm.spelling import Renames

if TYPE_CHECKING:
    from vldata.llm.client import Client

_WHOLE_ENDPOINT = ("unauthorized", "barred", "out_of_credit", "no_key")
"""Faults of the key, which is the same for all servers."""


class Server:
    """One server.

    Args:
        endpoint: With the server's own URL and limits.
        concurrency: Requests under way at once, at most.
        gate: Shared by all servers.
    """

    def __init__(self, endpoint: Endpoint, concurrency: int, gate: Gate) -> None:
        self.endpoint = endpoint
        self.most = max(1, min(concurrency, endpoint.max_concurrency or concurrency))
        self.pace = Pace(self.most, rpm=endpoint.rpm, tpm=endpoint.tpm, gate=gate)
        self.breaker = Breaker(max(20, 2 * self.most))
        self.client: Client | None = None
        self.renames: dict[str, Renames] = {}
        self.left_out_by: Fault | None = None
        self.num_sent = self.num_answered = self.num_failed = 0

    @property
    def is_usable(self) -> bool:
        """Whether it may answer yet."""
        return self.left_out_by is None and not self.breaker.has_given_up and self.pace.paused_s <= MAX_WAIT_S


class Servers:
    """All servers of an endpoint.

    Args:
        concurrency: Requests under way at once, over all.
        pausing: Called with the name of a fault and the seconds for which a server is left alone.
        halt: Ends the run, with a reason and an error for people.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        concurrency: int,
        pausing: Callable[[str, float], None],
        halt: Callable[[str, EndpointError], None],
    ) -> None:
        self.gate = Gate()
        self.all = [Server(each, concurrency, self.gate) for each in endpoint.each]
        self.concurrency = min(max(1, concurrency), sum(server.most for server in self.all))
        self._pausing = pausing
        self._halt = halt

    @property
    def num_under_way(self) -> int:
        """Requests that were sent and have not come back."""
        return sum(server.pace.num_under_way for server in self.all)

    def connect(self) -> None:
        """Open a client for each.

        Raises:
            EndpointError: There is no key.
        """
        from vldata.llm.client import Client  # loads the whole client library, which hits do without

        for server in self.all:
            server.client = Client(server.endpoint, server.most)

    async def close(self) -> None:
        """Give all connections back."""
        for server in self.all:
            if server.client is not None:
                await server.client.close()

    async def enter(self, tokens: int, avoid: Server | None) -> tuple[Server, Ticket]:
        """Wait until a request may be sent to one of them; see `vldata.llm.pace.Gate.enter`.

        Args:
            avoid: Another one is better, where there is one.
        """

        def by_load() -> Sequence[Pace]:
            left = [server for server in self.all if server.left_out_by is None]
            left.sort(key=lambda server: (server is avoid, server.pace.load, server.num_sent))
            return [server.pace for server in left]

        pace, ticket = await self.gate.enter(by_load, tokens)
        server = next(server for server in self.all if server.pace is pace)
        server.num_sent += 1
        return server, ticket

    def answered(self, server: Server, ticket: Ticket) -> None:
        """An answer came."""
        server.num_answered += 1
        server.pace.concurrency.answered()
        server.breaker.count(failed=False, sent_at=ticket.sent_at, now=server.pace.now())

    def failed(self, server: Server, ticket: Ticket, fault: Fault, *, is_suspect: bool = False) -> None:
        """Let a fault slow down, leave out or stop what comes after it.

        Args:
            is_suspect: It may be the fault of its row alone.
        """
        now, others = server.pace.now(), [s for s in self.all if s is not server and s.is_usable]
        server.num_failed += 1
        if fault.is_congestion:
            server.pace.concurrency.congested(ticket.sent_at, now)
        if fault.scope is Scope.RUN and not is_suspect:
            self._leave_out(server, fault, others)
        if fault.retry_after_s and fault.scope is Scope.RETRY:
            if fault.retry_after_s > MAX_WAIT_S and not others:
                self._halt("long_wait", endpoint_error(server.endpoint, fault))
            else:
                self._pause(server, fault.retry_after_s, fault)
        counts = fault.name == "bad_request" or (fault.scope is Scope.RETRY and fault.name != "rate_limited")
        is_away = fault.name in ("unreachable", "connection_lost", "overloaded") and len(self.all) > 1
        wait = server.breaker.count(failed=True, sent_at=ticket.sent_at, now=now, at_once=is_away) if counts else None
        if server.breaker.has_given_up and not others:
            self._halt("failing", endpoint_error(server.endpoint, fault))
        elif wait is not None:
            server.pace.concurrency.alone(now)
            self._pause(server, wait, fault)

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """What became of attempts, by URL."""
        return {
            server.endpoint.url: {"sent": server.num_sent, "answered": server.num_answered, "failed": server.num_failed}
            for server in self.all
        }

    def _leave_out(self, server: Server, fault: Fault, others: Sequence[Server]) -> None:
        if fault.name in _WHOLE_ENDPOINT or not others:
            self._halt(fault.name, endpoint_error(server.endpoint, fault))
        else:
            server.left_out_by = fault
            self.gate.changed.set()

    def _pause(self, server: Server, seconds: float, fault: Fault) -> None:
        server.pace.pause(seconds)
        self._pausing(fault.name, seconds)
