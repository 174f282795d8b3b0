"""Conversations without images."""

from __future__ import annotations

from typing import ClassVar

from vldata.tasks.instruction import Instruction


class TextInstruction(Instruction):
    """One exchange of a conversation without images.

    In:  instruction "Name three primary colors.", response "Red, yellow and blue.", system None
    Out: user "Name three primary colors.", assistant "Red, yellow and blue."
    """

    name: ClassVar[str] = "text_instruction"
    about: ClassVar[str] = "converse in text alone, as the source has it"
    needs_image: ClassVar[bool] = False
