"""Prefixes that recall what was written equal those that are rendered anew."""

from datetime import date
from pathlib import Path
from random import Random

import pytest

from tests.unit.templates.test_jinja import OWN
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.encoding.fuzz import conversation
from toolgrove.templates import prefixes, recall
from toolgrove.templates.jinja import MakersTemplate
from toolgrove.templates.own import OwnWriter
from toolgrove.templates.own_folder import own_template
from toolgrove.templates.own_spans import Marks
from toolgrove.templates.prefixes import Prefixes, Recalled
from toolgrove.templates.values import ThinkMarks

TODAY = date(2026, 1, 15)
FIND = Tool({"type": "function", "function": {"name": "find", "description": "[A]"}})
FOLDERS = sorted((Path(__file__).parents[4] / "shared" / "tokenizers").glob("*"))
ODD = {
    "forging": (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}[END]{% endfor %}"
        "{% if add_generation_prompt %}"
        "{{ messages[-1].content if messages | length % 4 == 1 else '[assistant]' }}{% endif %}"
    ),
    "ahead": (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ '+' if not loop.last }}[END]"
        "{% endfor %}{{ '[assistant]' if add_generation_prompt }}"
    ),
    "printed": "{{ messages }}{% if messages %}{{ messages | tojson }}{% endif %}",
    "grow": (
        "{% set ns = namespace(seen=[]) %}{% for m in messages %}{% set ns.seen = ns.seen"
        " + [m.role] %}{{ ns.seen | join(',') }}{% endfor %}{{ ns.seen | length }}"
    ),
    "macro_ns": (
        "{% set ns = namespace(n=0) %}{% macro f(x) %}{% set ns.n = ns.n + 1 %}{{ x }}{{ "
        "ns.n }}{{ add_generation_prompt }}{% endmacro %}{% for m in messages %}{{ "
        "f(m.role) }}{% endfor %}{{ f('e') }}"
    ),
    "alias": (
        "{% macro f(x) %}{{ x }}{{ messages | length }}{% endmacro %}{% set g = f %}{% "
        "for m in messages %}{{ g(m.role) }}{% endfor %}"
    ),
    "gen": (
        "{% set g = messages | map(attribute='role') %}{% for m in messages %}{{ g | "
        "first }}{% endfor %}"
    ),
    "nsns": (
        "{% set a = namespace(b=namespace(c=0)) %}{% for m in messages %}{% set x = a.b "
        "%}{% set x.c = x.c + 1 %}{{ x.c }}{% endfor %}{{ a.b.c }}"
    ),
    "nslist": (
        "{% set a = namespace(c=0) %}{% set l = [a] %}{% for m in messages %}{% set x = "
        "l[0] %}{% set x.c = x.c + 1 %}{{ a.c }}{% endfor %}{{ a.c }}"
    ),
    "escape": (
        "{% set a = namespace(k=none) %}{% for m in messages %}{% if not a.k %}{% set t ="
        " namespace(v=1) %}{% set a.k = t %}{% endif %}{% set t = a.k %}{% set t.v = t.v "
        "+ 1 %}{{ a.k.v }}{% endfor %}{{ a.k.v if a.k else '' }}"
    ),
    "changed": "{% for m in messages %}{{ loop.changed(m.role) }}{% endfor %}",
    "cycler": (
        "{% set c = cycler('a','b','c') %}{% for m in messages %}{% if m.role == 'user' "
        "%}{{ c.next() }}{% endif %}{{ c.current }}{% endfor %}"
    ),
    "joiner": (
        "{% set c = joiner('|') %}{% for m in messages %}{{ c() }}{{ m.role }}{% endfor %}{{ c() }}"
    ),
    "undef": (
        "{% set ns = namespace() %}{% for m in messages %}{{ m.role == ns.no }}{{ ns.no "
        "is defined }}{% if loop.index == 2 %}{% set ns.no = 'user' %}{% endif %}{% "
        "endfor %}"
    ),
    "break": (
        "{% for m in messages %}{{ m.role }}{% if m.role == 'assistant' %}{% break %}{% "
        "endif %}{% endfor %}{{ messages | length }}"
    ),
    "continue": (
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'assistant' "
        "%}{% set ns.n = ns.n + 1 %}a{% continue %}{% endif %}{{ m.role }}{{ ns.n }}{{ "
        "loop.last }}{% endfor %}{{ ns.n }}"
    ),
    "filtered": (
        "{% for m in messages if m.role != 'system' %}{{ loop.index }}{{ m.role }}{{ "
        "loop.last }}{% endfor %}"
    ),
    "length": (
        "{% for m in messages %}{{ loop.length if m.role == 'user' }}{{ loop.revindex if "
        "loop.first }}{% endfor %}"
    ),
    "near": (
        "{% for m in messages %}{{ loop.previtem.role if loop.previtem }}>{{ "
        "loop.nextitem.role if loop.nextitem is defined }}{{ m.content }}{% endfor %}"
    ),
    "rebind": (
        "{% if messages[0].role == 'system' %}{% set messages = messages[1:] %}S{% endif "
        "%}{% for m in messages %}{{ loop.index0 }}{{ m.content }}{{ messages[loop.index0"
        " - 1].role }}{% endfor %}{{ messages | length if add_generation_prompt }}"
    ),
    "last": (
        "{% set last = messages | last %}{% for m in messages %}{{ m == last }}{{ "
        "m.content > last.content }}{% endfor %}"
    ),
    "lastboth": (
        "{% set last = messages | last %}{% for m in messages %}{{ m == last }}{{ "
        "last.role }}{% endfor %}"
    ),
    "lastuser": (
        "{% set u = messages | selectattr('role','equalto','user') | list %}{% for m in "
        "messages %}{% if m == u[-1] %}!{% endif %}{{ m.content }}{% if u[0].content != "
        "m.content %}#{% endif %}{% endfor %}"
    ),
    "lastuser_neg": (
        "{% set n = namespace(i=-1) %}{% for m in messages %}{% if m.role=='user' %}{% "
        "set n.i = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{{ '*' if "
        "loop.index0 >= n.i }}{{ '<' if n.i > loop.index0 }}{{ m.content }}{% endfor %}"
    ),
    "index_value": (
        "{% set n = namespace(i=-1) %}{% for m in messages %}{% if m.role=='user' %}{% "
        "set n.i = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{{ n.i "
        "}}{{ '*' if n.i < loop.index0 }}{% endfor %}"
    ),
    "caller": (
        "{% macro w() %}[{{ caller() }}]{% endmacro %}{% for m in messages %}{% call w() "
        "%}{{ m.content }}{{ loop.last }}{% endcall %}{% endfor %}"
    ),
    "setblock": (
        "{% for m in messages %}{% set x %}{{ m.content }}{{ loop.index }}{% endset %}{{ "
        "x }}{% endfor %}{% set y %}{{ messages | length }}{% endset %}{{ y }}"
    ),
    "generation": (
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{{ '.' "
        "if not loop.last }}{% endfor %}"
    ),
    "scan": (
        "{% for m in messages %}{% set f = namespace(x=false) %}{% for n in "
        "messages[loop.index:] %}{% if n.role == 'assistant' and 'tool_calls' not in n "
        "%}{% set f.x = true %}{% endif %}{% endfor %}{{ m.role }}{{ f.x }}{% endfor %}"
    ),
    "scan2": (
        "{% set f = namespace(x=0) %}{% for m in messages %}{% for n in "
        "messages[loop.index:] %}{% if n.role == 'user' %}{% set f.x = 3 %}{% endif %}{% "
        "endfor %}{{ f.x }}{% if loop.index == 2 %}{% set f.x = 1 %}{% endif %}{% endfor "
        "%}"
    ),
    "scan3": (
        "{% for m in messages %}{% set f = namespace(x=0) %}{% for n in "
        "messages[:loop.index] %}{% if n.role == 'user' %}{% set f.x = loop.index %}{% "
        "endif %}{% endfor %}{{ f.x }}{% endfor %}"
    ),
    "scan4": (
        "{% for m in messages %}{% set f = namespace(x=0) %}{% for n in [1, m, "
        "messages[0]] %}{% if n == m %}{% set f.x = 1 %}{% endif %}{% endfor %}{{ f.x "
        "}}{% endfor %}"
    ),
    "eqlist": (
        "{% if messages == [] %}E{% endif %}{{ (messages + [messages[0]]) | length }}{{ "
        "([1] + messages) | length }}{{ (messages * 2) | length }}{% for m in messages[:]"
        " %}{{ m.role }}{% endfor %}"
    ),
    "print0": "{{ messages[0] }}{{ messages[-1] }}{{ messages }}",
    "raise": (
        "{% for m in messages %}{% if messages | length == 3 %}{{ "
        "raise_exception('three') }}{% endif %}{{ m.content }}{% endfor %}"
    ),
    "raise_last": (
        "{% for m in messages %}{{ m.content }}{% if loop.last and m.role == 'assistant' "
        "%}{{ raise_exception('x') }}{% endif %}{% endfor %}"
    ),
    "between": (
        "{% set ns = namespace(a=1) %}{% for m in messages %}{{ m.role }}:{{ m.content "
        "}};{% endfor %}{% set ns.a = messages|length %}{% for m in messages %}{{ ns.a if"
        " loop.index < 3 }}{% endfor %}"
    ),
    "condset": (
        "{% for m in messages %}{% if m.role == 'user' %}{% set c = m.content %}{% endif "
        "%}{{ c }}{% endfor %}"
    ),
    "outerc": (
        "{% set c = 'out' %}{% for m in messages %}{% if m.role == 'user' %}{% set c = "
        "m.content %}{% endif %}{{ c }}{% endfor %}{{ c }}"
    ),
    "outerc2": (
        "{% set c = messages[-1].role %}{% for m in messages %}{{ c }}{{ m.content }}{% endfor %}"
    ),
    "with": (
        "{% with %}{% set q = messages | length %}{{ q }}{% endwith %}{% for m in "
        "messages %}{% with z = loop.index %}{{ z }}{% endwith %}{% endfor %}"
    ),
    "else": (
        "{% for m in messages[1:] %}{{ m.role }}{% else %}none{{ messages|length }}{% endfor %}"
    ),
    "ifloop": (
        "{% if messages[0].role == 'system' %}{% for m in messages %}{{ m.content }}{% "
        "endfor %}{% elif messages|length > 2 %}{% set k = 1 %}{% for m in messages %}{{ "
        "k }}{{ m.role }}{% endfor %}{% else %}{{ messages[0].content }}{% endif %}{{ k "
        "}}"
    ),
    "reverse": (
        "{% for m in messages | reverse %}{{ m.role }}{{ loop.index }}{% endfor %}{% for "
        "m in messages[::-1] %}{{ m.content }}{% endfor %}"
    ),
    "firstattr": (
        "{{ messages.first }}{{ messages._first }}{{ messages.copy() | length }}{{ "
        "messages.index(messages[0]) }}{{ messages.append is defined }}{% for m in "
        "messages %}{{ m.content.runs }}{{ m.content.parts is defined }}{% endfor %}"
    ),
    "nested": (
        "{% for m in messages %}{% for n in messages %}{{ loop.index }}{{ n.role if "
        "loop.index0 == 1 }}{% endfor %}{% endfor %}"
    ),
    "bool": (
        "{% set ns = namespace(x=1) %}{% for m in messages %}{{ ns.x == 1 }}{{ ns.x }}{% "
        "if m.role == 'assistant' %}{% set ns.x = true %}{% endif %}{% endfor %}"
    ),
    "true1": (
        "{% set x = 1 if messages | length < 3 else true %}{% for m in messages %}{{ x "
        "}}{% endfor %}"
    ),
    "origin": (
        "{% set ns = namespace(t='') %}{% for m in messages %}{% if m.content == 'Hello' "
        "%}{% set ns.t = m.content %}{% endif %}{% if m.role=='system' %}{% set "
        "ns.t='Hello' %}{% endif %}{{ ns.t }}{% endfor %}"
    ),
    "nsprint": (
        "{% set ns = namespace(a=0) %}{% for m in messages %}{{ ns }}{% set ns.a = ns.a +"
        " 1 %}{% endfor %}"
    ),
    "docall": (
        "{% for m in messages %}{{ (m.content or '')[:3] if loop.index > 1 else "
        "messages[loop.index].role }}{% endfor %}"
    ),
    "minus": "{% for m in messages %}{{ messages[loop.index0 - 2].role }}{% endfor %}",
    "sameas": (
        "{% for m in messages %}{{ m is sameas messages[0] }}{{ m is sameas messages[-1] "
        "}}{% endfor %}"
    ),
    "in": (
        "{% for m in messages %}{{ m in messages[:2] }}{{ m in messages }}{{ "
        "messages.count(m) }}{% endfor %}"
    ),
    "cmpchain": (
        "{% set n = namespace(i=2) %}{% for m in messages %}{{ 0 < loop.index <= n.i }}{%"
        " set n.i = n.i + 1 %}{{ n.i == n.i }}{{ n.i != loop.index }}{% endfor %}"
    ),
    "gp": (
        "{% for m in messages %}{{ m.content }}{% if loop.last and add_generation_prompt "
        "%}GO{% endif %}{{ add_generation_prompt == true }}{% endfor %}"
    ),
    "dictget": (
        "{% for m in messages %}{{ m.get('content') }}{{ m.items() | list | length }}{{ "
        "m['tool_calls'] | length if m.tool_calls }}{% endfor %}"
    ),
    "sum": (
        "{{ messages | map(attribute='content') | select | map('length') | sum }}{% for m"
        " in messages | selectattr('role','equalto','user') %}{{ m.content }}{{ loop.last"
        " }}{% endfor %}"
    ),
    "block": "{% block a %}{% for m in messages %}{{ m.role }}{% endfor %}{% endblock %}",
    "recursive": "{% for m in messages recursive %}{{ m.role }}{% endfor %}",
    "macroloop": (
        "{% macro all() %}{% for m in messages %}{{ m.role }}{% endfor %}{% endmacro %}{{"
        " all() }}{% for m in messages %}{{ all() if loop.first }}{{ m.role }}{% endfor "
        "%}"
    ),
    "macrodup": (
        "{% if messages|length > 2 %}{% macro f() %}A{% endmacro %}{% else %}{% macro f()"
        " %}B{% endmacro %}{% endif %}{% for m in messages %}{{ f() }}{% endfor %}"
    ),
    "macrocond": (
        "{% if messages|length > 2 %}{% macro f() %}A{% endmacro %}{% endif %}{% for m in"
        " messages %}{{ f is defined }}{% endfor %}"
    ),
    "partialset": (
        "{% set ns=namespace(d=false) %}{% for m in messages %}{% if ns.d == false and "
        "m.role == 'user' %}{{ tools | tojson if tools }}{% set ns.d = true %}{% endif "
        "%}{{ m.content }}{% endfor %}"
    ),
}
"""Templates whose messages depend on each other in every way that one may think of."""


def talk(rounds):
    messages = []
    for n in range(rounds):
        messages += [
            Message(Role.USER, "[assistant]" if n % 2 else f"Where is {n}? [END]"),
            Message(Role.ASSISTANT, "", thinking="Hm.", calls=(ToolCall("find", {"n": n}),)),
            Message(Role.TOOL, f"[A] {n}", name="find"),
            Message(Role.ASSISTANT, "It is there."),
        ]
    return Conversation(tuple(messages), (FIND,))


def made_up(seed):
    """Some made-up conversations, one behind the other."""
    rng = Random(seed)
    parts = [conversation(rng.randrange(10**6), 0) for _ in range(rng.choice((1, 2, 3)))]
    messages = [
        message
        for number, part in enumerate(parts)
        for message in part.messages
        if number == 0 or message.role is not Role.SYSTEM or rng.random() < 0.1
    ]
    return Conversation(tuple(messages), parts[0].tools)


def check(template, conv, recalled=None):
    """Compares all prefixes; how many were written without a fresh render."""
    made = Prefixes(recalled or Recalled(template), conv)
    made._trusted, fresh = True, []
    anew = made._anew
    made._anew = lambda count, generate: fresh.append(count) or anew(count, generate)
    for count in range(1, len(conv.messages) + 1):
        for generate in (False, True):
            try:
                expected = template.tracked(conv.until(count), generate)
            except TemplateError:
                with pytest.raises(TemplateError):
                    made.tracked(count, generate)
                continue
            text = made.tracked(count, generate)
            assert (str.__eq__(text, expected), text.runs) == (True, expected.runs)
    return 2 * len(conv.messages) - len(fresh)


@pytest.mark.parametrize("name", ODD)
def test_a_prefix_is_what_it_is_when_rendered_anew(name):
    template = MakersTemplate(ODD[name], {"bos_token": "<s>"}, TODAY)
    recalled = Recalled(template)
    for seed in range(6):
        check(template, made_up(seed), recalled)
    check(template, talk(3), recalled)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_prefixes_of_the_makers_templates(folder):
    template = own_template(folder).compiled({}, TODAY)
    recalled = Recalled(template)
    for seed in range(12):
        check(template, made_up(seed), recalled)


def run_anew(template, conv, monkeypatch):
    """How many segments and rounds ran while all prefixes were written, those of a loop over the
    messages turned round left aside: they write nothing."""
    ran = []
    ended = recall.Render.ended

    def counted(render):
        ran.extend([1] * render.is_open)
        ended(render)

    monkeypatch.setattr(recall.Render, "ended", counted)
    assert check(template, conv) == 2 * len(conv.messages)
    monkeypatch.undo()
    return len(ran)


LINEAR = ["gpt_oss", "llama3_1", "llama4", "mistral_nemo", "qwen2_5", "qwen3", "qwen3_5", "smollm2"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_runs_anew_grows_with_the_messages_and_not_with_their_square(folder, monkeypatch):
    if folder.name not in LINEAR:
        pytest.skip("its template refuses these conversations")
    template = own_template(folder).compiled({}, TODAY)

    def spoken(rounds):
        calls = [ToolCall("find", {"n": n}, id=f"call{n:05}") for n in range(rounds)]
        parts = [
            (
                Message(Role.USER, f"Where is {call.arguments}?"),
                Message(Role.ASSISTANT, "", thinking="Hm.", calls=(call,)),
                Message(Role.TOOL, "There.", name="find", call_id=call.id),
                Message(Role.ASSISTANT, "It is there.", thinking="So."),
            )
            for call in calls
        ]
        return Conversation(sum(parts, ()), (FIND,))

    few, many = (run_anew(template, spoken(rounds), monkeypatch) for rounds in (5, 15))
    assert many < 4 * few


def test_words_of_a_user_at_the_end_of_a_prompt_stay_the_users():
    conv = Conversation(talk(3).messages)
    made = Prefixes(Recalled(MakersTemplate(ODD["forging"], {}, TODAY)), conv)
    assert made.tracked(5, generate=True).endswith("[assistant][END][assistant]")
    assert made.tracked(5, generate=True).runs[-1][1].message == 4
    assert made.tracked(6, generate=True).runs[-1][1].message is None


def test_few_messages_are_rendered_anew(monkeypatch):
    monkeypatch.setattr(prefixes, "_SHORTEST", 99)
    template = MakersTemplate(OWN, {"bos_token": "<s>"}, TODAY)
    made = Prefixes(Recalled(template), talk(2))
    assert made.tracked(3, generate=True) == template.render(talk(2).until(3), generate=True)
    assert made._memories == ({}, {})


def test_what_a_fresh_render_refutes_is_rendered_anew(monkeypatch, caplog):
    """A fault in what is recalled is seen on the conversation itself."""
    template = MakersTemplate(ODD["ahead"], {}, TODAY)
    marks = Marks(("[END]",), ThinkMarks())
    expected = OwnWriter(template, marks).turns(talk(3), stopped=False)
    assert not caplog.records
    monkeypatch.setattr(recall.Render, "_holds", lambda render, made: True)
    assert OwnWriter(template, marks).turns(talk(3), stopped=False) == expected
    assert "in two ways" in caplog.text
