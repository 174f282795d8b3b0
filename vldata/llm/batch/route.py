"""The Batch API: requests go in files, answers come within a day, at about half the price.

    plan ─▶ charge ─▶ upload ─▶ create ─▶ … ─▶ ended ─▶ download ─▶ keep ─▶ settle
    each step is in `vldata.llm.batch.book` before the next, so a kill anywhere costs no answer and no second bill

The endpoint does two steps: a batch that it created just before a kill is found again by the part that it carries;
and answers of a batch, once it has ended, are joined to their requests by key, in whichever state it ended.
A request without an answer is then still pending: the next batch may take it, or an online run.

Answers of both ways lie in one store. A request that is in an open batch is under way, and is not put into another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from vldata.llm.answers import Answers
from vldata.llm.batch.api import ENDED, BatchApi, RemoteBatch
from vldata.llm.batch.book import BatchPart, Book
from vldata.llm.batch.budget import reconcile, settle
from vldata.llm.batch.results import APIS
from vldata.llm.budget import Spending
from vldata.llm.endpoint import Endpoint, EndpointError, endpoint_error
from vldata.llm.events import Stop
from vldata.llm.faults import Fault
from vldata.store.keys import key_of
from vldata.store.names import KeySubject

ORPHAN_S = 60.0
"""Seconds after which a requested batch that is not listed was never created. A guess, and a generous one: a listing
that lags behind by more would let its requests be sent, and billed, twice."""

CLOCKS_S = 24 * 3600.0
"""Seconds by which the server's clock may differ from ours when batches are searched."""


@dataclass(frozen=True, slots=True)
class State:
    """A batch that has not ended here.

    Args:
        part: The id of its part.
        label: Names who sent it.
        status: As in `vldata.llm.batch.api.RemoteBatch`; ``unmade`` when it is not certain that there is one,
            ``not_found`` when the endpoint does not know it, ``elsewhere`` when it was sent to another URL.
        counts: As the endpoint counts: total, completed, failed.
    """

    part: str
    label: str
    num_requests: int
    status: str
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether it can be collected."""
        return self.status in ENDED


class Route:
    """The endpoint, the book and what goes between them."""

    def __init__(
        self, endpoint: Endpoint, answers: Answers | None, book: Book, now: Callable[[], float], stack: ExitStack
    ) -> None:
        self.endpoint = endpoint
        self._answers = answers
        self.book = book
        self.now = now
        self._stack = stack
        self._client: BatchApi | None = None
        self.place = key_of(KeySubject.ENDPOINT, endpoint.url)[:16]

    @property
    def answers(self) -> Answers:
        """Open for writing."""
        assert self._answers is not None, "opened to poll only"
        return self._answers

    @property
    def api(self) -> type[BatchApi]:
        """What the endpoint's Batch API speaks."""
        return APIS[self.endpoint.batch_api]

    @property
    def client(self) -> BatchApi:
        """Connects when first used: with nothing to send or to query, no key is needed either."""
        if self._client is None:
            from vldata.llm.batch.http import Http  # loads a client library

            http = self._stack.enter_context(Http(self.endpoint, self.api.headers(self.endpoint)))
            self._client = self.api(http, self.api.base_of(self.endpoint.url))
            if self._answers is not None:
                self._answers.guard(self.endpoint.reveal_key())
        return self._client

    def parts(self) -> Iterator[BatchPart]:
        """The open parts of this endpoint, as they were at the call."""
        yield from [part for part in self.book.open_parts if part.endpoint == self.endpoint.name]

    def batch(self, part: BatchPart) -> RemoteBatch | Fault:
        """The batch of a part; a status of ours where none can be retrieved."""
        if part.place != self.place:
            return RemoteBatch("", "elsewhere")
        if part.batch_id is None:
            return RemoteBatch("", "unmade")
        batch = self.client.retrieve(part.batch_id)
        if isinstance(batch, Fault) and batch.status == 404:
            return RemoteBatch("", "not_found")
        return batch

    def recover(self) -> Stop | None:
        """Finish what a kill interrupted: adopt batches that were created, give up what was not sent.

        Returns:
            Why the endpoint cannot be queried; its parts stay as they are then.
        """
        for part in self.book.open_parts:  # before anything else is spent, after which nobody could tell
            reconcile(self.book, part)
        unmade = [part for part in self.parts() if part.batch_id is None and part.place == self.place]
        doubtful = [part for part in unmade if part.making_since is not None]
        for part in unmade:
            if part.making_since is None:
                self.abandon(part)
        if not doubtful:
            return None
        since = min(part.planned_at for part in doubtful) - CLOCKS_S
        known = {part.batch_id for part in self.book.parts if part.batch_id is not None}
        orphans = self.client.find({part.id: part.num_requests for part in doubtful}, since, known)
        if isinstance(orphans, Fault):
            return Stop(orphans.name, self.error_of(orphans))
        for part in doubtful:
            assert part.making_since is not None
            if part.id in orphans.by_part:
                self.book.note(part, batch_id=orphans.by_part[part.id].id)
            elif part.id not in orphans.unclear and self.now() - part.making_since >= ORPHAN_S:
                self.abandon(part)
        return None

    def abandon(self, part: BatchPart) -> None:
        """End a part of which no batch was created; its charge is given back."""
        self.book.end(settle(self.book, part, Spending()), "abandoned")

    def error_of(self, fault: Fault) -> EndpointError:
        """A fault, as an error for people."""
        other_ways = "if it has no Batch API, use `vldata synth run`, or `vldata synth export-batch` for another way"
        return endpoint_error(self.endpoint, fault, other_ways if fault.status in (404, 405, 501) else "")


def state_of(part: BatchPart, batch: RemoteBatch) -> State:
    """How far a part is, from the endpoint's view of its batch."""
    return State(part.id, part.label, part.num_requests, batch.status, batch.counts)
