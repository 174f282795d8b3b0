"""``take``: a part of a source's native records, before anything else looks at them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import polars as pl
from pydantic import StrictBool, StrictInt, StrictStr, field_validator, model_validator

from vldata.errors import SourceError
from vldata.schema.keyed import keyed, string_keys
from vldata.schema.spec import Spec


class Take(Spec):
    """How many records, as a number or as a share such as ``10%``, rounded up; one of the first three.

    Args:
        first: From the beginning, in the order of the files.
        end: From the end.
        random: By keyed rank of their ids, whatever the recipe's seed: 10% are part of 20%.
        at_most: Take all when there are fewer.
    """

    first: StrictInt | StrictStr | None = None
    end: StrictInt | StrictStr | None = None
    random: StrictInt | StrictStr | None = None
    at_most: StrictBool = False

    @field_validator("first", "end", "random")
    @classmethod
    def _is_part(cls, amount: int | str | None) -> int | str | None:
        if isinstance(amount, str):
            share = _share(amount)
            if not 0 < share <= 100:
                raise ValueError(f"{amount} is no part of a source; say a share above 0% and up to 100%")
        elif amount is not None and amount < 1:
            raise ValueError(f"{amount} takes nothing; say 1 or more")
        return amount

    @model_validator(mode="before")
    @classmethod
    def _is_one(cls, said: Any) -> Any:
        if isinstance(said, dict) and len({"first", "end", "random"} & set(said)) != 1:
            raise ValueError("say one of first, end and random, such as `take: {first: 10%}`")
        return said

    def taken(self, ids: pl.Series) -> pl.Series:
        """Which of the records with these ids are taken.

        Raises:
            SourceError: There are fewer than requested.
        """
        number = self._number(ids.len())
        places = pl.Series(range(ids.len()), dtype=pl.Int64)
        if self.first is not None:
            return places < number
        if self.end is not None:
            return places >= ids.len() - number
        ranks = pl.Series(keyed(string_keys(ids.to_list()), 0, "take"), dtype=pl.UInt64)
        return (
            pl.DataFrame({"rank": ranks, "place": places})
            .select(pl.struct("rank", "place").rank("ordinal") <= number)
            .to_series()
        )

    def _number(self, records: int) -> int:
        amount = next(amount for amount in (self.first, self.end, self.random) if amount is not None)
        if isinstance(amount, str):
            return math.ceil(_share(amount) * records / 100)
        if amount > records and not self.at_most:
            raise SourceError("take", f"{amount} of {records} records", "ask for fewer, or say `at_most: true`")
        return min(amount, records)


def _share(text: str) -> Fraction:
    try:
        return Fraction(text.strip().removesuffix("%").strip()) if text.strip().endswith("%") else Fraction(-1)
    except (ValueError, ZeroDivisionError):
        return Fraction(-1)
