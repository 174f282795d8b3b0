"""A budget: reserve the most that a request can cost before it is sent, settle what it did cost after.

    <ledger>    one JSON line an event, appended before what it tells of happens
                {"carried": {...}}                     all that was spent before this file was last opened, or a change
                                                       that no reservation stands for
                {"reserve": 7, "pico": 41000000, "tokens": 912}
                {"settle": 7, "pico": 1900000, "tokens": 431, "in_doubt": false}

So spent and reserved together never pass a limit, within a run and, with a ledger, over all runs that share it. A
reservation that no line settles belongs to a request that was under way when its process died: the server may have
billed it, so it stays spent in full. Money is counted in whole trillionths of a dollar, as sums of floats drift.

The lines are written without waiting for the disk, which loses nothing when the process is killed; the disk is made to
have them every `SYNC_S` seconds, so a power cut forgets at most what was spent within such a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from vldata.errors import StoreError
from vldata.llm.prices import PICO, to_usd
from vldata.store.lock import exclusive
from vldata.store.store import flush
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


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent, at most.

    Args:
        pico: Trillionths of a dollar.
        in_doubt_pico: The part of these that no server confirmed: attempts that broke off are counted at their ceiling.
        tokens: Prompts and answers.
        requests: Attempts.
        unpriced: Attempts at models whose price is not known; nothing of them is in ``pico``.
    """

    pico: int = 0
    in_doubt_pico: int = 0
    tokens: int = 0
    requests: int = 0
    unpriced: int = 0

    @property
    def usd(self) -> float:
        """All of it, in dollars."""
        return to_usd(self.pico)

    def __add__(self, other: Spending) -> Spending:
        return Spending(*(a + b for a, b in zip(_fields(self), _fields(other), strict=True)))

    def __sub__(self, other: Spending) -> Spending:
        return Spending(*(a - b for a, b in zip(_fields(self), _fields(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room that is kept for one attempt.

    Args:
        number: Its own within a ledger.
        pico: The most it can cost; None when its price is not known.
        tokens: The most it can take; None when it declares no maximum output.
    """

    number: int
    pico: int | None
    tokens: int | None


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
        carried: Spending = Spending(),
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

    def settle(self, reservation: Reservation, pico: int | None, tokens: int | None) -> None:
        """Put what an attempt cost in the place of what was reserved for it.

        Args:
            reservation: From `reserve`, once.
            pico: What it cost; None when that is not known: the reservation is spent in full, and in doubt.
            tokens: What it took; None as for ``pico``.
        """
        spent = _settled(reservation, pico, tokens)
        self._write({"settle": reservation.number, **asdict(spent)})
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
        carried = read_ledger(ledger)
        with as_store_errors(ledger):
            handle = _compact(ledger, carried)
        try:
            budget = Budget(limits, carried, handle, ledger)
            try:
                yield budget
            finally:
                budget.flush()
        finally:
            os.close(handle)


def _compact(ledger: Path, carried: Spending) -> int:
    """Put one line in the place of all, and keep the file open.

    The line is on the disk before the name is, so that a power cut leaves the old file or the new one.
    """
    fresh = ledger.with_name(f"{ledger.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        append_line(handle, {"carried": asdict(carried)})
        os.fsync(handle)
        fresh.replace(ledger)
        flush(ledger.parent)  # else the lines to come may be in a file that a power cut leaves without a name
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_ledger(ledger: Path) -> Spending:
    """All that a ledger says was spent, with what was under way when its last writer ended; nothing if it is not there.

    Raises:
        StoreError: It is damaged: what was spent is not known.
    """
    if not ledger.exists():
        return Spending()
    spent, reserved = Spending(), dict[int, Reservation]()
    with as_store_errors(ledger), ledger.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break  # cut off by a kill: what it tells of had not happened yet, or is still reserved
            try:
                spent = _replay(orjson.loads(line), spent, reserved)
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise StoreError(
                    f"{ledger}:{number}",
                    "is damaged, so what was spent is not known",
                    "look at your account, then remove the file: the budget begins again at nothing",
                ) from error
    return sum((_settled(reservation, None, None) for reservation in reserved.values()), spent)


def _replay(line: dict[str, object], spent: Spending, reserved: dict[int, Reservation]) -> Spending:
    if "carried" in line:
        return spent + Spending(**line["carried"])  # type: ignore[arg-type]
    if "reserve" in line:
        number = line.pop("reserve")
        reserved[number] = Reservation(number, **line)  # type: ignore[index, arg-type]
        return spent
    del reserved[line.pop("settle")]  # type: ignore[arg-type]
    return spent + Spending(**line)  # type: ignore[arg-type]


def _settled(reservation: Reservation, pico: int | None, tokens: int | None) -> Spending:
    """What an attempt adds to what is spent."""
    spent = Spending(tokens=(reservation.tokens or 0) if tokens is None else tokens, requests=1)
    if reservation.pico is None:
        return replace(spent, pico=pico or 0, unpriced=int(pico is None))
    return replace(
        spent, pico=reservation.pico if pico is None else pico, in_doubt_pico=reservation.pico if pico is None else 0
    )


def append_line(handle: int, event: Mapping[str, object]) -> None:
    """Append one line of JSON, whole or not at all: what follows half a line would be unreadable."""
    line, written = orjson.dumps(event) + b"\n", 0
    try:
        while written < len(line):
            written += os.write(handle, line[written:])
    except OSError:
        if written:
            os.ftruncate(handle, os.fstat(handle).st_size - written)
        raise


def _fields(spent: Spending) -> tuple[int, ...]:
    return (spent.pico, spent.in_doubt_pico, spent.tokens, spent.requests, spent.unpriced)
