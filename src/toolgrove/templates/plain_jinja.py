"""A chat template in Jinja, for other programs, that writes as a dialect does, tools included."""

from __future__ import annotations

from collections.abc import Sequence

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation
from toolgrove.templates import probe
from toolgrove.templates.dialect import Dialect
from toolgrove.templates.jinja import MakersTemplate
from toolgrove.templates.skeleton import Skeleton, ToolList, skeleton_of


def plain_jinja(dialect: Dialect) -> str:
    """The template's source. Law: it renders all of ``probes`` as the dialect does; TemplateError
    for a dialect that has no such template."""
    source = _source(skeleton_of(dialect))
    for conv in probes(dialect):
        wanted, made = dialect.prompt(conv), rendered(source, dialect, conv)
        if wanted != made:
            at = next((i for i, (a, b) in enumerate(zip(wanted, made, strict=False)) if a != b), 0)
            raise TemplateError(
                "this dialect cannot be written as a plain chat template: where the dialect writes "
                f"{wanted[max(0, at - 20) : at + 20]!r} it would write "
                f"{made[max(0, at - 20) : at + 20]!r}"
            )
    return source


def probes(dialect: Dialect) -> list[Conversation]:
    """Small conversations that lose nothing in this dialect and end where a model goes on."""
    return [
        conv
        for whole in probe.conversations()
        for conv in _prefixes(whole)
        if not any(message.thinking for message in conv.messages) and not dialect.losses(conv)
    ]


def _prefixes(conv: Conversation) -> Sequence[Conversation]:
    ends = [n for n, m in enumerate(conv.messages, start=1) if m.role in ("user", "tool")]
    last = [n for n in ends if n == len(conv.messages) or conv.messages[n].role != "tool"]
    return [conv.until(count) for count in last]


def rendered(source: str, dialect: Dialect, conv: Conversation) -> str:
    """The conversation as this template writes it, with the generation prompt."""
    return MakersTemplate(source, {}, dialect.today).render(conv, generate=True)


def _source(made: Skeleton) -> str:
    heads, calls, results = made.heads, made.calls, made.results
    out = [
        "{%- set first = 'system' if messages and messages[0].role == 'system' else '' -%}",
        "{%- if tools -%}{%- if first -%}",
        _say(heads.opening),
        "{{- messages[0].content -}}",
        _tools(heads.system_tools),
        "{%- else -%}",
        _tools(heads.tools),
        "{%- endif -%}{%- elif first -%}",
        _say(heads.system.before),
        "{{- messages[0].content -}}",
        _say(heads.system.after),
        "{%- else -%}",
        _say(heads.bare),
        "{%- endif -%}",
        "{%- for message in (messages[1:] if first else messages) -%}",
        "{%- set content = message.content if message.content is string else '' -%}",
        "{%- if message.role == 'user' -%}",
        _say(made.user.before),
        "{{- content -}}",
        _say(made.user.after),
        "{%- elif message.role == 'assistant' -%}",
        _say(made.assistant.before),
        _thinking(made),
        "{{- content -}}{%- if message.tool_calls -%}{%- if content -%}",
        _say(calls.after_text),
        "{%- endif -%}",
        _say(calls.before),
        "{%- for call in message.tool_calls -%}{%- set call = call.function or call -%}",
        "{%- if not loop.first -%}",
        _say(calls.between),
        "{%- endif -%}",
        _say(calls.opening),
        "{{- call.name -}}",
        _say(calls.middle),
        "{{- call.arguments if call.arguments is string else call.arguments | tojson -}}",
        _say(calls.closing),
        "{%- endfor -%}",
        _say(calls.after),
        "{%- endif -%}",
        _say(made.assistant.after),
        "{%- elif message.role == 'tool' -%}",
        "{%- if loop.previtem is defined and loop.previtem.role == 'tool' -%}",
        _say(results.between),
        "{%- else -%}",
        _say(results.before),
        "{%- endif -%}{{- content -}}",
        "{%- if loop.nextitem is not defined or loop.nextitem.role != 'tool' -%}",
        _say(results.after),
        "{%- endif -%}",
        _later_system(made),
        "{%- else -%}",
        "{{- raise_exception('no place for a message of the role ' + message.role) -}}",
        "{%- endif -%}{%- endfor -%}",
        "{%- if add_generation_prompt -%}",
        _say(made.generation),
        "{%- endif -%}",
    ]
    return "\n".join(line for line in out if line) + "\n"


def _say(text: str) -> str:
    return "{{- " + dump(text) + " -}}" if text else ""


def _tools(tools: ToolList) -> str:
    shown = "tool" if tools.whole else "(tool.function or tool)"
    how = "tojson" if tools.indent is None else f"tojson(indent={tools.indent})"
    loop = (
        "{%- for tool in tools -%}{%- if not loop.first -%}"
        f"{_say(tools.between)}{{%- endif -%}}{{{{- {shown} | {how} -}}}}{{%- endfor -%}}"
    )
    return _say(tools.before) + loop + _say(tools.after)


def _thinking(made: Skeleton) -> str:
    if made.thinking is None:
        return ""
    return (
        "{%- set thought = message.reasoning_content or message.reasoning -%}{%- if thought -%}"
        + _say(made.thinking.before)
        + "{{- thought -}}"
        + _say(made.thinking.after)
        + "{%- endif -%}"
    )


def _later_system(made: Skeleton) -> str:
    if made.system is None:
        return ""
    return (
        "{%- elif message.role == 'system' -%}"
        + _say(made.system.before)
        + "{{- content -}}"
        + _say(made.system.after)
    )
