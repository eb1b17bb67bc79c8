"""MiniCPM 5: <function name="..."> with <param name="..."> inside, CDATA around markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.tagged import CallForm, TaggedCalls
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Place, Result, ToolText

_TOOLS_HERE = "<tool_def_sep>"
_BEFORE = (
    "# Tools\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nTool usage guidelines:\n"
    "- You may call zero or more functions. If no function calls are needed, just answer normally "
    "and do not include any <function ... </function>.\n"
    "- When calling a function, return an XML object within <function ... </function> using:\n"
    '<function name="function-name"><param name="param-name">param-value</param></function>\n'
    "- param-value may be multi-line. If it contains <, & or newline characters, wrap it in a "
    'CDATA block: <param name="param-name"><![CDATA[...multi-line value...]]></param>'
)


@agent_registry.add("minicpm5")
class MiniCPM5Calls(TaggedCalls):
    """The tools stand where the system prompt holds ``<tool_def_sep>``, else after it. Natively
    values that are no strings are printed as Python prints them.

    Source: the chat template of MiniCPM5-1B.
    """

    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = ('<function name="',)
    form: ClassVar[CallForm] = CallForm(
        open='<function name="',
        named='">',
        key='<param name="',
        value='">',
        ended="</param>",
        close="</function>",
        between="\n",
        print_native=str,
        cdata=True,
    )

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        lines = [
            span for tool in tools for span in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))
        ]
        offer = [scaffold(_BEFORE), *lines, scaffold(_AFTER)]
        text = default if system is None else system
        if text is None:
            return ToolText(offer, [])
        first, *rest = text.split(_TOOLS_HERE)
        if not rest:
            return ToolText([system_span(text, system), scaffold("\n\n"), *offer], [])
        spans = [system_span(first, system)]
        for piece in rest:
            spans += (*offer, system_span(piece, system))
        return ToolText(spans, [])

    def write_result(self, result: Result) -> list[Span]:
        return [
            scaffold("\n<tool_response>\n" if result.index else "<tool_response>\n"),
            Span(result.content, Kind.RESULT),
            scaffold("\n</tool_response>"),
        ]
