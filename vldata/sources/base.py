"""What a source is: the files of one native format, read into turns.

A source adapter is one file: its docstring tells the corpus, its licence, the layout on disk, one real-shaped row and
the format's quirks, which stop there. It knows two directions: `Source.turns` reads the native files, and
`Source.standin` writes a small corpus of the same format with true labels, drawn from the shapes world.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import polars as pl

from vldata.schema.spec import Spec

Keys = dict[str, Any]
"""Keys of a source in a recipe."""


class Source(Spec):
    """One corpus in one native format.

    A subclass adds the options of its format as fields, names the tasks it can fill in `tasks` (the first is the
    default), and implements `turns` and `standin`.

    Args:
        path: Annotation file, folder or glob, relative to the working directory; ``.gz`` is read everywhere.
        ignore: Native keys that change nothing of what is learnt, besides those that the format knows as such.
        image_root: Folder, tar or zip below which the images' paths lie; None where the format embeds its images
            or has none.
    """

    format: ClassVar[str]
    about: ClassVar[str]
    """One line for `vldata formats`."""
    licence: ClassVar[str]
    """As the dataset's publisher states it, for the dataset card."""
    tasks: ClassVar[tuple[str, ...]]
    box_unit: ClassVar[Literal["px", "fraction"]] = "px"
    """Frame of the boxes that `turns` returns."""
    has_text_rows: ClassVar[bool] = False
    """Whether rows without an image are ordinary and say all that a task wants, or broken."""
    paths: ClassVar[tuple[str, ...]] = ("path", "image_root")
    """Options that are local paths: the only ones in which ``${ENV}`` is replaced."""
    version: ClassVar[int] = 1
    """Raised when the adapter starts to read the same files differently, so that remembered turns are read again."""

    path: str
    image_root: str | None = None
    ignore: list[str] = []

    @property
    def root_when_unset(self) -> str | None:
        """Which folder stands in for an ``image_root`` that is unset; None where it is set."""
        return "the working directory, as image_root is unset" if self.image_root is None else None

    def files(self) -> list[Path]:
        """The annotation files that `turns` reads, in a stable order; their contents decide the turns.

        Raises:
            SourceError: A file that the options name does not exist.
        """
        from vldata.sources.reading.files import expand

        return expand(self.path)

    def turns(self, task: str) -> pl.DataFrame:
        """Read every row as a turn of ``task`` (one of `tasks`), in canonical columns.

        ``row`` is the native id as a string (omit the column where the format has none). A row that cannot be used
        is returned all the same, with ``problem`` set to a name of `vldata.schema.reasons` and ``detail`` saying what.
        Of one that can, a column ``remark`` may say what a reader of the plan should know, each remark on a line;
        equal ones are counted.
        Missing optional columns are added as nulls by the caller; columns that the task does not know are an error.

        Raises:
            SourceError: The files as a whole are not of this format.
        """
        raise NotImplementedError

    def head(self, folder: Path, rows: int, cut: Callable[[Path, Path], bool]) -> Self | None:
        """The source over its first rows, for a look at them; None: the heads of its files are that.

        Args:
            folder: Empty; what is read lies below it afterwards.
            cut: Writes the head of a file (the first) to another place (the second); False where it has none.
        """
        return None

    @property
    def kept_columns(self) -> list[str]:
        """Native columns that `turns` returns, too, for ``where``; they have types of their own."""
        return []

    def images_key(self) -> str | None:
        """What decides the images that the source draws itself; None where they lie in files, as with most."""
        return None

    def draw_images(self, folder: Path) -> None:
        """Draw the images of a source that has an `images_key` below a folder, those that are not there yet.

        Raises:
            StoreError: The folder cannot be written.
        """
        raise NotImplementedError

    def standin_key(self) -> Any:
        """What of the source's options decides the stand-in of it, as plain data; None: nothing."""
        return None

    def standin_for(self, folder: Path, *, rows: int, seed: int, task: str) -> Keys:
        """A stand-in that is read with the options of this source that say how its rows are read; see `standin`.

        Raises:
            SourceError: Nothing that could be written would be read by them.
        """
        return self.standin(folder, rows=rows, seed=seed, task=task)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Write a corpus of this format with at least ``rows`` turns about shapes scenes, true in every label.

        The same arguments write the same bytes. One scene gives several turns where the format has several per image.

        Args:
            folder: Empty.
            rows: Turns to write; the last scene may add a few more.
            task: What the turns are for, one of `tasks`; None is the first. Files that serve all their tasks ignore it.
            images: False leaves the images out (for benchmarks of the text path).

        Returns:
            The recipe keys that read it back: at least ``path``, absolute, and ``image_root`` where there are images.
        """
        raise NotImplementedError
