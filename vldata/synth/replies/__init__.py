r"""A reply's text -> exchanges. Pure, so a changed parser reads the kept replies again and requests nothing.

    llava_blocks     ``Question:\n…\n===\nAnswer:\n…``, blocks parted by lines that are exactly ``===``
    json_lines       ``{"question": …, "answer": …}`` on each line, as in LLaVA's first version
    user_assistant   ``User: …\n\nAssistant: …``, as in LLaVA-Med
    json_schema      one JSON value of the kind's schema
    answer_only      the whole reply is the answer, and the question comes from elsewhere
    scores           a judge's marks: a JSON value of the kind's schema, or numbers in the first line

What models put around an answer is taken away, and labels and separators of other forms are read, where that leaves no
doubt; each such repair has a name and is counted. What can be read in two ways is rejected, and so is half a
conversation, but for a last question or pair that is not whole.

    base.py         what a parser is, reasons and repairs
    reasoning.py    where the reasoning before an answer ends
    around.py       fences, quotation marks, tags and other layers around all; remarks.py, headings.py
    answers.py      a reply that is the answer
    dialogues.py    questions and answers: labels.py (which words, how set off), pairs.py (which of them parts what),
                    json_forms.py (the same in JSON)
    structured.py   a value of a schema
    scores.py       a judge's marks
"""

from __future__ import annotations

from vldata.synth.replies.answers import read_answer
from vldata.synth.replies.base import (
    REASONS,
    REPAIRS,
    REPLIES_VERSION,
    Options,
    ParseError,
    Parser,
    ReplyReading,
    bared,
)
from vldata.synth.replies.dialogues import Roles, read_blocks, read_json_lines, read_roles
from vldata.synth.replies.scores import Scores, read_scores
from vldata.synth.replies.structured import Json, read_json

__all__ = [
    "PARSERS",
    "REASONS",
    "REPAIRS",
    "REPLIES_VERSION",
    "Options",
    "ParseError",
    "Parser",
    "ReplyReading",
    "bared",
]

PARSERS: dict[str, Parser] = {
    parser.name: parser
    for parser in (
        Parser("llava_blocks", Options, read_blocks),
        Parser("json_lines", Options, read_json_lines),
        Parser("user_assistant", Roles, read_roles),
        Parser("json_schema", Json, read_json),
        Parser("answer_only", Options, read_answer),
        Parser("scores", Scores, read_scores),
    )
}
"""Every form of reply that a ``kind.yaml`` may name."""
