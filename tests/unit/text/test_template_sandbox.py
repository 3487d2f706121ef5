"""Chat templates in the sandbox: the same text as plain jinja2, and nothing that hangs or fills the memory."""

from __future__ import annotations

import json
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import jinja2
import jinja2.ext
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bitnet_cli.errors import BitnetError, FormatError
from bitnet_cli.text import template_budget
from bitnet_cli.text.template_sandbox import BoundedTemplate

MESSAGES = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Hello <b>\n\n"},
    {"role": "assistant", "content": "<think>hm</think>Hi"},
    {"role": "user", "content": "1 + 1 = ?"},
]
VARIABLES = {
    "messages": MESSAGES,
    "tools": None,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
}

HEADERS = """{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
CHATML = """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}<|im_start|>system
{{ messages[0]['content'] }}<|im_end|>
{% else %}{% set rest = messages %}{% endif %}
{% for message in rest %}
  {% if message.role not in ['user', 'assistant'] %}{{ raise_exception('no ' ~ message.role) }}{% endif %}
{{ '<|im_start|>' ~ message.role ~ '\n' ~ message.content.split('</think>')[-1].strip() ~ '<|im_end|>' }}
  {% if loop.last and add_generation_prompt %}<|im_start|>assistant{% endif %}
{% endfor %}
"""
ALTERNATING = """{% set ns = namespace(turn=0, last='') %}{% for m in messages if m['role'] != 'system' %}
{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{% set ns.turn = ns.turn + 1 %}{% set ns.last = m.role | upper %}{% if loop.first %}{% continue %}{% endif %}
{{ loop.index }}/{{ loop.length }} {{ ns.turn }} {{ ns.last | lower }}: {{ m.content | replace('1', 'one') }}
{% endfor %}{{ messages | map(attribute='role') | join(', ') }} {{ messages | length }}"""
TOOLS = """{%- macro show(m, sep=': ') %}[{{ m.role | title }}{{ sep }}{{ caller() if caller else '' }}]{% endmacro -%}
{% for m in messages | selectattr('role', 'equalto', 'user') | list %}{{ show(m) }}{{ m | tojson }}
{{ m | tojson(indent=2) }}{{ {'a': [1, 2.5, none, true], 'é': m.content} | tojson }}{% endfor %}
{% call show(messages[0], sep='=') %}x{% endcall %}{% set block %}a{{ 1 }}b{% endset %}{{ block * 2 }}
{% generation %}{{ messages[2].content }}{% endgeneration %}{{ undefined_thing }}{{ (messages[::-1])[0].content[2:] }}
{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ 'a b'.split() }} {{ (1, 'x') }} {{ 7 // 2 }} {{ 2 ** 5 }}
{{ 'x' if tools is none else tools }} {{ tools is defined and tools is not string }} {{ range(3) | list }} {{ -1 | abs }}
{{ dict(a=1).get('a') }} {{ 'a\nb' | indent(4, true) }} {{ [3, 1, 2] | sort | first }} {{ 2.345 | round(1) }}
{{ ['b', 'a'] + ['c'] }}
{% filter upper %}filtered{% endfilter %} {{ ['x', 'y'].index('y') }} {{ 'abc'.replace('b', 'd', 1) }}
{{ ', '.join(['a', 'b']) }}"""


def reference(source: str) -> str:
    """What jinja2 makes of it, set up as `transformers` does."""

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

        def _support(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env.from_string(source).render(**VARIABLES)


@pytest.mark.parametrize("source", [HEADERS, CHATML, ALTERNATING, TOOLS])
def test_renders_as_jinja2_does(source: str) -> None:
    assert BoundedTemplate(source).render(VARIABLES) == reference(source)


def test_date() -> None:
    year = BoundedTemplate("{{ strftime_now('%Y') }}").render({})
    assert year.isdigit() and len(year) == 4


def test_refusals_of_the_template_are_passed_on() -> None:
    template = BoundedTemplate("{{ raise_exception('only\nuser ' ~ messages[0].role) }}")
    with pytest.raises(BitnetError, match=r"refuses these messages: only user system$") as caught:
        template.render(VARIABLES)
    assert not isinstance(caught.value, FormatError)


def test_messages_cannot_be_changed() -> None:
    for source in (
        "{{ messages.append(1) }}",
        "{{ messages[0].update(a=1) }}",
        "{% set messages[0].role = 'x' %}",
    ):
        with pytest.raises(FormatError):
            BoundedTemplate(source).render(VARIABLES)


@pytest.mark.parametrize(
    "source",
    [
        "{% for %}",
        "{{ ",
        "{% unknown %}",
        "{{ 'a' | no_such_filter }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% import 'x' as y %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{{ range }}",
        "{{ namespace(a=1) }}",
        "{{ 1 / 0 }}",
        "{{ messages + 1 }}",
        "{{ none.x.y }}",
        "{{ strftime_now(1) }}",
        "{{ lipsum(5) }}",
        "{{ cycler('a') }}",
        "{{ 'a'.encode() }}",
        "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
        "(" * 5 + "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ " + "not " * 5000 + "1 }}",
        "{{ 1" + " + 1" * 20000 + " }}",
        "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
        "{% if 1 %}" * 1500 + "{% endif %}" * 1500,
        "x" * 200_000,
        "{{ 'a' | tojson(indent='x' * 100) }}",
        "{{ messages | tojson(separators=('x' * 100, ':')) }}",
    ],
)
def test_faulty_and_forbidden_templates_give_one_error(source: str) -> None:
    with pytest.raises(FormatError) as caught:
        BoundedTemplate(source).render(VARIABLES)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert caught.value.tensor == "tokenizer.chat_template"


DOUBLING = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = EXPR %}{% endfor %}{{ ns.x | length }}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * 'a' }}",
        "{{ [0] * 1000000000 }}",
        "{{ ('a' * 1000000) | length * 1000 * 'a' }}",
        "{{ 10 ** 100000000 }}",
        "{{ (-10) ** 100000000 }}",
        "{{ 2.0 ** 1000000 }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a'.zfill(1000000000) }}",
        "{{ 'a\t'.expandtabs(1000000000) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'a' | indent(1000000000, true) }}",
        "{{ 'a\n' * 1000000 | indent(60) }}",
        "{{ (1).to_bytes(1000000000) }}",
        "{{ 1.5 | round(1000000000, 'ceil') }}",
        "{{ ('f' * 100000) | int(base=16) }}",
        "{{ range(1000000000) | list }}",
        "{{ strftime_now('%1000000000d') }}",
        "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
        "{{ ('a' * 100000) | replace('', 'b' * 100000) }}",
        "{{ ('a' * 100000) | replace(old='a', new='b' * 100000) }}",
        "{{ ('b' * 100000).join(range(100000) | map('string') | list) }}",
        "{{ range(100000) | map('string') | join('b' * 100000) }}",
        "{{ range(100000) | map('string') | map('replace', '', 'b' * 10000) | list | length }}",
        "{{ [[1] * 1000] * 1000 * 100 }}",
        "{{ range(100000) | map('list') | sum(start=[]) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}" + "x" * 100_000 + "{% endfor %}",
        "{% set y %}{% for a in range(99999) %}" + "x" * 100_000 + "{% endfor %}{% endset %}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f(n) %}{% if n %}{% set x = f(n - 1) %}{% set x = f(n - 1) %}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}"
        + "x" * 100_000
        + "{% endmacro %}{% for a in range(99999) %}{% set y = f() %}{% endfor %}",
        "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
        "{% set x = 'a' * 2000000 %}{% for a in range(99999) %}{% if x ~ 'a' == x %}{% endif %}{% endfor %}",
        "{% set x = 'a' * 2000000 %}" + "{% if 'ab' in x %}{% endif %}" * 300 + "{{ x.count('') * 'a' * 9 }}",
        DOUBLING.replace("EXPR", "ns.x ~ ns.x"),
        DOUBLING.replace("EXPR", "ns.x + ns.x"),
        DOUBLING.replace("EXPR", "[ns.x, ns.x]"),
        DOUBLING.replace("EXPR", "(ns.x, ns.x)"),
        DOUBLING.replace("EXPR", "{'a': ns.x, 'b': ns.x}"),
        DOUBLING.replace("EXPR", "dict(a=ns.x, b=ns.x)"),
        DOUBLING.replace("EXPR", "[ns.x] + [ns.x]"),
        DOUBLING.replace("EXPR", "[ns.x] * 2"),
        DOUBLING.replace("EXPR", "ns.x | replace('a', 'aa') | replace('b', 'bb')"),
        DOUBLING.replace("EXPR", "[ns.x, ns.x] | join"),
        DOUBLING.replace("EXPR", "ns.x.replace('a', 'aa')"),
        DOUBLING.replace("EXPR", "[ns.x, ns.x] | string"),
        DOUBLING.replace("EXPR", "[ns.x, ns.x] | tojson"),
        DOUBLING.replace("EXPR", "namespace(a=ns.x, b=ns.x)").replace("ns.x | length", "ns.x ~ ''"),
        DOUBLING.replace("EXPR", "namespace(a=ns.x, b=ns.x)").replace("ns.x | length", "ns.x | string"),
        DOUBLING.replace("EXPR", "namespace(a=ns.x, b=ns.x)").replace("ns.x | length", "[ns.x]"),
        DOUBLING.replace("EXPR", "namespace(a=ns.x, b=ns.x)").replace(
            "ns.x | length", "raise_exception(ns.x)"
        ),
        DOUBLING.replace("{% set ns.x = EXPR %}", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
        "{% set ns = namespace(n=3) %}{% for i in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}",
        "{{ range(100000) | list | tojson(indent=1000000) }}",
    ],
)
def test_hostile_templates_are_stopped(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_budget, "MAX_SECONDS", 0.2)
    BoundedTemplate("{{ 1 }}").render({})
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(BitnetError):
            BoundedTemplate(source).render(VARIABLES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 20
    assert peak < 300e6


def test_long_conversations_are_no_attack() -> None:
    """A thousand turns of a thousand characters, gathered in a list that grows by one at a time."""
    source = (
        "{% set ns = namespace(seen=[]) %}{% for m in messages %}{% set ns.seen = ns.seen + [m] %}"
        "{{ '<' ~ m.role ~ '>' + m.content | trim ~ '\n' }}{% endfor %}{{ ns.seen | length }}"
    )
    messages = [{"role": "user", "content": "x" * 1000}] * 1000
    text = BoundedTemplate(source).render({"messages": messages})
    assert text.endswith("\n1000") and len(text) > 1_000_000


def test_renders_again_and_from_threads() -> None:
    template = BoundedTemplate("{% for i in range(n) %}{{ i }},{% endfor %}")
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda n: template.render({"n": n}), range(40)))
    assert texts == ["".join(f"{i}," for i in range(n)) for n in range(40)]
