"""Argilla: a dataset as ``rg.Dataset.from_disk`` takes it, and its records as ``to_disk`` or ``to_json`` gives them.

    records.json              [{"id", "fields": {…}, "metadata": {mark}, "suggestions": {…}, "responses": {}}]
    .argilla/settings.json    fields, questions and metadata
    .argilla/dataset.json     its name

Comes back with ``"responses": {"verdict": [{"value": "accept", "user_id": …}], …}``; or flat, as ``to_datasets`` makes
it: ``"verdict.responses": ["accept"], "verdict.responses.users": […], "verdict.responses.status": ["submitted"]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vldata.generate.review.records import ACCEPT, GUIDELINES, REJECT, ReviewRecord, TurnMark, Verdict, checked, mark_of

_PREFIX = "vldata_"
_DONE = "submitted"
_VERDICT, _QUESTION, _ANSWER, _REASON = "verdict", "edited_question", "edited_answer", "reason"


def write(folder: Path, records: Iterable[ReviewRecord], name: str) -> list[Path]:
    """Write the files of a dataset into a new folder."""
    written = [_record(record) for record in records]
    num_images = max((sum(field.startswith("image") for field in each["fields"]) for each in written), default=0)
    (folder / ".argilla").mkdir()
    files = {
        folder / "records.json": written,
        folder / ".argilla" / "settings.json": _settings(num_images),
        folder / ".argilla" / "dataset.json": {"name": name, "guidelines": GUIDELINES, "allow_extra_metadata": True},
    }
    for path, document in files.items():
        path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    return list(files)


def is_mine(record: Mapping[str, Any]) -> bool:
    """Whether a record of a file has this tool's form."""
    return (isinstance(record.get("fields"), dict) and "responses" in record) or _is_flat(record)


def read(place: str, record: Mapping[str, Any]) -> Verdict:
    """What a record brought back; of several people's responses the last counts."""
    record = _nested(record) if _is_flat(record) else record
    metadata = record.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    mark = mark_of({name.removeprefix(_PREFIX): value for name, value in given.items()})
    responses = record.get("responses")
    if not isinstance(responses, dict):
        return Verdict(place, mark, problem="has responses that are no mapping")
    said = {name: _submitted(responses.get(name)) for name in (_VERDICT, _QUESTION, _ANSWER, _REASON)}
    verdicts = said[_VERDICT]
    if not verdicts:
        return checked(Verdict(place, mark))
    person, verdict = verdicts[-1]
    fields = record["fields"]
    return checked(
        Verdict(
            place,
            mark,
            question=fields.get("question") or "",
            answer=fields.get("answer") or "",
            verdict=str(verdict),
            new_question=_of(person, said[_QUESTION]),
            new_answer=_of(person, said[_ANSWER]),
            reason=_of(person, said[_REASON]) or "",
            person=person,
            at=str(record.get("updated_at") or ""),
            is_contested=len({str(value) for _, value in verdicts}) > 1,
        )
    )


def _is_flat(record: Mapping[str, Any]) -> bool:
    return any(name.endswith((".responses", ".suggestion")) for name in record)


def _nested(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as ``to_json`` gives it, from a flat one."""
    responses = {}
    for name in (_VERDICT, _QUESTION, _ANSWER, _REASON):
        values, users, states = (record.get(f"{name}.responses{part}") or () for part in ("", ".users", ".status"))
        responses[name] = [
            {"value": value, "user_id": user, "status": status}
            for value, user, status in zip_longest(values, users, states)
        ]
    return {**record, "fields": record, "metadata": record, "responses": responses}


def _submitted(responses: Any) -> list[tuple[str, Any]]:
    """Person and value of each response to a question; drafts and discarded ones do not count."""
    found = responses if isinstance(responses, list) else ()
    return [
        (str(one.get("user_id") or ""), one["value"])
        for one in found
        if isinstance(one, dict) and one.get("value") is not None and (one.get("status") or _DONE) == _DONE
    ]


def _of(person: str, responses: list[tuple[str, Any]]) -> Any:
    """What this person said; None where they said nothing."""
    return next((value for who, value in reversed(responses) if who == person), None)


def _record(record: ReviewRecord) -> dict[str, Any]:
    images = {f"image_{number}": url for number, url in enumerate(record.images, start=1)}
    texts = {"conversation": record.conversation, "findings": record.reasons, "question": record.question}
    fields = images | {name: text for name, text in texts.items() if text} | {"answer": record.answer}
    suggestions = {_ANSWER: record.answer} | ({_QUESTION: record.question} if record.question else {})
    return {
        "id": record.mark.name,
        "fields": fields,
        "metadata": {f"{_PREFIX}{name}": value for name, value in record.mark.to_json().items()},
        "suggestions": {
            name: {"value": text, "score": None, "agent": record.model} for name, text in suggestions.items()
        },
        "responses": {},
        "vectors": {},
    }


def _settings(num_images: int) -> dict[str, Any]:
    images = [_field(f"image_{number}", {"type": "image"}) for number in range(1, num_images + 1)]
    plain = {"type": "text", "use_markdown": False}
    options = [{"value": value, "text": value} for value in (ACCEPT, REJECT)]
    return {
        "guidelines": GUIDELINES,
        "allow_extra_metadata": True,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "fields": [
            *images,
            *(_field(name, plain) for name in ("conversation", "findings", "question")),
            _field("answer", plain, required=True),
        ],
        "questions": [
            _field(_VERDICT, {"type": "label_selection", "options": options, "visible_options": None}, required=True),
            *(_field(name, plain) for name in (_QUESTION, _ANSWER, _REASON)),
        ],
        "metadata": [
            {
                "name": f"{_PREFIX}{name}",
                "title": name,
                "settings": {"type": "integer" if name in ("place", "num_turns") else "terms"},
                "visible_for_annotators": False,
            }
            for name in TurnMark.__slots__
        ],
        "vectors": [],
    }


def _field(name: str, settings: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    title = name.replace("_", " ").capitalize()
    return {"name": name, "title": title, "required": required, "settings": dict(settings)}
