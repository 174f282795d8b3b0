"""vldata: build, ablate and rebuild the data that vision-language models are trained on.

The Python API, all of it loaded when it is called: importing the package loads nothing heavy.

    recipe = vldata.load("recipe.yaml")
    built = vldata.build(recipe, Path("out/mine"))
    dataset = vldata.open_dataset(built.out)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

if TYPE_CHECKING:
    import datasets

    from vldata.base import Progress
    from vldata.pipeline.build import Built
    from vldata.recipe.models import Recipe


class BuildSettings(TypedDict, total=False):
    """What `build` may be given beside its places; all may be left out.

    Attributes:
        standin: Replace every source by a stand-in of N turns.
        limit: At most N units of the mixture.
        locked: The ``lock`` of an earlier build: anything else is refused.
        finish: Adds to the folder before it is put in its place; not called when the build is unchanged.
    """

    standin: int | None
    limit: int | None
    locked: dict[str, Any] | None
    finish: Callable[[Path], object] | None


__version__ = "0.1.0"
__all__ = ["build", "bundled", "load", "open_dataset", "plan"]


def load(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe file, or a bundled recipe by its name.

    Args:
        recipe: A path, or a name such as ``quickstart``.
        overrides: ``key.path=value``, which win over the recipe.

    Raises:
        RecipeErrors: Everything wrong with it.
    """
    from vldata.recipe.load import load

    return load(recipe, list(overrides))


def build(
    recipe: Recipe,
    out: Path,
    *,
    store: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    answers: Path | None = None,
    **options: Unpack[BuildSettings],
) -> Built:
    """Build a recipe into a folder that `datasets.load_from_disk` opens.

    Args:
        recipe: As `load` gives it.
        out: Folder to write: new, empty, or an earlier build, which is replaced as one.
        store: Where blocks are kept; None is ``$VLDATA_STORE``, else ``.vldata/store``.
        workers: Processes; None is one for each core.
        progress: Watches every step.
        answers: The answer store of synthetic sources; None is ``$VLDATA_ANSWERS``, else ``.vldata/answers``.
        options: See `BuildSettings`.

    Raises:
        VldataError: The user's or the world's fault; ``out`` is as it was.
    """
    from vldata.generate.for_builds import AnsweredSources
    from vldata.paths import home
    from vldata.pipeline.assemble import refuse_foreign
    from vldata.pipeline.build import build
    from vldata.pipeline.session import open_session
    from vldata.store.store import default_store
    from vldata.store.trouble import as_store_errors

    out = home(out).resolve()
    with as_store_errors(out):
        refuse_foreign(out, store or default_store())  # before a store is made in its way
    with open_session(store, workers, progress, synthetic=AnsweredSources(answers)) as session:
        return build(recipe, out, session, **options)


def plan(
    recipe: Recipe,
    *,
    store: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    standin: int | None = None,
    limit: int | None = None,
    answers: Path | None = None,
) -> dict[str, Any]:
    """Say what `build` would make of a recipe, as plain data; arguments as there.

    Raises:
        VldataError: The recipe cannot be built.
    """
    from vldata.generate.for_builds import AnsweredSources
    from vldata.pipeline.build import overview
    from vldata.pipeline.session import open_session

    with open_session(store, workers, progress, synthetic=AnsweredSources(answers)) as session:
        return overview(recipe, session, standin=standin, limit=limit)


def open_dataset(build: str | Path) -> datasets.DatasetDict | datasets.Dataset:
    """Open a finished build with `datasets`; a DatasetDict when it has splits."""
    import datasets

    return datasets.load_from_disk(str(build))


def bundled(kind: str) -> Path:
    """The folder of bundled ``templates`` or ``recipes``: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "_shared" / kind
    return installed if installed.is_dir() else package.parent / kind
