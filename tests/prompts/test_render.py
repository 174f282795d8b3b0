"""Rows become words: which wording, what stands around it, and what happens to a row that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.prompts.lint import parse
from vldata.prompts.models import Names, Templates
from vldata.prompts.render import Rendered, render
from vldata.prompts.template import File, Template
from vldata.schema.keyed import keyed, string_keys


def template(
    user: str = "{{ question }}",
    assistant: str = "{{ answer }}",
    *,
    helpers: Mapping[str, Callable[..., object]] | None = None,
    wrapper: str | None = None,
    **blocks: str,
) -> Template:
    all_blocks = {"user": user, "assistant": assistant, **blocks}
    text = "".join(f"{{% block {name} %}}{body}{{% endblock %}}" for name, body in all_blocks.items())
    names = Names(
        frozenset({"question", "answer", "choices", "boxes", "context"}), frozenset({"phrase"}), helpers or {}
    )
    around = (
        File("per/x.jinja", f"{{% block user %}}{wrapper}{{% endblock %}}", ("user",), frozenset({"content"}))
        if wrapper
        else None
    )
    return Template("vqa", names, File("vqa.jinja", text, tuple(all_blocks), names.columns), around)


def rendered(
    words: Template,
    columns: Mapping[str, Sequence[Any]],
    *,
    keys: Sequence[int] | None = None,
    flips: Sequence[int] | None = None,
    **options: Any,
) -> Rendered:
    num_rows = len(next(iter(columns.values())))
    missing = {name: [None] * num_rows for name in words.names.columns if name not in columns}
    return render(
        words,
        {**missing, **columns},
        num_rows=num_rows,
        options=Templates.model_validate(options),
        variant_keys=np.array(keys or [0] * num_rows, dtype=np.uint64),
        flip_keys=np.array(flips or [0] * num_rows, dtype=np.uint64),
        dataset="corpus",
    )


def users(body: str, **columns: Sequence[Any]) -> list[str | None]:
    columns.setdefault("answer", ["x"] * len(next(iter(columns.values()))))
    return rendered(template(body), columns).user


def why(body: str, **values: Any) -> str:
    done = rendered(template(body), {"answer": ["x"], **{name: [value] for name, value in values.items()}})
    assert done.user == [None] and done.assistant == [None]
    return done.failed[0]


# What a body writes


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{{ question }}", "Who?"),
        ("Q: {{ question }}!", "Q: Who?!"),
        ("{{ answer }} {{ answer }}", "1 1"),
        ("{{ answer + 1 }}{{ answer - 3 }}", "2-2"),
        ("{{ question ~ answer ~ 0.5 }}", "Who?10.5"),
        ("{{ answer == 1 }}", "True"),
        ("{{ question|upper }}{{ question|lower }}{{ question|lowfirst|capfirst }}", "WHO?who?Who?"),
        ("{{ choices|join(', ') }} {{ choices|length }} {{ choices|first }}{{ choices|last }}", "a, b 2 ab"),
        ("{{ question|replace('Who', 'What') }}", "What?"),
        ("{{ choices[1] }}{{ question[:2] }}{{ question[-1] }}", "bWh?"),
        ("{{ boxes[0].phrase }}{{ boxes[0]['phrase'] }}", "dogdog"),
        ("{% for c in choices %}{{ loop.index }}{{ c }}{% if not loop.last %}, {% endif %}{% endfor %}", "1a, 2b"),
        ("{% for c in choices if c == 'b' %}{{ c }}{% endfor %}", "b"),
        ("{% for c in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for c in choices %}{% for d in choices %}{{ c ~ d }} {% endfor %}{% endfor %}", "aa ab ba bb"),
        ("{% set q = question|lower %}{{ q }}", "who?"),
        ("{% set question = 'Now ' ~ question %}{{ question }}", "Now Who?"),
        ("{% if context is none %}no{% endif %}{% if context %}yes{% endif %}", "no"),
        ("{{ dataset }}/{{ task }}", "corpus/vqa"),
        ("{{ 'x' if answer == 2 }}{{ 'y' if answer == 1 }}", "y"),
        ("just words", "just words"),
        ("", ""),
    ],
)
def test_a_body_writes_this(body: str, text: str) -> None:
    columns = {"question": ["Who?"], "answer": [1], "choices": [["a", "b"]], "boxes": [[{"phrase": "dog"}]]}
    assert rendered(template(body), columns).user == [text]


def test_rows_keep_their_order_and_their_own_values() -> None:
    assert users("<{{ question }}>", question=["a", "b", "c"]) == ["<a>", "<b>", "<c>"]


def test_a_value_set_for_one_row_is_gone_in_the_next() -> None:
    body = "{% set x = 'none' %}{% if question %}{% set x = question %}{% endif %}{{ x }}"
    assert users(body, question=["a", "", "b"]) == ["a", "none", "b"]


def test_white_space_at_the_ends_goes_and_inside_stays() -> None:
    assert users("\n  {{ question }}  \n\n x \n", question=["a", " b "]) == ["a  \n\n x", "b   \n\n x"]


def test_lines_with_only_a_tag_leave_no_empty_line() -> None:
    body = "{{ question }}\n{% for c in choices %}\n  {% if c %}\n{{ c }}\n  {% endif %}\n{% endfor %}\nend"
    assert users(body, question=["Q"], choices=[["a", "b"]]) == ["Q\na\nb\nend"]


def test_helpers_are_called_with_values() -> None:
    words = template(
        "{% for n, c in pairs(choices) %}{{ n }}{{ c }}{% endfor %}", helpers={"pairs": lambda x: [*enumerate(x)]}
    )
    assert rendered(words, {"choices": [["a", "b"], ["c"]], "answer": ["", ""]}).user == ["0a1b", "0c"]


def test_no_rows_give_no_texts() -> None:
    done = rendered(template(), {"question": [], "answer": []})
    assert done == Rendered([], [], [], [], {})


PIECES = (
    *(
        "{{ question }}",
        "{{ answer + 1 }}",
        "{{ choices }}",
        "{{ choices|join(', ') }}",
        "{{ boxes[0].phrase }}",
        "text\n",
    ),
    *(
        "{% for c in choices %}",
        "{{ c }}",
        "{{ loop.index }}",
        "{% if c %}",
        "{% endif %}",
        "{% endfor %}",
        "{% else %}",
    ),
    *(
        "{% for b in boxes if b.phrase %}",
        "{% if question %}",
        "{% set c = question %}",
        "{% set question = 'q' ~ c %}",
    ),
    *(
        "{{ question|upper|replace('A', answer) }}",
        "{{ first_of(choices) }}",
        "{% if loop.last %}",
        "{{ 'x' if c else none }}",
    ),
    *("{% for c in choices recursive %}", "{% for loop in choices %}", "{% set loop = 1 %}", "{{ dataset[0] }}"),
)


HOSTILE = [
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{# gone? #}",
    "end of row",
    "\x00",
    "{{",
    "%s {0} {question}",
    "<script>&amp;</script>",
    "‮\u2028 é\U0001f600",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_values_are_never_read_as_template_or_mark(value: str) -> None:
    assert users("[{{ question }}]", question=[value, value, "x"]) == [f"[{value}]", f"[{value}]", "[x]"]


@given(st.lists(st.tuples(st.text(), st.text(), st.lists(st.text(), max_size=3)), min_size=1, max_size=8))
def test_any_values_come_out_as_they_went_in(rows: list[tuple[str, str, list[str]]]) -> None:
    questions, answers, choices = zip(*rows, strict=True)
    words = template("{{ question }}|{% for c in choices %}<{{ c }}>{% endfor %}")
    done = rendered(words, {"question": questions, "answer": answers, "choices": choices})
    assert done.user == [f"{q}|{''.join(f'<{c}>' for c in cs)}".strip() for q, _, cs in rows]
    assert done.assistant == [answer.strip() for answer in answers]
    assert done.failed == {}


# Rows that fail


def test_a_failing_row_fails_alone_and_says_where_and_why() -> None:
    done = rendered(
        template("Q:\n{{ question }}"), {"question": ["a", None, "b", None], "answer": ["1", "2", "3", "4"]}
    )
    assert done.user == ["Q:\na", None, "Q:\nb", None]
    assert done.assistant == ["1", None, "3", None]
    message = "vqa.jinja:2: a null cannot be written as text (null here: question)"
    assert done.failed == {1: message, 3: message}


@pytest.mark.parametrize("failing", [[0], [4], [0, 1], [3, 4], [0, 1, 2, 3, 4]])
def test_rows_resume_behind_a_failure_wherever_it_is(failing: list[int]) -> None:
    values = [None if row in failing else str(row) for row in range(5)]
    done = rendered(template(), {"question": values, "answer": ["x"] * 5})
    assert done.user == values
    assert sorted(done.failed) == failing


def test_what_a_failed_row_had_written_does_not_run_into_the_next() -> None:
    assert users("begun {{ question }}", question=[None, "b"]) == [None, "begun b"]


def test_an_answer_that_fails_takes_its_question_along() -> None:
    done = rendered(template(), {"question": ["a", "b"], "answer": [None, "2"]})
    assert done.user == [None, "b"] and done.assistant == [None, "2"]


def test_a_body_without_columns_that_fails_fails_for_all() -> None:
    done = rendered(template("{{ none }}"), {"question": ["a", "b"], "answer": ["1", "2"]})
    assert sorted(done.failed) == [0, 1]


@pytest.mark.parametrize(
    ("body", "values", "message"),
    [
        ("{{ choices }}", {"choices": ["a"]}, "a list cannot be written as text"),
        ("{{ boxes[0] }}", {"boxes": [{"phrase": "a"}]}, "a struct cannot be written as text"),
        ("{{ choices|join }}", {"choices": ["a", None]}, "a null cannot be written as text"),
        ("{{ 'a' ~ context }}", {"context": None}, "a null cannot be written as text"),
        ("{{ context|upper }}", {"context": None}, "expected text, found a null"),
        ("{{ context|length }}", {"context": None}, "expected a list or text, found a null"),
        ("{{ choices[5] }}", {"choices": ["a"]}, "list index out of range"),
        ("{{ choices|first }}", {"choices": []}, "list index out of range"),
        ("{{ question + 'x' }}", {"question": "a"}, "cannot add text and text; join text with ~"),
        ("{% for c in question %}{{ c }}{% endfor %}", {"question": "abc"}, "cannot loop over text, only over a list"),
        ("{{ question['for' ~ 'mat'] }}", {"question": "a"}, "text has no item 'format'"),
        ("{{ boxes[0]['x' ~ 1] }}", {"boxes": [{"phrase": "a"}]}, "'x1'"),
    ],
)
def test_what_makes_no_text_fails_the_row(body: str, values: dict[str, Any], message: str) -> None:
    assert message in why(body, **values)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ("{{ question }}" * 3, {"question": "x" * 400_000}),
        ("{{ question ~ question ~ question }}", {"question": "x" * 400_000}),
        ("{{ question|replace('x', 'yyy') }}", {"question": "x" * 400_000}),
        ("{{ choices|join(question) }}", {"question": "x" * 400_000, "choices": ["a"] * 4}),
        ("{% for c in choices %}{{ question }}{% endfor %}", {"question": "x" * 400_000, "choices": ["a"] * 1000}),
        ("{% for c in choices %}{% endfor %}", {"choices": ["a"] * 1_000_001}),
        (
            "{% for c in choices %}{% for d in choices %}{% for e in choices %}{% endfor %}{% endfor %}{% endfor %}",
            {"choices": ["a"] * 1000},
        ),
        (
            "{% set a = question ~ question %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
            {"question": "x" * 100},
        ),
    ],
)
def test_a_bomb_fails_its_row_and_nothing_else(body: str, values: dict[str, Any]) -> None:
    columns: dict[str, list[Any]] = {name: [value, value[:1]] for name, value in values.items()}
    done = rendered(template(body), {"answer": ["x", "y"], **columns})
    assert list(done.failed) in ([0], [0, 1])
    assert "allowed" in done.failed[0] or "longer than" in done.failed[0] or "too much work" in done.failed[0]
    assert done.assistant[1] == ("y" if 1 not in done.failed else None)


def test_ten_thousand_lines_are_not_a_bomb() -> None:
    assert users("{% for c in choices %}{{ c }}\n{% endfor %}", choices=[["word"] * 10_000])[0] == "\n".join(
        ["word"] * 10_000
    )


def test_a_helper_that_fails_fails_the_row() -> None:
    words = template("{{ half(answer) }}", helpers={"half": lambda n: n / 0})
    assert rendered(words, {"question": ["q"], "answer": [1]}).failed == {0: "vqa.jinja:1: division by zero"}


# Wordings


WORDS = template(
    "1 {{ question }}",
    user_2="2 {{ question }}",
    user_3="3 {{ question }}",
    assistant_3="three {{ answer }}",
    response_format="Be brief.",
    response_format_2="Be very brief.",
    flip_user="What has the answer {{ answer }}?",
    flip_assistant="{{ question }}",
)
QA = {"question": ["a", "b", "c", "d"], "answer": ["w", "x", "y", "z"]}
KEYS = [0, 2**63, 2**64 - 1, 1]


def test_one_wording_is_the_first() -> None:
    done = rendered(WORDS, QA, keys=KEYS, response_format="none")
    assert done.user == ["1 a", "1 b", "1 c", "1 d"]
    assert done.variant == ["user"] * 4


def test_many_wordings_are_chosen_by_key_each_with_its_own_answer_and_format() -> None:
    done = rendered(WORDS, QA, keys=KEYS, prompts="many")
    assert done.user == ["1 a\nBe brief.", "2 b\nBe very brief.", "3 c\nBe brief.", "1 d\nBe brief."]
    assert done.assistant == ["w", "x", "three y", "z"]
    assert done.variant == ["user", "user_2", "user_3", "user"]


def test_a_rows_words_do_not_depend_on_the_others() -> None:
    keys = keyed(string_keys(map(str, range(100))), 7, "variant")
    columns = {"question": [f"q{i}" for i in range(100)], "answer": ["x"] * 100}
    together = rendered(WORDS, columns, keys=keys.tolist(), flips=keys.tolist(), prompts="many", flip=0.5)
    some = [3, 50, 99]
    alone = rendered(
        WORDS,
        {name: [values[i] for i in some] for name, values in columns.items()},
        keys=keys[some].tolist(),
        flips=keys[some].tolist(),
        prompts="many",
        flip=0.5,
    )
    assert alone.user == [together.user[i] for i in some]
    assert alone.variant == [together.variant[i] for i in some]
    assert set(together.variant) == {"user_2", "user_3", "flip_user"}  # one key for both: a low one flips


@pytest.mark.parametrize(("share", "variants"), [(0.0, 0), (0.25, 1), (0.6, 3), (1.0, 4)])
def test_as_many_rows_are_flipped_as_was_requested(share: float, variants: int) -> None:
    flips = [0, 2**64 // 3, 2**63, 2**64 - 1]
    done = rendered(WORDS, QA, flips=flips, flip=share)
    assert done.variant == ["flip_user"] * variants + ["user"] * (4 - variants)
    if variants:
        assert done.user[0] == "What has the answer w?" and done.assistant[0] == "a"


def test_what_cannot_be_turned_round_stays() -> None:
    assert rendered(template(), QA, flip=1.0).variant == ["user"] * 4


def test_failures_of_all_wordings_are_numbered_by_row() -> None:
    columns = {"question": ["a", None, "c", None], "answer": ["w", "x", None, "z"]}
    done = rendered(WORDS, columns, keys=KEYS, prompts="many")
    assert list(done.failed) == [1, 2, 3]
    assert [text is None for text in done.user] == [False, True, True, True]
    assert done.variant == ["user", "user_2", "user_3", "user"]


# What stands around


@pytest.mark.parametrize(
    ("place", "text"), [("none", "1 a"), ("before", "Be brief.\n1 a"), ("after", "1 a\nBe brief.")]
)
def test_the_form_of_the_answer_stands_where_it_was_requested(place: str, text: str) -> None:
    assert rendered(WORDS, QA, response_format=place).user[0] == text


def test_an_empty_form_leaves_no_empty_line() -> None:
    words = template(response_format="{% if context %}Use it.{% endif %}")
    done = rendered(words, {"question": ["a", "b"], "answer": ["1", "2"], "context": [None, "c"]})
    assert done.user == ["a", "b\nUse it."]


def test_a_system_message_is_null_where_it_is_empty() -> None:
    words = template(system="{% if context %}{{ context }}{% endif %}")
    done = rendered(words, {"question": ["a", "b"], "answer": ["1", "2"], "context": ["You are terse.", None]})
    assert done.system == ["You are terse.", None]
    assert rendered(template(), QA).system == [None] * 4


def test_a_turned_question_keeps_the_system_message() -> None:
    words = template(system="S", flip_user="{{ answer }}", flip_assistant="{{ question }}")
    assert rendered(words, QA, flip=1.0).system == ["S"] * 4


BARE = template(
    "Please: {{ question }}",
    bare="{{ question }}",
    response_format="Be brief.",
    user_2="Two: {{ question }}",
    assistant_2="two",
    flip_user="Ask for {{ answer }}.",
    flip_bare="{{ answer }}",
    flip_assistant="{{ question }}",
    wrapper="[{{ dataset }}] {{ content }}",
)


def test_a_name_in_place_of_words_stands_before_the_bare_content() -> None:
    done = rendered(BARE, QA, per="dataset_name", prompts="many", keys=KEYS)
    assert done.user == ["[corpus] a", "[corpus] b", "[corpus] c", "[corpus] d"]
    assert done.assistant == ["w", "x", "y", "z"]
    assert done.variant == ["user"] * 4


def test_bare_content_is_turned_round_too() -> None:
    done = rendered(BARE, QA, per="dataset_name", flip=1.0)
    assert (done.user[0], done.assistant[0], done.variant[0]) == ("[corpus] w", "a", "flip_user")


def test_without_a_bare_block_the_question_is_the_content() -> None:
    assert rendered(template("Please: {{ question }}", wrapper="<{{ content }}>"), QA).user[0] == "<Please: a>"


def test_content_that_fails_fails_with_its_own_reason() -> None:
    done = rendered(BARE, {"question": [None], "answer": ["x"]}, per="dataset_name")
    assert done.failed == {0: "vqa.jinja:1: a null cannot be written as text (null here: question)"}


# With everything real


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_what_the_check_accepts_writes_a_text_or_fails_a_row(pieces: list[str]) -> None:
    words = template("".join(pieces), helpers={"first_of": lambda items: items[0]})
    if parse(words.file.text, "vqa.jinja", words.names).problems:
        return
    columns = {
        "question": ["a {{ b", None, ""],
        "answer": [1, 2, 3],
        "choices": [["x", "y"], [], None],
        "boxes": [[{"phrase": "dog"}], [], [{"phrase": None}]],
    }
    done = rendered(words, columns)
    assert [text is None for text in done.user] == [row in done.failed for row in range(3)]


def test_a_users_template_renders_from_his_folder(tmp_path: Path) -> None:
    from vldata.prompts.template import load

    (tmp_path / "vqa.jinja").write_text(
        "{% block user %}\n{{ question }}\n{% endblock %}\n{% block assistant %}\n{{ answer }}\n{% endblock %}\n",
        encoding="utf-8",
    )
    words = load("vqa", Names(frozenset({"question", "answer"})), Templates(path=str(tmp_path)))
    assert rendered(words, QA).user == ["a", "b", "c", "d"]


def test_a_column_of_another_length_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="columns of \\[1\\] values for 2 rows"):
        rendered(template(), {"answer": ["x", "y"], "question": ["a"]})
