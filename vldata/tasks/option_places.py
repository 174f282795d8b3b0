"""Options that speak of other options or of their place, and so cannot stand anywhere.

    both A and B / neither (a) nor (b) / A, B und C / option C / the first two      the whole question keeps its order
    A, B, C, D / (1), (2) / ii, iv, as in a figure                                  the whole question keeps its order
    1, 2, 3, 4 / a, b, c / i, ii: the run from its first on, as long as the options the whole question keeps its order
    red, blue, where the question itself lists them (A. red B. blue)                the whole question keeps its order
    all of the above / none of these / keine davon / 以上都是 / neither             come last, in their given order

What is taken for such an option and is none costs nothing but a place that is not drawn, so that the patterns are wide;
only a single small letter and a bare number are taken for words, unless all options are such a run in its order (those
that come last apart) and the question does not ask how many there are. So 3, 2, 0, 1 are amounts, as are 1, 2, 3, 4 of
"How many dogs are there?", and of "Which panel shows a dog?" they are places in the image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
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
        rf"^{_MARK}\s+(?:only|alone|but not\b.*|nur|seulement|solamente)[.]?$",
        rf"\b{_NOUN}\s*(?:\s[a-z1-9]|\([a-z1-9]\))(?:\s+(?:is|are|und|and|or)\b.*)?[.]?$|(?:选项|選項|答案)\s*[a-z]",
        rf"^(?:all|alle|tous|todos|todas|tutti)\s+(?:except|but|außer|sauf|excepto|menos|tranne)\s+(?:for\s+)?{_MARK}[.]?$",
        r"\b(?:except|but|besides|außer|sauf|excepto|salvo|exceto|tranne)\s+(?:for\s+)?(?:\([a-z]\)|[b-z])[.]?$",
        rf"\b(?:first|last|former|latter|previous|preceding|next|following)\s+(?:two|three|four|{_NOUN})"
        rf"(?:\s+{_NOUN})?[.]?$",
        rf"^(?:the\s+)?(?:former|latter|(?:two|three)\s+above|above\s+(?:two|three)|same as (?:the )?above|"
        rf"{_NOUN}\s+(?:above|below))[.]?$",
    )
)
_ROMAN = "i{2,3}|iv|vi{1,3}|ix|xi{1,3}|xi?v"
_LABEL = (
    rf"^(?:[A-Z]|\([A-Za-z1-9]\)|[A-Za-z][.):]|[1-9][.)]|[①-⑳Ⅰ-Ⅻⅰ-ⅻ]"
    rf"|\(?(?:{_ROMAN}|{_ROMAN.upper()})[.):]?\)?)$"
)
_RUNS = (
    [str(number) for number in range(1, 31)],
    list("abcdefghijklmnopqrstuvwxyz"),
    ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"],
    list("一二三四五六七八九十"),
    list("甲乙丙丁戊己庚辛壬癸"),
    list("αβγδεζηθ"),
    list("абвгдежз"),
)
"""What options are marked with, in order."""
_LISTS_A, _LISTS_B = (rf"(?:^|\s)(?:\(({mark})\)|({mark})[.):])\s*\S" for mark in ("[Aa]", "[Bb]"))
_HOW_MANY = (
    r"\bhow (?:many|much|often|old|long|far|tall)\b|\b(?:number|amount|count|sum|total|quantity) of\b|\bcount the\b"
    r"|\bwie ?(?:viele?|oft|alt)\b|\banzahl\b|\bcombien\b|\bnombre d|\bcu[áa]nt[ao]s?\b|\bquant[aoie]s?\b|\bhoeveel\b"
    r"|сколько|几|幾|多少|いくつ|何[個人本枚台匹]|कितन|몇|bao nhiêu|kaç"
)

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


def are_listed_in(questions: pl.Series) -> pl.Series:
    """Whether each question lists options itself, marked with letters that only their own order gives them."""
    return (questions.str.contains(_LISTS_A) & questions.str.contains(_LISTS_B)).fill_null(False)


def comes_last(options: pl.Series) -> pl.Series:
    """Whether each option speaks of all others at once, as in "none of the above"."""
    return options.str.strip_chars().str.contains(rf"(?i){_COMES_LAST}").fill_null(False)


def is_run(
    options: pl.Series, last: npt.NDArray[np.bool_], row: npt.NDArray[np.int64], questions: pl.Series
) -> npt.NDArray[np.bool_]:
    """Which questions have all options of a run, from its first on and in order, but for those that come last.

    Args:
        options: Of all questions, one question's behind the other's.
        last: Which of them come last; shape (options,).
        row: The question of each; shape (options,).
        questions: Their words: where they ask how many there are, numbers are amounts.
    """
    counted = ~last
    row = row[counted]
    text = options.filter(pl.Series(counted)).str.strip_chars(" \t\n.():").str.to_lowercase()
    counts = np.bincount(row, minlength=len(questions))
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    found = np.zeros(len(questions), dtype=np.bool_)
    begins = text.is_in([run[0] for run in _RUNS]).fill_null(False).to_numpy() & (place == 0)
    may_be = found.copy()
    may_be[row[begins]] = True  # of all others nothing more is asked
    text, row, place = text.filter(pl.Series(may_be[row])), row[may_be[row]], place[may_be[row]]
    for run in _RUNS:
        index = text.replace_strict({mark: at for at, mark in enumerate(run)}, default=-1, return_dtype=pl.Int64)
        differing = np.bincount(row, weights=index.to_numpy() != place, minlength=len(questions))
        found |= may_be & (differing == 0) & (counts > 1)
    amounts = questions.str.contains(rf"(?i){_HOW_MANY}").fill_null(False).to_numpy()
    return np.asarray(found & ~amounts, dtype=np.bool_)
