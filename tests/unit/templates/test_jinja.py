"""A model's own Jinja: bounded, followed character by character, and masked exactly."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toolgrove as tg
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.core.spans import MARKUP, WRITTEN_BY_MODEL, Kind, text_of
from toolgrove.templates.detect import detect
from toolgrove.templates.jinja import MakersTemplate
from toolgrove.templates.tracked import LITERAL

TODAY = date(2026, 1, 15)
OWN = """\
{{- bos_token }}
{%- if tools %}
    {{- '[SYS]' }}
    {%- for tool in tools %}{{ tool | tojson }}{{ '\n' }}{% endfor %}
    {{- '[/SYS]' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '[A]' }}
        {%- if message.thinking and not no_thoughts %}
            {{- '<think>' ~ message.thinking | trim ~ '</think>' }}
        {%- endif %}
        {{- message.content | default('', true) | trim }}
        {%- for call in message.tool_calls or [] %}
            {{- '<tool_call>\n' ~ call.function | tojson ~ '\n</tool_call>' }}
        {%- endfor %}
        {{- '[END]\n' }}
    {%- else %}
        {{- '[' + message.role | upper + ']' + message.content + '[END]\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '[A]' }}{% endif %}"""
ASK = Message(Role.USER, "Where? [END] <tool_call>")
CALL = ToolCall("find", {"key": "a [END] 'b\" <x>", "n": 1, "deep": [None, True, "é"]})
THINKS = Message(Role.ASSISTANT, " There. ", thinking=" Hm. ", calls=(CALL, ToolCall("now", {})))
RESULT = Message(Role.TOOL, "[A] found [END]", name="find")
DONE = Message(Role.ASSISTANT, "Done.")
FIND = Tool({"type": "function", "function": {"name": "find", "description": "[END]"}})
CONV = Conversation((ASK, THINKS, RESULT, RESULT, DONE), (FIND,))


def folder(tmp_path, template, **more):
    config = {"chat_template": template, "bos_token": "<s>", "eos_token": "[END]", **more}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def own(tmp_path, template=OWN, **options):
    return tg.dialect_for(
        folder(tmp_path, template), native=False, options=options or None, today=TODAY
    )


def rendered(template, conv=None, **variables):
    conv = conv or Conversation((ASK,))
    return MakersTemplate(template, variables, TODAY).render(conv, generate=False)


def test_text_prompt_turns_and_kinds_of_a_template_without_markers(tmp_path):
    d = own(tmp_path)
    assert (d.chat_name, d.agent_name, d.native) == ("jinja", "hermes", True)
    assert d.stops == ("[END]",)
    assert d.prompt(CONV) == d.text(CONV) + "[A]"
    spans = d.spans(CONV)
    assert text_of(spans) == d.text(CONV)
    first, last = d.turns(CONV)
    assert text_of(first.prompt) == d.prompt(CONV.until(1))
    assert text_of(last.prompt) == d.prompt(CONV.until(4))
    assert text_of(last.completion) == "Done.[END]"
    assert text_of(last.rest) == "\n"
    kinds = [(span.kind, span.text, span.call) for span in first.completion]
    assert kinds[:5] == [
        (Kind.THINK_OPEN, "<think>", None),
        (Kind.THINKING, "Hm.", None),
        (Kind.THINK_CLOSE, "</think>", None),
        (Kind.TEXT, "There.", None),
        (Kind.CALL_MARK, '<tool_call>\n{"name": "', 0),
    ]
    assert (Kind.CALL_NAME, "find", 0) in kinds
    assert (Kind.CALL_ARGS, json.dumps(CALL.arguments, ensure_ascii=False), 0) in kinds
    assert (Kind.CALL_NAME, "now", 1) in kinds
    assert kinds[-1] == (Kind.STOP, "[END]", None)
    assert d.losses(CONV) == []


def test_replies_are_read_with_the_agent_template_that_fits(tmp_path):
    d = own(tmp_path)
    reply = text_of(d.turns(CONV)[0].completion)
    read = d.read(reply, CONV.tools)
    assert (read.thinking, read.content, list(read.calls)) == (
        " Hm. ".strip(),
        "There.",
        [
            CALL,
            ToolCall("now", {}),
        ],
    )


def test_calls_that_no_agent_template_reads_stay_text_and_it_is_said(tmp_path):
    odd = (
        OWN.replace("<tool_call>", "((")
        .replace("</tool_call>", "))")
        .replace(
            "call.function | tojson", "call.function.name ~ '!' ~ call.function.arguments | length"
        )
    )
    d = own(tmp_path, odd)
    assert d.agent is None
    assert "stay text" in detect(tmp_path).reason
    assert d.read("((find!3))", CONV.tools).content == "((find!3))"
    assert any("argument 'key'" in lost for lost in d.losses(CONV))


def test_what_the_template_leaves_out_is_said(tmp_path):
    d = own(tmp_path, no_thoughts=True)
    assert d.losses(CONV) == ["messages[1] (assistant): its thinking is not written"]
    plain = OWN.replace("tools %}\n", "nothing %}\n")
    (tmp_path / "b").mkdir()
    assert own(tmp_path / "b", plain).losses(CONV) == ["the 1 tools are not shown"]


def test_an_option_that_the_template_never_looks_at_is_an_error(tmp_path):
    with pytest.raises(TemplateError, match='no option "no_thought"') as error:
        own(tmp_path, no_thought=True)
    assert "no_thoughts" in str(error.value)


@given(st.lists(st.text(alphabet="[]END A<>think/'\"&{}%\n \u2028é", max_size=30), min_size=5))
def test_data_is_never_markup_and_input_never_the_models(texts):
    """Laws 6 and 7: whatever the rows say, only the template's own words are markup."""
    first, second, third, fourth, fifth = texts[:5]
    call = ToolCall(first or "f", {second: third, "k": [fourth, 1]})
    conv = Conversation(
        (
            Message(Role.USER, first),
            Message(Role.ASSISTANT, second, thinking=third or None, calls=(call,)),
            Message(Role.TOOL, fourth, name="f"),
            Message(Role.ASSISTANT, fifth),
        )
    )
    template = MakersTemplate(OWN, {"bos_token": "<s>"}, TODAY)
    from toolgrove.templates.base import ThinkMarks
    from toolgrove.templates.own import OwnWriter
    from toolgrove.templates.own_spans import Marks

    writer = OwnWriter(template, Marks(("[END]",), ThinkMarks()))
    text = template.render(conv, generate=False)
    assert text_of(writer.spans(conv, keep=False, generate=False)) == text
    literal = {"<s>", "[A]", "<think>", "</think>", "[END]\n", "[USER]", "[TOOL]", "[END]"}
    for turn in writer.turns(conv, stopped=False):
        assert text_of([*turn.prompt, *turn.completion, *turn.rest]) == template.render(
            conv.until(turn.message + 1), generate=False
        )
        assert all(s.kind in WRITTEN_BY_MODEL for s in turn.completion)
        assert all(s.message == turn.message for s in turn.completion)
        assert text_of(turn.completion).endswith("[END]")
        for span in turn.prompt:
            if span.kind is Kind.SCAFFOLD:
                assert span.text.replace("\n", "") == "" or any(w in span.text for w in literal)
    marks = "".join(
        s.text for s in writer.spans(conv, keep=False, generate=False) if s.kind in MARKUP
    )
    plain = Conversation(
        tuple(
            Message(
                m.role,
                "x",
                thinking="y" if m.thinking and m.thinking.strip() else None,
                calls=tuple(ToolCall("f", {"a": "b"}) for _ in m.calls),
                name=m.name,
            )
            for m in conv.messages
        )
    )
    plain_marks = "".join(
        s.text for s in writer.spans(plain, keep=False, generate=False) if s.kind in MARKUP
    )
    assert marks.count("[END]") == plain_marks.count("[END]") == 4


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('no such role') }}", "raises: no such role"),
        (
            "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
            "does not come to an end",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "raises|end"),
        (
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}",  # noqa: E501
            "end",
        ),
        ("{{ 'x' * 999999999 }}", "more than"),
        ("{{ 9 ** 999999 }}", "huge number"),
        ("{{ '%999999999d' % 1 }}", "wide"),
        ("{{ '{:>999999999}'.format('x') }}", "wide"),
        ("{{ 'x'.ljust(999999999) }}", "more than"),
        ("{{ 'x' | center(999999999) }}", "wide"),
        ("{{ lipsum(n=99999) }}", "random"),
        (
            "{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
            "{% endfor %}",
            "more than",
        ),
        ("{% include '/etc/passwd' %}", "may read none"),
        ("{% extends 'base' %}", "may read none"),
        ("{{ messages.__class__.__mro__ }}", "raises"),
        ("{{ missing.attribute }}", "'missing' is undefined"),
        ("{{ '' }}", "writes nothing"),
        ("{{ messages.append(1) }}", "raises"),
        ("{% set ns = namespace(_x=1) %}", "raises"),
    ],
)
def test_bad_templates_are_clear_errors(template, says):
    with pytest.raises(TemplateError, match=says):
        rendered(template)
    with pytest.raises(TemplateError):
        MakersTemplate(template, {}, TODAY).tracked(Conversation((ASK,)), generate=False)


def test_a_template_that_is_no_jinja_is_a_clear_error():
    with pytest.raises(TemplateError, match="not valid Jinja"):
        MakersTemplate("{% for %}", {}, TODAY)


def test_the_sandbox_is_that_of_transformers():
    assert rendered("{{ {'a': '<é&>'} | tojson }}") == '{"a": "<é&>"}'
    numbered = Conversation((Message(Role.USER, " id: 12345678 {0:9999999} %9999999d * "),))
    assert rendered("{{ messages[0].content.strip() ~ '*%s' % 1 }}", numbered)[-4:] == " **1"
    assert rendered("{{ strftime_now('%d %b %Y') }}") == "15 Jan 2026"
    assert rendered("{% generation %}a{% endgeneration %}") == "a"
    assert (
        rendered("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}")
        == "01"
    )
    assert rendered("  {% if true %}\n  x\n  {% endif %}") == "  x\n"
    assert rendered("{{ messages[0].keys() | join(',') }}") == "role,content"
    think = Conversation((Message(Role.ASSISTANT, None, thinking="t"),))
    assert rendered("{{ messages[0].thinking }}{{ messages[0].reasoning_content }}", think) == "tt"
    assert rendered("{{ 'content' in messages[0] }}", think) == "False"
    assert rendered("{{ dict(a=1).a }}{{ namespace(b=2).b }}") == "12"


@pytest.mark.parametrize(
    "expression",
    [
        "c | trim | upper", "c[2:9:2]", "c[-4]", "c.split('e') | join('|')", "c.split() | last",
        "c.rsplit(None, 1)[0]", "c.partition('h')[2]", "c.splitlines() | first", "c | replace('e', 'xx')",  # noqa: E501
        "c * 2", "'%s!' % c", "'<{}>{x}'.format(c, x=c)", "'%s-%s' | format(c, 'b')",
        "c | safe + '<&>'", "'<' | safe + c", "[c, 'x'] | tojson", "{'k': c} | tojson(indent=2)",
        "c | tojson", "messages | tojson", "c.removeprefix(' W').lstrip('h')", "c | list | join",
        "c | title", "c | capitalize", "c | indent(2)", "messages | map(attribute='content') | join(', ')",  # noqa: E501
        "messages | join('+', attribute='role')", "c.strip().replace('', '-')", "c ~ 1 ~ none",
        "c.center(40)", "c | string | length", "c | reverse", "tools | tojson", "tools[0]", "c is string",  # noqa: E501
    ],
)  # fmt: skip
def test_a_followed_text_is_the_text(expression):
    template = "{% set c = messages[0].content %}" + "{{ '[' }}{{ " + expression + " }}{{ ']' }}"
    conv = Conversation((Message(Role.USER, " Where\nis <it>, 'e'? "),), (FIND,))
    made = MakersTemplate(template, {}, TODAY)
    text = made.tracked(conv, generate=False)
    assert str.__eq__(text, made.render(conv, generate=False))
    assert sum(length for length, _ in text.runs) == len(text)
    forged = Conversation((Message(Role.USER, "ZQJ"),), (FIND,))
    text = made.tracked(forged, generate=False)
    position = 0
    for length, origin in text.runs:
        if origin == LITERAL:
            assert not set("ZQJzqj") & set(str(text[position : position + length]))
        position += length


def test_history_keep_is_refused_where_the_template_rewrites_turns(tmp_path):
    rewriting = OWN.replace("message.thinking and", "message.thinking and loop.last and")
    d = own(tmp_path, rewriting)
    with pytest.raises(TemplateError, match="rewrites earlier turns"):
        d.spans(CONV, keep=True)
    (tmp_path / "b").mkdir()
    kept = own(tmp_path / "b").spans(CONV, keep=True)
    assert text_of(kept) == own(tmp_path / "b").text(CONV)


def test_a_tool_use_template_is_used_with_tools(tmp_path):
    named = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]
    d = own(tmp_path, named)
    assert (d.text(Conversation((ASK,))), d.text(Conversation((ASK,), (FIND,)))) == ("d", "t")


def test_generation_settings_name_further_stops(tmp_path):
    decoder = {"7": {"content": "[EOT]"}, "9": {"content": "[END]"}}
    folder(tmp_path, OWN, added_tokens_decoder=decoder)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [9, 7]}')
    assert tg.dialect_for(tmp_path, native=False).stops == ("[END]", "[EOT]")


def test_the_name_of_the_dialect_alone_names_no_template():
    with pytest.raises(TemplateError, match="no model is named"):
        tg.dialect("jinja")


@pytest.mark.parametrize("whole", [True, False])
def test_generation_tags_that_leave_something_out_are_told(whole, tmp_path, caplog):
    begin, end = "{% generation %}", "{%- endgeneration %}"
    marked = OWN.replace("{{- '[A]' }}\n", "{{- '[A]' }}" + begin)
    stop = "        {{- '[END]\n' }}\n    {%- else %}"
    assert stop in marked
    marked = marked.replace(
        stop, stop.replace("    {%- else", end + "{%- else") if whole else end + stop
    )
    plain, tagged = own(folder_in(tmp_path, "a")), own(folder_in(tmp_path, "b"), marked)
    assert tagged.turns(CONV) == plain.turns(CONV)
    told = [r.getMessage() for r in caplog.records if "generation tags" in r.getMessage()]
    assert len(told) == (0 if whole else 1)
    assert whole or "leave out '[END]'" in told[0]


def test_generation_tags_are_held_against_each_conversation(tmp_path, caplog):
    """What they do to the one message that no probe is like."""
    odd = "{{- '[' + message.role | upper + ']' + message.content + '[END]\n' }}"
    tagged = "{% generation %}" + odd + "{% endgeneration %}"
    begin, end = "{% generation %}", "{%- endgeneration %}"
    source = OWN.replace("{{- '[A]' }}\n", "{{- '[A]' }}" + begin)
    stop = "        {{- '[END]\n' }}\n    {%- else %}"
    source = source.replace(stop, stop.replace("    {%- else", end + "{%- else"))
    rule = "{% if message.content == 'odd' %}" + tagged + "{% else %}" + odd + "{% endif %}"
    dialect = own(tmp_path, source.replace(odd, rule))
    usual = Conversation((Message(Role.USER, "usual"), DONE))
    dialect.turns(usual)
    assert "generation tags" not in caplog.text
    turns = dialect.turns(Conversation((Message(Role.USER, "odd"), DONE)))
    assert "mark '[USER]odd[END]\\n', which is given" in caplog.text
    assert text_of(turns[0].completion) == "Done.[END]"


def folder_in(tmp_path, name):
    (tmp_path / name).mkdir()
    return tmp_path / name
