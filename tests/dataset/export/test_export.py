from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vldata.dataset import export as package
from vldata.dataset.diff import differences
from vldata.dataset.export import FORMS, export
from vldata.dataset.preview import samples
from vldata.dataset.verify import verify
from vldata.dataset.why import whereabouts
from vldata.errors import BuildError, StoreError, VldataError
from vldata.report.write import write_report

MakeBuild = Callable[..., Path]


class Watch:
    """Remembers what is reported to it."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        self.stages.append((name, total))

        def advance(done: int) -> None:
            self.done += done

        return advance


@pytest.fixture
def build(make_build: MakeBuild, jpeg: bytes) -> Path:
    image = {"bytes": jpeg, "path": "a.jpg"}
    return make_build(
        {"train": [[{"id": "hand/1", "images": [image]}], [{"id": "hand/2"}]], "val": [[{"id": "hand/3"}]]}
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_writes_every_row_and_counts_its_files(form: str, build: Path, tmp_path: Path) -> None:
    result = export(build, tmp_path / "deep" / "out", to=form)
    assert result == {"rows": 3, "files": len(contents(tmp_path / "deep" / "out")), "not_exported": 0}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_build_gives_the_same_bytes(form: str, build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "a", to=form)
    export(build, tmp_path / "b", to=form)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("form", FORMS)
def test_the_watcher_hears_of_every_row(form: str, build: Path, tmp_path: Path) -> None:
    watch = Watch()
    export(build, tmp_path / "out", to=form, progress=watch)
    assert watch.stages == [(f"export to {form}", 3)]
    assert watch.done == 3


def test_an_unknown_form_is_refused_with_the_nearest_name(build: Path, tmp_path: Path) -> None:
    with pytest.raises(VldataError, match=r"--to webdatasets: .*\n  fix: did you mean 'webdataset'\?"):
        export(build, tmp_path / "out", to="webdatasets")


def test_a_folder_that_holds_something_is_refused(build: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(BuildError, match="not empty"):
        export(build, tmp_path / "out", to="llava")
    assert contents(tmp_path / "out") == {"mine.txt": b"mine"}


def test_a_file_as_out_is_refused(build: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BuildError, match="not a folder"):
        export(build, tmp_path / "out", to="llava")


def test_an_empty_folder_is_filled(build: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(build, tmp_path / "out", to="llava")["rows"] == 3


@pytest.mark.parametrize("place", ["export", "deep/export"])
def test_a_folder_inside_a_build_is_refused(place: str, build: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    with pytest.raises(BuildError, match="inside the build"):
        export(build, build / place, to="llava")
    assert contents(tmp_path) == before


def test_a_manifest_that_is_no_build_s_is_in_nobody_s_way(build: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "something else"}')
    assert export(build, tmp_path / "out", to="llava")["rows"] == 3


def test_what_is_no_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="not a build folder"):
        export(tmp_path, tmp_path / "out", to="llava")
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(BuildError, match=r"its manifest\.json is damaged"):
        export(tmp_path, tmp_path / "out", to="llava")


@pytest.mark.parametrize(
    "block", [{}, {"file": "../x.arrow"}, {"file": "/x.arrow"}, {"rows": "7"}, {"rows": True}, {"key": None}]
)
def test_a_manifest_that_names_what_no_build_has_is_refused_by_every_reader(
    build: Path, tmp_path: Path, block: dict[str, Any]
) -> None:
    manifest = json.loads((build / "manifest.json").read_text())
    (build / manifest["blocks"][0]["file"]).rename(tmp_path / "x.arrow")
    manifest["blocks"][0] = {**manifest["blocks"][0], **block} if block else {}
    (build / "manifest.json").write_text(json.dumps(manifest))
    _refused_by_every_reader(build, tmp_path / "out")


@pytest.mark.parametrize(
    "part", [{"recipe": None}, {"ledger": 3}, {"blocks": []}, {"sources": {"hand": 3}}, {"name": None}, {"totals": []}]
)
def test_a_manifest_without_what_a_reader_needs_is_refused_by_every_reader(
    build: Path, tmp_path: Path, part: dict[str, Any]
) -> None:
    manifest = json.loads((build / "manifest.json").read_text())
    (build / "manifest.json").write_text(json.dumps({**manifest, **part}))
    _refused_by_every_reader(build, tmp_path / "out")


def test_a_manifest_nested_too_deep_to_parse_is_refused_by_every_reader(build: Path, tmp_path: Path) -> None:
    (build / "manifest.json").write_text("[" * 100_000)
    _refused_by_every_reader(build, tmp_path / "out")


def _refused_by_every_reader(build: Path, out: Path) -> None:
    readers: list[Callable[[], object]] = [
        lambda: export(build, out, to="llava"),
        lambda: list(samples(build)),
        lambda: differences(build, build),
        lambda: whereabouts(build, "hand/a"),
        lambda: verify(build),
        lambda: write_report(build),
    ]
    for read in readers:
        with pytest.raises(BuildError, match=r"its manifest\.json is damaged"):
            read()
    assert not out.exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_block_is_named_and_nothing_is_left(form: str, build: Path, tmp_path: Path) -> None:
    (build / "val" / "data-00000-of-00001.arrow").unlink()
    before = set(tmp_path.iterdir())
    with pytest.raises(BuildError, match=r"val/data-00000-of-00001\.arrow: cannot be read"):
        export(build, tmp_path / "out", to=form)
    assert set(tmp_path.iterdir()) == before


def test_a_block_that_ends_in_the_middle_is_named(build: Path, tmp_path: Path) -> None:
    block = build / "train" / "data-00000-of-00002.arrow"
    block.write_bytes(block.read_bytes()[:-600])
    with pytest.raises(BuildError, match=r"data-00000-of-00002\.arrow: cannot be read"):
        export(build, tmp_path / "out", to="webdataset")


def test_a_block_with_other_rows_than_the_manifest_says_is_named(build: Path, tmp_path: Path) -> None:
    manifest = json.loads((build / "manifest.json").read_text())
    manifest["blocks"][0]["rows"] = 7
    (build / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match="1 rows where the manifest says 7"):
        list(samples(build))
    with pytest.raises(BuildError, match="1 rows where the manifest says 7"):
        export(build, tmp_path / "out", to="parquet")


def test_a_block_of_other_columns_is_refused(build: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    table = pa.table({"id": ["hand/1"]})
    with pa.ipc.new_stream(str(build / "train" / "data-00000-of-00002.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(BuildError, match="another version"):
        export(build, tmp_path / "out", to="parquet")


def test_a_full_disk_is_a_store_error_and_nothing_is_left(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match=r"out: No space left on device\n  fix: free some space"):
        export(build, tmp_path / "out", to="llava")
    assert [p.name for p in tmp_path.iterdir()] == ["build"]


def test_importing_the_package_imports_no_form() -> None:
    assert set(FORMS) == {"llava", "parquet", "sharegpt", "webdataset"}
    assert all(target.startswith(f"{package.__name__}.{form}:") for form, target in FORMS.items())
