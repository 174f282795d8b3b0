"""What an assistant says to its user before and behind an answer: a preface, a closing remark."""

from __future__ import annotations

import re

_OPENING = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|alright|all right|great|gladly|understood"
    r"|got it|no problem|definitely|yes|thank you|thanks)"
)
_WORK = (
    r"(?:descriptions?|captions?|summary|summaries|answers?|responses?|replies|reply|versions?|expansion|rewrite"
    r"|paragraphs?|conversations?|dialogues?|dialogs?|questions?|q ?& ?a|qas?|pairs?|output|json|explanation"
    r"|evaluation)"
)
_HERE = r"(?:here(?:['’]s| is| are)|below (?:is|are))"
_MADE = (
    r"(?:(?:the )?following (?:is|are)|please find|i(?:['’]ve| have)? (?:written|created|prepared|generated|made)"
    r"|i(?:['’]ll| will) (?:describe|write|provide|give)|let me (?:describe|write|provide|give))"
)
_FROM = r"(?:(?:(?:based on|from|for|using|given) [^\n:,]{0,100}|as (?:you )?requested),[ \t]*)?"
_LEAD = rf"(?:{_OPENING}\b[ \t,.!:;–—-]*)?{_FROM}"
_END = r"[ \t*_]*(?:\n|\Z)"
_PREFACE = re.compile(
    "|".join(
        (
            # a line of its own: "Sure! Here is a description of the image:"
            rf"[*_]{{0,3}}{_LEAD}{_HERE}\b[^\n:：]{{0,160}}?\b{_WORK}\b[^\n:：]{{0,120}}?[:：.!]?{_END}",
            rf"[*_]{{0,3}}{_LEAD}{_MADE}\b[^\n:：]{{0,160}}?\b{_WORK}\b[^\n:：]{{0,120}}?[:：]{_END}",
            rf"{_OPENING}\b(?:[^\n:：.!?]{{0,60}}[.!])?[ \t,.!:;–—-]*{_FROM}(?:here you go|{_HERE}|{_MADE})"
            rf"[^\n:：]{{0,160}}?[:：!.]{_END}",
            rf"here you go[:：!.]{_END}",
            rf"(?:sure(?: thing)?|certainly|of course|okay|ok|alright|understood|got it)[!.,]*{_END}",
            rf"(?:{_OPENING}\b[ \t,.!]*)?i(?:['’]d be| would be|['’]m| am) (?:happy|glad) to (?:help|assist)"
            rf"[^\n]{{0,80}}?[.!:]{_END}",
            # before the answer in its own line: "Here is the caption: A bus."
            rf"{_LEAD}here(?:['’]s| is| are)\b[^\n:.!?]{{0,120}}?\b{_WORK}\b[^\n:.!?]{{0,80}}[:：][ \t]+(?=\S)",
            r"(?:sure|certainly|of course)[!.][ \t]+(?=[A-Z])",
            rf"i(?:['’]d be| would be|['’]m| am) (?:happy|glad) to (?:help|assist)[!.][ \t]+(?={_HERE})",
            # in Chinese
            r"(?:好的|当然可以|当然|没问题)?[，,！!。 ]{0,3}(?:以下|下面|这)是[^\n：:]{0,60}[：:]\s*",
            r"(?:好的|当然可以|当然|没问题)[，,！!。]{1,2}\s*(?:\n|\Z)",
        )
    ),
    re.IGNORECASE,
)
_MAY_OPEN = re.compile(
    rf"[*_]{{0,3}}(?:{_OPENING}|here you|{_HERE}|{_MADE}|based on|from|for|using|given|as |i['’ ]"
    r"|好|当然|没问题|以下|下面|这是)",
    re.IGNORECASE,
)
_OPENERS = frozenset("aAbBcCdDfFgGhHiIlLnNoOpPsStTuUyY*_好当没以下这")
_BEFORE_FORM = re.compile(r"[^\n{}\[\]`]{1,240}[:：.!][*_ \t]*\n\s*(?=[{\[]|```)")


def after_preface(text: str) -> str | None:
    """What follows an opening remark; None when there is none."""
    if text[0] not in _OPENERS or _MAY_OPEN.match(text) is None:
        return None
    preface = _PREFACE.match(text)
    if preface is None:
        return None
    rest = text[preface.end() :].lstrip()
    rule = _RULE.match(rest)
    return rest[rule.end() :] if rule else rest


def after_lead(text: str) -> str | None:
    """The JSON or the fence behind a line that leads to it; None when there is none."""
    lead = _BEFORE_FORM.match(text)
    return text[lead.end() :] if lead else None


_RULE = re.compile(r"(?:-{3,}|={3,}|\*{3,}|_{3,})[ \t]*(?:\n|\Z)")
_RULE_BEFORE = re.compile(r"\n[ \t]*(?:-{3,}|={3,}|\*{3,}|_{3,})[ \t]*\Z")
_SIGNOFF = re.compile(
    r"(?:(?:please|and|just|so|but|also)[ ,]+)*"
    r"(?:(?:let me know|feel free|don['’]t hesitate|do not hesitate)\b.{0,200}"
    r"|i hope (?:this|that|it|these|you)\b.{0,160}|hope (?:this|that|it|these) helps?\b.{0,160}"
    r"|end of (?:the )?(?:conversation|dialogue|description|response|answer)[.]?"
    r"|\[?word count[:：]? ?\d+.{0,20}"
    r"|(?:is there anything|if there(?:['’]s| is) anything)\b.{0,160}"
    r"|(?:would you like (?:me|more|any|another|further|additional|to)|do you want me|shall i|should i"
    r"|can i (?:help|assist))\b[^.]{0,160}\?"
    r"|if you(?:['’]d|['’]ve| would| have| need| want| like|['’]re| are)\b.{0,160}"
    r"\b(?:let me know|feel free|just (?:ask|say)|happy to|glad to|i can (?:help|provide|add|write|also)"
    r"|hesitate)\b.{0,120}"
    r"|i(?:['’]m| am|['’]d be| would be) (?:happy|glad) to\b.{0,160}|happy to (?:help|adjust|revise|provide)\b.{0,120}"
    r"|希望(?:这|以上|对您|对你).{0,60}|如(?:果|有).{0,60}(?:告诉我|请随时|联系|提问|告知).{0,40}|(?:请|您可以|你可以)随时.{0,60})",
    re.IGNORECASE,
)
_TAIL = 400
_ENDS = (". ", "! ", "? ", '" ', "” ", ") ", "* ", "。", "！", "？")
"""Where a sentence may end, before another one in the same line."""


_RULE_OVER = re.compile(rf"(?:{_RULE.pattern})[ \t]*\n")
_RULE_UNDER = re.compile(rf"\n[ \t]*{_RULE_BEFORE.pattern}")


def between_rules(text: str) -> str | None:
    """The text without a rule over it and one under it; None when there is neither."""
    before = _RULE_OVER.match(text) if text[0] in "-=*_" else None
    behind = _RULE_UNDER.search(text, max(0, len(text) - _TAIL)) if text[-1] in "-=*_" else None
    if before is None and behind is None:
        return None
    return text[before.end() if before else 0 : behind.start() if behind else len(text)]


def before_signoff(text: str) -> str | None:
    """What stands before a closing remark; None when there is none."""
    return _before(text, in_line=True)


def before_signoff_line(text: str) -> str | None:
    """What stands before a closing remark that is a paragraph of its own; None when there is none."""
    return _before(text, in_line=False)


def _before(text: str, *, in_line: bool) -> str | None:
    start = text.rfind("\n") + 1
    if len(text) - start < _TAIL and _MAY_SIGN.match(text, start) is not None:
        before = text[:start].rstrip()
        rule = _RULE_BEFORE.search(before[-_TAIL:])
        is_paragraph = rule is not None or text[len(before) : start].count("\n") > 1
        if before and (in_line or is_paragraph) and _SIGNOFF.fullmatch(text[start:].strip(_AROUND)):
            return before[: len(before) - len(rule[0])] if rule else before
    if not in_line:
        return None
    # a sentence behind others
    start = max(start, len(text) - _TAIL)
    end = max(text.rfind(mark, start, -1) + len(mark) - 1 for mark in _ENDS) + 1
    if end <= start or _MAY_SIGN.match(text, end) is None or not _SIGNOFF.fullmatch(text[end:].strip(_AROUND)):
        return None
    return text[:end].rstrip()


_AROUND = " \t*_>()"
_MAY_SIGN = re.compile(r"[ \t*_>()]*(?:[adefhilpsw\[]|bu|ca|jus|希|如|请|您|你)", re.IGNORECASE)
"""How a closing remark may begin: most sentences do not, and are done with quickly."""
