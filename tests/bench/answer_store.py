"""The answer store and the budget's ledger beside one SQLite file that holds both.

    python tests/bench/answer_store.py [--answers 100000] [--requests 4000] [--pairs 5] [--folder DIR]

Three things are measured: keeping answers one by one, with the reservation and the charge of each; sending to a
billing server on loopback, as `vldata synth run` does it; and reading, as a build does it. SQLite has three ways to
keep an answer. They differ in what a power cut costs, so the first is compared with what it can be compared with:

    ours           a kill costs nothing; a power cut the last 0.2 s of answers and 1 s of charges
    window         synchronous=NORMAL, the WAL flushed in the background every 0.2 s: the same as ours
    full           synchronous=FULL, one transaction for a reservation, one for an answer and its charge: nothing
    full, grouped  the same, but one transaction for all who wait at the time, in a thread; a kill costs those
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

sys.path.insert(0, str(Path(__file__).parents[2]))

from measure import Row, show
from pydantic import SecretStr
from synth import PRICE, requests, server

from vldata.llm import send as sending
from vldata.llm.answers import open_answers
from vldata.llm.attempts import Attempts
from vldata.llm.budget import Budget, BudgetLimits, Reservation, open_budget
from vldata.llm.endpoint import Endpoint
from vldata.llm.records import Answer, Attempt, cost_of, decode_answer, encode_answer
from vldata.llm.request import Request

SCHEMA = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY, kind INTEGER, key BLOB, subject INTEGER, pico INTEGER, unknown INTEGER,
    checksum INTEGER, payload BLOB
);
CREATE INDEX by_key ON records (key, kind);
CREATE INDEX by_subject ON records (subject);
CREATE TABLE reserved (number INTEGER PRIMARY KEY, pico INTEGER, tokens INTEGER);
CREATE TABLE spent (id INTEGER PRIMARY KEY, pico INTEGER, in_doubt INTEGER, tokens INTEGER, requests INTEGER,
    unpriced INTEGER);
INSERT INTO spent VALUES (1, 0, 0, 0, 0, 0);
"""
INSERT = "INSERT INTO records (kind, key, subject, pico, unknown, checksum, payload) VALUES (1, ?, ?, ?, ?, ?, ?)"
RESERVE = "INSERT INTO reserved VALUES (?, ?, ?)"
SETTLE = "DELETE FROM reserved WHERE number = ?"
CHARGE = (
    "UPDATE spent SET pico = pico + ?, in_doubt = in_doubt + ?, tokens = tokens + ?, requests = requests + ?,"
    " unpriced = unpriced + ?"
)
Statement = tuple[str, tuple[Any, ...]]


class SqliteStore:
    """As much of `Answers` as sending and reading use, and the ledger, in one file.

    Args:
        folder: Where the file is.
        mode: ``window``, ``full`` or ``grouped``.
    """

    def __init__(self, folder: Path, mode: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "answers.sqlite"
        is_new = not self.path.exists()
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA cache_size = -65536")
        self._db.execute("PRAGMA mmap_size = 4294967296")
        self._db.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'window' else 'FULL'}")
        if is_new:
            self._db.executescript(SCHEMA)
        self._reader = sqlite3.connect(self.path, isolation_level=None) if mode == "grouped" else self._db
        self._statements: list[Statement] = []
        self._pending: set[str] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._is_grouped = mode == "grouped"
        self._closed = threading.Event()
        self._flusher = threading.Thread(target=self._flush_wal) if mode == "window" else None
        if self._flusher is not None:
            self._flusher.start()

    def _flush_wal(self) -> None:
        handle = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CREAT)
        while not self._closed.wait(0.2):
            os.fsync(handle)
        os.fsync(handle)
        os.close(handle)

    def write(self, *statements: Statement, commit: bool = True) -> None:
        """Add statements; with ``commit`` those so far become one transaction, now or with the group's."""
        self._statements += statements
        if commit and not self._is_grouped:
            self._transact(self._take())

    def _take(self) -> list[Statement]:
        taken, self._statements = self._statements, []
        return taken

    def _transact(self, statements: list[Statement]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for statement, values in statements:
            self._db.execute(statement, values)
        self._db.execute("COMMIT")

    async def committed(self) -> None:
        """Wait for the transaction with everything that was written so far."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._commit_groups()))
        await waiter

    async def _commit_groups(self) -> None:
        while self._waiting:
            count, statements = len(self._waiting), self._take()
            await asyncio.to_thread(self._transact, statements)
            done, self._waiting[:count] = self._waiting[:count], []
            for waiter in done:
                if not waiter.done():
                    waiter.set_result(None)

    def __contains__(self, key: str) -> bool:
        sql = "SELECT 1 FROM records WHERE key = ? AND kind = 1"
        return key in self._pending or self._reader.execute(sql, (bytes.fromhex(key),)).fetchone() is not None

    def get(self, request: Request) -> Answer | None:
        sql = "SELECT payload, checksum FROM records WHERE key = ? AND kind = 1"
        row = self._reader.execute(sql, (bytes.fromhex(request.key),)).fetchone()
        return None if row is None or crc32(row[0]) != row[1] else decode_answer(request.key, row[0], request)

    def __iter__(self) -> Iterator[Answer]:
        for key, payload, checksum in self._reader.execute("SELECT key, payload, checksum FROM records WHERE kind = 1"):
            if crc32(payload) == checksum:
                yield decode_answer(key.hex(), payload)

    def put(self, answer: Answer, *, commit: bool = False) -> bool:
        if answer.key in self:
            return False
        self._pending.add(answer.key)
        payload = encode_answer(answer)
        key, subject = bytes.fromhex(answer.key), int(answer.request.subject[:15], 16)
        cost = cost_of(answer.attempts, answer.cost_usd)
        self.write((INSERT, (key, subject, *cost, crc32(payload), payload)), commit=commit)
        return True

    def fail(self, key: str, request: Request, attempts: Any) -> None:
        raise SystemExit(f"a request failed: {attempts}")

    def guard(self, secret: str) -> None:
        """As of `Answers`."""

    def flush(self) -> None:
        """As of `Answers`."""

    def close(self) -> None:
        self._transact(self._take())
        self._closed.set()
        if self._flusher is not None:
            self._flusher.join()
        self._db.close()
        self._reader.close()


class SqliteBudget(Budget):
    """A budget whose ledger is the store's file."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(BudgetLimits(max_usd=1e6))
        self._store = store

    def _write(self, line: dict[str, Any]) -> None:
        if "reserve" in line:
            self._store.write((RESERVE, (line["reserve"], line["pico"], line["tokens"])))
            return
        number = line.pop("settle")
        self._store.write((SETTLE, (number,)), (CHARGE, tuple(line.values())))


def answer_of(request: Request, number: int) -> Answer:
    """A conversation of 1,500 characters; some 7 kB are kept of it, as its request has few-shots."""
    text = " ".join(
        f"Question {number}-{turn}: what stands beside the bicycle? A wall of bricks." for turn in range(20)
    )
    usage = {"prompt_tokens": 700, "completion_tokens": 400, "total_tokens": 1100}
    reply = {"id": f"r-{number}", "choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}
    attempt = Attempt(1.7e9 + number, 200, usage=usage, cost_usd=0.000345, request_id=f"r-{number}")
    return Answer(request.key, request, reply, (attempt,), 0.000345, usage, 1.7e9 + number)


def keep(answers: Any, budget: Budget, given: list[Answer], then: Callable[[], None] = lambda: None) -> float:
    """Answers a second: reserve, keep, settle, one after another."""
    started = time.perf_counter()
    for answer in given:
        kept = budget.reserve(500_000_000, 1500)
        assert kept is not None
        then()
        answers.put(answer)
        budget.settle(kept, 345_000_000, 1100)
        then()
    return len(given) / (time.perf_counter() - started)


def keep_ours(folder: Path, given: list[Answer], *, is_flushed: bool = False) -> float:
    with (
        open_budget(BudgetLimits(max_usd=1e6), folder / "ledger") as budget,
        open_answers(folder / "answers") as answers,
    ):

        def flush() -> None:
            answers.flush()
            budget.flush()

        return keep(answers, budget, given, flush if is_flushed else lambda: None)


def keep_sqlite(folder: Path, given: list[Answer], mode: str) -> float:
    store = SqliteStore(folder, mode)
    try:
        return keep(store, SqliteBudget(store), given)
    finally:
        store.close()


def send_ours(url: str, folder: Path, number: int) -> float:
    with open_answers(folder / "answers") as answers:
        return _send(url, answers, number, folder / "ledger")


def send_sqlite(url: str, folder: Path, number: int, mode: str) -> float:
    store = SqliteStore(folder, mode)
    room, attempt, opened = Attempts._room, Attempts._attempt, sending.open_budget

    async def committed_room(self: Attempts, job: Any) -> Reservation:
        kept = await room(self, job)
        await store.committed()
        return kept

    async def committed_attempt(self: Attempts, *arguments: Any) -> Any:
        fault = await attempt(self, *arguments)
        await store.committed()
        return fault

    @contextmanager
    def open_sqlite(*_: object) -> Iterator[Budget]:
        yield SqliteBudget(store)

    sending.open_budget = open_sqlite
    if mode == "grouped":
        Attempts._room, Attempts._attempt = committed_room, committed_attempt
    try:
        return _send(url, store, number, None)
    finally:
        Attempts._room, Attempts._attempt, sending.open_budget = room, attempt, opened
        store.close()


def _send(url: str, answers: Any, number: int, ledger: Path | None) -> float:
    endpoint = Endpoint("bench", url, SecretStr("none"), prices={"tiny": PRICE})
    limits = BudgetLimits(max_usd=1e6)
    started = time.perf_counter()
    sent = sending.send(
        requests(number), endpoint=endpoint, answers=answers, read_image=lambda part: b"", limits=limits, ledger=ledger
    )
    if sent.answered != number:
        raise SystemExit(f"{sent.answered} of {number} requests were answered")
    return number / (time.perf_counter() - started)


def replay(answers: Any, number: int) -> float:
    """Requests a second: written, and found to be answered, as a second `vldata synth run` sees them."""
    started = time.perf_counter()
    if not all(request.key in answers for request in requests(number)):
        raise SystemExit("an answer is missing")
    return number / (time.perf_counter() - started)


def replay_and_read(answers: Any, number: int) -> float:
    """The same with every answer read, as a build does it."""
    started = time.perf_counter()
    if not all(answers.get(request) is not None for request in requests(number)):
        raise SystemExit("an answer is missing")
    return number / (time.perf_counter() - started)


def read_in_order(answers: Any, number: int) -> float:
    """Answers a second, as an export or a check of everything reads them."""
    started = time.perf_counter()
    if sum(1 for _ in answers) != number:
        raise SystemExit("an answer is missing")
    return number / (time.perf_counter() - started)


def lost_by_block(path: Path, given: list[Answer], opened: Callable[[], Any]) -> list[int]:
    """For each 4 KiB of a file: how many answers are lost when it reads as zeros, as a bad sector may."""
    num_lost = []
    with path.open("r+b") as file:
        for at in range(0, path.stat().st_size, 4096):
            file.seek(at)
            block = file.read(4096)
            file.seek(at)
            file.write(bytes(len(block)))
            file.flush()
            num_lost.append(sum(1 for is_whole in _are_whole(opened, given) if not is_whole))
            file.seek(at)
            file.write(block)
            file.flush()
    return num_lost


def _are_whole(opened: Callable[[], Any], given: list[Answer]) -> Iterator[bool]:
    try:
        answers = opened()
    except sqlite3.DatabaseError:
        yield from [False] * len(given)
        return
    for answer in given:
        try:
            yield answers.get(answer.request) == answer
        except sqlite3.DatabaseError:
            yield False
    with suppress(sqlite3.DatabaseError):
        answers.close()


READS = {
    "replay: all found": replay,
    "replay: all found and read": replay_and_read,
    "all read in order": read_in_order,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="vldata-answers-", dir=options.folder))
    count = 0

    def fresh() -> Path:
        nonlocal count
        count += 1
        return top / str(count)

    measured: dict[str, dict[str, list[float]]] = {}

    def note(what: str, which: str, rate: float) -> None:
        measured.setdefault(what, {}).setdefault(which, []).append(rate)

    try:
        few = [answer_of(request, number) for number, request in enumerate(requests(options.requests))]
        for _ in range(options.pairs):
            note("keep", "ours", keep_ours(fresh(), few))
            note("keep", "window", keep_sqlite(fresh(), few, "window"))
            note("keep, each on the disk", "ours", keep_ours(fresh(), few, is_flushed=True))
            note("keep, each on the disk", "full", keep_sqlite(fresh(), few, "full"))
            note("keep", "full", measured["keep, each on the disk"]["full"][-1])
        with server("--talks") as url:
            for _ in range(options.pairs):
                note("send", "ours", send_ours(url, fresh(), options.requests))
                for mode in ("window", "full", "grouped"):
                    note("send", mode, send_sqlite(url, fresh(), options.requests, mode))
        ours, theirs = fresh(), fresh()
        with open_answers(ours / "answers") as answers:
            for number, request in enumerate(requests(options.answers)):
                answers.put(answer_of(request, number))
        store = SqliteStore(theirs, "window")
        for number, request in enumerate(requests(options.answers)):
            store.put(answer_of(request, number))
        store.close()
        sizes = [
            sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
            for folder in (ours, theirs)
        ]
        for _ in range(options.pairs):
            with open_answers(ours / "answers", read_only=True) as answers:
                for what, measure in READS.items():
                    note(what, "ours", measure(answers, options.answers))
            store = SqliteStore(theirs, "full")
            for what, measure in READS.items():
                note(what, "full", measure(store, options.answers))
            store.close()
        few, ours, theirs = few[:300], fresh(), fresh()
        keep_ours(ours, few)
        keep_sqlite(theirs, few, "full")
        lost = {
            "ours": lost_by_block(
                ours / "answers" / "000001.answers", few, lambda: open_answers(ours / "answers", read_only=True)
            ),
            "SQLite": lost_by_block(theirs / "answers.sqlite", few, lambda: SqliteStore(theirs, "full")),
        }
    finally:
        shutil.rmtree(top)
    rows: list[Row] = []
    for what, by_store in measured.items():
        of_ours = by_store["ours"]
        rows.append((what, f"{statistics.median(of_ours):,.0f}/s", "", None))
        for which, rates in by_store.items():
            if which != "ours":
                ratio = statistics.median(one / other for one, other in zip(rates, of_ours, strict=True))
                rows.append(
                    (
                        f"  SQLite, {which}",
                        f"{statistics.median(rates):,.0f}/s, {ratio:.2f} x",
                        ">= 0.80 x",
                        ratio >= 0.8,
                    )
                )
    rows.append((f"bytes of {options.answers:,} answers", f"{sizes[0]:,.0f} MiB, SQLite {sizes[1]:,.0f} MiB", "", None))
    for which, counts in lost.items():
        many = sum(lost > 2 for lost in counts)
        value = f"at most {max(counts)}; {many} of {len(counts)} blocks cost more than 2"
        rows.append((f"of 300 answers, lost with one block: {which}", value, "", None))
    show(f"The answer store beside SQLite {sqlite3.sqlite_version}, medians of {options.pairs}", rows)


if __name__ == "__main__":
    main()
