"""Ollama's Modelfile of a model, its template written in Go's notation out of a dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolgrove.core.errors import TemplateError
from toolgrove.templates.dialect import Dialect
from toolgrove.templates.plain_jinja import plain_jinja
from toolgrove.templates.skeleton import Skeleton, ToolList, skeleton_of

_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Ollama's name for each generation setting of a model folder."""


def modelfile(dialect: Dialect, weights: str, settings: Mapping[str, Any]) -> str:
    """The Modelfile for ``weights`` (a GGUF file or a folder), with the dialect's template and
    stops and the generation ``settings`` of a model folder."""
    template = go_template(dialect)
    if '"""' in template:
        raise TemplateError('a Modelfile cannot hold three quotes (""") in a template')
    lines = [f"FROM {weights}", f'TEMPLATE """{template}"""']
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in dialect.stops]
    for ours, theirs in _PARAMETERS.items():
        if settings.get(ours) is not None:
            lines.append(f"PARAMETER {theirs} {settings[ours]}")
    return "\n".join(lines) + "\n"


def go_template(dialect: Dialect) -> str:
    """The dialect's template for Ollama; TemplateError where it has none.

    Laws: but for spaces in JSON it writes what the dialect writes, as the same texts in Jinja do
    (``plain_jinja``, which is tried here). The first text behind ``if .ToolCalls`` is what a call
    begins with: by it Ollama finds calls in replies. Deviations: Ollama joins neighbouring messages
    of one role by an empty line, keeps of a tool's schema what its own types have, and Go's JSON
    has no spaces and writes ``<``, ``>`` and ``&`` as escapes.
    """
    plain_jinja(dialect)
    return _source(skeleton_of(dialect))


def _source(made: Skeleton) -> str:
    heads, calls, results = made.heads, made.calls, made.results
    head = (
        "{{ if .Tools }}{{ if .System }}"
        + f"{_raw(heads.opening)}{{{{ .System }}}}{_tools(heads.system_tools)}"
        + f"{{{{ else }}}}{_tools(heads.tools)}{{{{ end }}}}"
        + f"{{{{ else if .System }}}}{_raw(heads.system.before)}{{{{ .System }}}}"
        + f"{_raw(heads.system.after)}{{{{ else }}}}{_raw(heads.bare)}{{{{ end }}}}"
    )
    begin = (
        '{{ $before := "" }}{{ range $i, $m := .Messages }}{{ $next := "" }}'
        "{{ $rest := slice $.Messages $i }}"
        "{{ if gt (len $rest) 1 }}{{ $next = (index $rest 1).Role }}{{ end }}"
    )
    user = (
        f'{{{{ if eq .Role "user" }}}}{_raw(made.user.before)}{{{{ .Content }}}}'
        f"{_raw(made.user.after)}"
    )
    assistant = (
        f'{{{{ else if eq .Role "assistant" }}}}{_raw(made.assistant.before)}{_thinking(made)}'
        "{{ .Content }}{{ $calls := .ToolCalls }}{{ if .Content }}{{ if $calls }}"
        f"{_raw(calls.after_text)}{{{{ end }}}}{{{{ end }}}}"
        f"{{{{ if .ToolCalls }}}}{_raw(calls.before)}{{{{ range $j, $call := .ToolCalls }}}}"
        f"{_raw(calls.opening)}{{{{ $call.Function.Name }}}}{_raw(calls.middle)}"
        f"{{{{ json $call.Function.Arguments }}}}{_raw(calls.closing)}"
        f"{{{{ if gt (len (slice $calls $j)) 1 }}}}{_raw(calls.between)}{{{{ end }}}}{{{{ end }}}}"
        f"{_raw(calls.after)}{{{{ end }}}}"
        f"{{{{ if $next }}}}{_raw(made.assistant.after)}{{{{ end }}}}"
    )
    tool = (
        '{{ else if eq .Role "tool" }}{{ if eq $before "tool" }}'
        f"{_raw(results.between)}{{{{ else }}}}{_raw(results.before)}{{{{ end }}}}"
        "{{ .Content }}"
        f'{{{{ if ne $next "tool" }}}}{_raw(results.after)}{{{{ end }}}}'
    )
    end = (
        "{{ end }}{{ $before = .Role }}{{ end }}"
        f'{{{{ if ne $before "assistant" }}}}{_raw(made.generation)}{{{{ end }}}}'
    )
    return head + begin + user + assistant + tool + end


def _thinking(made: Skeleton) -> str:
    if made.thinking is None:
        return ""
    around = made.thinking
    return (
        f"{{{{ if .Thinking }}}}{_raw(around.before)}{{{{ .Thinking }}}}{_raw(around.after)}"
        "{{ end }}"
    )


def _tools(tools: ToolList) -> str:
    if tools.indent is not None:
        raise TemplateError(
            "Ollama's template cannot write tools as this dialect does: their JSON is indented"
        )
    one = "{{ json $tool.Function }}"
    if tools.whole:
        one = '{"type": "function", "function": ' + one + "}"
    return (
        f"{_raw(tools.before)}{{{{ range $n, $tool := .Tools }}}}"
        f"{{{{ if $n }}}}{_raw(tools.between)}{{{{ end }}}}{one}{{{{ end }}}}{_raw(tools.after)}"
    )


def _raw(text: str) -> str:
    """A text that stands for itself, also where an action follows: braces that Go would take for
    the beginning of one are written by one."""
    text = text.replace("{{", '{{ "{{" }}')
    return text[:-1] + '{{ "{" }}' if text.endswith("{") else text
