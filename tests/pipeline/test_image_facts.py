"""Images are looked at once, remembered, and a plan rests on what they were."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tests.pipeline.tables import recipe
from vldata.base import Silent
from vldata.pipeline.image_facts import Lookup, Place, place_of
from vldata.pipeline.workers import Engine
from vldata.store.store import Store


class Stages(Silent):
    """Keeps how many images each stage is about."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        self.totals.append(total)
        return super().stage(name, total)


def draw(path: Path, size: tuple[int, int] = (8, 6), color: str = "red") -> None:
    """A PNG that is old enough to be remembered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, "PNG")
    os.utime(path, (1_000_000_000, 1_000_000_000))


def pack(path: Path, *names: str, color: str = "red") -> None:
    """An archive of such images."""
    draw(path.with_suffix(".png"), color=color)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(path.with_suffix(".png"), name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    draw(folder / "a.png")
    draw(folder / "b.png", (4, 4), "blue")
    return folder


@pytest.fixture
def lookup(store: Store, root: Path) -> Callable[[], Lookup]:
    """A lookup as every build has its own, over one source ``src``."""

    def fresh() -> Lookup:
        whole = recipe({"src": {"task": "vqa_open", "image_root": str(root)}})
        return Lookup(whole, store, Stages(), Engine(1))

    return fresh


def look(one: Lookup, *refs: str) -> list[tuple[str, int | None, str | None]]:
    found = one.look(one.recipe.entries["src"])(list(refs))
    return found.select("ref", "width", "problem").rows()


def looked_at(one: Lookup) -> list[int | None]:
    assert isinstance(one.progress, Stages)
    return one.progress.totals


def test_answers_stand_in_the_order_of_the_references(lookup: Callable[[], Lookup]) -> None:
    expected = [("b.png", 4, None), ("gone.png", None, "image_missing"), ("a.png", 8, None)]
    assert look(one := lookup(), "b.png", "gone.png", "a.png") == expected
    assert look(one, "a.png", "gone.png", "b.png") == expected[::-1]


def test_an_image_is_looked_at_once(lookup: Callable[[], Lookup]) -> None:
    one = lookup()
    look(one, "a.png")
    look(one, "a.png", "b.png")
    look(one, "b.png", "a.png")
    assert looked_at(one) == [1, 1]


def test_sources_with_one_root_and_one_limit_share_what_is_known(store: Store, root: Path) -> None:
    source = {"task": "vqa_open", "image_root": str(root)}
    whole = recipe({"x": source, "y": source, "z": {**source, "images": {"max_pixels": 20}}})
    one = Lookup(whole, store, Stages(), Engine(1))
    found = {name: one.look(entry)(["a.png"])["problem"].to_list() for name, entry in whole.entries.items()}
    assert found == {"x": [None], "y": [None], "z": ["image_bomb"]}
    assert looked_at(one) == [1, 1]
    assert place_of(whole.entries["z"]) == Place(str(root), 20)


def test_the_next_build_knows_what_was_saved_and_not_the_rest(lookup: Callable[[], Lookup], root: Path) -> None:
    one = lookup()
    look(one, "a.png")
    one.remember_seen()
    look(one, "b.png")
    look(again := lookup(), "a.png")
    ((place, remembered),) = again.remembered.items()
    assert place.root == str(root)
    assert remembered is not None
    assert remembered["ref"].to_list() == ["a.png"]


def test_a_marked_image_has_a_problem_from_then_on(lookup: Callable[[], Lookup]) -> None:
    one = lookup()
    one.mark(one.recipe.entries["src"], [("a.png", "image_undecodable", "line 3"), ("a.png", "image_undecodable", "4")])
    again = lookup()
    assert look(again, "a.png", "b.png") == [("a.png", 8, "image_undecodable"), ("b.png", 4, None)]


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "nothing": (lambda root: None, True),
    "another image in its place": (lambda root: draw(root / "a.png", color="green"), False),
    "a file that was touched": (lambda root: os.utime(root / "a.png", (5, 5)), True),
    "a file that is gone": (lambda root: (root / "a.png").unlink(), False),
    "one that was missing and is there": (lambda root: draw(root / "gone.png"), False),
    "a folder that was missing and is there": (lambda root: draw(root / "deep/gone.png"), False),
    "an archive that was missing and is there": (lambda root: pack(root / "other.zip", "a.png"), False),
    "one of which the plan knows nothing": (lambda root: draw(root / "new.png"), True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_is_true_for_as_long_as_its_images_are_what_they_were(
    lookup: Callable[[], Lookup], root: Path, change: str
) -> None:
    one = lookup()
    look(one, "a.png", "b.png", "gone.png", "deep/gone.png", "other.zip::a.png")
    one.save("plan")
    happens, still_true = CHANGES[change]
    happens(root)
    assert lookup().still_true("plan") == still_true


@pytest.mark.parametrize(
    ("color", "name", "still_true"), [("red", "a.png", True), ("green", "a.png", False), ("red", "gone.png", False)]
)
def test_members_of_an_archive_are_compared_too(
    lookup: Callable[[], Lookup], root: Path, color: str, name: str, still_true: bool
) -> None:
    pack(root / "all.zip", "a.png")
    one = lookup()
    found = look(one, "all.zip::a.png", "all.zip::gone.png")
    assert found == [("all.zip::a.png", 8, None), ("all.zip::gone.png", None, "image_missing")]
    one.save("plan")
    pack(root / "all.zip", *{"a.png", name}, color=color)
    assert lookup().still_true("plan") == still_true


def test_a_plan_rests_on_the_images_of_its_own_sources(lookup: Callable[[], Lookup], store: Store) -> None:
    one = lookup()
    one.seen[Place("/another/build", 9)] = pl.DataFrame({"ref": ["x"]})
    look(one, "a.png")
    one.remember_seen()
    one.save("plan")
    assert pl.read_parquet(store.path("plans", "plan", ".images.parquet"))["ref"].to_list() == ["a.png"]
