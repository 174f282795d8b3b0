"""Every name in a store: the folders in it, and the subjects of the keys that objects are found by."""

from __future__ import annotations

from enum import StrEnum


class Folder(StrEnum):
    """The folders below a store's root. On disk for ever: a folder that is renamed is built again by everybody."""

    TURNS = "turns"  # what was read of a source's files
    SCREENED = "screened"  # what filters and checks kept of one source
    RENDERED = "rendered"  # which leaves the rows of one source lie in
    PIECES = "pieces"  # finished rows whose image bytes are not among them yet
    BLOCKS = "blocks"  # finished rows, as build folders have them
    PLANS = "plans"  # plan, ledger and image facts of a recipe
    GENERATED = "generated"  # turns that a model wrote, and their costs
    DIGESTS = "digests"  # of the user's files, by status
    FACTS = "facts"  # of the user's images, by folder
    STANDINS = "standins"
    IMAGES = "pictures"  # of sources that draw their own
    SPOOL = "spool"  # random-access forms of archives and tables that have none
    SCRATCH = "scratch"  # of builds that run
    TMP = "tmp"  # files that are being written
    LOCKS = "locks"
    ROOTS = "roots"  # the build folders whose blocks are kept


class KeySubject(StrEnum):
    """What a key is of: its first part, or its ``what``. Part of every key, so none is ever renamed."""

    TURNS = "turns"
    SCREENED = "screened"
    CHOSEN = "chosen"
    SETTINGS = "asked"  # what decides a source's leaves before they are laid out
    RENDERED = "rendered"
    BLOCK = "block"
    SHARD = "shard"
    PLAN = "plan"
    GENERATED = "generated"
    STANDIN = "standin"
    FILE_DIGEST = "file_digest"
    FACTS = "facts"
    BUILD_FOLDER = "root"
    REQUEST = "request"
    LAST_MESSAGE = "subject"
    BATCH_LINE = "line"
    ENDPOINT = "url"
    SYNTH_KIND = "kind"
    WORDING = "synth"
    VARIANT = "variant"
    SPLIT = "split"
    TRAINER = "trainer"
    CELL = "cell"
