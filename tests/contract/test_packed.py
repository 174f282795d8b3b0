"""Every file of a corpus may be gzipped, whichever of its companions are."""

import gzip
from pathlib import Path

import pytest

from vldata.sources import format_names, source_class
from vldata.sources.base import Source

TEXT = (".json", ".jsonl", ".p", ".csv", ".tsv", ".txt", ".token")


def standin(name: str, folder: Path) -> Source:
    cls = source_class(name)
    return cls(**cls.standin(folder, rows=20, seed=1, task=cls.tasks[0] if cls.tasks else None, images=False))


@pytest.mark.parametrize("name", [n for n in format_names() if n != "shapes"])
def test_each_file_of_a_source_may_be_packed_alone(name: str, tmp_path: Path) -> None:
    source = standin(name, tmp_path / "plain")
    task = source.tasks[0] if source.tasks else "caption"
    expected = source.turns(task)
    files = [file for file in source.files() if file.suffix in TEXT]
    for place, file in enumerate(files):
        source = standin(name, tmp_path / str(place))
        packed = tmp_path / str(place) / file.relative_to(tmp_path / "plain")
        (packed.parent / f"{packed.name}.gz").write_bytes(gzip.compress(packed.read_bytes()))
        packed.unlink()
        if not Path(source.path).exists():
            source = source.model_copy(update={"path": f"{source.path}.gz"})
        assert source.turns(task).equals(expected), file.name
