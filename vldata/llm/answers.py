"""The answer store: every answer that was ever paid for, by the key of its request, whole and for ever.

    <folder>/VERSION                      "vldata answers 1"
    <folder>/lock                         held by the one writer
    <folder>/000001.answers, 000002 …     segments, only ever appended to; see `vldata.llm.segments`
    <folder>/000001.index …               rebuilt when lost; see `vldata.llm.index`
    <folder>/newest                       the number of the newest segment, by which a missing one is noticed
    <folder>/examples.json                what servers said of faults; see `vldata.llm.examples`

It is kept apart from the store of blocks, which can all be rebuilt: nothing here is ever collected, replaced or
rewritten. An answer is with the system when `Answers.put` returns, so the death of the process costs nothing; it is on
the disk after the window that `vldata.llm.durable` states, so a power cut costs that at most. An append that was
interrupted is cut off when the next writer opens the store; damage anywhere else costs the answer it is in, which is
reported and requested again, and its bytes stay.

One process writes and any number read beside it. Parsing and validation are not kept: they are run again on the raw
replies, for free.

Why not SQLite, with the ledger in the same file and one transaction for an answer and its charge? Measured by
``tests/bench/answer_store.py`` (SQLite 3.40 in WAL mode, 100,000 answers of 7 kB, medians of 5 pairs, two shared cores,
a disk that flushes in 0.24 ms), as multiples of the speed of this store:

                                        keep      send      replay: found   and read    all in order
    synchronous=FULL                    0.15 x    0.78 x    0.67 x          0.94 x      1.42 x
    FULL, those who wait as a group               0.98 x
    NORMAL, flushed as here             0.43 x    1.05 x

With FULL an answer costs two flushes while all senders wait, so slower disks are worse; made to flush each answer, this
store keeps 0.63 x as many. Commits by group are fast, but an answer is safe from a kill only with its group. A cache of
64 MiB and a memory map, which the script sets now, bring finding to 0.76 x in CPU time. And damage: 4 KiB that read as
zeros cost at most 2 of 300 answers here, wherever they lie; in SQLite's file 5 of 610 such blocks cost half or all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from vldata.llm.folder import default_answers
from vldata.llm.limits import differ_in_limit_alone, ended_within
from vldata.llm.log import Damage as Damage
from vldata.llm.log import Log
from vldata.llm.prices import to_usd
from vldata.llm.records import Answer as Answer
from vldata.llm.records import Attempt as Attempt
from vldata.llm.records import Channel as Channel
from vldata.llm.records import (
    Cost,
    cost_of,
    decode_answer,
    decode_failure,
    decode_request,
    encode_answer,
    encode_failure,
    without,
)
from vldata.llm.records import Failure as Failure
from vldata.llm.request import Request
from vldata.llm.segments import ANSWER, FAILURE, SPARE

_MIN_SECRET_CHARS = 8  # a local server's key is often a word such as "none", which a reply may hold


class Answers:
    """An open answer store, from `open_answers`, and a context manager that closes it.

    It may be used from several threads. Keys are those of `vldata.llm.request.Request`.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._secrets: list[str] = []

    @property
    def folder(self) -> Path:
        """Where it lies, absolute."""
        return self._log.folder

    def get(self, request: Request | str) -> Answer | None:
        """The answer to a request, or None.

        One that turns out to be damaged is None from then on, listed in `damaged`, and may be requested again.

        Args:
            request: Its key finds its own answer alone. From the request itself the answer is read in half the time;
                and where it has none, one to the same request with another limit of tokens is its answer too, if it
                ended by itself and within the new limit: a raised limit requests again only what was cut off.

        Raises:
            StoreError: The folder cannot be read.
        """
        key, given = (request, None) if isinstance(request, str) else (request.key, request)
        with self._log.mutex:
            row = self._log.index.answer(key)
            payload = None if row is None else self._log.payload(row)
        if payload is not None:
            return decode_answer(key, payload, given)
        return None if given is None or not len(self) else self._with_other_limit(given)

    def __contains__(self, key: object) -> bool:
        with self._log.mutex:
            return isinstance(key, str) and self._log.index.answer(key) is not None

    def __len__(self) -> int:
        return self._log.index.num_answers

    def __iter__(self) -> Iterator[Answer]:
        """Every answer, in the order in which they came."""
        for row in self._log.index.rows(ANSWER):
            with self._log.mutex:
                payload = self._log.payload(row)
            if payload is not None:
                yield decode_answer(row.key, payload)

    def keys(self) -> Iterator[str]:
        """The keys of all answers, in the order in which they came."""
        return (row.key for row in self._log.index.rows(ANSWER))

    def put(self, answer: Answer) -> bool:
        """Keep an answer.

        The first answer to a request stays. Another is kept as a spare: what it cost counts, and nothing else shows it.

        Returns:
            Whether it is now the answer.

        Raises:
            StoreError: The disk is full or failing. Nothing was kept of this answer, all earlier ones are safe, and
                the same call may be tried again.
            ValueError: ``key`` is not the request's, or the reply is not JSON.
        """
        if answer.key != answer.request.key:
            raise ValueError(f"the answer has key {answer.key} and its request {answer.request.key}")
        cost = cost_of(answer.attempts, answer.cost_usd)
        with self._log.mutex:
            first = self.get(answer.key)
            if first is None:
                self._append(ANSWER, answer.request, cost, encode_answer(answer))
            elif first != answer:
                self._append(SPARE, answer.request, cost, encode_answer(answer))
        return first is None

    def fail(self, key: str, request: Request, attempts: Sequence[Attempt]) -> None:
        """Keep the attempts of a request that got no answer; it is not answered by that.

        Raises:
            StoreError: As for `put`.
            ValueError: ``key`` is not the request's.
        """
        if key != request.key:
            raise ValueError(f"the failure has key {key} and its request {request.key}")
        if attempts:
            payload = encode_failure(Failure(key, request, tuple(attempts)))
            with self._log.mutex:
                self._append(FAILURE, request, cost_of(attempts), payload)

    def failures(self) -> Iterator[Failure]:
        """The requests that failed and have no answer since, each with all its attempts, in order of first failure."""
        keys = dict.fromkeys(row.key for row in self._log.index.rows(FAILURE))
        for key in keys:
            failure = None if key in self else self.failure(key)
            if failure is not None:
                yield failure

    def failure(self, key: str) -> Failure | None:
        """All attempts of a request that were kept as failures, whether it was answered later or not."""
        with self._log.mutex:
            payloads = [self._log.payload(row) for row in self._log.index.find(key) if row.kind == FAILURE]
        parts = [decode_failure(key, payload) for payload in payloads if payload is not None]
        if not parts:
            return None
        return Failure(key, parts[0].request, tuple(attempt for part in parts for attempt in part.attempts))

    def spent(self, keys: Iterable[str] | None = None) -> tuple[float, int]:
        """What was spent on answers, spares and failures.

        Args:
            keys: Only on these requests, each counted once; None: on all that were ever kept here.

        Returns:
            The sum of all known costs in USD, and the number of attempts whose cost is unknown.
        """
        with self._log.mutex:
            if keys is None:
                return to_usd(self._log.index.pico_usd), self._log.index.num_unknown
            rows = [row for key in dict.fromkeys(keys) for row in self._log.index.find(key)]
        return to_usd(sum(row.pico_usd for row in rows)), sum(row.num_unknown for row in rows)

    def last_like(self, request: Request) -> Request | None:
        """The newest request kept here with the same last message, so that `differences` can say why one is new."""
        with self._log.mutex:
            row = next(self._log.index.about(_subject(request)), None)
            payload = None if row is None else self._log.payload(row)
        return None if payload is None else decode_request(payload)

    @property
    def damaged(self) -> tuple[Damage, ...]:
        """Every place found damaged so far, and every segment that is missing; `verify` looks everywhere."""
        return self._log.damaged()

    def verify(self) -> tuple[Damage, ...]:
        """Read everything once, and return every place that is damaged.

        Raises:
            StoreError: The folder cannot be read.
        """
        for row in self._log.index.rows(ANSWER, FAILURE, SPARE):
            with self._log.mutex:
                self._log.payload(row)
        return self.damaged

    def guard(self, secret: str) -> None:
        """Never write this text: wherever it stands in what is kept from now on, ``[secret]`` is written.

        For an endpoint's API key, which is in no request, but may be quoted by a server's reply. A text shorter than 8
        characters is no secret.
        """
        if len(secret) >= _MIN_SECRET_CHARS and secret not in self._secrets:
            self._secrets.append(secret)

    def flush(self) -> None:
        """Wait until the disk has everything.

        Raises:
            StoreError: It cannot be flushed.
        """
        self._log.flush()

    def refresh(self) -> None:
        """As a reader: see what was written since this was opened.

        Raises:
            StoreError: The folder cannot be read.
        """
        self._log.refresh()

    def close(self) -> None:
        """Flush, save the index and let the next writer in. Closing twice is harmless.

        Raises:
            StoreError: The last answers cannot be flushed.
        """
        self._log.close()

    def __enter__(self) -> Answers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _with_other_limit(self, request: Request) -> Answer | None:
        """The oldest answer that would be the same under this request's limit of tokens."""
        with self._log.mutex:
            rows = [row for row in self._log.index.about(_subject(request)) if row.kind == ANSWER]
            payloads = [(row.key, payload) for row in rows if (payload := self._log.payload(row)) is not None]
        for key, payload in reversed(payloads):
            other = decode_request(payload)
            if differ_in_limit_alone(request, other):
                answer = decode_answer(key, payload, other)
                if ended_within(answer.reply, request, other):
                    return answer
        return None

    def _append(self, kind: int, request: Request, cost: Cost, payload: bytes) -> None:
        self._log.append(kind, request.key, _subject(request), cost, without(payload, self._secrets))


def open_answers(folder: str | os.PathLike[str] | None = None, *, read_only: bool = False) -> Answers:
    """Open an answer store, making it if there is none.

    Args:
        folder: None: ``$VLDATA_ANSWERS``, else ``.vldata/answers`` in the working directory.
        read_only: Open it as it is now, beside a writer if there is one. Nothing is made: where there is no folder,
            there are no answers.

    Raises:
        StoreError: Another process writes to it; it cannot be written; there is less room than one segment takes; it is
            of another version, or a folder with other things in it.
    """
    absolute = Path(os.path.abspath(Path(folder or default_answers()).expanduser()))  # noqa: PTH100 - a link to a folder is a fine place
    return Answers(Log(absolute, read_only=read_only))


def _subject(request: Request) -> int:
    return int(request.subject[:16], 16)
