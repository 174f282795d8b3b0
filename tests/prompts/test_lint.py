"""What a template may not say is refused before anything runs, with its line and a fix."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.prompts.lint import Parsed, parse
from vldata.prompts.models import Names

NAMES = Names(
    columns=frozenset({"question", "answer", "choices", "boxes", "context"}),
    fields=frozenset({"phrase", "x0"}),
    helpers={"lettered": list, "letter_of": str},
)


def with_user(body: str) -> Parsed:
    return parse(
        f"{{% block user %}}{body}{{% endblock %}}{{% block assistant %}}{{{{ answer }}}}{{% endblock %}}",
        "t.jinja",
        NAMES,
    )


def problems(body: str) -> list[str]:
    return [f"{error.where} {error.problem}" for error in with_user(body).problems]


@pytest.mark.parametrize(
    "body",
    [
        "plain text",
        "{{ question }}",
        "{% if context %}{{ context }}{% elif answer is none %}x{% else %}y{% endif %}",
        "{% for mark, choice in lettered(choices) %}{{ mark }} {{ choice }}{{ loop.index }}{% endfor %}",
        "{% for choice in choices if choice %}{{ choice }}{% else %}none{% endfor %}",
        "{% set short = question|trim|lower %}{{ short }} {{ short[:3] }}",
        "{% set question = question ~ '?' %}{{ question }}",
        "{{ boxes[0].phrase }}{{ boxes[0]['x0'] }}{{ choices[-1] }}",
        "{{ 'yes' if answer else 'no' }} {{ answer + 1 }} {{ choices|length > 2 and not context }}",
        "{{ dataset }} {{ task }}",
        "{% raw %}{{ anything }}{% endraw %}{# comment #}",
    ],
)
def test_what_templates_need_is_allowed(body: str) -> None:
    assert problems(body) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{{ ''.__class__ }}", "no field is called '__class__'"),
        ("{{ question.__class__.__mro__ }}", "no field is called '__class__'"),
        ("{{ question['__class__'] }}", "no field is called '__class__'"),
        ("{{ question|attr('__class__') }}", "no filter is called 'attr'"),
        ("{{ cycler.__init__.__globals__ }}", "no field is called '__globals__'"),
        ("{{ cycler }}", "unknown name 'cycler'"),
        ("{{ joiner() }}", "'joiner' cannot be called, only the task's helpers can"),
        ("{{ lipsum(n=9999999) }}", "'lipsum' cannot be called, only the task's helpers can"),
        ("{{ namespace(x=1) }}", "'namespace' cannot be called, only the task's helpers can"),
        ('{{ "{0.__class__}".format(question) }}', "this cannot be called, only the task's helpers can"),
        ("{{ question.format }}", "no field is called 'format'"),
        ("{{ question.upper() }}", "this cannot be called, only the task's helpers can"),
        ("{% for i in range(10**9) %}x{% endfor %}", "'range' cannot be called, only the task's helpers can"),
        ("{% for i in range(10**9) %}x{% endfor %}", "'**' is not allowed in a template"),
        ("{{ 'a' * 1000000000 }}", "'*' is not allowed in a template"),
        ("{{ '%999999999d' % 1 }}", "'%' between values is not allowed in a template"),
        ("{% include '/etc/passwd' %}", "'include' is not allowed in a template"),
        ("{% import 'x' as y %}", "'import' is not allowed in a template"),
        ("{% from 'x' import y %}", "'from … import' is not allowed in a template"),
        ("{% extends 'x' %}", "'extends' is not allowed in a template"),
        ("{% macro m() %}{% endmacro %}", "'macro' is not allowed in a template"),
        ("{% call lettered() %}{% endcall %}", "'call' is not allowed in a template"),
        ("{% filter upper %}x{% endfilter %}", "'filter' as a block is not allowed in a template"),
        ("{% set x %}x{% endset %}", "'set' as a block is not allowed in a template"),
        ("{% with x = 1 %}{% endwith %}", "'with' is not allowed in a template"),
        ("{% block inner %}{% endblock %}", "a block inside a block is not allowed in a template"),
        ("{{ self.user() }}", "unknown name 'self'"),
        ("{{ self }}", "unknown name 'self'"),
        ("{{ super() }}", "'super' cannot be called, only the task's helpers can"),
        ("{{ varargs }}", "unknown name 'varargs'"),
        ("{{ loop.index }}", "unknown name 'loop'"),
        ("{% for c in choices %}{{ loop.cycle(1, 2) }}{% endfor %}", "no field is called 'cycle'"),
        ("{% for c in choices %}{% endfor %}{{ c }}", "unknown name 'c'"),
        ("{% for c in choices recursive %}{% endfor %}", "a recursive loop is not allowed"),
        ("{% if answer %}{% set x = 1 %}{% endif %}{{ x }}", "unknown name 'x'"),
        ("{{ _rows }}", "name '_rows' begins with an underscore"),
        ("{% set _x = 1 %}", "name '_x' begins with an underscore"),
        ("{% set lettered = 1 %}", "'lettered' cannot be given another value"),
        ("{% for loop in choices %}{% endfor %}", "'loop' cannot be given another value"),
        ("{{ lettered }}", "'lettered' is a helper, not a value"),
        ("{{ lettered(choices=choices) }}", "'lettered' takes its values in order"),
        ("{{ lettered(*choices) }}", "'lettered' takes its values in order"),
        ("{{ question|replace(old='a', new='b') }}", "filter 'replace' takes its values in order"),
        ("{{ question is callable }}", "no test is called 'callable'"),
        ("{{ {'a': 1} }}", "a dict is not allowed in a template"),
        ("{{ '\\ud800' }}", "half of a surrogate pair, which UTF-8 cannot write"),
    ],
)
def test_what_templates_do_not_need_is_refused(body: str, problem: str) -> None:
    assert f"t.jinja:1 {problem}" in problems(body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "cannot be parsed"),
        ("{{ " + "9" * 5000 + " }}", "cannot be parsed"),
        ("{{ " + " and ".join(["answer"] * 99) + " }}", "nested more than 40 deep"),
        ("{% if answer %}" * 99 + "{% endif %}" * 99, "nested more than 40 deep"),
        ("{% for c in choices %}" * 4 + "{% endfor %}" * 4, "more than 3 loops inside each other"),
        ("x" * 70_000, "a template may have 65,536"),
    ],
)
def test_what_would_exhaust_the_compiler_is_refused(body: str, problem: str) -> None:
    assert problem in problems(body)[0]


def test_all_problems_are_reported_at_once_each_with_its_line_and_fix() -> None:
    found = with_user("\n{{ questoin|uper }}\n\n{{ boxes[0].phrse }}{% if letter_off(answer) %}{% endif %}").problems
    assert [str(error) for error in found] == [
        "t.jinja:2: no filter is called 'uper'\n  fix: did you mean 'upper'?",
        "t.jinja:2: unknown name 'questoin'\n  fix: did you mean 'question'?",
        "t.jinja:4: no field is called 'phrse'\n  fix: did you mean 'phrase'?",
        "t.jinja:4: 'letter_off' cannot be called, only the task's helpers can\n  fix: did you mean 'letter_of'?",
    ]


def test_a_syntax_error_has_its_line() -> None:
    found = parse("{% block user %}\n{{ question }\n{% endblock %}", "my/rec.jinja", NAMES).problems
    assert [str(error) for error in found] == ["my/rec.jinja:2: syntax error: unexpected '}'\n  fix: fix this line"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["t.jinja block 'user' is missing", "t.jinja block 'assistant' is missing"]),
        ("{% block user %}{% endblock %}", ["t.jinja block 'assistant' is missing"]),
        (
            "{# about #}\n\nHello {% block user %}{% endblock %}{% block assistant %}{% endblock %}",
            ["t.jinja:3 text outside of a block"],
        ),
        (
            "{% set x = 1 %}{% block user %}{% endblock %}{% block assistant %}{% endblock %}",
            ["t.jinja:1 'set' outside of a block"],
        ),
        (
            "{% block user %}{% endblock %}{% block assistant %}{% endblock %}\n{% block user %}{% endblock %}",
            ["t.jinja:2 block 'user' stands twice"],
        ),
        (
            "{% block user %}{% endblock %}{% block assistant %}{% endblock %}{% block asistant_2 %}{% endblock %}",
            ["t.jinja no block is called 'asistant_2'"],
        ),
        (
            "{% block user %}{% endblock %}{% block assistant %}{% endblock %}{% block user_1 %}{% endblock %}",
            ["t.jinja no block is called 'user_1'"],
        ),
        (
            "{% block user %}{% endblock %}{% block assistant %}{% endblock %}{% block assistant_2 %}{% endblock %}",
            ["t.jinja block 'assistant_2' goes with 'user_2', which is missing"],
        ),
        (
            "{% block user %}{% endblock %}{% block assistant %}{% endblock %}{% block flip_user %}{% endblock %}",
            ["t.jinja block 'flip_user' has no 'flip_assistant'"],
        ),
    ],
)
def test_blocks_must_make_an_exchange(text: str, expected: list[str]) -> None:
    assert [f"{error.where} {error.problem}" for error in parse(text, "t.jinja", NAMES).problems] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% block user %}[{{ dataset }}] {{ content }}{% endblock %}", []),
        ("{% block user %}[{{ dataset }}]{% endblock %}", ["per.jinja block 'user' leaves out the content"]),
        (
            "{% block user %}{{ content }}{% endblock %}{% block assistant %}{% endblock %}",
            ["per.jinja block 'assistant' has no use here"],
        ),
        ("", ["per.jinja block 'user' is missing"]),
        ("{% block user %}{{ content }}{{ question }}{% endblock %}", ["per.jinja:1 unknown name 'question'"]),
    ],
)
def test_a_sentence_around_all_tasks_must_hold_their_content(text: str, expected: list[str]) -> None:
    names = Names(frozenset({"content"}))
    found = parse(text, "per.jinja", names, wrapper=True).problems
    assert [f"{error.where} {error.problem}" for error in found] == expected


TOKENS = (
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        " ",
        "\n",
        "x",
        "1",
        "'",
        '"',
        "(",
        ")",
        "[",
        "]",
        "|",
        ".",
        ",",
        "=",
        "~",
        "+",
    ),
    *(
        "block user",
        "block assistant",
        "endblock",
        "if",
        "endif",
        "for",
        "in",
        "endfor",
        "set",
        "raw",
        "endraw",
        "else",
    ),
    *("question", "choices", "lettered", "loop", "_rows", "__class__", "include", "not", "is", "upper", "**", "{", "}"),
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_any_text_is_either_a_template_or_a_list_of_problems(tokens: list[str]) -> None:
    with_user(" ".join(tokens))
    parse("".join(tokens), "t.jinja", NAMES)
