"""A ledger: a file that says what was spent, whatever happens to the process that spends.

    <ledger>    one JSON line an event
                {"carried": {...}}                     all that was spent before this file was last opened, or a change
                                                       that no reservation stands for
                {"reserve": 7, "pico": 41000000, "tokens": 912}
                {"settle": 7, "pico": 1900000, "tokens": 431, "requests": 1, "in_doubt_pico": 0, "unpriced": 0}
                {"settle": 8, "pico": 9000000, "tokens": 950, …, "in_doubt_pico": 9000000, "why": "timed_out"}
                {"settled": {...}}                     by how much all changed when the user settled what is in doubt

A reservation that no line settles belongs to a request that was under way when its process died: the server may have
billed it, so it stays spent in full. Money is counted in whole trillionths of a dollar, as sums of floats drift.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson

from vldata.errors import StoreError
from vldata.llm.prices import to_usd
from vldata.store.store import flush
from vldata.store.trouble import as_store_errors


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


@dataclass(frozen=True)
class Ledger:
    """What a ledger says.

    Args:
        spent: All of it, what is in doubt included.
        doubts: What is in doubt by why: a class of fault, ``no_usage``, or ``killed`` with the process.
    """

    spent: Spending = Spending()
    doubts: Mapping[str, Spending] = field(default_factory=dict)


def compact(ledger: Path, carried: Ledger) -> int:
    """Put one line in the place of all, and keep the file open.

    The line is on the disk before the name is, so that a power cut leaves the old file or the new one.
    """
    fresh = ledger.with_name(f"{ledger.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        doubts = {why: asdict(doubt) for why, doubt in carried.doubts.items()}
        append_line(handle, {"carried": asdict(carried.spent), **({"doubts": doubts} if doubts else {})})
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
    return ledger_of(ledger).spent


def ledger_of(ledger: Path) -> Ledger:
    """As `read_ledger`, with what is in doubt and why."""
    if not ledger.exists():
        return Ledger()
    spent, reserved, doubts = Spending(), dict[int, Reservation](), dict[str, Spending]()
    with as_store_errors(ledger), ledger.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break  # cut off by a kill: what it tells of had not happened yet, or is still reserved
            try:
                spent = _replay(orjson.loads(line), spent, reserved, doubts)
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise StoreError(
                    f"{ledger}:{number}",
                    "is damaged, so what was spent is not known",
                    "look at your account, then remove the file: the budget begins again at nothing",
                ) from error
    for reservation in reserved.values():
        killed = cost_of_attempt(reservation, None, None)
        spent += killed
        _doubt(doubts, "killed", killed)
    return Ledger(spent, doubts)


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


def _replay(
    line: dict[str, object], spent: Spending, reserved: dict[int, Reservation], doubts: dict[str, Spending]
) -> Spending:
    if "carried" in line:
        for why, doubt in line.get("doubts", {}).items():  # type: ignore[attr-defined]
            _doubt(doubts, why, Spending(**doubt))
        return spent + Spending(**line["carried"])  # type: ignore[arg-type]
    if "settled" in line:
        doubts.clear()
        return spent + Spending(**line["settled"])  # type: ignore[arg-type]
    if "reserve" in line:
        number = line.pop("reserve")
        reserved[number] = Reservation(number, **line)  # type: ignore[index, arg-type]
        return spent
    del reserved[line.pop("settle")]  # type: ignore[arg-type]
    why = line.pop("why", None)
    settled = Spending(**line)  # type: ignore[arg-type]
    if isinstance(why, str):
        _doubt(doubts, why, settled)
    return spent + settled


def _doubt(doubts: dict[str, Spending], why: str, spent: Spending) -> None:
    doubts[why] = doubts.get(why, Spending()) + spent


def is_doubt(reservation: Reservation, pico: int | None, tokens: int | None) -> bool:
    """Whether an attempt is spent at what was reserved for it, as nobody knows what it took."""
    return (reservation.pico is not None and pico is None) or (reservation.tokens is not None and tokens is None)


def cost_of_attempt(reservation: Reservation, pico: int | None, tokens: int | None) -> Spending:
    """What an attempt adds to what is spent."""
    spent = Spending(tokens=(reservation.tokens or 0) if tokens is None else tokens, requests=1)
    if reservation.pico is None:
        return replace(spent, pico=pico or 0, unpriced=int(pico is None))
    return replace(
        spent, pico=reservation.pico if pico is None else pico, in_doubt_pico=reservation.pico if pico is None else 0
    )


def _fields(spent: Spending) -> tuple[int, ...]:
    return (spent.pico, spent.in_doubt_pico, spent.tokens, spent.requests, spent.unpriced)
