"""A budget: reserve the most that a request can cost before it is sent, settle what it did cost after.

So spent and reserved together never pass a limit, within a run and, with a ledger (`vldata.llm.ledger`), over all runs
that share it: each line is appended before what it tells of happens.

The lines are written without waiting for the disk, which loses nothing when the process is killed; the disk is made to
have them every `SYNC_S` seconds, so a power cut forgets at most what was spent within such a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vldata.llm.ledger import Reservation as Reservation
from vldata.llm.ledger import Spending as Spending
from vldata.llm.ledger import append_line as append_line
from vldata.llm.ledger import compact, cost_of_attempt, is_doubt, ledger_of
from vldata.llm.ledger import read_ledger as read_ledger
from vldata.llm.prices import PICO, to_pico
from vldata.store.lock import exclusive
from vldata.store.trouble import as_store_errors

SYNC_S = 1.0
"""How often the disk is made to have the ledger: a flush costs a few milliseconds, well under a percent of this."""


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """What may be spent; None: without limit.

    Args:
        max_usd: US dollars.
        max_requests: Attempts that are sent, retries included.
        max_tokens: Prompts and answers together.
        concurrency: Requests that may be under way at once.
    """

    max_usd: float | None = None
    max_requests: int | None = None
    max_tokens: int | None = None
    concurrency: int = 64


class Budget:
    """What is spent and reserved under some limits; made by `open_budget`.

    Args:
        limits: What may be spent, ``carried`` included.
        carried: What was spent before.
        handle: The open ledger; None: nothing is written.
        path: Of the ledger, for errors.

    Every method that writes raises `StoreError` when the ledger cannot take it; nothing was reserved or settled then.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        carried: Spending = Spending(),  # noqa: B008 - frozen
        handle: int | None = None,
        path: Path = Path("ledger"),
    ) -> None:
        self.limits = limits
        self.spent = carried
        self._max_pico = None if limits.max_usd is None else round(limits.max_usd * PICO)
        self._reserved: dict[int, Reservation] = {}
        self._reserved_pico = 0
        self._reserved_tokens = 0
        self._number = 0
        self._handle = handle
        self._path = path
        self._synced_at = time.monotonic()

    @property
    def num_reserved(self) -> int:
        """Attempts that are reserved and not settled."""
        return len(self._reserved)

    def lacking(self, pico: int | None, tokens: int | None, requests: int = 1) -> str | None:
        """The limit that so large an attempt would pass now, such as ``max_usd``; None when there is room.

        Args:
            pico: The most it can cost, in trillionths of a dollar; None counts as nothing.
            tokens: The most tokens it can take; None counts as nothing.
            requests: How many attempts.
        """
        limits, used = self.limits, self.spent.requests + self.num_reserved
        if limits.max_requests is not None and used + requests > limits.max_requests:
            return "max_requests"
        if self._max_pico is not None and self.spent.pico + self._reserved_pico + (pico or 0) > self._max_pico:
            return "max_usd"
        needed = self.spent.tokens + self._reserved_tokens + (tokens or 0)
        return "max_tokens" if limits.max_tokens is not None and needed > limits.max_tokens else None

    def reserve(self, pico: int | None, tokens: int | None) -> Reservation | None:
        """Keep room for one attempt; None when there is not enough.

        Args:
            pico: The most it can cost, in trillionths of a dollar; None when its price is not known.
            tokens: The most tokens it can take; None when it declares no maximum output.

        Raises:
            ValueError: A limit is set in a unit in which the attempt has no bound: it must be refused before this.
        """
        if pico is None and self._max_pico is not None:
            raise ValueError("an attempt of unknown price under a limit in dollars")
        if tokens is None and self.limits.max_tokens is not None:
            raise ValueError("an attempt of unknown length under a limit in tokens")
        if self.lacking(pico, tokens):
            return None
        self._number += 1
        reservation = Reservation(self._number, pico, tokens)
        self._write({"reserve": reservation.number, "pico": pico, "tokens": tokens})
        self._reserved[reservation.number] = reservation
        self._reserved_pico += pico or 0
        self._reserved_tokens += tokens or 0
        return reservation

    def settle(self, reservation: Reservation, pico: int | None, tokens: int | None, why: str = "unknown") -> None:
        """Put what an attempt cost in the place of what was reserved for it.

        Args:
            reservation: From `reserve`, once.
            pico: What it cost; None when that is not known: the reservation is spent in full, and in doubt.
            tokens: What it took; None as for ``pico``.
            why: That is not known.
        """
        spent = cost_of_attempt(reservation, pico, tokens)
        doubt = {"why": why} if is_doubt(reservation, pico, tokens) else {}
        self._write({"settle": reservation.number, **asdict(spent), **doubt})
        self._give_back(reservation)
        self.spent += spent

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back whose attempt was never sent."""
        self._write({"settle": reservation.number, **asdict(Spending())})
        self._give_back(reservation)

    def change(self, by: Spending) -> None:
        """Charge what no reservation stands for, or give back where ``by`` is negative; on the disk on return."""
        self._write({"carried": asdict(by)})
        self.flush()
        self.spent += by

    def settle_all(self, change: Spending) -> None:
        """End all doubts, whatever their why, with a change of what is spent; on the disk on return."""
        self._write({"settled": asdict(change)})
        self.flush()
        self.spent += change

    def flush(self) -> None:
        """Make the disk have all of it; what is still reserved stays reserved in the ledger."""
        if self._handle is not None:
            with as_store_errors(self._path):
                os.fsync(self._handle)

    def _give_back(self, reservation: Reservation) -> None:
        del self._reserved[reservation.number]
        self._reserved_pico -= reservation.pico or 0
        self._reserved_tokens -= reservation.tokens or 0

    def _write(self, line: dict[str, object]) -> None:
        if self._handle is None:
            return
        with as_store_errors(self._path):
            append_line(self._handle, line)
            if time.monotonic() - self._synced_at > SYNC_S:
                os.fdatasync(self._handle)
                self._synced_at = time.monotonic()


@contextmanager
def open_budget(limits: BudgetLimits, ledger: Path | None = None) -> Iterator[Budget]:
    """A budget for the time of the block.

    Args:
        limits: What may be spent, over all runs that share the ledger.
        ledger: A file that carries what is spent from run to run, made with its folders; None: this run alone counts.

    Raises:
        StoreError: The ledger is in use by another process, is damaged, or cannot be written.
    """
    if ledger is None:
        yield Budget(limits)
        return
    with exclusive(ledger.with_name(f"{ledger.name}.lock"), wait=False):
        carried = ledger_of(ledger)
        with as_store_errors(ledger):
            handle = compact(ledger, carried)
        try:
            budget = Budget(limits, carried.spent, handle, ledger)
            try:
                yield budget
            finally:
                budget.flush()
        finally:
            os.close(handle)


def settle_doubts(ledger: Path, usd: float) -> Spending:
    """Put what the user says was billed in the place of all that is in doubt.

    Tokens that are in doubt are taken to be billed in the same share.

    Args:
        usd: By the provider's own statement, for all of it together; 0: nothing was billed.

    Returns:
        By how much what is spent has changed.

    Raises:
        StoreError: The ledger is in use by another process, is damaged, or cannot be written.
    """
    with open_budget(BudgetLimits(), ledger) as budget:
        doubt = sum(ledger_of(ledger).doubts.values(), Spending())
        pico = to_pico(usd)
        share = min(1.0, pico / doubt.in_doubt_pico) if doubt.in_doubt_pico else float(pico > 0)
        change = Spending(
            pico=pico - doubt.in_doubt_pico,
            in_doubt_pico=-doubt.in_doubt_pico,
            tokens=round(doubt.tokens * share) - doubt.tokens,
        )
        budget.settle_all(change)
        return change
