"""Label Studio: tasks with predictions out, tasks with annotations back, and the labeling configuration for both.

    tasks.json     [{"data": {"question", "answer", "images", …, "vldata": {mark}}, "predictions": [{"result": […]}]}]
    config.xml     what its project is set up with

Comes back as the export ``JSON``, or as ``JSON_MIN``, where the results stand beside the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from vldata.generate.review.records import ACCEPT, GUIDELINES, REJECT, ReviewRecord, Verdict, checked, mark_of

_QUESTION, _ANSWER, _VERDICT, _REASON = "edited_question", "edited_answer", "verdict", "reason"


def write(folder: Path, records: Iterable[ReviewRecord], name: str) -> list[Path]:
    """Write the files of a project into a new folder."""
    tasks = [_task(record) for record in records]
    paths = [folder / "tasks.json", folder / "config.xml"]
    paths[0].write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
    has_images = any(task["data"]["images"] for task in tasks)
    has_questions = any(task["data"]["question"] for task in tasks)
    paths[1].write_text(_config(has_images=has_images, has_questions=has_questions), encoding="utf-8")
    return paths


def is_mine(record: Mapping[str, Any]) -> bool:
    """Whether a record of a file has this tool's form."""
    return isinstance(record.get("data"), dict) or "vldata" in record


def read(place: str, record: Mapping[str, Any]) -> Verdict:
    """What a task brought back; of several people's annotations the latest counts."""
    data = record.get("data")
    if not isinstance(data, dict):  # JSON_MIN
        return _verdict(place, record, record, person=str(record.get("annotator") or ""), at=_time(record))
    annotations = record.get("annotations")
    if annotations is not None and not isinstance(annotations, list):
        return Verdict(place, mark_of(data.get("vldata")), problem="has annotations that are no list")
    usable = [one for one in annotations or () if isinstance(one, dict) and not one.get("was_cancelled")]
    usable.sort(key=_time)
    found = [
        _verdict(place, data, _results(one), person=_person(one.get("completed_by")), at=_time(one)) for one in usable
    ]
    if not found:
        return checked(Verdict(place, mark_of(data.get("vldata"))))
    last = found[-1]
    is_contested = len({one.verdict for one in found}) > 1
    return Verdict(**{name: getattr(last, name) for name in Verdict.__slots__} | {"is_contested": is_contested})


def _verdict(place: str, data: Mapping[str, Any], said: Mapping[str, Any], *, person: str, at: str) -> Verdict:
    texts = {name: _text(said.get(name)) for name in (_QUESTION, _ANSWER, _REASON)}
    verdict = said.get(_VERDICT)
    if isinstance(verdict, list) and len(verdict) == 1:
        (verdict,) = verdict
    return checked(
        Verdict(
            place,
            mark_of(data.get("vldata")),
            question=data.get("question", ""),
            answer=data.get("answer", ""),
            verdict=None if verdict is None else str(verdict),
            new_question=texts[_QUESTION],
            new_answer=texts[_ANSWER],
            reason=texts[_REASON] or "",
            person=person,
            at=at,
        )
    )


def _results(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an annotation by the name of the control that they were entered in."""
    values: dict[str, Any] = {}
    results = annotation.get("result")
    for result in results if isinstance(results, list) else ():
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict):
            values[str(result.get("from_name"))] = value.get("choices", value.get("text"))
    return values


def _text(value: Any) -> Any:
    """The text of a text area, which is a list of its submissions; with several, the last one."""
    if isinstance(value, dict):
        value = value.get("text")
    if isinstance(value, list):
        return value[-1] if value else ""
    return value


def _person(completed_by: Any) -> str:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return "" if completed_by is None else str(completed_by)


def _time(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _task(record: ReviewRecord) -> dict[str, Any]:
    areas = {_ANSWER: record.answer} | ({_QUESTION: record.question} if record.question else {})
    result = [
        {"id": name, "from_name": name, "to_name": "answer", "type": "textarea", "value": {"text": [text]}}
        for name, text in sorted(areas.items(), reverse=True)
    ]
    data = {
        "images": list(record.images),
        "question": record.question,
        "answer": record.answer,
        "conversation": record.conversation,
        "findings": record.reasons,
        "vldata": record.mark.to_json(),
    }
    return {"data": data, "predictions": [{"model_version": record.model, "result": result}]}


def _config(*, has_images: bool, has_questions: bool) -> str:
    lines: Iterator[str] = iter(
        (
            f'<Header value="{escape(GUIDELINES)}" size="5"/>',
            '<Image name="image" valueList="$images"/>' if has_images else "",
            '<Text name="conversation" value="$conversation"/>',
            '<Text name="findings" value="$findings"/>',
            '<Text name="question" value="$question"/>' if has_questions else "",
            '<Text name="answer" value="$answer"/>',
            f'<Choices name="{_VERDICT}" toName="answer" choice="single" required="true">',
            f'  <Choice value="{ACCEPT}"/>',
            f'  <Choice value="{REJECT}"/>',
            "</Choices>",
            _area(_QUESTION, "Question") if has_questions else "",
            _area(_ANSWER, "Answer"),
            _area(_REASON, "Why it is rejected"),
        )
    )
    return "\n".join(["<View>", *(f"  {line}" for line in lines if line), "</View>", ""])


def _area(name: str, placeholder: str) -> str:
    return (
        f'<TextArea name="{name}" toName="answer" placeholder="{placeholder}" editable="true" maxSubmissions="1" '
        'rows="3"/>'
    )
