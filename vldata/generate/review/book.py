"""People's reviews, beside the answers: ``<answers>/reviews.jsonl``, a line a verdict, of which the last counts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import orjson

from vldata.errors import StoreError
from vldata.store.trouble import as_store_errors
from vldata.synth.review import TurnReview

NAME = "reviews.jsonl"


def read_reviews(answers: Path) -> dict[str, list[TurnReview]]:
    """The last review of every turn, by the key of the answer.

    Raises:
        StoreError: The file is damaged or cannot be read.
    """
    path = answers / NAME
    latest: dict[tuple[str, int], TurnReview] = {}
    with as_store_errors(path):
        data = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            review = TurnReview(**orjson.loads(line))
        except (orjson.JSONDecodeError, TypeError) as error:
            fix = "restore the file from a backup, or remove the line: that review is lost then"
            raise StoreError(f"{path}:{number}", "is damaged", fix) from error
        latest[review.key, review.place] = review
    reviews: dict[str, list[TurnReview]] = {}
    for (key, _), review in sorted(latest.items()):
        reviews.setdefault(key, []).append(review)
    return reviews


def add_reviews(answers: Path, reviews: Iterable[TurnReview]) -> None:
    """Append reviews; they are on the disk when this returns. The caller has the answer store open for writing.

    Raises:
        StoreError: They cannot be written.
    """
    path = answers / NAME
    with as_store_errors(path), path.open("a+b") as file:
        file.seek(0)
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)  # a line cut off by a kill was never acknowledged
        file.write(b"".join(orjson.dumps(review._asdict()) + b"\n" for review in reviews))
        file.flush()
        os.fsync(file.fileno())
