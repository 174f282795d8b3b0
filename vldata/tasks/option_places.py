"""Options that speak of other options or of their place, and so cannot stand anywhere.

    both A and B / neither (a) nor (b) / A, B und C / option C / the first two      the whole question keeps its order
    A, B, C, D, as in a figure                                                      the whole question keeps its order
    all of the above / none of these / keine davon / 以上都是 / neither             come last, in their given order

What is taken for such an option and is none costs nothing but a place that is not drawn, so that the patterns are wide;
only a single small letter is taken for a word.
"""

from __future__ import annotations

import polars as pl

_MARK = r"\(?(?:[a-z]|[ivx]{1,4}|[1-9])\)?"
_LETTER = r"\(?[a-z]\)?"
_AND = (
    r"(?:\s*(?:&|、|，|和|与|與|及|或|と|や)\s*"
    r"|\s+(?:and|or|nor|und|oder|noch|als auch|et|ou|ni|y|o|e|nem|né|en|of|и|или|ни|và|ve)\s+)"
)
_NOUN = (
    r"(?:options?|choices?|answers?|statements?|alternatives?|antwort(?:en)?|aussagen?|réponses?|respuestas?|"
    r"opción|opciones|opção|opções|respostas?|risposte|risposta|вариант|ответ)"
)
_PAIR = (
    r"(?:both|either|neither|only|just|not|sowohl|weder|entweder|nur|beide|soit|seulement|ni|tanto|ambos|ambas|solo|"
    r"sólo|somente|apenas|nem|entrambi|né|zowel|noch|alleen|cả|hem|и|ни|только|只有|仅)"
)
_TAIL = r"(?:[\s.,;:].*|都.*|皆.*|均.*|のみ|の両方)?$"
_NAMED = rf"(?:{_NOUN}\s+)?{_MARK}"

_NAMES_OTHERS = "|".join(
    (
        rf"^(?:{_PAIR}\s+)?(?:of\s+)?{_NAMED}(?:,?{_AND}|,\s*){_NAMED}(?:(?:,?{_AND}|,\s*){_NAMED})*"
        r"(?:\s+(?:only|both|together|are\b.*|is\b.*|but\b.*|sind\b.*|sont\b.*|son\b.*)|都.*|皆.*|均.*|のみ|の両方)?[.]?$",
        rf"\b{_PAIR}\s+(?:of\s+)?{_NAMED},?{_AND}{_NAMED}{_TAIL}",
        rf"^{_LETTER}\s*(?:\+|/)\s*{_LETTER}$",
        rf"^(?:only|just|nur|seulement|solo|sólo|apenas|somente|not|只有|仅)\s*{_NAMED}[.]?$",
        rf"^{_LETTER}\s+(?:only|alone|but not\b.*|nur|seulement|solamente)[.]?$",
        rf"\b{_NOUN}\s*(?:\s[a-z1-9]|\([a-z1-9]\))(?:\s+(?:is|are|und|and|or)\b.*)?[.]?$|(?:选项|選項|答案)\s*[a-z]",
        r"\b(?:except|but|besides|außer|sauf|excepto|salvo|exceto|tranne)\s+(?:for\s+)?(?:\([a-z]\)|[b-z])[.]?$",
        rf"\b(?:first|last|former|latter|previous|preceding|next|following)\s+(?:two|three|four|{_NOUN})"
        rf"(?:\s+{_NOUN})?[.]?$",
        rf"^(?:the\s+)?(?:former|latter|(?:two|three)\s+above|above\s+(?:two|three)|same as (?:the )?above|"
        rf"{_NOUN}\s+(?:above|below))[.]?$",
    )
)
_LABEL = r"^(?:[A-Z]|\([A-Za-z1-9]\)|[A-Za-z][.):]|[1-9]\)|[①-⑨])$"

_OF_THESE = (
    r"(?:above|these|those|them|foregoing|preceding|previous|following|listed|given|mentioned|others|"
    r"options|choices|answers|statements|alternatives|other (?:options|choices|answers))"
)
_COMES_LAST = "|".join(
    (
        rf"^(?:all|none|any|both|each|neither|either|some|two|one|most|every\s?one|not any|nothing|everything|not all|"
        rf"more than one|not one)\b(?:\s(?:one|two|three|four|five))?\s(?:of\s)?(?:the\s)?(?:\w+\s)?{_OF_THESE}\b",
        r"^(?:all|none|both|neither|either|none of it|all of it|both of them|neither one|neither of the two)"
        r"(?:\s(?:are|is)\s(?:correct|true|right|wrong|false))?[.!]?$",
        r"^not (?:listed|given|mentioned)(?:\s(?:above|here))?[.]?$",
        r"^(?:alle|keine?s?|beide|nichts|alles|keiner)\b.*\b(?:genannten?|obigen?|oben|davon|dieser|antworten|optionen)\b",
        r"^(?:beides?|weder noch|keines von beiden|keine von beiden)[.]?$",
        r"^(?:tou(?:te)?s?|aucune?|rien|tout)\b.*\b(?:ci-dessus|précèden?t|précédentes?|réponses?|ces|entre|eux|elles|choix)\b",
        r"^(?:les deux|ni l['’]un(?:e)? ni l['’]autre)[.]?$",
        r"^(?:tod[ao]s?|ningun[ao]|nenhum[ao]?|ambas|ambos|tutt[aeio]|nessun[ao]|alle|geen)\b.*"
        r"\b(?:anterior(?:es)?|alternativas|opciones|opções|respuestas|respostas|acima|arriba|precedenti|risposte|"
        r"bovenstaande|ellos|ellas|estas|estos|delas|deles)\b",
        r"^(?:ambas|ambos|ninguna|ninguno|nenhuma|nenhum|entrambe|entrambi|n\.?d\.?a\.?)[.]?$",
        r"^(?:вс[её]|ничего|ни один|ни одно|ни одна|оба)\b.*(?:перечисленн|вышеуказанн|указанн|ответ|вариант|из них)",
        r"^(?:以上|上述|上記)|^都不是|都是对的|皆非|どれでもない|いずれでもない|すべて正しい",
        r"위의\s?모|위\s?모두|उपरोक्त|इनमें से",
        r"^(?:tất cả|không có)\b.*\b(?:trên|đúng|nào)\b|^(?:hepsi|hiçbiri)$|\byukarıdak",
    )
)


def names_others(options: pl.Series) -> pl.Series:
    """Whether each option names another, or is itself a letter that options are marked with."""
    text = options.str.strip_chars()
    return (text.str.contains(rf"(?i){_NAMES_OTHERS}") | text.str.contains(_LABEL)).fill_null(False)


def comes_last(options: pl.Series) -> pl.Series:
    """Whether each option speaks of all others at once, as in "none of the above"."""
    return options.str.strip_chars().str.contains(rf"(?i){_COMES_LAST}").fill_null(False)
