"""A budget that is charged for a whole file at once, days before it is known what the file cost.

A reservation of `vldata.llm.budget` ends with its process; a batch does not. So a part is charged with the most that
it can cost when it is sent, and what it did not cost is given back when it is collected: spent and reserved together
never pass a limit, whichever process looks, and a run beside it sees the charge as spent and in doubt.

A charge and its note in the book of batches are two writes, and a kill may fall between them. Each change is announced
in the book with all that was spent before it, so what is found afterwards tells whether it was made. When others have
spent in between it does not, and then the charge stays: too little is left of the budget, never too much.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import orjson

from vldata.llm.batch.book import BatchPart, Book, Intent, write_all
from vldata.llm.budget import Budget, BudgetLimits, Spent, open_budget
from vldata.store.trouble import as_store_errors


class Account:
    """An open budget that can be charged; made by `open_account`.

    Args:
        budget: Open.
        ledger: Its file; None: it has none.
    """

    def __init__(self, budget: Budget, ledger: Path | None) -> None:
        self._budget = budget
        self._ledger = ledger

    @property
    def spent(self) -> Spent:
        """All that was spent, charges included."""
        return self._budget.spent

    @property
    def limits(self) -> BudgetLimits:
        """What may be spent."""
        return self._budget.limits

    def lacking(self, wanted: Spent) -> str | None:
        """The limit that this much more would pass, such as ``max_usd``; None when there is room."""
        most = self.limits.max_requests
        if most is not None and self.spent.requests + wanted.requests > most:
            return "max_requests"
        found = self._budget.lacking(wanted.pico, wanted.tokens)
        return None if found == "max_requests" else found

    def change(self, by: Spent) -> None:
        """Charge, or give back where ``by`` is negative; on the disk when this returns."""
        if self._ledger is not None:
            with as_store_errors(self._ledger):
                handle = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                try:
                    write_all(handle, orjson.dumps({"carried": asdict(by)}) + b"\n")
                    os.fsync(handle)
                finally:
                    os.close(handle)
        self._budget.spent += by


@contextmanager
def open_account(limits: BudgetLimits, ledger: Path | None) -> Iterator[Account]:
    """An account for the time of the block; nobody else spends from this ledger in it.

    Raises:
        StoreError: As for `vldata.llm.budget.open_budget`.
    """
    with open_budget(limits, ledger) as budget:
        yield Account(budget, ledger)


def charge(book: Book, part: BatchPart, account: Account, most: Spent) -> BatchPart:
    """Charge a part with the most that it can cost."""
    part = book.note(part, intent=Intent(account.spent, most))
    account.change(most)
    return book.note(part, charged=most, intent=None)


def settle(book: Book, part: BatchPart, cost: Spent) -> BatchPart:
    """Put what a part did cost in the place of its charge.

    Args:
        book: Open for writing.
        part: Charged or not.
        cost: What it did cost.
    """
    part = reconcile(book, part)
    if part.charged is None:
        return part
    with open_account(BudgetLimits(), ledger_of(book, part)) as account:
        return settle_in(account, book, part, cost)


def settle_in(account: Account, book: Book, part: BatchPart, cost: Spent) -> BatchPart:
    """As `settle`, for a part that was charged to an account that is still open."""
    change = cost - (part.charged or Spent())
    part = book.note(part, intent=Intent(account.spent, change))
    account.change(change)
    return book.note(part, charged=None, intent=None)


def reconcile(book: Book, part: BatchPart) -> BatchPart:
    """Find out whether a change of the budget that was announced was made."""
    if part.intent is None:
        return part
    with open_account(BudgetLimits(), ledger_of(book, part)) as account:
        now = account.spent
    is_made = now == part.intent.before + part.intent.change
    if part.charged is None:  # a charge: it can be given back only if it is there
        return book.note(part, charged=part.intent.change if is_made else None, intent=None)
    is_not_made = now == part.intent.before  # a settlement: it may be made again only if it is not there
    return book.note(part, charged=part.charged if is_not_made else None, intent=None)


def ledger_of(book: Book, part: BatchPart) -> Path | None:
    """The ledger that a part is charged to."""
    return None if part.budget is None else book.folder.parent / part.budget
