"""Seed-OSS: <function=...> and <parameter=...> tags, tools as Python definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from toolgrove.core.messages import JSON, Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.tagged import CallForm, TaggedCalls
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Place, ToolText

_DOUBAO = (
    "You are Doubao, a helpful AI assistant. You may call one or more functions to assist with the "
    "user query."
)
_FORMAT = (
    "\n工具调用请遵循如下格式:\n<seed:tool_call>\n<function=example_function_name>\n"
    "<parameter=example_parameter_1>value_1</parameter>\n"
    "<parameter=example_parameter_2>This is the value for the second parameter\n"
    "that can span\nmultiple lines</parameter>\n</function>\n</seed:tool_call>\n"
)
_TYPES = {
    "string": "str",
    "number": "int",
    "integer": "int",
    "boolean": "bool",
    "array": "list",
}


@agent_registry.add("seed_oss")
class SeedCalls(TaggedCalls):
    """The maker's template shows of a tool the names, outer types and descriptions of its
    parameters only, and natively prints values that are no strings as Python prints them.

    Source: the chat template of Seed-OSS-36B-Instruct. It fails on tools without parameters; here
    these are written as functions without arguments.
    """

    results: ClassVar[Place] = Place.TOOL
    text_separator: ClassVar[str] = "\n\n"
    marks: ClassVar[tuple[str, ...]] = ("<seed:tool_call>",)
    form: ClassVar[CallForm] = CallForm(
        open="<seed:tool_call>\n<function=",
        named=">\n",
        key="<parameter=",
        value=">",
        ended="</parameter>\n",
        close="</function>\n</seed:tool_call>",
        between="\n",
        print_native=str,
    )

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = scaffold(_DOUBAO) if text is None else system_span(text, system)
        offer = [Span(_definition(tool), Kind.TOOLS) for tool in tools]
        return ToolText([lead, *offer, scaffold(_FORMAT)], [])


def _definition(tool: Tool) -> str:
    """A tool as a Python definition with a docstring."""
    properties = _object(tool.parameters.get("properties"))
    signature = ",".join(f"{name}: {_type(spec)}" for name, spec in properties.items())
    lines = ["", "", "Function:", f"def {tool.name}({signature}):", '    """']
    lines += [f"    {tool.description.strip()}", "", ""]
    if properties:
        required: Any = tool.parameters.get("required") or ()
        lines[-1] = "    Args:"
        for name, spec in properties.items():
            needed = "必填" if name in required else "选填"
            lines.append(f"    - {name} ({_type(spec)}) [{needed}]: {_description(spec)}")
    lines.append("")
    returned = _object(_object(tool.function.get("returns")).get("properties"))
    if returned:
        lines[-1] = "    Returns:"
        for name, spec in returned.items():
            lines.append(f"    - {name} ({_type(spec)}): {_description(spec)}")
        lines.append("")
    return "\n".join([*lines, '    """'])


def _object(value: Any) -> JSON:
    return cast(JSON, value) if isinstance(value, dict) else {}


def _type(spec: Any) -> str:
    kind: Any = cast(Mapping[str, Any], spec).get("type") if isinstance(spec, Mapping) else None
    return _TYPES.get(kind, "Any") if isinstance(kind, str) else "Any"


def _description(spec: Any) -> str:
    return str(_object(spec).get("description") or "")
