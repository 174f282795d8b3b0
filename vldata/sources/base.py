"""What a source is: the files of one native format, read into turns.

A source adapter is one file: its docstring tells the corpus, its licence, the layout on disk, one real-shaped row and
the format's quirks, which stop there. It knows two directions: `Source.turns` reads the native files, and
`Source.standin` writes a small corpus of the same format with true labels, drawn from the shapes world.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import polars as pl
from pydantic import BeforeValidator, StrictBool, field_validator, model_validator

from vldata.schema.spec import Spec

Keys = dict[str, Any]
"""Keys of a source in a recipe."""


def as_list(said: Any) -> Any:
    """What a recipe says once where it may say several things."""
    return [said] if isinstance(said, str | dict) else said


class Source(Spec):
    """One corpus in one native format.

    A subclass adds the options of its format as fields, names the tasks it can fill in `tasks` (the first is the
    default), and implements `turns` and `standin`.

    Args:
        path: Annotation file, folder or glob, relative to the working directory; ``.gz`` is read everywhere.
        ignore: Native keys that change nothing of what is learnt, besides those that the format knows as such.
        keep: Native columns, by their names or dotted paths, that ``where`` may look at; they are not in the dataset.
        meta: The columns of ``keep`` are in the dataset, too: as one JSON object a row in the column ``meta``.
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
    inner_paths: ClassVar[tuple[str, ...]] = ()
    """Those inside options that are sections or lists of such, dotted."""
    version: ClassVar[int] = 1
    """Raised when the adapter starts to read the same files differently, so that remembered turns are read again."""

    path: str
    image_root: str | None = None
    ignore: list[str] = []
    keep: Annotated[list[str], BeforeValidator(as_list)] = []
    meta: StrictBool = False

    @field_validator("keep")
    @classmethod
    def _are_native(cls, keep: list[str]) -> list[str]:
        from vldata.sources.reading.fields import field_names
        from vldata.sources.reading.keep import names_kept

        return names_kept(keep, {*field_names(), "problem", "detail"}) if keep else keep

    @model_validator(mode="after")
    def _has_meta(self) -> Source:
        if self.meta and not self.keep:
            raise ValueError("meta: true, and no column is kept; name what goes into it with `keep`")
        return self

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
        equal ones are counted. Native columns of ``keep`` go along as `vldata.sources.reading.rows.typed` has them,
        where it is given their names. Missing optional columns are added as nulls by the caller; those that the task
        does not know are errors.

        Raises:
            SourceError: The files as a whole are not of this format.
        """
        raise NotImplementedError

    def read(self, task: str) -> pl.DataFrame:
        """`turns`, with the columns that ``keep`` names, in types of their own (`vldata.sources.reading.keep`).

        Images that are text in a file (base64, data URIs) are named by where they stand in it.

        Raises:
            SourceError: As `turns`, or no file has such a column.
        """
        from vldata.sources.reading.inline_images import located
        from vldata.sources.reading.kept_columns import with_kept

        turns = located(self.turns(task), self.files, self.image_root)
        return with_kept(turns, self.keep, meta=self.meta, files=self.files()) if self.keep else turns

    def notes(self) -> list[str]:
        """What a reader of the plan should know of the files as a whole, besides what `turns` remarks of each.

        Raises:
            SourceError: As `turns`.
        """
        return []

    def head(self, folder: Path, rows: int, cut: Callable[[Path, Path], bool]) -> Self | None:
        """The source over its first rows, for a look at them; None: the heads of its files are that.

        Args:
            folder: Empty; what is read lies below it afterwards.
            cut: Writes the head of a file (the first) to another place (the second); False where it has none.
        """
        return None

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
