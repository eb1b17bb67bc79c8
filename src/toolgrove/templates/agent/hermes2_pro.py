"""Hermes 2 Pro: Hermes calls, with tools described as Python signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON, Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.hermes import Hermes
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import (
    Grammar,
)
from toolgrove.templates.repeated import written_once
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_HERMES = Hermes()
_BEFORE = (
    "You are a function calling AI model. You are provided with function signatures within "
    "<tools></tools> XML tags. You may call one or more functions to assist with the user query. "
    "Don't make assumptions about what values to plug into functions. Here are the available "
    "tools: <tools> "
)
_AFTER = (
    " </tools>Use the following pydantic model json schema for each tool call you will make: "
    '{"properties": {"name": {"title": "Name", "type": "string"}, "arguments": {"title": '
    '"Arguments", "type": "object"}}, "required": ["name", "arguments"], "title": "FunctionCall", '
    '"type": "object"}}\n'
    "For each function call return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags as follows:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-dict>}\n</tool_call>'
)
_PYTHON_TYPES = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool",
    "object": "dict",
    "": "Union[]",
}


@agent_registry.add("hermes2_pro")
class Hermes2Pro(AgentTemplate):
    """Source: the chat template ``tool_use`` of Hermes-2-Pro-Llama-3-8B. A JSON type for which it
    knows no Python type ("null") sends it into an endless recursion; here that is ``Any``."""

    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = Hermes.marks

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        return ToolText([*lead, *tool_prompt(tools)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return _HERMES.write_calls(calls, step)

    def write_result(self, result: Result) -> list[Span]:
        return _HERMES.write_result(result)

    def scan(self, window: Window) -> Scan:
        return _HERMES.scan(window)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar | None:
        return _HERMES.call_grammar(tools, parallel)


def tool_prompt(tools: Sequence[Tool]) -> list[Span]:
    """The maker's system prompt with the tools."""
    spans = [scaffold(_BEFORE)]
    for index, tool in enumerate(tools):
        newline = [scaffold("\n")] if index else []
        spans += (*newline, Span(_described(tool), Kind.TOOLS))
    return [*spans, scaffold(_AFTER)]


@written_once
def _described(tool: Tool) -> str:
    function, parameters = tool.function, tool.parameters
    given = parameters.get("properties")
    properties = cast(JSON, given) if isinstance(given, dict) else {}
    signature = ", ".join(f"{name}: {_python_type(s)}" for name, s in properties.items())
    returns = function.get("return")
    arrow = f" -> {_python_type(returns)}" if "return" in function else ""
    docs = "".join(
        f"        {name}({_python_type(schema)}): {_about(schema)}"
        for name, schema in properties.items()
    )
    heading = "    Args:\n" if docs else ""
    ends = ""
    if isinstance(returns, Mapping) and "description" in returns:
        ends = f"\n    Returns:\n        {cast(JSON, returns)['description']}"
    return (
        f'{{"type": "function", "function": {{"name": "{tool.name}", "description": "'
        f"{tool.name}({signature}){arrow} - {tool.description}\n\n{heading}{docs}{ends}"
        f'", "parameters": {dump(parameters) if properties else "{}"}}}'
    )


def _about(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return ""
    return str(cast(JSON, schema).get("description", "")).strip()


def _python_type(schema: Any) -> str:
    """The Python type that the maker's template names; it does not look into arrays."""
    if not isinstance(schema, Mapping) or "type" not in schema:
        return "Union[]"
    schema = cast(Mapping[str, Any], schema)
    kind: Any = schema["type"]
    if isinstance(kind, list):
        return f"Union[{','.join(_python_type({'type': one}) for one in cast(list[Any], kind))}]"
    if kind == "array":
        return "list[Union[]]"
    if kind == "object" and "additionalProperties" in schema:
        return f"dict[str, {_python_type(schema['additionalProperties'])}]"
    return _PYTHON_TYPES.get(str(kind), "Any")
