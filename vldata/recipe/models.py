"""The sections of a recipe that are not a source's, a task's or the mixture's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StringConstraints

from vldata.curate.dedup import Dedup
from vldata.curate.filters import Filters
from vldata.mixture.models import Mixture
from vldata.prompts.models import Language, Templates
from vldata.schema.spec import Spec
from vldata.sources.base import Source
from vldata.synth.models import Synth
from vldata.tasks.base import Task


class Conversation(Spec):
    """How the turns of an image become conversations.

    Args:
        group_by: ``image`` puts the questions of an image into one conversation (tasks whose rows are conversations
            already keep theirs); ``none`` leaves every turn alone.
        max_turns: Most turns in a conversation, what is over starts another; or ``all``. Honeybee uses 10.
        dedup: Which turns of an image say the same; null keeps all.
        image_position: Before or after the first question's text; ``random`` is LLaVA's keyed coin per sample.
    """

    group_by: Literal["image", "none"] = "image"
    max_turns: Annotated[int, Field(ge=1)] | Literal["all"] = 1
    dedup: Dedup | None = None
    image_position: Literal["before", "after", "random"] = "before"


class Images(Spec):
    """What to do with a source's images.

    Args:
        missing: ``reject`` turns without their image; ``keep`` them (needs ``output.images: path``).
        max_side_px: Images with a longer side are scaled down to it; null passes every byte through.
        max_pixels: An image with more is rejected before it is decoded (a decompression bomb).
        decode: Decode every image once when its block is made, and reject the ones that fail; without it an image is
            judged by its header and its end, which costs a hundredth of that.
    """

    missing: Literal["reject", "keep"] = "reject"
    max_side_px: Annotated[int, Field(ge=1)] | None = None
    max_pixels: Annotated[int, Field(ge=1)] = 178_956_970
    decode: StrictBool = False


class Settings(Spec):
    """What ``defaults`` may say for all sources and each source for itself.

    Args:
        licence: Of these files, for manifest and dataset card; null is that of the format's own corpus.
        language: Of their texts, such as ``de``: the templates of that language put them into words where there are
            such, and manifest and dataset card name it; null says nothing, and the words are English.
    """

    licence: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = None
    language: Language | None = None
    templates: Templates = Templates()
    conversation: Conversation = Conversation()
    images: Images = Images()
    filters: Filters = Filters()
    where: str | None = None
    box_format: str = "llava"
    reference: Literal["original", "padded_square"] = "original"
    task_options: dict[str, Any] = {}
    max_reject_rate: Annotated[float, Field(ge=0, le=1)] = 0.01

    @property
    def language_of_words(self) -> str | None:
        """The language in which templates ask; None: nothing says so, which is English."""
        return self.templates.language or self.language


class Across(Spec):
    """Turns of several sources about the same photograph (by content, not by path) that say the same: one stays.

    Args:
        sources: Names; the first that has the turn keeps it.
        by: Columns that must be equal.
    """

    sources: Annotated[list[str], Field(min_length=2)]
    by: Annotated[list[str], Field(min_length=1)] = ["question", "answer"]


class Output(Spec):
    """The form of what is written.

    Args:
        layout: ``blocks`` links blocks of one source each (share, resume; wants a shuffling reader); ``rows`` writes
            shards in which the samples of all sources stand in keyed order.
        images: ``embed`` the images' bytes, or store their absolute ``path``.
        block_rows: Most samples in a block; null is 1,024 with embedded images and 8,192 without.
    """

    layout: Literal["blocks", "rows"] = "blocks"
    images: Literal["embed", "path"] = "embed"
    block_rows: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @property
    def max_rows(self) -> int:
        """Most samples in a block."""
        return self.block_rows or (1_024 if self.images == "embed" else 8_192)


class Head(Spec):
    """The keys of a recipe that stand beside ``defaults``, ``sources`` and ``mixture``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    about: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    splits: dict[Annotated[str, Field(pattern=r"^\w+$")], Annotated[float, Field(gt=0, lt=1)]] = {}
    exclude: str | None = None
    dedup_across: list[Across] = []
    output: Output = Output()


@dataclass(frozen=True)
class Entry:
    """One source of a recipe, complete: its files, its task, and everything decided about its turns.

    Args:
        synth: How it is made from other sources; None: it is read from files.
    """

    name: str
    source: Source
    task: Task
    settings: Settings
    synth: Synth | None = None

    @property
    def where(self) -> str:
        """Its place in the recipe."""
        return f"sources.{self.name}"


@dataclass(frozen=True)
class Recipe:
    """A loaded recipe.

    Args:
        raw: The merged text as plain data, ``${ENV}`` not replaced: what the lock file and the manifest show.
    """

    head: Head
    entries: dict[str, Entry]
    mixture: Mixture
    raw: dict[str, Any] = field(repr=False, compare=False)

    @property
    def has_meta(self) -> bool:
        """Whether a source wants native columns in the finished rows, which then have a column for them."""
        return any(entry.source.meta for entry in self.entries.values())

    @property
    def split_shares(self) -> dict[str, float]:
        """Every split with its share; ``train`` has what the others leave."""
        others = dict(sorted(self.head.splits.items()))
        return {"train": 1.0 - sum(others.values()), **others}
