"""Chosen samples cut into leaves, rendered, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
import pyarrow as pa
import pytest

from tests.pipeline.tables import TEMPLATES, leaf, recipe, template
from vldata.base import Silent
from vldata.errors import BuildError
from vldata.mixture.quotas import Quota
from vldata.pipeline.choose import REFUSED, ChosenSamples, Share
from vldata.pipeline.render import Leaf, render_all
from vldata.pipeline.session import Session
from vldata.pipeline.workers import Engine
from vldata.recipe.models import Recipe
from vldata.store.blocks import BLOCK, NOTE, PIECE
from vldata.store.store import Store

EIGHTH = 1 << 61
"""Ranks that differ by it differ in their first three bits."""


class Idle(Engine):
    """Has nothing to do."""

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[NoReturn]:
        assert list(jobs) == []
        return iter(())


class Stages(Silent):
    """Counts how far every stage is."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        self.totals[name] = 0

        def advance(done: int) -> None:
            self.totals[name] += done

        return advance


def chosen(
    ranks: Mapping[str, list[int]], shares: Mapping[str, Share], key: str | None = None, **of: Any
) -> ChosenSamples:
    """Samples of one turn each: split to the ranks of its samples; what else is given is so of each sample."""
    samples = [{"turns": [("q", "a")], "split": split, **of, "sample": r} for split, rs in ranks.items() for r in rs]
    table, turns = leaf(*samples)
    nothing = pl.DataFrame(schema=REFUSED)
    return ChosenSamples(table, turns, dict(shares), Quota(1, 1.0, 1.0), 1, nothing, nothing, key)


Rendered = dict[str, list[Leaf] | pl.DataFrame]


@pytest.fixture
def render(tmp_path: Path, store: Store) -> Callable[..., Rendered]:
    words = template(tmp_path, "vqa_open")

    def rendered(
        whole: Recipe, of: Mapping[str, ChosenSamples], engine: Engine | None = None, **options: Any
    ) -> Rendered:
        templates = options.get("templates") or dict.fromkeys(whole.entries, words)
        session = Session(store, engine or Engine(1), options.get("progress") or Silent())
        session.laid_out = options.get("laid_out", {})
        return render_all(whole, of, templates, session)

    return rendered


def small(**output: Any) -> Recipe:
    """One source, blocks of two."""
    return recipe({"src": {"task": "vqa_open"}}, output={"block_rows": 2, **output})


def ids(store: Store, found: list[Leaf]) -> list[str]:
    """What each leaf holds, as the samples' numbers."""
    tables = []
    for one in found:
        with pa.memory_map(str(store.path("pieces", one.rendered.key, PIECE))) as source:
            tables.append(pa.ipc.open_stream(source).read_all())
    rows = [table.column("id").to_pylist() for table in tables]
    return ["".join(name.removeprefix("src/").removesuffix(".0") for name in of_leaf) for of_leaf in rows]


EIGHT = {"train": [n * EIGHTH for n in range(8)]}


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (Share(1, 0), {"01": [0], "23": [0], "45": [0], "67": [0]}),
        (Share(2, 0), {"01": [0, 1], "23": [0, 1], "45": [0, 1], "67": [0, 1]}),
        (Share(0, 4), {"01": [0], "23": [0]}),
        (Share(0, 5), {"01": [0], "23": [0], "4": [0]}),
        (Share(1, 4), {"01": [0, 1], "23": [0, 1], "45": [0], "67": [0]}),
        (Share(1, 5), {"01": [0, 1], "23": [0, 1], "4": [1], "45": [0], "67": [0]}),
        (Share(3, 7), {"01": [0, 1, 2, 3], "23": [0, 1, 2, 3], "45": [0, 1, 2, 3], "6": [3], "67": [0, 1, 2]}),
    ],
)
def test_leaves_stand_whole_in_every_pass_and_a_prefix_cuts_one(
    render: Callable[..., Rendered], store: Store, share: Share, expected: dict[str, list[int]]
) -> None:
    found = render(small(), {"src": chosen(EIGHT, {"train": share})})["src"]
    assert isinstance(found, list)
    assert dict(zip(ids(store, found), (one.numbers for one in found), strict=True)) == expected
    assert sum(one.rendered.rows * len(one.numbers) for one in found) == 8 * share.passes + share.prefix


def test_splits_share_no_leaf_and_each_has_its_own_passes(render: Callable[..., Rendered], store: Store) -> None:
    ranks = {"train": [0, 1, EIGHTH, 2 * EIGHTH], "val": [0, 5 * EIGHTH, 6 * EIGHTH]}
    of = chosen(ranks, {"train": Share(2, 1), "val": Share(1, 0)})
    found = render(small(), {"src": of})["src"]
    assert isinstance(found, list)
    described = [(one.rendered.split, rows, one.numbers) for one, rows in zip(found, ids(store, found), strict=True)]
    assert described == [
        ("train", "0", [2]),
        ("train", "01", [0, 1]),
        ("train", "2", [0, 1]),
        ("train", "3", [0, 1]),
        ("val", "4", [0]),
        ("val", "56", [0]),
    ]
    assert [one.rendered.first_rank for one in found] == [0, 0, EIGHTH, 2 * EIGHTH, 0, 5 * EIGHTH]


def test_a_leaf_holds_no_more_image_bytes_than_a_worker_can(render: Callable[..., Rendered], store: Store) -> None:
    of = chosen(EIGHT, {"train": Share(1, 0)}, image_bytes=120 * 1024 * 1024)
    found = render(recipe({"src": {"task": "vqa_open"}}), {"src": of})["src"]
    assert isinstance(found, list)
    assert ids(store, found) == ["01", "23", "45", "67"]  # 240 of 256 MB


def test_what_was_rendered_before_is_read_from_the_store(render: Callable[..., Rendered], store: Store) -> None:
    of = {"src": chosen(EIGHT, {"train": Share(1, 5)}, key="these")}
    laid_out: dict[str, str] = {}
    first, second, third = Stages(), Stages(), Stages()
    once = render(small(), of, progress=first, laid_out=laid_out)
    assert render(small(), of, Idle(1), progress=second) == once
    assert render(small(), of, Idle(1), progress=third, laid_out=laid_out) == once
    assert first.totals["render"] == 9  # one leaf is rendered whole and cut
    assert second.totals == third.totals == {"render": 8}


def test_what_is_known_by_name_is_not_laid_out_and_other_words_have_another_name(
    render: Callable[..., Rendered], tmp_path: Path
) -> None:
    laid_out: dict[str, str] = {}
    share = {"train": Share(1, 0)}
    render(small(), {"src": chosen(EIGHT, share, key="these")}, laid_out=laid_out)
    assert len(laid_out) == 1
    nothing = chosen({"train": []}, share, key="these")  # the name alone decides: nobody looks at the samples
    found = render(small(), {"src": nothing}, Idle(1), laid_out=laid_out)["src"]
    assert len(found) == 4
    text = TEMPLATES["vqa_open"].replace("{{ question }}", "{{ question }}?")  # the same blocks and columns
    other = {"src": template(tmp_path, "vqa_open", text)}
    render(small(), {"src": chosen(EIGHT, share, key="these")}, templates=other, laid_out=laid_out)
    render(small(block_rows=3), {"src": chosen(EIGHT, share, key="these")}, laid_out=laid_out)
    render(small(), {"src": chosen(EIGHT, share, key="those")}, laid_out=laid_out)
    assert len(laid_out) == 4
    render(small(), {"src": chosen(EIGHT, share)}, laid_out=laid_out)  # other sources decide, too: it has no name
    assert len(laid_out) == 4


def test_a_piece_that_is_gone_is_rendered_again(render: Callable[..., Rendered], store: Store) -> None:
    of, laid_out = {"src": chosen(EIGHT, {"train": Share(1, 0)}, key="these")}, {}
    once = render(small(), of, laid_out=laid_out)
    lost = once["src"][2].rendered.key
    store.remove("pieces", lost, NOTE)
    assert render(small(), of, laid_out=laid_out) == once
    assert store.has("pieces", lost, NOTE)


def test_a_source_whose_template_fails_is_reported_row_by_row_and_the_others_are_rendered(
    render: Callable[..., Rendered], store: Store
) -> None:
    whole = recipe({"bad": {"task": "vqa_open"}, "src": {"task": "vqa_open"}}, output={"block_rows": 2})
    table, turns = leaf(*({"turns": [("q", said)], "sample": n * EIGHTH} for n, said in enumerate(["a", "", "a", " "])))
    nothing = pl.DataFrame(schema=REFUSED)
    failing = ChosenSamples(table, turns, {"train": Share(1, 0)}, Quota(1, 1.0, 1.0), 1, nothing, nothing)
    laid_out: dict[str, str] = {}
    found = render(whole, {"bad": failing, "src": chosen(EIGHT, {"train": Share(1, 0)})}, laid_out=laid_out)
    rows = found["bad"]
    assert isinstance(rows, pl.DataFrame)
    assert rows.columns == ["row", "reason", "detail"]
    assert rows.rows() == [
        ("1.0", "empty_message", "the assistant's text"),
        ("3.0", "empty_message", "the assistant's text"),
    ]
    assert isinstance(found["src"], list)
    again = render(whole, {"bad": failing, "src": chosen(EIGHT, {"train": Share(1, 0)})}, laid_out=laid_out)
    assert isinstance(again["bad"], pl.DataFrame)  # a failure is not remembered as a success


def test_with_stored_paths_leaves_are_blocks_unless_their_rows_are_gathered_later(
    render: Callable[..., Rendered], store: Store
) -> None:
    of = {"src": chosen(EIGHT, {"train": Share(1, 0)})}
    once = render(small(images="path"), of)["src"]
    assert [one.rendered.is_new_block for one in once] == [True] * 4
    assert all(store.has("blocks", one.rendered.key, BLOCK) for one in once)
    with pa.memory_map(str(store.path("blocks", once[0].rendered.key, BLOCK))) as source:
        (image,) = pa.ipc.open_stream(source).read_all().column("images").to_pylist()[0]
    assert image == {"bytes": None, "path": "/nowhere/1.jpg"}
    again = render(small(images="path"), of, Idle(1))["src"]
    assert [one.rendered.is_new_block for one in again] == [False] * 4
    rows = render(small(images="path", layout="rows"), of)["src"]
    assert not any(one.rendered.is_new_block for one in rows)
    assert all(store.has("pieces", one.rendered.key, PIECE) for one in rows)


@pytest.mark.parametrize("ref", ["a.tar::b.jpg", "rows.parquet::image/0/0"])
def test_no_path_leads_to_an_image_inside_a_container(render: Callable[..., Rendered], ref: str) -> None:
    of = {"src": chosen(EIGHT, {"train": Share(1, 0)}, images=["1.jpg", ref])}
    with pytest.raises(BuildError, match="inside an archive or a table") as caught:
        render(small(images="path"), of)
    assert caught.value.where == "sources.src.image_root"
    assert len(render(small(), of)["src"]) == 4  # their bytes can be embedded


def test_nor_to_one_below_a_root_that_is_an_archive(render: Callable[..., Rendered], tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"")
    source = {"task": "vqa_open", "image_root": str(tmp_path / "images.zip")}
    whole = recipe({"src": source}, output={"images": "path"})
    with pytest.raises(BuildError, match="inside an archive or a table"):
        render(whole, {"src": chosen(EIGHT, {"train": Share(1, 0)})})


def test_a_source_that_gives_nothing_has_no_leaves(render: Callable[..., Rendered]) -> None:
    whole = recipe({"none": {"task": "vqa_open"}, "src": {"task": "vqa_open"}}, output={"block_rows": 2})
    none = chosen({"train": []}, {"train": Share(0, 0)})
    for _ in range(2):
        found = render(whole, {"none": none, "src": chosen(EIGHT, {"train": Share(1, 0)})})
        assert (found["none"], len(found["src"])) == ([], 4)
