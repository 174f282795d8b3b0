"""A budget that is charged for a whole file at once, days before it is known what the file cost.

A reservation of `vldata.llm.budget` ends with its process; a batch does not. So a part is charged with the most that
it can cost when it is sent, and what it did not cost is given back when it is collected: spent and reserved together
never pass a limit, whichever process looks, and a run beside it sees the charge as spent and in doubt.

A charge and its note in the book of batches are two writes, and a kill may fall between them. Each change is announced
in the book with all that was spent before it, so the ledger shows afterwards whether it was written. When others have
spent in between it cannot show that, and then the charge stays: too little is left of the budget, never too much.
"""

from __future__ import annotations

from pathlib import Path

from vldata.llm.batch.book import BatchPart, Book, Intent
from vldata.llm.budget import Budget, BudgetLimits, Spending, open_budget


def charge(book: Book, part: BatchPart, budget: Budget, most: Spending) -> BatchPart:
    """Charge a part with the most that it can cost."""
    part = book.note(part, intent=Intent(budget.spent, most))
    budget.change(most)
    return book.note(part, charged=most, intent=None)


def settle(book: Book, part: BatchPart, cost: Spending) -> BatchPart:
    """Replace the charge of a part, if it has one, by what it did cost."""
    part = reconcile(book, part)
    if part.charged is None:
        return part
    with open_budget(BudgetLimits(), ledger_of(book, part)) as budget:
        return settle_in(budget, book, part, cost)


def settle_in(budget: Budget, book: Book, part: BatchPart, cost: Spending) -> BatchPart:
    """As `settle`, for a part that was charged to a budget that is still open."""
    change = cost - (part.charged or Spending())
    part = book.note(part, intent=Intent(budget.spent, change))
    budget.change(change)
    return book.note(part, charged=None, intent=None)


def reconcile(book: Book, part: BatchPart) -> BatchPart:
    """Find out whether an announced change of the budget was written."""
    if part.intent is None:
        return part
    with open_budget(BudgetLimits(), ledger_of(book, part)) as budget:
        now = budget.spent
    is_done = now == part.intent.before + part.intent.change
    if part.charged is None:  # a charge: it can be given back only if it is there
        return book.note(part, charged=part.intent.change if is_done else None, intent=None)
    is_pending = now == part.intent.before  # a settlement: it may be made again only if it is not there
    return book.note(part, charged=part.charged if is_pending else None, intent=None)


def ledger_of(book: Book, part: BatchPart) -> Path | None:
    """The ledger that a part is charged to."""
    return None if part.budget is None else book.folder.parent / part.budget
